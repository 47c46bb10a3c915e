//! The operations on schedules.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::Body;
use super::fire::{self, Due};
use super::{
    DEFAULT_GROUP, Key, Query, Service, check_name, conflict, groups, invalid, not_found, seconds,
    without_null,
};
use crate::protocol::{AwsError, Context};

/// A schedule.
pub(super) struct Schedule {
    created: Timestamp,
    modified: Timestamp,
    pub(super) body: Body,
    /// When it makes its next call; nothing once it is done, or when it never does.
    pub(super) due: Option<Due>,
}

fn arn(service: &Service<'_>, (group, name): &Key) -> String {
    format!(
        "arn:aws:scheduler:{}:{}:schedule/{group}/{name}",
        service.options.region, service.options.account
    )
}

/// Reads a schedule, and holds it against what there is: its group, and its role, which Scheduler
/// has to be able to take. What the role may do is found out when the schedule fires.
fn read(service: &Service<'_>, context: &Context, body: &[u8]) -> Result<Body, AwsError> {
    let body = Body::read(body, context.now)?;
    groups::check_exists(service, body.group())?;
    if !fire::may_assume(service, body.group(), &body.target.role_arn, context.now) {
        return Err(invalid(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the \
             role.",
        ));
    }
    Ok(body)
}

/// CreateSchedule. The same again, by its client token, changes nothing.
pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    name: &str,
    body: &[u8],
) -> Result<Value, AwsError> {
    check_name(name)?;
    let body = read(service, context, body)?;
    let key = (body.group().to_owned(), name.to_owned());
    let answer = json!({ "ScheduleArn": arn(service, &key) });
    if let Some(known) = service.state.schedules.get(&key) {
        let repeated = body.client_token.is_some() && known.body == body;
        return if repeated { Ok(answer) } else { Err(conflict("Schedule", name)) };
    }
    let due = fire::first(service, &body, context.now);
    let schedule = Schedule { created: context.now, modified: context.now, body, due };
    service.state.schedules.insert(key, schedule);
    Ok(answer)
}

/// UpdateSchedule replaces everything: what is left out takes its default. One that has fired fires
/// again.
pub(super) fn update(
    service: &mut Service<'_>,
    context: &Context,
    name: &str,
    body: &[u8],
) -> Result<Value, AwsError> {
    let body = read(service, context, body)?;
    let key = (body.group().to_owned(), name.to_owned());
    let (answer, due) =
        (json!({ "ScheduleArn": arn(service, &key) }), fire::first(service, &body, context.now));
    let schedule =
        service.state.schedules.get_mut(&key).ok_or_else(|| not_found("Schedule", name))?;
    *schedule = Schedule { created: schedule.created, modified: context.now, body, due };
    Ok(answer)
}

/// The schedule that a query names.
fn key(service: &Service<'_>, name: &str, query: &Query) -> Result<Key, AwsError> {
    let group = query.get("groupName").unwrap_or(DEFAULT_GROUP);
    groups::check_exists(service, group)?;
    Ok((group.to_owned(), name.to_owned()))
}

/// DeleteSchedule.
pub(super) fn delete(
    service: &mut Service<'_>,
    name: &str,
    query: &Query,
) -> Result<Value, AwsError> {
    let key = key(service, name, query)?;
    service
        .state
        .schedules
        .remove(&key)
        .map(|_| json!({}))
        .ok_or_else(|| not_found("Schedule", name))
}

/// GetSchedule.
pub(super) fn get(service: &Service<'_>, name: &str, query: &Query) -> Result<Value, AwsError> {
    let key = key(service, name, query)?;
    let schedule = service.state.schedules.get(&key).ok_or_else(|| not_found("Schedule", name))?;
    let body = &schedule.body;
    Ok(without_null(json!({
        "ActionAfterCompletion": body.action_after_completion(),
        "Arn": arn(service, &key),
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
pub(super) fn list(service: &Service<'_>, query: &Query) -> Result<Value, AwsError> {
    if let Some(group) = query.get("ScheduleGroup") {
        groups::check_exists(service, group)?;
    }
    let size = query.page_size()?;
    let passes = |(group, name): &Key, schedule: &Schedule| {
        name.starts_with(query.get("NamePrefix").unwrap_or_default())
            && query.get("ScheduleGroup").is_none_or(|wanted| wanted == group)
            && query.get("State").is_none_or(|state| state == schedule.body.state())
            // A page begins after the last name of the one before, so that deletions between two
            // hide nothing.
            && query.get("NextToken").and_then(|last| last.split_once('/')).is_none_or(|last| (group.as_str(), name.as_str()) > last)
    };
    let mut found: Vec<(&Key, &Schedule)> =
        service.state.schedules.iter().filter(|(key, schedule)| passes(key, schedule)).collect();
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more).map(|((group, name), _)| format!("{group}/{name}"));
    let summaries: Vec<Value> = found
        .into_iter()
        .map(|(key, schedule)| {
            json!({
                "Arn": arn(service, key),
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
