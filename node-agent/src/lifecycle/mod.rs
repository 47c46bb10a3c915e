//! The agent's life as a state machine: facts come in as [`Event`]s, what has to be done comes out as [`Action`]s.
//! There is no I/O here and no clock, and [`Rules::step`] gives the same answer to the same question.
//!
//! - `mod.rs`: what is known ([`State`]), what can happen ([`Event`]), what can be asked for ([`Action`])
//! - `step.rs`: the transitions, with their table
//! - `facts.rs`: what an event teaches
//! - `asks.rs`: when a thing is asked for, and when again

mod asks;
mod facts;
mod step;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::Timeline;
use serde::{Deserialize, Serialize};

pub use asks::Ask;

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
    /// Nothing runs any more, and ECS knows it.
    Idle,
    /// The time left is what leaving takes.
    LeaveTime,
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
            Self::Idle => "idle",
            Self::LeaveTime => "leave-time",
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
pub struct Task {
    /// What introspection said of it last; `None` when it doesn't list it.
    pub on_host: Option<OnHost>,
    /// Whether ECS knows it as STOPPED (`lastStatus`), or no longer knows it at all.
    pub stopped_for_ecs: bool,
    /// StopTask, once it has been asked for.
    pub stop: Option<Ask>,
}

impl Task {
    /// Whether it is over for ECS and on the host. What is over on the host alone would run again if the host left now.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stopped_for_ecs && self.on_host != Some(OnHost::Live)
    }

    /// Whether a container of it may still run. A task that has ended on the host and waits to be reported does not
    /// count: stopping it would put a reason on a job that succeeded.
    #[must_use]
    pub fn is_live(&self) -> bool {
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
pub enum Idle {
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
pub enum LeaveStep {
    /// The ECS agent is being stopped.
    StopEcsAgent,
    /// ECS is asked whether a registration got through.
    Find,
    /// ECS is asked whether that registration has tasks.
    Inspect,
    /// The container instance is being deregistered.
    Deregister,
    /// Nothing is left to be done.
    Done,
}

/// All the agent knows of its life. It can be saved at any moment and taken up again: it holds wall times only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where in its life it is.
    pub phase: Phase,
    /// Why.
    pub why: Why,
    /// Since when.
    pub since: Timestamp,
    /// The block's moments, as tightened so far.
    pub timeline: Timeline,
    /// Whether AWS gave notice.
    pub noticed: bool,
    /// The container instance.
    pub registration: Option<Registration>,
    /// The tasks: while serving those that introspection lists, from then on all that were ever seen.
    pub tasks: BTreeMap<String, Task>,
    /// Whether introspection answered when it was asked last. Unknown after a restart.
    #[serde(skip)]
    pub host_known: bool,
    /// Whether ECS confirmed that no task is placed here any more.
    pub drained: bool,
    /// Whether nothing runs.
    pub idle: Idle,
    /// How far leaving has come.
    pub leave: LeaveStep,
    /// Whether the agent left without having served, so that a registration may have got through unseen.
    pub look: bool,
    /// Starting the ECS agent, while that is wanted.
    pub start: Option<Ask>,
    /// Setting DRAINING.
    pub drain: Ask,
    /// Asking ECS about the tasks.
    pub survey: Ask,
    /// The present step of leaving.
    pub step: Ask,
    /// Powering off.
    pub power_off: Ask,
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
            registration: None,
            tasks: BTreeMap::new(),
            host_known: false,
            drained: false,
            idle: Idle::No,
            leave: LeaveStep::StopEcsAgent,
            look: false,
            start: Some(Ask::default()),
            drain: Ask::default(),
            survey: Ask::default(),
            step: Ask::default(),
            power_off: Ask::default(),
        }
    }

    /// How many tasks may still run.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.tasks.values().filter(|task| task.is_live()).count()
    }

    /// From here on the agent leaves, whatever still runs.
    #[must_use]
    pub fn leave_at(&self) -> Timestamp {
        self.before_end(2)
    }

    /// From here on the host is powered off, however far leaving has come: going down takes it a while.
    #[must_use]
    pub fn power_off_at(&self) -> Timestamp {
        self.before_end(4)
    }

    /// A part of the margin before the end, but not before tasks are stopped.
    fn before_end(&self, part: i32) -> Timestamp {
        let lead = self.timeline.stop_at.duration_until(self.timeline.end);
        let moment = self.timeline.end.checked_sub(reporting_margin(lead) / part);
        moment.unwrap_or(Timestamp::MIN).max(self.timeline.stop_at)
    }
}

