//! Batch: compute environments, job queues, job definitions, jobs, and the scheduler.
//!
//! - `environments`, `queues`, `definitions`, `jobs`, `submit`, `tags`: what users call
//! - `scheduler`: from SUBMITTED to the end, by way of ECS tasks
//! - `retry`: retry strategies
//! - `logs`: what a job's container writes
//! - `view`: how it all looks in an answer

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::protocol::ids::Ids;
use crate::protocol::wire;
use crate::protocol::{AwsError, Context, Handled, Options, Request};
use crate::services::ecs::{self, Ecs};
use crate::services::iam::Iam;
use crate::services::logs::Logs;

mod container;
mod definitions;
mod environments;
mod job;
mod jobs;
mod logs;
mod queues;
mod retry;
mod scheduler;
mod submit;
mod tags;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use scheduler::{advance, next_due};

/// Batch at work: its state, and what it shares with the other services, uses of them or looks up
/// there.
pub(crate) struct Service<'a> {
    pub(crate) options: &'a Options,
    pub(crate) ids: &'a mut Ids,
    pub(crate) journal: &'a mut Journal,
    pub(crate) iam: &'a Iam,
    pub(crate) ecs: &'a mut Ecs,
    pub(crate) logs: &'a mut Logs,
    pub(crate) state: &'a mut Batch,
}

impl Service<'_> {
    /// ECS, on which Batch runs its jobs.
    fn ecs(&mut self) -> ecs::Service<'_> {
        ecs::Service {
            options: self.options,
            ids: self.ids,
            journal: self.journal,
            state: self.ecs,
        }
    }
}

/// Batch's state.
#[derive(Default)]
pub(crate) struct Batch {
    /// By name.
    environments: BTreeMap<String, environments::Environment>,
    /// By name.
    queues: BTreeMap<String, queues::Queue>,
    /// By name, in the order of their revisions.
    definitions: BTreeMap<String, Vec<definitions::Definition>>,
    /// By id.
    jobs: BTreeMap<String, job::Job>,
    /// How many jobs there have been.
    submitted: u64,
}

/// Tags.
type Tags = BTreeMap<String, String>;

/// A change that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Creating,
    Updating,
    Deleting,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// Whether a compute environment or a queue is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    /// A change is under way until then.
    Changing(Change, Timestamp),
    Valid,
    /// Why not.
    Invalid(String),
}

impl Status {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Changing(change, _) => change.as_str(),
            Self::Valid => "VALID",
            Self::Invalid(_) => "INVALID",
        }
    }

    /// When the change that is under way ends.
    fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Changing(_, due) => Some(*due),
            _ => None,
        }
    }
}

pub(crate) fn handle(service: &mut Service<'_>, context: &Context, request: &Request) -> Handled {
    let operation = operation(request);
    let parameters = match tags::parameters(request) {
        Some(parameters) => Ok(parameters),
        None => wire::json::parse::<Value>(&request.body),
    };
    let recorded = parameters.as_ref().cloned().unwrap_or_default();
    let result =
        parameters.and_then(|parameters| dispatch(service, context, &operation, parameters));
    let (response, error) = match result {
        Ok(answer) => (wire::json::rest_response(&context.request_id, &answer), None),
        Err(error) => {
            (wire::json::rest_error("batch", &context.request_id, &error), Some(error.code))
        }
    };
    Handled { operation, parameters: recorded, response, error }
}

/// The operation of a request: Batch's paths are the operation's name in lower case, but for tags.
pub(crate) fn operation(request: &Request) -> String {
    const OPERATIONS: [&str; 17] = [
        "CreateComputeEnvironment",
        "UpdateComputeEnvironment",
        "DescribeComputeEnvironments",
        "DeleteComputeEnvironment",
        "CreateJobQueue",
        "UpdateJobQueue",
        "DescribeJobQueues",
        "DeleteJobQueue",
        "RegisterJobDefinition",
        "DescribeJobDefinitions",
        "DeregisterJobDefinition",
        "SubmitJob",
        "DescribeJobs",
        "ListJobs",
        "CancelJob",
        "TerminateJob",
        "GetJobQueueSnapshot",
    ];
    let name = request.path.strip_prefix("/v1/").unwrap_or(&request.path);
    if name.starts_with("tags/") {
        return tags::operation(&request.method).to_owned();
    }
    let known = OPERATIONS.iter().find(|known| known.eq_ignore_ascii_case(name));
    known.map_or_else(|| request.path.clone(), |name| (*name).to_owned())
}

