//! From attempt to attempt, in the order that the record froze, until enough instances are there.
//!
//! Before each attempt, whatever a refused one left is ended. What AWS refuses is written on the
//! record before the next attempt begins, so that whoever goes on, after a crash too, begins where
//! this run stopped. What an attempt asks for follows from the record alone: so does its
//! repetition.

use super::NOT_JOINED;
use super::launch_template::Template;
use super::lease::{self, Lease};
use super::release::{self, Chosen};
use crate::aws::refusal::Refusal;
use crate::block::find;
use crate::block::purchase::{self, Bought, PurchaseOutcome, PurchaseRequest, Shortfall};
use crate::model::block::Block;
use crate::model::error::{Error, Result};
use crate::model::instance::Instance;
use crate::model::record::{PurchaseAttempt, Record, Refused};
use crate::model::source;
use crate::model::text::human;
use crate::session::Session;

/// A block for which nothing more is bought.
pub(super) struct Purchased {
    /// Its record.
    pub(super) record: Record,
    /// How many instances are there, or on their way.
    pub(super) instances: u32,
    /// What AWS's answers to this run's purchases named, by the number of the attempt.
    pub(super) bought: Vec<(u32, Bought)>,
}

/// Climbs until enough instances are there.
///
/// # Errors
/// The last refusal, when no attempt is left; what says nothing about the capacity.
pub(super) async fn try_sources(
    session: &Session<'_>,
    mut block: Block,
    mut record: Record,
    mut lease: Lease,
    consent: bool,
) -> Result<Purchased> {
    if record.reported.is_some() {
        let kept =
            |it: &&Instance| block.attempt_of(it).is_none_or(|attempt| record.keeps(attempt));
        let instances =
            u32::try_from(block.instances.iter().filter(kept).count()).unwrap_or(u32::MAX);
        if instances < record.spec.instances {
            let (wanted, id) = (record.spec.instances, &record.spec.block);
            session.ui.warn(format_args!("block {id} has {instances} of {wanted} instances"));
        }
        return Ok(Purchased { record, instances, bought: Vec::new() });
    }
    let several = record.spec.attempts().len() > 1;
    let template = Template::of(session, &record).await?;
    let mut last = None;
    let (mut brought, mut bought) = (false, Vec::new());
    loop {
        release::run(session, &block, &record, Chosen::Strays).await?;
        let Some(attempt) = record.attempt().filter(|_| record.outcome.is_none()) else {
            return exhausted(session, &block, (record, bought), last, brought).await;
        };
        let source = source::rules(attempt.source);
        let turns = several || source.takes_turns(&record.spec);
        if turns && !lease.turn(session, &mut record, &mut block, &attempt).await? {
            continue;
        }
        let asked = record.spec.instances.saturating_sub(record.got());
        let launch = template.launch_of(attempt.source, &record.spec)?;
        announce(session, &record, &attempt, asked, &block);
        let (before, launch) = (&record, &launch);
        let buying = PurchaseRequest {
            session,
            record: before,
            attempt: &attempt,
            asked,
            launch,
            block: &block,
            consent,
        };
        let outcome = purchase::buy(buying).await?;
        bought.push((attempt.number, outcome.bought.clone()));
        // It may have been a long time: others may have ended the block, or, where runs take turns,
        // have gone on.
        let mut now = record.clone();
        lease::read(session, &mut now).await?;
        if turns {
            let has_gone_on = now.refused != record.refused;
            record = now;
            if has_gone_on {
                block = find::refresh(
                    session.aws,
                    session.environment(),
                    &block.id,
                    Some(record.clone()),
                )
                .await?;
                continue;
            }
        }
        let Some(short) = outcome.short else {
            let instances = record.got() + outcome.instances;
            return Ok(Purchased { record, instances, bought });
        };
        brought |= outcome.instances > 0;
        block = find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
            .await?;
        let kept = if record.spec.fills_gaps() {
            release::run(session, &block, &record, Chosen::OpenRequests(attempt.number)).await?;
            block =
                find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
                    .await?;
            let of_it = |it: &&Instance| it.is_up() && block.attempt_of(it) == Some(attempt.number);
            u32::try_from(block.instances.iter().filter(of_it).count()).unwrap_or(u32::MAX)
        } else {
            0
        };
        let outcome = PurchaseOutcome::of(kept);
        written_down(session, &mut record, &attempt, &outcome, &short).await?;
        block.record = Some(record.clone());
        last = Some(short);
    }
}

fn announce(
    session: &Session<'_>,
    record: &Record,
    attempt: &PurchaseAttempt,
    asked: u32,
    block: &Block,
) {
    let spec = &record.spec;
    let made =
        block.requests.iter().map(|it| &it.tags).chain(block.instances.iter().map(|it| &it.tags));
    if made.into_iter().any(|tags| crate::model::record::attempt_of(tags) == Some(attempt.number)) {
        return;
    }
    session.ui.say(format_args!(
        "requesting {asked} x {} for {} ({}{})",
        attempt.shown(),
        human(spec.duration.unsigned_abs()),
        attempt.source,
        spec.max_price
            .as_ref()
            .map(|price| format!(", at most ${price} per instance-hour"))
            .unwrap_or_default(),
    ));
}

