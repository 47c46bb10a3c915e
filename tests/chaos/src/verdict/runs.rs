//! What the commands said and did that were run beside the block's life.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{gone, killed};
use crate::host::{Host, Ill, Lie};
use crate::plan::{Blow, Plan};
use crate::provision::Run;
use crate::story::{block_end, end_of, number};
use crate::world::State;

/// How long after its end `reap` leaves an instance to the lines of defence before it.
const LEFT_ALONE: SignedDuration = SignedDuration::from_mins(10);

/// How long before its drain an instance may go: clocks of AWS's and the host's are compared in
/// whole seconds.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn of(state: &State, plan: &Plan) -> Vec<String> {
    let is = |command: &'static str| state.runs.iter().filter(move |run| run.words[0] == command);
    let mut broken: Vec<String> =
        is("extend").flat_map(|run| cut_short(state, plan, run)).collect();
    broken.extend(left_early(state, plan));
    broken.extend(is("extend").filter_map(changed_all_the_same));
    broken.extend(is("reap").flat_map(|run| reaped_early(state, plan, run)));
    broken
}

/// An extension that was said to be accepted is one: the instance takes jobs until the drain before
/// its new end, unless something befalls it.
fn cut_short(state: &State, plan: &Plan, run: &Run) -> Vec<String> {
    let said: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
    let nodes = said["instances"].as_array().into_iter().flatten();
    let accepted = nodes.filter(|node| node["answer"] == "accepted").filter_map(|node| {
        Some((node["instance"].as_str()?, node["end"].as_str()?.parse::<Timestamp>().ok()?))
    });
    let short = accepted.filter_map(|(id, end)| {
        let host = state
            .hosts
            .iter()
            .find(|host| host.instance == id && is_left_alone(state, plan, host))?;
        let gone = gone(state, id)?;
        let drain_at = end - SignedDuration::try_from(plan.drain_lead).unwrap_or_default();
        (gone + SLACK < drain_at).then(|| {
            format!(
                "cut short: {} accepted to end at {end}, drains from {drain_at} on, and is gone \
                 at {gone}",
                host.instance
            )
        })
    });
    short.collect()
}

/// Whether nothing befell the host that ends it earlier.
fn is_left_alone(state: &State, plan: &Plan, host: &Host) -> bool {
    let harmless =
        |blow: &Blow| matches!(blow, Blow::Clock(..) | Blow::Ill(_, Ill::Lies(Lie::EndLongAgo), _));
    let befell = |blow: &Blow| number(blow) == Some(host.number) && !harmless(blow);
    let ended = plan.early.is_some() || plan.runs("down");
    !ended && !killed(state, host) && !plan.blows.iter().any(|(_, blow)| befell(blow))
}

/// No instance goes before its drain without a reason: what was paid for is used. Where several
/// blocks came one after the other, some were given up.
fn left_early(state: &State, plan: &Plan) -> Vec<String> {
    let records =
        state.cloud.calls().iter().filter(|call| call.operation == "CreateLaunchTemplate");
    if !state.brought || records.count() != 1 {
        return Vec::new();
    }
    let lead = SignedDuration::try_from(plan.drain_lead).unwrap_or_default();
    let early =
        state.hosts.iter().filter(|host| is_left_alone(state, plan, host)).filter_map(|host| {
            let (gone, drain_at) = (gone(state, &host.instance)?, block_end(plan, host) - lead);
            (gone + SLACK < drain_at).then(|| {
                format!(
                    "left early: {} drains from {drain_at} on, and is gone at {gone}",
                    host.instance
                )
            })
        });
    early.collect()
}

/// One that says that nothing was changed has changed nothing.
fn changed_all_the_same(run: &Run) -> Option<String> {
    let change = run.changes.first().filter(|_| run.stderr.contains("nothing was changed"))?;
    Some(format!(
        "changed all the same: {:?} says that nothing was, and called {}",
        run.words, change.operation
    ))
}

/// `reap` ends nothing that its own block's end, or a line of defence before it, is still to come
/// for.
fn reaped_early(state: &State, plan: &Plan, run: &Run) -> Vec<String> {
    let ends = run.changes.iter().filter(|change| change.operation == "TerminateInstances");
    let early = ends.flat_map(|change| {
        let named = state.hosts.iter().filter(|host| change.body.contains(host.instance.as_str()));
        let early = named.filter(|host| change.at < end_of(state, plan, host) + LEFT_ALONE);
        early.map(|host| {
            format!(
                "reaped early: {} at {}, ends at {}",
                host.instance,
                change.at,
                end_of(state, plan, host)
            )
        })
    });
    early.collect()
}
