//! What a program outside reads from a running local cloud: the answers of its controls.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use localcloud_core::cloud::Fault;
pub use localcloud_core::hosts::NodeFault;
pub use localcloud_core::hosts::imds::Asked;
pub use localcloud_core::journal::record::What;
pub use localcloud_core::journal::{Call, Event};
pub use localcloud_core::protocol::{Caller, Options};

/// One instance, as `GET /_localcloud/hosts` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostInfo {
    /// The EC2 instance's id.
    pub instance: String,
    /// Whether EC2 has not ended it.
    pub alive: bool,
    /// Its address in its subnet, by which its metadata service knows it.
    pub address: String,
    /// The address of its network interface.
    pub mac: String,
    /// Its image.
    pub image: String,
}

/// What a host that somebody else boots is to run, as `GET /_localcloud/hosts/ID/tasks` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostTask {
    /// The task's ARN.
    pub task: String,
    /// Whether it is to stop.
    pub stop: bool,
    /// The container's name in the task definition.
    pub name: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: String,
    /// The container's command.
    pub command: Vec<String>,
    /// The container's environment.
    pub environment: Vec<(String, String)>,
}

/// What a node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A root folder, a metadata service, processes.
    Full,
    /// Nothing but the cloud's state.
    Light,
}

/// One node, as `GET /_localcloud/nodes` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeInfo {
    /// The EC2 instance's id.
    pub instance: String,
    /// Whether the host is up.
    pub up: bool,
    /// What it is made of.
    pub kind: NodeKind,
    /// Its root folder; a light node has none.
    pub root: PathBuf,
    /// Where its IMDS is, once it listens.
    pub imds: Option<String>,
    /// Where its ECS agent's introspection is or will be; empty for a light node.
    pub introspection: String,
    /// Whether the agent's process runs.
    pub agent_running: bool,
    /// The stand-in for the ECS agent: `stopped`, `starting`, `registered` or `exited 5`.
    pub ecs_agent: String,
    /// How many containers live.
    pub containers: usize,
}

impl NodeInfo {
    /// What is told of a light node.
    pub(crate) fn of_light(info: localcloud_core::hosts::simulated_hosts::Info) -> Self {
        Self {
            instance: info.instance,
            up: info.up,
            kind: NodeKind::Light,
            root: PathBuf::new(),
            imds: None,
            introspection: String::new(),
            agent_running: false,
            ecs_agent: if info.registered { "registered" } else { "starting" }.to_owned(),
            containers: info.containers,
        }
    }
}
