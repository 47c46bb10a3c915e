//! The HTTP client of a run: the local cloud's core in place of a network.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use localcloud_core::cloud::Answer;
use localcloud_core::cloud::faults::Delivery;
use localcloud_core::protocol::sdk;
use localcloud_core::{Request, Response};

use crate::kill::{Kill, KillPoint};

/// How long a call is under way. It lets other runs have their turn.
pub const LATENCY: Duration = Duration::from_millis(20);

/// A call got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody was there.
    Refused,
    /// The connection was cut before the answer had come.
    Cut,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Cut => "the connection was cut",
        })
    }
}

/// What becomes of a call.
pub type Answered = Result<Response, Unanswered>;

/// What answers the requests of a run.
pub trait Network: Clone + Send + Sync + 'static {
    /// Answers a request. The call is to be told when the request reaches the cloud, since the run
    /// may be killed there: [`Call::before`] and [`Call::after`].
    fn answer(self, call: Call, request: Request) -> impl Future<Output = Answered> + Send;
}

/// A call that is under way.
pub struct Call {
    nth: usize,
    kill: KillPoint,
}

impl Call {
    /// Which of the run's calls it is, counted from 1.
    #[must_use]
    pub fn nth(&self) -> usize {
        self.nth
    }

    /// The request is about to reach the cloud. A run that is killed here goes no further.
    pub async fn before(&self) {
        self.kill.pass(Kill::Before(self.nth)).await;
    }

    /// The request has had its effect. A run that is killed here doesn't hear of it.
    pub async fn after(&self) {
        self.kill.pass(Kill::After(self.nth)).await;
    }
}

/// Brings the cloud's answer when, and if, it says that it comes.
///
/// # Errors
/// When it doesn't come.
pub async fn deliver(answer: Answer) -> Answered {
    match answer.delivery {
        Delivery::AtOnce => {}
        Delivery::After { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
        Delivery::NeverAfter { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            return Err(Unanswered::Cut);
        }
    }
    Ok(answer.response)
}

/// The HTTP client of one run.
pub(crate) fn client(network: impl Network, kill: KillPoint) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector { network, kill, calls: Arc::default() });
    http_client_fn(move |_, _| connector.clone())
}

struct Connector<N> {
    network: N,
    kill: KillPoint,
    calls: Arc<AtomicUsize>,
}

impl<N> fmt::Debug for Connector<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the local cloud's core")
    }
}

impl<N: Network> HttpConnector for Connector<N> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (network, kill) = (self.network.clone(), self.kill.clone());
        let (request, calls) = (sdk::request(&request), Arc::clone(&self.calls));
        HttpConnectorFuture::new(async move {
            let call = Call { nth: calls.fetch_add(1, Ordering::Relaxed) + 1, kill };
            match network.answer(call, request).await {
                Ok(response) => sdk::response(response),
                Err(unanswered) => Err(ConnectorError::io(unanswered.to_string().into())),
            }
        })
    }
}
