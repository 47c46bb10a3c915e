//! The agent's life as a state machine: facts come in as [`Event`]s, what has to be done comes out
//! as [`Action`]s. There is no I/O here and no clock, and [`Rules::step`] gives the same answer to
//! the same question.
//!
//! - `state.rs`: what is known ([`State`])
//! - `events.rs`: what can happen ([`Event`]), what can be asked for ([`Action`])
//! - `step.rs`: the transitions, with their table
//! - `facts.rs`: what an event teaches
//! - `deadlines.rs`: what moves the block's moments, or cuts them short
//! - `retry_schedule.rs`: when a thing is asked for, and when again

mod deadlines;
mod events;
mod facts;
mod retry_schedule;
mod state;
mod step;

#[cfg(test)]
mod tests;

use jiff::SignedDuration;
use node_contract::NodeConfig;

pub use events::{Action, EcsUnit, Event, ExtensionAnswer, InstanceStatus, Outcome, Survey};
pub(crate) use retry_schedule::RetrySchedule;
pub(crate) use state::{Idle, LeaveStep, Task};
pub use state::{OnHost, Phase, Registration, State, Why};

/// What doesn't change during a life.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The cluster to be in, a name or an ARN.
    pub cluster: String,
    /// The settings of the block that the instance belongs to.
    pub config: NodeConfig,
    /// How long before tasks are stopped they are warned, if at all.
    pub warn_lead: Option<SignedDuration>,
    /// How long nothing must have run before the instance counts as idle.
    pub idle_settle: SignedDuration,
    /// A number from 0 to 999 that differs between instances, so that a thousand of them don't ask
    /// ECS in step.
    pub spread: u16,
}

impl Rules {
    /// Whether a cluster given by name or ARN is the one to be in.
    #[must_use]
    pub(crate) fn is_own_cluster(&self, cluster: &str) -> bool {
        name_of(cluster) == name_of(&self.cluster)
    }
}

/// The name in an ARN, or the name itself.
fn name_of(cluster: &str) -> &str {
    cluster.rsplit('/').next().unwrap_or(cluster)
}

/// What is kept of the time between stopping tasks and the end for reporting them to ECS and for
/// leaving: a quarter, at least 2 s and at most 60 s. Half of it is for reporting, a quarter for
/// leaving, a quarter for powering off.
#[must_use]
pub(crate) fn reporting_margin(stop_lead: SignedDuration) -> SignedDuration {
    (stop_lead / 4).clamp(SignedDuration::from_secs(2), SignedDuration::from_secs(60))
}

/// The [`Rules::spread`] of an instance: the same one always, another for another.
#[must_use]
pub fn spread_of(instance: &str) -> u16 {
    // FNV-1a: nothing hangs on its quality, and it is the same in every build.
    let hash = instance.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u16::try_from(hash % 1000).unwrap_or_default()
}
