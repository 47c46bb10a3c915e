//! How many instances can still be had: AWS's capacity by type, zone and market, and the account's
//! quotas.

use super::instance::Market;
use super::launch::LaunchSpec;
use super::page::matches;
use super::types::InstanceType;
use super::{Service, reservations};
use crate::protocol::AwsError;

/// What a call is about to launch, before it does: it holds capacity already.
#[derive(Default)]
pub(super) struct Claims(Vec<(&'static InstanceType, char, Market, u32)>);

/// Why there are fewer instances than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    Quota,
    Capacity,
}

impl Claims {
    /// Sets instances aside.
    pub(super) fn add(&mut self, spec: &LaunchSpec, market: Market, count: u32) {
        self.0.push((spec.instance_type, spec.subnet.zone, market, count));
    }

    /// How many more AWS has of this type in this zone; `None` is any number.
    pub(super) fn free(
        &self,
        service: &Service<'_>,
        instance_type: &InstanceType,
        zone: char,
        market: Market,
    ) -> Option<u32> {
        let options = &service.options;
        let limits = options.capacity.iter().filter_map(|(key, total)| {
            let fits = |kind: &InstanceType, letter: char, market: Market| {
                key_fits(key, kind.name, &format!("{}{letter}", options.region), market)
            };
            fits(instance_type, zone, market)
                .then(|| total.saturating_sub(self.count(service, fits, |_| 1)))
        });
        // The option counts what can be had from now on, and is counted down by each launch.
        let further = options.spot_capacity.filter(|_| market == Market::Spot).map(|left| {
            let claimed = self.0.iter().filter(|(_, _, market, _)| *market == Market::Spot);
            left.saturating_sub(claimed.map(|(.., count)| count).sum())
        });
        limits.chain(further).min()
    }

    /// How many more the account's quota allows; `None` is any number.
    pub(super) fn allowed(
        &self,
        service: &Service<'_>,
        instance_type: &InstanceType,
        market: Market,
    ) -> Option<u32> {
        let quota = match market {
            Market::OnDemand => service.options.on_demand_vcpus?,
            Market::Spot => service.options.spot_vcpus?,
            Market::CapacityBlock => return None,
        };
        let used = self.count(service, |_, _, other| other == market, |it| it.vcpus);
        Some(quota.saturating_sub(used) / instance_type.vcpus)
    }

    /// What lives and is claimed and fits, each instance with its weight.
    fn count(
        &self,
        service: &Service<'_>,
        fits: impl Fn(&InstanceType, char, Market) -> bool,
        weight: impl Fn(&InstanceType) -> u32,
    ) -> u32 {
        let living = service.state.instances.iter().filter(|it| it.alive());
        let living = living.map(|it| (it.instance_type(), it.zone(), it.market, 1));
        // A reservation holds what doesn't run in it yet.
        let all = living.chain(reservations::held(service)).chain(self.0.iter().copied());
        let fitting = all.filter(|(kind, zone, market, _)| fits(kind, *zone, *market));
        fitting.map(|(kind, _, _, count)| weight(kind) * count).sum()
    }

    /// How many of `wanted` instances can be had, and why not all.
    pub(super) fn grant(
        &self,
        service: &Service<'_>,
        spec: &LaunchSpec,
        market: Market,
        wanted: u32,
    ) -> (u32, Option<Shortage>) {
        let free =
            self.free(service, spec.instance_type, spec.subnet.zone, market).unwrap_or(u32::MAX);
        let allowed = self.allowed(service, spec.instance_type, market).unwrap_or(u32::MAX);
        let shortage = if allowed < wanted && allowed <= free {
            Some(Shortage::Quota)
        } else if free < wanted {
            Some(Shortage::Capacity)
        } else {
            None
        };
        (wanted.min(free).min(allowed), shortage)
    }
}

/// The refusal of a type that its zone doesn't have; its code differs from call to call.
pub(super) fn not_offered(code: &str, service: &Service<'_>, spec: &LaunchSpec) -> AwsError {
    let message = format!(
        "Your requested instance type ({}) is not supported in your requested Availability Zone \
         ({}{}).",
        spec.instance_type.name, service.options.region, spec.subnet.zone
    );
    AwsError::new(code, message)
}

/// Whether an option's key, `TYPE/ZONE` or `TYPE/ZONE/MARKET`, is about this.
fn key_fits(key: &str, name: &str, zone: &str, market: Market) -> bool {
    let mut parts = key.split('/');
    let mut fits = |text: &str| parts.next().is_none_or(|pattern| matches(pattern, text));
    fits(name) && fits(zone) && fits(market.life_cycle())
}

/// Counts further spot instances down, where an option counts them.
pub(super) fn take_spot(service: &mut Service<'_>, count: u32) {
    if let Some(left) = &mut service.options.spot_capacity {
        *left = left.saturating_sub(count);
    }
}

impl Shortage {
    /// AWS's error for it. When a single launch runs into it, AWS answers a missing capacity with
    /// status 500.
    pub(super) fn error(
        self,
        service: &Service<'_>,
        spec: &LaunchSpec,
        market: Market,
    ) -> AwsError {
        self.error_at(service, spec.instance_type, spec.subnet.zone, market)
    }

    /// The same for a type in a zone.
    pub(super) fn error_at(
        self,
        service: &Service<'_>,
        instance_type: &InstanceType,
        zone: char,
        market: Market,
    ) -> AwsError {
        let name = instance_type.name;
        match (self, market) {
            (Self::Quota, Market::Spot) => {
                AwsError::new("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            }
            (Self::Quota, _) => {
                let limit = service.options.on_demand_vcpus.unwrap_or_default();
                AwsError::new(
                    "VcpuLimitExceeded",
                    format!(
                        "You have requested more vCPU capacity than your current vCPU limit of \
                         {limit} allows for the instance bucket that the specified instance type \
                         belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request \
                         to request an adjustment to this limit."
                    ),
                )
            }
            (Self::Capacity, Market::Spot) => AwsError::new(
                "InsufficientInstanceCapacity",
                "There is no Spot capacity available that matches your request.",
            )
            .with_status(500),
            (Self::Capacity, _) => {
                let zone = format!("{}{zone}", service.options.region);
                AwsError::new(
                    "InsufficientInstanceCapacity",
                    format!(
                        "We currently do not have sufficient {name} capacity in the Availability \
                         Zone you requested ({zone}). Our system will be working on provisioning \
                         additional capacity. You can currently get {name} capacity by not \
                         specifying an Availability Zone in your request or choosing another one."
                    ),
                )
                .with_status(500)
            }
        }
    }
}
