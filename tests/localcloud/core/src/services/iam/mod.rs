//! IAM: roles, their policies, and instance profiles.
//!
//! - `roles.rs`, `policies.rs`, `profiles.rs`: the operations
//! - `document.rs`: AWS's checks on policy documents
//! - `ask.rs`: what IAM is asked before a call; `evaluate.rs`: whether policies allow it
//!
//! Policies are enforced on instances and schedules, which call with a role's credentials. An
//! instance whose role has a policy of AWS's own that `managed.rs` doesn't know may do everything;
//! so may users, unless they are held to something ([`Iam::hold_users_to`]).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::protocol::ids::Ids;
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context, Handled, Options, Request};

mod ask;
mod document;
mod evaluate;
mod managed;
mod policies;
mod profiles;
mod roles;
mod simulate;
#[cfg(test)]
mod tests;

pub(crate) use ask::{Ask, denied};
pub(crate) use evaluate::{allow, policies_of, role_allows, service_may_assume};
pub(crate) use profiles::{UsableProfile, usable_profile};

/// When the example account's roles were made: long enough ago to be usable.
const LONG_AGO: Timestamp = Timestamp::constant(1_526_029_200, 0);

/// IAM's state.
#[derive(Default)]
pub(crate) struct Iam {
    roles: Vec<roles::Role>,
    profiles: Vec<profiles::Profile>,
    /// All that users may do; nothing where they may do everything.
    held_to: Option<Vec<Value>>,
}

/// IAM at work: its state, and what it shares with the other services.
pub(crate) struct Service<'a> {
    pub(crate) options: &'a Options,
    pub(crate) ids: &'a mut Ids,
    pub(crate) state: &'a mut Iam,
}

impl Iam {
    /// From now on users may do what these policy documents allow, and nothing else.
    pub(crate) fn hold_users_to(&mut self, policies: Vec<Value>) {
        self.held_to = Some(policies);
    }

    /// All that users may do; nothing where they may do everything.
    pub(crate) fn users_are_held_to(&self) -> Option<&[Value]> {
        self.held_to.as_deref()
    }

    pub(crate) fn with_example_account(options: &Options) -> Self {
        let account = options.account.as_str();
        let role = |name: &str, id: &str, service: &str, policy: &str| {
            let mut role = roles::Role::trusted_by(account, name, id, service, LONG_AGO);
            role.attached.push(format!("arn:aws:iam::aws:policy/service-role/{policy}"));
            role
        };
        let mut of_instances = role(
            "ecsInstanceRole",
            "AROA4ECSINSTANCE00001",
            "ec2.amazonaws.com",
            "AmazonEC2ContainerServiceforEC2Role",
        );
        of_instances
            .inline
            .insert("spotblock-agent".to_owned(), for_the_agent().to_string().into());
        Self {
            roles: vec![
                role(
                    "BatchServiceRole",
                    "AROA4BATCHSERVICE0001",
                    "batch.amazonaws.com",
                    "AWSBatchServiceRole",
                ),
                of_instances,
            ],
            profiles: vec![profiles::Profile::of_role(
                account,
                "ecsInstanceRole",
                "AIPA4ECSINSTANCE00001",
                LONG_AGO,
            )],
            held_to: None,
        }
    }
}

/// What the example account's role for instances has beside AWS's own policy, for
/// `spotblock-agent`.
fn for_the_agent() -> Value {
    let actions = [
        "ecs:DescribeContainerInstances",
        "ecs:DescribeTasks",
        "ecs:ListContainerInstances",
        "ecs:ListTasks",
        "ecs:PutAttributes",
        "ecs:StopTask",
    ];
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    })
}

pub(crate) fn handle(iam: &mut Service<'_>, context: &Context, request: &Request) -> Handled {
    query::handle("iam", context, request, |action, parameters| {
        operation(iam, context, action, &mut Parameters(parameters))
    })
}

