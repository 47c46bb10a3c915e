//! Why an instance hasn't joined, and why a job waits: facts in, findings out, without I/O.
//!
//! | cause | looked at |
//! |---|---|
//! | environment or queue missing, disabled, INVALID, or not bound to each other | Batch |
//! | the instance is gone | EC2's state and reason |
//! | its profile has no role | IAM |
//! | it joined the cluster `default` | ECS |
//! | its ECS agent is disconnected | ECS |
//! | it is up for longer than a boot takes and never registered | EC2, ECS |
//! | the job waits for others | Batch |
//! | no instance, none that has joined, all draining | ECS |
//! | too many vCPUs, too much memory, too many GPUs for any instance | ECS |
//! | all room is taken | ECS |
//! | block ends have stopped it before | the job's attempts |

use jiff::Timestamp;
use serde::Serialize;

use crate::aws::batch::{ComputeEnvironment, Detail, Queue};
use crate::aws::ec2::Instance;
use crate::aws::ecs::{Host, Room};
use crate::error::human;
use crate::settings::BOOT;

/// ECS counts a vCPU as so many units `[V]`.
pub const CPU_UNITS: u32 = 1024;

/// What was found, on what grounds, and the command that helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The environment, queue, instance or job.
    pub about: String,
    /// What is wrong, or why it waits.
    pub finding: String,
    /// What AWS says that shows it.
    pub evidence: String,
    /// What to do.
    pub next: String,
}

fn finding(
    about: impl Into<String>,
    finding: impl Into<String>,
    evidence: impl Into<String>,
    next: impl Into<String>,
) -> Finding {
    Finding { about: about.into(), finding: finding.into(), evidence: evidence.into(), next: next.into() }
}

/// What stands around all instances and jobs.
#[derive(Clone, Debug)]
pub struct Surroundings {
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
    /// The profile that instances get, and whether it has a role; not looked at where it isn't there.
    pub profile: Option<(String, bool)>,
    /// The time.
    pub now: Timestamp,
}

/// What is wrong with the environment and its queue.
#[must_use]
pub fn surroundings(facts: &Surroundings) -> Vec<Finding> {
    let mut found = Vec::new();
    let about = format!("environment {}", facts.name);
    let apply = "spotblock env apply";
    match &facts.environment {
        None => found.push(finding(&about, "it is not there", "Batch has no compute environment of this name", apply)),
        Some(it) if it.status == "INVALID" => {
            let next = format!("repair what Batch names, or `spotblock down --all` and `{apply}`");
            found.push(finding(&about, "it is INVALID, so Batch places no job", &it.reason, next));
        }
        Some(it) if it.state == "DISABLED" => {
            found.push(finding(&about, "it is disabled, so Batch places no job", "state DISABLED", apply));
        }
        Some(_) => {}
    }
    let about = format!("queue {}", facts.queue_name);
    match &facts.queue {
        None => found.push(finding(&about, "it is not there", "Batch has no job queue of this name", apply)),
        Some(it) if it.state == "DISABLED" => {
            found.push(finding(&about, "it is disabled: it takes no jobs", "state DISABLED", apply));
        }
        Some(it) if it.status == "INVALID" => {
            found.push(finding(&about, "it is INVALID", &it.reason, "repair what Batch names"));
        }
        Some(it) if !it.environments.contains(&facts.name) => {
            let next = "give another queue in spotblock.toml, or bind this one to the environment";
            let evidence = format!("it is bound to {}", it.environments.join(", "));
            found.push(finding(&about, format!("its jobs never reach environment {}", facts.name), evidence, next));
        }
        Some(_) => {}
    }
    found
}

/// Why an instance takes no jobs; nothing, if it does.
#[must_use]
pub fn instance(facts: &Surroundings, instance: &Instance) -> Option<Finding> {
    let about = format!("instance {}", instance.id);
    let log = format!("aws ec2 get-console-output --latest --instance-id {}", instance.id);
    if !instance.is_up() {
        let why = if instance.reason.is_empty() { "EC2 gives no reason" } else { &instance.reason };
        let next = "spotblock up --new, if its block should have gone on";
        return Some(finding(about, format!("it is {}", instance.state), why, next));
    }
    let host = facts.hosts.iter().find(|host| host.instance == instance.id);
    if let Some(host) = host {
        if !host.connected {
            let evidence = format!("container instance {}, agentConnected false", host.status);
            let next = format!("on the instance: spotblock-agent check, and journalctl -u ecs; from here: {log}");
            return Some(finding(about, "its ECS agent has lost its connection, so it takes no jobs", evidence, next));
        }
        return (host.status == "DRAINING").then(|| {
            let evidence = format!("container instance DRAINING, with {} tasks", host.tasks);
            finding(about, "it drains: it finishes its jobs and takes no more", evidence, "spotblock up --new")
        });
    }
    if facts.in_default.iter().any(|host| host.instance == instance.id) {
        let next =
            "bake the image without /etc/ecs/ecs.config and /var/lib/ecs/data (ami/check.sh), then spotblock up --new";
        let finding = finding(about, "it joined the wrong cluster", "it is registered in the cluster default", next);
        return Some(finding);
    }
    if let Some((profile, false)) = &facts.profile {
        let evidence = format!("instance profile {profile} has no role");
        return Some(finding(about, "it has no rights to join the cluster", evidence, "spotblock env apply"));
    }
    let up = instance.launched.duration_until(facts.now);
    let evidence = format!("{} since {}, and never registered", instance.state, human(up.unsigned_abs()));
    if up < BOOT {
        return Some(finding(about, "it still boots", evidence, "wait: an instance is given 5 min"));
    }
    let next = format!(
        "look at what it says: {log}. Without a line of spotblock-agent the image has none, or the user data failed; \
         with time-outs the subnet has no route to ECS (a NAT gateway, a public address or endpoints)"
    );
    Some(finding(about, "it never came to ECS: no agent, user data that failed, or no way to AWS", evidence, next))
}

