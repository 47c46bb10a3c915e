//! EventBridge Scheduler: schedules are kept and given back; they don't fire.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{AwsError, Cloud, Context, Handled, Request};
use crate::wire::json;

/// The group that every account has, and the only one here.
const GROUP: &str = "default";

/// Scheduler's state: schedules by their names.
#[derive(Default)]
pub struct Scheduler {
    schedules: BTreeMap<String, Schedule>,
}

struct Schedule {
    created: Timestamp,
    modified: Timestamp,
    token: Option<String>,
    body: Body,
}

/// What a schedule is made of.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    action_after_completion: Option<String>,
    client_token: Option<String>,
    description: Option<String>,
    end_date: Option<Value>,
    flexible_time_window: FlexibleTimeWindow,
    group_name: Option<String>,
    kms_key_arn: Option<String>,
    schedule_expression: String,
    schedule_expression_timezone: Option<String>,
    start_date: Option<Value>,
    state: Option<String>,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FlexibleTimeWindow {
    mode: String,
    maximum_window_in_minutes: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    arn: String,
    role_arn: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(super) fn handle(cloud: &mut Cloud, context: &Context, request: &Request) -> Handled {
    let path = percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    // Paths such as /schedule-groups belong to operations that are not here.
    let rest = path.strip_prefix("/schedules").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let name = rest.map(|rest| rest.trim_start_matches('/').to_owned());
    let query: BTreeMap<String, String> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let (operation, result) = match (request.method.as_str(), name.as_deref()) {
        ("GET", Some("")) => ("ListSchedules", list(cloud, &query)),
        ("GET", Some(name)) => ("GetSchedule", get(cloud, name, &query)),
        ("POST", Some(name)) => ("CreateSchedule", create(cloud, context, name, &request.body)),
        ("PUT", Some(name)) => ("UpdateSchedule", update(cloud, context, name, &request.body)),
        ("DELETE", Some(name)) => ("DeleteSchedule", delete(cloud, name, &query)),
        _ => ("Unknown", Err(unknown_operation(request))),
    };
    let (response, error) = match result {
        Ok(body) => (json::rest_response(&context.request_id, &body), None),
        Err(error) => (json::rest_error("scheduler", &context.request_id, &error), Some(error.code)),
    };
    let mut parameters: Value = serde_json::from_slice(&request.body).unwrap_or_else(|_| json!(query));
    if let Value::Object(fields) = &mut parameters {
        fields.insert("Name".to_owned(), json!(name));
    }
    Handled { operation: operation.to_owned(), parameters, response, error }
}

fn unknown_operation(request: &Request) -> AwsError {
    let text = format!("the local cloud's Scheduler has no {} {}", request.method, request.path);
    AwsError::new("UnknownOperationException", text).with_status(404)
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationException", message)
}

fn not_found(name: &str) -> AwsError {
    AwsError::new("ResourceNotFoundException", format!("Schedule {name} does not exist.")).with_status(404)
}

fn check_name(name: &str) -> Result<(), AwsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: ^[0-9a-zA-Z-_.]+$"
    )))
}

fn check_group(group: Option<&str>) -> Result<(), AwsError> {
    match group {
        None | Some(GROUP) => Ok(()),
        Some(other) => {
            Err(AwsError::new("ResourceNotFoundException", format!("Schedule group {other} does not exist."))
                .with_status(404))
        }
    }
}

impl Body {
    fn read(body: &[u8]) -> Result<Self, AwsError> {
        let body: Self = json::parse(body).map_err(|error| invalid(error.message))?;
        body.check()?;
        Ok(body)
    }

    fn check(&self) -> Result<(), AwsError> {
        check_group(self.group_name.as_deref())?;
        if !valid_expression(&self.schedule_expression) {
            return Err(invalid(format!("Invalid Schedule Expression {}.", self.schedule_expression)));
        }
        if !self.target.arn.starts_with("arn:aws:") {
            return Err(invalid(format!("Provided Arn is not in correct format: {}", self.target.arn)));
        }
        if !(self.target.role_arn.starts_with("arn:aws:iam::") && self.target.role_arn.contains(":role/")) {
            return Err(invalid(format!("Invalid RoleArn: {}", self.target.role_arn)));
        }
        match (self.flexible_time_window.mode.as_str(), self.flexible_time_window.maximum_window_in_minutes) {
            ("OFF", None) | ("FLEXIBLE", Some(1..=1440)) => {}
            _ => return Err(invalid("Flexible time window configuration is invalid.")),
        }
        if !matches!(self.state.as_deref(), None | Some("ENABLED" | "DISABLED")) {
            return Err(invalid("state: Member must satisfy enum value set: [ENABLED, DISABLED]"));
        }
        if !matches!(self.action_after_completion.as_deref(), None | Some("NONE" | "DELETE")) {
            return Err(invalid("actionAfterCompletion: Member must satisfy enum value set: [NONE, DELETE]"));
        }
        Ok(())
    }

    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("ENABLED")
    }
}

