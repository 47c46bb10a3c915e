//! IAM: roles and instance profiles.

use std::collections::BTreeMap;

use aws_sdk_iam::Client;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType, Tag};
use serde_json::Value;

use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::names;
use crate::model::ownership::Owned;

/// The client.
pub(crate) struct Iam {
    client: Client,
}

/// A role.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// An instance profile.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The names of its roles; one at most.
    pub roles: Vec<String>,
    /// The ARN of its role.
    pub role_arn: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The answer, or `None` for what isn't there.
fn if_there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gone, whether by this call or before it.
fn gone_is_gone<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.is_aws(AwsErrorKind::NotFound) => Ok(()),
        result => result.map(|_| ()),
    }
}

/// What a creation made, or `None` where it was there before.
fn made_unless_there<T>(result: Result<T>, name: &str) -> Result<Option<Owned>> {
    match result {
        Ok(_) => Ok(Some(Owned::created(name))),
        Err(error) if error.is_aws(AwsErrorKind::Exists) => Ok(None),
        Err(error) => Err(error),
    }
}

fn our_tags(tags: &[Tag]) -> BTreeMap<String, String> {
    tags.iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect()
}

fn sdk_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    // Key and value are the only required fields, and both are set.
    tags.iter()
        .filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok())
        .collect()
}

