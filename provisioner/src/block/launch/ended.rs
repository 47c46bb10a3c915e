//! `spotblock down` at the same time. It writes on the record that the block is ended before it
//! looks for what there is, and a run that buys reads the record after each purchase. So of what
//! was bought either `down` sees it, or this run sees the mark (or that the record is gone), and
//! ends it here. It is looked once more when the instances have joined: AWS may have shown a
//! purchase too late to `down`.

use std::collections::BTreeSet;
use std::time::Duration;

use node_contract::{Source, names::tag};

use super::release::{self, Chosen};
use crate::aws::ec2::Named;
use crate::block::drain::Members;
use crate::block::{find, termination_schedules};
use crate::environment::desired::Desired;
use crate::model::block;
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::record::Record;
use crate::runtime::wait::since;
use crate::session::Session;

/// How long after its purchase something may not be shown yet `[A]`.
const SETTLE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(5);

/// Whether a block was ended, or is being ended.
pub(super) fn is_ended(record: &Record, now: &Named) -> bool {
    match now {
        Named::Record(now) if now.spec.block == record.spec.block => now.ended.is_some(),
        _ => true,
    }
}

/// The error of a run whose block was ended, and what is known besides.
pub(super) fn ended(record: &Record, besides: &str) -> Error {
    Error::state(
        format!(
            "block {} was ended by `spotblock down` while this run brought it{besides}",
            record.spec.block
        ),
        "run the same command again for another block",
    )
}

/// Whether a failure may be that somebody ended the block. A refusal of the capacity leaves nothing
/// to be ended.
fn may_be_its_end(error: &Error) -> bool {
    !error.is_transient() && !error.is_about_the_caller() && error.kind() != ErrorKind::Capacity
}

/// What came of bringing a block, unless it was ended meanwhile: then what this run bought of it is
/// ended as well.
///
/// # Errors
/// [`ended`] when the block was ended; what keeps this run from ending what it bought.
pub(super) async fn unless_ended<T>(
    session: &Session<'_>,
    desired: &Desired,
    record: &Record,
    result: Result<T>,
) -> Result<Result<T>> {
    if result.as_ref().err().is_some_and(|error| !may_be_its_end(error)) {
        return Ok(result);
    }
    match (session.aws.ec2.named(session.environment(), &record.name).await, result) {
        (Ok(now), _) if is_ended(record, &now) => Err(end(session, desired, record).await?),
        // What it failed with says more than that it couldn't be looked why.
        (_, Err(error)) => Ok(Err(error)),
        (Err(error), Ok(_)) => Err(error),
        (Ok(_), result) => Ok(result),
    }
}

/// Ends what there is of the block, also what AWS shows late.
async fn end(session: &Session<'_>, desired: &Desired, record: &Record) -> Result<Error> {
    let id = &record.spec.block;
    session.ui.say(format_args!(
        "block {id} was ended by `spotblock down` meanwhile: ending what this run bought of it"
    ));
    let start = session.now();
    loop {
        let block =
            find::refresh(session.aws, session.environment(), id, Some(record.clone())).await?;
        if let Err(error) = stop_jobs(session, &block).await {
            session.ui.warn(format_args!("jobs of block {id} end with their instances: {error}"));
        }
        release::run(session, &block, record, Chosen::Idle(&BTreeSet::new())).await?;
        if since(start, session.now()) >= SETTLE {
            break;
        }
        session.waits.clock().sleep(PAUSE).await;
    }
    termination_schedules::forget(session, desired, id).await?;
    let paid = paid(session, record).await?;
    Ok(ended(record, &format!(": what was bought of it is ended{paid}")))
}

async fn stop_jobs(session: &Session<'_>, block: &block::Block) -> Result<()> {
    let members = Members::drain(session, &[block]).await?;
    members.empty(session, Duration::ZERO, "the block is ended").await.map(drop)
}

/// A capacity block is paid for good, and nobody can give it back.
async fn paid(session: &Session<'_>, record: &Record) -> Result<String> {
    if !record.spec.sources.contains(&Source::CapacityBlock) {
        return Ok(String::new());
    }
    let bought = session.aws.ec2.capacity_blocks_tagged(tag::BLOCK, &record.spec.block).await?;
    let ids: Vec<&str> = bought.iter().map(|it| it.id.as_str()).collect();
    Ok(match ids.as_slice() {
        [] => String::new(),
        ids => format!(
            "; capacity block {} is paid and stays yours ([block] capacity-block)",
            ids.join(", ")
        ),
    })
}
