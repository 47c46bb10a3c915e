//! The operations on schedules.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::Body;
use super::fire::{self, Due};
use super::{DEFAULT_GROUP, Key, Query, check_name, conflict, groups, invalid, not_found, seconds, without_null};
use crate::cloud::Cloud;
use crate::protocol::{AwsError, Context};

/// A schedule.
pub(super) struct Schedule {
    created: Timestamp,
    modified: Timestamp,
    pub(super) body: Body,
    /// When it makes its next call; nothing once it is done, or when it never does.
    pub(super) due: Option<Due>,
}

fn arn(cloud: &Cloud, (group, name): &Key) -> String {
    format!("arn:aws:scheduler:{}:{}:schedule/{group}/{name}", cloud.options.region, cloud.options.account)
}

/// Reads a schedule, and holds it against what there is: its group, and its role, which Scheduler has to be able to
/// take. What the role may do is found out when the schedule fires.
fn read(cloud: &Cloud, context: &Context, body: &[u8]) -> Result<Body, AwsError> {
    let body = Body::read(body, context.now)?;
    groups::check_exists(cloud, body.group())?;
    if !fire::may_assume(cloud, body.group(), &body.target.role_arn, context.now) {
        return Err(invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role."));
    }
    Ok(body)
}

/// CreateSchedule. The same again, by its client token, changes nothing.
pub(super) fn create(cloud: &mut Cloud, context: &Context, name: &str, body: &[u8]) -> Result<Value, AwsError> {
    check_name(name)?;
    let body = read(cloud, context, body)?;
    let key = (body.group().to_owned(), name.to_owned());
    let answer = json!({ "ScheduleArn": arn(cloud, &key) });
    if let Some(known) = cloud.scheduler.schedules.get(&key) {
        let repeated = body.client_token.is_some() && known.body == body;
        return if repeated { Ok(answer) } else { Err(conflict("Schedule", name)) };
    }
    let due = fire::first(cloud, &body, context.now);
    let schedule = Schedule { created: context.now, modified: context.now, body, due };
    cloud.scheduler.schedules.insert(key, schedule);
    Ok(answer)
}

/// UpdateSchedule replaces everything: what is left out takes its default. One that has fired fires again.
pub(super) fn update(cloud: &mut Cloud, context: &Context, name: &str, body: &[u8]) -> Result<Value, AwsError> {
    let body = read(cloud, context, body)?;
    let key = (body.group().to_owned(), name.to_owned());
    let (answer, due) = (json!({ "ScheduleArn": arn(cloud, &key) }), fire::first(cloud, &body, context.now));
    let schedule = cloud.scheduler.schedules.get_mut(&key).ok_or_else(|| not_found("Schedule", name))?;
    *schedule = Schedule { created: schedule.created, modified: context.now, body, due };
    Ok(answer)
}

/// The schedule that a query names.
fn key(cloud: &Cloud, name: &str, query: &Query) -> Result<Key, AwsError> {
    let group = query.get("groupName").unwrap_or(DEFAULT_GROUP);
    groups::check_exists(cloud, group)?;
    Ok((group.to_owned(), name.to_owned()))
}

/// DeleteSchedule.
pub(super) fn delete(cloud: &mut Cloud, name: &str, query: &Query) -> Result<Value, AwsError> {
    let key = key(cloud, name, query)?;
    cloud.scheduler.schedules.remove(&key).map(|_| json!({})).ok_or_else(|| not_found("Schedule", name))
}

/// GetSchedule.
pub(super) fn get(cloud: &Cloud, name: &str, query: &Query) -> Result<Value, AwsError> {
    let key = key(cloud, name, query)?;
    let schedule = cloud.scheduler.schedules.get(&key).ok_or_else(|| not_found("Schedule", name))?;
    let body = &schedule.body;
    Ok(without_null(json!({
        "ActionAfterCompletion": body.action_after_completion(),
        "Arn": arn(cloud, &key),
        "CreationDate": seconds(schedule.created),
        "Description": body.description,
        "EndDate": body.end_date,
        "FlexibleTimeWindow": body.flexible_time_window,
        "GroupName": key.0,
        "KmsKeyArn": body.kms_key_arn,
        "LastModificationDate": seconds(schedule.modified),
        "Name": name,
        "ScheduleExpression": body.schedule_expression,
        "ScheduleExpressionTimezone": body.expression_time_zone(),
        "StartDate": body.start_date,
        "State": body.state(),
        "Target": body.target,
    })))
}

/// ListSchedules, of one group or of all.
pub(super) fn list(cloud: &Cloud, query: &Query) -> Result<Value, AwsError> {
    if let Some(group) = query.get("ScheduleGroup") {
        groups::check_exists(cloud, group)?;
    }
    let size = query.page_size()?;
    let passes = |(group, name): &Key, schedule: &Schedule| {
        name.starts_with(query.get("NamePrefix").unwrap_or_default())
            && query.get("ScheduleGroup").is_none_or(|wanted| wanted == group)
            && query.get("State").is_none_or(|state| state == schedule.body.state())
            // A page begins after the last name of the one before, so that deletions between two hide nothing.
            && query.get("NextToken").and_then(|last| last.split_once('/')).is_none_or(|last| (group.as_str(), name.as_str()) > last)
    };
    let mut found: Vec<(&Key, &Schedule)> =
        cloud.scheduler.schedules.iter().filter(|(key, schedule)| passes(key, schedule)).collect();
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more).map(|((group, name), _)| format!("{group}/{name}"));
    let summaries: Vec<Value> = found
        .into_iter()
        .map(|(key, schedule)| {
            json!({
                "Arn": arn(cloud, key),
                "CreationDate": seconds(schedule.created),
                "GroupName": key.0,
                "LastModificationDate": seconds(schedule.modified),
                "Name": key.1,
                "State": schedule.body.state(),
                "Target": { "Arn": schedule.body.target.arn },
            })
        })
        .collect();
    Ok(without_null(json!({ "Schedules": summaries, "NextToken": last })))
}
