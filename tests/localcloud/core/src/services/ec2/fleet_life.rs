//! Where a fleet's instances are launched: its pools, the order in which they are used, and what
//! each of them refuses.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;

use super::capacity::{self, Claims};
use super::fleet_request::{Rules, Strategy};
use super::instance::{self, Market, Order};
use super::launch::LaunchSpec;
use super::spot::{Price, SpotRequest};
use super::tags::Tags;
use super::{Service, prices};
use crate::protocol::AwsError;

/// How many pools a fleet tries of those that refuse; the others fail without being tried. Seen by
/// those who measured it (an instant fleet over six pools that were all priced too low).
const TRIED: usize = 3;

/// One way to launch.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// What it comes to, or why it can't be launched at all.
    pub(super) spec: Result<Arc<LaunchSpec>, AwsError>,
    /// The most that a spot instance may cost.
    pub(super) max_price: Option<Price>,
    /// How many units of capacity an instance counts.
    pub(super) weight: f64,
    /// The lower, the sooner; without one, last.
    pub(super) priority: Option<f64>,
    /// What its instances are tagged with.
    pub(super) tags: Tags,
    /// What their spot requests are tagged with.
    pub(super) request_tags: Tags,
}

/// What came of a market's target. Pools are numbered as they were given.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The pools, and how many instances each is to give, or the instances it gave.
    pub(super) launched: Vec<(usize, Vec<String>)>,
    pub(super) errors: Vec<(usize, AwsError)>,
}

/// A part of the plan.
struct Share {
    pool: usize,
    count: u32,
}

/// Meets as much of the target as can be had.
pub(super) fn fulfill(
    service: &mut Service<'_>,
    now: Timestamp,
    fleet: &str,
    market: Market,
    pools: &[Pool],
    rules: &Rules,
    target: u32,
) -> Outcome {
    let (shares, errors) =
        Planner { service, market, pools, rules, claims: Claims::default() }.plan(target);
    let mut outcome = Outcome { launched: Vec::new(), errors };
    for Share { pool, count } in shares {
        let Ok(spec) = &pools[pool].spec else { continue };
        let reservation = service.ids.resource("r");
        let launch = |_| launch(service, now, fleet, market, &pools[pool], spec, &reservation);
        let ids = (0..count).map(launch).collect();
        outcome.launched.push((pool, ids));
    }
    outcome
}

fn launch(
    service: &mut Service<'_>,
    now: Timestamp,
    fleet: &str,
    market: Market,
    pool: &Pool,
    spec: &Arc<LaunchSpec>,
    reservation: &str,
) -> String {
    let mut tags = pool.tags.clone();
    tags.insert("aws:ec2:fleet-id".to_owned(), fleet.to_owned());
    let request = (market == Market::Spot).then(|| format!("sir-{}", service.ids.hex(8)));
    let order = Order {
        spec: Arc::clone(spec),
        market,
        by: fleet.to_owned(),
        spot_request: request.clone(),
        reservation: Some(reservation.to_owned()),
        block: None,
        taken_back: None,
        tags,
    };
    let instance = instance::launch(service, now, order);
    if let Some(request) = request {
        capacity::take_spot(service, 1);
        if !pool.request_tags.is_empty() {
            service.state.tags.insert(request.clone(), pool.request_tags.clone());
        }
        let price = pool.max_price.clone();
        service.state.spot.push(SpotRequest::of_launch(
            request,
            now,
            Arc::clone(spec),
            price,
            instance.clone(),
        ));
    }
    instance
}

/// Decides before anything is launched, since a minimum may not be reached.
struct Planner<'a> {
    service: &'a Service<'a>,
    market: Market,
    pools: &'a [Pool],
    rules: &'a Rules,
    claims: Claims,
}

