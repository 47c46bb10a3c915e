//! The cloud's port: everything that isn't a control is a request to AWS.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use tokio::net::TcpListener;

use super::{Settings, Shell, clock, control, hosts};
use crate::core::node_faults::{NodeAnswer, Way};
use crate::core::{Cloud, Delivery, Options, Request, Response};

/// More than any call needs.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Listens at `address`, calls `ready` with the URL, and serves until `stop` is done; then ends all nodes.
///
/// # Errors
/// When `address` isn't loopback while nodes are started here, or can't be bound, or the server fails.
pub async fn serve(
    address: SocketAddr,
    options: Options,
    settings: Settings,
    ready: impl FnOnce(&str) -> io::Result<()>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let metadata_at = settings.metadata_at;
    let is_safe = address.ip().is_loopback() || metadata_at.is_some();
    ensure!(is_safe, "{address} is not loopback: nodes run whatever a caller asks for");
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let shell = Shell::new(Cloud::new(options), settings, url.clone());
    let app = control::router().fallback(aws).with_state(Arc::clone(&shell));
    let metadata = async {
        match metadata_at {
            Some(address) => hosts::serve_metadata(Arc::clone(&shell), address).await,
            None => std::future::pending().await,
        }
    };
    ready(&url).context("say where the cloud is")?;
    tokio::select! {
        served = metadata => served?,
        served = async { axum::serve(listener, app).await } => served.context("serve")?,
        () = shell.tick() => {}
        () = stop => {}
    }
    shell.end().await;
    Ok(())
}

/// Any request to AWS.
async fn aws(State(shell): State<Arc<Shell>>, request: HttpRequest) -> HttpResponse {
    let request = match take(request).await {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    };
    let answer = shell.act(|cloud| cloud.answer(&request, clock::now()));
    match answer.delivery {
        Delivery::AtOnce => give(answer.response),
        Delivery::After { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            give(answer.response)
        }
        Delivery::NeverAfter { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            HttpResponse::new(Body::new(Cut))
        }
    }
}

/// A request off the wire.
pub(super) async fn take(request: HttpRequest) -> anyhow::Result<Request> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.context("the body")?;
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
    })
}

/// A response onto the wire.
pub(super) fn give(response: Response) -> HttpResponse {
    let mut builder = HttpResponse::builder().status(response.status);
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    builder.body(Body::from(response.body)).unwrap_or_else(|error| {
        tracing::error!("an answer that is not HTTP: {error}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// An answer of a node's own service onto the wire, as far as the fault script lets it.
pub(super) async fn give_as(NodeAnswer { response, way }: NodeAnswer) -> HttpResponse {
    match way {
        Way::Whole => give(response),
        Way::CutAfter { secs } => {
            tokio::time::sleep(Duration::from_secs(secs.into())).await;
            HttpResponse::new(Body::new(Cut))
        }
        Way::Half => {
            let mut response = response;
            let mut body = std::mem::take(&mut response.body);
            response.headers.push(("content-length".to_owned(), body.len().to_string()));
            body.truncate(body.len() / 2);
            give(response).map(|_| Body::new(Half::of(body.into())))
        }
    }
}

/// A body that fails before its first byte: the server closes the connection, and the answer's head, not yet flushed,
/// goes with it.
struct Cut;

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

/// A body that fails after this much. What is there reaches the client first.
struct Half {
    first: Option<Bytes>,
    flushed: Pin<Box<tokio::time::Sleep>>,
}

impl Half {
    fn of(first: Bytes) -> Self {
        Self { first: Some(first), flushed: Box::pin(tokio::time::sleep(Duration::from_millis(50))) }
    }
}

impl HttpBody for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(first))));
        }
        // The server sends what it has while it waits for more.
        self.flushed.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
