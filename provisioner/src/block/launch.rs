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

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use node_contract::Source;

use crate::aws::ec2::Named;
use crate::block::termination_schedules::TerminationSchedules;
use crate::block::{find, instance_types, prices, purchase, user_data};
use crate::environment::desired::Desired;
use crate::environment::observe::{self, Site};
use crate::model::batch::ComputeEnvironment;
use crate::model::block::{self, Block, Life};
use crate::model::cost::Cost;
use crate::model::error::{Error, ErrorKind, Result};
use crate::model::names;
use crate::model::record::{BlockSpec, LaunchData, Record};
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};
use crate::session::Session;

mod ended;
mod join;
mod launch_template;
mod lease;
mod release;
mod try_sources;

pub(crate) use join::Reason;
use join::{Expected, JoinError, Joined, join};
use lease::Lease;

/// A wait for requests that turn up late: as long as they may, and a little more so that the last
/// look comes after it.
const LATE: Duration = Duration::from_secs(70);
/// The outcome of a block of which too few instances joined the cluster.
pub(crate) const NOT_JOINED: &str = "not-joined";
/// How many names are tried when others are taken by foreign launch templates.
const NAMES: u32 = 20;

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

/// The block that goes on, or a new one whose record was created now.
async fn record_of(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    (options, foreseen): (Options, Option<Foreseen>),
    driver: &str,
) -> Result<(Block, Option<Cost>)> {
    let blocks = find::all(session.aws, session.environment()).await?;
    for block in blocks.iter().filter(|it| it.is_being_ended() && it.has_something_left()) {
        let how = "`spotblock down` ends it at this moment, or was stopped: then run that again";
        session.ui.warn(format_args!("block {} is not continued: {how}", block.id));
    }
    if let Some(live) = block::current(&blocks, session.now(), options.new)
        && let Some(record) = &live.record
        && let Some(block) = in_time(session, live, record).await?
    {
        session.ui.say(format_args!("continuing block {} ({})", block.id, record.name));
        if options.new {
            session.ui.say("--new starts another once a run has told how this one came up");
        }
        say_what_stays(session, &record.spec);
        return Ok((block, None));
    }
    let mut number = next_number(&blocks);
    let foreseen = match foreseen {
        // The user has seen it.
        Some(foreseen) => foreseen,
        None => told_what_is_foreseen(session).await?,
    };
    foreseen.cost.within_limit()?;
    let cost = foreseen.cost.clone();
    let (spec, launch) = new_block(session, desired, environment, options, foreseen).await?;
    for _ in 0..NAMES {
        let name = names::record(session.environment(), number);
        if session.aws.ec2.create_record(&name, &spec, &launch, driver).await? {
            session.ui.say(format_args!("recorded block {} as launch template {name}", spec.block));
        }
        // Read back in both cases: what is bought is what AWS has, and another run may have been
        // first.
        let bound = WaitSpec {
            what: format!("launch template {name} to be shown"),
            limit: SETTLE_LIMIT,
            next:
                "run the same command again; `spotblock down` at the same time may have deleted it"
                    .to_owned(),
        };
        let Some(block) =
            session.waits.until(session.ui, bound, async || reread(session, &name).await).await?
        else {
            session.ui.say(format_args!(
                "launch template {name} is somebody else's: trying the next name"
            ));
            number += 1;
            continue;
        };
        if block.id != spec.block {
            session.ui.say(format_args!("another run was first: following its block {}", block.id));
            if let Some(record) = &block.record {
                say_what_stays(session, &record.spec);
            }
            return Ok((block, None));
        }
        return Ok((block, Some(cost)));
    }
    Err(Error::state(
        format!("{NAMES} launch templates have names that block records need, and are none"),
        "give another [environment] name",
    ))
}

/// A live block is what its record says, whatever the settings have become.
fn say_what_stays(session: &Session<'_>, spec: &BlockSpec) {
    let wanted = &session.settings.block;
    let mut differs = Vec::new();
    if spec.instances != wanted.instances {
        differs.push(format!("{} instances, not {}", spec.instances, wanted.instances));
    }
    if spec.duration != wanted.duration {
        differs.push(format!("{:#}, not {:#}", spec.duration, wanted.duration));
    }
    if spec.max_price != wanted.max_price {
        let price = |it: &Option<String>| {
            it.as_ref().map_or("no max-price".to_owned(), |price| format!("${price}"))
        };
        differs.push(format!("{}, not {}", price(&spec.max_price), price(&wanted.max_price)));
    }
    if !differs.is_empty() {
        session.ui.warn(format_args!(
            "it stays as it was bought: {}; the next block will differ",
            differs.join("; ")
        ));
    }
}

