//! What is written down: every call, and everything that happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocol::Caller;

/// One call of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Counts from 1.
    pub seq: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// Who called.
    pub caller: Caller,
    /// `ec2`, `batch`, ...
    pub service: String,
    /// AWS's name of the operation.
    pub operation: String,
    /// Its parameters.
    pub parameters: Value,
    /// The HTTP status of the answer.
    pub status: u16,
    /// AWS's error code, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The request id in the answer.
    pub request_id: String,
}

impl Call {
    /// Whether the operation, by its name, only looks at things.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        ["Describe", "Get", "List", "Simulate"]
            .iter()
            .any(|beginning| self.operation.starts_with(beginning))
    }
}

/// Something that happened in the cloud.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum What {
    /// An instance was launched. `launch_time` is what it believes (`pendingTime`), which
    /// `block_ends_in` dates back.
    Launched {
        /// The instance.
        instance: String,
        /// Its pendingTime.
        launch_time: Timestamp,
        /// The spot request or fleet that brought it.
        by: String,
        /// When AWS itself would take it, where it would: of a capacity block, as it was at the
        /// launch.
        ends_at: Option<Timestamp>,
    },
    /// A container instance registered.
    Joined {
        /// The EC2 instance.
        instance: String,
        /// The container instance's ARN.
        container_instance: String,
        /// The cluster's name.
        cluster: String,
    },
    /// A container instance's status changed.
    ContainerInstanceStatus {
        /// The EC2 instance.
        instance: String,
        /// ACTIVE, DRAINING, INACTIVE.
        status: String,
    },
    /// AWS told an instance that it takes it.
    InterruptionNotice {
        /// The instance.
        instance: String,
        /// When it is taken.
        taken_at: Timestamp,
    },
    /// An instance is gone.
    Gone {
        /// The instance.
        instance: String,
        /// `power-off`, `terminated`, `taken-by-aws`, `vanished`; `stopped` when its host powered
        /// off and the instance is kept, as one is whose shutdown behaviour isn't `terminate`.
        how: String,
    },
    /// A job's status changed.
    Job {
        /// The job's id.
        job: String,
        /// The job's name.
        name: String,
        /// Its new status.
        status: String,
        /// The attempt, from 1.
        attempt: u32,
        /// The instance it is on.
        instance: Option<String>,
        /// The exit code.
        exit_code: Option<i32>,
        /// The reason for the status.
        reason: Option<String>,
    },
    /// A one-time schedule's time came.
    Schedule {
        /// Its name.
        schedule: String,
        /// `fired`: its call succeeded; `retries`: it will be made again; `failed`: it won't.
        change: String,
        /// AWS's code, or what else went wrong.
        error: Option<String>,
    },
    /// A container's process began or ended on a node, as opposed to what ECS has been told.
    Process {
        /// The instance.
        instance: String,
        /// The task's ARN.
        task: String,
        /// `started` or `ended`.
        change: String,
        /// Its exit code when it ended.
        exit_code: Option<i32>,
    },
}
