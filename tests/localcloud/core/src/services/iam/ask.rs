//! What IAM is asked before a call, and how it refuses.

use crate::protocol::AwsError;

/// Something that IAM is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Such as `ec2:TerminateInstances`.
    pub(crate) action: String,
    /// The ARN of what it is done to; `*` where an action isn't about anything.
    pub(crate) resource: String,
    /// What conditions are held against: keys such as `aws:ResourceTag/Name`, and their values.
    pub(crate) keys: Vec<(String, String)>,
}

impl Ask {
    pub(crate) fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), keys: Vec::new() }
    }

    pub(crate) fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.keys.push((key.into(), value.into()));
        self
    }

    pub(crate) fn tagged(mut self, which: &str, tags: &[(String, String)]) -> Self {
        self.keys.extend(tags.iter().map(|(key, value)| (format!("{which}/{key}"), value.clone())));
        self
    }

    /// The right to hand this role to a service, which AWS asks for beside the call.
    pub(crate) fn pass(role: impl Into<String>, service: &str) -> Self {
        Self::new("iam:PassRole", role).with("iam:PassedToService", service)
    }
}

/// Why a call is denied, in the words that AWS adds to its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No statement allows it.
    NothingAllows,
    /// A statement denies it.
    ExplicitDeny,
}

impl Denial {
    /// The end of AWS's message.
    pub(crate) fn because(self, action: &str) -> String {
        match self {
            Self::NothingAllows => {
                format!("because no identity-based policy allows the {action} action")
            }
            Self::ExplicitDeny => "with an explicit deny in an identity-based policy".to_owned(),
        }
    }
}

/// The refusal in the service's own words.
pub(crate) fn denied(service: &str, who: &str, ask: &Ask, denial: Denial) -> AwsError {
    let Ask { action, resource, .. } = ask;
    let message = format!(
        "User: {who} is not authorized to perform: {action} on resource: {resource} {}",
        denial.because(action)
    );
    match service {
        "ec2" => {
            let message = format!("You are not authorized to perform this operation. {message}");
            AwsError::new("UnauthorizedOperation", message).with_status(403)
        }
        "iam" | "s3" => AwsError::new("AccessDenied", message).with_status(403),
        "batch" | "scheduler" => AwsError::new("AccessDeniedException", message).with_status(403),
        _ => AwsError::new("AccessDeniedException", message),
    }
}
