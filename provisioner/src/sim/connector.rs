//! The HTTP client of a simulated run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use localcloud::core::faults::Delivery;
use localcloud::core::{Request, Response};
use tokio::sync::Notify;

use super::{Kill, World};

/// The HTTP client: the core in place of a network.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) world: World,
    pub(super) kill: Option<Kill>,
    pub(super) count: Arc<AtomicUsize>,
    pub(super) killed: Arc<Notify>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the local cloud's core")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.clone();
        HttpConnectorFuture::new(async move {
            let nth = connector.count.fetch_add(1, Ordering::Relaxed) + 1;
            if connector.kill == Some(Kill::Before(nth)) {
                connector.killed.notify_one();
                std::future::pending::<()>().await;
            }
            // A network takes some time, and lets other runs have their turn.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = connector.world.now();
            if connector.world.state().unreachable {
                return Err(ConnectorError::io("connection refused".into()));
            }
            let (response, delivery) = connector.world.state().answer(&of_sdk(&request), now);
            if connector.kill == Some(Kill::After(nth)) {
                connector.killed.notify_one();
                std::future::pending::<()>().await;
            }
            match delivery {
                Delivery::AtOnce => {}
                Delivery::After { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                Delivery::NeverAfter { millis } => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    return Err(ConnectorError::io("the connection was cut".into()));
                }
            }
            Ok(to_sdk(response))
        })
    }
}

fn of_sdk(request: &HttpRequest) -> Request {
    let uri = request.uri();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let target = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: request.method().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: request.headers().iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: request.body().bytes().expect("a whole body").to_vec(),
    }
}

fn to_sdk(response: Response) -> HttpResponse {
    let status = StatusCode::try_from(response.status).expect("a status");
    let mut answer = HttpResponse::new(status, SdkBody::from(response.body));
    for (name, value) in response.headers {
        answer.headers_mut().append(name, value);
    }
    answer
}
