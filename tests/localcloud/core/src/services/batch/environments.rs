//! Compute environments.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Change, Service, Status, Tags, arn, client, enabled, is_name, name_of, refused, settled, view,
};
use crate::protocol::options::later;
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};
use crate::services::ecs::{create_cluster, delete_cluster};
use crate::services::iam;

/// A compute environment.
pub(super) struct Environment {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) kind: String,
    pub(super) enabled: bool,
    pub(super) status: Status,
    pub(super) service_role: Option<String>,
    pub(super) unmanaged_vcpus: Option<u64>,
    /// As given; for MANAGED ones.
    pub(super) compute_resources: Option<Value>,
    pub(super) uuid: String,
    /// The ECS cluster, from the moment it is made.
    pub(super) cluster: Option<String>,
    pub(super) tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Create {
    compute_environment_name: String,
    r#type: String,
    state: Option<String>,
    #[serde(rename = "unmanagedvCpus")]
    unmanaged_vcpus: Option<u64>,
    compute_resources: Option<Value>,
    service_role: Option<String>,
    #[serde(default)]
    tags: Tags,
}

pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    create: Create,
) -> Result<Value, AwsError> {
    let name = create.compute_environment_name.clone();
    check(context, &create)?;
    if service.state.environments.contains_key(&name) {
        return Err(client("Object already exists"));
    }
    let uuid = service.ids.uuid();
    let environment = Environment {
        arn: arn(service, "compute-environment", &name),
        kind: create.r#type,
        enabled: enabled(context, create.state.as_deref())?,
        status: Status::Changing(
            Change::Creating,
            later(context.now, service.options.pace.batch_ms),
        ),
        service_role: create.service_role,
        unmanaged_vcpus: create.unmanaged_vcpus,
        compute_resources: create.compute_resources,
        uuid,
        cluster: None,
        tags: create.tags,
        name: name.clone(),
    };
    let answer = json!({"computeEnvironmentName": name, "computeEnvironmentArn": environment.arn});
    service.state.environments.insert(name, environment);
    Ok(answer)
}

fn check(context: &Context, create: &Create) -> Result<(), AwsError> {
    if !is_name(&create.compute_environment_name) {
        return Err(refused(
            context,
            "computeEnvironmentName should match valid pattern [A-Za-z0-9][A-Za-z0-9_-]*",
        ));
    }
    match create.r#type.as_str() {
        "UNMANAGED" => {
            if create.compute_resources.is_some() {
                return Err(refused(
                    context,
                    "computeResources must not be set for an UNMANAGED compute environment",
                ));
            }
            if create.service_role.as_deref().unwrap_or_default().is_empty() {
                return Err(refused(
                    context,
                    "ServiceRole is required for UNMANAGED compute environments",
                ));
            }
        }
        "MANAGED" => {
            if create.compute_resources.is_none() {
                return Err(refused(
                    context,
                    "computeResources is required for a MANAGED compute environment",
                ));
            }
        }
        other => {
            return Err(refused(
                context,
                format_args!("type {other} is not one of [MANAGED, UNMANAGED]"),
            ));
        }
    }
    create.service_role.as_deref().map_or(Ok(()), |role| check_role_arn(context, role))
}

