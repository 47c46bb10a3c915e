//! Instance profiles.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Iam, Parameters, Service, already_exists, delete_conflict, limit_exceeded, new_id,
    no_such_entity, roles, settling, time,
};
use crate::protocol::{AwsError, Context, Options};

/// An instance profile.
pub(super) struct Profile {
    name: String,
    pub(super) arn: String,
    id: String,
    path: String,
    created: Timestamp,
    /// When it was created or got its role: EC2 learns of it later.
    changed: Timestamp,
    /// The name of its role.
    pub(super) role: Option<String>,
    tags: BTreeMap<String, String>,
}

/// A profile that EC2 knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsableProfile {
    /// Its name.
    pub(crate) name: String,
    /// Its ARN.
    pub(crate) arn: String,
    /// Its id, `AIPA...`.
    pub(crate) id: String,
    /// The name of its role.
    pub(crate) role: Option<String>,
}

/// The profile of this name or ARN.
pub(super) fn named<'a>(iam: &'a Iam, wanted: &str) -> Option<&'a Profile> {
    iam.profiles.iter().find(|profile| profile.name == wanted || profile.arn == wanted)
}

/// The profile of this name or ARN, once EC2 knows it: a new one takes seconds to get there.
pub(crate) fn usable_profile(
    iam: &Iam,
    options: &Options,
    wanted: &str,
    now: Timestamp,
) -> Option<UsableProfile> {
    let known = |profile: &&Profile| {
        (profile.name == wanted || profile.arn == wanted)
            && profile.changed + settling(options) <= now
    };
    iam.profiles.iter().find(known).map(|profile| UsableProfile {
        name: profile.name.clone(),
        arn: profile.arn.clone(),
        id: profile.id.clone(),
        role: profile.role.clone(),
    })
}

impl Profile {
    /// A profile with the role of the same name.
    pub(super) fn of_role(account: &str, name: &str, id: &str, created: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            arn: format!("arn:aws:iam::{account}:instance-profile/{name}"),
            id: id.to_owned(),
            path: "/".to_owned(),
            created,
            changed: created,
            role: Some(name.to_owned()),
            tags: BTreeMap::new(),
        }
    }

    fn answer(&self, iam: &Iam) -> Value {
        let role = self.role.as_ref().and_then(|name| roles::find(iam, name).ok());
        let tags: Vec<Value> =
            self.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({
            "Path": self.path,
            "InstanceProfileName": self.name,
            "InstanceProfileId": self.id,
            "Arn": self.arn,
            "CreateDate": time(self.created),
            "Roles": role.into_iter().map(roles::Role::answer).collect::<Vec<_>>(),
            "Tags": tags,
        })
    }
}

fn profile_name(parameters: &mut Parameters) -> Result<String, AwsError> {
    parameters.name("InstanceProfileName", 128)
}

fn find<'a>(iam: &'a mut Iam, name: &str) -> Result<&'a mut Profile, AwsError> {
    let found = iam.profiles.iter_mut().find(|profile| profile.name == name);
    found.ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> AwsError {
    no_such_entity(format!("Instance Profile {name} cannot be found."))
}

/// CreateInstanceProfile.
pub(super) fn create(
    iam: &mut Service<'_>,
    context: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = profile_name(parameters)?;
    let path = roles::path(parameters)?;
    let mut tags = BTreeMap::new();
    roles::merge_tags(parameters, &mut tags)?;
    if iam.state.profiles.iter().any(|profile| profile.name == name) {
        return Err(already_exists(format!("Instance Profile {name} already exists.")));
    }
    let profile = Profile {
        arn: format!("arn:aws:iam::{}:instance-profile{path}{name}", iam.options.account),
        id: new_id(iam, "AIPA"),
        name,
        path,
        created: context.now,
        changed: context.now,
        role: None,
        tags,
    };
    let answer = json!({ "InstanceProfile": profile.answer(iam.state) });
    iam.state.profiles.push(profile);
    Ok(answer)
}

/// GetInstanceProfile.
pub(super) fn get(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = profile_name(parameters)?;
    let profile = iam
        .state
        .profiles
        .iter()
        .find(|profile| profile.name == name)
        .ok_or_else(|| not_found(&name))?;
    Ok(json!({ "InstanceProfile": profile.answer(iam.state) }))
}

/// DeleteInstanceProfile: its role has to be taken out first.
pub(super) fn delete(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let profile = find(iam.state, &profile_name(parameters)?)?;
    if profile.role.is_some() {
        return Err(delete_conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    let name = profile.name.clone();
    iam.state.profiles.retain(|profile| profile.name != name);
    Ok(Value::Null)
}

/// AddRoleToInstanceProfile: one role is all a profile can have.
pub(super) fn add_role(
    iam: &mut Service<'_>,
    context: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (name, role) = (profile_name(parameters)?, parameters.role_name()?);
    find(iam.state, &name)?;
    roles::find(iam.state, &role)?;
    let profile = find(iam.state, &name)?;
    if profile.role.is_some() {
        return Err(limit_exceeded(
            "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
        ));
    }
    profile.role = Some(role);
    profile.changed = context.now;
    Ok(Value::Null)
}

/// RemoveRoleFromInstanceProfile.
pub(super) fn remove_role(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let (name, role) = (profile_name(parameters)?, parameters.role_name()?);
    let profile = find(iam.state, &name)?;
    if profile.role.as_ref() != Some(&role) {
        return Err(no_such_entity(format!("The role with name {role} cannot be found.")));
    }
    profile.role = None;
    Ok(Value::Null)
}

/// ListInstanceProfilesForRole.
pub(super) fn list_for_role(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let name = parameters.role_name()?;
    roles::find(iam.state, &name)?;
    let profiles = iam.state.profiles.iter().filter(|profile| profile.role.as_ref() == Some(&name));
    let profiles = profiles.map(|profile| profile.answer(iam.state)).collect();
    parameters.page("InstanceProfiles", profiles)
}
