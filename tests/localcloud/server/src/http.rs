//! HTTP: requests off the wire, answers onto it, and connections that are cut.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request as HttpRequest;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use localcloud_core::hosts::node_faults::{NodeAnswer, Way};
use localcloud_core::protocol::{Request, Response};

/// More than any call needs.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A request off the wire.
pub(crate) async fn take(request: HttpRequest) -> anyhow::Result<Request> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await.context("the body")?;
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
    })
}

/// A response onto the wire.
pub(crate) fn give(response: Response) -> HttpResponse {
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
pub(crate) async fn give_as(NodeAnswer { response, way }: NodeAnswer) -> HttpResponse {
    match way {
        Way::Whole => give(response),
        Way::CutAfter { secs } => {
            tokio::time::sleep(Duration::from_secs(secs.into())).await;
            cut()
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

/// No answer: the connection is cut.
pub(crate) fn cut() -> HttpResponse {
    HttpResponse::new(Body::new(Cut))
}

/// A body that fails before its first byte: the server closes the connection, and the answer's
/// head, not yet flushed, goes with it.
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
        Self {
            first: Some(first),
            flushed: Box::pin(tokio::time::sleep(Duration::from_millis(50))),
        }
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
        self.flushed
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}
