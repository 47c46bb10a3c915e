//! `spotblock extend`: moves a block's end further away.
//!
//! First the schedules at AWS, then the tag that the agents read, each of which moves its
//! instance's own end and its power-off timer. Stopped in between, the agents and timers still end
//! the block when they did, and the schedules come after them: nothing ends early, and nothing
//! lives without an end. Before all that, the extension of a capacity block is bought
//! (`purchase/capacity_block/extension.rs`).
//!
//! - `extend/cost.rs`: before anything is changed, what it can cost
//! - `extend/acknowledgements.rs`: afterwards, what the agents made of it

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use node_contract::names::tag;
use node_contract::{NodeConfig, Source};
use serde::Serialize;

use super::chosen;
use crate::args;
use crate::aws::ecs::Member;
use crate::block::find;
use crate::block::purchase::capacity_block::extension::{self, Extending};
use crate::block::termination_schedules::TerminationSchedules;
use crate::environment::desired::Desired;
use crate::model::block::{Block, Life};
use crate::model::cost::Dollars;
use crate::model::error::{Error, Result};
use crate::model::instance::Instance;
use crate::model::ownership::Owned;
use crate::model::record::Reserved;
use crate::model::source;
use crate::session::Session;
use crate::settings::parse_duration;
use crate::terminal::format;

mod acknowledgements;
mod cost;

use acknowledgements::Asked;

/// What became of it at an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Its agent has taken it and says so.
    Accepted,
    /// Its agent was asked and has not answered.
    NotHeard,
    /// It takes no jobs any more, and a drain that has begun is not turned back.
    TooLate,
    /// AWS ends it, whatever its agent thinks; or its host's owner allows no more.
    Refused,
}

#[derive(Debug, Serialize)]
struct Node {
    instance: String,
    answer: Answer,
    /// When it would have ended.
    was: Timestamp,
    /// When it ends now, as its agent says.
    end: Option<Timestamp>,
    why: String,
    /// Whether there is an agent that can answer.
    #[serde(skip)]
    awaited: bool,
}

impl Node {
    fn is_awaited(&self) -> bool {
        self.awaited && self.answer == Answer::NotHeard
    }
}

#[derive(Debug, Serialize)]
struct Extended {
    block: String,
    end: Timestamp,
    /// How many schedules were moved.
    schedules: usize,
    /// What the whole block can cost now; none where a price is unknown.
    worst_case_usd_estimate: Option<Dollars>,
    instances: Vec<Node>,
}

/// Runs it.
///
/// # Errors
/// When the block's source can't, it is too late for all its instances, or a call fails.
pub(crate) async fn run(session: &Session<'_>, args: &args::Extend) -> Result<u8> {
    let desired = Desired::new(session.settings);
    let blocks = find::all(session.aws, session.environment()).await?;
    let block = the_one(session, &blocks, args)?;
    let Some(record) = &block.record else { return Err(no_record(block)) };
    let up: Vec<&Instance> = block.instances.iter().filter(|it| it.is_up()).collect();
    let Some(latest) = up.iter().filter_map(|it| block.end_of(it)).max() else {
        return Err(nothing(format!("block {} has no instance that is up", block.id)));
    };
    let mut end = wanted_end(args, latest)?;
    let reserved = reserved(block, &up);
    possible(block, &up, end)?;
    let settings = session.aws.ec2.launch_data(record).await?.node_config();
    let settings = settings.ok_or_else(|| no_record(block))?;
    let (cluster, members) = acknowledgements::members(session).await?;
    let mut nodes: Vec<Node> = up
        .iter()
        .map(|it| judge(session.now(), block, &settings, it, &members, reserved.is_some()))
        .collect();
    let asked = asked(session, block, &nodes);
    if asked.is_empty() {
        return Err(none_left(block, &nodes));
    }
    let mut tagged = end;
    let worst = match reserved {
        None => cost::within_limit(session, block, end).await?,
        Some(reserved) => {
            let extending = Extending { session, record, reserved, consent: args.yes_purchase };
            let now = extension::reach(extending, end).await?;
            (end, tagged) = (now.reclaimed_at(), now.end);
            None
        }
    };
    session.ui.say(format_args!(
        "moving the end of block {} to {}",
        block.id,
        format::moment(end, session.now())
    ));
    let mut schedules = 0;
    if let Some(prepared) = TerminationSchedules::prepare(session, &desired).await? {
        prepared.secure(session, block).await?;
        schedules = prepared.postpone(session, &block.id, end).await?;
    }
    let tags = BTreeMap::from([(tag::END.to_owned(), tagged.to_string())]);
    session.aws.ec2.tag(&asked, &tags).await?;
    acknowledgements::wait(session, &cluster, Asked { tag: tagged, end }, &mut nodes).await?;
    let extended = Extended {
        block: block.id.clone(),
        end,
        schedules,
        worst_case_usd_estimate: worst,
        instances: nodes,
    };
    session.ui.result(&extended, |extended| text(extended, session.now()))?;
    Ok(code(&extended.instances))
}

