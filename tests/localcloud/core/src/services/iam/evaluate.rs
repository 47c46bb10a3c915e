//! Whether a role's policies allow a call, and whether a service may take a role.
//!
//! What IAM's documents say is followed as far as policies of this project go: Effect, Action and
//! NotAction, Resource and NotResource with `*` and `?`, a service as Principal, and the conditions
//! of [`operator`]. An allowing statement with a condition operator that is not known here allows
//! nothing, and a denying one denies. Policies that AWS manages count where `managed.rs` knows
//! them.

use jiff::Timestamp;
use serde_json::Value;

use super::ask::{Ask, Denial};
use super::roles::Role;
use super::{Iam, managed, settling};
use crate::protocol::Options;

/// Whether the policies of the role with this ARN allow the call. A role that is gone is allowed
/// nothing.
pub(crate) fn role_allows(iam: &Iam, role: &str, ask: &Ask) -> Result<(), Denial> {
    let role = iam.roles.iter().find(|known| known.arn == role).ok_or(Denial::NothingAllows)?;
    allow(&documents(role).0, ask)
}

/// All policies of the role with this name; nothing where one of AWS's own is attached of which
/// there is no document here. A role that is gone has none.
pub(crate) fn policies_of<'a>(iam: &'a Iam, role: &str) -> Option<Vec<&'a Value>> {
    let Some(role) = iam.roles.iter().find(|known| known.name == role) else {
        return Some(Vec::new());
    };
    let (documents, whole) = documents(role);
    whole.then_some(documents)
}

/// A role's policies as far as they are known here, and whether that is all of them.
fn documents(role: &Role) -> (Vec<&Value>, bool) {
    let inline = role.inline.values().map(|document| &document.read);
    let attached: Vec<&Value> =
        role.attached.iter().filter_map(|arn| managed::document(arn)).collect();
    let whole = attached.len() == role.attached.len();
    (inline.chain(attached).collect(), whole)
}

/// Whether policies allow a call.
pub(crate) fn allow(policies: &[&Value], ask: &Ask) -> Result<(), Denial> {
    let statements: Vec<&Value> = policies.iter().copied().flat_map(statements).collect();
    let applies = |statement: &Value, unknown: bool| {
        element(statement, "Action", &ask.action, true)
            && element(statement, "Resource", &ask.resource, false)
            && conditions_hold(statement, &ask.keys).unwrap_or(unknown)
    };
    if statements.iter().any(|statement| statement["Effect"] == "Deny" && applies(statement, true))
    {
        return Err(Denial::ExplicitDeny);
    }
    let allowed = statements
        .iter()
        .any(|statement| statement["Effect"] == "Allow" && applies(statement, false));
    if allowed { Ok(()) } else { Err(Denial::NothingAllows) }
}

/// Whether the service may take the role with this ARN. `keys` are what the trust policy's
/// conditions are held against. A new role is not known everywhere at once.
pub(crate) fn service_may_assume(
    iam: &Iam,
    options: &Options,
    role: &str,
    service: &str,
    keys: &[(String, String)],
    now: Timestamp,
) -> bool {
    let known = iam.roles.iter().find(|known| known.arn == role);
    let Some(role) = known.filter(|role| role.created + settling(options) <= now) else {
        return false;
    };
    let document: Value = serde_json::from_str(&role.trust).unwrap_or_default();
    let applies = |statement: &Value, unknown: bool| {
        element(statement, "Action", "sts:AssumeRole", true)
            && trusts(&statement["Principal"], service)
            && conditions_hold(statement, keys).unwrap_or(unknown)
    };
    let statements = statements(&document);
    let denied = statements
        .iter()
        .any(|statement| statement["Effect"] == "Deny" && applies(statement, true));
    !denied
        && statements
            .iter()
            .any(|statement| statement["Effect"] == "Allow" && applies(statement, false))
}

/// One statement or a list of them.
fn statements(document: &Value) -> Vec<&Value> {
    match &document["Statement"] {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    }
}

fn trusts(principal: &Value, service: &str) -> bool {
    principal == "*" || texts(&principal["Service"]).contains(&service)
}