/// Batch takes the role's full ARN, not its name.
fn check_role_arn(context: &Context, role: &str) -> Result<(), AwsError> {
    let is_arn = role.starts_with("arn:aws") && role.contains(":iam::") && role.contains(":role/");
    if is_arn {
        Ok(())
    } else {
        Err(refused(context, format_args!("{role} is not a valid role ARN")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    compute_environment: String,
    state: Option<String>,
    #[serde(rename = "unmanagedvCpus")]
    unmanaged_vcpus: Option<u64>,
    service_role: Option<String>,
    compute_resources: Option<Value>,
}

pub(super) fn update(
    service: &mut Service<'_>,
    context: &Context,
    update: Update,
) -> Result<Value, AwsError> {
    let due = later(context.now, service.options.pace.batch_ms);
    let environment = find(service, context, &update.compute_environment)?;
    settled(&environment.status, "update")?;
    if let Some(role) = &update.service_role {
        check_role_arn(context, role)?;
    }
    if environment.kind == "UNMANAGED" && update.compute_resources.is_some() {
        return Err(refused(
            context,
            "computeResources must not be set for an UNMANAGED compute environment",
        ));
    }
    if update.state.is_some() {
        environment.enabled = enabled(context, update.state.as_deref())?;
    }
    environment.unmanaged_vcpus = update.unmanaged_vcpus.or(environment.unmanaged_vcpus);
    environment.service_role = update.service_role.or_else(|| environment.service_role.take());
    environment.compute_resources =
        update.compute_resources.or_else(|| environment.compute_resources.take());
    environment.status = Status::Changing(Change::Updating, due);
    Ok(
        json!({"computeEnvironmentName": environment.name, "computeEnvironmentArn": environment.arn}),
    )
}

fn find<'a>(
    service: &'a mut Service<'_>,
    context: &Context,
    reference: &str,
) -> Result<&'a mut Environment, AwsError> {
    let environments = &mut service.state.environments;
    environments
        .get_mut(name_of(reference))
        .ok_or_else(|| refused(context, format_args!("{reference} does not exist")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    compute_environments: Option<Vec<String>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Names that don't exist are left out, as Batch does.
pub(super) fn describe(service: &Service<'_>, describe: &Describe) -> Result<Value, AwsError> {
    let names: Option<Vec<&str>> = describe
        .compute_environments
        .as_ref()
        .filter(|names| !names.is_empty())
        .map(|names| names.iter().map(|n| name_of(n)).collect());
    let wanted = |name: &str| names.as_ref().is_none_or(|names| names.contains(&name));
    let environments =
        service.state.environments.values().filter(|environment| wanted(&environment.name));
    let views = environments
        .map(|environment| (environment.name.clone(), view::environment(environment)))
        .collect();
    let page = page(
        views,
        describe.next_token.as_deref(),
        describe.max_results.unwrap_or(100).clamp(1, 100),
    )
    .map_err(|_| client("Invalid nextToken"))?;
    Ok(view::with_token(json!({"computeEnvironments": page.items}), page.next_token))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delete {
    compute_environment: String,
}

/// Only a disabled environment that no queue names can be deleted. Deleting what isn't there is no
/// error.
pub(super) fn delete(
    service: &mut Service<'_>,
    context: &Context,
    delete: &Delete,
) -> Result<Value, AwsError> {
    let due = later(context.now, service.options.pace.batch_ms);
    let Ok(environment) = find(service, context, &delete.compute_environment) else {
        return Ok(json!({}));
    };
    if matches!(environment.status, Status::Changing(Change::Deleting, _)) {
        return Ok(json!({}));
    }
    settled(&environment.status, "delete")?;
    if environment.enabled {
        return Err(client("Cannot delete, compute environment state must be DISABLED"));
    }
    let arn = environment.arn.clone();
    if service.state.queues.values().any(|queue| queue.order.contains(&arn)) {
        return Err(client("Cannot delete, found existing JobQueue relationship"));
    }
    find(service, context, &delete.compute_environment)?.status =
        Status::Changing(Change::Deleting, due);
    Ok(json!({}))
}

/// Ends the changes that are due.
pub(super) fn advance(service: &mut Service<'_>, now: jiff::Timestamp) {
    let due: Vec<String> = service
        .state
        .environments
        .values()
        .filter(|environment| environment.status.due().is_some_and(|due| due <= now))
        .map(|environment| environment.name.clone())
        .collect();
    for name in due {
        settle(service, &name);
    }
}

fn settle(service: &mut Service<'_>, name: &str) {
    let Some(environment) = service.state.environments.get(name) else { return };
    let Status::Changing(change, _) = environment.status else { return };
    let (uuid, cluster, role) =
        (environment.uuid.clone(), environment.cluster.clone(), environment.service_role.clone());
    let status = match change {
        Change::Deleting => {
            match cluster.as_deref().map_or(Ok(()), |arn| delete_cluster(&mut service.ecs(), arn)) {
                Err(error) if error.code != "ClusterNotFoundException" => {
                    Status::Invalid(format!("CLIENT_ERROR - {}", error.message))
                }
                _ => {
                    service.state.environments.remove(name);
                    return;
                }
            }
        }
        // [A] Batch accepts a role that doesn't exist and notices when it tries to use it.
        _ if !role.as_deref().is_none_or(|role| iam::role_exists(service.iam, role)) => {
            Status::Invalid(format!(
                "CLIENT_ERROR - Not authorized to perform sts:AssumeRole for role {}",
                role.unwrap_or_default()
            ))
        }
        _ => Status::Valid,
    };
    let cluster = match (&status, cluster) {
        (Status::Valid, None) => {
            Some(create_cluster(&mut service.ecs(), &format!("{name}_Batch_{uuid}")))
        }
        (_, cluster) => cluster,
    };
    if let Some(environment) = service.state.environments.get_mut(name) {
        environment.status = status;
        environment.cluster = cluster;
    }
}