fn dispatch(
    service: &mut Service<'_>,
    context: &Context,
    operation: &str,
    p: Value,
) -> Result<Value, AwsError> {
    match operation {
        "CreateComputeEnvironment" => environments::create(service, context, read(p)?),
        "UpdateComputeEnvironment" => environments::update(service, context, read(p)?),
        "DescribeComputeEnvironments" => environments::describe(service, &read(p)?),
        "DeleteComputeEnvironment" => environments::delete(service, context, &read(p)?),
        "CreateJobQueue" => queues::create(service, context, read(p)?),
        "UpdateJobQueue" => queues::update(service, context, read(p)?),
        "DescribeJobQueues" => queues::describe(service, &read(p)?),
        "DeleteJobQueue" => queues::delete(service, context, &read(p)?),
        "RegisterJobDefinition" => definitions::register(service, context, read(p)?),
        "DescribeJobDefinitions" => definitions::describe(service, &read(p)?),
        "DeregisterJobDefinition" => definitions::deregister(service, &read(p)?),
        "SubmitJob" => submit::submit(service, context, read(p)?),
        "DescribeJobs" => jobs::describe(service, &read(p)?),
        "ListJobs" => jobs::list(service, &read(p)?),
        "CancelJob" => jobs::cancel(service, context, &read(p)?),
        "TerminateJob" => jobs::terminate(service, context, &read(p)?),
        "GetJobQueueSnapshot" => jobs::snapshot(service, &read(p)?),
        "TagResource" => tags::tag(service, read(p)?),
        "UntagResource" => tags::untag(service, &read(p)?),
        "ListTagsForResource" => tags::list(service, &read(p)?),
        _ => {
            let text = format!("the local cloud's Batch has no {operation}");
            Err(AwsError::new("UnknownOperationException", text).with_status(404))
        }
    }
}

/// An operation's parameters out of its JSON.
fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, AwsError> {
    serde_json::from_value(parameters)
        .map_err(|error| client(format!("Error executing request, Exception : {error}")))
}

/// Batch's error for whatever the caller did wrong.
fn client(message: impl Into<String>) -> AwsError {
    AwsError::new("ClientException", message)
}

/// The form in which Batch wraps most of its validation errors.
fn refused(context: &Context, text: impl std::fmt::Display) -> AwsError {
    client(format!(
        "Error executing request, Exception : {text}, RequestId: {}",
        context.request_id
    ))
}

/// Batch's rule for names: 1 to 128 letters, digits, `-` and `_`, the first a letter or digit.
fn is_name(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    starts
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The last part of an ARN, or the name itself.
fn name_of(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

/// The ARN of one of Batch's things.
fn arn(service: &Service<'_>, kind: &str, name: &str) -> String {
    format!("arn:aws:batch:{}:{}:{kind}/{name}", service.options.region, service.options.account)
}

/// ENABLED or DISABLED; left out, ENABLED.
fn enabled(context: &Context, state: Option<&str>) -> Result<bool, AwsError> {
    match state {
        None | Some("ENABLED") => Ok(true),
        Some("DISABLED") => Ok(false),
        Some(other) => {
            Err(refused(context, format_args!("state {other} is not one of [ENABLED, DISABLED]")))
        }
    }
}

/// ENABLED or DISABLED.
fn state(enabled: bool) -> Value {
    json!(if enabled { "ENABLED" } else { "DISABLED" })
}

/// Refuses to change what is being changed.
fn settled(status: &Status, what: &str) -> Result<(), AwsError> {
    match status {
        Status::Changing(..) => Err(client(format!("Cannot {what}, resource is being modified."))),
        _ => Ok(()),
    }
}
