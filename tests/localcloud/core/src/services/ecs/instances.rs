//! Container instances, as users see and change them.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ecs, LastStatus, Service, Status, invalid, missing, name_of, view};
use crate::journal::Event;
use crate::journal::record::What;
use crate::protocol::options::later;
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

/// ECS describes at most this many at once.
const MAX_DESCRIBED: usize = 100;

/// ECS changes at most this many at once.
const MAX_UPDATED: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    cluster: Option<String>,
    status: Option<String>,
    filter: Option<String>,
    next_token: Option<String>,
    max_results: Option<usize>,
}

pub(super) fn list(service: &Service<'_>, list: &List) -> Result<Value, AwsError> {
    let cluster = &service.state.cluster(list.cluster.as_deref())?.name;
    if list.filter.as_ref().is_some_and(|filter| !filter.is_empty()) {
        return Err(invalid("the local cloud's ECS knows no filter expressions"));
    }
    let wanted = list.status.as_deref();
    // Without a status all are listed but the INACTIVE ones.
    let matches = |status: Status| match wanted {
        None => status != Status::Inactive,
        Some(wanted) => status != Status::Inactive && status.as_str() == wanted,
    };
    let instances =
        service.state.instances.values().filter(|i| &i.cluster == cluster && matches(i.status));
    let arns = instances.map(|i| (i.arn.clone(), i.arn.clone())).collect();
    let page =
        page(arns, list.next_token.as_deref(), list.max_results.unwrap_or(100).clamp(1, 100))
            .map_err(|_| invalid("Invalid token"))?;
    Ok(view::with_token(json!({"containerInstanceArns": page.items}), page.next_token))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    cluster: Option<String>,
    container_instances: Vec<String>,
}

