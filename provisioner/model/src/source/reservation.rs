//! On-demand capacity reservations: the capacity is secured first, and then launched into.

use jiff::SignedDuration;
use node_contract::Source;

use super::{Guarantee, SourceRules, by_type_and_subnet, fleet};
use crate::record::{BlockSpec, Pool};

/// The rules of the source `reservation`.
pub(super) struct CapacityReservation;

impl SourceRules for CapacityReservation {
    fn source(&self) -> Source {
        Source::Reservation
    }

    fn guarantee(&self) -> Guarantee {
        let ended_by = "spotblock-agent, behind it the power-off timer";
        Guarantee { label: "firm, secured before launch", ended_by }
    }

    fn impossible(&self, duration: SignedDuration) -> Option<String> {
        fleet::impossible("reservation", duration)
    }

    fn foreseen(&self) -> Option<&'static str> {
        Some(
            "the source \"reservation\" costs the on-demand price, whatever max-price says, from \
             the reservation on and until it is cancelled: run `spotblock down` when the block \
             is over, or its end date comes first",
        )
    }

    /// A reservation has one type and one zone. Which ones an existing one has, AWS says.
    fn pools(&self, spec: &BlockSpec) -> Vec<Pool> {
        match &spec.reservation {
            Some(_) => vec![Pool { types: spec.types.clone(), subnets: spec.subnets.clone() }],
            None => by_type_and_subnet(spec),
        }
    }
}
