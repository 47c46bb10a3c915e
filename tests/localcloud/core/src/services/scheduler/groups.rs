//! Schedule groups, which are what carries tags in Scheduler.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::body::check_token;
use super::{
    DEFAULT_GROUP, Query, Service, check_name, conflict, invalid, not_found, seconds, without_null,
};
use crate::protocol::wire::json;
use crate::protocol::{AwsError, Context};

/// When the account's default group was made.
const LONG_AGO: Timestamp = Timestamp::constant(1_668_000_000, 0);

/// A group that was created.
pub(super) struct Group {
    created: Timestamp,
    modified: Timestamp,
    token: Option<String>,
    tags: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tagged {
    client_token: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

pub(super) fn check_exists(service: &Service<'_>, group: &str) -> Result<(), AwsError> {
    let exists = group == DEFAULT_GROUP || service.state.groups.contains_key(group);
    if exists { Ok(()) } else { Err(not_found("Schedule group", group)) }
}

fn arn(service: &Service<'_>, name: &str) -> String {
    format!(
        "arn:aws:scheduler:{}:{}:schedule-group/{name}",
        service.options.region, service.options.account
    )
}

/// A group as answers show it.
fn answer(service: &Service<'_>, name: &str) -> Value {
    let group = service.state.groups.get(name);
    let (created, modified) =
        group.map_or((LONG_AGO, LONG_AGO), |group| (group.created, group.modified));
    json!({
        "Arn": arn(service, name),
        "CreationDate": seconds(created),
        "LastModificationDate": seconds(modified),
        "Name": name,
        "State": "ACTIVE",
    })
}

fn read(body: &[u8]) -> Result<Tagged, AwsError> {
    let tagged: Tagged = json::parse(body).map_err(|error| invalid(error.message))?;
    check_token(tagged.client_token.as_deref())?;
    let wrong = |tag: &&Tag| {
        tag.key.starts_with("aws:")
            || !(1..=128).contains(&tag.key.len())
            || !(1..=256).contains(&tag.value.len())
    };
    match tagged.tags.iter().find(wrong) {
        Some(tag) => Err(invalid(format!("The tag '{}' has an invalid key or value.", tag.key))),
        None => Ok(tagged),
    }
}

/// CreateScheduleGroup.
pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    name: &str,
    body: &[u8],
) -> Result<Value, AwsError> {
    check_name(name)?;
    let Tagged { client_token: token, tags } = read(body)?;
    let answer = json!({ "ScheduleGroupArn": arn(service, name) });
    let known = service.state.groups.get(name);
    if known.is_some_and(|group| token.is_some() && group.token == token) {
        return Ok(answer);
    }
    if known.is_some() || name == DEFAULT_GROUP {
        return Err(conflict("Schedule group", name));
    }
    let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let group = Group { created: context.now, modified: context.now, token, tags };
    service.state.groups.insert(name.to_owned(), group);
    Ok(answer)
}

/// DeleteScheduleGroup takes its schedules with it. AWS takes a while for that; here it is done at
/// once.
pub(super) fn delete(service: &mut Service<'_>, name: &str) -> Result<Value, AwsError> {
    if name == DEFAULT_GROUP {
        return Err(invalid("The default schedule group can't be deleted."));
    }
    service.state.groups.remove(name).ok_or_else(|| not_found("Schedule group", name))?;
    service.state.schedules.retain(|(group, _), _| group != name);
    Ok(json!({}))
}

/// GetScheduleGroup.
pub(super) fn get(service: &Service<'_>, name: &str) -> Result<Value, AwsError> {
    check_exists(service, name)?;
    Ok(answer(service, name))
}

/// ListScheduleGroups.
pub(super) fn list(service: &Service<'_>, query: &Query) -> Result<Value, AwsError> {
    let size = query.page_size()?;
    let mut names: Vec<&str> =
        service.state.groups.keys().map(String::as_str).chain([DEFAULT_GROUP]).collect();
    names.sort_unstable();
    names.retain(|name| {
        name.starts_with(query.get("NamePrefix").unwrap_or_default())
            && query.get("NextToken").is_none_or(|last| *name > last)
    });
    let more = names.len() > size;
    names.truncate(size);
    let last = names.last().filter(|_| more);
    let groups: Vec<Value> = names.iter().map(|name| answer(service, name)).collect();
    Ok(without_null(json!({ "ScheduleGroups": groups, "NextToken": last })))
}

/// The name of the group with this ARN.
fn named<'a>(service: &Service<'_>, arn: &'a str) -> Result<&'a str, AwsError> {
    let name = arn.split_once(":schedule-group/").map(|(_, name)| name);
    let name =
        name.ok_or_else(|| invalid(format!("Provided Arn is not in correct format: {arn}")))?;
    check_exists(service, name)?;
    Ok(name)
}

/// The group with this ARN, for a change of its tags. The default one has none here.
fn changed<'a>(service: &'a mut Service<'_>, arn: &str) -> Result<&'a mut Group, AwsError> {
    let name = named(service, arn)?;
    service
        .state
        .groups
        .get_mut(name)
        .ok_or_else(|| invalid("The default schedule group can't be tagged."))
}

/// TagResource.
pub(super) fn tag(service: &mut Service<'_>, arn: &str, body: &[u8]) -> Result<Value, AwsError> {
    let added = read(body)?.tags;
    changed(service, arn)?.tags.extend(added.into_iter().map(|tag| (tag.key, tag.value)));
    Ok(json!({}))
}

/// UntagResource.
pub(super) fn untag(
    service: &mut Service<'_>,
    arn: &str,
    query: &Query,
) -> Result<Value, AwsError> {
    let removed = query.all("TagKeys");
    changed(service, arn)?.tags.retain(|key, _| !removed.contains(&key.as_str()));
    Ok(json!({}))
}

/// ListTagsForResource.
pub(super) fn list_tags(service: &Service<'_>, arn: &str) -> Result<Value, AwsError> {
    let group = service.state.groups.get(named(service, arn)?);
    let tags = group.into_iter().flat_map(|group| &group.tags);
    let tags: Vec<Value> = tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "Tags": tags }))
}
