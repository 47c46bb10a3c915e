//! What IAM is asked before a call: which actions, on which resources, with which condition keys.
//!
//! By the service authorization reference of each service `[V]`, as far as this project's calls and
//! policies go. What an operation brings with it counts as well: tags that it sets, roles that it
//! passes on, launches that it makes.
//!
//! - `ec2_calls.rs`, `launches.rs`: EC2, and what is launched; `batch.rs`: Batch; `services.rs`:
//!   the others

use serde_json::Value;

use crate::protocol::wire::query::Query;
use crate::protocol::{AwsError, Caller, Options, Request};
use crate::services::ec2::Ec2;
use crate::services::iam::{self, Ask, Iam};

mod batch;
mod ec2_calls;
mod launches;
mod services;

/// What the answer to a question of authorization depends on.
pub(super) struct Facts<'a> {
    pub(super) options: &'a Options,
    pub(super) iam: &'a Iam,
    pub(super) ec2: &'a Ec2,
}

/// What speaks against a call: the policies that users were held to, or those of an instance's
/// role.
pub(super) fn refusal(
    facts: &Facts<'_>,
    caller: &Caller,
    service: &str,
    operation: &str,
    request: &Request,
) -> Option<AwsError> {
    let (who, policies) = held_to(facts, caller)?;
    let asks = of(facts, service, operation, request);
    asks.iter().find_map(|ask| {
        let denial = iam::allow(&policies, ask).err()?;
        Some(iam::denied(service, &who, ask, denial))
    })
}

/// Who the caller is, and all that it is allowed; nothing for one that isn't held to anything.
fn held_to<'a>(facts: &'a Facts<'a>, caller: &Caller) -> Option<(String, Vec<&'a Value>)> {
    let account = &facts.options.account;
    match caller {
        Caller::User => {
            let policies = facts.iam.users_are_held_to()?;
            Some((format!("arn:aws:iam::{account}:user/example"), policies.iter().collect()))
        }
        Caller::Instance(instance) => {
            let role = facts.ec2.instance(instance)?.profile()?.role.as_deref()?;
            let policies = iam::policies_of(facts.iam, role)?;
            Some((format!("arn:aws:sts::{account}:assumed-role/{role}/{instance}"), policies))
        }
        Caller::Anonymous | Caller::Scheduler => None,
    }
}

fn of(facts: &Facts<'_>, service: &str, operation: &str, request: &Request) -> Vec<Ask> {
    let form = || Query::read(request).map(|query| query.parameters).unwrap_or_default();
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    match service {
        "ec2" => ec2_calls::of(facts, operation, &form()),
        "iam" => services::iam(facts, operation, &form()),
        "ecs" => services::ecs(facts, operation, &body()),
        "batch" => batch::of(facts, operation, request, &body()),
        "scheduler" => services::scheduler(facts, operation, request, &body()),
        "ssm" => services::ssm(facts, operation, &body()),
        "logs" => services::logs(facts, operation, &body()),
        "s3" => services::s3(request),
        // Who somebody is can always be asked.
        "sts" => Vec::new(),
        _ => vec![Ask::new(format!("{service}:{operation}"), "*")],
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
