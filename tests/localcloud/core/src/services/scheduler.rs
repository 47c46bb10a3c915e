//! EventBridge Scheduler: schedules, the groups they are in, and what they do when their time
//! comes.
//!
//! - `body.rs`: what a schedule is made of, and AWS's checks on it
//! - `schedules.rs`, `groups.rs`: the operations
//! - `target.rs`: the calls that a schedule can make; `fire.rs`: when it makes them, and how often
//!   it tries
//!
//! One-time schedules fire. Recurring ones are kept and given back, and never fire here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::protocol::wire::json;
use crate::protocol::{AwsError, Context, Handled, Options, Request};
use crate::services::ec2::Ec2;
use crate::services::iam::Iam;

mod body;
mod fire;
mod groups;
mod schedules;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use fire::{Failure, done, next_call, next_due};

/// The group that every account has.
const DEFAULT_GROUP: &str = "default";

/// Scheduler at work: its state, and what it shares with the other services or looks up there.
pub(crate) struct Service<'a> {
    pub(crate) options: &'a Options,
    pub(crate) journal: &'a mut Journal,
    pub(crate) iam: &'a Iam,
    pub(crate) ec2: &'a Ec2,
    pub(crate) state: &'a mut Scheduler,
}

/// Scheduler's state.
#[derive(Default)]
pub(crate) struct Scheduler {
    /// By the names of their group and their own.
    schedules: BTreeMap<Key, schedules::Schedule>,
    /// By name, but for the default one.
    groups: BTreeMap<String, groups::Group>,
}

/// A group's name and a schedule's own, by which it is known: neither can be changed.
type Key = (String, String);

/// A request's parameters outside its body.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// How many entries a page is to have.
    fn page_size(&self) -> Result<usize, AwsError> {
        match self.get("MaxResults").map(str::parse) {
            None => Ok(100),
            Some(Ok(size @ 1..=100)) => Ok(size),
            Some(_) => Err(invalid("maxResults: Member must have value between 1 and 100")),
        }
    }
}

/// What a path names: a kind of thing, and one of it or none.
fn place(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

/// The operation that a request asks for.
pub(crate) fn operation(request: &Request) -> &'static str {
    let (kind, name) = place(&request.path);
    match (request.method.as_str(), kind, name.is_empty()) {
        ("GET", "schedules", true) => "ListSchedules",
        ("GET", "schedules", false) => "GetSchedule",
        ("POST", "schedules", false) => "CreateSchedule",
        ("PUT", "schedules", false) => "UpdateSchedule",
        ("DELETE", "schedules", false) => "DeleteSchedule",
        ("GET", "schedule-groups", true) => "ListScheduleGroups",
        ("GET", "schedule-groups", false) => "GetScheduleGroup",
        ("POST", "schedule-groups", false) => "CreateScheduleGroup",
        ("DELETE", "schedule-groups", false) => "DeleteScheduleGroup",
        ("GET", "tags", false) => "ListTagsForResource",
        ("POST", "tags", false) => "TagResource",
        ("DELETE", "tags", false) => "UntagResource",
        _ => "Unknown",
    }
}

pub(crate) fn handle(service: &mut Service<'_>, context: &Context, request: &Request) -> Handled {
    let path = percent_decode_str(&request.path).decode_utf8_lossy().into_owned();
    let (_, name) = place(&path);
    let query = Query(form_urlencoded::parse(request.query.as_bytes()).into_owned().collect());
    let operation = operation(request);
    let body = &request.body;
    let result = match operation {
        "ListSchedules" => schedules::list(service, &query),
        "GetSchedule" => schedules::get(service, name, &query),
        "CreateSchedule" => schedules::create(service, context, name, body),
        "UpdateSchedule" => schedules::update(service, context, name, body),
        "DeleteSchedule" => schedules::delete(service, name, &query),
        "ListScheduleGroups" => groups::list(service, &query),
        "GetScheduleGroup" => groups::get(service, name),
        "CreateScheduleGroup" => groups::create(service, context, name, body),
        "DeleteScheduleGroup" => groups::delete(service, name),
        "ListTagsForResource" => groups::list_tags(service, name),
        "TagResource" => groups::tag(service, name, body),
        "UntagResource" => groups::untag(service, name, &query),
        _ => Err(unknown_operation(request)),
    };
    let (response, error) = match result {
        Ok(body) => (json::rest_response(&context.request_id, &body), None),
        Err(error) => {
            (json::rest_error("scheduler", &context.request_id, &error), Some(error.code))
        }
    };
    let mut parameters: Value = serde_json::from_slice(body).unwrap_or_else(|_| {
        query.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
    });
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

fn not_found(what: &str, name: &str) -> AwsError {
    AwsError::new("ResourceNotFoundException", format!("{what} {name} does not exist."))
        .with_status(404)
}

fn conflict(what: &str, name: &str) -> AwsError {
    AwsError::new("ConflictException", format!("{what} {name} already exists.")).with_status(409)
}

/// Names of schedules and groups have at most 64 characters.
fn check_name(name: &str) -> Result<(), AwsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let rule = if !(1..=64).contains(&name.len()) {
        "Member must have length less than or equal to 64"
    } else if !name.chars().all(allowed) {
        "Member must satisfy regular expression pattern: ^[0-9a-zA-Z-_.]+$"
    } else {
        return Ok(());
    };
    Err(invalid(format!(
        "1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: {rule}"
    )))
}

/// An answer without the members that it doesn't have.
fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// Times in answers are seconds since the epoch.
fn seconds(at: Timestamp) -> i64 {
    at.as_second()
}