/// What is kept of the time between stopping tasks and the end for reporting them to ECS and for leaving: a quarter,
/// at least 2 s and at most 60 s. Half of it is for reporting, a quarter for leaving, a quarter for powering off.
#[must_use]
pub fn reporting_margin(stop_lead: SignedDuration) -> SignedDuration {
    (stop_lead / 4).clamp(SignedDuration::from_secs(2), SignedDuration::from_secs(60))
}

/// How a request ended, as its adapter classified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or was done already.
    Done,
    /// It may succeed another time.
    Retry,
    /// It was refused and will be refused again: a permission is missing, or the request makes no sense to the other.
    Refused,
}

/// A container instance's status at ECS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceStatus {
    /// It takes tasks.
    Active,
    /// It takes no further tasks.
    Draining,
    /// It is deregistered, or ECS doesn't know it: it takes no tasks either.
    Gone,
    /// Registering, deregistering, or one that didn't exist when this was written.
    Other(String),
}

/// What ECS says of an instance and its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The container instance asked about.
    pub instance: String,
    /// Its status.
    pub status: InstanceStatus,
    /// How many tasks ECS has placed that the host has not started.
    pub pending: u32,
    /// Each task asked about or listed, and whether ECS knows it as stopped or not at all.
    pub tasks: BTreeMap<String, bool>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent's process has started: everything that was under way has to be asked for again.
    Started {
        /// What introspection said of the ECS agent just now.
        registration: Option<Registration>,
    },
    /// Time has passed.
    Tick,
    /// Introspection names a registration.
    Registered(Registration),
    /// AWS gave notice.
    Notice {
        /// When it takes the instance.
        taken_at: Timestamp,
    },
    /// Introspection's list of tasks; `None` when it didn't answer.
    OnHost(Option<BTreeMap<String, OnHost>>),
    /// The container instance's status at ECS was read.
    StatusRead {
        /// The container instance.
        instance: String,
        /// Its status.
        status: InstanceStatus,
    },
    /// [`Action::StartEcsAgent`] has ended.
    EcsAgentStarted(Outcome),
    /// [`Action::SetDraining`] has ended.
    DrainingSet {
        /// The container instance.
        instance: String,
        /// How it ended; done means that ECS confirmed it.
        outcome: Outcome,
    },
    /// [`Action::Survey`] has ended.
    Surveyed(Result<Survey, Outcome>),
    /// [`Action::StopTask`] has ended.
    TaskStopAsked {
        /// The task.
        task: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// [`Action::StopEcsAgent`] has ended, or its time was up.
    EcsAgentStopped(Outcome),
    /// [`Action::FindRegistration`] has ended.
    Found(Result<Option<Registration>, Outcome>),
    /// [`Action::Deregister`] has ended.
    Deregistered(Outcome),
    /// [`Action::PowerOff`] has ended, and the host lives.
    PoweredOff(Outcome),
}

/// What can be asked for. Each can be repeated: a crash may fall between saving the state and acting on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write ecs.config and start the ECS agent, without waiting for it.
    StartEcsAgent,
    /// Set the container instance DRAINING.
    SetDraining(Registration),
    /// Ask ECS about the instance, about these tasks and about those it lists.
    Survey {
        /// The container instance.
        of: Registration,
        /// Tasks of which ECS has not said that they stopped.
        tasks: Vec<String>,
    },
    /// Stop a task, with the reason that retry rules recognise.
    StopTask {
        /// The container instance.
        of: Registration,
        /// The task's ARN.
        task: String,
    },
    /// Stop the ECS agent, within this time.
    StopEcsAgent(SignedDuration),
    /// Ask ECS whether this instance is registered, within this time.
    FindRegistration(SignedDuration),
    /// Deregister the container instance, within this time.
    Deregister(Registration, SignedDuration),
    /// Power the host off.
    PowerOff,
}

/// What doesn't change during a life.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The cluster to be in, a name or an ARN.
    pub cluster: String,
    /// How long nothing must have run before the instance counts as idle.
    pub idle_settle: SignedDuration,
    /// A number from 0 to 999 that differs between instances, so that a thousand of them don't ask ECS in step.
    pub spread: u16,
}

impl Rules {
    /// Whether a cluster given by name or ARN is the one to be in.
    #[must_use]
    pub fn is_own_cluster(&self, cluster: &str) -> bool {
        name_of(cluster) == name_of(&self.cluster)
    }
}

/// The name in an ARN, or the name itself.
fn name_of(cluster: &str) -> &str {
    cluster.rsplit('/').next().unwrap_or(cluster)
}

/// The [`Rules::spread`] of an instance: the same one always, another for another.
#[must_use]
pub fn spread_of(instance: &str) -> u16 {
    // FNV-1a: nothing hangs on its quality, and it is the same in every build.
    let hash = instance
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from(hash % 1000).unwrap_or_default()
}
