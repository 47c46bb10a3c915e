//! Capacity reservations: capacity that is held, whoever runs in it. Capacity blocks are
//! reservations of another kind; what is theirs alone is in `capacity_blocks.rs`; the calls that
//! change reservations are in `reservations/change.rs`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::instance::{Instance, Market};
use super::launch::LaunchSpec;
use super::page::Selection;
use super::tags;
use super::time;
use super::types::{self, InstanceType};
use super::{Service, capacity_blocks};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

mod change;

pub(super) use change::{cancel, create, modify};

/// A reservation.
pub(super) struct Reservation {
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) start: Timestamp,
    pub(super) end: Option<Timestamp>,
    pub(super) instance_type: &'static InstanceType,
    /// The letter of its zone.
    pub(super) zone: char,
    pub(super) total: u32,
    pub(super) targeted: bool,
    pub(super) ebs_optimized: bool,
    pub(super) state: State,
    /// When a state that passes by itself is over.
    pub(super) due: Option<Timestamp>,
    /// The capacity block that it belongs to.
    pub(super) block: Option<capacity_blocks::Block>,
    /// What was launched into it.
    pub(super) instances: BTreeSet<String>,
    /// The client token, and what it stands for.
    token: Option<(String, Value)>,
}

/// A reservation's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    PaymentPending,
    Scheduled,
    Active,
    Expired,
    Cancelled,
}

/// What is next for a reservation.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// It is paid, or there.
    Settle,
    /// AWS ends the instances in a capacity block.
    Reclaim,
    Expire,
    /// An extension of a capacity block is paid.
    Extend,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::PaymentPending => "payment-pending",
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::Cancelled)
    }
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterValue", message)
}

/// The type of this name.
pub(super) fn instance_type(name: &str) -> Result<&'static InstanceType, AwsError> {
    types::find(name).ok_or_else(|| invalid(format!("Invalid value '{name}' for InstanceType.")))
}

/// The zone doesn't have the type.
pub(super) fn unsupported(
    service: &Service<'_>,
    instance_type: &InstanceType,
    zone: char,
) -> AwsError {
    let message = format!(
        "Your requested instance type ({}) is not supported in your requested Availability Zone \
         ({}{zone}).",
        instance_type.name, service.options.region
    );
    AwsError::new("Unsupported", message)
}

/// DescribeCapacityReservations.
pub(super) fn describe(
    service: &mut Service<'_>,
    _: &Context,
    mut parameters: Value,
) -> Result<Value, AwsError> {
    let ids = query::take_list(&mut parameters, "CapacityReservationId")?;
    let selection = Selection::read(parameters)?;
    for id in &ids {
        find(service, id)?;
    }
    let mut found = Vec::new();
    for it in service.state.reservations.iter().filter(|it| ids.is_empty() || ids.contains(&it.id))
    {
        if selection.accepts(service.state.tags.get(&it.id), |name| it.field(service, name))? {
            found.push(it.answer(service));
        }
    }
    let (page, next) = selection.page(found, 1..=1000)?;
    Ok(json!({ "capacityReservationSet": page, "nextToken": next }))
}

/// The reservation with this id.
pub(super) fn find<'a>(service: &'a Service<'_>, id: &str) -> Result<&'a Reservation, AwsError> {
    if !id.starts_with("cr-") {
        let message = format!("Invalid id: \"{id}\" (expecting \"cr-...\")");
        return Err(AwsError::new("InvalidCapacityReservationId.Malformed", message));
    }
    service.state.reservations.iter().find(|it| it.id == id).ok_or_else(|| {
        let message = format!("The capacity reservation ID '{id}' does not exist");
        AwsError::new("InvalidCapacityReservationId.NotFound", message)
    })
}

pub(super) fn find_mut<'a>(service: &'a mut Service<'_>, id: &str) -> Option<&'a mut Reservation> {
    service.state.reservations.iter_mut().find(|it| it.id == id)
}

