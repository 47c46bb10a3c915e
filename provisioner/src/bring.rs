//! Step 8: a block, from its record to instances that have joined the cluster.
//!
//! 1. the live block's record is continued, or the next one is created ([`record_of`]); whoever creates it first wins
//! 2. what the record says is bought, under its client token ([`purchase`]); what was bought already is adopted
//! 3. the requests are waited for ([`fulfilment`])
//! 4. instances of ours are tagged
//! 5. each one's container instance is waited for ([`join`])

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use node_contract::names::tag;

use crate::aws::batch::ComputeEnvironment;
use crate::aws::ec2::{Instance, Named, SpotRequest};
use crate::block::{self, Block, Life};
use crate::capacity::{self, Refusal, Standing, spot_block};
use crate::desired::Desired;
use crate::error::{Error, Kind, Result, human};
use crate::names;
use crate::observe;
use crate::ownership::{Marks, Ours};
use crate::record::{LaunchData, Record, Terms};
use crate::session::Session;
use crate::settings::AgentFrom;
use crate::user_data;
use crate::wait::{Bound, Seen};

/// A new profile takes seconds to be usable `[I]`; a describe after a creation, less.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// How long after ValidUntil a request may still be shown open.
const GRACE: Duration = Duration::from_secs(60);
/// A wait for requests that turn up late: as long as they may, and a little more so that the last look comes after it.
const LATE: Duration = Duration::from_secs(70);
/// How many names are tried when others are taken by foreign launch templates.
const NAMES: u32 = 20;

/// How to bring a block.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Another block even if one is live.
    pub new: bool,
    /// How long instances may take to join.
    pub join: Duration,
    /// How long the request stays open.
    pub valid_for: SignedDuration,
}

/// Brings a block and gives its record. On an error some of it may stand; it is found again by the next run.
///
/// # Errors
/// AWS's refusal, a wait that came to its end, instances that ended before they joined.
pub async fn bring(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: Options,
) -> Result<Record> {
    let block = record_of(session, desired, environment, options).await?;
    let Some(record) = &block.record else { return Err(lost_record(&block.id)) };
    let fresh = block.requests.is_empty();
    let bought = bought(session, &block, record).await?;
    let Fulfilment { requests, held } = fulfilment(session, record, &bought).await?;
    let failed: Vec<&SpotRequest> = requests.iter().filter(|it| capacity::standing(it) == Standing::Failed).collect();
    if failed.len() == requests.len() {
        return Err(nothing_came(session, record, &failed, held).await);
    }
    let result = joined(session, record, &environment.cluster, &requests, options.join, fresh).await;
    if let Err(Error::State { .. } | Error::Capacity { .. } | Error::TimedOut { .. }) = &result {
        report(session, record, "not as asked for").await;
    }
    result.map(|()| record.clone())
}

/// Writes down that the user is told how the block came up: from now on `--new` means another. It is the last that a
/// run does, for until then the same words must go on with this block.
pub async fn report(session: &Session<'_>, record: &Record, how: &str) {
    if record.reported.is_some() {
        return;
    }
    if let Err(error) = session.aws.ec2.set_reported(record, how).await {
        let block = &record.terms.block;
        session
            .ui
            .warn(format_args!("block {block} is not marked as finished, so `--new` will go on with it: {error}"));
    }
}

/// The spot requests of the block. Where AWS doesn't show all of them, the purchase is repeated: under the same token it
/// gives those that were made before.
async fn bought(session: &Session<'_>, block: &Block, record: &Record) -> Result<Vec<SpotRequest>> {
    let wanted = usize::try_from(record.terms.instances).unwrap_or(usize::MAX);
    if block.requests.len() < wanted && session.now() < record.terms.valid_until {
        return purchase(session, record).await;
    }
    Ok(block.requests.clone())
}

