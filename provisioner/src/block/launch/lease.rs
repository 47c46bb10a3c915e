//! Whose turn it is to buy, where a block has more than one attempt.
//!
//! One attempt has one token, and two runs that make it at once buy once. Two attempts have two: a
//! run that has gone on to the second while another's first succeeds late would buy twice. So the
//! record names its driver, the run that made it, and only the driver begins an attempt; it looks
//! at the tag before each. Another run follows: it waits for what the driver buys. It takes over
//! when nothing has changed for [`QUIET`] of its own clock: it writes its own name, waits for
//! [`SETTLE`], and looks again. Of several, the last to write wins (Fischer's algorithm): who
//! looked before that write has written by then, within [`HASTE`] of its look, or gives up. AWS's
//! answers are taken to show a tag within that time `[A]`.
//!
//! A driver that was stopped between its look and its purchase, and wakes up later, asks under a
//! token that its successor used too. What it should get all the same, it finds to be an attempt
//! that the record says was refused, and ends it.

use std::time::Duration;

use super::ended;
use crate::aws::ec2::Named;
use crate::block::find;
use crate::model::block::Block;
use crate::model::error::Result;
use crate::model::record::{PurchaseAttempt, Record, attempt_of};
use crate::runtime::wait::since;
use crate::session::Session;

/// How long nothing must have changed before another run takes over.
const QUIET: Duration = Duration::from_secs(60);
/// How long after its look a run may write its name.
const HASTE: Duration = Duration::from_secs(5);
/// How long a run waits after it has written its name.
const SETTLE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// This run's name in the race for one block.
pub(super) struct Lease {
    name: String,
}

impl Lease {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Waits until this run may make the attempt, or need only watch it; brings record and block up
    /// to date. `false` says that the record has gone on meanwhile, so that it may be another
    /// attempt's turn.
    ///
    /// # Errors
    /// When a call fails, or the block was ended.
    pub(super) async fn turn(
        &mut self,
        session: &Session<'_>,
        record: &mut Record,
        block: &mut Block,
        attempt: &PurchaseAttempt,
    ) -> Result<bool> {
        let before = record.clone();
        let (mut quiet, mut pause) = (Duration::ZERO, FIRST_PAUSE);
        let (mut last, began) = (None, session.now());
        loop {
            read(session, record).await?;
            if record.refused != before.refused || record.outcome != before.outcome {
                *block = find::refresh(
                    session.aws,
                    session.environment(),
                    &block.id,
                    Some(record.clone()),
                )
                .await?;
                return Ok(false);
            }
            if record.driver.as_deref() == Some(self.name.as_str()) {
                return Ok(true);
            }
            *block =
                find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
                    .await?;
            let asked = record.spec.instances.saturating_sub(record.got());
            let made = made(block, attempt);
            if made >= usize::try_from(asked).unwrap_or(usize::MAX) {
                return Ok(true);
            }
            let sign = (record.driver.clone(), made);
            if last.as_ref() != Some(&sign) {
                (last, quiet) = (Some(sign), Duration::ZERO);
            }
            if quiet >= QUIET {
                session.ui.say(format_args!(
                    "the run that began block {} does nothing any more: taking over",
                    block.id
                ));
                self.take_over(session, record).await?;
                (last, quiet, pause) = (None, Duration::ZERO, FIRST_PAUSE);
                continue;
            }
            let seen = format!("{made} of {asked} instances asked for so far");
            let what = format!("another run to buy block {} from {}", block.id, attempt.source);
            session.ui.waiting(&what, &seen, since(began, session.now()));
            let this = session.waits.jittered(pause);
            session.waits.clock().sleep(this).await;
            quiet += this;
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
        }
    }

    /// Writes this run's name, a new one each time: an old one may have been overwritten by one who
    /// gave up. Written too late after the look it counts for nothing.
    async fn take_over(&mut self, session: &Session<'_>, record: &Record) -> Result<()> {
        let looked = session.now();
        let name = session.waits.hex(8);
        session.aws.ec2.set_driver(record, &name).await?;
        let took: Duration = looked.duration_until(session.now()).try_into().unwrap_or_default();
        session.waits.clock().sleep(SETTLE).await;
        if took <= HASTE {
            self.name = name;
        }
        Ok(())
    }
}

/// How many instances this attempt has brought, or asked for in requests.
fn made(block: &Block, attempt: &PurchaseAttempt) -> usize {
    let of_it = |made: Option<u32>| made == Some(attempt.number);
    let requests = block.requests.iter().filter(|it| of_it(attempt_of(&it.tags))).count();
    let instances = block.instances.iter().filter(|it| of_it(block.attempt_of(it))).count();
    requests.max(instances)
}

/// The record as it is now.
///
/// # Errors
/// When the call fails, or the block was ended: its record says so, or is gone.
pub(super) async fn read(session: &Session<'_>, record: &mut Record) -> Result<()> {
    match session.aws.ec2.named(session.environment(), &record.name).await? {
        Named::Record(now) if now.spec.block == record.spec.block && now.ended.is_none() => {
            *record = *now;
            Ok(())
        }
        _ => Err(ended::ended(record, "")),
    }
}
