//! A job.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::retry::Strategy;
use super::{Service, Tags};
use crate::journal::Event;
use crate::journal::record::What;
use crate::services::ecs::Resources;

/// A job's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JobStatus {
    Submitted,
    Pending,
    Runnable,
    Starting,
    Running,
    Succeeded,
    Failed,
}

impl JobStatus {
    pub(super) const ALL: [Self; 7] = [
        Self::Submitted,
        Self::Pending,
        Self::Runnable,
        Self::Starting,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Pending => "PENDING",
            Self::Runnable => "RUNNABLE",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A job, an array of jobs, or a child of one.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) name: String,
    /// Counts submissions: a job's age.
    pub(super) number: u64,
    /// The queue's name.
    pub(super) queue: String,
    pub(super) definition_arn: String,
    /// The definition's name and revision.
    pub(super) family: (String, u32),
    pub(super) status: JobStatus,
    pub(super) status_reason: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) stopped_at: Option<Timestamp>,
    /// The container's properties under the job's overrides.
    pub(super) properties: Value,
    pub(super) parameters: Map<String, Value>,
    pub(super) resources: Resources,
    pub(super) retry: Strategy,
    /// Seconds.
    pub(super) timeout: Option<i64>,
    /// The jobs it waits for.
    pub(super) depends_on: Vec<String>,
    pub(super) array: Array,
    pub(super) attempts: Vec<Attempt>,
    /// Where the scheduler wants it.
    pub(super) placing: Option<Placing>,
    /// The task of the attempt that is under way.
    pub(super) task: Option<String>,
    /// Why it must end without another attempt.
    pub(super) doom: Option<Doom>,
    pub(super) propagate_tags: bool,
    pub(super) scheduling_priority: Option<i32>,
    pub(super) tags: Tags,
}

/// A job's part in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Array {
    No,
    Parent { size: u32 },
    Child { parent: String, index: u32 },
}

/// The scheduler's decision, before the task exists.
#[derive(Clone, Debug)]
pub(super) struct Placing {
    /// The container instance's ARN.
    pub(super) container_instance: String,
    /// The compute environment's name.
    pub(super) environment: String,
    /// When the task is made.
    pub(super) due: Timestamp,
}

/// Why a job ends without another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// By TerminateJob, with its reason.
    Terminated(String),
    /// By its timeout.
    TimedOut,
}

impl Doom {
    /// Batch's words for it.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Terminated(reason) => reason,
            Self::TimedOut => "Job attempt duration exceeded timeout",
        }
    }
}

/// An attempt that is over.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) container_instance: Option<String>,
    /// The EC2 instance's id.
    pub(super) instance: Option<String>,
    pub(super) task: String,
    pub(super) exit_code: Option<i32>,
    pub(super) reason: Option<String>,
    pub(super) status_reason: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) stopped_at: Timestamp,
}

/// Gives a job a status and writes it down. What belongs to an attempt is told of the one under
/// way, else of the last.
pub(super) fn set_status(
    service: &mut Service<'_>,
    now: Timestamp,
    id: &str,
    status: JobStatus,
    reason: Option<String>,
) {
    let Some(job) = service.state.jobs.get_mut(id) else { return };
    job.status = status;
    job.status_reason.clone_from(&reason);
    let over = job.attempts.last();
    let running = job.task.as_deref().and_then(|task| service.ecs.task(task));
    let attempts = u32::try_from(job.attempts.len()).unwrap_or(u32::MAX);
    let what = What::Job {
        job: job.id.clone(),
        name: job.name.clone(),
        status: status.as_str().to_owned(),
        attempt: if running.is_some() { attempts.saturating_add(1) } else { attempts.max(1) },
        instance: match running {
            Some(task) => Some(task.instance.clone()),
            None => over.and_then(|attempt| attempt.instance.clone()),
        },
        exit_code: if running.is_some() {
            None
        } else {
            over.and_then(|attempt| attempt.exit_code)
        },
        reason: reason.or_else(|| match running {
            Some(_) => None,
            None => over.and_then(|attempt| attempt.status_reason.clone()),
        }),
    };
    service.journal.event(Event { at: now, what });
}