/// Waits until the instances have joined, and judges what came.
async fn joined(
    session: &Session<'_>,
    record: &Record,
    cluster: &str,
    requests: &[SpotRequest],
    limit: Duration,
    fresh: bool,
) -> Result<()> {
    let failed: Vec<&SpotRequest> = requests.iter().filter(|it| capacity::standing(it) == Standing::Failed).collect();
    let gone = join(session, record, cluster, requests, limit).await?;
    match ended_early(record, &gone) {
        // In a block that goes on it is nothing new: an instance may have left, or been ended by somebody.
        Some(error) if !fresh => session.ui.warn(error),
        Some(error) => return Err(error),
        None => {}
    }
    match failed.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Error::Capacity {
            what: format!(
                "block {} has {} of {} instances: spot request {} ended with {} ({})",
                record.terms.block,
                requests.len() - failed.len(),
                record.terms.instances,
                first.id,
                first.code,
                first.message
            ),
            source: None,
            next: "those that came have joined and work; `spotblock up --new` starts another block for more".to_owned(),
        }),
    }
}

fn lost_record(id: &str) -> Error {
    Error::State { what: format!("block {id} has no record"), next: "end it with `spotblock down`".to_owned() }
}

/// The block that goes on, or a new one whose record was created now.
async fn record_of(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: Options,
) -> Result<Block> {
    let blocks = block::all(session.aws, session.environment()).await?;
    if let Some(live) = block::current(&blocks, session.now(), options.new)
        && let Some(record) = &live.record
        && let Some(block) = in_time(session, live, record).await?
    {
        session.ui.say(format_args!("continuing block {} ({})", block.id, record.name));
        if options.new {
            session.ui.say("--new starts another once a run has told how this one came up");
        }
        say_what_stays(session, &record.terms);
        return Ok(block);
    }
    let mut number = next_number(&blocks);
    let (terms, launch) = new_block(session, desired, environment, options).await?;
    for _ in 0..NAMES {
        let name = names::record(session.environment(), number);
        if session.aws.ec2.create_record(&name, &terms, &launch).await? {
            session.ui.say(format_args!("recorded block {} as launch template {name}", terms.block));
        }
        // Read back in both cases: what is bought is what AWS has, and another run may have been first.
        let bound = Bound {
            what: format!("launch template {name} to be shown"),
            limit: SETTLE_LIMIT,
            next: "run the same command again".to_owned(),
        };
        let Some(block) = session.waits.until(session.ui, bound, async || reread(session, &name).await).await? else {
            session.ui.say(format_args!("launch template {name} is somebody else's: trying the next name"));
            number += 1;
            continue;
        };
        if block.id != terms.block {
            session.ui.say(format_args!("another run was first: following its block {}", block.id));
            if let Some(record) = &block.record {
                say_what_stays(session, &record.terms);
            }
        }
        return Ok(block);
    }
    Err(Error::State {
        what: format!("{NAMES} launch templates have names that block records need, and are none"),
        next: "give another [environment] name".to_owned(),
    })
}

/// A live block is what its record says, whatever the settings have become.
fn say_what_stays(session: &Session<'_>, terms: &Terms) {
    let wanted = &session.settings.block;
    let mut differs = Vec::new();
    if terms.instances != wanted.instances {
        differs.push(format!("{} instances, not {}", terms.instances, wanted.instances));
    }
    if terms.duration != wanted.duration {
        differs.push(format!("{:#}, not {:#}", terms.duration, wanted.duration));
    }
    if terms.max_price != wanted.max_price {
        let price = |it: &Option<String>| it.as_ref().map_or("no max-price".to_owned(), |price| format!("${price}"));
        differs.push(format!("{}, not {}", price(&terms.max_price), price(&wanted.max_price)));
    }
    if !differs.is_empty() {
        session.ui.warn(format_args!("it stays as it was bought: {}; the next block will differ", differs.join("; ")));
    }
}

/// The block, unless its request is no longer valid and none was made: that only shows after a while.
async fn in_time(session: &Session<'_>, block: &Block, record: &Record) -> Result<Option<Block>> {
    if !block.requests.is_empty() || session.now() < record.terms.valid_until {
        return Ok(Some(block.clone()));
    }
    let bound = Bound {
        what: format!("spot requests of block {} that may have been made in time", block.id),
        limit: LATE,
        next: String::new(),
    };
    let look = async || {
        let seen = block::again(session.aws, session.environment(), &block.id, Some(record.clone())).await?;
        Ok(match seen.requests.is_empty() {
            false => Seen::Done(Some(seen)),
            true if session.now() >= record.terms.late() => Seen::Done(None),
            true => Seen::NotYet("none is shown".to_owned()),
        })
    };
    session.waits.until(session.ui, bound, look).await
}

