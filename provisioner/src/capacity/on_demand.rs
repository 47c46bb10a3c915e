//! On-demand instances: at the list price, and nobody takes them back once they are launched `[V]`.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Buying, Came, Capacity, Guarantee, Pending, fleet};
use crate::aws::ec2::Market;
use crate::record::{Pool, Terms};

/// The source.
pub struct OnDemand;

impl Capacity for OnDemand {
    fn source(&self) -> Source {
        Source::OnDemand
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee { label: "firm once launched", ended_by: "spotblock-agent, behind it the power-off timer" }
    }

    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        fleet::impossible("on-demand", duration)
    }

    fn pools(&self, terms: &Terms) -> Vec<Pool> {
        fleet::pools(terms)
    }

    fn buy<'a>(&'a self, buying: Buying<'a>) -> Pending<'a, Came> {
        Box::pin(fleet::buy(buying, Market::OnDemand))
    }
}
