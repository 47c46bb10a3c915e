//! The calls that a schedule can make: universal targets, and of those the ones that end a block's instances.

use serde_json::{Map, Value};

use super::body::Target;
use super::invalid;
use crate::cloud::Cloud;
use crate::protocol::{AwsError, Request, request};
use crate::services::{ec2, iam};

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

/// A call that is ready to be made.
pub(super) struct Call {
    pub(super) request: Request,
    /// Such as `ec2:TerminateInstances`.
    action: String,
    kind: &'static str,
    ids: Vec<String>,
}

/// Holds the input of a target against the operation that it is for. AWS does the same, and begins its message like
/// this; the rest of the wording is ours [A]. A target that isn't known here is taken as it is.
pub(super) fn check(target: &Target) -> Result<(), AwsError> {
    let Some(operation) = operation(target) else { return Ok(()) };
    input(operation, target).map(|_| ()).map_err(|why| invalid(format!("Invalid RequestJson provided. Reason: {why}")))
}

fn operation(target: &Target) -> Option<&'static Operation> {
    let name = target.arn.strip_prefix(UNIVERSAL)?;
    OPERATIONS.iter().find(|operation| operation.target == name)
}

/// The ids and the flags in a target's input.
fn input(operation: &Operation, target: &Target) -> Result<(Vec<String>, Map<String, Value>), String> {
    let text = target.input.as_deref().unwrap_or("{}");
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let list = operation.ids.0;
    let ids = fields.shift_remove(list).ok_or_else(|| format!("The field '{list}' is required"))?;
    let ids: Vec<String> =
        serde_json::from_value(ids).map_err(|_| format!("The field '{list}' must be a list of strings"))?;
    if let Some((name, _)) =
        fields.iter().find(|(name, value)| !(operation.flags.contains(&name.as_str()) && value.is_boolean()))
    {
        return Err(format!("The field '{name}' is not supported, or is not a boolean"));
    }
    match operation.required.iter().find(|name| !fields.contains_key(**name)) {
        Some(missing) => Err(format!("The field '{missing}' is required")),
        None => Ok((ids, fields)),
    }
}

/// The call that a target stands for, or why the local cloud can't make it.
pub(super) fn call(cloud: &Cloud, target: &Target) -> Result<Call, String> {
    let operation = operation(target).ok_or_else(|| format!("the local cloud does not call {}", target.arn))?;
    let (ids, flags) = input(operation, target)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", operation.name).append_pair("Version", "2016-11-15");
    for (number, id) in ids.iter().enumerate() {
        form.append_pair(&format!("{}.{}", operation.ids.1, number + 1), id);
    }
    for (name, value) in &flags {
        form.append_pair(name, &value.to_string());
    }
    let request = request::from_scheduler("ec2", &cloud.options.region, form.finish().into_bytes());
    Ok(Call { request, action: format!("ec2:{}", operation.name), kind: operation.kind, ids })
}

impl Call {
    /// What IAM says against the role's making this call: EC2 asks for each thing that it is made on. What doesn't
    /// exist is left to the operation, which says so [A].
    pub(super) fn refusal(&self, cloud: &Cloud, role: &str) -> Option<AwsError> {
        let (region, account) = (&cloud.options.region, &cloud.options.account);
        self.ids.iter().filter(|id| ec2::exists(cloud, id)).find_map(|id| {
            let resource = format!("arn:aws:ec2:{region}:{account}:{}/{id}", self.kind);
            let tags = ec2::tags_of(cloud, id).into_iter();
            let mut keys: Vec<(String, String)> = tags
                .flat_map(|(key, value)| ["aws", "ec2"].map(|of| (format!("{of}:ResourceTag/{key}"), value.clone())))
                .collect();
            keys.extend(["aws:RequestedRegion", "ec2:Region"].map(|key| (key.to_owned(), region.clone())));
            let ask = iam::Ask { action: self.action.clone(), resource, keys };
            let denial = iam::role_allows(cloud, role, &ask).err()?;
            Some(iam::denied("ec2", role, &ask, denial))
        })
    }
}