/// The block, unless its request is no longer valid and none was made: that only shows after a
/// while.
async fn in_time(session: &Session<'_>, block: &Block, record: &Record) -> Result<Option<Block>> {
    if block.has_anything() || session.now() < record.spec.closes() {
        return Ok(Some(block.clone()));
    }
    let bound = WaitSpec {
        what: format!("purchases of block {} that may have been made in time", block.id),
        limit: LATE,
        next: String::new(),
    };
    let look = async || {
        let seen =
            find::refresh(session.aws, session.environment(), &block.id, Some(record.clone()))
                .await?;
        Ok(match seen.has_anything() {
            true => Poll::Done(Some(seen)),
            false if session.now() >= record.spec.late() => Poll::Done(None),
            false => Poll::NotYet("nothing is shown".to_owned()),
        })
    };
    session.waits.until(session.ui, bound, look).await
}

/// The block whose record has this name; none where the name belongs to a launch template of
/// somebody else's.
async fn reread(session: &Session<'_>, name: &str) -> Result<Poll<Option<Block>>> {
    let record = match session.aws.ec2.named(session.environment(), name).await? {
        Named::Absent => return Ok(Poll::NotYet("not shown".to_owned())),
        Named::Foreign => return Ok(Poll::Done(None)),
        Named::Record(record) => *record,
    };
    let id = record.spec.block.clone();
    let block = find::refresh(session.aws, session.environment(), &id, Some(record)).await?;
    if block.life(session.now()) == Life::Refused {
        return Err(Error::capacity(
            format!("another run started block {} at the same time, and AWS refused it", block.id),
            None,
            "run the same command again",
        ));
    }
    Ok(Poll::Done(Some(block)))
}

/// The name of a block's record.
#[must_use]
pub(crate) fn record_name(block: &Block) -> &str {
    block.record.as_ref().map_or("no record", |record| &record.name)
}

/// The number of the next record.
#[must_use]
pub(crate) fn next_number(blocks: &[Block]) -> u32 {
    blocks
        .iter()
        .filter_map(|block| block.record.as_ref())
        .map(|record| record.number)
        .max()
        .map_or(1, |n| n + 1)
}

async fn told_what_is_foreseen(session: &Session<'_>) -> Result<Foreseen> {
    let (foreseen, block) = (foresee(session).await?, &session.settings.block);
    if block.requirements.is_some() {
        session.ui.say(format_args!("instance types that fit: {}", foreseen.types.join(", ")));
    }
    for line in foreseen.cost.lines(block.instances, block.duration) {
        session.ui.say(line);
    }
    Ok(foreseen)
}

async fn new_block(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: Options,
    foreseen: Foreseen,
) -> Result<(BlockSpec, LaunchData)> {
    let (settings, now, Foreseen { site, types, .. }) = (session.settings, session.now(), foreseen);
    // EC2 keeps whole seconds.
    let opened = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let reserved = match &settings.block.capacity_block {
        Some(id) if settings.block.sources.contains(&Source::CapacityBlock) => {
            Some(purchase::capacity_block::existing(session, id).await?)
        }
        _ => None,
    };
    let start_within = settings
        .block
        .sources
        .contains(&Source::CapacityBlock)
        .then_some(settings.block.start_within);
    let spec = BlockSpec {
        block: format!("sb-{}", session.waits.hex(10)),
        environment: session.environment().to_owned(),
        instances: settings.block.instances,
        duration: settings.block.duration,
        max_price: settings.block.max_price.clone(),
        opened,
        valid_until: opened.checked_add(options.valid_for).unwrap_or(opened),
        sources: settings.block.sources.clone(),
        types,
        subnets: settings.block.subnets.clone(),
        partial: settings.block.partial,
        mix: settings.block.mix,
        start_by: opened.checked_add(start_within.unwrap_or_default()).unwrap_or(opened),
        reserved,
        purchase: None,
        reservation: settings.block.reservation.clone(),
        user_tags: settings.environment.tags.clone(),
    };
    let of = user_data::BlockIdentity {
        id: &spec.block,
        region: &session.aws.region,
        dns_suffix: &session.aws.partition.dns_suffix,
        cluster: &environment.cluster,
        source: settings.block.first_source(),
    };
    let root = settings.block.root_volume_gib.map(|gib| (site.image.root_device.clone(), gib));
    let launch = LaunchData {
        image: site.image.id,
        key_name: settings.block.key_name.clone(),
        security_groups: settings.block.security_groups.clone(),
        zone: settings.block.zone.clone(),
        instance_profile: desired.profile.name().to_owned(),
        user_data: BASE64_STANDARD.encode(user_data::whole(settings, of)?),
        root_volume: root,
    };
    Ok((spec, launch))
}
