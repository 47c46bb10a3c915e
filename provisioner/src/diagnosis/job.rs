//! Why a job is where it is.

use jiff::SignedDuration;

use super::{Cause, Finding, Surroundings, instance, surroundings};
use crate::aws::batch::{Detail, JobAttempt};
use crate::aws::ecs::{Host, Room};
use crate::model::text::human;
use crate::terminal::format::many;

/// ECS counts a vCPU as so many units `[V]`.
const CPU_UNITS: u32 = 1024;
/// What Docker, containerd and the kernel say of an image that is for other processors `[A]`; the
/// kernel's word is in what the container wrote.
const OTHER_PROCESSOR: [&str; 3] = [
    "no matching manifest for",
    "does not contain descriptor matching platform",
    "exec format error",
];
/// So many characters of a line that a job wrote are shown.
const SHOWN: usize = 160;

/// Why a job is where it is.
#[must_use]
pub(crate) fn job(facts: &Surroundings, job: &Detail) -> Vec<Finding> {
    let about = format!("job {} ({})", job.name, job.id);
    let mut found: Vec<Finding> = stopped_before(job, &about).into_iter().collect();
    found.extend(other_processor(facts, job, &about));
    match job.status.as_str() {
        // Its children are under way.
        "PENDING" if job.array.is_some() && job.depends_on.is_empty() => {}
        "PENDING" => {
            let evidence = format!("it depends on {}", job.depends_on.join(", "));
            found.push(Cause::Dependent.found(about, evidence, "spotblock jobs"));
        }
        "SUBMITTED" => {
            found.push(Cause::Submitted.found(about, "state SUBMITTED", "wait a few seconds"));
        }
        "RUNNABLE" => found.extend(runnable(facts, job, &about)),
        "FAILED" => found.push(failed(facts, job, about)),
        _ => {}
    }
    found
}

/// Catches what retries won't cure: the job is longer than what blocks leave it.
fn stopped_before(job: &Detail, about: &str) -> Option<Finding> {
    let times = job.attempts.iter().filter(|it| stopped_by_host(Some(it))).count();
    (times >= 2).then(|| {
        let evidence = format!("{times} of its {} attempts ended with their host", job.attempts.len());
        let next =
            "make the block longer or the job shorter, or let it write a checkpoint on SIGTERM \
             and go on from it";
        Cause::StoppedAgain.found(about, evidence, next)
    })
}

/// Batch can't know what an image is for: the first attempt shows it.
fn other_processor(facts: &Surroundings, job: &Detail, about: &str) -> Option<Finding> {
    let tells = |text: &&str| OTHER_PROCESSOR.iter().any(|part| text.contains(part));
    let reasons =
        job.attempts.iter().flat_map(|it| [it.reason.as_deref(), it.status_reason.as_deref()]);
    let reason = reasons.chain([job.reason.as_deref()]).flatten().find(tells);
    let line = || lines(facts, job).rfind(tells);
    let said = match reason {
        Some(reason) => format!("its attempt ended with \"{reason}\""),
        None => format!("it wrote \"{}\"", shown(line()?)),
    };
    let next = "an image for both (docker buildx build --platform linux/amd64,linux/arm64), or \
                other [block] instance-types";
    Some(Cause::Architecture.found(about, said, next))
}

/// The last lines that it wrote, without empty ones.
fn lines<'a>(facts: &'a Surroundings, job: &Detail) -> impl DoubleEndedIterator<Item = &'a str> {
    let all = facts.wrote.get(&job.id).into_iter().flatten();
    all.map(|line| line.trim()).filter(|line| !line.is_empty())
}

fn shown(line: &str) -> String {
    if line.chars().count() <= SHOWN {
        line.to_owned()
    } else {
        line.chars().take(SHOWN).chain(['\u{2026}']).collect()
    }
}

fn failed(facts: &Surroundings, job: &Detail, about: String) -> Finding {
    let last = lines(facts, job)
        .next_back()
        .map(|line| format!("the last line it wrote: \"{}\"", shown(line)));
    let evidence = [Some(job.why()), last]
        .into_iter()
        .flatten()
        .filter(|it| !it.is_empty())
        .collect::<Vec<_>>();
    let evidence =
        if evidence.is_empty() { "Batch gives no reason".to_owned() } else { evidence.join("; ") };
    Cause::Failed.found(about, evidence, after_failure(job))
}

/// What helps, by what Batch, ECS and Docker say `[A]`.
fn after_failure(job: &Detail) -> String {
    let last = job.attempts.last();
    let container = last.and_then(|it| it.reason.as_deref()).unwrap_or_default();
    let batch = job.reason.as_deref().unwrap_or_default();
    let id = &job.id;
    if job.array.is_some() {
        return format!(
            "spotblock jobs --array {id} --state FAILED lists the children that failed"
        );
    }
    if batch.starts_with("Dependent Job failed") {
        return format!(
            "see why that one failed: spotblock doctor {}",
            job.depends_on.join(", or ")
        );
    }
    if container.contains("CannotPull") {
        return "look at the image's name and tag, at the instance role's right to pull it (ECR), \
                and at the way there"
            .to_owned();
    }
    if container.contains("CannotCreateContainer") || container.contains("CannotStartContainer") {
        return "look at the command, the mounts and the log driver of its job definition"
            .to_owned();
    }
    if container.contains("OutOfMemory") {
        return format!(
            "more --memory (or `memory` of its job definition); spotblock logs {id} shows how \
             far it came"
        );
    }
    if batch.contains("exceeded timeout") {
        return format!(
            "a longer --job-timeout, if it didn't hang: spotblock logs {id} shows how far it came"
        );
    }
    if stopped_by_host(last) {
        return "its attempts are used up: submit it again with more --attempts, or let it write \
                a checkpoint"
            .to_owned();
    }
    if last.is_some_and(|it| it.exit_code.is_some()) {
        return format!(
            "spotblock logs {id} shows what it wrote; submit it again when the cause is gone"
        );
    }
    "submit it again when the cause is gone".to_owned()
}

