//! The acting part: sockets and processes.
//!
//! - [`server`]: one port for all of AWS; `control` answers the paths below `/_localcloud/`
//! - `node`: a launched instance: root folder, IMDS, the agent's process (`agent`), containers, and the stand-in for
//!   the ECS agent (`ecs_agent`)
//! - `port`: a node's port, which can refuse connections
//! - `hosts`: instead of nodes, hosts that somebody else boots
//! - `process`: process groups, so that nothing is left
//! - `clock`: the only reader of the clock
//!
//! Everything runs on one thread. The cloud's lock is held for single calls of the core and never over an await.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::{Cloud, Effect};

mod agent;
pub mod clock;
mod control;
mod ecs_agent;
mod hosts;
mod node;
mod port;
mod process;
pub mod server;

use hosts::Hosts;
use node::Node;

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
pub struct Shell {
    settings: Settings,
    /// Where the cloud's own port is, as a URL.
    url: String,
    cloud: Mutex<Cloud>,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    hosts: Option<Hosts>,
}

impl Shell {
    fn new(cloud: Cloud, settings: Settings, url: String) -> Arc<Self> {
        let hosts = settings.metadata_at.map(|_| Hosts::default());
        Arc::new(Self { settings, url, cloud: Mutex::new(cloud), nodes: Mutex::default(), hosts })
    }

    /// The cloud, for one call. A panic in one request must not end the others, so a poisoned lock is taken too.
    fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn node(&self, instance: &str) -> Option<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(instance).cloned()
    }

    /// One call of the core, and then whatever it wants done.
    fn act<T>(self: &Arc<Self>, call: impl FnOnce(&mut Cloud) -> T) -> T {
        let result = call(&mut self.cloud());
        self.perform();
        result
    }

    /// Does what the core wants done.
    fn perform(self: &Arc<Self>) {
        let effects = self.cloud().take_effects();
        for effect in effects {
            match effect {
                Effect::StartNode { instance } if self.hosts.is_none() => self.start_node(instance),
                Effect::StartNode { instance } => tracing::info!(%instance, "launched: its host is booted elsewhere"),
                Effect::EndNode { instance } => {
                    if let Some(node) = self.node(&instance) {
                        node.end();
                    }
                }
                Effect::RunTask { instance, task, container } => {
                    if let Some(hosts) = &self.hosts {
                        hosts.run_task(instance, task, container);
                    } else if let Some(node) = self.node(&instance) {
                        node.run_task(self, &task, &container);
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
    }

    fn start_node(self: &Arc<Self>, instance: String) {
        let node = match Node::new(&self.settings.dir, instance.clone()) {
            Ok(node) => Arc::new(node),
            Err(error) => {
                tracing::error!(%instance, "the node can't be set up: {error:#}");
                return;
            }
        };
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, Arc::clone(&node));
        node.boot(self);
    }

    /// Lets time pass until `stop` says so.
    async fn tick(self: &Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.act(|cloud| cloud.advance(clock::now()));
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
