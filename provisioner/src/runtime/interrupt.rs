//! Ctrl-C, once: whatever is in flight may finish, and nothing new begins.
//!
//! The brake stands where a run touches the outside, before each HTTP request and in each wait of
//! its own. Once it is pulled, the next of these does not begin: it says that the run has halted,
//! and never returns.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::sync::Notify;

/// The brake of a run; its clones are the same brake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    requested: AtomicBool,
    request: Notify,
    blocked: Notify,
}

impl Interrupt {
    /// Pulls it.
    pub(crate) fn request(&self) {
        self.0.requested.store(true, Ordering::Relaxed);
        self.0.request.notify_waiters();
    }

    /// Whether it was pulled.
    #[must_use]
    pub(crate) fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// Completes when it is pulled.
    pub(crate) async fn requested(&self) {
        // Registered before looking, or a pull between both would be missed.
        let request = self.0.request.notified();
        if !self.is_requested() {
            request.await;
        }
    }

    /// Completes when something would have begun after the pull: the run has come to a halt.
    pub(crate) async fn blocked(&self) {
        self.0.blocked.notified().await;
    }

    /// What the next step does instead of beginning.
    pub(crate) async fn block_forever<T>(&self) -> T {
        self.0.blocked.notify_one();
        pending().await
    }

    /// The same HTTP client with the brake before each request.
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
