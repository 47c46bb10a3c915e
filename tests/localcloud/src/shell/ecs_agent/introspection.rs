//! The ECS agent's introspection: `/v1/metadata` and `/v1/tasks`, in the real one's shapes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::{Inner, Status, VERSION, lock};

/// The port of introspection. While nobody listens it is held by a socket that is bound and refuses connections, so
/// that no other program gets its number.
pub(in crate::shell) struct Port {
    number: u16,
    held: Option<TcpSocket>,
}

impl Port {
    pub(in crate::shell) fn reserve() -> io::Result<Self> {
        let socket = bind(0)?;
        Ok(Self { number: socket.local_addr()?.port(), held: Some(socket) })
    }

    pub(in crate::shell) fn number(&self) -> u16 {
        self.number
    }

    /// Holds the number again after a server has ended.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        if self.held.is_none() {
            self.held = Some(bind(self.number)?);
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<tokio::net::TcpListener> {
        match self.held.take() {
            Some(socket) => socket.listen(64),
            None => bind(self.number)?.listen(64),
        }
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    Ok(socket)
}

/// Listens, and gives what serves until `stopped`.
pub(super) fn open(
    inner: &Arc<Inner>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let listener = lock(&inner.port).listen()?;
    let app = Router::new()
        .route("/", get(|| async { Json(json!({"AvailableCommands": ["/v1/metadata", "/v1/tasks", "/license"]})) }))
        .route("/v1/metadata", get(metadata))
        .route("/v1/tasks", get(tasks))
        .with_state(Arc::clone(inner));
    Ok(async move {
        let stop = async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
            tracing::error!("introspection: {error}");
        }
    })
}

async fn metadata(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let arn = match &*lock(&inner.status) {
        Status::Registered { arn, .. } => Some(arn.clone()),
        _ => None,
    };
    Json(json!({
        "Cluster": *lock(&inner.cluster),
        "ContainerInstanceArn": arn,
        "Version": format!("Amazon ECS Agent - v{VERSION} (*localcloud)"),
    }))
}

#[derive(Deserialize)]
struct Filter {
    taskarn: Option<String>,
}

async fn tasks(State(inner): State<Arc<Inner>>, Query(filter): Query<Filter>) -> Json<Value> {
    let tasks = inner.containers.introspect();
    match filter.taskarn {
        None => Json(json!({"Tasks": tasks})),
        Some(arn) => Json(tasks.into_iter().find(|task| task["Arn"] == arn.as_str()).unwrap_or_else(|| json!({}))),
    }
}
