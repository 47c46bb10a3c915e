//! How ECS shows its things.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cluster, ContainerInstance, Ecs, LastStatus, Resources, Service, Status, Task};

/// Adds the token for the next page, if there is one.
pub(super) fn with_token(mut answer: Value, token: Option<String>) -> Value {
    if let Some(token) = token {
        answer["nextToken"] = json!(token);
    }
    answer
}

/// JSON 1.1 gives times as seconds since the epoch.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
fn seconds(at: Timestamp) -> Value {
    json!(at.as_millisecond() as f64 / 1000.0)
}

pub(super) fn tags(ecs: &Ecs, arn: &str) -> Vec<Value> {
    let tags = ecs.tags.get(arn).into_iter().flatten();
    tags.map(|(key, value)| json!({"key": key, "value": value})).collect()
}

pub(super) fn cluster(ecs: &Ecs, cluster: &Cluster) -> Value {
    let in_it = |task: &&Task| task.cluster == cluster.name;
    let instances = ecs
        .instances
        .values()
        .filter(|i| i.cluster == cluster.name && i.status != Status::Inactive);
    let (running, pending) = counts(ecs.tasks.values().filter(in_it));
    json!({
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": if cluster.active { "ACTIVE" } else { "INACTIVE" },
        "registeredContainerInstancesCount": instances.count(),
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "activeServicesCount": 0,
        "statistics": [],
        "tags": tags(ecs, &cluster.arn),
        "settings": [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
    })
}

/// How many run and how many are pending, of those that are wanted: a task that is being stopped
/// counts as neither.
fn counts<'a>(tasks: impl Iterator<Item = &'a Task>) -> (usize, usize) {
    tasks.filter(|task| task.wanted).fold((0, 0), |(running, pending), task| match task.last {
        LastStatus::Running => (running + 1, pending),
        LastStatus::Pending => (running, pending + 1),
        LastStatus::Stopped => (running, pending),
    })
}

pub(super) fn instance(ecs: &Ecs, registered: &ContainerInstance) -> Value {
    let (running, pending) =
        counts(ecs.tasks.values().filter(|task| task.container_instance == registered.arn));
    let remaining = ecs.remaining(registered);
    let mut view = json!({
        "containerInstanceArn": registered.arn,
        "ec2InstanceId": registered.instance,
        "version": registered.version,
        "versionInfo": if registered.version_info.is_object() { registered.version_info.clone() } else { json!({}) },
        "remainingResources": null,
        "registeredResources": null,
        "status": registered.status.as_str(),
        "agentConnected": registered.connected,
        "runningTasksCount": running,
        "pendingTasksCount": pending,
        "attributes": null,
        "registeredAt": seconds(registered.registered_at),
        "attachments": [],
        "tags": tags(ecs, &registered.arn),
    });
    // Put in its place by moving it: every agent asks for this view every quarter of a minute, and
    // `json!` copies.
    view["remainingResources"] =
        registered.registered.iter().map(|resource| left(resource, remaining)).collect();
    view["registeredResources"] = registered.registered.iter().map(whole).collect();
    view["attributes"] = registered.attributes.clone().into();
    view
}

/// A resource with all the numbers that ECS shows beside the one that counts.
fn whole(resource: &Value) -> Value {
    let mut whole = json!({
        "name": resource["name"],
        "type": resource["type"],
        "doubleValue": 0.0,
        "longValue": 0,
        "integerValue": resource["integerValue"].as_i64().unwrap_or_default(),
    });
    if resource["stringSetValue"].is_array() {
        whole["stringSetValue"] = resource["stringSetValue"].clone();
    }
    whole
}

/// The same, less what tasks took.
fn left(resource: &Value, remaining: Resources) -> Value {
    let mut left = whole(resource);
    match resource["name"].as_str() {
        Some("CPU") => left["integerValue"] = json!(remaining.cpu),
        Some("MEMORY") => left["integerValue"] = json!(remaining.memory),
        Some("GPU") => {
            if let Some(ids) = left["stringSetValue"].as_array_mut() {
                ids.truncate(usize::try_from(remaining.gpus).unwrap_or(usize::MAX));
            }
        }
        _ => {}
    }
    left
}

pub(super) fn task(service: &Service<'_>, task: &Task) -> Value {
    let (region, account) = (&service.options.region, &service.options.account);
    let definition = format!("{}:{}", task.container.family, task.container.revision);
    let mut view = json!({
        "taskArn": task.arn,
        "clusterArn": format!("arn:aws:ecs:{region}:{account}:cluster/{}", task.cluster),
        "taskDefinitionArn": format!("arn:aws:ecs:{region}:{account}:task-definition/{definition}"),
        "containerInstanceArn": task.container_instance,
        "containers": [container(task, region, account)],
        "cpu": task.resources.cpu.to_string(),
        "memory": task.resources.memory.to_string(),
        "createdAt": seconds(task.created_at),
        "desiredStatus": if task.wanted { "RUNNING" } else { "STOPPED" },
        "lastStatus": task.last.as_str(),
        "group": format!("family:{}", task.container.family),
        "healthStatus": "UNKNOWN",
        "launchType": "EC2",
        "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": []},
        "attachments": [],
        "attributes": [],
        "enableExecuteCommand": false,
        "startedBy": task.started_by,
        "tags": tags(service.state, &task.arn),
        "version": task.version,
    });
    let connected =
        service.state.instances.get(&task.container_instance).is_some_and(|i| i.connected);
    view["connectivity"] = json!(if connected { "CONNECTED" } else { "DISCONNECTED" });
    for (name, at) in [
        ("startedAt", task.started_at),
        ("stoppingAt", task.stopping_at),
        ("stoppedAt", task.stopped_at),
        ("executionStoppedAt", task.stopped_at),
    ] {
        if let Some(at) = at {
            view[name] = seconds(at);
        }
    }
    for (name, text) in
        [("stoppedReason", task.stopped_reason.as_deref()), ("stopCode", task.stop_code)]
    {
        if let Some(text) = text {
            view[name] = json!(text);
        }
    }
    view
}

fn container(task: &Task, region: &str, account: &str) -> Value {
    let id = super::name_of(&task.arn);
    let mut view = json!({
        "containerArn": format!("arn:aws:ecs:{region}:{account}:container/{}/{id}/{}", task.cluster, task.container.name),
        "taskArn": task.arn,
        "name": task.container.name,
        "image": task.image,
        "lastStatus": task.last.as_str(),
        "networkBindings": [],
        "networkInterfaces": [],
        "healthStatus": "UNKNOWN",
        "cpu": task.resources.cpu.to_string(),
        "memory": task.resources.memory.to_string(),
    });
    if let Some(code) = task.exit_code {
        view["exitCode"] = json!(code);
    }
    for (name, text) in [("reason", &task.container_reason), ("runtimeId", &task.runtime_id)] {
        if let Some(text) = text {
            view[name] = json!(text);
        }
    }
    view
}
