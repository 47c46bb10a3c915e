//! `spotblock down`: ends blocks, and with --all removes what was made for them.
//!
//! Its instances take no further jobs, and those that run are given up to `--limit`, then stopped
//! with a reason that the retry rules know; `--now` does without. A block's spot requests are
//! cancelled first, then described again, since a fulfilment can race a cancellation; what came up
//! is terminated if it is ours; its record goes last. Killed anywhere, a second run finds what is
//! left.
//!
//! A call that AWS denies keeps nothing else alive (`failures.rs`): what the other reads show is
//! ended, what may be left keeps its schedules and its record, and the run fails.

use std::collections::BTreeSet;
use std::time::Duration;

use node_contract::names::tag;
use serde::Serialize;

use crate::args;
use crate::block::drain::Members;
use crate::block::end::Ender;
use crate::block::find::{self, Unread};
use crate::block::termination_schedules;
use crate::environment::desired::Desired;
use crate::model::block::{Block, Life, Part};
use crate::model::error::{ErrorKind, Result};
use crate::model::instance::Instance;
use crate::model::ownership::Owned;
use crate::model::spot_request::{SpotRequest, SpotRequestStatus};
use crate::model::text::human;
use crate::runtime::failures::Failures;
use crate::runtime::wait::{Poll, WaitSpec, since};
use crate::session::Session;

mod environment;

/// Instances take seconds to minutes to be terminated.
const END_LIMIT: Duration = Duration::from_secs(600);
/// After a purchase whose answer was lost, its requests may not be shown yet `[V]`; nothing says
/// for how long `[A]`.
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
/// When jobs would be lost; after all else was ended, when a call failed or something didn't end in
/// time.
pub(crate) async fn run(session: &Session<'_>, args: &args::Down) -> Result<u8> {
    let limit = super::limit("--limit", args.limit.as_deref(), Duration::ZERO)?;
    let (mut ended, mut failures) = (Ended::default(), Failures::default());
    if args.all {
        let of_stack = environment::refuse_a_stacks(session).await;
        may_be_removed(session, of_stack, &mut failures)?;
        let lost = environment::refuse_to_lose_jobs(session, args.discard_jobs).await;
        may_be_removed(session, lost, &mut failures)?;
    }
    let (blocks, unread) = find::all_tolerant(session.aws, session.environment(), true).await?;
    failures.note_all(session.ui, find::left_by(unread))?;
    let chosen = super::chosen_of_seen(session, &blocks, args.block.as_deref(), &failures)?;
    for block in &chosen {
        let marked = marked(session, block).await;
        failures.ok_or_note(
            session.ui,
            marked,
            format!("what a `spotblock up` at the same time buys of block {}", block.id),
        )?;
    }
    if !args.now {
        ended.stopped = emptied(session, &chosen, limit, &mut failures).await?;
    }
    for block in chosen {
        Ending { session, block, ended: &mut ended, failures: &mut failures }.end().await?;
    }
    let kept = "with its queue, job definitions and roles";
    if args.all && failures.is_empty() {
        environment::remove(session, &mut ended, &mut failures).await?;
    } else if args.all {
        let why = "until nothing of a block can be left";
        ended.kept.push(format!("compute environment {} {kept}, {why}", session.environment()));
    } else {
        let found = session.aws.batch.environment(session.environment()).await;
        let found = failures.ok_or_note(
            session.ui,
            found,
            "the compute environment, which `down` alone keeps",
        )?;
        if found.flatten().is_some() {
            let how = "(remove them with `spotblock down --all`)";
            ended.kept.push(format!("compute environment {} {kept} {how}", session.environment()));
        }
    }
    session.ui.result(&ended, text)?;
    let again = if args.all { "spotblock down --all" } else { "spotblock down" };
    failures.into_result(&format!(
        "put right what failed, then run `{again}` again: it ends what is left"
    ))?;
    Ok(0)
}

/// A refusal ends the run; that it isn't known whether there is something to refuse keeps the
/// environment alone.
fn may_be_removed(
    session: &Session<'_>,
    looked: Result<()>,
    failures: &mut Failures,
) -> Result<()> {
    match looked {
        Err(error) if error.kind() == ErrorKind::Aws => {
            let left = format!("the environment {} and all around it", session.environment());
            failures.note(session.ui, error, left)
        }
        result => result,
    }
}

