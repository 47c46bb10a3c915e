//! Programs under test that are broken on purpose, as wrappers around their ports: what the rules
//! are good for is shown by what they catch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use spotblock_agent::lifecycle::{EcsUnit, ExtensionAnswer, InstanceStatus, Registration, Survey};
use spotblock_agent::ports::{
    Answer, Cluster, ClusterError, Details, Host, HostError, Identity, Metadata, MetadataError,
    Ports, Saved, Signal, StateStore, StoreError,
};

use crate::ports::Agent;

mod provisioner;

pub use provisioner::{again, clock, spoilt, swallows};

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The agent leaves before ECS knows its tasks as STOPPED.
    LeavesEarly,
    /// The agent drains and never stops a task.
    NeverStops,
    /// The agent doesn't see that AWS takes the instance.
    IgnoresNotice,
    /// The agent takes its end to be later than it is, as if a tag had said so.
    LoosensEnd,
    /// The agent forgets its state when it is started again, and sets the instance ACTIVE.
    Undrains,
    /// The provisioner asks for each purchase a second time, under another client token.
    BuysTwice,
    /// `extend` doesn't move the schedules that end the block's instances.
    KeepsSchedules,
    /// `up` makes no schedule.
    MakesNoSchedule,
    /// `reap` goes by a clock that is two hours ahead.
    ReapsEarly,
    /// `reap` ends no instance.
    NeverReaps,
    /// Each run of `up` names its record in its own way, so that of two at once none finds the
    /// other's.
    NamesFreely,
    /// There is no guard.
    Unguarded,
    /// The agent doesn't see scheduled events.
    IgnoresMaintenance,
    /// `down` cancels no capacity reservation.
    KeepsReservations,
    /// Every purchase goes by the same client token, whatever block it is for.
    ReusesToken,
    /// The agent takes a moment in the tag that moves the end for a notice.
    BelievesTag,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LeavesEarly,
        Self::NeverStops,
        Self::IgnoresNotice,
        Self::LoosensEnd,
        Self::Undrains,
        Self::BuysTwice,
        Self::KeepsSchedules,
        Self::MakesNoSchedule,
        Self::ReapsEarly,
        Self::NeverReaps,
        Self::NamesFreely,
        Self::Unguarded,
        Self::IgnoresMaintenance,
        Self::KeepsReservations,
        Self::ReusesToken,
        Self::BelievesTag,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeavesEarly => "leaves-early",
            Self::NeverStops => "never-stops",
            Self::IgnoresNotice => "ignores-notice",
            Self::LoosensEnd => "loosens-end",
            Self::Undrains => "undrains",
            Self::BuysTwice => "buys-twice",
            Self::KeepsSchedules => "keeps-schedules",
            Self::MakesNoSchedule => "makes-no-schedule",
            Self::ReapsEarly => "reaps-early",
            Self::NeverReaps => "never-reaps",
            Self::NamesFreely => "names-freely",
            Self::Unguarded => "unguarded",
            Self::IgnoresMaintenance => "ignores-maintenance",
            Self::KeepsReservations => "keeps-reservations",
            Self::ReusesToken => "reuses-token",
            Self::BelievesTag => "believes-tag",
        }
    }
}

/// The agent's ports with what is wrong with them.
#[must_use]
pub fn agent(mutant: Option<Mutant>, mut ports: Ports, agent: &Arc<Agent>) -> Ports {
    let broken = || Broken { mutant, agent: Arc::clone(agent), acted: AtomicBool::new(false) };
    match mutant {
        Some(Mutant::LeavesEarly) => ports.cluster = Arc::new(broken()),
        Some(Mutant::NeverStops) => {
            (ports.cluster, ports.host) = (Arc::new(broken()), Arc::new(broken()))
        }
        Some(
            Mutant::IgnoresNotice
            | Mutant::LoosensEnd
            | Mutant::IgnoresMaintenance
            | Mutant::BelievesTag,
        ) => ports.metadata = Arc::new(broken()),
        Some(Mutant::Undrains) => {
            (ports.cluster, ports.store) = (Arc::new(broken()), Arc::new(broken()))
        }
        // The provisioner's, or the host's.
        _ => {}
    }
    ports
}

struct Broken {
    mutant: Option<Mutant>,
    agent: Arc<Agent>,
    acted: AtomicBool,
}

impl Broken {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

impl Cluster for Broken {
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        self.agent.drain(of)
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        self.agent.answer_extension(answer)
    }

    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let status = self.agent.status(of).await?;
            let first = !self.acted.swap(true, Ordering::Relaxed);
            if self.is(Mutant::Undrains) && first && status == InstanceStatus::Draining {
                let active = json!({"cluster": of.cluster, "containerInstances": [of.instance], "status": "ACTIVE"});
                self.agent.ecs("UpdateContainerInstancesState", &of.instance, active).await?;
                return Ok(InstanceStatus::Active);
            }
            Ok(status)
        })
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(async {
            let mut survey = self.agent.survey(of, tasks).await?;
            if self.is(Mutant::LeavesEarly) {
                survey.pending = 0;
                survey.tasks.values_mut().for_each(|stopped| *stopped = true);
            }
            Ok(survey)
        })
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        if self.is(Mutant::NeverStops) {
            return Box::pin(async { Ok(()) });
        }
        self.agent.stop_task(of, task, reason)
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        self.agent.find()
    }

    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        self.agent.deregister(of)
    }
}

/// Never stops a container.
impl Host for Broken {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        self.agent.start_ecs()
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        self.agent.repair_ecs()
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        self.agent.show_ecs()
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        self.agent.stop_ecs()
    }

    fn stop_containers(&self, _: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        self.agent.warn(details)
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        self.agent.power_off()
    }
}

impl Metadata for Broken {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        self.agent.identity()
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        self.agent.user_data()
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        if self.is(Mutant::IgnoresNotice) {
            return Box::pin(async { Ok(None) });
        }
        if self.is(Mutant::BelievesTag) {
            return self.agent.signal(Signal::EndTag);
        }
        self.agent.notice()
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        match (self.mutant, signal) {
            (Some(Mutant::IgnoresNotice), Signal::TerminationTime)
            | (Some(Mutant::IgnoresMaintenance), Signal::Maintenance) => {
                Box::pin(async { Ok(None) })
            }
            (Some(Mutant::LoosensEnd), Signal::EndTag) => {
                let later = self.agent.world().now() + SignedDuration::from_mins(30);
                Box::pin(async move { Ok(Some(later)) })
            }
            _ => self.agent.signal(signal),
        }
    }
}

/// Forgets.
impl StateStore for Broken {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        self.agent.save(saved)
    }
}
