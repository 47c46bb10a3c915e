//! The scheduler: from SUBMITTED to the end.
//!
//! | from | to | when |
//! |---|---|---|
//! | SUBMITTED | PENDING | after `pace.submitted_ms` |
//! | PENDING | RUNNABLE | all jobs it depends on have SUCCEEDED (FAILED when one of them is) |
//! | RUNNABLE | STARTING | an instance had room when it was looked at, and `pace.placement_ms` later still takes tasks |
//! | STARTING | RUNNING | ECS knows its task RUNNING |
//! | STARTING, RUNNING | SUCCEEDED | ECS knows its task STOPPED with exit code 0, whoever stopped it |
//! | STARTING, RUNNING | RUNNABLE | STOPPED otherwise, and the retry strategy wants another attempt |
//! | STARTING, RUNNING | FAILED | STOPPED otherwise, or terminated, or timed out |

use jiff::{SignedDuration, Timestamp};

use super::job::{Array, Attempt, Doom, Job, JobStatus, Placing, set_status};
use super::retry::Outcome;
use super::{Batch, Service, Status, container, environments, logs, name_of, queues};
use crate::journal::effect::Container;
use crate::protocol::Options;
use crate::protocol::options::later;
use crate::services::ecs::{LastStatus, NewTask, Resources, start_task, stop_task};

/// The name that Batch gives the one container of a job's task.
const CONTAINER: &str = "default";

/// Lets everything happen that is due.
pub(crate) fn advance(service: &mut Service<'_>, now: Timestamp) {
    environments::advance(service, now);
    follow_tasks(service, now);
    queues::advance(service, now);
    end_late_ones(service, now);
    make_runnable(service, now);
    start_placed(service, now);
    place(service, now);
    sum_up_arrays(service, now);
}

/// The next moment at which something is due.
pub(crate) fn next_due(batch: &Batch, options: &Options, now: Timestamp) -> Option<Timestamp> {
    let environments =
        batch.environments.values().filter_map(|environment| environment.status.due());
    let queues = batch.queues.values().filter_map(|queue| queue.status.due());
    let placings =
        batch.jobs.values().filter_map(|job| job.placing.as_ref()).map(|placing| placing.due);
    let timeouts = batch.jobs.values().filter_map(timeout_at);
    let submitted = batch.jobs.values().filter_map(|job| submitted_until(options, job));
    environments
        .chain(queues)
        .chain(placings)
        .chain(timeouts)
        .chain(submitted)
        .filter(|due| *due > now)
        .min()
}

/// The ids of the jobs of which this is true, oldest first.
fn ids(service: &Service<'_>, wanted: impl Fn(&Job) -> bool) -> Vec<String> {
    let mut jobs: Vec<&Job> = service.state.jobs.values().filter(|job| wanted(job)).collect();
    jobs.sort_by_key(|job| (job.number, index(job)));
    jobs.into_iter().map(|job| job.id.clone()).collect()
}

fn index(job: &Job) -> u32 {
    match job.array {
        Array::Child { index, .. } => index,
        _ => 0,
    }
}

fn is_parent(job: &Job) -> bool {
    matches!(job.array, Array::Parent { .. })
}

/// When a SUBMITTED job has been looked at.
fn submitted_until(options: &Options, job: &Job) -> Option<Timestamp> {
    (job.status == JobStatus::Submitted).then(|| later(job.created_at, options.pace.submitted_ms))
}

/// SUBMITTED to PENDING to RUNNABLE. An array's parent stays PENDING until its children are over.
fn make_runnable(service: &mut Service<'_>, now: Timestamp) {
    for id in
        ids(service, |job| submitted_until(service.options, job).is_some_and(|due| due <= now))
    {
        set_status(service, now, &id, JobStatus::Pending, None);
    }
    for id in ids(service, |job| job.status == JobStatus::Pending && !is_parent(job)) {
        let depends_on = &service.state.jobs[&id].depends_on;
        let status = |id: &String| service.state.jobs.get(id).map(|job| job.status);
        if depends_on.iter().any(|id| status(id) == Some(JobStatus::Failed)) {
            fail(service, now, &id, "Dependent Job failed".to_owned());
        } else if depends_on.iter().all(|id| status(id) == Some(JobStatus::Succeeded)) {
            set_status(service, now, &id, JobStatus::Runnable, None);
        }
    }
}