/// The block that was named, or the only one that goes on.
fn the_one<'a>(
    session: &Session<'_>,
    blocks: &'a [Block],
    args: &args::Extend,
) -> Result<&'a Block> {
    let now = session.now();
    let named = chosen(session, blocks, args.block.as_deref())?;
    let live: Vec<&Block> = named.into_iter().filter(|it| it.life(now) == Life::Live).collect();
    match live.as_slice() {
        [one] => Ok(one),
        [] => Err(nothing("no block goes on that could be extended".to_owned())),
        several => {
            let ids: Vec<&str> = several.iter().map(|it| it.id.as_str()).collect();
            Err(Error::usage(
                format!("{} blocks go on", several.len()),
                format!("name one with --block: {}", ids.join(", ")),
            ))
        }
    }
}

fn nothing(what: String) -> Error {
    Error::state(what, "see `spotblock status`; `spotblock up` starts another block")
}

/// 0 where all have taken it, 1 where one has not and won't, 4 where one hasn't been heard of.
fn code(nodes: &[Node]) -> u8 {
    let some = |answers: &[Answer]| nodes.iter().any(|node| answers.contains(&node.answer));
    match (some(&[Answer::TooLate, Answer::Refused]), some(&[Answer::NotHeard])) {
        (true, _) => 1,
        (false, true) => 4,
        (false, false) => 0,
    }
}

fn no_record(block: &Block) -> Error {
    Error::state(
        format!("block {} has no record that says what it is", block.id),
        "end it with `spotblock down`",
    )
}

/// Agents read whole seconds.
fn wanted_end(args: &args::Extend, latest: Timestamp) -> Result<Timestamp> {
    let wrong = |problem: String| Error::settings(&[problem]);
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    if let Some(by) = &args.by {
        let by = parse_duration(by).map_err(|problem| wrong(format!("--by: {problem}")))?;
        return latest.checked_add(by).map(whole).map_err(|error| wrong(format!("--by: {error}")));
    }
    let to = args.to.as_deref().unwrap_or_default();
    let example = "2026-11-24T18:00:00Z";
    let end = to
        .parse()
        .map_err(|_| wrong(format!("--to: {to:?} is not a time: write one such as {example:?}")))?;
    if whole(end) < whole(latest) {
        return Err(Error::usage(
            format!("the block ends at {latest}, and {end} is before that"),
            "a block can only be extended; to end it early, see `spotblock drain` and `spotblock \
             down`",
        ));
    }
    Ok(whole(end))
}

/// Holds the block's new length against its sources' rules.
fn possible(block: &Block, up: &[&Instance], end: Timestamp) -> Result<()> {
    let sources = |it: &&Instance| Some((block.source_of(it).map(source::rules)?, it.launched));
    for (source, launched) in
        up.iter().filter_map(sources).filter(|(it, _)| is_ours_to_end(it.source()))
    {
        let length = SignedDuration::from_secs(launched.duration_until(end).as_secs());
        if let Some(why) = source.impossible(length) {
            return Err(Error::usage(why, "extend it by less"));
        }
    }
    Ok(())
}

