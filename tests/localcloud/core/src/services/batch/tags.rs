//! Tags of Batch's things, whose ARN stands in the path.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, Tags, client, definitions, name_of};
use crate::protocol::{AwsError, Request};

/// The operation of a method on `/v1/tags/...`.
pub(super) fn operation(method: &str) -> &'static str {
    match method {
        "POST" => "TagResource",
        "DELETE" => "UntagResource",
        _ => "ListTagsForResource",
    }
}

/// The parameters of a request for `/v1/tags/...`; nothing for others.
pub(super) fn parameters(request: &Request) -> Option<Value> {
    let arn = request.path.strip_prefix("/v1/tags/")?;
    let arn = percent_decode_str(arn).decode_utf8_lossy().into_owned();
    let mut parameters = match request.method.as_str() {
        "POST" => serde_json::from_slice(&request.body).unwrap_or_else(|_| json!({})),
        "DELETE" => {
            let pairs = form_urlencoded::parse(request.query.as_bytes());
            let keys: Vec<_> = pairs
                .filter(|(name, _)| name == "tagKeys")
                .map(|(_, key)| key.into_owned())
                .collect();
            json!({"tagKeys": keys})
        }
        _ => json!({}),
    };
    if parameters.is_object() {
        parameters["resourceArn"] = json!(arn);
    }
    Some(parameters)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    resource_arn: String,
    tags: Tags,
}

pub(super) fn tag(service: &mut Service<'_>, add: Add) -> Result<Value, AwsError> {
    of(service, &add.resource_arn)?.extend(add.tags);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(super) fn untag(service: &mut Service<'_>, remove: &Remove) -> Result<Value, AwsError> {
    of(service, &remove.resource_arn)?.retain(|key, _| !remove.tag_keys.contains(key));
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    resource_arn: String,
}

pub(super) fn list(service: &mut Service<'_>, list: &List) -> Result<Value, AwsError> {
    Ok(json!({"tags": of(service, &list.resource_arn)?}))
}

/// The tags of the thing with this ARN.
fn of<'a>(service: &'a mut Service<'_>, arn: &str) -> Result<&'a mut Tags, AwsError> {
    let name = name_of(arn);
    let kind = arn.split(':').nth(5).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let tags = match kind {
        "compute-environment" => {
            service.state.environments.get_mut(name).map(|environment| &mut environment.tags)
        }
        "job-queue" => service.state.queues.get_mut(name).map(|queue| &mut queue.tags),
        "job" => service.state.jobs.get_mut(name).map(|job| &mut job.tags),
        "job-definition" => {
            definitions::by_arn(service, arn).map(|definition| &mut definition.tags)
        }
        _ => None,
    };
    tags.ok_or_else(|| client(format!("Resource {arn} does not exist")))
}
