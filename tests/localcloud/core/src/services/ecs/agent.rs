//! What the ECS agent calls.

use serde::Deserialize;
use serde_json::{Value, json};

use super::attributes::Attribute;
use super::tags::Tag;
use super::{ContainerInstance, LastStatus, Resources, Service, Status, invalid, tasks, view};
use crate::journal::Event;
use crate::journal::record::What;
use crate::protocol::{AwsError, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Register {
    cluster: Option<String>,
    instance_identity_document: Option<String>,
    #[serde(default)]
    total_resources: Vec<Value>,
    #[serde(default)]
    version_info: Value,
    container_instance_arn: Option<String>,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// Registers an instance, or again one that is known by its ARN; that one keeps its status and its
/// attributes.
pub(super) fn register(
    service: &mut Service<'_>,
    context: &Context,
    register: Register,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(register.cluster.as_deref())?.name.clone();
    for attribute in &register.attributes {
        attribute.check()?;
    }
    let arn = match &register.container_instance_arn {
        Some(arn) => again(service, &cluster, arn)?,
        None => anew(service, context, cluster, register)?,
    };
    Ok(json!({"containerInstance": view::instance(service.state, &service.state.instances[&arn])}))
}

fn again(service: &mut Service<'_>, cluster: &str, arn: &str) -> Result<String, AwsError> {
    let known = service.state.instances.get_mut(arn);
    let known = known.filter(|i| i.cluster == cluster && i.status != Status::Inactive);
    let known = known.ok_or_else(|| {
        invalid("The referenced container instance was not found or is INACTIVE.")
    })?;
    known.connected = true;
    known.version += 1;
    Ok(arn.to_owned())
}

fn anew(
    service: &mut Service<'_>,
    context: &Context,
    cluster: String,
    register: Register,
) -> Result<String, AwsError> {
    let document: Value = register
        .instance_identity_document
        .as_deref()
        .and_then(|document| serde_json::from_str(document).ok())
        .ok_or_else(|| invalid("Instance identity document is not valid."))?;
    let instance = document["instanceId"]
        .as_str()
        .ok_or_else(|| invalid("The document names no instance."))?;
    let (region, account) = (&service.options.region, &service.options.account);
    let arn = format!(
        "arn:aws:ecs:{region}:{account}:container-instance/{cluster}/{}",
        service.ids.hex(32)
    );
    let registered = ContainerInstance {
        arn: arn.clone(),
        cluster: cluster.clone(),
        instance: instance.to_owned(),
        status: Status::Active,
        connected: true,
        capacity: capacity(&register.total_resources),
        registered: register.total_resources,
        attributes: register.attributes.iter().map(Attribute::view).collect(),
        version_info: register.version_info,
        registered_at: context.now,
        version: 1,
    };
    service.state.instances.insert(arn.clone(), registered);
    service
        .state
        .tags
        .insert(arn.clone(), register.tags.into_iter().map(|tag| (tag.key, tag.value)).collect());
    let what =
        What::Joined { instance: instance.to_owned(), container_instance: arn.clone(), cluster };
    service.journal.event(Event { at: context.now, what });
    Ok(arn)
}

/// CPU, MEMORY and GPU out of the resources of a registration.
fn capacity(resources: &[Value]) -> Resources {
    let named = |name: &str| resources.iter().find(|resource| resource["name"] == name);
    let integer = |name: &str| {
        named(name).and_then(|resource| resource["integerValue"].as_u64()).unwrap_or_default()
    };
    let gpus = named("GPU").and_then(|gpu| gpu["stringSetValue"].as_array()).map_or(0, Vec::len);
    Resources { cpu: integer("CPU"), memory: integer("MEMORY"), gpus: gpus as u64 }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmitTask {
    cluster: Option<String>,
    task: String,
    status: String,
    reason: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerChange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerChange {
    container_name: String,
    exit_code: Option<i32>,
    reason: Option<String>,
    runtime_id: Option<String>,
}

/// A task's state as its host knows it. States only go forward; an old report changes nothing.
pub(super) fn submit_task(
    service: &mut Service<'_>,
    context: &Context,
    submit: SubmitTask,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(submit.cluster.as_deref())?.name.clone();
    let status = match submit.status.as_str() {
        "PENDING" => LastStatus::Pending,
        "RUNNING" => LastStatus::Running,
        "STOPPED" => LastStatus::Stopped,
        other => return Err(invalid(format!("{other} is no status of a task"))),
    };
    let arn = tasks::resolve(service, &cluster, &submit.task)
        .ok_or_else(|| invalid("The referenced task was not found."))?;
    let Some(task) = service.state.tasks.get_mut(&arn) else { return Ok(acknowledged()) };
    if status <= task.last {
        return Ok(acknowledged());
    }
    for container in
        submit.containers.into_iter().filter(|c| c.container_name == task.container.name)
    {
        task.exit_code = container.exit_code.or(task.exit_code);
        task.container_reason = container.reason.or_else(|| task.container_reason.take());
        task.runtime_id = container.runtime_id.or_else(|| task.runtime_id.take());
    }
    task.last = status;
    task.version += 1;
    if status == LastStatus::Running {
        task.started_at = Some(context.now);
    }
    if status == LastStatus::Stopped {
        task.wanted = false;
        task.stopped_at = Some(context.now);
        if task.stopped_reason.is_none() {
            task.stopped_reason = Some(
                submit.reason.unwrap_or_else(|| "Essential container in task exited".to_owned()),
            );
            // A job may be over before anybody has said that it runs.
            let began = task.started_at.is_some() || task.exit_code.is_some();
            task.stop_code =
                Some(if began { "EssentialContainerExited" } else { "TaskFailedToStart" });
        }
    }
    Ok(acknowledged())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmitContainer {
    cluster: Option<String>,
    task: Option<String>,
    runtime_id: Option<String>,
    exit_code: Option<i32>,
    reason: Option<String>,
}

/// A container's state; the task's own follows with a report of its own.
pub(super) fn submit_container(
    service: &mut Service<'_>,
    _: &Context,
    submit: SubmitContainer,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(submit.cluster.as_deref())?.name.clone();
    let reference = submit.task.unwrap_or_default();
    let arn = tasks::resolve(service, &cluster, &reference)
        .ok_or_else(|| invalid("The referenced task was not found."))?;
    if let Some(task) =
        service.state.tasks.get_mut(&arn).filter(|task| task.last != LastStatus::Stopped)
    {
        task.exit_code = submit.exit_code.or(task.exit_code);
        task.container_reason = submit.reason.or_else(|| task.container_reason.take());
        task.runtime_id = submit.runtime_id.or_else(|| task.runtime_id.take());
    }
    Ok(acknowledged())
}

fn acknowledged() -> Value {
    json!({"acknowledgment": "ACK"})
}

/// Where an ECS agent would poll. The stand-in is told by effects instead.
pub(super) fn discover(context: &Context) -> Value {
    json!({
        "endpoint": format!("https://ecs-a-1.{}.amazonaws.com/", context.region),
        "telemetryEndpoint": format!("https://ecs-t-1.{}.amazonaws.com/", context.region),
    })
}
