//! A block as results show it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Source};
use serde::Serialize;

use super::table;
use crate::aws::ecs::Member;
use crate::block::{Block, Life};
use crate::capacity::{self, Guarantee};
use crate::error::Result;
use crate::record::LaunchData;
use crate::session::Session;

/// A block.
#[derive(Clone, Debug, Serialize)]
pub struct BlockView {
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
    /// Its spot requests.
    pub requests: Vec<RequestView>,
    /// Its instances.
    pub instances: Vec<InstanceView>,
}

/// What a source refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedView {
    /// The source.
    pub source: String,
    /// AWS's codes, each once.
    pub codes: Vec<String>,
    /// How many instances it brought all the same.
    pub instances: u32,
}

/// A spot request.
#[derive(Clone, Debug, Serialize)]
pub struct RequestView {
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
pub struct InstanceView {
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
    /// When its block ends.
    pub end: Option<Timestamp>,
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
pub async fn of(
    session: &Session<'_>,
    block: &Block,
    members: &std::collections::BTreeMap<String, Member>,
) -> Result<BlockView> {
    let life = block.life(session.now());
    let launch = match &block.record {
        Some(record) if life.goes_on() => Some(session.aws.ec2.launch_data(record).await?),
        _ => None,
    };
    let first = block.instances.iter().map(|it| it.launched).min();
    let earliest = block.instances.iter().min_by_key(|it| it.launched);
    let timeline =
        launch.as_ref().and_then(agents_settings).zip(earliest).map(|(config, it)| block.timeline(&config, it));
    let terms = block.record.as_ref().map(|record| &record.terms);
    let source = where_bought(block);
    Ok(BlockView {
        id: block.id.clone(),
        record: block.record.as_ref().map(|record| record.name.clone()),
        source: source.map(|source| source.to_string()),
        sources: terms.map(|terms| terms.sources.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        guarantee: source.and_then(capacity::of).map(|source| source.guarantee()),
        refused: refused(block),
        life,
        outcome: block.record.as_ref().and_then(|record| record.outcome.clone()),
        wanted: terms.map(|terms| terms.instances),
        start: first,
        drain_at: timeline.map(|it| it.drain_at),
        stop_at: timeline.map(|it| it.stop_at),
        end: timeline.map(|it| it.end).or_else(|| block.instances.iter().filter_map(|it| block.end_of(it)).min()),
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
                    end: block.end_of(it),
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
    bought.or_else(|| record.attempt().map(|attempt| attempt.source)).or_else(|| record.terms.sources.last().copied())
}

fn refused(block: &Block) -> Vec<RefusedView> {
    let all = block.record.iter().flat_map(|record| &record.refused);
    all.map(|it| RefusedView { source: it.source.to_string(), codes: it.codes.clone(), instances: it.got }).collect()
}

/// The agent's settings in the record: what is shown is what the agent acts on.
pub(crate) fn agents_settings(launch: &LaunchData) -> Option<NodeConfig> {
    let text = String::from_utf8(BASE64_STANDARD.decode(&launch.user_data).ok()?).ok()?;
    node_contract::user_data::extract(&text).ok()
}

/// A block in text.
#[must_use]
pub fn text(block: &BlockView, now: Timestamp) -> String {
    let life = serde_json::to_value(block.life).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default();
    let mut lines = vec![format!(
        "block {}: {life}{} ({}, {})",
        block.id,
        block
            .outcome
            .as_ref()
            .map(|outcome| format!(", {}", outcome.trim_start_matches("refused:")))
            .unwrap_or_default(),
        block.source.as_deref().unwrap_or("unknown source"),
        block.record.as_deref().unwrap_or("no record")
    )];
    let moments = [("started", block.start), ("drains", block.drain_at), ("stops", block.stop_at), ("ends", block.end)];
    let shown: Vec<String> =
        moments.iter().filter_map(|(name, at)| at.map(|at| format!("{name} {}", moment(at, now)))).collect();
    // Two a line fit a terminal of 80 columns.
    lines.extend(shown.chunks(2).map(|pair| format!("  {}", pair.join(", "))));
    if let (Some(it), true) = (&block.guarantee, block.life.goes_on()) {
        lines.push(format!("  {}; ended by {}", it.label, it.ended_by));
    }
    for refused in &block.refused {
        let brought = if refused.instances > 0 { format!(" after {}", refused.instances) } else { String::new() };
        lines.push(format!("  {} refused{brought}: {}", refused.source, refused.codes.join(", ")));
    }
    if !block.instances.is_empty() {
        let rows = block.instances.iter().map(|it| {
            let joined = match (&it.container_instance, it.joined) {
                (Some(status), true) => status.clone(),
                (Some(status), false) => format!("{status}, not connected"),
                (None, _) => "no".to_owned(),
            };
            [it.id.clone(), it.state.clone(), it.instance_type.clone(), it.zone.clone(), joined, it.tasks.to_string()]
        });
        let table = table::plain(["INSTANCE", "STATE", "TYPE", "ZONE", "JOINED", "TASKS"], rows);
        lines.extend(table.lines().map(|line| format!("  {line}")));
    }
    for request in block.requests.iter().filter(|it| it.code != "fulfilled" && block.life.goes_on()) {
        lines.push(format!("  spot request {}: {}, {}", request.id, request.state, request.code));
    }
    lines.join("\n")
}

/// A moment, local and relative.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let local = at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
    let away = now.duration_until(at);
    let size = crate::error::human(rounded(away.abs()).unsigned_abs());
    if away.is_negative() { format!("{local} ({size} ago)") } else { format!("{local} (in {size})") }
}

/// How long ago a moment was, such as `3 min`.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let away = at.duration_until(now).max(SignedDuration::ZERO);
    crate::error::human(rounded(away).unsigned_abs())
}

/// Seconds matter below ten minutes only.
fn rounded(duration: SignedDuration) -> SignedDuration {
    if duration < SignedDuration::from_mins(10) {
        return duration;
    }
    SignedDuration::from_mins(duration.saturating_add(SignedDuration::from_secs(30)).as_mins())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_relative_both_ways() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a time");
        assert!(moment(now + SignedDuration::from_secs(42 * 60 + 7), now).ends_with("(in 42 min)"));
        assert!(moment(now + SignedDuration::from_millis(3_599_600), now).ends_with("(in 1 h)"));
        assert!(moment(now + SignedDuration::from_secs(65), now).ends_with("(in 1 min 5 s)"));
        assert!(moment(now - SignedDuration::from_secs(3700), now).ends_with("(1 h 2 min ago)"));
    }
}
