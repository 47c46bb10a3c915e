//! How Batch shows its things. What its model marks as required is always there.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::definitions::Definition;
use super::environments::Environment;
use super::job::{Array, Attempt, Doom, Job, JobStatus};
use super::queues::Queue;
use super::{Service, Status, arn, state};

/// Adds the token for the next page, if there is one.
pub(super) fn with_token(answer: Value, token: Option<String>) -> Value {
    with(answer, [("nextToken", token.map(Value::from))])
}

/// Adds the members that are there.
fn with<const N: usize>(mut answer: Value, members: [(&str, Option<Value>); N]) -> Value {
    for (name, value) in members {
        if let Some(value) = value {
            answer[name] = value;
        }
    }
    answer
}

fn status_reason(status: &Status, valid: &str) -> Option<Value> {
    match status {
        Status::Changing(..) => None,
        Status::Valid => Some(json!(valid)),
        Status::Invalid(why) => Some(json!(why)),
    }
}

pub(super) fn environment(environment: &Environment) -> Value {
    let view = json!({
        "computeEnvironmentName": environment.name,
        "computeEnvironmentArn": environment.arn,
        "tags": environment.tags,
        "type": environment.kind,
        "state": state(environment.enabled),
        "status": environment.status.as_str(),
        "containerOrchestrationType": "ECS",
        "uuid": environment.uuid,
    });
    with(
        view,
        [
            ("ecsClusterArn", environment.cluster.clone().map(Value::from)),
            ("statusReason", status_reason(&environment.status, "ComputeEnvironment Healthy")),
            ("serviceRole", environment.service_role.clone().map(Value::from)),
            ("unmanagedvCpus", environment.unmanaged_vcpus.map(Value::from)),
            ("computeResources", environment.compute_resources.clone()),
        ],
    )
}

pub(super) fn queue(queue: &Queue) -> Value {
    let view = json!({
        "jobQueueName": queue.name,
        "jobQueueArn": queue.arn,
        "state": state(queue.enabled),
        "status": queue.status.as_str(),
        "priority": queue.priority,
        "computeEnvironmentOrder": queue.order.view(),
        "serviceEnvironmentOrder": [],
        "jobQueueType": "ECS",
        "tags": queue.tags,
        "jobStateTimeLimitActions": [],
    });
    with(view, [("statusReason", status_reason(&queue.status, "JobQueue Healthy"))])
}

/// ACTIVE or INACTIVE.
pub(super) fn activity(definition: &Definition) -> &'static str {
    if definition.active { "ACTIVE" } else { "INACTIVE" }
}

pub(super) fn definition(definition: &Definition) -> Value {
    let view = json!({
        "jobDefinitionName": definition.name,
        "jobDefinitionArn": definition.arn,
        "revision": definition.revision,
        "status": activity(definition),
        "type": "container",
        "parameters": definition.parameters,
        "containerProperties": definition.properties,
        "tags": definition.tags,
        "propagateTags": definition.propagate_tags,
        "platformCapabilities": ["EC2"],
        "containerOrchestrationType": "ECS",
    });
    with(
        view,
        [
            ("retryStrategy", definition.retry.as_ref().map(|retry| json!(retry))),
            ("timeout", definition.timeout.map(timeout)),
            ("schedulingPriority", definition.scheduling_priority.map(Value::from)),
        ],
    )
}

fn timeout(seconds: i64) -> Value {
    json!({"attemptDurationSeconds": seconds})
}

/// Batch gives times as milliseconds since the epoch.
fn millis(at: Timestamp) -> Value {
    json!(at.as_millisecond())
}

pub(super) fn job(service: &Service<'_>, job: &Job) -> Value {
    let view = json!({
        "jobArn": job.arn,
        "jobName": job.name,
        "jobId": job.id,
        "jobQueue": arn(service, "job-queue", &job.queue),
        "status": job.status.as_str(),
        "attempts": job.attempts.iter().map(|it| attempt(job, it)).collect::<Vec<_>>(),
        "createdAt": millis(job.created_at),
        "retryStrategy": {"attempts": job.retry.attempts, "evaluateOnExit": job.retry.evaluate_on_exit},
        // Required in Batch's model; 0 before the start [A].
        "startedAt": job.started_at.map_or(0, Timestamp::as_millisecond),
        "dependsOn": job.depends_on.iter().map(|id| json!({"jobId": id})).collect::<Vec<_>>(),
        "jobDefinition": job.definition_arn,
        "parameters": job.parameters,
        "container": container(service, job),
        "tags": job.tags,
        "propagateTags": job.propagate_tags,
        "platformCapabilities": ["EC2"],
        "isCancelled": false,
        "isTerminated": matches!(job.doom, Some(Doom::Terminated(_))),
    });
    with(
        view,
        [
            ("statusReason", job.status_reason.clone().map(Value::from)),
            ("stoppedAt", job.stopped_at.map(millis)),
            ("timeout", job.timeout.map(timeout)),
            ("schedulingPriority", job.scheduling_priority.map(Value::from)),
            ("arrayProperties", array(service, job)),
        ],
    )
}

