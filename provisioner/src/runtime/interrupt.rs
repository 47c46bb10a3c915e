//! Ctrl-C, once: whatever is in flight may finish, and nothing new begins.
//!
//! The brake stands where a run touches the outside, before each HTTP request and in each wait of its own. Once it is
//! pulled, the next of these does not begin: it says that the run has halted, and never returns.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::client::http::{
    HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use tokio::sync::Notify;

/// The brake of a run; its clones are the same brake.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    pulled: AtomicBool,
    pull: Notify,
    halted: Notify,
}

impl Interrupt {
    /// Pulls it.
    pub fn pull(&self) {
        self.0.pulled.store(true, Ordering::Relaxed);
        self.0.pull.notify_waiters();
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.0.pulled.load(Ordering::Relaxed)
    }

    /// Completes when it is pulled.
    pub async fn pulled(&self) {
        // Registered before looking, or a pull between both would be missed.
        let pull = self.0.pull.notified();
        if !self.is_pulled() {
            pull.await;
        }
    }

    /// Completes when something would have begun after the pull: the run has come to a halt.
    pub async fn halted(&self) {
        self.0.halted.notified().await;
    }

    /// What the next step does instead of beginning.
    pub async fn halt<T>(&self) -> T {
        self.0.halted.notify_one();
        pending().await
    }

    /// The same HTTP client with the brake before each request.
    #[must_use]
    pub fn over(&self, http: &SharedHttpClient) -> SharedHttpClient {
        let (http, brake) = (http.clone(), self.clone());
        http_client_fn(move |settings, components| {
            let inner = http.http_connector(settings, components);
            SharedHttpConnector::new(Braked { inner, brake: brake.clone() })
        })
    }
}

#[derive(Debug)]
struct Braked {
    inner: SharedHttpConnector,
    brake: Interrupt,
}

impl HttpConnector for Braked {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if self.brake.is_pulled() {
            let brake = self.brake.clone();
            return HttpConnectorFuture::new(async move { brake.halt().await });
        }
        self.inner.call(request)
    }
}
