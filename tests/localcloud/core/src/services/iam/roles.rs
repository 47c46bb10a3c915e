//! Roles.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::Document;
use super::{
    Iam, Parameters, Service, already_exists, delete_conflict, document, limit_exceeded, new_id,
    no_such_entity, time,
};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// How many tags a role can have.
const MAX_TAGS: usize = 50;

/// A role.
pub(super) struct Role {
    pub(super) name: String,
    pub(super) arn: String,
    id: String,
    path: String,
    pub(super) created: Timestamp,
    pub(super) trust: String,
    description: Option<String>,
    max_session: u32,
    tags: BTreeMap<String, String>,
    /// Inline policies by their names.
    pub(super) inline: BTreeMap<String, Document>,
    /// ARNs of attached policies.
    pub(super) attached: Vec<String>,
}

impl Role {
    /// A role that an AWS service may take.
    pub(super) fn trusted_by(
        account: &str,
        name: &str,
        id: &str,
        service: &str,
        created: Timestamp,
    ) -> Self {
        let statement = json!({ "Effect": "Allow", "Principal": { "Service": service }, "Action": "sts:AssumeRole" });
        Self {
            name: name.to_owned(),
            arn: format!("arn:aws:iam::{account}:role/{name}"),
            id: id.to_owned(),
            path: "/".to_owned(),
            created,
            trust: json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string(),
            description: None,
            max_session: 3600,
            tags: BTreeMap::new(),
            inline: BTreeMap::new(),
            attached: Vec::new(),
        }
    }

    /// As answers give it; lists of roles leave description and tags out.
    pub(super) fn answer(&self) -> Value {
        json!({
            "Path": self.path,
            "RoleName": self.name,
            "RoleId": self.id,
            "Arn": self.arn,
            "CreateDate": time(self.created),
            "AssumeRolePolicyDocument": document::encoded(&self.trust),
        })
    }

    fn whole_answer(&self) -> Value {
        let mut answer = self.answer();
        let tags: Vec<Value> =
            self.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        answer["Description"] = json!(self.description);
        answer["MaxSessionDuration"] = json!(self.max_session);
        if !tags.is_empty() {
            answer["Tags"] = Value::Array(tags);
        }
        answer
    }
}

fn not_found(name: &str) -> AwsError {
    no_such_entity(format!("The role with name {name} cannot be found."))
}

pub(super) fn find<'a>(iam: &'a Iam, name: &str) -> Result<&'a Role, AwsError> {
    iam.roles.iter().find(|role| role.name == name).ok_or_else(|| not_found(name))
}

pub(super) fn find_mut<'a>(iam: &'a mut Iam, name: &str) -> Result<&'a mut Role, AwsError> {
    iam.roles.iter_mut().find(|role| role.name == name).ok_or_else(|| not_found(name))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// Reads `Tags` and adds them to those there are.
pub(super) fn merge_tags(
    parameters: &mut Parameters,
    tags: &mut BTreeMap<String, String>,
) -> Result<(), AwsError> {
    let added: Vec<Tag> =
        query::take(&mut parameters.0, "Tags").map_or_else(|| Ok(Vec::new()), query::parse)?;
    for Tag { key, value } in added {
        if key.to_lowercase().starts_with("aws:") {
            let message = "Caller is not an internal principal, and is not allowed to use aws: \
                           reserved keys.";
            return Err(AwsError::new("InvalidInput", message));
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(super::invalid(
                "Tags",
                &key,
                "Member must have a key of 1 to 128, a value of up to 256 characters",
            ));
        }
        tags.insert(key, value);
    }
    if tags.len() > MAX_TAGS {
        return Err(limit_exceeded(format!(
            "The number of tags has reached the maximum limit of {MAX_TAGS}."
        )));
    }
    Ok(())
}

/// GetRole.
pub(super) fn get(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let role = find(iam.state, &parameters.role_name()?)?;
    Ok(json!({ "Role": role.whole_answer() }))
}

