//! Why an instance hasn't joined, and why a job waits: facts in, findings out, without I/O.
//!
//! What can be found stands in `diagnosis/cause.rs`, and with its grounds and its cure in
//! docs/troubleshooting.md. Here are the facts, and what is wrong with everything at once;
//! `diagnosis/instance.rs` and `diagnosis/job.rs` look at one of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::aws::ec2::{InstancePlacement, Way};
use crate::aws::ecs::Host;
use crate::model::batch::{ComputeEnvironment, Queue};
use crate::model::instance::Instance;

mod cause;
pub(crate) mod gather;
mod instance;
mod job;
mod not_joined;

pub use cause::Cause;
pub(crate) use instance::instance;
pub(crate) use job::{job, worth_reading};
pub(crate) use not_joined::why_not_joined;

/// What was found, on what grounds, and the command that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it is, in a word that stays.
    pub cause: Cause,
    /// The environment, queue, instance or job.
    pub about: String,
    /// What is wrong, or why it waits.
    pub finding: String,
    /// What AWS says that shows it.
    pub evidence: String,
    /// What to do.
    pub next: String,
}

/// What stands around all instances and jobs.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The environment's name.
    pub name: String,
    /// The queue's name.
    pub queue_name: String,
    /// The environment, if it is there.
    pub environment: Option<ComputeEnvironment>,
    /// The queue, if it is there.
    pub queue: Option<Queue>,
    /// The cluster's container instances.
    pub hosts: Vec<Host>,
    /// The container instances of the cluster `default`.
    pub in_default: Vec<Host>,
    /// The instances of all blocks that EC2 still shows.
    pub instances: Vec<Instance>,
    /// What was looked up of those instances that are missing in the cluster.
    pub missing: BTreeMap<String, Looked>,
    /// When the agents of the instances stop what still runs.
    pub stops: BTreeMap<String, Timestamp>,
    /// The last lines that jobs wrote whose last attempt ended badly, by the job's id.
    pub wrote: BTreeMap<String, Vec<String>>,
    /// Whether the agent is baked into the image.
    pub baked: bool,
    /// The time.
    pub now: Timestamp,
}

/// What is known of an instance that is missing. What couldn't be looked up is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    /// Its console's text.
    pub console: Option<String>,
    /// What it was launched with.
    pub place: Option<InstancePlacement>,
    /// The way out of its subnet; `Some(None)` where there is none.
    pub way: Option<Option<Way>>,
    /// What it may do.
    pub rights: Option<Rights>,
}

/// How far an instance's rights reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// It has no profile, or the profile of this name is gone.
    NoProfile(Option<String>),
    /// Its profile has no role.
    NoRole(String),
    /// Its role, which is spotblock's, has no policy.
    NoPolicy(String),
    /// It has a role with policies, whatever they say.
    Some,
}

/// What is wrong with the environment and its queue.
#[must_use]
pub(crate) fn surroundings(facts: &Surroundings) -> Vec<Finding> {
    environment(facts).into_iter().chain(queue(facts)).collect()
}

const APPLY: &str = "spotblock env apply";

fn environment(facts: &Surroundings) -> Option<Finding> {
    let about = format!("environment {}", facts.name);
    let Some(it) = &facts.environment else {
        let evidence = "Batch has no compute environment of this name";
        return Some(Cause::EnvironmentMissing.found(about, evidence, APPLY));
    };
    if it.status == "INVALID" {
        let next = format!("repair what Batch names, or `spotblock down --all` and `{APPLY}`");
        return Some(Cause::EnvironmentInvalid.found(about, &it.reason, next));
    }
    (it.state == "DISABLED")
        .then(|| Cause::EnvironmentDisabled.found(about, "state DISABLED", APPLY))
}

fn queue(facts: &Surroundings) -> Option<Finding> {
    let about = format!("queue {}", facts.queue_name);
    let Some(it) = &facts.queue else {
        return Some(Cause::QueueMissing.found(
            about,
            "Batch has no job queue of this name",
            APPLY,
        ));
    };
    if it.state == "DISABLED" {
        return Some(Cause::QueueDisabled.found(about, "state DISABLED", APPLY));
    }
    if it.status == "INVALID" {
        return Some(Cause::QueueInvalid.found(about, &it.reason, "repair what Batch names"));
    }
    (!it.environments.contains(&facts.name)).then(|| {
        let next = "give another queue in spotblock.toml, or bind this one to the environment";
        let evidence =
            format!("it is bound to {}, not to {}", it.environments.join(", "), facts.name);
        Cause::QueueElsewhere.found(about, evidence, next)
    })
}

#[cfg(test)]
mod tests;
