//! Tags of clusters, container instances and tasks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ecs, Service, invalid, view};
use crate::protocol::AwsError;

#[derive(Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    resource_arn: String,
    tags: Vec<Tag>,
}

pub(super) fn tag(service: &mut Service<'_>, add: Add) -> Result<Value, AwsError> {
    exists(service.state, &add.resource_arn)?;
    let tags = service.state.tags.entry(add.resource_arn).or_default();
    tags.extend(add.tags.into_iter().map(|tag| (tag.key, tag.value)));
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(super) fn untag(service: &mut Service<'_>, remove: &Remove) -> Result<Value, AwsError> {
    exists(service.state, &remove.resource_arn)?;
    if let Some(tags) = service.state.tags.get_mut(&remove.resource_arn) {
        tags.retain(|key, _| !remove.tag_keys.contains(key));
    }
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    resource_arn: String,
}

pub(super) fn list(service: &Service<'_>, list: &List) -> Result<Value, AwsError> {
    exists(service.state, &list.resource_arn)?;
    Ok(json!({"tags": view::tags(service.state, &list.resource_arn)}))
}

fn exists(ecs: &Ecs, arn: &str) -> Result<(), AwsError> {
    let known = ecs.instances.contains_key(arn)
        || ecs.tasks.contains_key(arn)
        || ecs.clusters.values().any(|cluster| cluster.active && cluster.arn == arn);
    if known { Ok(()) } else { Err(invalid("The specified resource was not found.")) }
}
