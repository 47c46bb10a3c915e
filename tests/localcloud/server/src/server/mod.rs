//! The server: one port for all of AWS, with the controls below `/_localcloud/`, and a node for
//! each launched instance.
//!
//! Everything runs on one thread. The cloud's lock is held for single calls of the core and never
//! over an await.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use localcloud_core::cloud::{Cloud, Delivery};
use localcloud_core::journal::Effect;
use localcloud_core::protocol::Options;
use tokio::net::TcpListener;

use crate::booted_elsewhere::{self, Hosts};
use crate::node::{AgentSettings, Node};
use crate::shared_cloud::SharedCloud;
use crate::{clock, http};

mod control;

/// How often time passes for the cloud.
const TICK: Duration = Duration::from_millis(50);

/// How long the end of everything may take.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How nodes are set up.
pub struct Settings {
    /// The nodes' root folders are made below it.
    pub dir: PathBuf,
    /// The agent's program.
    pub agent: PathBuf,
    /// The agent's log filter.
    pub rust_log: Option<String>,
    /// Where the metadata of all instances is served, if somebody else boots their hosts.
    pub metadata_at: Option<SocketAddr>,
    /// The search path that the nodes' processes get.
    pub path: OsString,
}

/// The cloud and its nodes.
struct Server {
    settings: Settings,
    /// Where the cloud's own port is, as a URL.
    url: String,
    cloud: Arc<SharedCloud>,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    /// In place of nodes, the hosts that somebody else boots.
    hosts: Option<Hosts>,
}

impl Server {
    fn new(cloud: Cloud, settings: Settings, url: String) -> Arc<Self> {
        Arc::new_cyclic(|server: &Weak<Self>| {
            let server = server.clone();
            let perform = move |effect| {
                if let Some(server) = server.upgrade() {
                    server.perform(effect);
                }
            };
            let hosts = settings.metadata_at.map(|_| Hosts::default());
            let cloud = Arc::new(SharedCloud::new(cloud, perform));
            Self { settings, url, cloud, nodes: Mutex::default(), hosts }
        })
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn node(&self, instance: &str) -> Option<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(instance).cloned()
    }

    /// Does what the cloud wants done.
    fn perform(&self, effect: Effect) {
        match effect {
            Effect::StartNode { instance } if self.hosts.is_none() => self.start_node(instance),
            Effect::StartNode { instance } => {
                tracing::info!(%instance, "launched: its host is booted elsewhere")
            }
            Effect::EndNode { instance } => {
                if let Some(node) = self.node(&instance) {
                    node.end();
                }
            }
            Effect::RunTask { instance, task, container } => {
                if let Some(hosts) = &self.hosts {
                    hosts.run_task(instance, task, container);
                } else if let Some(node) = self.node(&instance) {
                    node.run_task(&self.cloud, &task, &container);
                }
            }
            Effect::StopTask { instance, task } => {
                if let Some(hosts) = &self.hosts {
                    hosts.stop_task(&instance, &task);
                } else if let Some(node) = self.node(&instance) {
                    node.stop_task(&task);
                }
            }
        }
    }

    fn start_node(&self, instance: String) {
        let node = match Node::new(&self.settings.dir, instance.clone()) {
            Ok(node) => Arc::new(node),
            Err(error) => {
                tracing::error!(%instance, "the node can't be set up: {error:#}");
                return;
            }
        };
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(instance, Arc::clone(&node));
        let agent = AgentSettings {
            program: self.settings.agent.clone(),
            path: self.settings.path.clone(),
            rust_log: self.settings.rust_log.clone(),
            cloud_url: self.url.clone(),
        };
        node.boot(&self.cloud, agent);
    }

    /// Lets time pass until `stop` says so.
    async fn tick(&self) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.cloud.act(|cloud| cloud.advance(clock::now()));
        }
    }

    /// Ends all nodes, and waits until their processes are gone.
    async fn end(&self) {
        let nodes = self.nodes();
        for node in &nodes {
            node.end();
        }
        let ended = async {
            for node in &nodes {
                node.ended().await;
            }
        };
        if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
            tracing::error!("a part of a node did not end; all its processes were killed");
        }
    }
}

/// Listens at `address`, calls `ready` with the URL, and serves until `stop` is done; then ends all
/// nodes.
///
/// # Errors
/// When `address` isn't loopback while nodes are started here, or can't be bound, or the server
/// fails.
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
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("listen at {address}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = Server::new(Cloud::new(options), settings, url.clone());
    let app = control::router().fallback(aws).with_state(Arc::clone(&server));
    let metadata = async {
        match metadata_at {
            Some(address) => {
                booted_elsewhere::serve_metadata(Arc::clone(&server.cloud), address).await
            }
            None => std::future::pending().await,
        }
    };
    ready(&url).context("say where the cloud is")?;
    tokio::select! {
        served = metadata => served?,
        served = async { axum::serve(listener, app).await } => served.context("serve")?,
        () = server.tick() => {}
        () = stop => {}
    }
    server.end().await;
    Ok(())
}

/// Any request to AWS.
async fn aws(State(server): State<Arc<Server>>, request: HttpRequest) -> HttpResponse {
    let request = match http::take(request).await {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    };
    let answer = server.cloud.act(|cloud| cloud.answer(&request, clock::now()));
    match answer.delivery {
        Delivery::AtOnce => http::give(answer.response),
        Delivery::After { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            http::give(answer.response)
        }
        Delivery::NeverAfter { millis } => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            http::cut()
        }
    }
}
