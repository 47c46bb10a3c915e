//! What a program outside reads from a running local cloud: the answers of its controls.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::core::record::What;
pub use crate::core::{Call, Caller, Event, Fault, NodeFault, Options};

/// One node, as `GET /_localcloud/nodes` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeInfo {
    /// The EC2 instance's id.
    pub instance: String,
    /// Whether the host is up.
    pub up: bool,
    /// Its root folder.
    pub root: PathBuf,
    /// Where its IMDS is, once it listens.
    pub imds: Option<String>,
    /// Where its ECS agent's introspection is or will be.
    pub introspection: String,
    /// Whether the agent's process runs.
    pub agent_running: bool,
    /// The stand-in for the ECS agent: `stopped`, `starting`, `registered` or `exited 5`.
    pub ecs_agent: String,
    /// How many containers live.
    pub containers: usize,
}
