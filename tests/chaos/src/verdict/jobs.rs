//! What became of the jobs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use localcloud_core::journal::record::What;

use crate::container::How;
use crate::host::Host;
use crate::trouble::Caller;
use crate::world::State;

/// How many attempts a job has by the definition's own rules.
const ATTEMPTS: u32 = 3;

/// No job is lost: each has succeeded, or waits for the next block. One that outlasts several
/// blocks, or whose hosts AWS takes or that crash, spends its attempts.
pub(super) fn lost(state: &State) -> Vec<String> {
    let records =
        state.cloud.calls().iter().filter(|call| call.operation == "CreateLaunchTemplate");
    let several = records.filter(|call| call.error.is_none()).count() > 1;
    let host_left = |reason: &Option<String>| {
        reason.as_ref().is_some_and(|reason| reason.starts_with("Host EC2"))
    };
    // What a container's exit code is whose host crashed.
    let crashed = |code: &Option<i32>| *code == Some(255);
    let (struck, mut unlucky) = (struck(state), BTreeSet::new());
    let mut jobs: BTreeMap<&str, String> = BTreeMap::new();
    for event in state.cloud.events() {
        if let What::Job { job, name, status, attempt, instance, reason, exit_code, .. } =
            &event.what
        {
            if instance.as_ref().is_some_and(|it| struck.contains(it.as_str())) {
                unlucky.insert(job);
            }
            let spent = *attempt >= ATTEMPTS
                && (host_left(reason) || crashed(exit_code))
                && (several || unlucky.contains(job));
            let fits = spent
                || ["SUCCEEDED", "RUNNABLE", "PENDING", "SUBMITTED"].contains(&status.as_str());
            let told = format!(
                "job lost: {name} is {status} at attempt {attempt}, {exit_code:?}, {reason:?}"
            );
            jobs.insert(job, if fits { String::new() } else { told });
        }
    }
    jobs.into_values().filter(|told| !told.is_empty()).collect()
}

/// The instances that AWS took, and those whose hosts crashed, were ill, or were shut down.
fn struck(state: &State) -> BTreeSet<&str> {
    let ill = |host: &&Host| {
        !host.crashes.is_empty() || host.stuck || host.shut_down || host.maintenance.is_some()
    };
    let taken = state.cloud.events().iter().filter_map(|event| match &event.what {
        What::InterruptionNotice { instance, .. } => Some(instance.as_str()),
        _ => None,
    });
    state.hosts.iter().filter(ill).map(|host| host.instance.as_str()).chain(taken).collect()
}

/// No job runs again after it has succeeded, unless nobody could have told ECS.
pub(super) fn run_twice(state: &State) -> Vec<String> {
    let lives =
        || state.hosts.iter().flat_map(|host| host.lives.iter().map(move |life| (host, life)));
    let mut broken = Vec::new();
    for (host, life) in lives() {
        let Some((ended, How::Own(0))) = &life.ended else { continue };
        let again = lives().find(|(_, other)| {
            other.job == life.job && other.task != life.task && other.began > *ended
        });
        if let Some((_, other)) = again
            && host.crashes.is_empty()
            && !host.at_once
            && !unreachable(state, *ended)
        {
            broken.push(format!(
                "run twice: job {} succeeded on {} at {ended} and began again on {} at {}",
                life.job, life.instance, other.instance, other.began
            ));
        }
    }
    broken
}

/// Whether ECS could not be reached at some time after this.
fn unreachable(state: &State, since: Timestamp) -> bool {
    let windows = &state.troubles.windows;
    windows.iter().any(|it| it.caller == Caller::Instance && it.percent == 100 && since < it.until)
}
