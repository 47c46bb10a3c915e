//! Clusters.

use serde::Deserialize;
use serde_json::{Value, json};

use super::tags::Tag;
use super::{Cluster, LastStatus, Service, Status, invalid, missing, name_of, view};
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

/// ECS gives at most this many names in a page.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Create {
    cluster_name: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// Creating one that exists gives the one that exists.
pub(super) fn create(
    service: &mut Service<'_>,
    _: &Context,
    create: Create,
) -> Result<Value, AwsError> {
    let name = create.cluster_name.unwrap_or_else(|| "default".to_owned());
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 255 || !name.chars().all(valid) {
        return Err(invalid(
            "Cluster name can only contain alphanumeric characters, hyphens and underscores",
        ));
    }
    let arn = create_cluster(service, &name);
    if !create.tags.is_empty() {
        service
            .state
            .tags
            .entry(arn)
            .or_default()
            .extend(create.tags.into_iter().map(|tag| (tag.key, tag.value)));
    }
    Ok(json!({"cluster": view::cluster(service.state, service.state.cluster(Some(&name))?)}))
}

/// Makes a cluster of this name, unless there is one, and gives its ARN.
pub(crate) fn create_cluster(service: &mut Service<'_>, name: &str) -> String {
    let arn = format!(
        "arn:aws:ecs:{}:{}:cluster/{name}",
        service.options.region, service.options.account
    );
    let cluster = Cluster { name: name.to_owned(), arn: arn.clone(), active: true };
    let known = service.state.clusters.entry(name.to_owned()).or_insert(cluster);
    known.active = true;
    arn
}

#[derive(Deserialize)]
pub(super) struct Describe {
    clusters: Option<Vec<String>>,
}

pub(super) fn describe(service: &Service<'_>, describe: Describe) -> Result<Value, AwsError> {
    let names = describe
        .clusters
        .filter(|names| !names.is_empty())
        .unwrap_or_else(|| vec!["default".to_owned()]);
    if names.len() > PAGE {
        return Err(invalid("Clusters cannot be more than 100."));
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match service.state.clusters.get(name_of(&name)) {
            Some(cluster) => clusters.push(view::cluster(service.state, cluster)),
            None => failures.push(missing(&cluster_arn(service, &name))),
        }
    }
    Ok(json!({"clusters": clusters, "failures": failures}))
}

fn cluster_arn(service: &Service<'_>, name: &str) -> String {
    format!(
        "arn:aws:ecs:{}:{}:cluster/{}",
        service.options.region,
        service.options.account,
        name_of(name)
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    next_token: Option<String>,
    max_results: Option<usize>,
}

pub(super) fn list(service: &Service<'_>, list: &List) -> Result<Value, AwsError> {
    let clusters = service.state.clusters.values().filter(|cluster| cluster.active);
    let arns = clusters.map(|cluster| (cluster.arn.clone(), cluster.arn.clone())).collect();
    let page =
        page(arns, list.next_token.as_deref(), list.max_results.unwrap_or(PAGE).clamp(1, PAGE))
            .map_err(|_| invalid("Invalid token"))?;
    Ok(view::with_token(json!({"clusterArns": page.items}), page.next_token))
}

#[derive(Deserialize)]
pub(super) struct Delete {
    cluster: String,
}

pub(super) fn delete(service: &mut Service<'_>, delete: &Delete) -> Result<Value, AwsError> {
    delete_cluster(service, &delete.cluster)?;
    let cluster = &service.state.clusters[name_of(&delete.cluster)];
    Ok(json!({"cluster": view::cluster(service.state, cluster)}))
}

/// Deletes an empty cluster.
///
/// # Errors
/// `ClusterContainsContainerInstancesException` or `ClusterContainsTasksException` while something
/// is in it.
pub(crate) fn delete_cluster(service: &mut Service<'_>, name_or_arn: &str) -> Result<(), AwsError> {
    let name = service.state.cluster(Some(name_or_arn))?.name.clone();
    if service.state.instances.values().any(|i| i.cluster == name && i.status != Status::Inactive) {
        return Err(AwsError::new(
            "ClusterContainsContainerInstancesException",
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        ));
    }
    if service
        .state
        .tasks
        .values()
        .any(|task| task.cluster == name && task.last != LastStatus::Stopped)
    {
        return Err(AwsError::new(
            "ClusterContainsTasksException",
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    if let Some(cluster) = service.state.clusters.get_mut(&name) {
        cluster.active = false;
    }
    Ok(())
}
