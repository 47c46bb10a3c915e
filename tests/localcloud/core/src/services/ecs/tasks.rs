//! Tasks: what users see and stop, and how Batch starts them.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Delivery, LastStatus, Resources, Service, Task, instances, invalid, missing, name_of, view,
};
use crate::journal::effect::Container;
use crate::protocol::options::later;
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

/// ECS keeps at most this many characters of a reason.
const MAX_REASON: usize = 255;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    cluster: Option<String>,
    container_instance: Option<String>,
    family: Option<String>,
    started_by: Option<String>,
    desired_status: Option<String>,
    next_token: Option<String>,
    max_results: Option<usize>,
}

/// Lists by the *desired* status: a task that is being stopped is no longer among the RUNNING ones.
pub(super) fn list(service: &Service<'_>, list: &List) -> Result<Value, AwsError> {
    let cluster = &service.state.cluster(list.cluster.as_deref())?.name;
    let container_instance = match &list.container_instance {
        None => None,
        Some(reference) => Some(
            instances::resolve(service.state, cluster, reference)
                .ok_or_else(|| invalid("The specified container instance was not found."))?,
        ),
    };
    let wanted = match list.desired_status.as_deref() {
        None | Some("RUNNING") => Some(true),
        Some("STOPPED") => Some(false),
        // ECS never sets this one.
        Some("PENDING") => None,
        Some(_) => {
            return Err(invalid("desiredStatus should be one of [RUNNING, PENDING, STOPPED]"));
        }
    };
    let matches = |task: &&Task| {
        &task.cluster == cluster
            && Some(task.wanted) == wanted
            && container_instance.as_ref().is_none_or(|arn| arn == &task.container_instance)
            && list.family.as_ref().is_none_or(|family| family == &task.container.family)
            && list.started_by.as_ref().is_none_or(|by| by == &task.started_by)
    };
    let arns = service
        .state
        .tasks
        .values()
        .filter(matches)
        .map(|task| (task.arn.clone(), task.arn.clone()))
        .collect();
    let page =
        page(arns, list.next_token.as_deref(), list.max_results.unwrap_or(100).clamp(1, 100))
            .map_err(|_| invalid("Invalid token"))?;
    Ok(view::with_token(json!({"taskArns": page.items}), page.next_token))
}

#[derive(Deserialize)]
pub(super) struct Describe {
    cluster: Option<String>,
    tasks: Vec<String>,
}

pub(super) fn describe(service: &Service<'_>, describe: Describe) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(describe.cluster.as_deref())?.name.clone();
    if describe.tasks.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    if describe.tasks.len() > 100 {
        return Err(invalid("Tasks cannot be more than 100."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for reference in describe.tasks {
        match resolve(service, &cluster, &reference) {
            Some(arn) => found.push(view::task(service, &service.state.tasks[&arn])),
            None => {
                let (region, account) = (&service.options.region, &service.options.account);
                let arn = format!(
                    "arn:aws:ecs:{region}:{account}:task/{cluster}/{}",
                    name_of(&reference)
                );
                failures.push(missing(&arn));
            }
        }
    }
    Ok(json!({"tasks": found, "failures": failures}))
}

/// The ARN of a task that is referred to by ARN or by id.
pub(super) fn resolve(service: &Service<'_>, cluster: &str, reference: &str) -> Option<String> {
    let id = name_of(reference);
    service
        .state
        .tasks
        .values()
        .find(|t| t.cluster == cluster && name_of(&t.arn) == id)
        .map(|t| t.arn.clone())
}

#[derive(Deserialize)]
pub(super) struct Stop {
    cluster: Option<String>,
    task: String,
    reason: Option<String>,
}

pub(super) fn stop(
    service: &mut Service<'_>,
    context: &Context,
    stop: Stop,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(stop.cluster.as_deref())?.name.clone();
    let arn = resolve(service, &cluster, &stop.task)
        .ok_or_else(|| invalid("The referenced task was not found."))?;
    let reason = stop.reason.unwrap_or_else(|| "Task stopped by user".to_owned());
    if reason.chars().count() > MAX_REASON {
        return Err(invalid("reason can have at most 255 characters."));
    }
    stop_task(service, context.now, &arn, &reason);
    Ok(json!({"task": view::task(service, &service.state.tasks[&arn])}))
}

/// A task is not wanted any more: its agent hears of it after `pace.delivery_ms`. The first reason
/// stays.
pub(crate) fn stop_task(service: &mut Service<'_>, now: Timestamp, arn: &str, reason: &str) {
    let Some(task) = service.state.tasks.get_mut(arn) else { return };
    if !task.wanted || task.last == LastStatus::Stopped {
        return;
    }
    task.wanted = false;
    task.stopping_at = Some(now);
    task.stopped_reason = Some(reason.to_owned());
    task.stop_code = Some("UserInitiated");
    task.version += 1;
    let due = later(now, service.options.pace.delivery_ms);
    service.state.deliveries.push(Delivery { due, task: arn.to_owned(), stop: true });
}

/// A task to be.
pub(crate) struct NewTask {
    /// The container instance's ARN.
    pub(crate) container_instance: String,
    pub(crate) container: Container,
    pub(crate) image: String,
    pub(crate) resources: Resources,
    pub(crate) started_by: String,
}

/// Puts a task on an instance, and gives its ARN; nothing when the instance takes no tasks any
/// more.
pub(crate) fn start_task(
    service: &mut Service<'_>,
    now: Timestamp,
    new: NewTask,
) -> Option<String> {
    if !service.state.is_open(&new.container_instance) {
        return None;
    }
    let registered = &service.state.instances[&new.container_instance];
    let (cluster, instance) = (registered.cluster.clone(), registered.instance.clone());
    let (region, account) = (&service.options.region, &service.options.account);
    let arn = format!("arn:aws:ecs:{region}:{account}:task/{cluster}/{}", service.ids.hex(32));
    let task = Task {
        arn: arn.clone(),
        cluster,
        container_instance: new.container_instance,
        instance,
        container: new.container,
        image: new.image,
        resources: new.resources,
        started_by: new.started_by,
        last: LastStatus::Pending,
        wanted: true,
        created_at: now,
        started_at: None,
        stopping_at: None,
        stopped_at: None,
        stopped_reason: None,
        stop_code: None,
        exit_code: None,
        container_reason: None,
        runtime_id: None,
        version: 1,
    };
    service.state.tasks.insert(arn.clone(), task);
    let due = later(now, service.options.pace.delivery_ms);
    service.state.deliveries.push(Delivery { due, task: arn.clone(), stop: false });
    Some(arn)
}
