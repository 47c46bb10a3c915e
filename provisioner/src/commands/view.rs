//! A block as results show it.

use jiff::{SignedDuration, Timestamp};
use node_contract::Source;
use serde::Serialize;

use crate::aws::ecs::Member;
use crate::block::bounds::Bounds;
use crate::model::block::{Block, Life};
use crate::model::cost::Dollars;
use crate::model::error::Result;
use crate::model::instance::Instance;
use crate::model::record::LaunchData;
use crate::model::source::{self, Guarantee};
use crate::model::text::human;
use crate::session::Session;
use crate::terminal::format::{ago, away, many, moment, rounded};
use crate::terminal::screen::{self, Look, Tone};
use crate::terminal::table;

mod reservations;

pub(crate) use reservations::{PurchaseView, ReservationView};

/// A block.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BlockView {
    /// Its id.
    pub id: String,
    /// Its record's name.
    pub record: Option<String>,
    /// Where it was bought, or is to be.
    pub source: Option<String>,
    /// The sources that are tried in turn.
    pub sources: Vec<String>,
    /// What that source promises.
    pub guarantee: Option<Guarantee>,
    /// What the sources refused.
    pub refused: Vec<RefusedView>,
    /// Where it is in its life.
    pub life: Life,
    /// How the purchase ended, where it brought nothing.
    pub outcome: Option<String>,
    /// How many instances were asked for.
    pub wanted: Option<u32>,
    /// The first launch.
    pub start: Option<Timestamp>,
    /// From here on the first instance takes no new job.
    pub drain_at: Option<Timestamp>,
    /// From here on jobs that still run on it are stopped.
    pub stop_at: Option<Timestamp>,
    /// The first instance is gone.
    pub end: Option<Timestamp>,
    /// What it has used so far.
    pub used: Used,
    /// The capacity that is reserved for it.
    pub reservations: Vec<ReservationView>,
    /// A purchase of a capacity block that may have been sent, while its outcome isn't known.
    pub purchase: Option<PurchaseView>,
    /// Its spot requests.
    pub requests: Vec<RequestView>,
    /// Its instances.
    pub instances: Vec<InstanceView>,
}

/// What a block has used, as far as can be told without AWS's bill: an estimate.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Used {
    /// From each launch until now, or to the block's end for an instance that is gone: it may have
    /// gone before.
    pub instance_hours: f64,
    /// In dollars, at the most that an instance-hour can cost: `max-price`, or the on-demand price.
    /// None where one isn't known, or a capacity block was paid before.
    pub at_most_dollars: Option<f64>,
    /// The same, exact.
    #[serde(skip)]
    pub dollars: Option<Dollars>,
}

/// What a source refused.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusedView {
    /// The source.
    pub source: String,
    /// AWS's codes, each once.
    pub codes: Vec<String>,
    /// How many instances it brought all the same.
    pub instances: u32,
}

/// A spot request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestView {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Its status code.
    pub code: String,
    /// What AWS says about it.
    pub message: String,
}

/// An instance.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InstanceView {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: String,
    /// Its type.
    pub instance_type: String,
    /// Its Availability Zone.
    pub zone: String,
    /// The source that brought it.
    pub source: Option<String>,
    /// Its launch.
    pub launched: Timestamp,
    /// From here on it takes no new job.
    pub drain_at: Option<Timestamp>,
    /// When its block ends.
    pub end: Option<Timestamp>,
    /// Where `extend` moved its end: whether its agent has taken it (`accepted`) or not said so
    /// (`asked`).
    pub extension: Option<&'static str>,
    /// Whether it is a connected container instance.
    pub joined: bool,
    /// The container instance's status.
    pub container_instance: Option<String>,
    /// The jobs on it.
    pub tasks: i32,
}

