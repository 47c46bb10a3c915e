//! Capacity blocks: instances for machine learning, for days, paid at once and for good `[V]`.

use jiff::SignedDuration;
use node_contract::{End, NodeConfig, Source};

use super::{EndRule, Guarantee, SourceRules, by_type_and_subnet};
use crate::record::{BlockSpec, Pool};

/// How many instances a capacity block has at most `[V]`.
const MOST: u32 = 64;

/// The rules of the source `capacity-block`.
pub(super) struct CapacityBlock;

impl SourceRules for CapacityBlock {
    fn source(&self) -> Source {
        Source::CapacityBlock
    }

    fn guarantee(&self) -> Guarantee {
        let ended_by = "AWS, from 30 minutes before the capacity block's end";
        Guarantee { label: "firm", ended_by }
    }

    /// A day to 14 days in steps of one, from there to 182 in steps of seven `[V]`.
    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        let days = duration.as_hours() / 24;
        let possible = duration.as_secs() % 86_400 == 0
            && ((1..=14).contains(&days) || (21..=182).contains(&days) && days % 7 == 0);
        (!possible).then(|| {
            "a capacity block lasts 1 to 14 days, or 21 to 182 in steps of 7: 24h, 48h, ..."
                .to_owned()
        })
    }

    fn most(&self) -> Option<u32> {
        Some(MOST)
    }

    fn takes_turns(&self, spec: &BlockSpec) -> bool {
        spec.reserved.is_none()
    }

    fn pools(&self, spec: &BlockSpec) -> Vec<Pool> {
        by_type_and_subnet(spec)
    }

    /// The end of the capacity block that is launched into, once that is known.
    fn end_rule(&self, spec: &BlockSpec) -> Option<EndRule> {
        let reserved = spec.reserved.as_ref()?;
        Some(EndRule { end: End::At(reserved.end), early_reclaim_secs: reserved.reclaim_secs })
    }

    fn configure(&self, config: &mut NodeConfig, spec: &BlockSpec) {
        config.source = self.source();
        if let Some(EndRule { end, early_reclaim_secs }) = self.end_rule(spec) {
            (config.end, config.early_reclaim_secs) = (end, early_reclaim_secs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_block_lasts_days_and_later_weeks() {
        let possible: Vec<i64> = (1..=200)
            .filter(|days| {
                CapacityBlock.impossible(SignedDuration::from_hours(days * 24)).is_none()
            })
            .collect();
        assert_eq!(possible[..15], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 21]);
        assert_eq!((possible.len(), possible.last()), (14 + 24, Some(&182)));
        assert!(CapacityBlock.impossible(SignedDuration::from_mins(24 * 60 + 1)).is_some());
    }
}