impl Planner<'_> {
    fn plan(mut self, target: u32) -> (Vec<Share>, Vec<(usize, AwsError)>) {
        let target = f64::from(target);
        let order = self.candidates();
        let usable = order.iter().filter(|pool| self.refusal(**pool).is_none()).count();
        let across = usable.min(self.across()).max(1);
        let even = (target / f64::from(u32::try_from(across).unwrap_or(u32::MAX))).ceil();
        let (mut shares, mut errors) = (Vec::new(), Vec::new());
        let mut left = target;
        // First evenly over as many pools as the strategy says, then whatever is missing from
        // whoever has it.
        for (pools, most) in [(across, even), (usize::MAX, target)] {
            let mut used = 0;
            for pool in &order {
                let failed = errors.iter().any(|(failed, _)| failed == pool);
                if left <= 0.0 || used == pools || failed {
                    continue;
                }
                if let Some(error) = self.refusal(*pool) {
                    errors.push((*pool, error));
                } else {
                    let taken = self.take(*pool, left.min(most), &mut shares, &mut errors);
                    used += usize::from(taken > 0.0);
                    left -= taken;
                }
            }
        }
        let got = target - left;
        if self.rules.min.is_some_and(|min| got < f64::from(min)) {
            shares.clear();
        }
        for (_, error) in errors.iter_mut().skip(TRIED) {
            let message = "Unable to fulfill capacity due to your request configuration. Please \
                           adjust your request and try again.";
            *error = AwsError::new("UnfulfillableCapacity", message);
        }
        (shares, errors)
    }

    /// Takes from a pool up to `wanted` units; gives how many that came to.
    fn take(
        &mut self,
        pool: usize,
        wanted: f64,
        shares: &mut Vec<Share>,
        errors: &mut Vec<(usize, AwsError)>,
    ) -> f64 {
        let Pool { spec: Ok(spec), weight, .. } = &self.pools[pool] else { return 0.0 };
        let count = whole((wanted / weight).ceil());
        let affordable = self.affordable(shares, pool);
        let (granted, shortage) =
            self.claims.grant(self.service, spec, self.market, count.min(affordable));
        if let Some(shortage) = shortage {
            errors.push((pool, shortage.error(self.service, spec, self.market)));
        } else if affordable < count {
            // The code is [A].
            let message = "The maximum total price does not allow further instances of this pool.";
            errors.push((pool, AwsError::new("UnfulfillableCapacity", message)));
        }
        if granted == 0 {
            return 0.0;
        }
        self.claims.add(spec, self.market, granted);
        match shares.iter_mut().find(|share| share.pool == pool) {
            Some(share) => share.count += granted,
            None => shares.push(Share { pool, count: granted }),
        }
        f64::from(granted) * weight
    }

    /// How many more instances of this pool the highest total price allows.
    fn affordable(&self, shares: &[Share], pool: usize) -> u32 {
        let Some(limit) = self.rules.max_total_price else { return u32::MAX };
        let spent: f64 =
            shares.iter().map(|share| f64::from(share.count) * self.price(share.pool)).sum();
        whole(((limit - spent).max(0.0) / self.price(pool) + 1e-9).floor())
    }

    /// Across how many pools the target is spread as long as they have enough.
    fn across(&self) -> usize {
        match self.rules.strategy {
            Strategy::Diversified => self.pools.len(),
            Strategy::LowestPrice => self.rules.pools as usize,
            _ => 1,
        }
    }

    /// The pools in the order in which they are used. Of a fleet that keeps to one type or zone,
    /// only those of the best pool's: that AWS would go on to another type or zone is not
    /// documented, so nobody should count on it [A].
    fn candidates(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pools.len()).collect();
        order.sort_by(|one, other| self.compare(*one, *other));
        let best = order.iter().find_map(|pool| self.pools[*pool].spec.as_ref().ok());
        let (Some(best), true) = (best, self.rules.single_type || self.rules.single_zone) else {
            return order;
        };
        order.retain(|pool| {
            self.pools[*pool].spec.as_ref().map_or(true, |spec| {
                (!self.rules.single_type || spec.instance_type == best.instance_type)
                    && (!self.rules.single_zone || spec.subnet.zone == best.subnet.zone)
            })
        });
        order
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        let by_price = || self.unit_price(one).total_cmp(&self.unit_price(other));
        let by_priority = || self.priority(one).total_cmp(&self.priority(other));
        let by_room = || self.room(other).cmp(&self.room(one));
        match self.rules.strategy {
            Strategy::LowestPrice => by_price(),
            Strategy::Prioritized => by_priority(),
            Strategy::Diversified => Ordering::Equal,
            Strategy::CapacityOptimized => by_room(),
            Strategy::CapacityOptimizedPrioritized => by_room().then_with(by_priority),
            // Room counts only where there is none.
            Strategy::PriceCapacityOptimized => {
                (self.room(one) == 0).cmp(&(self.room(other) == 0)).then_with(by_price)
            }
        }
    }

    fn priority(&self, pool: usize) -> f64 {
        self.pools[pool].priority.unwrap_or(f64::INFINITY)
    }

    fn room(&self, pool: usize) -> u32 {
        let Ok(spec) = &self.pools[pool].spec else { return 0 };
        let free =
            self.claims.free(self.service, spec.instance_type, spec.subnet.zone, self.market);
        free.unwrap_or(u32::MAX)
    }

    /// Dollars an hour for an instance.
    fn price(&self, pool: usize) -> f64 {
        match &self.pools[pool].spec {
            Err(_) => f64::INFINITY,
            Ok(spec) if self.market == Market::Spot => {
                prices::spot(self.service, spec.instance_type, spec.subnet.zone)
            }
            Ok(spec) => prices::on_demand(spec.instance_type),
        }
    }

    fn unit_price(&self, pool: usize) -> f64 {
        self.price(pool) / self.pools[pool].weight
    }

    /// Why a pool can't be used, however much there is of it.
    fn refusal(&self, pool: usize) -> Option<AwsError> {
        let Pool { spec, max_price, .. } = &self.pools[pool];
        let spec = match spec {
            Err(error) => return Some(error.clone()),
            Ok(spec) => spec,
        };
        let price = self.price(pool);
        let too_low =
            max_price.as_ref().filter(|max| self.market == Market::Spot && max.dollars < price);
        if let Some(max) = too_low {
            let message = format!(
                "Your Spot request price of {} is lower than the minimum required Spot request \
                 fulfillment price of {price}.",
                max.text
            );
            return Some(AwsError::new("SpotMaxPriceTooLow", message));
        }
        if !spec.instance_type.is_offered(spec.subnet.zone) {
            return Some(capacity::not_offered("InvalidFleetConfiguration", self.service, spec));
        }
        None
    }
}

/// A number of instances out of a computation with weights.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is clamped to what fits, and has no fraction"
)]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}
