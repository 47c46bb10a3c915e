//! Spot instances: cheap, and AWS takes them back at two minutes' notice when it needs them `[V]`.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Buying, Came, Capacity, Guarantee, Pending, fleet};
use crate::aws::ec2::Market;
use crate::record::{Pool, Terms};

/// The source.
pub struct Spot;

impl Capacity for Spot {
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

    fn pools(&self, terms: &Terms) -> Vec<Pool> {
        fleet::pools(terms)
    }

    fn buy<'a>(&'a self, buying: Buying<'a>) -> Pending<'a, Came> {
        Box::pin(fleet::buy(buying, Market::Spot))
    }
}
