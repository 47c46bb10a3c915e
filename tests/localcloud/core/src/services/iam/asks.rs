//! What IAM is asked before a call: which actions, on which resources, with which condition keys.
//!
//! By the service authorization reference of each service `[V]`, as far as this project's calls and policies go. What an
//! operation brings with it counts as well: tags that it sets, roles that it passes on, launches that it makes.
//!
//! - `ec2_calls.rs`, `launches.rs`: EC2, and what is launched; `batch.rs`: Batch; `services.rs`: the others

use serde_json::Value;

use super::evaluate::{self, Denial};
use crate::cloud::Cloud;
use crate::protocol::wire::query::Query;
use crate::protocol::{AwsError, Caller, Request};
use crate::services::ec2;

mod batch;
mod ec2_calls;
mod launches;
mod services;

/// Something that IAM is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Such as `ec2:TerminateInstances`.
    pub(crate) action: String,
    /// The ARN of what it is done to; `*` where an action isn't about anything.
    pub(crate) resource: String,
    /// What conditions are held against: keys such as `aws:ResourceTag/Name`, and their values.
    pub(crate) keys: Vec<(String, String)>,
}

impl Ask {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), keys: Vec::new() }
    }

    fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.keys.push((key.into(), value.into()));
        self
    }

    fn tagged(mut self, which: &str, tags: &[(String, String)]) -> Self {
        self.keys.extend(tags.iter().map(|(key, value)| (format!("{which}/{key}"), value.clone())));
        self
    }

    /// The right to hand this role to a service, which AWS asks for beside the call.
    fn pass(role: impl Into<String>, service: &str) -> Self {
        Self::new("iam:PassRole", role).with("iam:PassedToService", service)
    }
}

/// What speaks against a call: the policies that users were held to, or those of an instance's role.
pub(crate) fn refusal(
    cloud: &Cloud,
    caller: &Caller,
    service: &str,
    operation: &str,
    request: &Request,
) -> Option<AwsError> {
    let (who, policies) = held_to(cloud, caller)?;
    let asks = of(cloud, service, operation, request);
    asks.iter().find_map(|ask| {
        let denial = evaluate::allow(&policies, ask).err()?;
        Some(denied(service, &who, ask, denial))
    })
}

/// Who the caller is, and all that it is allowed; nothing for one that isn't held to anything.
fn held_to<'a>(cloud: &'a Cloud, caller: &Caller) -> Option<(String, Vec<&'a Value>)> {
    let account = &cloud.options.account;
    match caller {
        Caller::User => {
            let policies = cloud.iam.held_to.as_ref()?;
            Some((format!("arn:aws:iam::{account}:user/example"), policies.iter().collect()))
        }
        Caller::Instance(instance) => {
            let role = ec2::instance(cloud, instance)?.profile()?.role.as_deref()?;
            let policies = evaluate::policies_of(cloud, role)?;
            Some((format!("arn:aws:sts::{account}:assumed-role/{role}/{instance}"), policies))
        }
        Caller::Anonymous | Caller::Scheduler => None,
    }
}

fn of(cloud: &Cloud, service: &str, operation: &str, request: &Request) -> Vec<Ask> {
    let form = || Query::read(request).map(|query| query.parameters).unwrap_or_default();
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    match service {
        "ec2" => ec2_calls::of(cloud, operation, &form()),
        "iam" => services::iam(cloud, operation, &form()),
        "ecs" => services::ecs(cloud, operation, &body()),
        "batch" => batch::of(cloud, operation, request, &body()),
        "scheduler" => services::scheduler(cloud, operation, request, &body()),
        "ssm" => services::ssm(cloud, operation, &body()),
        "logs" => services::logs(cloud, operation, &body()),
        "s3" => services::s3(request),
        // Who somebody is can always be asked.
        "sts" => Vec::new(),
        _ => vec![Ask::new(format!("{service}:{operation}"), "*")],
    }
}

/// The refusal in the service's own words.
pub(crate) fn denied(service: &str, who: &str, ask: &Ask, denial: Denial) -> AwsError {
    let Ask { action, resource, .. } = ask;
    let message = format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource} {}",
        denial.because(action)
    );
    match service {
        "ec2" => {
            let message = format!("You are not authorized to perform this operation. {message}");
            AwsError::new("UnauthorizedOperation", message).with_status(403)
        }
        "iam" | "s3" => AwsError::new("AccessDenied", message).with_status(403),
        "batch" | "scheduler" => AwsError::new("AccessDeniedException", message).with_status(403),
        _ => AwsError::new("AccessDeniedException", message),
    }
}

/// A parameter's text.
fn text<'a>(parameters: &'a Value, name: &str) -> Option<&'a str> {
    parameters.get(name)?.as_str()
}

/// A parameter's texts, be it a list or one.
fn texts<'a>(parameters: &'a Value, name: &str) -> Vec<&'a str> {
    match parameters.get(name) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect(),
        None => Vec::new(),
    }
}

/// A parameter's entries.
fn entries<'a>(parameters: &'a Value, name: &str) -> &'a [Value] {
    parameters.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
