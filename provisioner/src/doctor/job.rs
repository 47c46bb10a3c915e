//! Why a job is where it is.

use jiff::SignedDuration;

use super::{Cause, Finding, Surroundings, instance, surroundings};
use crate::aws::batch::Detail;
use crate::aws::ecs::{Host, Room};
use crate::error::human;

/// ECS counts a vCPU as so many units `[V]`.
const CPU_UNITS: u32 = 1024;
/// What Docker and the kernel say of an image that is for other processors `[A]`.
const OTHER_PROCESSOR: [&str; 2] = ["no matching manifest for", "exec format error"];

/// Why a job is where it is.
#[must_use]
pub fn job(facts: &Surroundings, job: &Detail) -> Vec<Finding> {
    let about = format!("job {} ({})", job.name, job.id);
    let mut found: Vec<Finding> = stopped_before(job, &about).into_iter().collect();
    found.extend(other_processor(job, &about));
    match job.status.as_str() {
        "PENDING" => {
            let evidence = format!("it depends on {}", job.depends_on.join(", "));
            found.push(Cause::Dependent.found(about, evidence, "spotblock jobs"));
        }
        "SUBMITTED" => {
            found.push(Cause::Submitted.found(about, "state SUBMITTED", "wait a few seconds"));
        }
        "RUNNABLE" => found.extend(runnable(facts, job, &about)),
        "FAILED" => {
            let next = "its output is in CloudWatch Logs; submit it again when the cause is gone";
            found.push(Cause::Failed.found(about, job.why(), next));
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
        Cause::StoppedAgain.found(about, evidence, next)
    })
}

/// Batch can't know what an image is for: the first attempt shows it.
fn other_processor(job: &Detail, about: &str) -> Option<Finding> {
    let reasons = job.attempts.iter().flat_map(|it| [it.reason.as_deref(), it.status_reason.as_deref()]);
    let said = reasons.chain([job.reason.as_deref()]).flatten();
    let said = said.into_iter().find(|text| OTHER_PROCESSOR.iter().any(|part| text.contains(part)))?;
    let next =
        "an image for both (docker buildx build --platform linux/amd64,linux/arm64), or other [block] instance-types";
    Some(Cause::Architecture.found(about, format!("its attempt ended with \"{said}\""), next))
}

/// Why Batch doesn't place it. What is wrong with all jobs comes first.
fn runnable(facts: &Surroundings, job: &Detail, about: &str) -> Vec<Finding> {
    let around = surroundings(facts);
    if !around.is_empty() {
        return around;
    }
    if facts.hosts.is_empty() {
        return nobody_there(facts, about);
    }
    let open: Vec<&Host> = facts.hosts.iter().filter(|it| it.connected && it.status == "ACTIVE").collect();
    if open.is_empty() {
        let draining = facts.hosts.iter().filter(|it| it.status == "DRAINING").count();
        let evidence = format!("{draining} of {} instances drain, the others are not connected", facts.hosts.len());
        return vec![Cause::NoneOpen.found(about, evidence, "spotblock up --new")];
    }
    let fits = fit(job, &open, about);
    let late = matches!(fits.cause, Cause::Room | Cause::NoRoom).then(|| too_late(facts, job, &open, about)).flatten();
    [Some(fits), late].into_iter().flatten().collect()
}

fn nobody_there(facts: &Surroundings, about: &str) -> Vec<Finding> {
    let up: Vec<_> = facts.instances.iter().filter(|it| it.is_up()).collect();
    if up.is_empty() {
        let evidence = "the cluster has no container instance, and no block is live";
        return vec![Cause::NoInstance.found(about, evidence, "spotblock up")];
    }
    let evidence = format!("{} instances are up, none is in the cluster", up.len());
    let none = Cause::NoneJoined.found(about, evidence, "see below");
    std::iter::once(none).chain(up.into_iter().filter_map(|it| instance(facts, it))).collect()
}

/// Too big for any, or only for what is free now.
fn fit(job: &Detail, open: &[&Host], about: &str) -> Finding {
    let wanted = Room { cpu: job.vcpus.saturating_mul(CPU_UNITS), memory_mib: job.memory_mib, gpus: job.gpus };
    if wanted.gpus > 0 && open.iter().all(|it| it.whole.gpus == 0) {
        let evidence = format!("it wants {} GPUs, and no instance registered one", wanted.gpus);
        let next = "a GPU type in [block] instance-types with the ECS GPU image, then spotblock up --new";
        return Cause::NoGpu.found(about, evidence, next);
    }
    if !open.iter().any(|it| it.whole.holds(wanted)) {
        let largest = open.iter().map(|it| it.whole).max_by_key(|it| (it.cpu, it.memory_mib)).unwrap_or_default();
        let evidence =
            format!("it wants {wanted}; the largest instance has {largest}, less than its type's since ECS keeps some");
        let next = "spotblock submit with less --vcpus or --memory, or larger [block] instance-types";
        return Cause::TooBig.found(about, evidence, next);
    }
    if !open.iter().any(|it| it.free.holds(wanted)) {
        let tasks: i32 = open.iter().map(|it| it.tasks).sum();
        let evidence = format!("it wants {wanted}; {tasks} jobs run on {} instances", open.len());
        return Cause::NoRoom.found(about, evidence, "wait, or spotblock up --new");
    }
    let evidence = format!("it wants {wanted}, and an instance has that free");
    Cause::Room.found(about, evidence, "wait a minute; jobs before it in the queue go first")
}

/// Whether all that take jobs stop what runs before this one's timeout. One whose end isn't known may be there for long.
fn too_late(facts: &Surroundings, job: &Detail, open: &[&Host], about: &str) -> Option<Finding> {
    let timeout = job.timeout_secs?;
    let stops: Option<Vec<_>> = open.iter().map(|it| facts.stops.get(&it.instance).copied()).collect();
    let last = stops?.into_iter().max()?;
    let left = facts.now.duration_until(last).max(SignedDuration::ZERO);
    (left < SignedDuration::from_secs(timeout.into())).then(|| {
        let takes = human(std::time::Duration::from_secs(timeout.into()));
        let left = human(SignedDuration::from_secs(left.as_secs()).unsigned_abs());
        let evidence = format!("it may take {takes} (its timeout), and the last instance stops its jobs in {left}");
        let next =
            "spotblock up --new, for a block with more time; begun now it is stopped, and retried if it has attempts";
        Cause::TooLate.found(about, evidence, next)
    })
}