pub(super) fn describe(service: &Service<'_>, describe: Describe) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(describe.cluster.as_deref())?.name.clone();
    if describe.container_instances.is_empty() {
        return Err(invalid("Container instance cannot be empty."));
    }
    if describe.container_instances.len() > MAX_DESCRIBED {
        return Err(invalid("Container instances cannot be more than 100."));
    }
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for reference in describe.container_instances {
        match resolve(service.state, &cluster, &reference) {
            Some(arn) => found.push(view::instance(service.state, &service.state.instances[&arn])),
            None => failures.push(missing(&instance_arn(service, &cluster, &reference))),
        }
    }
    let mut answer = json!({"containerInstances": null, "failures": failures});
    answer["containerInstances"] = found.into();
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateState {
    cluster: Option<String>,
    container_instances: Vec<String>,
    status: String,
}

/// DRAINING is accepted from ACTIVE alone (and again from DRAINING), and nothing from INACTIVE.
pub(super) fn update_state(
    service: &mut Service<'_>,
    context: &Context,
    update: UpdateState,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(update.cluster.as_deref())?.name.clone();
    if update.container_instances.is_empty() || update.container_instances.len() > MAX_UPDATED {
        return Err(invalid("Container instances must be between 1 and 10."));
    }
    let status = match update.status.as_str() {
        "ACTIVE" => Status::Active,
        "DRAINING" => Status::Draining,
        _ => return Err(invalid("Container instance status should be one of [ACTIVE, DRAINING]")),
    };
    let (mut changed, mut failures) = (Vec::new(), Vec::new());
    for reference in update.container_instances {
        let Some(arn) = resolve(service.state, &cluster, &reference) else {
            failures.push(missing(&instance_arn(service, &cluster, &reference)));
            continue;
        };
        if service.state.instances[&arn].status == Status::Inactive {
            return Err(invalid(format!("{arn} is INACTIVE and its state can't be changed")));
        }
        set_status(service, context.now, &arn, status);
        changed.push(view::instance(service.state, &service.state.instances[&arn]));
    }
    Ok(json!({"containerInstances": changed, "failures": failures}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deregister {
    cluster: Option<String>,
    container_instance: String,
    #[serde(default)]
    force: bool,
}

/// Without `force` it is refused while tasks are wanted on it; with it ECS forgets them [A: they
/// become STOPPED].
pub(super) fn deregister(
    service: &mut Service<'_>,
    context: &Context,
    deregister: &Deregister,
) -> Result<Value, AwsError> {
    let cluster = service.state.cluster(deregister.cluster.as_deref())?.name.clone();
    let arn = resolve(service.state, &cluster, &deregister.container_instance)
        .filter(|arn| service.state.instances[arn].status != Status::Inactive)
        .ok_or_else(|| invalid("Referenced container instance was not found."))?;
    let busy =
        service.state.tasks.values().any(|task| task.container_instance == arn && task.wanted);
    if busy && !deregister.force {
        return Err(invalid("Found running tasks on the instance."));
    }
    // A reason that StopTask gave stays.
    end_tasks(service.state, context.now, &arn, |given| {
        given.unwrap_or_else(|| "Container instance deregistration forced by user".to_owned())
    });
    set_status(service, context.now, &arn, Status::Inactive);
    Ok(json!({"containerInstance": view::instance(service.state, &service.state.instances[&arn])}))
}

/// The ARN of a container instance that is referred to by ARN or by id.
pub(super) fn resolve(ecs: &Ecs, cluster: &str, reference: &str) -> Option<String> {
    let id = name_of(reference);
    ecs.instances
        .values()
        .find(|i| i.cluster == cluster && name_of(&i.arn) == id)
        .map(|i| i.arn.clone())
}

fn instance_arn(service: &Service<'_>, cluster: &str, reference: &str) -> String {
    let (region, account) = (&service.options.region, &service.options.account);
    format!("arn:aws:ecs:{region}:{account}:container-instance/{cluster}/{}", name_of(reference))
}

fn set_status(service: &mut Service<'_>, now: Timestamp, arn: &str, status: Status) {
    let Some(registered) = service.state.instances.get_mut(arn) else { return };
    if registered.status == status {
        return;
    }
    registered.status = status;
    registered.connected &= status != Status::Inactive;
    registered.version += 1;
    let what = What::ContainerInstanceStatus {
        instance: registered.instance.clone(),
        status: status.as_str().to_owned(),
    };
    service.journal.event(Event { at: now, what });
}

/// The tasks of an instance become STOPPED without a word from its agent. `reason` makes the new
/// reason of the old one.
fn end_tasks(
    ecs: &mut Ecs,
    now: Timestamp,
    container_instance: &str,
    reason: impl Fn(Option<String>) -> String,
) {
    let tasks = ecs.tasks.values_mut();
    for task in tasks
        .filter(|t| t.container_instance == container_instance && t.last != LastStatus::Stopped)
    {
        task.last = LastStatus::Stopped;
        task.wanted = false;
        task.stopped_at = Some(now);
        task.stopped_reason = Some(reason(task.stopped_reason.take()));
        task.version += 1;
    }
}

/// A host is gone: its agent is disconnected at once, and after `pace.host_loss_ms` ECS notices.
pub(crate) fn host_gone(service: &mut Service<'_>, now: Timestamp, instance: &str) {
    super::agent_connected(service.state, instance, false);
    let known = service.state.losses.iter().any(|(_, host)| host == instance);
    if !known {
        let due = later(now, service.options.pace.host_loss_ms);
        service.state.losses.push((due, instance.to_owned()));
    }
}

/// ECS notices the hosts whose loss is due: their tasks are over and the container instance goes.
pub(super) fn notice_losses(service: &mut Service<'_>, now: Timestamp) {
    let losses = std::mem::take(&mut service.state.losses);
    let (due, rest): (Vec<_>, Vec<_>) = losses.into_iter().partition(|(due, _)| *due <= now);
    service.state.losses = rest;
    for (_, host) in due {
        let of_host = service.state.instances.values().filter(|i| i.instance == host);
        let arns: Vec<String> = of_host.map(|i| i.arn.clone()).collect();
        for arn in arns {
            end_tasks(service.state, now, &arn, |_| {
                format!("Host EC2 (instance {host}) terminated.")
            });
            set_status(service, now, &arn, Status::Inactive);
        }
    }
}
