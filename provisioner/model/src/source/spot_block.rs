//! Spot instances with a defined duration: RequestSpotInstances with BlockDurationMinutes.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Guarantee, SourceRules, by_type_and_subnet};
use crate::record::{BlockSpec, Pool};

/// The rules of the source `spot-block`.
pub(super) struct SpotBlock;

impl SourceRules for SpotBlock {
    fn source(&self) -> Source {
        Source::SpotBlock
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee { label: "firm", ended_by: "AWS" }
    }

    /// 60, 120, 180, 240, 300 or 360 minutes `[V]`.
    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        let possible = duration.as_secs() % 3600 == 0 && (1..=6).contains(&duration.as_hours());
        (!possible).then(|| "a spot block lasts 60, 120, 180, 240, 300 or 360 minutes".to_owned())
    }

    fn foreseen(&self) -> Option<&'static str> {
        Some(
            "AWS has sold no spot blocks since the end of 2022: on AWS the source \"spot-block\" \
             is refused",
        )
    }

    /// A request has one type and one subnet.
    fn pools(&self, spec: &BlockSpec) -> Vec<Pool> {
        by_type_and_subnet(spec)
    }
}
