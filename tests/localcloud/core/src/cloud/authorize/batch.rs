//! Batch's calls.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::services::arn;
use super::{Facts, entries, text};
use crate::protocol::Request;
use crate::services::iam::Ask;

/// What a call of Batch asks.
pub(super) fn of(facts: &Facts<'_>, operation: &str, request: &Request, body: &Value) -> Vec<Ask> {
    let mut asks = about(facts, operation, request, body);
    asks.extend(tagged(operation, body, &asks));
    asks.extend(passed(body));
    asks
}

/// What it is about.
fn about(facts: &Facts<'_>, operation: &str, request: &Request, body: &Value) -> Vec<Ask> {
    let action = format!("batch:{operation}");
    let named = |kind: &str, given: &str| {
        let whole = given.starts_with("arn:");
        let resource =
            if whole { given.to_owned() } else { arn(facts, "batch", &format!("{kind}/{given}")) };
        Ask::new(action.clone(), resource)
    };
    let of = |kind: &str, name: &str| text(body, name).map(|given| named(kind, given));
    let first = match operation {
        "CreateComputeEnvironment" => of("compute-environment", "computeEnvironmentName"),
        "UpdateComputeEnvironment" | "DeleteComputeEnvironment" => {
            of("compute-environment", "computeEnvironment")
        }
        "CreateJobQueue" => of("job-queue", "jobQueueName"),
        "UpdateJobQueue" | "DeleteJobQueue" | "SubmitJob" => of("job-queue", "jobQueue"),
        "RegisterJobDefinition" => of("job-definition", "jobDefinitionName"),
        "DeregisterJobDefinition" => of("job-definition", "jobDefinition"),
        "CancelJob" | "TerminateJob" => of("job", "jobId"),
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let resource = request.path.strip_prefix("/v1/tags/").unwrap_or("*");
            Some(Ask::new(action.clone(), percent_decode_str(resource).decode_utf8_lossy()))
        }
        _ => Some(Ask::new(action.clone(), "*")),
    };
    let environments = entries(body, "computeEnvironmentOrder").iter();
    let environments = environments
        .filter_map(|it| Some(named("compute-environment", text(it, "computeEnvironment")?)));
    // A job to be has no id yet.
    let submitted = (operation == "SubmitJob")
        .then(|| [of("job-definition", "jobDefinition"), Some(named("job", "*"))]);
    first.into_iter().chain(environments).chain(submitted.into_iter().flatten().flatten()).collect()
}

/// Tags at a creation are asked for on what is created: what is named first, or the job to be.
fn tagged(operation: &str, body: &Value, asks: &[Ask]) -> Option<Ask> {
    body.get("tags")
        .and_then(Value::as_object)
        .filter(|tags| !tags.is_empty() && operation != "TagResource")?;
    let made = if operation == "SubmitJob" { asks.last() } else { asks.first() };
    Some(Ask::new("batch:TagResource", made?.resource.clone()))
}

/// The roles that a call hands to Batch, or to jobs.
fn passed(body: &Value) -> Vec<Ask> {
    let service = text(body, "serviceRole").map(|role| Ask::pass(role, "batch.amazonaws.com"));
    let container = body.get("containerProperties").unwrap_or(&Value::Null);
    let of_jobs =
        ["jobRoleArn", "executionRoleArn"].into_iter().filter_map(|name| text(container, name));
    service
        .into_iter()
        .chain(of_jobs.map(|role| Ask::pass(role, "ecs-tasks.amazonaws.com")))
        .collect()
}
