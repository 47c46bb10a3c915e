//! What can happen, and what can be asked for.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{OnHost, Registration, Why};

/// How a request ended, as its adapter classified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, or was done already.
    Done,
    /// It may succeed another time.
    Retry,
    /// It was refused and will be refused again: a permission is missing, or the request makes no
    /// sense to the other.
    Refused,
}

/// A container instance's status at ECS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceStatus {
    /// ECS places tasks on it.
    Active,
    /// ECS places no further tasks on it.
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
    /// Its status at ECS.
    pub status: InstanceStatus,
    /// How many tasks ECS has placed that the host has not started.
    pub pending: u32,
    /// Each task asked about or listed, and whether ECS knows it as stopped or not at all.
    pub tasks: BTreeMap<String, bool>,
}

/// What became of a tag that moves the block's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionAnswer {
    /// The container instance on which it is shown.
    pub of: Registration,
    /// The moment that the tag names.
    pub asked: Timestamp,
    /// The block's end on this instance from now on.
    pub end: Timestamp,
}

/// The ECS agent, as the service manager knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcsUnit {
    /// Whether it runs or is about to; `None` when that isn't known.
    pub runs: Option<bool>,
    /// The exit code of its last end, if that was not 0.
    pub exit: Option<i32>,
}

/// What can happen to an agent, as its lifecycle is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent's process has started: everything that was under way has to be asked for again.
    Started {
        /// What introspection said of the ECS agent just now.
        registration: Option<Registration>,
    },
    /// Nothing but time has passed.
    Tick,
    /// Introspection names a registration.
    Registered(Registration),
    /// AWS gave notice that it takes the instance back.
    Notice {
        /// When it takes the instance.
        taken_at: Timestamp,
    },
    /// The instance will be gone, or of no use, at this moment: scheduled maintenance.
    Limited {
        /// From when on it is gone or of no use.
        until: Timestamp,
    },
    /// AWS recommends to leave, since the instance is likelier than others to be taken.
    Rebalance,
    /// A tag on the instance says that the block ends at this moment.
    EndMoved {
        /// The end that the tag asks for.
        to: Timestamp,
    },
    /// [`Action::AnswerExtension`] has ended.
    ExtensionAnswered {
        /// What it answered.
        answer: ExtensionAnswer,
        /// How it ended.
        outcome: Outcome,
    },
    /// [`Action::Warn`] has ended.
    Warned {
        /// The stop time that was told.
        stop_at: Timestamp,
        /// How it ended.
        outcome: Outcome,
    },
    /// Introspection's list of tasks; `None` when it didn't answer.
    OnHost(Option<BTreeMap<String, OnHost>>),
    /// The container instance's status at ECS was read.
    StatusRead {
        /// The ARN of the container instance it is about.
        instance: String,
        /// The status that ECS gives it.
        status: InstanceStatus,
    },
    /// [`Action::StartEcsAgent`] has ended.
    EcsAgentStarted(Outcome),
    /// The service manager was asked about the ECS agent.
    EcsUnitSeen(EcsUnit),
    /// [`Action::RepairEcsAgent`] has ended, or its time was up.
    EcsAgentRepaired(Outcome),
    /// Why the ECS agent has not registered, in words.
    Hindered(String),
    /// [`Action::SetDraining`] has ended.
    DrainingSet {
        /// The ARN of the container instance it is about.
        instance: String,
        /// How it ended; done means that ECS confirmed it.
        outcome: Outcome,
    },
    /// [`Action::Survey`] has ended.
    Surveyed(Result<Survey, Outcome>),
    /// [`Action::StopTask`] has ended.
    TaskStopAsked {
        /// The ARN of the task.
        task: String,
        /// How it ended.
        outcome: Outcome,
    },
    /// [`Action::StopEcsAgent`] has ended, or its time was up.
    EcsAgentStopped(Outcome),
    /// [`Action::StopContainers`] has ended, or its time was up.
    ContainersStopped(Outcome),
    /// [`Action::FindRegistration`] has ended.
    Found(Result<Option<Registration>, Outcome>),
    /// [`Action::Deregister`] has ended.
    Deregistered(Outcome),
    /// [`Action::PowerOff`] has ended, and the host lives.
    PoweredOff(Outcome),
}

/// What can be asked for. Each can be repeated: a crash may fall between saving the state and
/// acting on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write ecs.config and start the ECS agent, without waiting for it.
    StartEcsAgent,
    /// Stop the ECS agent, throw away what it has kept, write ecs.config and start it, within this
    /// time.
    RepairEcsAgent(SignedDuration),
    /// Tell tasks that they will be stopped.
    Warn {
        /// Why they will be stopped.
        why: Why,
        /// When tasks that still run are stopped.
        stop_at: Timestamp,
        /// When the instance is gone.
        end: Timestamp,
    },
    /// Let whoever moved the block's end see at ECS what became of it.
    AnswerExtension(ExtensionAnswer),
    /// Set the container instance DRAINING.
    SetDraining(Registration),
    /// Ask ECS about the instance, about these tasks and about those it lists.
    Survey {
        /// The container instance it is about.
        of: Registration,
        /// Tasks of which ECS has not said that they stopped.
        tasks: Vec<String>,
    },
    /// Stop a task, with the reason that retry rules recognise.
    StopTask {
        /// The container instance it is about.
        of: Registration,
        /// The ARN of the task.
        task: String,
        /// How long ECS has to take it.
        limit: SignedDuration,
    },
    /// Stop the ECS agent, within this time.
    StopEcsAgent(SignedDuration),
    /// Stop the containers of tasks through the container runtime.
    StopContainers {
        /// How long they have between SIGTERM and SIGKILL.
        grace: SignedDuration,
        /// How long all of it may take.
        limit: SignedDuration,
    },
    /// Ask ECS whether this instance is registered, within this time.
    FindRegistration(SignedDuration),
    /// Deregister the container instance, within this time.
    Deregister(Registration, SignedDuration),
    /// Power the host off.
    PowerOff,
}