/// Lets jobs finish for so long, then stops them, and gives how many were. Where they can't be
/// looked at they are given the time all the same; then their instances end with them, and their
/// agents stop them on the way down.
async fn emptied(
    session: &Session<'_>,
    blocks: &[&Block],
    limit: Duration,
    failures: &mut Failures,
) -> Result<usize> {
    let stopped = async {
        let members = Members::drain(session, blocks).await?;
        members.empty(session, limit, "the block is ended").await
    };
    let start = session.now();
    let left = "jobs that ended with their instances, of which Batch may learn some 15 min later";
    if let Some(stopped) = failures.ok_or_note(session.ui, stopped.await, left)? {
        return Ok(stopped);
    }
    let rest = limit.saturating_sub(since(start, session.now()));
    if !rest.is_zero() && blocks.iter().any(|it| it.has_something_left()) {
        session
            .ui
            .say(format_args!("jobs can't be looked at: they are given {} to finish", human(rest)));
        session.waits.clock().sleep(rest).await;
    }
    Ok(0)
}

/// Writes on its record that a block is being ended: before it is looked at what there is of it, so
/// that a run which buys at the same time knows it by then, or has bought what is seen
/// (`launch/ended.rs`).
async fn marked(session: &Session<'_>, block: &Block) -> Result<()> {
    match &block.record {
        Some(record) if record.ended.is_none() => {
            session.aws.ec2.set_ended(record, session.now()).await
        }
        _ => Ok(()),
    }
}

/// One block that is to be ended.
struct Ending<'a> {
    session: &'a Session<'a>,
    block: &'a Block,
    ended: &'a mut Ended,
    failures: &'a mut Failures,
}

impl Ending<'_> {
    /// Ends what can be seen of it. Its schedules go when its instances are known to be gone, and
    /// its record goes when all is: what is left is found by them.
    ///
    /// # Errors
    /// As [`Failures::note`].
    async fn end(mut self) -> Result<()> {
        let (session, block) = (self.session, self.block);
        session.ui.say(format_args!("ending block {}", block.id));
        if !block.unsure.is_empty() {
            let which = block.unsure.join(", ");
            self.failures.may_be_left(format!(
                "{which}: tagged as of block {}, but whose they are only their spot requests say",
                block.id
            ));
        }
        let of_block = |what: &str| format!("{what} of block {}", block.id);
        if block.life(session.now()) == Life::Recorded && !block.lacks(Part::Requests) {
            let late = late_requests(session, block).await;
            self.failures.ok_or_note(session.ui, late, of_block("spot requests"))?;
        }
        let (seen, _) = find::refresh_tolerant(session.aws, session.environment(), block).await?;
        let cancelled = self.requests_cancelled(&seen).await;
        let cancelled =
            self.failures.ok_or_note(session.ui, cancelled, of_block("open spot requests"))?;
        let gone = self.instances_ended().await;
        let Some(unread) = self.failures.ok_or_note(session.ui, gone, of_block("instances"))?
        else {
            return Ok(());
        };
        let mut lacks: BTreeSet<Part> = unread.keys().copied().collect();
        lacks.extend(block.unread.get(&Part::Records));
        self.failures.note_all(session.ui, find::left_by(unread))?;
        if lacks.contains(&Part::Requests)
            || lacks.contains(&Part::Instances)
            || cancelled.is_none()
        {
            self.ended
                .kept
                .push(format!("schedules of block {}, which end what may be left of it", block.id));
            return Ok(());
        }
        self.forget(&lacks).await
    }

    /// Deletes its schedules, which until here would have ended what a killed run left; and its
    /// record, unless something may be left that only the record tells of.
    async fn forget(self, lacks: &BTreeSet<Part>) -> Result<()> {
        let (session, block) = (self.session, self.block);
        let of_block = |what: &str| format!("{what} of block {}", block.id);
        let forgotten =
            termination_schedules::forget(session, &Desired::new(session.settings), &block.id)
                .await;
        let Some(forgotten) =
            self.failures.ok_or_note(session.ui, forgotten, of_block("schedules"))?
        else {
            return Ok(());
        };
        self.ended.schedules.extend(forgotten);
        match &block.record {
            Some(record) if lacks.is_empty() => {
                let deleted = session.aws.ec2.delete_record(record).await;
                if self.failures.ok_or_note(session.ui, deleted, of_block("the record"))?.is_none()
                {
                    return Ok(());
                }
            }
            Some(record) => {
                let what = "by which the next run finds what may be left";
                self.ended
                    .kept
                    .push(format!("record {} of block {}, {what}", record.name, block.id));
                return Ok(());
            }
            None => {}
        }
        self.ended.blocks.push(block.id.clone());
        Ok(())
    }

    async fn requests_cancelled(&mut self, seen: &Block) -> Result<()> {
        let marks = seen.marks(self.session.environment());
        let ender = Ender::new(self.session.aws, Some(self.session.ui), marks);
        let open = seen.requests.iter().filter(|it| it.is_open());
        self.ended.cancelled.extend(ender.cancel_requests(open).await?);
        Ok(())
    }

    /// Terminates the block's instances, also those that come up late, and waits until all that can
    /// be seen are gone. Gives what couldn't be read.
    async fn instances_ended(&mut self) -> Result<Unread> {
        let (session, block) = (self.session, self.block);
        let bound = WaitSpec {
            what: format!("the instances of block {} to end", block.id),
            limit: END_LIMIT,
            next: "run the same command again".to_owned(),
        };
        let mut asked: Vec<String> = Vec::new();
        // Where nothing is left that can be seen, but a part couldn't be read so far.
        let mut blind = None;
        let look = async || {
            let (seen, unread) =
                find::refresh_tolerant(session.aws, session.environment(), block).await?;
            let terminated = terminate(session, &seen, &mut asked).await;
            let cancelled = reservations_cancelled(session, &seen, self.ended).await;
            terminated.and(cancelled)?;
            blind = None;
            if let Some(left) = left(&seen) {
                return Ok(Poll::NotYet(left));
            }
            let Some(may_pass) = unread.values().find(|error| error.is_transient()) else {
                return Ok(Poll::Done(unread));
            };
            let may_pass = may_pass.to_string();
            blind = Some(unread);
            Ok(Poll::NotYet(may_pass))
        };
        let result = session.waits.until(session.ui, bound, look).await;
        self.ended.instances.extend(asked);
        match (result, blind) {
            (Err(error), Some(unread)) if error.kind() == ErrorKind::TimedOut => Ok(unread),
            (result, _) => result,
        }
    }
}

