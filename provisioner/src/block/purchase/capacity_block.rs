//! Capacity blocks: instances for machine learning, for days, paid at once and for good `[V]`. One
//! that is there already is named by its reservation's id; or one is bought here, with
//! `--yes-purchase` and below `[block] max-cost` alone.
//!
//! The purchase has no client token: asked for twice, AWS sells twice. So
//!
//! 1. only the run whose turn it is buys (`launch/lease.rs`), also where the block has one attempt
//! 2. what carries the block's tags is looked for first
//! 3. that an offering is about to be bought is written on the record; then the record is read
//!    again: another run that took over meanwhile either sees this mark, or this run sees its name
//! 4. the purchase is sent once, without the SDK's repetitions
//! 5. what was bought is written on the record: from now on it is launched into
//!
//! A record with the mark of a purchase, and nothing to show for it, buys nothing more, whatever
//! the user says: to let go of it takes `spotblock down`. That may refuse a purchase which was
//! never sent; it never buys a second one.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Bought, PurchaseOutcome, PurchaseRequest, Shortfall, outcome, with_profile};
use crate::aws::ec2::CapacityBlockReservation;
use crate::aws::refusal::{self, Refusal};
use crate::block::user_data;
use crate::model::error::{Error, Result};
use crate::model::record::{BlockSpec, Reserved};
use crate::runtime::wait::{Poll, WaitSpec, since};
use crate::session::Session;
use crate::terminal::format;

pub(crate) mod extension;
mod offering;
mod purchase;

pub(crate) use offering::{offerings, priced};

/// How long before its end AWS begins to end a capacity block's instances, and those of
/// UltraServers `[V]`.
const RECLAIM_SECS: u32 = 30 * 60;
const RECLAIM_SECS_OF_ULTRASERVERS: u32 = 60 * 60;
/// Instance types that are sold in UltraServers only `[A]`.
const OF_ULTRASERVERS: [&str; 2] = ["p6e-", "trn2u."];
/// How long after its start a capacity block may become active; and how long before it is looked at
/// more often.
const LATE_START: Duration = Duration::from_secs(15 * 60);
const EARLY: SignedDuration = SignedDuration::from_secs(30);
/// How often one is looked at whose start is far away.
const FAR_PAUSE: Duration = Duration::from_secs(5 * 60);
/// States from which a capacity block never becomes active `[V]`.
const OVER: [&str; 6] =
    ["expired", "cancelled", "failed", "payment-failed", "unsupported", "unavailable"];

/// What is frozen of a capacity block.
fn frozen(it: &CapacityBlockReservation) -> Result<Reserved> {
    let of_ultraserver = OF_ULTRASERVERS.iter().any(|family| it.instance_type.starts_with(family));
    let end = it.end.ok_or_else(|| {
        Error::state(
            format!("capacity block {} has no end", it.id),
            "look at it with `aws ec2 describe-capacity-reservations`",
        )
    })?;
    let reclaim_secs = if of_ultraserver { RECLAIM_SECS_OF_ULTRASERVERS } else { RECLAIM_SECS };
    Ok(Reserved { id: it.id.clone(), end, reclaim_secs })
}

/// The capacity block that the settings name, held against them.
///
/// # Errors
/// [`Error::usage`] when it doesn't fit; when a call fails.
pub(crate) async fn existing(session: &Session<'_>, id: &str) -> Result<Reserved> {
    let block = &session.settings.block;
    let it = session.aws.ec2.capacity_block(id).await?;
    let zones: Vec<String> =
        session.aws.ec2.subnets(&block.subnets).await?.into_iter().map(|it| it.zone).collect();
    let wrong = |what: String, next: &str| Err(Error::usage(what, next.to_owned()));
    if !it.is_block {
        return wrong(
            format!("{id} is a capacity reservation, but no capacity block"),
            "give a capacity block's id",
        );
    }
    if !block.instance_types.contains(&it.instance_type) {
        return wrong(
            format!(
                "capacity block {id} is of {}, which is not in [block] instance-types",
                it.instance_type
            ),
            "list its type",
        );
    }
    if !zones.contains(&it.zone) {
        return wrong(
            format!("capacity block {id} is in {}, and no subnet is", it.zone),
            "give a subnet of its zone",
        );
    }
    if it.total < block.instances {
        let what = format!(
            "capacity block {id} has {} instances, and {} are asked for",
            it.total, block.instances
        );
        return wrong(what, "ask for fewer, or name a larger one");
    }
    let reserved = frozen(&it)?;
    if OVER.contains(&it.state.as_str()) || reserved.reclaimed_at() <= session.now() {
        let what = format!(
            "capacity block {id} is {}, and its instances end at {}",
            it.state,
            reserved.reclaimed_at()
        );
        return wrong(what, "name one that goes on, or leave capacity-block out to buy one");
    }
    Ok(reserved)
}