/// Decides where RUNNABLE jobs go: by the priority of their queue, then by age, to the first
/// instance with room. The task is made `pace.placement_ms` later.
fn place(service: &mut Service<'_>, now: Timestamp) {
    let mut waiting =
        ids(service, |job| job.status == JobStatus::Runnable && job.placing.is_none());
    waiting.sort_by_key(|id| {
        let queue = service.state.queues.get(&service.state.jobs[id].queue);
        std::cmp::Reverse(queue.map_or(0, |queue| queue.priority))
    });
    for id in waiting {
        if let Some((container_instance, environment)) = room_for(service, &service.state.jobs[&id])
        {
            let due = later(now, service.options.pace.placement_ms);
            if let Some(job) = service.state.jobs.get_mut(&id) {
                job.placing = Some(Placing { container_instance, environment, due });
            }
        }
    }
}

/// The first instance with room for a job, and its environment.
fn room_for(service: &Service<'_>, job: &Job) -> Option<(String, String)> {
    let queue = service.state.queues.get(&job.queue)?;
    for name in queue.order.arns().map(name_of) {
        let Some(environment) = service.state.environments.get(name) else { continue };
        let Some(cluster) = environment.cluster.as_deref() else { continue };
        if !environment.enabled || matches!(environment.status, Status::Invalid(_)) {
            continue;
        }
        let mut instances: Vec<_> = service.ecs.open_instances(cluster).collect();
        instances.sort_by_key(|instance| instance.registered_at());
        let fits = |instance: &&&crate::services::ecs::ContainerInstance| {
            let left = service.ecs.remaining(instance).less(promised(service, &instance.arn));
            left.fits(job.resources)
        };
        if let Some(instance) = instances.iter().find(fits) {
            return Some((instance.arn.clone(), name.to_owned()));
        }
    }
    None
}

/// What decisions without a task yet will take of an instance.
fn promised(service: &Service<'_>, container_instance: &str) -> Resources {
    let jobs = service.state.jobs.values();
    let placing = jobs.filter(|job| {
        job.placing.as_ref().is_some_and(|p| p.container_instance == container_instance)
    });
    placing.fold(Resources::default(), |sum, job| sum.plus(job.resources))
}

/// Makes the tasks of decisions that are due. An instance that takes no tasks any more sends its
/// job back to wait.
fn start_placed(service: &mut Service<'_>, now: Timestamp) {
    for id in ids(service, |job| job.placing.as_ref().is_some_and(|placing| placing.due <= now)) {
        let Some(job) = service.state.jobs.get_mut(&id) else { continue };
        let Some(placing) = job.placing.take() else { continue };
        let new = NewTask {
            container_instance: placing.container_instance,
            container: container_of(job, &placing.environment),
            image: job.properties["image"].as_str().unwrap_or_default().to_owned(),
            resources: job.resources,
            started_by: job.id.clone(),
        };
        let task = start_task(&mut service.ecs(), now, new);
        if let (Some(task), Some(job)) = (task, service.state.jobs.get_mut(&id)) {
            job.task = Some(task);
            set_status(service, now, &id, JobStatus::Starting, None);
        }
    }
}

/// The container with the variables that Batch adds.
fn container_of(job: &Job, environment: &str) -> Container {
    let mut variables = container::environment(&job.properties);
    let mut add = |name: &str, value: String| variables.push((name.to_owned(), value));
    add("AWS_BATCH_JOB_ID", job.id.clone());
    add("AWS_BATCH_JOB_ATTEMPT", (job.attempts.len() + 1).to_string());
    add("AWS_BATCH_JQ_NAME", job.queue.clone());
    add("AWS_BATCH_CE_NAME", environment.to_owned());
    if let Array::Child { index, .. } = job.array {
        add("AWS_BATCH_JOB_ARRAY_INDEX", index.to_string());
    }
    let command = job.properties["command"].as_array().into_iter().flatten();
    Container {
        name: CONTAINER.to_owned(),
        family: job.family.0.clone(),
        revision: job.family.1.to_string(),
        command: command.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        environment: variables,
    }
}

/// Follows the tasks of STARTING and RUNNING jobs.
fn follow_tasks(service: &mut Service<'_>, now: Timestamp) {
    for id in ids(service, |job| job.task.is_some()) {
        let job = &service.state.jobs[&id];
        let Some(task) = job.task.as_deref().and_then(|task| service.ecs.task(task)) else {
            continue;
        };
        match task.last {
            LastStatus::Running if job.status == JobStatus::Starting => {
                let (started_at, arn) = (task.started_at, task.arn.clone());
                logs::began(service, started_at.unwrap_or(now), &id, &arn);
                if let Some(job) = service.state.jobs.get_mut(&id) {
                    job.started_at = started_at;
                }
                set_status(service, now, &id, JobStatus::Running, None);
            }
            LastStatus::Stopped => end_attempt(service, now, &id),
            _ => {}
        }
    }
}