/// Why a job is where it is.
#[must_use]
pub fn job(facts: &Surroundings, job: &Detail) -> Vec<Finding> {
    let about = format!("job {} ({})", job.name, job.id);
    let mut found = stopped_before(job, &about).into_iter().collect::<Vec<_>>();
    match job.status.as_str() {
        "PENDING" => {
            let next = "spotblock jobs";
            let evidence = format!("it depends on {}", job.depends_on.join(", "));
            found.push(finding(about, "it waits for other jobs to succeed", evidence, next));
        }
        "SUBMITTED" => {
            found.push(finding(about, "Batch looks at it", "state SUBMITTED", "wait a few seconds"));
        }
        "RUNNABLE" => found.extend(runnable(facts, job, about)),
        "FAILED" => {
            let next = "its output is in CloudWatch Logs; submit it again when the cause is gone";
            found.push(finding(about, "it failed", job.why(), next));
        }
        _ => {}
    }
    found
}

/// Catches what retries won't cure: the job is longer than what blocks leave it.
fn stopped_before(job: &Detail, about: &str) -> Option<Finding> {
    let by_block =
        |it: &&crate::aws::batch::Attempt| it.status_reason.as_deref().is_some_and(|it| it.starts_with("Host EC2"));
    let times = job.attempts.iter().filter(by_block).count();
    (times >= 2).then(|| {
        let evidence = format!("{times} of its {} attempts ended with their host", job.attempts.len());
        let next =
            "make the block longer or the job shorter, or let it write a checkpoint on SIGTERM and go on from it";
        finding(about, "the ends of blocks have stopped it again and again", evidence, next)
    })
}

/// Why Batch doesn't place it. What is wrong with all jobs comes first.
fn runnable(facts: &Surroundings, job: &Detail, about: String) -> Vec<Finding> {
    let around = surroundings(facts);
    if !around.is_empty() {
        return around;
    }
    if facts.hosts.is_empty() {
        let up = facts.instances.iter().filter(|it| it.is_up()).count();
        if up == 0 {
            let evidence = "the cluster has no container instance, and no block is live";
            return vec![finding(about, "there is no instance to run it", evidence, "spotblock up")];
        }
        let mut found: Vec<_> =
            facts.instances.iter().filter(|it| it.is_up()).filter_map(|it| instance(facts, it)).collect();
        let evidence = format!("{up} instances are up, none is in the cluster");
        found.insert(0, finding(about, "no instance has joined", evidence, "see below"));
        return found;
    }
    let open: Vec<&Host> = facts.hosts.iter().filter(|it| it.connected && it.status == "ACTIVE").collect();
    if open.is_empty() {
        let draining = facts.hosts.iter().filter(|it| it.status == "DRAINING").count();
        let evidence = format!("{draining} of {} instances drain, the others are not connected", facts.hosts.len());
        return vec![finding(about, "no instance takes jobs any more", evidence, "spotblock up --new")];
    }
    vec![fit(job, &open, about)]
}

/// Too big for any, or only for what is free now.
fn fit(job: &Detail, open: &[&Host], about: String) -> Finding {
    let wanted = Room { cpu: job.vcpus * CPU_UNITS, memory_mib: job.memory_mib, gpus: job.gpus };
    if wanted.gpus > 0 && open.iter().all(|it| it.whole.gpus == 0) {
        let evidence = format!("it wants {} GPUs, and no instance registered one", wanted.gpus);
        let next = "a GPU type in [block] instance-types with the ECS GPU image, then spotblock up --new";
        return finding(about, "no instance has a GPU", evidence, next);
    }
    if !open.iter().any(|it| it.whole.holds(wanted)) {
        let largest = open.iter().map(|it| it.whole).max_by_key(|it| (it.cpu, it.memory_mib)).unwrap_or_default();
        let evidence =
            format!("it wants {wanted}; the largest instance has {largest}, less than its type's since ECS keeps some");
        let next = "spotblock submit with less --vcpus or --memory, or larger [block] instance-types";
        return finding(about, "it is too big for any instance", evidence, next);
    }
    if !open.iter().any(|it| it.free.holds(wanted)) {
        let tasks: i32 = open.iter().map(|it| it.tasks).sum();
        let evidence = format!("it wants {wanted}; {tasks} jobs run on {} instances", open.len());
        return finding(
            about,
            "all room is taken: it waits for other jobs to end",
            evidence,
            "wait, or spotblock up --new",
        );
    }
    let evidence = format!("it wants {wanted}, and an instance has that free");
    finding(
        about,
        "there is room: Batch is about to place it",
        evidence,
        "wait a minute; jobs before it in the queue go first",
    )
}

#[cfg(test)]
mod tests;