/// The block whose record has this name; none where the name belongs to a launch template of somebody else's.
async fn reread(session: &Session<'_>, name: &str) -> Result<Seen<Option<Block>>> {
    let record = match session.aws.ec2.named(session.environment(), name).await? {
        Named::Absent => return Ok(Seen::NotYet("not shown".to_owned())),
        Named::Foreign => return Ok(Seen::Done(None)),
        Named::Record(record) => *record,
    };
    let id = record.terms.block.clone();
    let block = block::again(session.aws, session.environment(), &id, Some(record)).await?;
    if block.life(session.now()) == Life::Refused {
        return Err(Error::Capacity {
            what: format!("another run started block {} at the same time, and AWS refused it", block.id),
            source: None,
            next: "run the same command again".to_owned(),
        });
    }
    Ok(Seen::Done(Some(block)))
}

/// The name of a block's record.
#[must_use]
pub fn record_name(block: &Block) -> &str {
    block.record.as_ref().map_or("no record", |record| &record.name)
}

/// The number of the next record.
#[must_use]
pub fn next_number(blocks: &[Block]) -> u32 {
    blocks.iter().filter_map(|block| block.record.as_ref()).map(|record| record.number).max().map_or(1, |n| n + 1)
}

async fn new_block(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: Options,
) -> Result<(Terms, LaunchData)> {
    let (settings, now) = (session.settings, session.now());
    let site = observe::site(session.aws, settings).await?;
    let valid_until = now.checked_add(options.valid_for).unwrap_or(now);
    let terms = Terms {
        block: format!("sb-{}", session.waits.hex(10)),
        environment: session.environment().to_owned(),
        instances: settings.block.instances,
        duration: settings.block.duration,
        max_price: settings.block.max_price.clone(),
        // EC2 keeps whole seconds.
        valid_until: jiff::Timestamp::from_second(valid_until.as_second()).unwrap_or(valid_until),
        source: settings.block.source,
        attempt: 1,
        user_tags: settings.environment.tags.clone(),
    };
    let of = user_data::Block {
        id: &terms.block,
        region: &session.aws.region,
        cluster: &environment.cluster,
        source: terms.source,
    };
    let root = settings.block.root_volume_gib.map(|gib| (site.image.root_device.clone(), gib));
    let launch = LaunchData {
        image: site.image.id,
        instance_type: settings.block.instance_type.clone(),
        key_name: settings.block.key_name.clone(),
        security_groups: settings.block.security_groups.clone(),
        subnet: settings.block.subnet.clone(),
        zone: settings.block.zone.clone(),
        instance_profile: desired.profile.name().to_owned(),
        user_data: BASE64_STANDARD.encode(user_data::whole(settings, of)?),
        root_volume: root,
    };
    Ok((terms, launch))
}

/// What the record says is launched. Right after its creation AWS may not show it yet.
async fn launch_data(session: &Session<'_>, record: &Record) -> Result<LaunchData> {
    let bound = Bound {
        what: format!("launch template {} to be shown", record.name),
        limit: SETTLE_LIMIT,
        next: "look whether `spotblock down` was run at the same time; then run the same command again".to_owned(),
    };
    let look = async || match session.aws.ec2.launch_data(record).await {
        Err(error) if error.is(Kind::NotFound) => Ok(Seen::NotYet(error.to_string())),
        result => result.map(Seen::Done),
    };
    session.waits.until(session.ui, bound, look).await
}