/// What reservations hold beyond the instances that run in them: type, zone, market, how many.
pub(super) fn held(
    service: &Service<'_>,
) -> impl Iterator<Item = (&'static InstanceType, char, Market, u32)> {
    service.state.reservations.iter().filter(|it| !it.state.is_over()).map(|it| {
        let market = if it.block.is_some() { Market::CapacityBlock } else { Market::OnDemand };
        (it.instance_type, it.zone, market, it.available(service))
    })
}

/// The reservation that an instance runs in.
pub(super) fn of_instance<'a>(service: &'a Service<'_>, instance: &str) -> Option<&'a str> {
    service
        .state
        .reservations
        .iter()
        .find(|it| it.instances.contains(instance))
        .map(|it| it.id.as_str())
}

/// How many instances can be launched into the targeted reservation, which has to fit.
/// ReservationCapacityExceeded is AWS's code for one that is full; the others' codes are [A].
pub(super) fn room(
    service: &Service<'_>,
    id: &str,
    spec: &LaunchSpec,
    market: Market,
    now: Timestamp,
) -> Result<u32, AwsError> {
    let found = find(service, id)?;
    let region = &service.options.region;
    if found.block.is_some() != (market == Market::CapacityBlock) {
        return Err(invalid(format!(
            "The market type does not go with the capacity reservation '{id}': capacity-block is \
             for capacity blocks, and they are launched into with nothing else"
        )));
    }
    if (found.instance_type, found.zone) != (spec.instance_type, spec.subnet.zone) {
        return Err(invalid(format!(
            "The capacity reservation '{id}' is for {} in {region}{}, and not for {} in \
             {region}{}",
            found.instance_type.name, found.zone, spec.instance_type.name, spec.subnet.zone
        )));
    }
    let reclaimed = found.reclaim_at().is_some_and(|at| at <= now);
    if found.state != State::Active || reclaimed {
        let state = if reclaimed { "about to end" } else { found.state.name() };
        let message =
            format!("The capacity reservation '{id}' can't be launched into: it is {state}");
        return Err(AwsError::new("InvalidCapacityReservationState", message));
    }
    Ok(found.available(service))
}

/// The open reservations that instances like this run in by themselves, and how many fit into each.
pub(super) fn open_for(service: &Service<'_>, spec: &LaunchSpec) -> Vec<(String, u32)> {
    let fits = |it: &&Reservation| {
        it.state == State::Active
            && !it.targeted
            && it.block.is_none()
            && (it.instance_type, it.zone) == (spec.instance_type, spec.subnet.zone)
    };
    service
        .state
        .reservations
        .iter()
        .filter(fits)
        .map(|it| (it.id.clone(), it.available(service)))
        .collect()
}

impl Reservation {
    /// How many instances live in it.
    fn used(&self, service: &Service<'_>) -> u32 {
        let lives = |id: &&String| service.state.instance(id).is_some_and(Instance::alive);
        u32::try_from(self.instances.iter().filter(lives).count()).unwrap_or(u32::MAX)
    }

    fn available(&self, service: &Service<'_>) -> u32 {
        if self.state.is_over() { 0 } else { self.total.saturating_sub(self.used(service)) }
    }

    /// When AWS ends what runs in a capacity block.
    pub(super) fn reclaim_at(&self) -> Option<Timestamp> {
        let end = self.end.filter(|_| self.block.is_some())?;
        Some(end - capacity_blocks::RECLAIM)
    }

