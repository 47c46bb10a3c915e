//! What happened, held against the promises. None of it trusts what the programs under test say of
//! themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::journal::record::What;
use localcloud_core::{Caller as By, ec2};

mod jobs;
mod runs;

use crate::container::{How, Life};
use crate::host::Host;
use crate::plan::Plan;
use crate::provision::Change;
use crate::story::end_of;
use crate::world::{State, World};

/// How long after its end an undisturbed host may live: what powering off takes.
const GRACE: SignedDuration = SignedDuration::from_secs(15);

/// The same where its agent or its commands were disturbed, or it was down: the power-off timer's
/// two minutes and a boot.
const LONG_GRACE: SignedDuration = SignedDuration::from_secs(200);

/// Where neither the agent nor the timer ends it, or only later: when its schedule fires, and what
/// that takes.
const SCHEDULE: SignedDuration = SignedDuration::from_secs(5 * 60 + 30);

/// Where there is no schedule either: what `reap` leaves it, and the time that a round of it takes.
const REAP: SignedDuration = SignedDuration::from_secs(10 * 60 + 60);

/// How long before its host's end a process has to have had SIGTERM.
const WARNING: SignedDuration = SignedDuration::from_secs(2);

/// The promises that were broken.
#[must_use]
pub fn of(world: &Arc<World>, plan: &Plan, foreign: &[String]) -> Vec<String> {
    let mut broken = Vec::new();
    {
        let state = world.state();
        broken.extend(jobs::lost(&state));
        broken.extend(jobs::run_twice(&state));
        broken.extend(state.hosts.iter().flat_map(|host| unwarned(&state, host)));
        broken.extend(state.hosts.iter().filter_map(|host| overdue(&state, plan, host)));
        broken.extend(bought_too_much(&state, plan));
        broken.extend(touched(&state, foreign));
        broken.extend(undrained(&state));
        broken.extend(alive(&state, foreign));
        broken.extend(runs::of(&state, plan));
        broken.extend(state.seen.iter().cloned());
    }
    broken.extend(left(world));
    broken
}

/// No process ends with its host without a SIGTERM before, where the host's end was known.
fn unwarned(state: &State, host: &Host) -> Vec<String> {
    if ended_blindly(state, host) {
        return Vec::new();
    }
    let short = |life: &&Life| match &life.ended {
        Some((_, How::Host)) if nothing_could_warn(host) => false,
        Some((at, How::Host)) if host.crashes.contains(at) => false,
        Some((at, How::Host)) => life.term_at.is_none_or(|term| term.duration_until(*at) < WARNING),
        _ => false,
    };
    let told = |life: &Life| {
        format!(
            "killed unwarned: job {} on {}: {:?}, SIGTERM {:?}",
            life.job, life.instance, life.ended, life.term_at
        )
    };
    host.lives.iter().filter(short).map(told).collect()
}

/// Ended by a run that could not see its jobs, and said so. On AWS its guard warns them on the way
/// down; here a termination leaves it no time.
fn ended_blindly(state: &State, host: &Host) -> bool {
    let named = |change: &Change| {
        change.operation == "TerminateInstances" && change.body.contains(&host.instance)
    };
    let mut blind =
        state.runs.iter().filter(|run| run.stderr.contains("jobs that ended with their instances"));
    blind.any(|run| run.changes.iter().any(named))
}

/// Its agent is gone for good, it was misled about its end, or somebody wanted it so.
fn nothing_could_warn(host: &Host) -> bool {
    host.stuck || host.born.1 || host.at_once
}

/// How many processes ended with a crash of this host, or with one on which nothing could warn
/// them.
#[must_use]
pub fn unforeseen(host: &Host) -> usize {
    let ended_so = |at: &Timestamp| nothing_could_warn(host) || host.crashes.contains(at);
    let crashed = |life: &&Life| matches!(&life.ended, Some((at, How::Host)) if ended_so(at));
    host.lives.iter().filter(crashed).count()
}

/// No instance outlives its block.
fn overdue(state: &State, plan: &Plan, host: &Host) -> Option<String> {
    let mut end = end_of(state, plan, host);
    if host.born.1 && !state.secured {
        // What it could take for its launch at the latest.
        end = end.max(host.born.0 + plan.length);
    }
    let gone = gone(state, &host.instance);
    let late = gone.is_none_or(|gone| end + grace(state, plan, host, end) < gone);
    late.then(|| format!("overdue: {} ends at {end} and is gone at {gone:?}", host.instance))
}

fn grace(state: &State, plan: &Plan, host: &Host, end: Timestamp) -> SignedDuration {
    let disturbed = !host.crashes.is_empty()
        || host.booted.1 > 0
        || !host.ills.is_empty()
        || killed(state, host);
    match (host.stuck, disturbed) {
        _ if host.born.1 && state.secured => SCHEDULE,
        (true, _) if state.secured => SCHEDULE,
        (true, _) => REAP + reap_rounds(state, plan, end),
        (false, true) => LONG_GRACE,
        (false, false) => GRACE,
    }
}