/// Buys what the record says. A final refusal is written down on the record, so that the next run begins anew.
async fn purchase(session: &Session<'_>, record: &Record) -> Result<Vec<SpotRequest>> {
    let terms = &record.terms;
    let launch = launch_data(session, record).await?;
    session.ui.say(format_args!(
        "requesting {} x {} for {} ({}{})",
        terms.instances,
        launch.instance_type,
        human(terms.duration.unsigned_abs()),
        terms.source,
        terms.max_price.as_ref().map(|price| format!(", at most ${price} per instance-hour")).unwrap_or_default(),
    ));
    let bound = Bound {
        what: format!("instance profile {} to be usable", launch.instance_profile),
        limit: SETTLE_LIMIT,
        next: format!(
            "nothing was bought. Check `aws iam get-instance-profile --instance-profile-name {}`: it must exist and have \
             a role; then run the same command again",
            launch.instance_profile
        ),
    };
    let result = session
        .waits
        .until(session.ui, bound, async || match capacity::buy(session.aws, record, &launch).await {
            Ok(requests) => Ok(Seen::Done(requests)),
            Err(error) if capacity::refusal(&error) == Refusal::ProfileTooNew => Ok(Seen::NotYet(error.to_string())),
            Err(error) => Err(error),
        })
        .await;
    let error = match result {
        Ok(requests) => return Ok(requests),
        Err(error) => error,
    };
    let refusal = capacity::refusal(&error);
    match error {
        Error::Aws(failure) if refusal != Refusal::Passing => {
            let code = failure.code.clone().unwrap_or_default();
            session.aws.ec2.set_outcome(record, &format!("refused:{code}")).await?;
            Err(spot_block::refused(refusal, &terms.block, failure))
        }
        error => Err(error),
    }
}

/// What became of the requests.
struct Fulfilment {
    requests: Vec<SpotRequest>,
    /// What the last that was not fulfilled waited for.
    held: Option<String>,
}

/// Waits until no request may still be fulfilled that isn't.
async fn fulfilment(session: &Session<'_>, record: &Record, bought: &[SpotRequest]) -> Result<Fulfilment> {
    let mut held = None;
    let terms = &record.terms;
    // All of a purchase are made at once, and AWS may show some of them later. What it has forgotten long afterwards is
    // not waited for.
    let wanted = usize::try_from(terms.instances).unwrap_or(usize::MAX);
    let expected = if session.now() < terms.late() { wanted } else { bought.len() };
    let marks = Marks::of_block(session.environment(), &terms.block);
    let left: Duration = session.now().duration_until(terms.valid_until).try_into().unwrap_or_default();
    let bound = Bound {
        what: format!("{expected} spot requests of block {}", terms.block),
        limit: left + GRACE,
        next: "run the same command again to wait on, or `spotblock down` to cancel the requests".to_owned(),
    };
    session
        .waits
        .until(session.ui, bound, async || {
            let seen = session.aws.ec2.spot_requests(tag::BLOCK, &terms.block).await?;
            let ours: Vec<SpotRequest> = seen.into_iter().filter(|it| marks.are_on(&it.tags)).collect();
            if ours.len() < expected {
                return Ok(Seen::NotYet(format!("{} shown so far", ours.len())));
            }
            let holding = ours.iter().filter(|it| match capacity::standing(it) {
                Standing::Holding => true,
                Standing::Live => it.instance.is_none(),
                Standing::Failed | Standing::Over => false,
            });
            match holding.clone().next() {
                None => Ok(Seen::Done(Fulfilment { requests: ours, held: held.take() })),
                Some(first) => {
                    held = Some(format!("{} ({})", first.code, first.message));
                    let done = ours.len() - holding.count();
                    Ok(Seen::NotYet(format!("{done} fulfilled; {} is {}", first.id, first.code)))
                }
            }
        })
        .await
}

async fn nothing_came(session: &Session<'_>, record: &Record, failed: &[&SpotRequest], held: Option<String>) -> Error {
    let Some(first) = failed.first() else { return lost_record(&record.terms.block) };
    if let Err(error) = session.aws.ec2.set_outcome(record, &format!("not-fulfilled:{}", first.code)).await {
        return error;
    }
    let what = format!(
        "no instance came for block {}: spot request {} ended with {} ({}){}",
        record.terms.block,
        first.id,
        first.code,
        first.message,
        held.map(|why| format!(" after {why}")).unwrap_or_default()
    );
    match first.code.as_str() {
        "bad-parameters" | "system-error" | "canceled-before-fulfillment" => Error::State {
            what,
            next: "nothing was bought. Change what AWS names, then run the same command again".to_owned(),
        },
        _ => Error::Capacity {
            what,
            source: None,
            next: "nothing was bought. Raise [block] max-price, or ask for fewer instances, another type or zone; \
                   --valid-for waits longer for capacity"
                .to_owned(),
        },
    }
}

