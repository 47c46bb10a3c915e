//! What is known.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::Timeline;
use serde::{Deserialize, Serialize};

use super::{ExtensionAnswer, RetrySchedule, reporting_margin};

/// How long before AWS takes the instance what still lives is killed, at the least.
const KILL_BEFORE_TAKEN: SignedDuration = SignedDuration::from_secs(15);

/// What a busy host and a second try may take before anything counts as unheard.
const LEAST_PATIENCE: SignedDuration = SignedDuration::from_secs(3);

/// Where in its life the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// ecs.config is written and the ECS agent asked to start; it has not registered yet.
    Joining,
    /// The instance takes tasks.
    Serving,
    /// No further task is taken; those that run may finish.
    Draining,
    /// Tasks that still run are stopped.
    Stopping,
    /// The ECS agent is stopped and the instance deregistered.
    Leaving,
    /// The host has been asked to power off.
    Gone,
}

impl Phase {
    /// The word for it in logs and in the status.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Leaving => "leaving",
            Self::Gone => "gone",
        }
    }
}

/// Why the agent is in its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It has just begun.
    Boot,
    /// The ECS agent registered in its cluster.
    Registered,
    /// The drain's time has come.
    DrainTime,
    /// The time to stop tasks has come.
    StopTime,
    /// AWS takes the instance back.
    Notice,
    /// Somebody else set DRAINING.
    SetOutside,
    /// AWS recommends to leave, and the block's settings say to follow it.
    Rebalance,
    /// No task came for as long as the block's settings say.
    Released,
    /// Nothing runs any more, and ECS knows it.
    Idle,
    /// The time left is what leaving takes.
    LeaveTime,
    /// ECS took no DRAINING or no StopTask, or its agent is silent: the agent stops the containers
    /// itself.
    Unheard,
    /// A registration that got through while the agent left has tasks.
    LateTasks,
    /// All that could be done before powering off is done.
    Left,
    /// The block's end has come.
    End,
}

impl Why {
    /// The word for it in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Registered => "registered",
            Self::DrainTime => "drain-time",
            Self::StopTime => "stop-time",
            Self::Notice => "notice",
            Self::SetOutside => "set-outside",
            Self::Rebalance => "rebalance",
            Self::Released => "released",
            Self::Idle => "idle",
            Self::LeaveTime => "leave-time",
            Self::Unheard => "unheard",
            Self::LateTasks => "late-tasks",
            Self::Left => "left",
            Self::End => "end",
        }
    }
}

/// A container instance, as the ECS agent or ECS knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The container instance's ARN.
    pub instance: String,
    /// The cluster it registered in, a name or an ARN.
    pub cluster: String,
}

/// What introspection says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnHost {
    /// Pending, running, or anything else that isn't stopped.
    Live,
    /// Its containers have stopped.
    Stopped,
}

/// A task this instance has had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// When it was seen first.
    #[serde(default)]
    pub(crate) seen_at: Option<Timestamp>,
    /// What introspection said of it last; `None` when it doesn't list it.
    pub(crate) on_host: Option<OnHost>,
    /// Whether ECS knows it as STOPPED (`lastStatus`), or no longer knows it at all.
    pub(crate) stopped_for_ecs: bool,
    /// StopTask, once it has been asked for.
    pub(crate) stop: Option<RetrySchedule>,
    /// When StopTask was asked for first.
    #[serde(default)]
    pub(crate) stop_since: Option<Timestamp>,
    /// Whether ECS took a StopTask.
    #[serde(default)]
    pub(crate) stop_taken: bool,
}

impl Task {
    /// Whether it is over for ECS and on the host. What is over on the host alone would run again
    /// if the host left now.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.stopped_for_ecs && self.on_host != Some(OnHost::Live)
    }

    /// Whether a container of it may still run. A task that has ended on the host and waits to be
    /// reported does not count: stopping it would put a reason on a job that succeeded.
    #[must_use]
    pub(crate) fn is_live(&self) -> bool {
        match self.on_host {
            Some(OnHost::Live) => true,
            Some(OnHost::Stopped) => false,
            None => !self.stopped_for_ecs,
        }
    }
}

