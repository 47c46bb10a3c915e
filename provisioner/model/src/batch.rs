//! What Batch shows of compute environments, queues and jobs.

use std::collections::BTreeMap;

/// A compute environment.
#[derive(Clone, Debug)]
pub struct ComputeEnvironment {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// MANAGED or UNMANAGED.
    pub kind: String,
    /// ENABLED or DISABLED.
    pub state: String,
    /// Its status, such as VALID.
    pub status: String,
    /// Why it has this status.
    pub reason: String,
    /// The service role's ARN.
    pub service_role: String,
    /// The ECS cluster behind it.
    pub cluster: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// ENABLED or DISABLED.
    pub state: String,
    /// Its status, such as VALID.
    pub status: String,
    /// Why it has this status.
    pub reason: String,
    /// Its priority.
    pub priority: i32,
    /// Its compute environments by name, in their order.
    pub environments: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The statuses of a job, in the order of its life.
pub const JOB_STATES: [&str; 7] =
    ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"];