    pub(super) fn next(&self) -> Option<(Timestamp, Change)> {
        if self.state.is_over() {
            return None;
        }
        let settle = self.due.map(|at| (at, Change::Settle));
        let reclaim = self
            .reclaim_at()
            .filter(|_| !self.instances.is_empty())
            .map(|at| (at, Change::Reclaim));
        let expire = self.end.map(|at| (at, Change::Expire));
        let extend =
            self.block.as_ref().and_then(|block| block.paid_at()).map(|at| (at, Change::Extend));
        // What is paid first is listed first: at the same moment it counts.
        [extend, settle, reclaim, expire].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    pub(super) fn answer(&self, service: &Service<'_>) -> Value {
        let Self { id, .. } = self;
        let (region, account) = (&service.options.region, &service.options.account);
        json!({
            "capacityReservationId": id,
            "ownerId": account,
            "capacityReservationArn": format!("arn:aws:ec2:{region}:{account}:capacity-reservation/{id}"),
            "availabilityZone": format!("{region}{}", self.zone),
            "instanceType": self.instance_type.name,
            "instancePlatform": "Linux/UNIX",
            "tenancy": "default",
            "totalInstanceCount": self.total,
            "availableInstanceCount": if self.state == State::Active { self.available(service) } else { 0 },
            "ebsOptimized": self.ebs_optimized,
            "ephemeralStorage": false,
            "state": self.state.name(),
            "startDate": time(self.start),
            "endDate": self.end.map(time),
            "endDateType": if self.end.is_some() { "limited" } else { "unlimited" },
            "instanceMatchCriteria": if self.targeted { "targeted" } else { "open" },
            "createDate": time(self.created),
            "tagSet": tags::answer(service.state.tags.get(id)),
            "reservationType": if self.block.is_some() { "capacity-block" } else { "default" },
            "capacityBlockId": self.block.as_ref().map(|block| &block.id),
        })
    }

    fn field(&self, service: &Service<'_>, name: &str) -> Option<Vec<String>> {
        let one = |value: &str| Some(vec![value.to_owned()]);
        match name {
            "instance-type" => one(self.instance_type.name),
            "owner-id" => one(&service.options.account),
            "instance-platform" => one("Linux/UNIX"),
            "availability-zone" => one(&format!("{}{}", service.options.region, self.zone)),
            "tenancy" => one("default"),
            "state" => one(self.state.name()),
            "start-date" => one(&time(self.start)),
            "end-date" => Some(self.end.map(time).into_iter().collect()),
            "end-date-type" => one(if self.end.is_some() { "limited" } else { "unlimited" }),
            "instance-match-criteria" => one(if self.targeted { "targeted" } else { "open" }),
            "reservation-type" => {
                one(if self.block.is_some() { "capacity-block" } else { "default" })
            }
            _ => None,
        }
    }
}

/// Lets happen what is next for the reservation at this place.
pub(super) fn apply(service: &mut Service<'_>, at: Timestamp, index: usize, change: Change) {
    match change {
        Change::Settle => {
            let it = &mut service.state.reservations[index];
            let scheduled = it.state == State::PaymentPending && it.start > at;
            it.state = if scheduled { State::Scheduled } else { State::Active };
            it.due = scheduled.then_some(it.start);
        }
        Change::Reclaim => capacity_blocks::reclaim(service, at, index),
        Change::Expire => {
            let it = &mut service.state.reservations[index];
            (it.state, it.due) = (State::Expired, None);
            it.instances.clear();
        }
        Change::Extend => capacity_blocks::extend(&mut service.state.reservations[index], at),
    }
}

/// A whole number of hours.
pub(super) fn hours(count: u32) -> SignedDuration {
    SignedDuration::from_hours(count.into())
}

impl Reservation {
    /// The reservation that a capacity block comes with.
    pub(super) fn of_block(
        id: String,
        block: capacity_blocks::Block,
        offer: &capacity_blocks::Offering,
        now: Timestamp,
        paid: Timestamp,
    ) -> Self {
        Self {
            id,
            created: now,
            start: offer.start,
            end: Some(offer.end),
            instance_type: offer.instance_type,
            zone: offer.zone,
            total: offer.count,
            targeted: true,
            ebs_optimized: false,
            state: State::PaymentPending,
            due: Some(paid),
            block: Some(block),
            instances: BTreeSet::new(),
            token: None,
        }
    }
}
