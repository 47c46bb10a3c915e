//! Ctrl-C, once: whatever is in flight may finish, and nothing new begins.
//!
//! A run asks here before it touches the outside: before each HTTP request and in each wait of its
//! own. Once an interrupt is requested, the next of these does not begin. It says that the run is
//! blocked, and never returns.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::sync::Notify;

/// Whether a run is to stop. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    request: Notify,
    blocked: Notify,
}

impl Interrupt {
    /// Asks the run to stop.
    pub(crate) fn request(&self) {
        self.0.requested.store(true, Ordering::Relaxed);
        self.0.request.notify_waiters();
    }

    /// Whether the run was asked to stop.
    #[must_use]
    pub(crate) fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// Completes when the run is asked to stop.
    pub(crate) async fn requested(&self) {
        // Registered before looking, or a request between both would be missed.
        let request = self.0.request.notified();
        if !self.is_requested() {
            request.await;
        }
    }

    /// Completes when something would have begun after the request: nothing is in flight any more.
    pub(crate) async fn blocked(&self) {
        self.0.blocked.notified().await;
    }

    /// Never returns: what the next step does instead of beginning.
    pub(crate) async fn block_forever<T>(&self) -> T {
        self.0.blocked.notify_one();
        pending().await
    }

    /// The same HTTP client, which begins no request once the run is asked to stop.
    #[must_use]
    pub(crate) fn guard(&self, http: &SharedHttpClient) -> SharedHttpClient {
        let (http, interrupt) = (http.clone(), self.clone());
        http_client_fn(move |settings, components| {
            let inner = http.http_connector(settings, components);
            SharedHttpConnector::new(Guarded { inner, interrupt: interrupt.clone() })
        })
    }
}

#[derive(Debug)]
struct Guarded {
    inner: SharedHttpConnector,
    interrupt: Interrupt,
}

impl HttpConnector for Guarded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if self.interrupt.is_requested() {
            let interrupt = self.interrupt.clone();
            return HttpConnectorFuture::new(async move { interrupt.block_forever().await });
        }
        self.inner.call(request)
    }
}