/// CreateRole.
pub(super) fn create(
    iam: &mut Service<'_>,
    context: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = parameters.role_name()?;
    let trust = parameters.required("AssumeRolePolicyDocument")?;
    let path = path(parameters)?;
    let max_session = match parameters.optional("MaxSessionDuration")? {
        None => 3600,
        Some(text) => {
            text.parse().ok().filter(|secs| (3600..=43_200).contains(secs)).ok_or_else(|| {
                super::invalid(
                    "MaxSessionDuration",
                    &text,
                    "Member must have value between 3600 and 43200",
                )
            })?
        }
    };
    let mut tags = BTreeMap::new();
    merge_tags(parameters, &mut tags)?;
    document::check_trust(&trust)?;
    if iam.state.roles.iter().any(|role| role.name == name) {
        return Err(already_exists(format!("Role with name {name} already exists.")));
    }
    let role = Role {
        arn: format!("arn:aws:iam::{}:role{path}{name}", iam.options.account),
        id: new_id(iam, "AROA"),
        name,
        path,
        created: context.now,
        trust,
        description: parameters.optional("Description")?,
        max_session,
        tags,
        inline: BTreeMap::new(),
        attached: Vec::new(),
    };
    let answer = json!({ "Role": role.whole_answer() });
    iam.state.roles.push(role);
    Ok(answer)
}

/// A path that begins and ends with a slash.
pub(super) fn path(parameters: &mut Parameters) -> Result<String, AwsError> {
    let path = parameters.optional("Path")?.unwrap_or_else(|| "/".to_owned());
    if path.starts_with('/') && path.ends_with('/') {
        return Ok(path);
    }
    Err(super::invalid(
        "Path",
        &path,
        "It must begin and end with / and contain only alphanumeric characters and/or / \
         characters.",
    ))
}

/// What AWS calls the role that it links to a service.
fn service_linked_name(service: &str) -> Option<&'static str> {
    match service {
        "spot.amazonaws.com" => Some("AWSServiceRoleForEC2Spot"),
        "spotfleet.amazonaws.com" => Some("AWSServiceRoleForEC2SpotFleet"),
        "batch.amazonaws.com" => Some("AWSServiceRoleForBatch"),
        "ecs.amazonaws.com" => Some("AWSServiceRoleForECS"),
        _ => None,
    }
}

/// CreateServiceLinkedRole.
pub(super) fn create_service_linked(
    iam: &mut Service<'_>,
    context: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let service = parameters.required("AWSServiceName")?;
    let Some(name) = service_linked_name(&service) else {
        return Err(AwsError::new("InvalidInput", format!("Invalid service name: {service}")));
    };
    if iam.state.roles.iter().any(|role| role.name == name) {
        let message = format!(
            "Service role name {name} has been taken in this account, please try a different \
             suffix."
        );
        return Err(AwsError::new("InvalidInput", message));
    }
    let id = new_id(iam, "AROA");
    let mut role = Role::trusted_by(&iam.options.account, name, &id, &service, context.now);
    role.path = format!("/aws-service-role/{service}/");
    role.arn = format!("arn:aws:iam::{}:role{}{name}", iam.options.account, role.path);
    role.description = parameters.optional("Description")?;
    let answer = json!({ "Role": role.answer() });
    iam.state.roles.push(role);
    Ok(answer)
}

/// DeleteRole: everything that hangs on it has to go first.
pub(super) fn delete(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = parameters.role_name()?;
    let role = find(iam.state, &name)?;
    if iam.state.profiles.iter().any(|profile| profile.role.as_ref() == Some(&name)) {
        return Err(delete_conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    if !role.attached.is_empty() {
        return Err(delete_conflict("Cannot delete entity, must detach all policies first."));
    }
    if !role.inline.is_empty() {
        return Err(delete_conflict("Cannot delete entity, must delete policies first."));
    }
    iam.state.roles.retain(|role| role.name != name);
    Ok(Value::Null)
}

/// TagRole.
pub(super) fn tag(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let role = find_mut(iam.state, &parameters.role_name()?)?;
    let mut tags = role.tags.clone();
    merge_tags(parameters, &mut tags)?;
    role.tags = tags;
    Ok(Value::Null)
}

/// UpdateAssumeRolePolicy.
pub(super) fn update_trust(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = parameters.role_name()?;
    let trust = parameters.required("PolicyDocument")?;
    let role = find_mut(iam.state, &name)?;
    document::check_trust(&trust)?;
    role.trust = trust;
    Ok(Value::Null)
}
