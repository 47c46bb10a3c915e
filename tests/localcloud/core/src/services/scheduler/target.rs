//! The calls that a schedule can make: universal targets, and of those the ones that end a block's
//! instances.

use serde_json::{Map, Value};

use super::body::Target;
use super::{Service, invalid};
use crate::protocol::{AwsError, Request, request};
use crate::services::iam;

/// What the universal targets' ARNs begin with; service and operation follow.
const UNIVERSAL: &str = "arn:aws:scheduler:::aws-sdk:";

/// An operation that a schedule can call.
struct Operation {
    /// As ARNs write it.
    target: &'static str,
    /// AWS's name of it.
    name: &'static str,
    /// The input's list of ids, and what its entries are called in a form.
    ids: (&'static str, &'static str),
    /// Truth values that it takes besides.
    flags: &'static [&'static str],
    /// The flags that it can't do without.
    required: &'static [&'static str],
    /// What ARNs call the things that it is made on.
    kind: &'static str,
}

const OPERATIONS: [Operation; 2] = [
    Operation {
        target: "ec2:terminateInstances",
        name: "TerminateInstances",
        ids: ("InstanceIds", "InstanceId"),
        flags: &["DryRun", "Force", "SkipOsShutdown"],
        required: &[],
        kind: "instance",
    },
    Operation {
        target: "ec2:deleteFleets",
        name: "DeleteFleets",
        ids: ("FleetIds", "FleetId"),
        flags: &["DryRun", "TerminateInstances"],
        required: &["TerminateInstances"],
        kind: "fleet",
    },
];

/// A call that is ready to be made, and what IAM says against the role's making it.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) refusal: Option<AwsError>,
}

/// Holds the input of a target against the operation that it is for. AWS does the same, and begins
/// its message like this; the rest of the wording is ours [A]. A target that isn't known here is
/// taken as it is.
pub(super) fn check(target: &Target) -> Result<(), AwsError> {
    let Some(operation) = operation(target) else { return Ok(()) };
    input(operation, target)
        .map(|_| ())
        .map_err(|why| invalid(format!("Invalid RequestJson provided. Reason: {why}")))
}

fn operation(target: &Target) -> Option<&'static Operation> {
    let name = target.arn.strip_prefix(UNIVERSAL)?;
    OPERATIONS.iter().find(|operation| operation.target == name)
}

/// The ids and the flags in a target's input.
fn input(
    operation: &Operation,
    target: &Target,
) -> Result<(Vec<String>, Map<String, Value>), String> {
    let text = target.input.as_deref().unwrap_or("{}");
    let mut fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let list = operation.ids.0;
    let ids = fields.shift_remove(list).ok_or_else(|| format!("The field '{list}' is required"))?;
    let ids: Vec<String> = serde_json::from_value(ids)
        .map_err(|_| format!("The field '{list}' must be a list of strings"))?;
    if let Some((name, _)) = fields
        .iter()
        .find(|(name, value)| !(operation.flags.contains(&name.as_str()) && value.is_boolean()))
    {
        return Err(format!("The field '{name}' is not supported, or is not a boolean"));
    }
    match operation.required.iter().find(|name| !fields.contains_key(**name)) {
        Some(missing) => Err(format!("The field '{missing}' is required")),
        None => Ok((ids, fields)),
    }
}

/// The call that a target stands for, or why the local cloud can't make it.
pub(super) fn call(service: &Service<'_>, target: &Target) -> Result<Call, String> {
    let operation =
        operation(target).ok_or_else(|| format!("the local cloud does not call {}", target.arn))?;
    let (ids, flags) = input(operation, target)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", operation.name).append_pair("Version", "2016-11-15");
    for (number, id) in ids.iter().enumerate() {
        form.append_pair(&format!("{}.{}", operation.ids.1, number + 1), id);
    }
    for (name, value) in &flags {
        form.append_pair(name, &value.to_string());
    }
    let request =
        request::from_scheduler("ec2", &service.options.region, form.finish().into_bytes());
    Ok(Call { request, refusal: refusal(service, operation, &ids, &target.role_arn) })
}

/// What IAM says against the role's making this call: EC2 asks for each thing that it is made on.
/// What doesn't exist is left to the operation, which says so [A].
fn refusal(
    service: &Service<'_>,
    operation: &Operation,
    ids: &[String],
    role: &str,
) -> Option<AwsError> {
    let (region, account) = (&service.options.region, &service.options.account);
    ids.iter().filter(|id| service.ec2.kind_of(id).is_some()).find_map(|id| {
        let resource = format!("arn:aws:ec2:{region}:{account}:{}/{id}", operation.kind);
        let tags = service.ec2.tags_of(id).into_iter();
        let mut keys: Vec<(String, String)> = tags
            .flat_map(|(key, value)| {
                ["aws", "ec2"].map(|of| (format!("{of}:ResourceTag/{key}"), value.clone()))
            })
            .collect();
        keys.extend(
            ["aws:RequestedRegion", "ec2:Region"].map(|key| (key.to_owned(), region.clone())),
        );
        let ask = iam::Ask { action: format!("ec2:{}", operation.name), resource, keys };
        let denial = iam::role_allows(service.iam, role, &ask).err()?;
        Some(iam::denied("ec2", role, &ask, denial))
    })
}
