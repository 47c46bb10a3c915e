//! On-demand instances: at the list price, and nobody takes them back once they are launched `[V]`.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Guarantee, SourceRules, fleet};
use crate::record::{BlockSpec, Pool};

/// The rules of the source `on-demand`.
pub(super) struct OnDemand;

impl SourceRules for OnDemand {
    fn source(&self) -> Source {
        Source::OnDemand
    }

    fn guarantee(&self) -> Guarantee {
        let ended_by = "spotblock-agent, behind it the power-off timer";
        Guarantee { label: "firm once launched", ended_by }
    }

    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        fleet::impossible("on-demand", duration)
    }

    fn pools(&self, spec: &BlockSpec) -> Vec<Pool> {
        fleet::pools(spec)
    }
}