type Operation = fn(&mut Service<'_>, &Context, &mut Parameters) -> Result<Value, AwsError>;

fn operation(
    iam: &mut Service<'_>,
    context: &Context,
    action: &str,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let run: Operation = match action {
        "GetRole" => roles::get,
        "CreateRole" => roles::create,
        "CreateServiceLinkedRole" => roles::create_service_linked,
        "DeleteRole" => roles::delete,
        "TagRole" => roles::tag,
        "UpdateAssumeRolePolicy" => roles::update_trust,
        "PutRolePolicy" => policies::put,
        "GetRolePolicy" => policies::get,
        "ListRolePolicies" => policies::list,
        "DeleteRolePolicy" => policies::delete,
        "AttachRolePolicy" => policies::attach,
        "DetachRolePolicy" => policies::detach,
        "ListAttachedRolePolicies" => policies::list_attached,
        "CreateInstanceProfile" => profiles::create,
        "GetInstanceProfile" => profiles::get,
        "DeleteInstanceProfile" => profiles::delete,
        "AddRoleToInstanceProfile" => profiles::add_role,
        "RemoveRoleFromInstanceProfile" => profiles::remove_role,
        "ListInstanceProfilesForRole" => profiles::list_for_role,
        "SimulatePrincipalPolicy" => simulate::principal,
        _ => {
            let message = format!("Could not find operation {action} for version 2010-05-08");
            return Err(AwsError::new("InvalidAction", message));
        }
    };
    run(iam, context, parameters)
}

/// The ARNs of the profile of this name or ARN, and of its role.
pub(crate) fn profile_of(iam: &Iam, wanted: &str) -> Option<(String, Option<String>)> {
    let profile = profiles::named(iam, wanted)?;
    let role = profile.role.as_deref().and_then(|name| roles::find(iam, name).ok());
    Some((profile.arn.clone(), role.map(|role| role.arn.clone())))
}

/// The ARN of the role of this name.
pub(crate) fn role_arn(iam: &Iam, name: &str) -> Option<String> {
    roles::find(iam, name).ok().map(|role| role.arn.clone())
}

/// Whether a role of this ARN exists.
pub(crate) fn role_exists(iam: &Iam, arn: &str) -> bool {
    iam.roles.iter().any(|role| role.arn == arn)
}

/// An operation's parameters.
struct Parameters(Value);

impl Parameters {
    fn optional(&mut self, name: &str) -> Result<Option<String>, AwsError> {
        query::take(&mut self.0, name).map(query::parse).transpose()
    }

    fn required(&mut self, name: &str) -> Result<String, AwsError> {
        self.optional(name)?.ok_or_else(|| invalid(name, "null", "Member must not be null"))
    }

    /// A name in the characters that IAM allows, of at most `longest`.
    fn name(&mut self, name: &str, longest: usize) -> Result<String, AwsError> {
        let value = self.required(name)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if value.is_empty() || !value.chars().all(allowed) {
            return Err(invalid(
                name,
                &value,
                "The specified value contains invalid characters. It must contain only \
                 alphanumeric characters and/or the following: +=,.@_-",
            ));
        }
        if value.len() > longest {
            let rule = format!("Member must have length less than or equal to {longest}");
            return Err(invalid(name, &value, &rule));
        }
        Ok(value)
    }

    fn role_name(&mut self) -> Result<String, AwsError> {
        self.name("RoleName", 64)
    }

    /// Cuts a list at MaxItems, and says where it goes on.
    fn page(&mut self, name: &str, items: Vec<Value>) -> Result<Value, AwsError> {
        let start = self.optional("Marker")?.map_or(Ok(0), |marker| {
            marker.parse::<usize>().map_err(|_| invalid("Marker", &marker, "Invalid Marker"))
        })?;
        let size =
            self.optional("MaxItems")?.map_or(Ok(100), |text| match text.parse::<usize>() {
                Ok(size @ 1..=1000) => Ok(size),
                _ => Err(invalid("MaxItems", &text, "Member must have value between 1 and 1000")),
            })?;
        let more = items.len() > start + size;
        let page: Vec<Value> = items.into_iter().skip(start).take(size).collect();
        Ok(
            json!({ name: page, "IsTruncated": more, "Marker": more.then(|| (start + size).to_string()) }),
        )
    }
}

/// IAM's error for a parameter that breaks a rule; it writes the name with a small first letter.
fn invalid(name: &str, value: &str, rule: &str) -> AwsError {
    let shown = if value == "null" { value.to_owned() } else { format!("'{value}'") };
    let name = name[..1].to_ascii_lowercase() + &name[1..];
    let message = format!(
        "1 validation error detected: Value {shown} at '{name}' failed to satisfy constraint: \
         {rule}"
    );
    AwsError::new("ValidationError", message)
}

fn no_such_entity(message: String) -> AwsError {
    AwsError::new("NoSuchEntity", message).with_status(404)
}

fn already_exists(message: String) -> AwsError {
    AwsError::new("EntityAlreadyExists", message).with_status(409)
}

fn delete_conflict(message: &str) -> AwsError {
    AwsError::new("DeleteConflict", message).with_status(409)
}

fn limit_exceeded(message: impl Into<String>) -> AwsError {
    AwsError::new("LimitExceeded", message).with_status(409)
}

/// A time as IAM's answers write it.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An id such as AROA and 17 letters and digits.
fn new_id(iam: &mut Service<'_>, prefix: &str) -> String {
    format!("{prefix}{}", iam.ids.hex(17).to_uppercase())
}

/// How long what is new can't be used elsewhere.
fn settling(options: &Options) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(options.pace.profile_ms).unwrap_or(i64::MAX))
}
