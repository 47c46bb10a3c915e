//! Tags: their rules, and the operations on those of any resource.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::page::{LIMITS, Selection};
use super::{Ec2, Service, account};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

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
pub(super) fn of_specifications(
    specifications: &[TagSpecification],
    resource_type: &str,
) -> Result<Tags, AwsError> {
    check_kinds(specifications, &[resource_type])?;
    of_kind(specifications, resource_type)
}

/// The tags of those specifications that are for `resource_type`; what is for others is left alone.
pub(super) fn of_kind(
    specifications: &[TagSpecification],
    resource_type: &str,
) -> Result<Tags, AwsError> {
    let mut tags = Tags::new();
    for specification in specifications.iter().filter(|it| it.resource_type == resource_type) {
        merge(&mut tags, &specification.tag)?;
    }
    Ok(tags)
}

/// Refuses specifications for other types of resources than these.
pub(super) fn check_kinds(
    specifications: &[TagSpecification],
    allowed: &[&str],
) -> Result<(), AwsError> {
    match specifications.iter().find(|it| !allowed.contains(&it.resource_type.as_str())) {
        None => Ok(()),
        Some(TagSpecification { resource_type, .. }) => {
            let message = format!(
                "'{resource_type}' is not a valid taggable resource type for this operation."
            );
            Err(AwsError::new("InvalidParameterValue", message))
        }
    }
}

/// Adds tags after checking AWS's rules on them.
fn merge(tags: &mut Tags, added: &[Tag]) -> Result<(), AwsError> {
    for Tag { key, value } in added {
        let value = value.clone().unwrap_or_default();
        let problem = if key.is_empty() {
            Some("Tag key cannot be empty.".to_owned())
        } else if is_reserved(key) {
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
    // AWS's own don't count.
    if tags.keys().filter(|key| !is_reserved(key)).count() > MAX_TAGS {
        let message =
            format!("The maximum number of Tags for a resource has been reached: {MAX_TAGS}");
        return Err(AwsError::new("TagLimitExceeded", message));
    }
    Ok(())
}

/// AWS's own tags, which nobody else sets or deletes.
fn is_reserved(key: &str) -> bool {
    key.to_lowercase().starts_with("aws:")
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

pub(super) fn create(
    service: &mut Service<'_>,
    _: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: TagsRequest = query::parse(parameters)?;
    if request.tag.is_empty() {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter tag",
        ));
    }
    let mut tagged = Vec::new();
    for id in &request.resource_id {
        resource_type(service.state, id)?;
        let mut tags = service.state.tags.get(id).cloned().unwrap_or_default();
        merge(&mut tags, &request.tag)?;
        tagged.push((id.clone(), tags));
    }
    service.state.tags.extend(tagged);
    Ok(json!({ "return": true }))
}

pub(super) fn delete(
    service: &mut Service<'_>,
    _: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let request: TagsRequest = query::parse(parameters)?;
    for id in &request.resource_id {
        resource_type(service.state, id)?;
    }
    if let Some(reserved) = request.tag.iter().find(|tag| is_reserved(&tag.key)) {
        let message = format!(
            "Tag keys starting with 'aws:' are reserved for internal use: {}",
            reserved.key
        );
        return Err(AwsError::new("InvalidParameterValue", message));
    }
    for id in &request.resource_id {
        let Some(tags) = service.state.tags.get_mut(id) else { continue };
        if request.tag.is_empty() {
            tags.retain(|key, _| is_reserved(key));
        }
        tags.retain(|key, value| {
            !request.tag.iter().any(|tag| {
                tag.key == *key && tag.value.as_ref().is_none_or(|wanted| wanted == value)
            })
        });
    }
    Ok(json!({ "return": true }))
}

pub(super) fn describe(
    service: &mut Service<'_>,
    _: &Context,
    parameters: Value,
) -> Result<Value, AwsError> {
    let selection = Selection::read(parameters)?;
    let mut found = Vec::new();
    for (id, tags) in &service.state.tags {
        let Ok(kind) = resource_type(service.state, id) else { continue };
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
                found.push(
                    json!({ "resourceId": id, "resourceType": kind, "key": key, "value": value }),
                );
            }
        }
    }
    let (page, next) = selection.page(found, LIMITS)?;
    Ok(json!({ "tagSet": page, "nextToken": next }))
}

/// The type of a resource that exists, or the error that AWS gives for one that doesn't.
pub(super) fn resource_type(ec2: &Ec2, id: &str) -> Result<&'static str, AwsError> {
    let (exists, kind, code, what) = match id.split_once('-').map_or("", |(prefix, _)| prefix) {
        "i" => {
            (ec2.instance(id).is_some(), "instance", "InvalidInstanceID.NotFound", "instance ID")
        }
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
        "fleet" => (
            ec2.fleets.iter().any(|it| it.id == id),
            "fleet",
            "InvalidFleetId.NotFound",
            "fleet ID",
        ),
        "cr" => (
            ec2.reservations.iter().any(|it| it.id == id),
            "capacity-reservation",
            "InvalidCapacityReservationId.NotFound",
            "capacity reservation ID",
        ),
        "cb" => (
            ec2.reservations.iter().any(|it| it.block.as_ref().is_some_and(|block| block.id == id)),
            "capacity-block",
            "InvalidCapacityBlockId.NotFound",
            "capacity block ID",
        ),
        "subnet" => {
            (account::subnet_by_id(id).is_some(), "subnet", "InvalidSubnetID.NotFound", "subnet ID")
        }
        "vpc" => {
            (account::VPCS.iter().any(|vpc| vpc.id == id), "vpc", "InvalidVpcID.NotFound", "vpc ID")
        }
        "sg" => (
            account::group_by_id(id).is_some(),
            "security-group",
            "InvalidGroup.NotFound",
            "security group",
        ),
        "ami" => (account::image_by_id(id).is_some(), "image", "InvalidAMIID.NotFound", "image id"),
        _ => return Err(AwsError::new("InvalidID", format!("The ID '{id}' is not valid"))),
    };
    if exists {
        Ok(kind)
    } else {
        Err(AwsError::new(code, format!("The {what} '{id}' does not exist")))
    }
}
