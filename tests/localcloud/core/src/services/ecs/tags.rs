//! Tags of clusters, container instances and tasks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ecs, invalid, view};
use crate::cloud::Cloud;
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

pub(super) fn tag(cloud: &mut Cloud, add: Add) -> Result<Value, AwsError> {
    exists(&cloud.ecs, &add.resource_arn)?;
    let tags = cloud.ecs.tags.entry(add.resource_arn).or_default();
    tags.extend(add.tags.into_iter().map(|tag| (tag.key, tag.value)));
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(super) fn untag(cloud: &mut Cloud, remove: &Remove) -> Result<Value, AwsError> {
    exists(&cloud.ecs, &remove.resource_arn)?;
    if let Some(tags) = cloud.ecs.tags.get_mut(&remove.resource_arn) {
        tags.retain(|key, _| !remove.tag_keys.contains(key));
    }
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    resource_arn: String,
}

pub(super) fn list(cloud: &Cloud, list: &List) -> Result<Value, AwsError> {
    exists(&cloud.ecs, &list.resource_arn)?;
    Ok(json!({"tags": view::tags(&cloud.ecs, &list.resource_arn)}))
}

fn exists(ecs: &Ecs, arn: &str) -> Result<(), AwsError> {
    let known = ecs.instances.contains_key(arn)
        || ecs.tasks.contains_key(arn)
        || ecs.clusters.values().any(|cluster| cluster.active && cluster.arn == arn);
    if known { Ok(()) } else { Err(invalid("The specified resource was not found.")) }
}