/// Terminates those of a block's instances that weren't asked to end yet. Where instances can't be
/// read, its spot requests name those that they brought.
async fn terminate(session: &Session<'_>, seen: &Block, asked: &mut Vec<String>) -> Result<()> {
    let marks = seen.marks(session.environment());
    let ender = Ender::new(session.aws, Some(session.ui), marks);
    let new = seen.instances.iter().filter(|it| it.is_up() && !asked.contains(&it.id));
    let new: Vec<&Instance> = new.collect();
    let mut owned: Vec<Owned> =
        new.iter().filter_map(|it| marks.claim_instance(it, &seen.requests)).collect();
    let marked = ender.mark(&new, &seen.requests).await;
    if seen.lacks(Part::Instances) {
        let live = seen.requests.iter().filter(|it| it.status() == SpotRequestStatus::Live);
        let named = live.filter_map(|it| marks.claim(it.instance.as_ref()?, &it.tags));
        owned.extend(named.filter(|it| !asked.iter().any(|id| id == it.id())));
    }
    ender.terminate(&owned, asked).await?;
    marked
}

/// What can be seen of a block that hasn't ended, in words.
fn left(seen: &Block) -> Option<String> {
    let reserved = seen.reservations.iter().filter(|it| it.is_held()).count();
    let holding =
        seen.requests.iter().filter(|it| it.status() == SpotRequestStatus::Holding).count();
    let shown = |it: &&SpotRequest| {
        it.instance
            .as_ref()
            .is_none_or(|id| seen.instances.iter().any(|instance| instance.id == *id))
    };
    let live = |it: &&SpotRequest| it.status() == SpotRequestStatus::Live;
    let coming = seen.requests.iter().filter(live).filter(|it| !shown(it)).count();
    let alive = seen.instances.iter().filter(|it| it.state != "terminated").count();
    let requests = holding + coming;
    let reservations =
        if reserved > 0 { format!(", {reserved} capacity reservations") } else { String::new() };
    (alive + requests + reserved > 0)
        .then(|| format!("{alive} instances and {requests} requests{reservations} are left"))
}

/// Gives requests the time to turn up that a run made which didn't live to see AWS's answer.
async fn late_requests(session: &Session<'_>, block: &Block) -> Result<()> {
    let bound = WaitSpec {
        what: format!("spot requests of block {} that may have been made", block.id),
        limit: SETTLE,
        next: String::new(),
    };
    let look = async || {
        let seen = session.aws.ec2.spot_requests(tag::BLOCK, &block.id).await?;
        Ok(if seen.is_empty() { Poll::NotYet("none is shown".to_owned()) } else { Poll::Done(()) })
    };
    match session.waits.until(session.ui, bound, look).await {
        // None was made.
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        result => result,
    }
}

/// Cancels the reservations that were made for the block. One that is pending can't be yet.
async fn reservations_cancelled(
    session: &Session<'_>,
    seen: &Block,
    ended: &mut Ended,
) -> Result<()> {
    let ender = Ender::new(session.aws, Some(session.ui), seen.marks(session.environment()));
    let known = ended.cancelled.clone();
    let active = seen.reservations.iter().filter(|it| it.is_active() && !known.contains(&it.id));
    ender.cancel_reservations(active, &mut ended.cancelled).await
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