/// The container: its properties, and what became of it in the attempt under way or the last one.
fn container(service: &Service<'_>, job: &Job) -> Value {
    let mut view = job.properties.clone();
    let running = job.task.as_deref().and_then(|task| service.ecs.task(task));
    let over = job.attempts.last();
    let (task, container_instance) = match (running, over) {
        (Some(task), _) => (Some(task.arn.clone()), Some(task.container_instance.clone())),
        (None, Some(attempt)) => (Some(attempt.task.clone()), attempt.container_instance.clone()),
        (None, None) => (None, None),
    };
    view["networkInterfaces"] = json!([]);
    let ended = if running.is_some() { None } else { over };
    with(
        view,
        [
            ("logStreamName", task.as_deref().map(|task| json!(log_stream(job, task)))),
            ("taskArn", task.map(Value::from)),
            ("containerInstanceArn", container_instance.map(Value::from)),
            ("exitCode", ended.and_then(|attempt| attempt.exit_code).map(Value::from)),
            ("reason", ended.and_then(|attempt| attempt.reason.clone()).map(Value::from)),
        ],
    )
}

pub(super) fn log_stream(job: &Job, task: &str) -> String {
    format!("{}/default/{}", job.family.0, task.rsplit('/').next().unwrap_or_default())
}

fn attempt(job: &Job, attempt: &Attempt) -> Value {
    let container = with(
        json!({"taskArn": attempt.task, "networkInterfaces": [], "logStreamName": log_stream(job, &attempt.task)}),
        [
            ("containerInstanceArn", attempt.container_instance.clone().map(Value::from)),
            ("exitCode", attempt.exit_code.map(Value::from)),
            ("reason", attempt.reason.clone().map(Value::from)),
        ],
    );
    with(
        json!({"container": container, "stoppedAt": millis(attempt.stopped_at), "taskProperties": []}),
        [
            ("startedAt", attempt.started_at.map(millis)),
            ("statusReason", attempt.status_reason.clone().map(Value::from)),
        ],
    )
}

fn array(service: &Service<'_>, job: &Job) -> Option<Value> {
    match &job.array {
        Array::No => None,
        Array::Child { index, .. } => Some(json!({"index": index, "statusSummary": {}})),
        Array::Parent { size } => {
            let is_child = |child: &&Job| matches!(&child.array, Array::Child { parent, .. } if *parent == job.id);
            let mut summary = json!({});
            for status in JobStatus::ALL {
                let children = service.state.jobs.values().filter(is_child);
                summary[status.as_str()] =
                    json!(children.filter(|child| child.status == status).count());
            }
            Some(json!({"size": size, "statusSummary": summary}))
        }
    }
}

pub(super) fn job_summary(service: &Service<'_>, job: &Job) -> Value {
    let view = json!({
        "jobArn": job.arn,
        "jobId": job.id,
        "jobName": job.name,
        "createdAt": millis(job.created_at),
        "status": job.status.as_str(),
        "jobDefinition": job.definition_arn,
    });
    let last = job.attempts.last().filter(|_| job.task.is_none());
    let container = last.map(|attempt| {
        with(
            json!({}),
            [
                ("exitCode", attempt.exit_code.map(Value::from)),
                ("reason", attempt.reason.clone().map(Value::from)),
            ],
        )
    });
    with(
        view,
        [
            ("statusReason", job.status_reason.clone().map(Value::from)),
            ("startedAt", job.started_at.map(millis)),
            ("stoppedAt", job.stopped_at.map(millis)),
            ("container", container),
            ("arrayProperties", array(service, job)),
        ],
    )
}
