//! SimulatePrincipalPolicy: what a role would be allowed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{Ask, Denial};
use super::evaluate;
use super::{Parameters, Service, no_such_entity};
use crate::protocol::wire::query;
use crate::protocol::{AwsError, Context};

/// A condition key's values.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    context_key_name: String,
    context_key_values: Vec<String>,
}

/// SimulatePrincipalPolicy, of roles: each action on each resource.
pub(super) fn principal(
    iam: &mut Service<'_>,
    _: &Context,
    parameters: &mut Parameters,
) -> Result<Value, AwsError> {
    let source = parameters.required("PolicySourceArn")?;
    let actions = query::take_list(&mut parameters.0, "ActionNames")?;
    let mut resources = query::take_list(&mut parameters.0, "ResourceArns")?;
    if resources.is_empty() {
        resources.push("*".to_owned());
    }
    let entries: Vec<Entry> = query::take(&mut parameters.0, "ContextEntries")
        .map_or_else(|| Ok(Vec::new()), query::parse)?;
    let keys: Vec<(String, String)> = entries
        .into_iter()
        .filter_map(|it| Some((it.context_key_name, it.context_key_values.into_iter().next()?)))
        .collect();
    let role = iam.state.roles.iter().find(|role| role.arn == source);
    let role = role.ok_or_else(|| no_such_entity(format!("Entity {source} cannot be found.")))?;
    let policies = evaluate::policies_of(iam.state, &role.name);
    let decision = |action: &str, resource: &str| {
        let ask =
            Ask { action: action.to_owned(), resource: resource.to_owned(), keys: keys.clone() };
        match policies.as_ref().map_or(Ok(()), |policies| evaluate::allow(policies, &ask)) {
            Ok(()) => "allowed",
            Err(Denial::NothingAllows) => "implicitDeny",
            Err(Denial::ExplicitDeny) => "explicitDeny",
        }
    };
    let each =
        actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource)));
    let results = each.map(|(action, resource)| {
        json!({"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision(action, resource)})
    });
    let results = results.collect();
    parameters.page("EvaluationResults", results)
}
