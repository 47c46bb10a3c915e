//! Marking what came, and waiting until it has joined the cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aws::ecs::Member;
use crate::block::find;
use crate::block::purchase::Bought;
use crate::block::termination_schedules::TerminationSchedules;
use crate::model::block::Block;
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::instance::Instance;
use crate::model::ownership::Owned;
use crate::model::record::Record;
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;

/// What was seen of the wait.
#[derive(Default)]
pub(super) struct Joined {
    /// How many are connected container instances.
    pub(super) joined: usize,
    /// Those that ended meanwhile.
    gone: Vec<Instance>,
}

/// Why a wait for instances to join ended without them.
#[derive(Debug)]
pub(crate) enum Reason {
    /// Instances ended before the block was whole.
    Ended,
    /// The wait came to its end.
    TimedOut {
        /// An instance that is up and hasn't joined.
        absent: Option<String>,
    },
}

/// How a wait for instances to join can fail.
pub(super) enum JoinError {
    /// They did not all join.
    NotJoined {
        /// What the user is told.
        error: Error,
        /// What happened.
        reason: Reason,
    },
    /// It is not known whether they did.
    Failed(Error),
}

/// What is waited for.
pub(super) struct Expected<'a> {
    /// The ECS cluster.
    pub(super) cluster: &'a str,
    /// How many instances.
    pub(super) instances: usize,
    /// What ends them if all else fails.
    pub(super) schedules: Option<&'a TerminationSchedules>,
    /// How long.
    pub(super) limit: Duration,
    /// What AWS's answers to this run's purchases named, by the number of the attempt.
    pub(super) bought: &'a [(u32, Bought)],
}

/// Marks instances of ours that are not marked yet: a spot request's tags don't reach them `[V]`.
async fn mark(session: &Session<'_>, record: &Record, block: &Block) -> Result<()> {
    let marks = block.marks(session.environment());
    let mut unmarked: BTreeMap<u32, Vec<Owned>> = BTreeMap::new();
    for instance in block.instances.iter().filter(|it| it.is_up() && !marks.are_on(&it.tags)) {
        let attempt = block.attempt_of(instance).unwrap_or_default();
        unmarked
            .entry(attempt)
            .or_default()
            .extend(marks.claim_instance(instance, &block.requests));
    }
    for (attempt, instances) in unmarked {
        session.aws.ec2.tag(&instances, &record.spec.tags_of(attempt)).await?;
    }
    Ok(())
}

/// Marks what AWS's answers named and the look by tag doesn't show: a tag that never came loses
/// nothing.
async fn mark_named(
    session: &Session<'_>,
    record: &Record,
    block: &Block,
    bought: &[(u32, Bought)],
) -> Result<()> {
    let ec2 = &session.aws.ec2;
    for (attempt, Bought { instances, requests }) in bought {
        let unshown = |id: &&String| block.instances.iter().all(|shown| shown.id != **id);
        let instances: Vec<String> = instances.iter().filter(unshown).cloned().collect();
        let unshown = |id: &&String| block.requests.iter().all(|shown| shown.id != **id);
        let requests: Vec<String> = requests.iter().filter(unshown).cloned().collect();
        // Those that AWS shows at all: one that it doesn't know yet can't be tagged.
        let mut ids: Vec<String> = Vec::new();
        ids.extend(ec2.instances_with_ids(&instances).await?.into_iter().map(|shown| shown.id));
        ids.extend(ec2.spot_requests_of(&requests).await?.into_iter().map(|shown| shown.id));
        let owned: Vec<Owned> = ids.iter().map(|id| Owned::created(id)).collect();
        ec2.tag(&owned, &record.spec.tags_of(*attempt)).await?;
    }
    Ok(())
}

/// Waits until each instance is a connected container instance of the cluster; `seen` is what was
/// seen of it last.
pub(super) async fn join(
    session: &Session<'_>,
    record: &Record,
    expected: Expected<'_>,
    seen: &mut Joined,
) -> std::result::Result<(), JoinError> {
    let Expected { cluster, instances: expected, schedules, limit, bought } = expected;
    let bound = WaitSpec {
        what: format!("the instances of block {} to join the cluster", record.spec.block),
        limit,
        next: String::new(),
    };
    let mut absent = None;
    let mut members = BTreeMap::new();
    let mut unsecured = schedules;
    let look = async || {
        let block = find::refresh(
            session.aws,
            session.environment(),
            &record.spec.block,
            Some(record.clone()),
        )
        .await?;
        mark(session, record, &block).await?;
        mark_named(session, record, &block, bought).await?;
        let kept =
            |it: &&Instance| block.attempt_of(it).is_none_or(|attempt| record.keeps(attempt));
        let instances: Vec<&Instance> = block.instances.iter().filter(kept).collect();
        if instances.len() < expected {
            return Ok(Poll::NotYet(format!(
                "{} of {expected} instances shown so far",
                instances.len()
            )));
        }
        if let Some(schedules) = unsecured {
            schedules.secure(session, &block).await?;
            unsecured = None;
        }
        session.aws.ecs.update_members(cluster, &mut members).await?;
        let joined = |it: &&&Instance| members.get(&it.id).is_some_and(Member::has_joined);
        seen.joined = instances.iter().filter(|it| it.is_up() && joined(it)).count();
        seen.gone = instances.iter().filter(|it| !it.is_up()).map(|it| (*it).clone()).collect();
        let missing: Vec<&&Instance> =
            instances.iter().filter(|it| it.is_up() && !joined(it)).collect();
        let Some(first) = missing.first() else { return Ok(Poll::Done(())) };
        absent = Some(first.id.clone());
        let named: Vec<String> =
            missing.iter().take(5).map(|it| format!("{} ({})", it.id, it.state)).collect();
        let here = instances.iter().filter(joined).count();
        let rest = if missing.len() > 5 { ", ..." } else { "" };
        Ok(Poll::NotYet(format!(
            "{here} of {} joined; not yet: {}{rest}",
            instances.len(),
            named.join(", ")
        )))
    };
    let waited = session.waits.until_all(session.ui, bound, expected, look).await;
    let error = match waited {
        Ok(()) => match ended_early(record, &seen.gone) {
            Some(error) => error,
            None => return Ok(()),
        },
        Err(error) => error,
    };
    Err(match error.kind() {
        ErrorKind::TimedOut => JoinError::NotJoined { error, reason: Reason::TimedOut { absent } },
        ErrorKind::State => JoinError::NotJoined { error, reason: Reason::Ended },
        _ => JoinError::Failed(error),
    })
}

fn ended_early(record: &Record, gone: &[Instance]) -> Option<Error> {
    let first = gone.first()?;
    let (block, wanted) = (&record.spec.block, record.spec.instances);
    Some(Error::state(
        format!(
            "{} of {wanted} instances of block {block} have ended: {} is {} ({})",
            gone.len(),
            first.id,
            first.state,
            first.reason
        ),
        "it is all or nothing: idle instances were ended, those with jobs leave when they are \
         done (--partial K keeps K or more); run the same command again for another block",
    ))
}
