//! What the ECS agent keeps between its starts. The real one's `agent.db` is a database; this one
//! is JSON.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where it is, below the root folder.
const FILE: &str = "var/lib/ecs/data/agent.db";

/// What is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The cluster it registered with, as its settings named it.
    pub(super) cluster: String,
    /// The container instance's ARN.
    pub(super) container_instance: String,
    /// The EC2 instance's id.
    pub(super) ec2_instance: String,
}

/// What an earlier start left, if it can be read.
pub(super) fn read(root: &Path) -> Option<Checkpoint> {
    serde_json::from_slice(&std::fs::read(root.join(FILE)).ok()?).ok()
}

/// Keeps it for the next start. Failing to is no reason not to serve.
pub(super) fn write(root: &Path, checkpoint: &Checkpoint) {
    let written = serde_json::to_vec(checkpoint).map_err(std::io::Error::from);
    if let Err(error) = written.and_then(|bytes| std::fs::write(root.join(FILE), bytes)) {
        tracing::warn!("{FILE}: {error}");
    }
}