pub(super) async fn buy(request: PurchaseRequest<'_>) -> Result<PurchaseOutcome> {
    let PurchaseRequest { session, record, attempt, asked, .. } = request;
    let made = request.made();
    if made >= asked {
        return Ok(PurchaseOutcome::of(made));
    }
    let reserved = match purchase::secured(request).await? {
        Ok(reserved) => reserved,
        Err(short) => return Ok(PurchaseOutcome::short(made, short)),
    };
    if let Some(short) = active(request, &reserved).await? {
        return Ok(PurchaseOutcome::short(made, short));
    }
    let spec = BlockSpec { reserved: Some(reserved.clone()), ..record.spec.clone() };
    let launch = user_data::launch_for_source(request.launch, attempt.source, &spec, &record.name)?;
    let run = async || {
        let version =
            session.aws.ec2.version_for(record, &attempt.source.to_string(), &launch).await?;
        session.aws.ec2.run_in_capacity_block(record, attempt, &reserved.id, version, asked).await
    };
    match with_profile(session, &launch, run).await {
        Ok(instances) => {
            let count = u32::try_from(instances.len()).unwrap_or(u32::MAX);
            Ok(PurchaseOutcome::of(count).naming(Bought { instances, ..Bought::default() }))
        }
        Err(error) => outcome(error, refusal::of_call),
    }
}

fn short(refusal: Refusal, code: &str, why: String, next: &'static str) -> Shortfall {
    Shortfall { refusal, code: code.to_owned(), why, failure: None, next: Some(next) }
}

/// Waits until the capacity block can be launched into, however long that is; says why it can't,
/// where it never will.
async fn active(request: PurchaseRequest<'_>, reserved: &Reserved) -> Result<Option<Shortfall>> {
    let PurchaseRequest { session, record, .. } = request;
    let began = session.now();
    loop {
        let it = session.aws.ec2.capacity_block(&reserved.id).await?;
        if let Some(short) = unfit(request, &it, reserved).await? {
            return Ok(Some(short));
        }
        let left = session.now().duration_until(it.start) - EARLY;
        if it.state == "active" || left <= SignedDuration::ZERO {
            break;
        }
        let what = format!(
            "capacity block {}, which begins {}",
            it.id,
            format::moment(it.start, session.now())
        );
        session.ui.waiting(&what, &it.state, since(began, session.now()));
        let left: Duration = left.try_into().unwrap_or_default();
        session.waits.clock().sleep(left.min(FAR_PAUSE)).await;
    }
    let bound = WaitSpec {
        what: format!("capacity block {} of block {} to be active", reserved.id, record.spec.block),
        limit: LATE_START,
        next: "run the same command again: it waits on".to_owned(),
    };
    let look = async || {
        let it = session.aws.ec2.capacity_block(&reserved.id).await?;
        Ok(match it.state.as_str() {
            "active" => Poll::Done(None),
            state if OVER.contains(&state) => Poll::Done(Some(over(&it))),
            state => Poll::NotYet(state.to_owned()),
        })
    };
    session.waits.until(session.ui, bound, look).await
}

/// Why this attempt can't be launched into this capacity block.
async fn unfit(
    request: PurchaseRequest<'_>,
    it: &CapacityBlockReservation,
    reserved: &Reserved,
) -> Result<Option<Shortfall>> {
    let PurchaseRequest { session, attempt, .. } = request;
    if OVER.contains(&it.state.as_str()) {
        return Ok(Some(over(it)));
    }
    if reserved.reclaimed_at() <= session.now() {
        return Ok(Some(Shortfall::too_late()));
    }
    let subnets = session.aws.ec2.subnets(&attempt.pool.subnets).await?;
    let fits = attempt.pool.types.contains(&it.instance_type)
        && subnets.iter().any(|subnet| subnet.zone == it.zone);
    Ok((!fits).then(|| {
        let why = format!("capacity block {} is of {} in {}", it.id, it.instance_type, it.zone);
        short(
            Refusal::NotOffered,
            "other-capacity-block",
            why,
            "List its type, and a subnet of its zone",
        )
    }))
}

fn over(it: &CapacityBlockReservation) -> Shortfall {
    let why = format!("capacity block {} is {}", it.id, it.state);
    short(
        Refusal::Never,
        &it.state,
        why,
        "Look at it with `aws ec2 describe-capacity-reservations`",
    )
}
