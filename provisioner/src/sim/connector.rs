//! The HTTP client of a simulated run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use localcloud_core::cloud::faults::Delivery;
use localcloud_core::protocol::sdk;
use tokio::sync::Notify;

use super::pause::Pause;
use super::{Kill, World};

/// The HTTP client: the core in place of a network.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) world: World,
    pub(super) kill: Option<Kill>,
    pub(super) count: Arc<AtomicUsize>,
    pub(super) killed: Arc<Notify>,
    pub(super) pause: Pause,
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
            connector.pause.at(Kill::Before(nth)).await;
            // A network takes some time, and lets other runs have their turn.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = connector.world.now();
            if connector.world.state().unreachable {
                return Err(ConnectorError::io("connection refused".into()));
            }
            let (response, delivery) = connector.world.state().answer(&sdk::request(&request), now);
            if connector.kill == Some(Kill::After(nth)) {
                connector.killed.notify_one();
                std::future::pending::<()>().await;
            }
            connector.pause.at(Kill::After(nth)).await;
            match delivery {
                Delivery::AtOnce => {}
                Delivery::After { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
                Delivery::NeverAfter { millis } => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    return Err(ConnectorError::io("the connection was cut".into()));
                }
            }
            sdk::response(response)
        })
    }
}
