//! An instance of a local cloud, on which commands are run as root would.

use std::process::Stdio;

use e2e::{cli, guard};
use localcloud::client::NodeInfo;
use localcloud_core::journal::record::What;
use serde_json::Value;
use tokio::process::Command;

use crate::world::{LIMIT, World, binaries};

pub(crate) struct Host {
    pub(crate) node: NodeInfo,
    cloud: String,
}

impl Host {
    /// The first instance that was launched.
    pub(crate) async fn of(world: &World) -> Self {
        Self::all(world).await.swap_remove(0)
    }

    /// All instances, in order of their launch.
    pub(crate) async fn all(world: &World) -> Vec<Self> {
        let nodes: Vec<NodeInfo> = world.cloud.get("nodes").await.expect("the nodes");
        let events = world.cloud.events().await.expect("the events");
        let launched = events.iter().filter_map(|event| match &event.what {
            What::Launched { instance, .. } => Some(instance),
            _ => None,
        });
        let of =
            |id: &String| nodes.iter().find(|node| node.instance == *id).expect("a node").clone();
        launched.map(|id| Self { node: of(id), cloud: world.cloud.url.clone() }).collect()
    }

    /// Runs the agent's program; returns its exit code and what it said.
    pub(crate) async fn agent(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command: Command = cli::command(&binaries().agent, &self.cloud, arguments);
        let imds = self.node.imds.as_deref().expect("an IMDS");
        guard::let_ask(&mut command, imds).expect("a node's metadata service");
        command
            .arg("--root")
            .arg(&self.node.root)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let output =
            tokio::time::timeout(LIMIT, command.output()).await.expect("in time").expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// What the agent tells of itself.
    pub(crate) async fn status(&self) -> Value {
        self.try_status()
            .await
            .unwrap_or_else(|| panic!("no agent answers on {}", self.node.instance))
    }

    /// The same; nothing when no agent answers.
    pub(crate) async fn try_status(&self) -> Option<Value> {
        let (code, said, _) = self.agent(&["status", "--output", "json"]).await;
        (code == Some(0)).then(|| serde_json::from_str(&said).expect("JSON"))
    }

    /// What of this the agent has written into its record.
    pub(crate) fn record(&self, what: &str) -> Vec<Value> {
        let record = self.file("var/lib/spotblock/record.jsonl");
        let entries = record.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["what"] == what).collect()
    }

    pub(crate) fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.node.root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// The error of the problem of this name in an agent's status.
pub(crate) fn problem<'a>(status: &'a Value, what: &str) -> Option<&'a str> {
    let problems = status["problems"].as_array().expect("problems");
    problems
        .iter()
        .find(|problem| problem["what"] == what)
        .and_then(|problem| problem["error"].as_str())
}