/// How far the agent is in being sure that nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Idle {
    /// Something runs, or may.
    No,
    /// Nothing ran at this moment; to be confirmed after the settle time.
    Since(Timestamp),
    /// Nothing ran, twice over the settle time.
    Sure,
}

/// How far leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LeaveStep {
    /// The ECS agent is being stopped.
    StopEcsAgent,
    /// The containers are being stopped through the container runtime.
    StopContainers,
    /// ECS is asked whether a registration got through.
    Find,
    /// ECS is asked whether that registration has tasks.
    Inspect,
    /// The container instance is being deregistered.
    Deregister,
    /// Nothing is left to be done.
    Done,
}

/// All the agent knows of its life. It can be saved at any moment and taken up again: it holds wall
/// times only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where in its life it is.
    pub phase: Phase,
    /// Why it is in this phase.
    pub why: Why,
    /// Since when it is in this phase.
    pub(crate) since: Timestamp,
    /// The block's moments, as tightened so far.
    pub(crate) timeline: Timeline,
    /// Whether AWS gave notice.
    pub(crate) noticed: bool,
    /// Beyond this no extension reaches: the host's given maximum, or scheduled maintenance.
    #[serde(default)]
    pub(crate) limit: Option<Timestamp>,
    /// Where the user moved the block's end.
    #[serde(default)]
    pub(crate) moved_to: Option<Timestamp>,
    /// The moment in the tag that moves the block's end, as it was read last.
    #[serde(default)]
    pub(crate) asked_for: Option<Timestamp>,
    /// What ECS was told became of it, or refused to hear.
    #[serde(default)]
    pub(crate) answered: Option<ExtensionAnswer>,
    /// When to tell ECS.
    #[serde(default)]
    pub(crate) answer: RetrySchedule,
    /// Whether AWS recommended to leave.
    #[serde(default)]
    pub(crate) rebalance: bool,
    /// Since when no task has run while serving.
    #[serde(default)]
    pub(crate) quiet_since: Option<Timestamp>,
    /// The longest that a task has taken here so far, in minutes begun; only if the drain lead goes
    /// by it.
    #[serde(default)]
    pub(crate) longest_minutes: u32,
    /// The stop time that tasks were warned of.
    #[serde(default)]
    pub(crate) warned_of: Option<Timestamp>,
    /// The container instance that the ECS agent registered last.
    pub registration: Option<Registration>,
    /// The tasks: while serving those that introspection lists, from then on all that were ever
    /// seen.
    pub(crate) tasks: BTreeMap<String, Task>,
    /// Whether introspection answered when it was asked last. Unknown after a restart.
    #[serde(skip)]
    pub(crate) host_known: bool,
    /// Since when introspection has been silent, or hasn't been asked yet.
    #[serde(default)]
    pub(crate) silent_since: Option<Timestamp>,
    /// Whether ECS confirmed that no task is placed here any more.
    pub(crate) drained: bool,
    /// Whether it is sure that nothing runs.
    pub(crate) idle: Idle,
    /// How far leaving has come.
    pub(crate) leave: LeaveStep,
    /// Whether the agent left without having served, so that a registration may have got through
    /// unseen.
    pub(crate) look: bool,
    /// Whether the containers have to be stopped by the agent, after the ECS agent.
    #[serde(default)]
    pub(crate) local: bool,
    /// When to kill the containers that outlived their stop, while the ECS agent can still report
    /// it.
    #[serde(default)]
    pub(crate) kill: RetrySchedule,
    /// When to start the ECS agent, while that is wanted.
    pub(crate) start: Option<RetrySchedule>,
    /// When to give the ECS agent a new beginning, while that is wanted.
    #[serde(default)]
    pub(crate) repair: Option<RetrySchedule>,
    /// Whether it was given one: a second would change nothing.
    #[serde(default)]
    pub(crate) repaired: bool,
    /// Why the ECS agent has not registered, in words, as far as that was found out.
    #[serde(default)]
    pub(crate) hindrance: Option<String>,
    /// When to warn the tasks.
    #[serde(default)]
    pub(crate) warn: RetrySchedule,
    /// When to ask for DRAINING.
    pub(crate) drain: RetrySchedule,
    /// Since when this process has asked for DRAINING that ECS has not confirmed.
    #[serde(default)]
    pub(crate) drain_since: Option<Timestamp>,
    /// When to ask ECS about the tasks.
    pub(crate) survey: RetrySchedule,
    /// When to take the present step of leaving.
    pub(crate) step: RetrySchedule,
    /// When to ask for the power-off.
    pub(crate) power_off: RetrySchedule,
}

