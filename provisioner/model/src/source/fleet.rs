//! The rules of sources whose instances a fleet of type instant launches.

use jiff::SignedDuration;

use crate::record::{BlockSpec, Pool};
use crate::text::human;

/// The shortest block: a shorter one is over before it has paid for its boot.
const SHORTEST: SignedDuration = SignedDuration::from_mins(15);
/// The longest: whoever needs a machine for longer needs no block.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why a block can't last so long.
pub(super) fn impossible(source: &str, duration: SignedDuration) -> Option<String> {
    let possible = (SHORTEST..=LONGEST).contains(&duration);
    let (shortest, longest) = (human(SHORTEST.unsigned_abs()), human(LONGEST.unsigned_abs()));
    (!possible).then(|| format!("a block of {source} instances lasts {shortest} to {longest}"))
}

/// All or nothing, a fleet is of one zone, so each subnet is a pool of its own with all types in
/// it. Where gaps may be filled, one fleet is spread over all of them and takes what there is.
pub(super) fn pools(spec: &BlockSpec) -> Vec<Pool> {
    if spec.fills_gaps() {
        return vec![Pool { types: spec.types.clone(), subnets: spec.subnets.clone() }];
    }
    let pool = |subnet: &String| Pool { types: spec.types.clone(), subnets: vec![subnet.clone()] };
    spec.subnets.iter().map(pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::spec;

    #[test]
    fn each_zone_is_a_pool_unless_gaps_may_be_filled() {
        let types: Vec<String> = vec!["t2.micro".into(), "t3.micro".into()];
        let subnets = vec!["subnet-1".into(), "subnet-2".into()];
        let several = BlockSpec { types, subnets, ..spec() };
        let pools_of_zones = pools(&several);
        assert_eq!(pools_of_zones.len(), 2);
        assert!(pools_of_zones.iter().all(|pool| pool.types.len() == 2 && pool.subnets.len() == 1));
        assert_eq!(pools(&BlockSpec { mix: true, ..several }).len(), 1);
    }

    #[test]
    fn a_block_of_a_fleet_lasts_a_quarter_of_an_hour_to_a_week() {
        let minutes = |minutes| impossible("spot", SignedDuration::from_mins(minutes)).is_some();
        assert_eq!(
            [minutes(14), minutes(15), minutes(95), minutes(10_080), minutes(10_081)],
            [true, false, false, false, true]
        );
    }
}
