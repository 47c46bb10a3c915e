//! Spot instances: cheap, and AWS takes them back at two minutes' notice when it needs them `[V]`.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Guarantee, SourceRules, fleet};
use crate::record::{BlockSpec, Pool};

/// The rules of the source `spot`.
pub(super) struct Spot;

impl SourceRules for Spot {
    fn source(&self) -> Source {
        Source::Spot
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee {
            label: "best effort",
            ended_by: "AWS at two minutes' notice if it needs them, else spotblock-agent",
        }
    }

    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        fleet::impossible("spot", duration)
    }

    fn pools(&self, spec: &BlockSpec) -> Vec<Pool> {
        fleet::pools(spec)
    }
}
