//! The lives of instances and jobs, told from what the local cloud wrote down.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Caller, Event};
use serde_json::Value;

/// What was bought, as the test knows it, not as the programs under test computed it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The block's length.
    pub duration: SignedDuration,
    /// How long before its end no more jobs are taken.
    pub drain_lead: SignedDuration,
    /// How long before its end jobs are stopped.
    pub stop_lead: SignedDuration,
}

/// One instance's life.
#[derive(Clone, Debug)]
pub struct Node {
    /// The EC2 instance.
    pub instance: String,
    /// When EC2 launched it, on the real clock.
    pub launched: Timestamp,
    /// When its block ends: by its terms, or sooner where AWS takes it back, which a capacity
    /// block's instances aren't told.
    pub end: Timestamp,
    /// When it registered with ECS, and in which cluster.
    pub joined: Option<(Timestamp, String)>,
    /// When it first asked ECS itself for DRAINING and was heard.
    pub drained: Option<Timestamp>,
    /// When ECS called it DRAINING, whoever asked.
    pub draining: Option<Timestamp>,
    /// When the process of its last task ended.
    pub last_task_ended: Option<Timestamp>,
    /// When it was gone, and how it went.
    pub gone: Option<(Timestamp, String)>,
}

/// One job's life.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Each start, in order.
    pub attempts: Vec<Attempt>,
    /// Its last status.
    pub status: String,
    /// When it took that status.
    pub at: Option<Timestamp>,
}

/// One attempt of a job.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The instance.
    pub instance: String,
    /// When Batch called it RUNNING.
    pub started: Timestamp,
    /// When Batch learned of its end.
    pub ended: Option<Timestamp>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Why it ended.
    pub reason: Option<String>,
}

impl Node {
    /// When jobs that still run on it are stopped.
    #[must_use]
    pub fn stop_at(&self, terms: &Terms) -> Timestamp {
        self.end - terms.stop_lead
    }

    /// When it takes no more jobs.
    #[must_use]
    pub fn drain_at(&self, terms: &Terms) -> Timestamp {
        self.end - terms.drain_lead
    }
}

/// The nodes, in order of their launch.
#[must_use]
pub fn nodes(calls: &[Call], events: &[Event], terms: &Terms) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for event in events {
        if let What::Launched { instance, launch_time, ends_at, .. } = &event.what {
            let end = *launch_time + terms.duration;
            nodes.push(Node {
                instance: instance.clone(),
                launched: event.at,
                end: ends_at.map_or(end, |taken| end.min(taken)),
                joined: None,
                drained: drain_call(calls, instance),
                draining: None,
                last_task_ended: None,
                gone: None,
            });
        } else if let Some(instance) = subject(&event.what)
            && let Some(node) = nodes.iter_mut().find(|node| node.instance == instance)
        {
            live_on(node, event);
        }
    }
    nodes
}

fn live_on(node: &mut Node, event: &Event) {
    match &event.what {
        What::Joined { cluster, .. } => {
            node.joined.get_or_insert((event.at, cluster.clone()));
        }
        What::ContainerInstanceStatus { status, .. } if status == "DRAINING" => {
            node.draining.get_or_insert(event.at);
        }
        What::Process { change, .. } if change == "ended" => node.last_task_ended = Some(event.at),
        What::Gone { how, .. } => {
            node.gone.get_or_insert((event.at, how.clone()));
        }
        _ => {}
    }
}

fn subject(what: &What) -> Option<&str> {
    match what {
        What::Joined { instance, .. }
        | What::ContainerInstanceStatus { instance, .. }
        | What::InterruptionNotice { instance, .. }
        | What::Process { instance, .. }
        | What::Gone { instance, .. } => Some(instance),
        What::Launched { .. } | What::Job { .. } | What::Schedule { .. } => None,
    }
}

/// The first DRAINING that this instance asked for and ECS accepted.
fn drain_call(calls: &[Call], instance: &str) -> Option<Timestamp> {
    calls
        .iter()
        .find(|call| {
            call.operation == "UpdateContainerInstancesState"
                && call.error.is_none()
                && call.caller == Caller::Instance(instance.to_owned())
                && call.parameters.get("status").and_then(Value::as_str) == Some("DRAINING")
        })
        .map(|call| call.at)
}

/// The jobs by id.
#[must_use]
pub fn jobs(events: &[Event]) -> BTreeMap<String, Job> {
    let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
    for event in events {
        let What::Job { job, name, status, instance, exit_code, reason, .. } = &event.what else {
            continue;
        };
        let life = jobs.entry(job.clone()).or_default();
        life.name.clone_from(name);
        if status == "RUNNING" {
            life.attempts.push(Attempt {
                instance: instance.clone().unwrap_or_default(),
                started: event.at,
                ended: None,
                exit_code: None,
                reason: None,
            });
        } else if let Some(attempt) = life.attempts.last_mut()
            && attempt.ended.is_none()
        {
            attempt.ended = Some(event.at);
            attempt.exit_code = *exit_code;
            attempt.reason.clone_from(reason);
        }
        life.status.clone_from(status);
        life.at = Some(event.at);
    }
    jobs
}

/// The purchases that EC2 accepted, each client token once. Those of capacity blocks have none:
/// each counts.
#[must_use]
pub fn purchases(calls: &[Call]) -> Vec<&Call> {
    let mut seen = Vec::new();
    calls
        .iter()
        .filter(|call| {
            let buys = [
                "RequestSpotInstances",
                "CreateFleet",
                "CreateCapacityReservation",
                "PurchaseCapacityBlock",
            ];
            buys.contains(&call.operation.as_str()) && call.error.is_none()
        })
        .filter(|call| {
            let token = call.parameters.get("ClientToken");
            let first = token.is_none() || !seen.contains(&token);
            seen.push(token);
            first
        })
        .collect()
}