/// `at(2026-11-24T12:00:00)`, `rate(5 minutes)` or `cron(...)` with its six fields.
fn valid_expression(expression: &str) -> bool {
    let inside = |kind: &str| expression.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(at) = inside("at") {
        return at.len() == "2026-11-24T12:00:00".len() && at.parse::<civil::DateTime>().is_ok();
    }
    if let Some(rate) = inside("rate") {
        let Some((number, unit)) = rate.split_once(' ') else { return false };
        let units = ["minute", "minutes", "hour", "hours", "day", "days"];
        return number.parse::<u32>().is_ok_and(|number| number > 0) && units.contains(&unit);
    }
    inside("cron").is_some_and(|fields| fields.split_whitespace().count() == 6)
}

/// The target's role has to be there, and Scheduler be able to take it; of the latter only the existence is looked at.
fn check_role(cloud: &Cloud, body: &Body) -> Result<(), AwsError> {
    if super::iam::role_exists(cloud, &body.target.role_arn) {
        return Ok(());
    }
    Err(invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role."))
}

fn arn(cloud: &Cloud, name: &str) -> String {
    format!("arn:aws:scheduler:{}:{}:schedule/{GROUP}/{name}", cloud.options.region, cloud.options.account)
}

fn create(cloud: &mut Cloud, context: &Context, name: &str, body: &[u8]) -> Result<Value, AwsError> {
    check_name(name)?;
    let body = Body::read(body)?;
    check_role(cloud, &body)?;
    let answer = json!({ "ScheduleArn": arn(cloud, name) });
    if let Some(known) = cloud.scheduler.schedules.get(name) {
        let repeated = body.client_token.is_some() && known.token == body.client_token && known.body == body;
        let conflict = AwsError::new("ConflictException", format!("Schedule {name} already exists.")).with_status(409);
        return if repeated { Ok(answer) } else { Err(conflict) };
    }
    let schedule = Schedule { created: context.now, modified: context.now, token: body.client_token.clone(), body };
    cloud.scheduler.schedules.insert(name.to_owned(), schedule);
    Ok(answer)
}

/// UpdateSchedule replaces everything: what is left out takes its default.
fn update(cloud: &mut Cloud, context: &Context, name: &str, body: &[u8]) -> Result<Value, AwsError> {
    let body = Body::read(body)?;
    check_role(cloud, &body)?;
    let answer = json!({ "ScheduleArn": arn(cloud, name) });
    let schedule = cloud.scheduler.schedules.get_mut(name).ok_or_else(|| not_found(name))?;
    schedule.body = body;
    schedule.modified = context.now;
    Ok(answer)
}

fn delete(cloud: &mut Cloud, name: &str, query: &BTreeMap<String, String>) -> Result<Value, AwsError> {
    check_group(query.get("groupName").map(String::as_str))?;
    cloud.scheduler.schedules.remove(name).map(|_| json!({})).ok_or_else(|| not_found(name))
}

fn get(cloud: &Cloud, name: &str, query: &BTreeMap<String, String>) -> Result<Value, AwsError> {
    check_group(query.get("groupName").map(String::as_str))?;
    let schedule = cloud.scheduler.schedules.get(name).ok_or_else(|| not_found(name))?;
    let body = &schedule.body;
    let mut target = body.target.rest.clone();
    target.insert("Arn".to_owned(), json!(body.target.arn));
    target.insert("RoleArn".to_owned(), json!(body.target.role_arn));
    let answer = json!({
        "ActionAfterCompletion": body.action_after_completion.as_deref().unwrap_or("NONE"),
        "Arn": arn(cloud, name),
        "CreationDate": schedule.created.as_second(),
        "Description": body.description,
        "EndDate": body.end_date,
        "FlexibleTimeWindow": window(&body.flexible_time_window),
        "GroupName": GROUP,
        "KmsKeyArn": body.kms_key_arn,
        "LastModificationDate": schedule.modified.as_second(),
        "Name": name,
        "ScheduleExpression": body.schedule_expression,
        "ScheduleExpressionTimezone": body.schedule_expression_timezone.as_deref().unwrap_or("UTC"),
        "StartDate": body.start_date,
        "State": body.state(),
        "Target": target,
    });
    Ok(without_null(answer))
}

fn window(window: &FlexibleTimeWindow) -> Value {
    without_null(json!({ "Mode": window.mode, "MaximumWindowInMinutes": window.maximum_window_in_minutes }))
}

fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

fn list(cloud: &Cloud, query: &BTreeMap<String, String>) -> Result<Value, AwsError> {
    check_group(query.get("ScheduleGroup").map(String::as_str))?;
    let size = match query.get("MaxResults").map(|text| text.parse::<usize>()) {
        None => 100,
        Some(Ok(size @ 1..=100)) => size,
        Some(_) => return Err(invalid("maxResults: Member must have value between 1 and 100")),
    };
    let prefix = query.get("NamePrefix").map_or("", String::as_str);
    let passes = |name: &str, schedule: &Schedule| {
        name.starts_with(prefix)
            && query.get("State").is_none_or(|state| state == schedule.body.state())
            // A page begins after the last name of the one before, so that deletions between two hide nothing.
            && query.get("NextToken").is_none_or(|last| name > last.as_str())
    };
    let mut found: Vec<(&String, &Schedule)> =
        cloud.scheduler.schedules.iter().filter(|(name, schedule)| passes(name, schedule)).collect();
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more).map(|(name, _)| (*name).clone());
    let summaries: Vec<Value> = found
        .into_iter()
        .map(|(name, schedule)| {
            json!({
                "Arn": arn(cloud, name),
                "CreationDate": schedule.created.as_second(),
                "GroupName": GROUP,
                "LastModificationDate": schedule.modified.as_second(),
                "Name": name,
                "State": schedule.body.state(),
                "Target": { "Arn": schedule.body.target.arn },
            })
        })
        .collect();
    Ok(without_null(json!({ "Schedules": summaries, "NextToken": last })))
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn body(expression: &str) -> Value {
        json!({
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": { "Mode": "OFF" },
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
                "RoleArn": "arn:aws:iam::123456789012:role/BatchServiceRole",
                "Input": "{\"InstanceIds\":[\"i-1\"]}",
            },
        })
    }

    fn call(world: &mut World, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        world.scheduler(method, path, body).map_err(|(code, _)| code)
    }

    #[test]
    fn a_schedule_is_created_given_back_changed_and_deleted() {
        let mut world = World::new();
        let at = |hour: u32| body(&format!("at(2026-11-24T{hour:02}:00:00)"));
        call(&mut world, "POST", "/schedules/end-1", &at(12)).expect("created");
        let again = call(&mut world, "POST", "/schedules/end-1", &at(13));
        assert_eq!(again.expect_err("it exists"), "ConflictException");
        call(&mut world, "PUT", "/schedules/end-1", &at(14)).expect("changed");
        let got = call(&mut world, "GET", "/schedules/end-1", &Value::Null).expect("there");
        assert_eq!(got["ScheduleExpression"], "at(2026-11-24T14:00:00)");
        assert_eq!(got["Target"]["Input"], "{\"InstanceIds\":[\"i-1\"]}");
        assert_eq!(got.get("EndDate"), None);
        call(&mut world, "DELETE", "/schedules/end-1", &Value::Null).expect("deleted");
        for method in ["GET", "DELETE", "PUT"] {
            let gone = call(&mut world, method, "/schedules/end-1", &at(12));
            assert_eq!(gone.expect_err(method), "ResourceNotFoundException");
        }
    }

    #[test]
    fn wrong_schedules_are_refused() {
        let mut world = World::new();
        let mut wrong: Vec<Value> =
            ["at(tomorrow)", "at(2026-11-24)", "rate(0 minutes)", "cron(* *)", "12:00"].map(body).to_vec();
        for (field, value) in [
            ("/Target/Arn", json!("terminateInstances")),
            ("/Target/RoleArn", json!("arn:aws:iam::123456789012:role/nobody")),
            ("/FlexibleTimeWindow/Mode", json!("MAYBE")),
            ("/ActionAfterCompletion", json!("REPEAT")),
        ] {
            let mut body = body("rate(5 minutes)");
            *body.pointer_mut(field).expect(field) = value;
            wrong.push(body);
        }
        for body in wrong {
            let refused = call(&mut world, "POST", "/schedules/x", &body);
            assert_eq!(refused.expect_err("wrong"), "ValidationException", "{body}");
        }
        let badly_named = call(&mut world, "POST", "/schedules/a%20b", &body("rate(5 minutes)"));
        assert_eq!(badly_named.expect_err("a space"), "ValidationException");
    }

    #[test]
    fn lists_come_in_pages_by_prefix() {
        let mut world = World::new();
        for name in ["a-1", "a-2", "a-3", "b-1"] {
            call(&mut world, "POST", &format!("/schedules/{name}"), &body("rate(5 minutes)")).expect("created");
        }
        let first = call(&mut world, "GET", "/schedules?NamePrefix=a-&MaxResults=2", &Value::Null).expect("a page");
        assert_eq!(first["NextToken"], "a-2");
        let rest = "/schedules?NamePrefix=a-&MaxResults=2&NextToken=a-2";
        let second = call(&mut world, "GET", rest, &Value::Null).expect("a page");
        assert_eq!(second["Schedules"].as_array().map(Vec::len), Some(1));
        assert_eq!(second.get("NextToken"), None);
    }
}