/// A block with its cluster's members.
///
/// # Errors
/// When the record's data can't be read.
pub(crate) async fn of(
    session: &Session<'_>,
    block: &Block,
    members: &std::collections::BTreeMap<String, Member>,
    bounds: &Bounds,
) -> Result<BlockView> {
    let life = block.life(session.now());
    let launch = match &block.record {
        Some(record) if life.goes_on() => Some(session.aws.ec2.launch_data(record).await?),
        _ => None,
    };
    let config = launch.as_ref().and_then(LaunchData::node_config);
    let moments = |it: &Instance| config.as_ref().map(|config| block.timeline(config, it));
    let first = block.instances.iter().map(|it| it.launched).min();
    let timeline = block.instances.iter().min_by_key(|it| it.launched).and_then(moments);
    let spec = block.record.as_ref().map(|record| &record.spec);
    let source = where_bought(block);
    Ok(BlockView {
        id: block.id.clone(),
        record: block.record.as_ref().map(|record| record.name.clone()),
        source: source.map(|source| source.to_string()),
        sources: spec
            .map(|spec| spec.sources.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        guarantee: source.map(|source| source::rules(source).guarantee()),
        refused: refused(block),
        life,
        outcome: block.record.as_ref().and_then(|record| record.outcome.clone()),
        wanted: spec.map(|spec| spec.instances),
        start: first,
        drain_at: timeline.map(|it| it.drain_at),
        stop_at: timeline.map(|it| it.stop_at),
        end: timeline
            .map(|it| it.end)
            .or_else(|| block.instances.iter().filter_map(|it| block.end_of(it)).min()),
        used: used(block, bounds, session.now()),
        reservations: reservations::of(block),
        purchase: reservations::purchase(block),
        requests: block
            .requests
            .iter()
            .map(|it| RequestView {
                id: it.id.clone(),
                state: it.state.clone(),
                code: it.code.clone(),
                message: it.message.clone(),
            })
            .collect(),
        instances: block
            .instances
            .iter()
            .map(|it| {
                let member = members.get(&it.id);
                InstanceView {
                    id: it.id.clone(),
                    state: it.state.clone(),
                    instance_type: it.instance_type.clone(),
                    zone: it.zone.clone(),
                    source: block.source_of(it).map(|source| source.to_string()),
                    launched: it.launched,
                    drain_at: moments(it).map(|it| it.drain_at),
                    end: block.end_of(it),
                    extension: extension(block, it, member),
                    joined: member.is_some_and(Member::has_joined),
                    container_instance: member.map(|member| member.status.clone()),
                    tasks: member.map_or(0, |member| member.running_tasks + member.pending_tasks),
                }
            })
            .collect(),
    })
}

/// The source of the instances that are up, or were; before there are any, the one that is tried.
fn where_bought(block: &Block) -> Option<Source> {
    let up = block.instances.iter().filter(|it| it.is_up()).chain(&block.instances);
    let bought = up.filter_map(|it| block.source_of(it)).next();
    let record = block.record.as_ref()?;
    bought
        .or_else(|| record.attempt().map(|attempt| attempt.source))
        .or_else(|| record.spec.sources.last().copied())
}

/// What became of a moved end. Without a word from the agent it is not known to have been taken.
fn extension(block: &Block, it: &Instance, member: Option<&Member>) -> Option<&'static str> {
    let to = block.moved_to(it)?;
    let said = member.filter(|member| member.end_asked == Some(to)).and_then(|member| member.end);
    Some(if said.is_some_and(|end| end >= to) { "accepted" } else { "asked" })
}

fn used(block: &Block, bounds: &Bounds, now: Timestamp) -> Used {
    let until = |it: &Instance| {
        if it.is_up() { now } else { block.end_of(it).map_or(now, |end| end.min(now)) }
    };
    let lived = |it: &Instance| it.launched.duration_until(until(it)).max(SignedDuration::ZERO);
    let instance_hours: f64 =
        block.instances.iter().map(|it| lived(it).as_secs_f64() / 3600.0).sum();
    let costs =
        block.instances.iter().map(|it| Some(bounds.of(block, it)?.for_block(1, lived(it))));
    let dollars: Option<Dollars> =
        costs.collect::<Option<Vec<_>>>().map(|costs| costs.into_iter().sum());
    Used { instance_hours, at_most_dollars: dollars.map(Dollars::to_number), dollars }
}

fn refused(block: &Block) -> Vec<RefusedView> {
    let all = block.record.iter().flat_map(|record| &record.refused);
    all.map(|it| RefusedView {
        source: it.source.to_string(),
        codes: it.codes.clone(),
        instances: it.got,
    })
    .collect()
}

