//! The sources of capacity: what each can sell and what it promises, as pure rules. One file a
//! source.
//!
//! How a source is bought is told in `block/purchase/`, which has one file a source as well.

use jiff::{SignedDuration, Timestamp};
use node_contract::{End, NodeConfig, Source, Timeline};
use serde::Serialize;

use crate::record::{BlockSpec, Pool};

mod capacity_block;
mod fleet;
mod on_demand;
mod reservation;
mod spot;
mod spot_block;

/// What a source promises of the instances that it brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guarantee {
    /// In a word or two.
    pub label: &'static str,
    /// Who ends the instances at the block's end, first of all.
    pub ended_by: &'static str,
}

/// When instances of a block end, as the agent's settings say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndRule {
    /// The end that AWS gives, or the time from the launch.
    pub end: End,
    /// How many seconds before that AWS begins to take the instance back.
    pub early_reclaim_secs: u32,
}

impl EndRule {
    /// The end of the block on an instance launched at this moment.
    #[must_use]
    pub fn end_for(self, launched: Timestamp) -> Timestamp {
        Timeline::end(self.end, self.early_reclaim_secs, launched)
    }
}

/// The rules of a source.
pub trait SourceRules: Sync {
    /// Which source.
    fn source(&self) -> Source;

    /// What it promises.
    fn guarantee(&self) -> Guarantee;

    /// Why a block can't last so long, if it can't.
    fn impossible(&self, duration: SignedDuration) -> Option<String>;

    /// How many instances it sells at most, where it says.
    fn most(&self) -> Option<u32> {
        None
    }

    /// Whether its purchase may be made by one run only, however few attempts there are.
    fn takes_turns(&self, _spec: &BlockSpec) -> bool {
        false
    }

    /// What is known beforehand, for `plan`.
    fn foreseen(&self) -> Option<&'static str> {
        None
    }

    /// The pools that are tried one after the other.
    fn pools(&self, spec: &BlockSpec) -> Vec<Pool>;

    /// When the block's instances end: after the duration. None where it isn't known yet.
    fn end_rule(&self, spec: &BlockSpec) -> Option<EndRule> {
        let secs = u32::try_from(spec.duration.as_secs()).unwrap_or(u32::MAX);
        Some(EndRule { end: End::AfterLaunchSecs(secs), early_reclaim_secs: 0 })
    }

    /// Writes the source into the agent's settings, and the end where AWS gives one.
    fn configure(&self, config: &mut NodeConfig, _spec: &BlockSpec) {
        config.source = self.source();
    }
}

/// The rules of a source.
#[must_use]
pub fn rules(source: Source) -> &'static dyn SourceRules {
    match source {
        Source::SpotBlock => &spot_block::SpotBlock,
        Source::Spot => &spot::Spot,
        Source::OnDemand => &on_demand::OnDemand,
        Source::Reservation => &reservation::CapacityReservation,
        Source::CapacityBlock => &capacity_block::CapacityBlock,
    }
}

/// All sources, in the order in which documents list them.
pub const ALL: [Source; 5] =
    [Source::SpotBlock, Source::Spot, Source::OnDemand, Source::Reservation, Source::CapacityBlock];

/// The source of this name, as spotblock.toml and records write it.
#[must_use]
pub fn named(name: &str) -> Option<Source> {
    ALL.into_iter().find(|source| source.to_string() == name)
}

/// A pool for each type in each subnet, the preferred type first.
fn by_type_and_subnet(spec: &BlockSpec) -> Vec<Pool> {
    let pool = |kind: &String, subnet: &String| Pool {
        types: vec![kind.clone()],
        subnets: vec![subnet.clone()],
    };
    let types = spec.types.iter();
    types.flat_map(|kind| spec.subnets.iter().map(move |subnet| pool(kind, subnet))).collect()
}
