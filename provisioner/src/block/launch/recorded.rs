//! The record that a launch goes by: that of the live block, or the next one, created before anything
//! is bought.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use node_contract::Source;

use super::{Foreseen, Options, foresee};
use crate::aws::ec2::Named;
use crate::block::{find, purchase, user_data};
use crate::environment::desired::Desired;
use crate::model::batch::ComputeEnvironment;
use crate::model::block::{self, Block, Life};
use crate::model::cost::Cost;
use crate::model::error::{Error, Result};
use crate::model::names;
use crate::model::record::{BlockSpec, LaunchData, Record};
use crate::runtime::wait::{Poll, SETTLE_LIMIT, WaitSpec};
use crate::session::Session;

/// A wait for requests that turn up late: as long as they may, and a little more so that the last
/// look comes after it.
const LATE: Duration = Duration::from_secs(70);
/// How many names are tried when others are taken by foreign launch templates.
const NAMES: u32 = 20;

/// The block that goes on, or a new one whose record was created now.
pub(super) async fn record_of(
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
