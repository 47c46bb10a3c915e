//! `spotblock down`: ends blocks, and with --all removes what was made for them.
//!
//! Its instances take no further jobs, and those that run are given up to `--limit`, then stopped with a reason that the
//! retry rules know; `--now` does without. A block's spot requests are cancelled first, then described again, since a fulfilment can race a cancellation; what
//! came up is terminated if it is ours; its record goes last. Killed anywhere, a second run finds what is left.

use std::time::Duration;

use node_contract::names::tag;
use serde::Serialize;

use crate::args;
use crate::aws::ec2::{HeldCapacity, Instance, SpotRequest};
use crate::block::{self, Block, Life};
use crate::capacity::{self, Standing};
use crate::defence;
use crate::desired::Desired;
use crate::drain::Members;
use crate::error::{Error, Result};
use crate::ownership::{Marks, Ours, ids};
use crate::session::Session;
use crate::wait::{Bound, Seen};

mod environment;

/// Instances take seconds to minutes to be terminated.
const END_LIMIT: Duration = Duration::from_secs(600);
/// After a purchase whose answer was lost, its requests may not be shown yet `[V]`; nothing says for how long `[A]`.
const SETTLE: Duration = Duration::from_secs(20);

/// What `down` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ended {
    blocks: Vec<String>,
    instances: Vec<String>,
    cancelled: Vec<String>,
    schedules: Vec<String>,
    /// How many jobs were stopped, to be retried.
    stopped: usize,
    pub(super) removed: Vec<String>,
    pub(super) kept: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When a call fails, something doesn't end in time, or jobs would be lost.
pub async fn run(session: &Session<'_>, args: &args::Down) -> Result<u8> {
    let limit = super::limit("--limit", args.limit.as_deref(), Duration::ZERO)?;
    if args.all {
        environment::refuse_a_stacks(session).await?;
        environment::refuse_to_lose_jobs(session, args.discard_jobs).await?;
    }
    let mut ended = Ended::default();
    let blocks = block::all_to_be_ended(session.aws, session.environment()).await?;
    let chosen = super::chosen(session, &blocks, args.block.as_deref())?;
    if !args.now {
        let members = Members::drain(session, &chosen).await?;
        ended.stopped = members.empty(session, limit, "the block is ended").await?;
    }
    for block in chosen {
        end(session, block, &mut ended).await?;
    }
    if args.all {
        environment::remove(session, &mut ended).await?;
    } else if session.aws.batch.environment(session.environment()).await?.is_some() {
        let what = "with its queue, job definitions and roles (remove them with `spotblock down --all`)";
        ended.kept.push(format!("compute environment {} {what}", session.environment()));
    }
    session.ui.result(&ended, text)?;
    Ok(0)
}

/// Ends one block.
async fn end(session: &Session<'_>, block: &Block, ended: &mut Ended) -> Result<()> {
    session.ui.say(format_args!("ending block {}", block.id));
    if block.life(session.now()) == Life::Recorded {
        late_requests(session, block).await?;
    }
    let seen = block::again(session.aws, session.environment(), &block.id, block.record.clone()).await?;
    let marks = Marks::of_block(session.environment(), &block.id);
    let open = |it: &&SpotRequest| matches!(it.state.as_str(), "open" | "active" | "disabled");
    let cancel: Vec<Ours> = seen.requests.iter().filter(open).filter_map(|it| marks.claim(&it.id, &it.tags)).collect();
    session.aws.ec2.cancel_spot_requests(&cancel).await?;
    ended.cancelled.extend(ids(&cancel));
    instances_ended(session, block, ended).await?;
    // Until here they would have ended what a killed run left.
    let desired = Desired::new(session.settings);
    ended.schedules.extend(defence::forget(session, &desired, &block.id).await?);
    if let Some(record) = &block.record {
        session.aws.ec2.delete_record(record).await?;
    }
    ended.blocks.push(block.id.clone());
    Ok(())
}

