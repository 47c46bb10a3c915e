//! Step 8: a block, from its record to instances that have joined the cluster.
//!
//! 1. the live block's record is continued, or the next one is created ([`record_of`]); whoever
//!    creates it first wins
//! 2. what the record says is bought, source by source (`launch/try_sources.rs`); what was bought
//!    already is adopted, and of two runs one goes from source to source (`launch/lease.rs`)
//! 3. instances of ours are tagged, and each one's container instance is waited for
//!    (`launch/join.rs`)
//! 4. after the purchase and after the joining it is looked whether somebody ended the block
//!    meanwhile (`launch/ended.rs`)
//! 5. all or nothing: where too few come, the others are given back (`launch/release.rs`)

use std::time::Duration;

use jiff::SignedDuration;

use crate::block::termination_schedules::TerminationSchedules;
use crate::block::{find, instance_types, prices};
use crate::environment::desired::Desired;
use crate::environment::observe::{self, Site};
use crate::model::batch::ComputeEnvironment;
use crate::model::cost::Cost;
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::record::Record;
use crate::session::Session;

mod ended;
mod join;
mod launch_template;
mod lease;
mod recorded;
mod release;
mod try_sources;

pub(crate) use join::Reason;
use join::{Expected, JoinError, Joined, join};
use lease::Lease;
use recorded::record_of;
pub(crate) use recorded::{next_number, record_name};

/// The outcome of a block of which too few instances joined the cluster.
pub(crate) const NOT_JOINED: &str = "not-joined";

/// How to launch a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Another block even if one is live.
    pub new: bool,
    /// How long instances may take to join.
    pub join: Duration,
    /// How long the request stays open.
    pub valid_for: SignedDuration,
    /// Whether a capacity block may be bought, which is paid at once and for good.
    pub yes_purchase: bool,
}

/// What is found out about a new block before it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Foreseen {
    /// What its instances are launched on.
    pub site: Site,
    /// Their types.
    pub types: Vec<String>,
    /// What it can cost.
    pub cost: Cost,
}

/// Finds it out.
///
/// # Errors
/// When a call fails, or a block can't be launched where the settings say.
pub(crate) async fn foresee(session: &Session<'_>) -> Result<Foreseen> {
    let site = observe::site(session.aws, session.settings).await?;
    let types =
        instance_types::types(session.aws, session.ui, session.settings, &site.zones).await?;
    let cost = prices::look(session, &types, &site.zones).await;
    Ok(Foreseen { site, types, cost })
}

/// A block whose instances have joined.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Its record.
    pub record: Record,
    /// What it could cost, as it was shown before it was bought; none where it had been bought
    /// before.
    pub cost: Option<Cost>,
}

/// Why a launch came to nothing, or to less than was asked for. Some of the block may stand; it is
/// found again by the next run.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// It was bought, and its instances did not all join. Nothing is given back yet: whoever wants
    /// to know why looks at them first, and then calls [`settle`].
    NotJoined(Box<NotJoined>),
    /// Anything else: AWS's refusal, a wait that came to its end, a failed call.
    Failed(Error),
}

impl From<Error> for LaunchError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A block whose instances did not all join.
#[derive(Debug)]
pub(crate) struct NotJoined {
    bought: Launched,
    /// How many have joined.
    joined: usize,
    /// What the user is told.
    error: Error,
    /// What happened.
    reason: Reason,
}

impl NotJoined {
    /// The block's record.
    #[must_use]
    pub(crate) fn record(&self) -> &Record {
        &self.bought.record
    }