/// A block in text.
#[must_use]
pub(crate) fn text(block: &BlockView, now: Timestamp, look: Look) -> String {
    let life = serde_json::to_value(block.life)
        .ok()
        .and_then(|it| it.as_str().map(str::to_owned))
        .unwrap_or_default();
    let tone = match block.life {
        Life::Live => Tone::Good,
        Life::Recorded | Life::Requested => Tone::Soon,
        Life::Ended | Life::Refused => Tone::Bad,
    };
    let mut lines = vec![format!(
        "block {}: {}{} ({}, {})",
        block.id,
        look.paint(tone, &life),
        block
            .outcome
            .as_ref()
            .map(|outcome| format!(", {}", outcome.trim_start_matches("refused:")))
            .unwrap_or_default(),
        block.source.as_deref().unwrap_or("unknown source"),
        block.record.as_deref().unwrap_or("no record")
    )];
    lines.extend(time_left(block, now, look));
    let moments = [
        ("started", block.start),
        ("drains", block.drain_at),
        ("stops", block.stop_at),
        ("ends", block.end),
    ];
    let shown: Vec<String> = moments
        .iter()
        .filter_map(|(name, at)| at.map(|at| format!("{name} {}", moment(at, now))))
        .collect();
    // Two a line fit a terminal of 80 columns.
    lines.extend(shown.chunks(2).map(|pair| format!("  {}", pair.join(", "))));
    if let (Some(it), true) = (&block.guarantee, block.life.goes_on()) {
        lines.push(fitted(&[it.label.to_owned(), format!("ended by {}", it.ended_by)], look));
    }
    lines.extend(cost(block));
    lines.extend(reservations::lines(&block.reservations, block.purchase.as_ref(), now));
    lines.extend(extended(block));
    for refused in &block.refused {
        let brought = if refused.instances > 0 {
            format!(" after {}", refused.instances)
        } else {
            String::new()
        };
        lines.push(format!("  {} refused{brought}: {}", refused.source, refused.codes.join(", ")));
    }
    lines.extend(summary(block, look));
    if !block.instances.is_empty() {
        let rows = block.instances.iter().map(|it| {
            let joined = match (&it.container_instance, it.joined) {
                (Some(status), true) => status.clone(),
                (Some(status), false) => format!("{status}, not connected"),
                (None, _) => "no".to_owned(),
            };
            let drains = it.drain_at.map(|at| away(at, now)).unwrap_or_default();
            let (id, state, kind, zone) =
                (it.id.clone(), it.state.clone(), it.instance_type.clone(), it.zone.clone());
            [id, state, kind, zone, joined, it.tasks.to_string(), drains]
        });
        let table =
            table::plain(["INSTANCE", "STATE", "TYPE", "ZONE", "JOINED", "TASKS", "DRAINS"], rows);
        lines.extend(table.lines().map(|line| format!("  {line}")));
    }
    for request in block.requests.iter().filter(|it| it.code != "fulfilled" && block.life.goes_on())
    {
        lines.push(format!("  spot request {}: {}, {}", request.id, request.state, request.code));
    }
    lines.join("\n")
}

/// The block's line of time with what is left of it.
fn time_left(block: &BlockView, now: Timestamp, look: Look) -> Option<String> {
    let (start, end) = (block.start?, block.end?);
    if !block.life.goes_on() {
        return None;
    }
    let whole = human(rounded(start.duration_until(end)).unsigned_abs());
    let left = ago(now, end);
    let after = format!("{left} left of {whole}");
    // The indent, the brackets, a blank.
    let cells = look.columns.saturating_sub(after.len() + 5).clamp(10, 50);
    let marks: Vec<(char, Timestamp)> = [('D', block.drain_at), ('S', block.stop_at)]
        .into_iter()
        .filter_map(|(mark, at)| Some((mark, at?)))
        .collect();
    let past = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    let tone = match (past(block.drain_at), past(block.stop_at)) {
        (_, true) => Tone::Bad,
        (true, false) => Tone::Soon,
        (false, false) => Tone::Good,
    };
    let bar = screen::bar(cells, (start, end), &marks, now);
    Some(format!("  [{}] {after}", look.paint(tone, &bar)))
}

fn cost(block: &BlockView) -> Option<String> {
    let Used { instance_hours: hours, dollars, .. } = block.used;
    let price = match dollars {
        Some(dollars) => format!("at most {} (estimate)", dollars.cents_up()),
        None => "of unknown cost".to_owned(),
    };
    (!block.instances.is_empty()).then(|| format!("  {hours:.1} instance-hours so far, {price}"))
}

/// Many instances in a line: in a large block, not all of them fit the screen.
fn summary(block: &BlockView, look: Look) -> Option<String> {
    if block.instances.len() < 2 {
        return None;
    }
    let counted = |words: &mut dyn Iterator<Item = &str>| {
        let mut counts = std::collections::BTreeMap::new();
        words.for_each(|word| *counts.entry(word.to_owned()).or_insert(0_usize) += 1);
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    };
    let states = counted(&mut block.instances.iter().map(|it| it.state.as_str()));
    let joined = || block.instances.iter().filter(|it| it.joined);
    let members = match joined().count() {
        0 => String::new(),
        _ => format!(
            " ({})",
            counted(&mut joined().filter_map(|it| it.container_instance.as_deref()))
        ),
    };
    let tasks: i32 = block.instances.iter().map(|it| it.tasks).sum();
    let parts = [
        format!("{} instances: {states}", block.instances.len()),
        format!("{} joined{members}", joined().count()),
        many(usize::try_from(tasks).unwrap_or_default(), "task"),
    ];
    Some(fitted(&parts, look))
}

/// Parts in one line, or where that is too long for the terminal, in a line each; indented as the
/// rest.
fn fitted(parts: &[String], look: Look) -> String {
    let line = parts.join("; ");
    if line.chars().count() + 2 <= look.columns {
        format!("  {line}")
    } else {
        format!("  {}", parts.join("\n  "))
    }
}

/// Who of those that are up has taken an extension.
fn extended(block: &BlockView) -> Option<String> {
    let asked =
        || block.instances.iter().filter(|it| it.extension.is_some() && it.state == "running");
    let accepted = asked().filter(|it| it.extension == Some("accepted")).count();
    let all = asked().count();
    (all > 0).then(|| {
        let say =
            if all == 1 { "agent says that it goes on" } else { "agents say that they go on" };
        format!("  extended: {accepted} of {all} {say} until then")
    })
}