/// Marks instances of ours that are not marked yet: a spot request's tags don't reach them `[V]`.
async fn mark(session: &Session<'_>, record: &Record, requests: &[SpotRequest], instances: &[Instance]) -> Result<()> {
    let marks = Marks::of_block(session.environment(), &record.terms.block);
    let unmarked: Vec<Ours> = instances
        .iter()
        .filter(|it| it.is_up() && !marks.are_on(&it.tags))
        .filter_map(|it| marks.claim_instance(it, requests))
        .collect();
    if unmarked.is_empty() { Ok(()) } else { session.aws.ec2.tag(&unmarked, &record.terms.resource_tags()).await }
}

/// Waits until each instance is a connected container instance of the cluster, and gives those that ended meanwhile.
async fn join(
    session: &Session<'_>,
    record: &Record,
    cluster: &str,
    requests: &[SpotRequest],
    limit: Duration,
) -> Result<Vec<Instance>> {
    let expected = requests.iter().filter(|it| it.instance.is_some()).count();
    let bound = Bound {
        what: format!("the instances of block {} to join the cluster", record.terms.block),
        limit,
        next: String::new(),
    };
    let mut absent = None;
    let result = session
        .waits
        .until(session.ui, bound, async || {
            let instances = session.aws.ec2.instances_of_requests(requests).await?;
            mark(session, record, requests, &instances).await?;
            if instances.len() < expected {
                return Ok(Seen::NotYet(format!("{} of {expected} instances shown so far", instances.len())));
            }
            let members = session.aws.ecs.members(cluster).await?;
            let joined = |it: &Instance| members.get(&it.id).is_some_and(crate::aws::ecs::Member::has_joined);
            let missing: Vec<&Instance> = instances.iter().filter(|it| it.is_up() && !joined(it)).collect();
            if let Some(first) = missing.first() {
                absent = Some(first.id.clone());
                let named: Vec<String> = missing.iter().take(5).map(|it| format!("{} ({})", it.id, it.state)).collect();
                let here = instances.iter().filter(|it| joined(it)).count();
                let rest = if missing.len() > 5 { ", ..." } else { "" };
                return Ok(Seen::NotYet(format!(
                    "{here} of {} joined; not yet: {}{rest}",
                    instances.len(),
                    named.join(", ")
                )));
            }
            Ok(Seen::Done(instances.into_iter().filter(|it| !it.is_up()).collect()))
        })
        .await;
    match result {
        Err(Error::TimedOut { what, limit, last, .. }) => {
            let next = why_not_joined(session, record, absent.as_deref().unwrap_or("INSTANCE")).await?;
            Err(Error::TimedOut { what, limit, last, next })
        }
        result => result,
    }
}

/// What keeps an instance from joining, in the order of likelihood.
async fn why_not_joined(session: &Session<'_>, record: &Record, instance: &str) -> Result<String> {
    let launch = session.aws.ec2.launch_data(record).await?;
    let agent = match &session.settings.agent.from {
        AgentFrom::Ami => format!("image {} carries spotblock-agent ([agent] from = \"ami\")", launch.image),
        AgentFrom::Url { url, .. } => format!("the instance can fetch {url}"),
    };
    Ok(format!(
        "the block is bought and its clock runs. Check with `aws ec2 get-console-output --instance-id {instance} --latest` \
         that {agent}, that subnet {} reaches ECS, and that the role of {} has the policy of the agent; then run the same \
         command again to wait on, or `spotblock down` to end the block",
        launch.subnet, launch.instance_profile
    ))
}

fn ended_early(record: &Record, gone: &[Instance]) -> Option<Error> {
    let first = gone.first()?;
    let (block, wanted) = (&record.terms.block, record.terms.instances);
    Some(Error::State {
        what: format!(
            "{} of {wanted} instances of block {block} have ended: {} is {} ({})",
            gone.len(),
            first.id,
            first.state,
            first.reason
        ),
        next:
            "the others, if there are any, have joined and work; `spotblock status` shows them, `spotblock up --new` \
               starts another block"
                .to_owned(),
    })
}