/// Writes a refusal on the record, and on the user's screen.
async fn written_down(
    session: &Session<'_>,
    record: &mut Record,
    attempt: &PurchaseAttempt,
    outcome: &PurchaseOutcome,
    short: &Shortfall,
) -> Result<()> {
    let known = record.refused.iter().position(|it| it.source == attempt.source);
    let mut refused = match known {
        Some(at) => record.refused.remove(at),
        None => Refused { source: attempt.source, through: 0, got: 0, codes: Vec::new() },
    };
    // What isn't sold at all isn't in another pool either.
    refused.through = if short.refusal == Refusal::NotSold { attempt.last } else { attempt.number };
    refused.got += outcome.instances;
    if !refused.codes.contains(&short.code) {
        refused.codes.push(short.code.clone());
    }
    record.refused.push(refused.clone());
    let over = record.attempt().is_none() && record.got() < record.spec.least();
    if over || !short.refusal.leads_on() {
        record.outcome = Some(format!(
            "{}:{}",
            if short.failure.is_some() { "refused" } else { "not-fulfilled" },
            short.code
        ));
    }
    session.aws.ec2.set_refused(record, &refused, record.outcome.as_deref()).await?;
    if let Some(next) = record.attempt().filter(|_| record.outcome.is_none()) {
        let brought = if outcome.instances > 0 {
            format!(" brought {} and", outcome.instances)
        } else {
            String::new()
        };
        let id = short.failure.as_ref().and_then(|failure| failure.request_id.as_ref());
        session.ui.say(format_args!(
            "{}{brought} refused {}: {}: {}{}; trying {} ({})",
            attempt.source,
            attempt.shown(),
            short.code,
            short.why,
            id.map(|id| format!(" (request id {id})")).unwrap_or_default(),
            next.source,
            next.shown()
        ));
    }
    Ok(())
}

/// No attempt is left: enough is there all the same, or nothing is to be left.
async fn exhausted(
    session: &Session<'_>,
    block: &Block,
    (record, bought): (Record, Vec<(u32, Bought)>),
    last: Option<Shortfall>,
    brought: bool,
) -> Result<Purchased> {
    if record.outcome.is_none() && record.spec.fills_gaps() && record.got() >= record.spec.least() {
        let instances = record.got();
        let (wanted, id) = (record.spec.instances, &record.spec.block);
        session.ui.warn(format_args!(
            "block {id} has {instances} of {wanted} instances: no source has more"
        ));
        return Ok(Purchased { record, instances, bought });
    }
    // Where nothing ever came, nothing is left, and the refusal that was just written down is the
    // run's last call.
    if brought || last.is_none() {
        let block =
            find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
                .await?;
        release::idle(session, &block, &record).await?;
    }
    Err(refused(&record, last, brought))
}

/// The error that a block ends with that no source sold.
fn refused(record: &Record, last: Option<Shortfall>, brought: bool) -> Error {
    let spec = &record.spec;
    let next = |advice: Option<&str>| {
        let advice = advice.unwrap_or(
            "Raise [block] max-price, ask for fewer instances or other types or subnets, list \
             another source, or raise the account's quota",
        );
        let left = if brought { "what came was given back" } else { "nothing was bought" };
        format!("{left}. {advice}; then run the same command again")
    };
    let outcome = if brought { "too few instances" } else { "no instance" };
    if record.outcome.as_deref() == Some(NOT_JOINED) {
        return Error::state(
            format!(
                "too few instances of block {} joined the cluster: what there was is given back",
                spec.block
            ),
            "run the same command again for another block",
        );
    }
    let Some(short) = last else {
        return Error::capacity(
            format!("AWS refused block {}: {}", spec.block, sources(record)),
            None,
            next(None),
        );
    };
    match (short.refusal.leads_on(), short.failure) {
        (false, Some(failure)) => failure.into(),
        (false, None) => Error::state(
            format!("{outcome} came for block {}: {}", spec.block, short.why),
            next(Some("Change what AWS names")),
        ),
        (true, source) => {
            let several = spec.attempts().len() > 1;
            let all =
                if several { format!(" (refused by {})", sources(record)) } else { String::new() };
            let what = match &source {
                Some(_) if short.refusal == Refusal::NotSold => format!("{}{all}", short.why),
                Some(_) => {
                    format!("AWS has no capacity for block {} on these terms{all}", spec.block)
                }
                None => format!("{outcome} came for block {}: {}{all}", spec.block, short.why),
            };
            Error::capacity(what, source, next(short.next))
        }
    }
}

/// What each source answered.
fn sources(record: &Record) -> String {
    let all: Vec<String> =
        record.refused.iter().map(|it| format!("{}: {}", it.source, it.codes.join(", "))).collect();
    all.join("; ")
}