/// Until `reap` has come by once: a round that was killed, or whose calls failed, is made up for by
/// the next one.
fn reap_rounds(state: &State, plan: &Plan, end: Timestamp) -> SignedDuration {
    let lost = state.notes.iter().filter(|(at, note)| {
        *at >= end && note.starts_with("spotblock reap: ") && note != "spotblock reap: 0"
    });
    let every = SignedDuration::try_from(plan.reaps.unwrap_or_default()).unwrap_or_default();
    every * (1 + i32::try_from(lost.count()).unwrap_or(i32::MAX))
}

fn gone(state: &State, id: &str) -> Option<Timestamp> {
    state.cloud.events().iter().find_map(|event| match &event.what {
        What::Gone { instance, .. } if instance == id => Some(event.at),
        _ => None,
    })
}

fn killed(state: &State, host: &Host) -> bool {
    let told = format!("{}: the agent is gone", host.instance);
    state.notes.iter().any(|(_, note)| *note == told)
}

/// Nothing is bought twice: each record is for so many instances.
fn bought_too_much(state: &State, plan: &Plan) -> Option<String> {
    let calls = |name: &str| {
        let taken = |call: &&localcloud_core::Call| call.operation == name && call.error.is_none();
        state.cloud.calls().iter().filter(taken).count()
    };
    let (records, purchases) = (calls("CreateLaunchTemplate"), calls("PurchaseCapacityBlock"));
    if purchases > records {
        return Some(format!("bought twice: {purchases} capacity blocks, for {records} blocks"));
    }
    let (most, launched) = (records * plan.instances, state.hosts.len());
    (launched > most).then(|| {
        format!("bought twice: {launched} instances, for {records} blocks of {}", plan.instances)
    })
}

/// Nothing foreign is touched.
fn touched(state: &State, foreign: &[String]) -> Vec<String> {
    let changes = state.cloud.calls().iter().filter(|call| !call.only_reads());
    let changes: Vec<_> =
        changes.map(|call| (&call.operation, call.parameters.to_string())).collect();
    let mut broken = Vec::new();
    for id in foreign {
        if !ec2::instance(&state.cloud, id).is_some_and(ec2::Instance::alive) {
            broken.push(format!("foreign instance {id} is gone"));
        }
        let named = changes.iter().filter(|(_, parameters)| parameters.contains(id.as_str()));
        broken.extend(
            named.map(|(operation, _)| format!("foreign instance {id} was named by {operation}")),
        );
    }
    broken
}

/// Draining never returns to serving: no agent sets its instance ACTIVE.
fn undrained(state: &State) -> Vec<String> {
    let own: BTreeSet<&String> = state.hosts.iter().map(|host| &host.instance).collect();
    let sets = |call: &&localcloud_core::Call| {
        matches!(&call.caller, By::Instance(id) if own.contains(id))
            && call.operation == "UpdateContainerInstancesState"
            && call.parameters["status"] != "DRAINING"
    };
    let told = |call: &localcloud_core::Call| {
        format!("undrained: {:?} set ACTIVE at {}", call.caller, call.at)
    };
    state.cloud.calls().iter().filter(sets).map(told).collect()
}

fn alive(state: &State, foreign: &[String]) -> Vec<String> {
    let living = ec2::all(&state.cloud).iter().filter(|it| it.alive() && !foreign.contains(&it.id));
    living.map(|it| format!("left: instance {} lives after `down`", it.id)).collect()
}

/// What is left behind.
#[must_use]
pub fn left(world: &Arc<World>) -> Vec<String> {
    let ask = |service, method, path, body| {
        world.by_hand(service, method, path, body).unwrap_or_else(|error| error)
    };
    let templates = ask("ec2", "POST", "/", "Action=DescribeLaunchTemplates");
    let requests = ask("ec2", "POST", "/", "Action=DescribeSpotInstanceRequests");
    let schedules = ask("scheduler", "GET", "/schedules", "");
    let mut broken = Vec::new();
    if templates.contains("<launchTemplateName>spotblock-") {
        broken.push("left: a block's record".to_owned());
    }
    if requests.contains("<state>open</state>") || requests.contains("<state>active</state>") {
        broken.push("left: an open spot request".to_owned());
    }
    // What was paid for good stays.
    let reservations = ask("ec2", "POST", "/", "Action=DescribeCapacityReservations");
    let held =
        |it: &&str| it.contains("<state>active<") && it.contains("<reservationType>default<");
    if reservations.split("<capacityReservationId>").any(|it| held(&it)) {
        broken.push("left: a capacity reservation".to_owned());
    }
    if schedules.contains("\"Name\":") {
        broken.push(format!("left: a schedule: {schedules}"));
    }
    broken
}
