//! The ECS agent's introspection: `/v1/metadata` and `/v1/tasks`, in the real one's shapes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use localcloud_core::cloud::host_ports;
use localcloud_core::hosts::node_faults::Place;
use localcloud_core::protocol::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Inner, Status, VERSION, lock};
use crate::port::Wish;
use crate::shared_cloud::SharedCloud;
use crate::{clock, http};

/// What introspection needs to know.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) instance: String,
    pub(super) inner: Arc<Inner>,
    pub(super) cloud: Arc<SharedCloud>,
}

/// Serves until `stopped`.
pub(super) async fn serve(site: Site, stopped: watch::Receiver<bool>) {
    let Site { instance, inner, cloud } = site.clone();
    let app = Router::new().fallback(answer).with_state(Arc::new(site));
    let wish = || {
        let refuses = || {
            host_ports::refuses(&mut cloud.lock(), clock::now(), Place::Introspection, &instance)
        };
        if *stopped.borrow() {
            Wish::Closed
        } else if refuses() {
            Wish::Refusing
        } else {
            Wish::Open
        }
    };
    if let Err(error) = inner.port.serve(&app, wish).await {
        tracing::error!(%instance, "introspection: {error}");
    }
}

async fn answer(State(site): State<Arc<Site>>, request: HttpRequest) -> HttpResponse {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let answer = {
        let mut cloud = site.cloud.lock();
        let usual = || site.inner.introspect(&path, &query);
        host_ports::introspected(&mut cloud, clock::now(), &site.instance, &path, usual)
    };
    http::give_as(answer).await.into_response()
}

impl Inner {
    fn introspect(&self, path: &str, query: &str) -> Response {
        let body = match path {
            "/v1/metadata" => self.metadata(),
            "/v1/tasks" => self.tasks(query),
            "/" => json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks", "/license"]}),
            _ => return Response { status: 404, ..Response::default() },
        };
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Response { status: 200, headers, body: body.to_string().into_bytes() }
    }

    fn metadata(&self) -> Value {
        let arn = match &*lock(&self.status) {
            Status::Registered { arn, .. } => Some(arn.clone()),
            _ => None,
        };
        json!({
            "Cluster": *lock(&self.cluster),
            "ContainerInstanceArn": arn,
            "Version": format!("Amazon ECS Agent - v{VERSION} (*localcloud)"),
        })
    }

    /// All tasks, or the one that is asked for.
    fn tasks(&self, query: &str) -> Value {
        let tasks = self.containers.introspect();
        match form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "taskarn") {
            None => json!({"Tasks": tasks}),
            Some((_, arn)) => {
                tasks.into_iter().find(|task| task["Arn"] == *arn).unwrap_or_else(|| json!({}))
            }
        }
    }
}