/// One text or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// Whether `Action` names it, or `NotAction` doesn't; likewise for resources. Actions are compared
/// without case.
fn element(statement: &Value, name: &str, wanted: &str, any_case: bool) -> bool {
    let fold = |text: &str| if any_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let named =
        |value: &Value| texts(value).into_iter().any(|pattern| like(&fold(pattern), &fold(wanted)));
    match statement.get(format!("Not{name}")) {
        Some(excluded) => !named(excluded),
        None => named(&statement[name]),
    }
}

/// Whether all conditions hold; nothing when one has an operator that isn't known here.
fn conditions_hold(statement: &Value, keys: &[(String, String)]) -> Option<bool> {
    let Some(operators) = statement.get("Condition").and_then(Value::as_object) else {
        return Some(true);
    };
    let mut all = true;
    for (name, tests) in operators {
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        for (key, wanted) in tests.as_object()? {
            let value = keys
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.as_str());
            let holds = operator(name, value, wanted)?;
            all &= holds || (if_exists && value.is_none());
        }
    }
    Some(all)
}

/// One test: the key's value, if the call has it, against the wanted ones. The negated operators
/// hold without a value.
fn operator(name: &str, value: Option<&str>, wanted: &Value) -> Option<bool> {
    let any = |test: fn(&str, &str) -> bool| {
        value.is_some_and(|value| texts(wanted).into_iter().any(|pattern| test(pattern, value)))
    };
    Some(match name {
        "StringEquals" => any(|pattern, value| pattern == value),
        "StringNotEquals" => !any(|pattern, value| pattern == value),
        "StringEqualsIgnoreCase" => any(str::eq_ignore_ascii_case),
        "StringLike" | "ArnEquals" | "ArnLike" => any(like),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => !any(like),
        // Written as a truth value or as its text.
        "Null" => {
            let absent = wanted.as_bool().or_else(|| wanted.as_str().map(|text| text == "true"));
            absent == Some(value.is_none())
        }
        _ => return None,
    })
}

/// `*` stands for any characters, `?` for one.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| like(rest, &text[at..]))
        }
        Some(wanted) => {
            let mut rest = text.chars();
            rest.next().is_some_and(|found| wanted == '?' || wanted == found)
                && like(&pattern[wanted.len_utf8()..], rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allowed(statement: Value, action: &str, resource: &str, tag: Option<&str>) -> bool {
        let tags = tag.map(|value| ("aws:ResourceTag/env".to_owned(), value.to_owned()));
        let keys: Vec<_> = tags.into_iter().collect();
        element(&statement, "Action", action, true)
            && element(&statement, "Resource", resource, false)
            && conditions_hold(&statement, &keys) == Some(true)
    }

    #[test]
    fn actions_resources_and_conditions_are_read_as_iam_reads_them() {
        let statement = json!({
            "Action": ["ec2:terminate*"], "Resource": "arn:aws:ec2:*:*:instance/*",
            "Condition": { "StringEquals": { "aws:resourcetag/env": ["a", "b"] } },
        });
        let instance = "arn:aws:ec2:us-east-1:1:instance/i-1";
        for (action, resource, tag, expected) in [
            ("ec2:TerminateInstances", instance, Some("b"), true),
            ("ec2:TerminateInstances", instance, Some("B"), false),
            ("ec2:TerminateInstances", instance, None, false),
            ("ec2:StopInstances", instance, Some("a"), false),
            ("ec2:TerminateInstances", "arn:aws:ec2:us-east-1:1:volume/v", Some("a"), false),
        ] {
            assert_eq!(
                allowed(statement.clone(), action, resource, tag),
                expected,
                "{action} {resource} {tag:?}"
            );
        }
    }

    #[test]
    fn conditions_on_what_is_absent_follow_their_operators() {
        for (condition, expected) in [
            (json!({ "StringNotEquals": { "k": "x" } }), Some(true)),
            (json!({ "StringLike": { "k": "*" } }), Some(false)),
            (json!({ "StringLikeIfExists": { "k": "x" } }), Some(true)),
            (json!({ "Null": { "k": "true" } }), Some(true)),
            (json!({ "Null": { "k": false } }), Some(false)),
            (json!({ "DateLessThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } }), None),
        ] {
            assert_eq!(
                conditions_hold(&json!({ "Condition": condition }), &[]),
                expected,
                "{condition}"
            );
        }
    }
}
