//! What the world is like, and what can be wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::lifecycle::{ExtensionAnswer, Outcome};
use crate::ports::{Identity, Saved};

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct FakeTask {
    /// When it ends by itself.
    pub(crate) ends_at: Timestamp,
    /// How long it takes to stop when asked; `None` when it never does.
    pub(crate) stops_in: Option<SignedDuration>,
    /// When it was asked to stop, and with what reason.
    pub(crate) stop: Option<(Timestamp, String)>,
    /// When the container runtime sent it SIGTERM, and when SIGKILL follows.
    pub(crate) local: Option<(Timestamp, Timestamp)>,
}

impl FakeTask {
    /// One that runs to this time and obeys within a second.
    pub(crate) fn until(ends_at: Timestamp) -> Self {
        Self { ends_at, stops_in: Some(SignedDuration::from_secs(1)), stop: None, local: None }
    }

    pub(crate) fn ended_at(&self) -> Timestamp {
        let stopped = self.stop.as_ref().and_then(|(at, _)| Some(*at + self.stops_in?));
        let asked = stopped.map_or(self.ends_at, |at| at.min(self.ends_at));
        let local = self
            .local
            .map(|(at, killed)| self.stops_in.map_or(killed, |takes| killed.min(at + takes)));
        local.map_or(asked, |at| at.min(asked))
    }
}

/// What befalls one call that the agent makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails and has no effect.
    Fails,
    /// It has no effect and no end.
    Hangs,
    /// It has no effect, and the answer says what isn't so.
    Lies,
    /// The agent's process is killed before it.
    DiesBefore,
    /// The agent's process is killed after it, before the answer is there.
    DiesAfter,
}

/// What the world does about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    True,
    Failure,
    Lie,
}

/// What the world is like.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) tasks: BTreeMap<String, FakeTask>,
    pub(crate) ecs_agent_runs: bool,
    pub(crate) registered: bool,
    /// The ECS agent ends with this code when it is started.
    pub(crate) ecs_exit: Option<i32>,
    /// It joins this cluster instead of its own.
    pub(crate) joins: Option<String>,
    /// It runs and doesn't register.
    pub(crate) never_registers: bool,
    pub(crate) drained: bool,
    pub(crate) drained_at: Option<Timestamp>,
    pub(crate) deregistered: bool,
    /// Tasks of which ECS has a reason why they stop.
    pub(crate) stops_taken: BTreeSet<String>,
    /// Tasks whose jobs were lost by deregistering.
    pub(crate) lost: Vec<String>,
    pub(crate) notice: Option<Timestamp>,
    /// What else IMDS says.
    pub(crate) termination_time: Option<Timestamp>,
    pub(crate) rebalance: Option<Timestamp>,
    pub(crate) maintenance: Option<Timestamp>,
    pub(crate) end_tag: Option<Timestamp>,
    /// What ECS was told of it.
    pub(crate) answers: Vec<ExtensionAnswer>,
    pub(crate) saved: Option<Saved>,
    /// Every request to ECS fails, or hangs for ever.
    pub(crate) ecs_fails: bool,
    pub(crate) ecs_hangs: bool,
    /// Commands on the host fail, or hang.
    pub(crate) host_fails: bool,
    pub(crate) stop_ecs_hangs: bool,
    /// The container runtime doesn't do what it is told.
    pub(crate) docker_fails: bool,
    /// The ECS agent is gone although nobody stopped it, from this time on.
    pub(crate) ecs_agent_dies_at: Option<Timestamp>,
    /// ECS answers StopTask with this.
    pub(crate) stop_task_is: Option<Outcome>,
    /// The disk is full.
    pub(crate) disk_fails: bool,
    /// IMDS answers with errors so many times.
    pub(crate) imds_fails: u32,
    /// What IMDS gives out.
    pub(crate) identity: Option<Identity>,
    pub(crate) user_data: Option<String>,
    /// Introspection knows of no registration, although there is one.
    pub(crate) introspection_blind: bool,
    /// How many calls the agent has made, whether its process is dead, and which call something
    /// befalls.
    pub(crate) acts: usize,
    pub(crate) dead: bool,
    pub(crate) trouble: Option<(usize, Trouble)>,
    /// Introspection lists no task, whatever runs; ECS says that all have stopped.
    pub(crate) introspection_lies: bool,
    pub(crate) ecs_lies: bool,
    /// All that was asked for, in order, but for what is only looked at.
    pub(crate) log: Vec<(Timestamp, String)>,
    pub(crate) status: String,
}
