//! AWS's checks on policy documents, as far as a wrong one is easily written, and their form in
//! answers.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::protocol::AwsError;

/// What stays as it is when AWS percent-encodes a document (RFC 3986).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A policy document: as it was given, and read.
pub(super) struct Document {
    pub(super) text: String,
    pub(super) read: Value,
}

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self { read: serde_json::from_str(&text).unwrap_or_default(), text }
    }
}

/// The limit for a role's inline policies together, in characters.
pub(super) const MAX_INLINE: usize = 10_240;

/// The limit for a trust policy, in characters.
const MAX_TRUST: usize = 2_048;

/// A document as answers carry it.
pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, ENCODED).to_string()
}

fn malformed(message: &str) -> AwsError {
    AwsError::new("MalformedPolicyDocument", message)
}

/// A trust policy says who may, and nothing of resources.
pub(super) fn check_trust(document: &str) -> Result<(), AwsError> {
    if document.len() > MAX_TRUST {
        let message = format!("Cannot exceed quota for ACLSizePerRole: {MAX_TRUST}");
        return Err(super::limit_exceeded(message));
    }
    for statement in statements(document)? {
        if statement.get("Resource").is_some() {
            return Err(malformed("Has prohibited field Resource"));
        }
        if statement.get("Principal").is_none() && statement.get("NotPrincipal").is_none() {
            return Err(malformed("AssumeRolePolicyDocument must contain a principal"));
        }
    }
    Ok(())
}

/// A role's policy says on what, and nothing of principals.
pub(super) fn check_policy(document: &str) -> Result<(), AwsError> {
    for statement in statements(document)? {
        if statement.get("Principal").is_some() {
            return Err(malformed("Policy document should not specify a principal."));
        }
        if statement.get("Resource").is_none() && statement.get("NotResource").is_none() {
            return Err(malformed("Policy statement must contain resources."));
        }
    }
    Ok(())
}

/// The statements: one, or a list of them. Each has an effect and actions.
fn statements(document: &str) -> Result<Vec<Value>, AwsError> {
    let document: Value = serde_json::from_str(document)
        .map_err(|_| malformed("This policy contains invalid Json"))?;
    if !matches!(
        document.get("Version").map(Value::as_str),
        None | Some(Some("2012-10-17" | "2008-10-17"))
    ) {
        return Err(malformed("Syntax errors in policy."));
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ => Vec::new(),
    };
    if statements.is_empty() {
        return Err(malformed("Syntax errors in policy."));
    }
    for statement in &statements {
        if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
            return Err(malformed("Syntax errors in policy."));
        }
        if statement.get("Action").is_none() && statement.get("NotAction").is_none() {
            return Err(malformed("Policy statement must contain actions."));
        }
    }
    Ok(statements)
}
