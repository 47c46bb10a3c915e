//! What the core asks the outside to do.

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Boot a node for this instance.
    StartNode {
        /// The instance's id.
        instance: String,
    },
    /// End the node of this instance: all its processes are killed at once, as a host that is gone.
    EndNode {
        /// The instance's id.
        instance: String,
    },
    /// Give a task to the node's ECS agent.
    RunTask {
        /// The instance's id.
        instance: String,
        /// The task's ARN.
        task: String,
        /// What its container does.
        container: Container,
    },
    /// Tell the node's ECS agent that a task is to stop.
    StopTask {
        /// The instance's id.
        instance: String,
        /// The task's ARN.
        task: String,
    },
}

/// A job's container, reduced to what the stand-in can act out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The container's name in the task definition.
    pub name: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: String,
    /// Its command.
    pub command: Vec<String>,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}