/// The capacity block that everything of the block runs in: its end is bought.
fn reserved<'a>(block: &'a Block, up: &[&Instance]) -> Option<&'a Reserved> {
    let all = up.iter().all(|it| block.source_of(it) == Some(Source::CapacityBlock));
    block.record.as_ref()?.spec.reserved.as_ref().filter(|_| all)
}

fn is_ours_to_end(source: Source) -> bool {
    matches!(source, Source::Spot | Source::OnDemand | Source::Reservation)
}

/// What can be said before its agent is asked: it takes an extension exactly while it takes jobs.
fn judge(
    now: Timestamp,
    block: &Block,
    settings: &NodeConfig,
    instance: &Instance,
    members: &BTreeMap<String, Member>,
    is_bought: bool,
) -> Node {
    let timeline = block.timeline(settings, instance);
    let drain_at = timeline.drain_at;
    let status = members.get(&instance.id).map(|member| member.status.as_str());
    let moves = |source| is_ours_to_end(source) || is_bought && source == Source::CapacityBlock;
    let (answer, why) = match block.source_of(instance) {
        Some(source) if !moves(source) => {
            (Answer::Refused, format!("AWS ends instances of {source} itself"))
        }
        None => (Answer::Refused, "no record says what brought it".to_owned()),
        _ if status == Some("DRAINING") => (Answer::TooLate, "it is DRAINING".to_owned()),
        _ if drain_at <= now => (Answer::TooLate, format!("its drain began at {drain_at}")),
        _ if status == Some("ACTIVE") => (Answer::NotHeard, acknowledgements::why_silent(drain_at)),
        _ => (Answer::NotHeard, "it has not joined yet, and sees it when it has".to_owned()),
    };
    let was = block.end_of(instance).unwrap_or(timeline.end);
    Node {
        instance: instance.id.clone(),
        answer,
        was,
        end: None,
        why,
        awaited: status == Some("ACTIVE"),
    }
}

/// The leave to tag those that are asked.
fn asked(session: &Session<'_>, block: &Block, nodes: &[Node]) -> Vec<Owned> {
    let marks = block.marks(session.environment());
    let is_asked = |it: &&Instance| {
        nodes.iter().any(|node| node.instance == it.id && node.answer == Answer::NotHeard)
    };
    let asked = block.instances.iter().filter(is_asked);
    asked.filter_map(|it| marks.claim_instance(it, &block.requests)).collect()
}

fn none_left(block: &Block, nodes: &[Node]) -> Error {
    let why =
        nodes.first().map(|node| format!("{}: {}", node.instance, node.why)).unwrap_or_default();
    let refused = nodes.iter().all(|node| node.answer == Answer::Refused);
    let can = if refused { "can't be extended" } else { "can't be extended any more" };
    Error::state(
        format!("block {} {can}: {why}", block.id),
        "nothing was changed. `spotblock up --new` starts another block; jobs that are stopped \
         go on there",
    )
}

fn text(extended: &Extended, now: Timestamp) -> String {
    let moment = |at| format::moment(at, now);
    let mut lines = vec![format!("block {} ends {}", extended.block, moment(extended.end))];
    lines.extend(extended.instances.iter().map(|node| {
        let answer = match node.answer {
            Answer::Accepted => "accepted",
            Answer::NotHeard => "not heard",
            Answer::TooLate => "too late",
            Answer::Refused => "refused",
        };
        format!("{answer}: {}, which was to end {}: {}", node.instance, moment(node.was), node.why)
    }));
    lines.push(format!("schedules moved: {}", extended.schedules));
    lines.extend(
        extended
            .worst_case_usd_estimate
            .map(|worst| format!("the block costs at worst {worst} in all (estimate)")),
    );
    lines.join("\n")
}