    /// What happened.
    #[must_use]
    pub(crate) fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// Launches a block: continues the live one or starts the next, buys it, and waits until its
/// instances have joined.
///
/// # Errors
/// As [`LaunchError`] tells.
pub(crate) async fn launch(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: Options,
    foreseen: Option<Foreseen>,
) -> std::result::Result<Launched, LaunchError> {
    // Before anything is bought: what is bought is to have its third line of defence.
    let schedules = TerminationSchedules::prepare(session, desired).await?;
    let driver = session.waits.hex(8);
    let (block, cost) =
        record_of(session, desired, environment, (options, foreseen), &driver).await?;
    let Some(record) = block.record.clone() else { return Err(lost_record(&block.id).into()) };
    let lease = Lease::new(&driver);
    let purchased =
        match try_sources::try_sources(session, block, record.clone(), lease, options.yes_purchase)
            .await
        {
            Ok(purchased) => purchased,
            failed => Box::pin(ended::unless_ended(session, desired, &record, failed)).await??,
        };
    let expected = Expected {
        cluster: &environment.cluster,
        instances: usize::try_from(purchased.instances).unwrap_or(usize::MAX),
        schedules: schedules.as_ref(),
        limit: options.join,
        bought: &purchased.bought,
    };
    let mut seen = Joined::default();
    let result = join(session, &purchased.record, expected, &mut seen).await;
    let bought = Launched { record: purchased.record, cost };
    let result = match result {
        Ok(()) => Ok(()),
        Err(JoinError::Failed(error)) => Err(error),
        Err(JoinError::NotJoined { error, reason }) => {
            let not_joined = NotJoined { bought, joined: seen.joined, error, reason };
            return Err(LaunchError::NotJoined(Box::new(not_joined)));
        }
    };
    Box::pin(ended::unless_ended(session, desired, &bought.record, result)).await??;
    Ok(bought)
}

/// What becomes of a block whose instances did not all join. Where enough of them did, that is
/// warned about; else the block is given back. `advice` is what the user can do, where somebody has
/// looked.
///
/// # Errors
/// What the user is told of the block that is given back; what keeps it from being given back.
pub(crate) async fn settle(
    session: &Session<'_>,
    desired: &Desired,
    not_joined: NotJoined,
    advice: Result<Option<String>>,
) -> Result<Launched> {
    let NotJoined { bought, joined, error, reason } = not_joined;
    let result = match advice {
        Ok(advice) => {
            let error = match advice {
                Some(next) => error.with_next(next),
                None => error,
            };
            settled(session, &bought.record, joined, error, &reason).await
        }
        Err(failed) => Err(failed),
    };
    let result = Box::pin(ended::unless_ended(session, desired, &bought.record, result)).await?;
    // After a failed call the same command goes on with this block. Anything else is its end, and
    // the user is told now.
    if result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Aws) {
        report(session, &bought.record, "not as asked for").await;
    }
    result.map(|()| bought)
}

/// Writes down that the user is told how the block came up: from now on `--new` means another. It
/// is the last that a run does, for until then the same words must go on with this block.
pub(crate) async fn report(session: &Session<'_>, record: &Record, how: &str) {
    if record.reported.is_some() {
        return;
    }
    if let Err(error) = session.aws.ec2.set_reported(record, how).await {
        let block = &record.spec.block;
        session.ui.warn(format_args!(
            "block {block} is not marked as finished, so `--new` will go on with it: {error}"
        ));
    }
}

async fn settled(
    session: &Session<'_>,
    record: &Record,
    joined: usize,
    error: Error,
    reason: &Reason,
) -> Result<()> {
    let enough = joined >= usize::try_from(record.spec.least()).unwrap_or(usize::MAX);
    // In a block that goes on it is nothing new: an instance may have left, or been ended by
    // somebody.
    let is_known = matches!(reason, Reason::Ended) && record.reported.is_some();
    if is_known || record.spec.partial.is_some() && enough {
        session.ui.warn(error);
        return Ok(());
    }
    give_up(session, record).await?;
    Err(error)
}

/// All or nothing: what joined is given back, unless another run has told its user meanwhile that
/// the block came up. It is written down first, so that whoever comes after a crash goes on with
/// it.
async fn give_up(session: &Session<'_>, record: &Record) -> Result<()> {
    let mut record = record.clone();
    lease::read(session, &mut record).await?;
    if record.reported.is_some() {
        return Ok(());
    }
    session.aws.ec2.set_outcome(&record, NOT_JOINED).await?;
    record.outcome = Some(NOT_JOINED.to_owned());
    let block =
        find::refresh(session.aws, session.environment(), &record.spec.block, Some(record.clone()))
            .await?;
    release::idle(session, &block, &record).await
}

fn lost_record(id: &str) -> Error {
    Error::state(format!("block {id} has no record"), "end it with `spotblock down`")
}