impl Iam {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_iam, base) }
    }

    /// A role, if it is there.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn role(&self, name: &str) -> Result<Option<Role>> {
        let result = self
            .client
            .get_role()
            .role_name(name)
            .send()
            .await
            .map_err(failed("iam:GetRole", name));
        Ok(if_there(result)?.and_then(|answer| {
            let role = answer.role()?;
            let tags = our_tags(role.tags());
            Some(Role { arn: role.arn().to_owned(), tags })
        }))
    }

    /// Creates a role with this trust policy, and gives it; `None` when there is one of this name
    /// already.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn create_role(
        &self,
        name: &str,
        trust: &Value,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<Owned>> {
        let result = self
            .client
            .create_role()
            .role_name(name)
            .assume_role_policy_document(trust.to_string())
            .description(names::ROLE_DESCRIPTION)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map_err(failed("iam:CreateRole", name));
        made_unless_there(result, name)
    }

    /// Attaches a managed policy; attaching it again changes nothing.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn attach(&self, role: &Owned, policy: &str) -> Result<()> {
        let call = self.client.attach_role_policy().role_name(role.id()).policy_arn(policy);
        call.send().await.map(|_| ()).map_err(failed("iam:AttachRolePolicy", role.id()))
    }

    /// The ARNs of the managed policies of a role.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn attached(&self, role: &str) -> Result<Vec<String>> {
        let call = self.client.list_attached_role_policies().role_name(role);
        let answer = call.send().await.map_err(failed("iam:ListAttachedRolePolicies", role))?;
        Ok(answer
            .attached_policies()
            .iter()
            .filter_map(|it| it.policy_arn().map(str::to_owned))
            .collect())
    }

    /// Takes a managed policy off a role.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn detach(&self, role: &Owned, policy: &str) -> Result<()> {
        let call = self.client.detach_role_policy().role_name(role.id()).policy_arn(policy);
        gone_is_gone(call.send().await.map_err(failed("iam:DetachRolePolicy", role.id())))
    }

    /// The role's policy of ours, if it has one.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn policy(&self, role: &str) -> Result<Option<Value>> {
        let call = self.client.get_role_policy().role_name(role).policy_name(names::POLICY);
        let answer = if_there(call.send().await.map_err(failed("iam:GetRolePolicy", role)))?;
        // IAM gives documents percent-encoded, and the SDK leaves them so.
        Ok(answer.map(|answer| {
            let document =
                percent_encoding::percent_decode_str(answer.policy_document()).decode_utf8_lossy();
            serde_json::from_str(&document).unwrap_or_default()
        }))
    }

    /// Which of these actions the role's policies allow on none of the resources, in calls about
    /// this ECS cluster.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn denied(
        &self,
        role: &str,
        actions: &[&str],
        resources: &[String],
        cluster: &str,
    ) -> Result<Vec<String>> {
        let context = ContextEntry::builder()
            .context_key_name("ecs:cluster")
            .context_key_type(ContextKeyTypeEnum::String)
            .context_key_values(cluster)
            .build();
        let call = self
            .client
            .simulate_principal_policy()
            .policy_source_arn(role)
            .context_entries(context);
        let call = call.set_action_names(Some(actions.iter().map(|it| (*it).to_owned()).collect()));
        let answer = call.set_resource_arns(Some(resources.to_vec())).send().await;
        let answer = answer.map_err(failed("iam:SimulatePrincipalPolicy", role))?;
        let allowed = |action: &str| {
            let mut results =
                answer.evaluation_results().iter().filter(|it| it.eval_action_name() == action);
            results.any(|it| *it.eval_decision() == PolicyEvaluationDecisionType::Allowed)
        };
        Ok(actions.iter().filter(|it| !allowed(it)).map(|it| (*it).to_owned()).collect())
    }

    /// Sets the role's policy of ours.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn put_policy(&self, role: &Owned, document: &Value) -> Result<()> {
        let call = self.client.put_role_policy().role_name(role.id()).policy_name(names::POLICY);
        let call = call.policy_document(document.to_string());
        call.send().await.map(|_| ()).map_err(failed("iam:PutRolePolicy", role.id()))
    }

    /// Deletes the role's policy of ours.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn delete_policy(&self, role: &Owned) -> Result<()> {
        let call = self.client.delete_role_policy().role_name(role.id()).policy_name(names::POLICY);
        gone_is_gone(call.send().await.map_err(failed("iam:DeleteRolePolicy", role.id())))
    }

    /// Deletes a role.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn delete_role(&self, role: &Owned) -> Result<()> {
        let call = self.client.delete_role().role_name(role.id());
        gone_is_gone(call.send().await.map_err(failed("iam:DeleteRole", role.id())))
    }

    /// An instance profile, if it is there.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn profile(&self, name: &str) -> Result<Option<Profile>> {
        let call = self.client.get_instance_profile().instance_profile_name(name);
        let answer = if_there(call.send().await.map_err(failed("iam:GetInstanceProfile", name)))?;
        Ok(answer.and_then(|answer| {
            let profile = answer.instance_profile()?;
            Some(Profile {
                roles: profile.roles().iter().map(|role| role.role_name().to_owned()).collect(),
                role_arn: profile.roles().first().map(|role| role.arn().to_owned()),
                tags: our_tags(profile.tags()),
            })
        }))
    }

    /// Creates an instance profile, and gives it; `None` when there is one of this name already.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn create_profile(
        &self,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<Owned>> {
        let call = self
            .client
            .create_instance_profile()
            .instance_profile_name(name)
            .set_tags(Some(sdk_tags(tags)));
        made_unless_there(
            call.send().await.map_err(failed("iam:CreateInstanceProfile", name)),
            name,
        )
    }

    /// Puts a role into a profile that has none.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn add_role(&self, profile: &Owned, role: &str) -> Result<()> {
        let call = self
            .client
            .add_role_to_instance_profile()
            .instance_profile_name(profile.id())
            .role_name(role);
        call.send().await.map(|_| ()).map_err(failed("iam:AddRoleToInstanceProfile", profile.id()))
    }

    /// Takes a role out of a profile.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn remove_role(&self, profile: &Owned, role: &str) -> Result<()> {
        let call = self
            .client
            .remove_role_from_instance_profile()
            .instance_profile_name(profile.id())
            .role_name(role);
        gone_is_gone(
            call.send().await.map_err(failed("iam:RemoveRoleFromInstanceProfile", profile.id())),
        )
    }

    /// Deletes a profile.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn delete_profile(&self, profile: &Owned) -> Result<()> {
        let call = self.client.delete_instance_profile().instance_profile_name(profile.id());
        gone_is_gone(call.send().await.map_err(failed("iam:DeleteInstanceProfile", profile.id())))
    }
}
