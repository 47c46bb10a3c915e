//! Capacity reservations: the capacity is secured first, and then launched into at the on-demand
//! price.
//!
//! A reservation of our own is for the block's instances alone (targeted). It is cancelled when an
//! attempt is refused after all, when the block is given back, by `down`, and by `reap`; behind
//! them stands its end date, which follows from the record. One that the user named with `[block]
//! reservation` is launched into and never changed.

use std::time::Duration;

use super::{Bought, PurchaseOutcome, PurchaseRequest, Shortfall, outcome};
use crate::aws::ec2::LaunchInto;
use crate::aws::refusal::{self, Refusal};
use crate::model::capacity_reservation::CapacityReservation;
use crate::model::error::Result;
use crate::model::ownership::Marks;
use crate::model::record::attempt_of;
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};

/// A reservation takes seconds to be active `[A]`.
const ACTIVE_LIMIT: Duration = Duration::from_secs(300);

/// A reservation to launch into: its id, the type, the subnet.
struct LaunchTarget {
    reservation: String,
    instance_type: String,
    subnet: String,
}

/// Reserves and launches, or finds what was reserved and launched before.
pub(super) async fn buy(request: PurchaseRequest<'_>) -> Result<PurchaseOutcome> {
    let PurchaseRequest { record, asked, .. } = request;
    if let Some(outcome) = request.decided() {
        return Ok(outcome);
    }
    let place = match &record.spec.reservation {
        Some(id) => given(request, id).await,
        None => own(request).await,
    };
    let place = match place {
        Ok(Ok(place)) => place,
        Ok(Err(short)) => return Ok(refused(short)),
        Err(error) => return outcome(error, refusal::of_call),
    };
    match launched(request, &place).await {
        Ok(instances) => {
            Ok(PurchaseOutcome::of(asked).naming(Bought { instances, ..Bought::default() }))
        }
        Err(error) => outcome(error, refusal::of_call),
    }
}

fn refused(short: Shortfall) -> PurchaseOutcome {
    PurchaseOutcome::short(0, short)
}

fn short(refusal: Refusal, code: String, why: String) -> Shortfall {
    Shortfall { refusal, code, why, failure: None, next: None }
}

/// The user's reservation, if the block fits into it. Whether there is room in it, AWS says when it
/// is launched into.
async fn given(
    request: PurchaseRequest<'_>,
    id: &str,
) -> Result<std::result::Result<LaunchTarget, Shortfall>> {
    let PurchaseRequest { session, attempt, .. } = request;
    let found = session.aws.ec2.reservation(id).await?;
    if !found.is_active() {
        return Ok(Err(over(&found)));
    }
    let subnets = session.aws.ec2.subnets(&attempt.pool.subnets).await?;
    let subnet = subnets.into_iter().find(|it| it.zone == found.zone);
    let fits = attempt.pool.types.contains(&found.instance_type);
    let Some(subnet) = subnet.filter(|_| fits) else {
        let why = format!(
            "capacity reservation {id} is for {} in {}, and [block] asks for {}",
            found.instance_type,
            found.zone,
            attempt.shown()
        );
        return Ok(Err(short(Refusal::Never, "reservation-mismatch".to_owned(), why)));
    };
    Ok(Ok(LaunchTarget {
        reservation: found.id,
        instance_type: found.instance_type,
        subnet: subnet.id,
    }))
}

/// The attempt's own reservation, once it is active.
async fn own(request: PurchaseRequest<'_>) -> Result<std::result::Result<LaunchTarget, Shortfall>> {
    let PurchaseRequest { session, record, attempt, asked, block, .. } = request;
    let known =
        block.reservations.iter().find(|it| attempt_of(&it.tags) == Some(attempt.number)).cloned();
    let first = match known {
        Some(known) => known,
        None => {
            let subnets = session.aws.ec2.subnets(&attempt.pool.subnets).await?;
            let zone = subnets.first().map(|it| it.zone.as_str()).unwrap_or_default();
            session.aws.ec2.reserve(&record.spec, attempt, asked, zone).await?
        }
    };
    let found = if first.is_active() { first } else { settled(request, first).await? };
    if !found.is_active() {
        return Ok(Err(over(&found)));
    }
    let subnet = attempt.pool.subnets.first().cloned().unwrap_or_default();
    Ok(Ok(LaunchTarget { reservation: found.id, instance_type: found.instance_type, subnet }))
}

/// Waits until a reservation is no longer on its way.
async fn settled(
    request: PurchaseRequest<'_>,
    first: CapacityReservation,
) -> Result<CapacityReservation> {
    let PurchaseRequest { session, record, .. } = request;
    let spec = &record.spec;
    let marks = Marks::of_block(session.environment(), &spec.block);
    let bound = WaitSpec {
        what: format!("capacity reservation {} of block {}", first.id, spec.block),
        limit: ACTIVE_LIMIT,
        next: "run the same command again to wait on, or `spotblock down` to cancel it".to_owned(),
    };
    let id = first.id.clone();
    let mut seen = Some(first);
    let look = async || {
        let now = match seen.take() {
            Some(first) => Some(first),
            None => {
                let all = session
                    .aws
                    .ec2
                    .reservations_tagged(node_contract::names::tag::BLOCK, &spec.block)
                    .await?;
                all.into_iter().find(|it| it.id == id && marks.are_on(&it.tags))
            }
        };
        Ok(match now {
            None => Poll::NotYet("not shown".to_owned()),
            Some(it) if it.is_held() && !it.is_active() => Poll::NotYet(it.state),
            Some(it) => Poll::Done(it),
        })
    };
    session.waits.until(session.ui, bound, look).await
}

/// Of a reservation that holds nothing any more, or never did. AWS keeps one that it could not make
/// as `failed` `[V]`.
fn over(found: &CapacityReservation) -> Shortfall {
    let why = format!("capacity reservation {} is {}", found.id, found.state);
    short(Refusal::NoCapacity, format!("reservation-{}", found.state), why)
}

/// Launches into the reservation; what was made a moment ago may not be known everywhere yet.
async fn launched(request: PurchaseRequest<'_>, place: &LaunchTarget) -> Result<Vec<String>> {
    let PurchaseRequest { session, record, attempt, asked, launch, .. } = request;
    let into = LaunchInto {
        record,
        attempt,
        asked,
        launch,
        reservation: &place.reservation,
        instance_type: &place.instance_type,
        subnet: &place.subnet,
    };
    let bound = WaitSpec {
        what: format!(
            "instance profile {} and capacity reservation {} to be usable",
            launch.instance_profile, place.reservation
        ),
        limit: SETTLE_LIMIT,
        next: format!(
            "check `aws iam get-instance-profile --instance-profile-name {}`: it must exist and \
             have a role; then run the same command again, or `spotblock down` to cancel the \
             reservation",
            launch.instance_profile
        ),
    };
    let look = async || match session.aws.ec2.launch_into(into).await {
        Err(error)
            if refusal::profile_too_new(&error) || refusal::is_reservation_too_new(&error) =>
        {
            Ok(Poll::NotYet(error.to_string()))
        }
        result => result.map(Poll::Done),
    };
    session.waits.until(session.ui, bound, look).await
}