impl State {
    /// The beginning of a life.
    #[must_use]
    pub fn new(timeline: Timeline, now: Timestamp) -> Self {
        Self {
            phase: Phase::Joining,
            why: Why::Boot,
            since: now,
            timeline,
            noticed: false,
            limit: None,
            moved_to: None,
            asked_for: None,
            answered: None,
            answer: RetrySchedule::default(),
            rebalance: false,
            quiet_since: None,
            longest_minutes: 0,
            warned_of: None,
            registration: None,
            tasks: BTreeMap::new(),
            host_known: false,
            silent_since: None,
            drained: false,
            idle: Idle::No,
            leave: LeaveStep::StopEcsAgent,
            look: false,
            local: false,
            kill: RetrySchedule::default(),
            start: Some(RetrySchedule::default()),
            repair: None,
            repaired: false,
            hindrance: None,
            warn: RetrySchedule::default(),
            drain: RetrySchedule::default(),
            drain_since: None,
            survey: RetrySchedule::default(),
            step: RetrySchedule::default(),
            power_off: RetrySchedule::default(),
        }
    }

    /// How many tasks may still run.
    #[must_use]
    pub(crate) fn live_tasks(&self) -> usize {
        self.tasks.values().filter(|task| task.is_live()).count()
    }

    /// From here on the agent leaves, whatever still runs.
    #[must_use]
    pub(crate) fn leave_at(&self) -> Timestamp {
        self.before_end(2)
    }

    /// From here on the host is powered off, however far leaving has come: going down takes it a
    /// while.
    #[must_use]
    pub(crate) fn power_off_at(&self) -> Timestamp {
        self.before_end(4)
    }

    /// From here on containers that outlived their stop are killed through the container runtime,
    /// with the ECS agent still there to report it. By then the ECS agent should have killed them
    /// itself (`stop_timeout`), but for a notice shorter than that.
    #[must_use]
    pub(crate) fn kill_at(&self) -> Timestamp {
        let before = self.margin() * 3 / 4;
        let before = if self.noticed { before.max(KILL_BEFORE_TAKEN) } else { before };
        let moment = self.timeline.end.checked_sub(before).unwrap_or(Timestamp::MIN);
        // However short the notice, half of it is the tasks'.
        moment
            .max(self.timeline.stop_at.checked_add(self.lead() / 2).unwrap_or(Timestamp::MAX))
            .min(self.leave_at())
    }

    /// How long DRAINING or StopTask may find no hearing, or introspection be silent, before the
    /// agent stops the containers itself.
    #[must_use]
    pub(crate) fn patience(&self) -> SignedDuration {
        (self.margin() / 2).max(LEAST_PATIENCE)
    }

    /// A part of the margin before the end, but not before tasks are stopped.
    fn before_end(&self, part: i32) -> Timestamp {
        let moment = self.timeline.end.checked_sub(self.margin() / part);
        moment.unwrap_or(Timestamp::MIN).max(self.timeline.stop_at)
    }

    fn lead(&self) -> SignedDuration {
        self.timeline.stop_at.duration_until(self.timeline.end)
    }

    fn margin(&self) -> SignedDuration {
        reporting_margin(self.lead())
    }
}