/// Gives requests the time to turn up that a run made which didn't live to see AWS's answer.
async fn late_requests(session: &Session<'_>, block: &Block) -> Result<()> {
    let bound = Bound {
        what: format!("spot requests of block {} that may have been made", block.id),
        limit: SETTLE,
        next: String::new(),
    };
    let look = async || {
        let seen = session.aws.ec2.spot_requests(tag::BLOCK, &block.id).await?;
        Ok(if seen.is_empty() { Seen::NotYet("none is shown".to_owned()) } else { Seen::Done(()) })
    };
    match session.waits.until(session.ui, bound, look).await {
        // None was made.
        Err(Error::TimedOut { .. }) => Ok(()),
        result => result,
    }
}

/// Terminates the block's instances, also those that come up late, and waits until all are gone.
async fn instances_ended(session: &Session<'_>, block: &Block, ended: &mut Ended) -> Result<()> {
    let bound = Bound {
        what: format!("the instances of block {} to end", block.id),
        limit: END_LIMIT,
        next: "run the same command again".to_owned(),
    };
    let marks = Marks::of_block(session.environment(), &block.id);
    let mut asked: Vec<String> = Vec::new();
    session
        .waits
        .until(session.ui, bound, async || {
            let seen = block::again(session.aws, session.environment(), &block.id, block.record.clone()).await?;
            let up = || seen.instances.iter().filter(|it| it.is_up() && !asked.contains(&it.id));
            let new: Vec<Ours> = up().filter_map(|it| marks.claim_instance(it, &seen.requests)).collect();
            // Marked first: AWS forgets requests, and a run can be killed here.
            let unmarked = up().filter(|it| !marks.are_on(&it.tags));
            let unmarked: Vec<Ours> = unmarked.filter_map(|it| marks.claim_instance(it, &seen.requests)).collect();
            session.aws.ec2.tag(&unmarked, &marks.tags()).await?;
            if !new.is_empty() {
                session.ui.say(format_args!("terminating {}", ids(&new).join(", ")));
                session.aws.ec2.terminate(&new).await?;
                asked.extend(ids(&new));
            }
            reservations_cancelled(session, &seen, ended).await?;
            let reserved = seen.reservations.iter().filter(|it| it.is_held()).count();
            let holding = seen.requests.iter().filter(|it| capacity::standing(it) == Standing::Holding).count();
            let shown = |it: &&SpotRequest| {
                it.instance.as_ref().is_none_or(|id| seen.instances.iter().any(|instance| instance.id == *id))
            };
            let live = |it: &&SpotRequest| capacity::standing(it) == Standing::Live;
            let coming = seen.requests.iter().filter(live).filter(|it| !shown(it)).count();
            let alive: Vec<&Instance> = seen.instances.iter().filter(|it| it.state != "terminated").collect();
            if alive.is_empty() && holding + coming + reserved == 0 {
                return Ok(Seen::Done(()));
            }
            let reserved = if reserved > 0 { format!(", {reserved} capacity reservations") } else { String::new() };
            let requests = holding + coming;
            Ok(Seen::NotYet(format!("{} instances and {requests} requests{reserved} are left", alive.len())))
        })
        .await?;
    ended.instances.extend(asked);
    Ok(())
}

/// Cancels the reservations that were made for the block. One that is pending can't be yet.
async fn reservations_cancelled(session: &Session<'_>, seen: &Block, ended: &mut Ended) -> Result<()> {
    let marks = Marks::of_block(session.environment(), &seen.id);
    let active = seen.reservations.iter().filter(|it| it.is_active() && !ended.cancelled.contains(&it.id));
    let ours: Vec<Ours> = active.filter_map(|it: &HeldCapacity| marks.claim(&it.id, &it.tags)).collect();
    for it in ours {
        session.ui.say(format_args!("cancelling capacity reservation {}", it.id()));
        session.aws.ec2.cancel_reservation(&it).await?;
        ended.cancelled.push(it.id().to_owned());
    }
    Ok(())
}

fn text(ended: &Ended) -> String {
    let line = |name: &str, list: &[String], none: &str| match list {
        [] => format!("{name}: {none}"),
        list => format!("{name}: {}", list.join(", ")),
    };
    let mut lines = vec![
        line("ended blocks", &ended.blocks, "none"),
        line("terminated instances", &ended.instances, "none"),
        line("removed", &ended.removed, "nothing"),
    ];
    lines.extend(ended.kept.iter().map(|kept| format!("kept: {kept}")));
    lines.join("\n")
}