fn stopped_by_host(attempt: Option<&JobAttempt>) -> bool {
    attempt.and_then(|it| it.status_reason.as_deref()).is_some_and(|it| it.starts_with("Host EC2"))
}

/// The log group and stream of a job whose last attempt ended badly by itself: there it may have
/// said why.
#[must_use]
pub(crate) fn worth_reading(job: &Detail) -> Option<(&str, &str)> {
    let last = job.attempts.last().filter(|it| it.exit_code.is_some_and(|code| code != 0))?;
    if stopped_by_host(Some(last)) || job.status == "SUCCEEDED" {
        return None;
    }
    Some((job.log_group.as_deref()?, last.log_stream.as_deref()?))
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
    let open: Vec<&Host> =
        facts.hosts.iter().filter(|it| it.connected && it.status == "ACTIVE").collect();
    if open.is_empty() {
        let draining = facts.hosts.iter().filter(|it| it.status == "DRAINING").count();
        let evidence =
            format!("draining: {draining}, not connected: {}", facts.hosts.len() - draining);
        return vec![Cause::NoneOpen.found(about, evidence, "spotblock up --new")];
    }
    let fits = fit(job, &open, about);
    let late = matches!(fits.cause, Cause::Room | Cause::NoRoom)
        .then(|| too_late(facts, job, &open, about))
        .flatten();
    [Some(fits), late].into_iter().flatten().collect()
}

fn nobody_there(facts: &Surroundings, about: &str) -> Vec<Finding> {
    let up: Vec<_> = facts.instances.iter().filter(|it| it.is_up()).collect();
    if up.is_empty() {
        let evidence = "the cluster has no container instance, and no block is live";
        return vec![Cause::NoInstance.found(about, evidence, "spotblock up")];
    }
    let evidence = format!("{} up, none in the cluster", many(up.len(), "instance"));
    let none = Cause::NoneJoined.found(about, evidence, "see below");
    std::iter::once(none).chain(up.into_iter().filter_map(|it| instance(facts, it))).collect()
}

/// Too big for any, or only for what is free now.
fn fit(job: &Detail, open: &[&Host], about: &str) -> Finding {
    let wanted = Room {
        cpu: job.vcpus.saturating_mul(CPU_UNITS),
        memory_mib: job.memory_mib,
        gpus: job.gpus,
    };
    if wanted.gpus > 0 && open.iter().all(|it| it.whole.gpus == 0) {
        let evidence = format!("it wants {} GPUs, and no instance registered one", wanted.gpus);
        let next =
            "a GPU type in [block] instance-types with the ECS GPU image, then spotblock up --new";
        return Cause::NoGpu.found(about, evidence, next);
    }
    if !open.iter().any(|it| it.whole.holds(wanted)) {
        let largest = open
            .iter()
            .map(|it| it.whole)
            .max_by_key(|it| (it.cpu, it.memory_mib))
            .unwrap_or_default();
        let evidence = format!(
            "it wants {wanted}; the largest instance has {largest}, less than its type's since \
             ECS keeps some"
        );
        let next =
            "spotblock submit with less --vcpus or --memory, or larger [block] instance-types";
        return Cause::TooBig.found(about, evidence, next);
    }
    if !open.iter().any(|it| it.free.holds(wanted)) {
        let tasks: i32 = open.iter().map(|it| it.tasks).sum();
        let tasks = many(usize::try_from(tasks).unwrap_or_default(), "job");
        let evidence = format!("it wants {wanted}; no instance has that free beside {tasks}");
        return Cause::NoRoom.found(about, evidence, "wait, or spotblock up --new");
    }
    let evidence = format!("it wants {wanted}, and an instance has that free");
    Cause::Room.found(about, evidence, "wait a minute; jobs before it in the queue go first")
}

/// Whether all that take jobs stop what runs before this one's timeout. One whose end isn't known
/// may be there for long.
fn too_late(facts: &Surroundings, job: &Detail, open: &[&Host], about: &str) -> Option<Finding> {
    let timeout = job.timeout_secs?;
    let stops: Option<Vec<_>> =
        open.iter().map(|it| facts.stops.get(&it.instance).copied()).collect();
    let last = stops?.into_iter().max()?;
    let left = facts.now.duration_until(last).max(SignedDuration::ZERO);
    (left < SignedDuration::from_secs(timeout.into())).then(|| {
        let takes = human(std::time::Duration::from_secs(timeout.into()));
        let left = human(SignedDuration::from_secs(left.as_secs()).unsigned_abs());
        let evidence = format!(
            "it may take {takes} (its timeout), and the last instance stops \
                                its jobs in {left}"
        );
        let next = "spotblock up --new, for a block with more time; begun now it is stopped, and \
             retried if it has attempts";
        Cause::TooLate.found(about, evidence, next)
    })
}