/// An attempt whose task is STOPPED.
fn end_attempt(service: &mut Service<'_>, now: Timestamp, id: &str) {
    let Some(job) = service.state.jobs.get_mut(id) else { return };
    let Some(task) = job.task.take().and_then(|arn| service.ecs.task(&arn)) else { return };
    let status_reason = match &job.doom {
        Some(doom) => Some(doom.reason().to_owned()),
        // [A] the reason given to StopTask becomes the attempt's statusReason.
        None => task.stopped_reason.clone(),
    };
    let attempt = Attempt {
        container_instance: Some(task.container_instance.clone()),
        instance: Some(task.instance.clone()),
        task: task.arn.clone(),
        exit_code: task.exit_code,
        reason: task.container_reason.clone(),
        status_reason: status_reason.clone(),
        started_at: task.started_at,
        stopped_at: task.stopped_at.unwrap_or(now),
    };
    job.started_at = attempt.started_at.or(job.started_at);
    let made = u32::try_from(job.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
    let outcome = Outcome {
        status_reason: status_reason.as_deref(),
        reason: attempt.reason.as_deref(),
        exit_code: attempt.exit_code,
    };
    let status = match (&job.doom, attempt.exit_code) {
        (Some(_), _) => JobStatus::Failed,
        // [A] A job that traps SIGTERM and exits 0 counts as done, also after StopTask.
        (None, Some(0)) => JobStatus::Succeeded,
        (None, _) if job.retry.retries(made, outcome) => JobStatus::Runnable,
        (None, _) => JobStatus::Failed,
    };
    job.stopped_at = status.is_over().then_some(attempt.stopped_at);
    let (stopped_at, arn, exit_code) =
        (attempt.stopped_at, attempt.task.clone(), attempt.exit_code);
    job.attempts.push(attempt);
    logs::ended(service, stopped_at, id, &arn, exit_code);
    set_status(service, now, id, status, status_reason);
}

/// When a job's attempt has lasted too long.
fn timeout_at(job: &Job) -> Option<Timestamp> {
    let running = job.status == JobStatus::Running && job.doom.is_none();
    let seconds = job.timeout.filter(|_| running)?;
    job.started_at?.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn end_late_ones(service: &mut Service<'_>, now: Timestamp) {
    for id in ids(service, |job| timeout_at(job).is_some_and(|due| due <= now)) {
        doom(service, now, &id, Doom::TimedOut);
    }
}

/// Ends a job for good: at once where it has no task, else when its task has stopped.
pub(super) fn doom(service: &mut Service<'_>, now: Timestamp, id: &str, doom: Doom) {
    let Some(job) = service.state.jobs.get_mut(id) else { return };
    if job.status.is_over() || job.doom.is_some() {
        return;
    }
    let reason = doom.reason().to_owned();
    job.doom = Some(doom);
    match job.task.clone() {
        Some(task) => stop_task(&mut service.ecs(), now, &task, &reason),
        None => fail(service, now, id, reason),
    }
}

/// A job that has no task becomes FAILED.
pub(super) fn fail(service: &mut Service<'_>, now: Timestamp, id: &str, reason: String) {
    if let Some(job) = service.state.jobs.get_mut(id) {
        job.placing = None;
        job.stopped_at = Some(now);
    }
    set_status(service, now, id, JobStatus::Failed, Some(reason));
}

/// Ends the jobs of a queue that is being deleted; whether all have ended.
pub(super) fn end_jobs_of(service: &mut Service<'_>, now: Timestamp, queue: &str) -> bool {
    let live = ids(service, |job| job.queue == queue && !job.status.is_over() && !is_parent(job));
    for id in &live {
        doom(service, now, id, Doom::Terminated("JobQueue deleted".to_owned()));
    }
    live.is_empty()
}

/// An array is over when its children are: FAILED when one of them is.
fn sum_up_arrays(service: &mut Service<'_>, now: Timestamp) {
    for id in ids(service, |job| is_parent(job) && !job.status.is_over()) {
        let is_child =
            |job: &&Job| matches!(&job.array, Array::Child { parent, .. } if *parent == id);
        let children: Vec<JobStatus> =
            service.state.jobs.values().filter(is_child).map(|job| job.status).collect();
        if !children.iter().all(|status| status.is_over()) {
            continue;
        }
        let (status, reason) = if children.contains(&JobStatus::Failed) {
            (JobStatus::Failed, Some("Array Child Job failed".to_owned()))
        } else {
            (JobStatus::Succeeded, None)
        };
        if let Some(job) = service.state.jobs.get_mut(&id) {
            job.stopped_at = Some(now);
        }
        set_status(service, now, &id, status, reason);
    }
}
