//! Tags: their rules, and the operations on those of any resource.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{AwsError, Cloud, Context};
use super::account;
use super::page::{LIMITS, Selection};
use crate::wire::query;

/// A resource's tags.
pub(super) type Tags = BTreeMap<String, String>;

/// How many tags a resource can have.
const MAX_TAGS: usize = 50;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Tag {
    key: String,
    /// Left out in DeleteTags, it means any.
    value: Option<String>,
}

/// Tags to be given to what an operation creates.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TagSpecification {
    resource_type: String,
    #[serde(default)]
    tag: Vec<Tag>,
}

/// The tags of the specifications, all of which have to be for `resource_type`.
pub(super) fn of_specifications(specifications: &[TagSpecification], resource_type: &str) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for specification in specifications {
        if specification.resource_type != resource_type {
            let message =
                format!("'{}' is not a valid taggable resource type for this operation.", specification.resource_type);
            return Err(AwsError::new("InvalidParameterValue", message));
        }
        merge(&mut tags, &specification.tag)?;
    }
    Ok(tags)
}

/// Adds tags after checking AWS's rules on them.
fn merge(tags: &mut Tags, added: &[Tag]) -> Result<(), AwsError> {
    for Tag { key, value } in added {
        let value = value.clone().unwrap_or_default();
        let problem = if key.is_empty() {
            Some("Tag key cannot be empty.".to_owned())
        } else if key.to_lowercase().starts_with("aws:") {
            Some("Tag keys starting with 'aws:' are reserved for internal use".to_owned())
        } else if key.chars().count() > 128 {
            Some("Tag key exceeds the maximum length of 128 characters".to_owned())
        } else if value.chars().count() > 256 {
            Some("Tag value exceeds the maximum length of 256 characters".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(AwsError::new("InvalidParameterValue", problem));
        }
        tags.insert(key.clone(), value);
    }
    if tags.len() > MAX_TAGS {
        let message = format!("The maximum number of Tags for a resource has been reached: {MAX_TAGS}");
        return Err(AwsError::new("TagLimitExceeded", message));
    }
    Ok(())
}

/// A resource's tags as answers give them.
pub(super) fn answer(tags: Option<&Tags>) -> Value {
    tags.into_iter().flatten().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TagsRequest {
    resource_id: Vec<String>,
    #[serde(default)]
    tag: Vec<Tag>,
}

pub(super) fn create(cloud: &mut Cloud, _: &Context, parameters: Value) -> Result<Value, AwsError> {
    let request: TagsRequest = query::parse(parameters)?;
    if request.tag.is_empty() {
        return Err(AwsError::new("MissingParameter", "The request must contain the parameter tag"));
    }
    let mut tagged = Vec::new();
    for id in &request.resource_id {
        resource_type(cloud, id)?;
        let mut tags = cloud.ec2.tags.get(id).cloned().unwrap_or_default();
        merge(&mut tags, &request.tag)?;
        tagged.push((id.clone(), tags));
    }
    cloud.ec2.tags.extend(tagged);
    Ok(json!({ "return": true }))
}

pub(super) fn delete(cloud: &mut Cloud, _: &Context, parameters: Value) -> Result<Value, AwsError> {
    let request: TagsRequest = query::parse(parameters)?;
    for id in &request.resource_id {
        resource_type(cloud, id)?;
    }
    for id in &request.resource_id {
        let Some(tags) = cloud.ec2.tags.get_mut(id) else { continue };
        if request.tag.is_empty() {
            tags.clear();
        }
        tags.retain(|key, value| {
            !request.tag.iter().any(|tag| tag.key == *key && tag.value.as_ref().is_none_or(|wanted| wanted == value))
        });
    }
    Ok(json!({ "return": true }))
}

pub(super) fn describe(cloud: &mut Cloud, _: &Context, parameters: Value) -> Result<Value, AwsError> {
    let selection = Selection::read(parameters)?;
    let mut found = Vec::new();
    for (id, tags) in &cloud.ec2.tags {
        let Ok(kind) = resource_type(cloud, id) else { continue };
        for (key, value) in tags {
            let field = |name: &str| match name {
                "resource-id" => Some(vec![id.clone()]),
                "resource-type" => Some(vec![kind.to_owned()]),
                "key" => Some(vec![key.clone()]),
                "value" => Some(vec![value.clone()]),
                _ => None,
            };
            let own = [(key.clone(), value.clone())].into();
            if selection.accepts(Some(&own), field)? {
                found.push(json!({ "resourceId": id, "resourceType": kind, "key": key, "value": value }));
            }
        }
    }
    let (page, next) = selection.page(found, LIMITS)?;
    Ok(json!({ "tagSet": page, "nextToken": next }))
}

/// The type of a resource that exists, or the error that AWS gives for one that doesn't.
pub(super) fn resource_type(cloud: &Cloud, id: &str) -> Result<&'static str, AwsError> {
    let ec2 = &cloud.ec2;
    let (exists, kind, code, what) = match id.split_once('-').map_or("", |(prefix, _)| prefix) {
        "i" => (ec2.find(id).is_some(), "instance", "InvalidInstanceID.NotFound", "instance ID"),
        "sir" => (
            ec2.spot.iter().any(|request| request.id == id),
            "spot-instances-request",
            "InvalidSpotInstanceRequestID.NotFound",
            "spot instance request ID",
        ),
        "lt" => (
            ec2.templates.iter().any(|template| template.id == id),
            "launch-template",
            "InvalidLaunchTemplateId.NotFound",
            "launch template ID",
        ),
        "subnet" => (account::subnet_by_id(id).is_some(), "subnet", "InvalidSubnetID.NotFound", "subnet ID"),
        "vpc" => (account::VPCS.iter().any(|vpc| vpc.id == id), "vpc", "InvalidVpcID.NotFound", "vpc ID"),
        "sg" => (account::group_by_id(id).is_some(), "security-group", "InvalidGroup.NotFound", "security group"),
        "ami" => (account::image_by_id(id).is_some(), "image", "InvalidAMIID.NotFound", "image id"),
        _ => return Err(AwsError::new("InvalidID", format!("The ID '{id}' is not valid"))),
    };
    if exists { Ok(kind) } else { Err(AwsError::new(code, format!("The {what} '{id}' does not exist"))) }
}
