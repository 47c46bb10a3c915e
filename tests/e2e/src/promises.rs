//! What has to be true of the lives. Each check says what it found wrong; none of them trusts what
//! the programs under test say of themselves.

use std::collections::BTreeMap;

use localcloud_core::journal::record::What;
use localcloud_core::{Call, Event};

use crate::lives::{self, Job, Node, Terms};

/// One promise and what was found against it.
pub struct Verdict {
    /// The promise.
    pub promise: &'static str,
    /// What breaks it; empty when it is kept.
    pub broken: Vec<String>,
}

/// Holds the records against the promises that every run has to keep.
#[must_use]
pub fn verdicts(calls: &[Call], events: &[Event], terms: &Terms, blocks: usize) -> Vec<Verdict> {
    let nodes = lives::nodes(calls, events, terms);
    let jobs = lives::jobs(events);
    vec![
        Verdict { promise: "every job SUCCEEDED", broken: unfinished(&jobs) },
        Verdict { promise: "no job ran again after it had succeeded", broken: run_twice(&jobs) },
        Verdict {
            promise: "what runs is what Batch was told of: one process an attempt",
            broken: strays(events, &jobs),
        },
        Verdict {
            promise: "each instance joined the environment's cluster",
            broken: not_joined(&nodes),
        },
        Verdict {
            promise: "each instance was DRAINING before its stop_at",
            broken: undrained(&nodes, terms),
        },
        Verdict { promise: "no instance outlived its block", broken: overdue(&nodes) },
        Verdict { promise: "each block was bought once", broken: miscounted(calls, blocks) },
    ]
}

fn unfinished(jobs: &BTreeMap<String, Job>) -> Vec<String> {
    let mut broken: Vec<String> = jobs
        .values()
        .filter(|job| job.status != "SUCCEEDED")
        .map(|job| format!("{} is {} after {} attempts", job.name, job.status, job.attempts.len()))
        .collect();
    if jobs.is_empty() {
        broken.push("there was no job at all".to_owned());
    }
    broken
}

fn run_twice(jobs: &BTreeMap<String, Job>) -> Vec<String> {
    let succeeded =
        |job: &&Job| job.attempts.iter().rev().skip(1).any(|attempt| attempt.exit_code == Some(0));
    jobs.values().filter(succeeded).map(|job| format!("{} ran again", job.name)).collect()
}

fn strays(events: &[Event], jobs: &BTreeMap<String, Job>) -> Vec<String> {
    let started = |what: &What| matches!(what, What::Process { change, .. } if change == "started");
    let processes = events.iter().filter(|event| started(&event.what)).count();
    let attempts: usize = jobs.values().map(|job| job.attempts.len()).sum();
    if processes == attempts {
        Vec::new()
    } else {
        vec![format!("{processes} processes started for {attempts} attempts")]
    }
}

fn not_joined(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter_map(|node| match &node.joined {
            None => Some(format!("{} never joined", node.instance)),
            Some((_, cluster)) if cluster == "default" => {
                Some(format!("{} joined `default`", node.instance))
            }
            Some(_) => None,
        })
        .collect()
}

fn undrained(nodes: &[Node], terms: &Terms) -> Vec<String> {
    nodes
        .iter()
        .filter(|node| {
            let limit = node.stop_at(terms).min(node.gone.as_ref().map_or(node.end, |(at, _)| *at));
            node.draining.is_none_or(|at| at > limit)
        })
        .map(|node| {
            format!(
                "{}: DRAINING {:?}, stop_at {}",
                node.instance,
                node.draining,
                node.stop_at(terms)
            )
        })
        .collect()
}

fn overdue(nodes: &[Node]) -> Vec<String> {
    nodes
        .iter()
        .filter(|node| node.gone.as_ref().is_none_or(|(at, _)| *at > node.end))
        .map(|node| format!("{}: end {}, gone {:?}", node.instance, node.end, node.gone))
        .collect()
}

fn miscounted(calls: &[Call], blocks: usize) -> Vec<String> {
    let bought = lives::purchases(calls).len();
    if bought == blocks {
        Vec::new()
    } else {
        vec![format!("{bought} purchases for {blocks} blocks")]
    }
}

/// What the demo's story is about: without these the promises above would be cheap.
#[must_use]
pub fn of_the_story(calls: &[Call], events: &[Event], terms: &Terms) -> Vec<Verdict> {
    let nodes = lives::nodes(calls, events, terms);
    let jobs = lives::jobs(events);
    let drain_at = |instance: &str| {
        nodes.iter().find(|node| node.instance == instance).map(|n| n.drain_at(terms))
    };
    let first_ends = |job: &Job| {
        let first = job.attempts.first()?;
        Some((first.ended?, drain_at(&first.instance)?))
    };
    let ended = |early: bool| {
        let right = |job: &&Job| {
            job.attempts.len() == 1
                && first_ends(job).is_some_and(|(ended, drains)| (ended < drains) == early)
        };
        jobs.values().filter(right).count()
    };
    let retried = jobs.values().filter(|job| stopped_and_retried(job)).count();
    let found = |what: &str, count: usize| {
        if count > 0 { Vec::new() } else { vec![format!("there was no {what}")] }
    };
    vec![
        Verdict {
            promise: "jobs finished before the drain",
            broken: found("such job", ended(true)),
        },
        Verdict {
            promise: "a job finished during the drain",
            broken: found("such job", ended(false)),
        },
        Verdict {
            promise: "a job too long for its block was stopped, retried, and succeeded in the next",
            broken: found("such job", retried),
        },
    ]
}

fn stopped_and_retried(job: &Job) -> bool {
    let [first, .., last] = job.attempts.as_slice() else { return false };
    let stopped = first.reason.as_deref().is_some_and(|reason| reason.starts_with("Host EC2"));
    stopped
        && first.exit_code != Some(0)
        && last.instance != first.instance
        && last.exit_code == Some(0)
}
