//! A role's policies: inline ones, and attached ones that AWS manages.

use serde_json::{Value, json};

use super::{Parameters, Service, document, limit_exceeded, no_such_entity, roles};
use crate::protocol::{AwsError, Context};

/// The policies of AWS that can be attached here, below `arn:aws:iam::aws:policy/`.
const MANAGED: [&str; 8] = [
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "service-role/AWSBatchServiceRole",
    "service-role/AmazonECSTaskExecutionRolePolicy",
    "AmazonSSMManagedInstanceCore",
    "CloudWatchAgentServerPolicy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonS3ReadOnlyAccess",
    "CloudWatchLogsFullAccess",
];

const AWS_POLICY: &str = "arn:aws:iam::aws:policy/";

/// How many policies can be attached to a role.
const MAX_ATTACHED: usize = 10;

fn policy_name(parameters: &mut Parameters) -> Result<String, AwsError> {
    parameters.name("PolicyName", 128)
}

fn inline_not_found(name: &str) -> AwsError {
    no_such_entity(format!("The role policy with name {name} cannot be found."))
}

/// PutRolePolicy.
pub(super) fn put(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (role, name) = (parameters.role_name()?, policy_name(parameters)?);
    let document = parameters.required("PolicyDocument")?;
    let role = roles::find_mut(iam.state, &role)?;
    document::check_policy(&document)?;
    let others: usize =
        role.inline.iter().filter(|(other, _)| **other != name).map(|(_, it)| it.text.len()).sum();
    if others + document.len() > document::MAX_INLINE {
        let message = format!(
            "Maximum policy size of {} bytes exceeded for role {}",
            document::MAX_INLINE,
            role.name
        );
        return Err(limit_exceeded(message));
    }
    role.inline.insert(name, document.into());
    Ok(Value::Null)
}

/// GetRolePolicy.
pub(super) fn get(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (role, name) = (parameters.role_name()?, policy_name(parameters)?);
    let role = roles::find(iam.state, &role)?;
    let document = role.inline.get(&name).ok_or_else(|| inline_not_found(&name))?;
    Ok(
        json!({ "RoleName": role.name, "PolicyName": name, "PolicyDocument": document::encoded(&document.text) }),
    )
}

/// ListRolePolicies.
pub(super) fn list(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let role = roles::find(iam.state, &parameters.role_name()?)?;
    let names = role.inline.keys().map(|name| json!(name)).collect();
    parameters.page("PolicyNames", names)
}

/// DeleteRolePolicy.
pub(super) fn delete(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (role, name) = (parameters.role_name()?, policy_name(parameters)?);
    let removed = roles::find_mut(iam.state, &role)?.inline.remove(&name);
    removed.map(|_| Value::Null).ok_or_else(|| inline_not_found(&name))
}

/// AttachRolePolicy. Attaching twice is no error.
pub(super) fn attach(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (role, arn) = (parameters.role_name()?, parameters.required("PolicyArn")?);
    let role = roles::find_mut(iam.state, &role)?;
    if !arn.strip_prefix(AWS_POLICY).is_some_and(|name| MANAGED.contains(&name)) {
        return Err(no_such_entity(format!("Policy {arn} does not exist or is not attachable.")));
    }
    if !role.attached.contains(&arn) {
        if role.attached.len() == MAX_ATTACHED {
            return Err(limit_exceeded(format!(
                "Cannot exceed quota for PoliciesPerRole: {MAX_ATTACHED}"
            )));
        }
        role.attached.push(arn);
    }
    Ok(Value::Null)
}

/// DetachRolePolicy.
pub(super) fn detach(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (role, arn) = (parameters.role_name()?, parameters.required("PolicyArn")?);
    let role = roles::find_mut(iam.state, &role)?;
    let Some(at) = role.attached.iter().position(|attached| *attached == arn) else {
        return Err(no_such_entity(format!("Policy {arn} was not found.")));
    };
    role.attached.remove(at);
    Ok(Value::Null)
}

/// ListAttachedRolePolicies.
pub(super) fn list_attached(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let role = roles::find(iam.state, &parameters.role_name()?)?;
    let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    let policies = role
        .attached
        .iter()
        .map(|arn| json!({ "PolicyName": name(arn), "PolicyArn": arn }))
        .collect();
    parameters.page("AttachedPolicies", policies)
}
