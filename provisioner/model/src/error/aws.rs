//! A failed call to AWS, as people read it.

use std::error::Error as StdError;
use std::fmt;

/// One failed call to AWS.
#[derive(Debug)]
pub struct AwsError {
    /// Service prefix and operation, such as `ec2:RequestSpotInstances`; it is the IAM action as
    /// well.
    pub action: &'static str,
    /// What it was called for.
    pub resource: String,
    /// What kind of failure it is.
    pub kind: AwsErrorKind,
    /// AWS's code.
    pub code: Option<String>,
    /// AWS's message, or the SDK's.
    pub message: String,
    /// AWS's request id.
    pub request_id: Option<String>,
}

/// The kinds of failed calls that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsErrorKind {
    /// The resource isn't there.
    NotFound,
    /// It is there already.
    Exists,
    /// Too many calls.
    Throttled,
    /// The caller has no permission.
    Denied,
    /// The credentials have expired.
    Expired,
    /// The credentials are wrong.
    BadCredentials,
    /// There are no credentials.
    NoCredentials,
    /// No answer: not connected, or in time.
    Unreachable,
    /// It is being changed already.
    Busy,
    /// An answer of status 5xx, or one that can't be read.
    Server,
    /// The account lacks the service-linked role of spot instances, which nobody had in it yet.
    NoServiceLinkedRole,
    /// Something was bought under this client token, with other parameters.
    TokenReused,
    /// AWS understood and refused.
    Rejected,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} failed: ", self.action, self.resource)?;
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.request_id {
            Some(id) => write!(f, " (request id {id})"),
            None => Ok(()),
        }
    }
}

impl StdError for AwsError {}

impl AwsError {
    /// Whether AWS's code is `code`.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            AwsErrorKind::Throttled
                | AwsErrorKind::Unreachable
                | AwsErrorKind::Server
                | AwsErrorKind::Busy
        )
    }

    /// The permission that is missing: the call's own, or another that AWS names, such as
    /// iam:PassRole.
    fn denied_action(&self) -> &str {
        let named = self
            .message
            .split("to perform: ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        named.filter(|name| name.contains(':')).unwrap_or(self.action)
    }

    /// What to do next.
    pub(super) fn next(&self) -> String {
        match self.kind {
            AwsErrorKind::Denied => format!(
                "the permission {} on {} is missing: add it to the policy of the user or role \
                 that runs spotblock",
                self.denied_action(),
                self.resource
            ),
            AwsErrorKind::Expired => {
                "the credentials have expired: sign in again (`aws sso login`, or new keys), \
                 then run the same command again"
                    .to_owned()
            }
            AwsErrorKind::BadCredentials => {
                "AWS doesn't accept these credentials: check `aws sts get-caller-identity`, \
                 --profile and the clock of this machine"
                    .to_owned()
            }
            AwsErrorKind::NoCredentials => {
                "no credentials were found: run `aws configure` or `aws sso login`, name a \
                 profile with --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned()
            }
            AwsErrorKind::Unreachable => {
                "AWS's endpoint gave no answer: check the network, --region and --endpoint-url \
                 (AWS_ENDPOINT_URL), then run the same command again; it goes on where it stopped"
                    .to_owned()
            }
            AwsErrorKind::Throttled => "AWS asks for fewer calls: run the same command again in \
                                        a minute"
                .to_owned(),
            AwsErrorKind::Busy => "it is being changed already: run the same command again in a \
                                   minute"
                .to_owned(),
            AwsErrorKind::Server => {
                "AWS failed to answer: run the same command again; it goes on where it stopped"
                    .to_owned()
            }
            AwsErrorKind::NotFound => {
                format!("check that {} exists in this region and account", self.resource)
            }
            AwsErrorKind::NoServiceLinkedRole => {
                "this account has never had spot instances: run `aws iam \
                 create-service-linked-role --aws-service-name spot.amazonaws.com` once, then \
                 the same command again"
                    .to_owned()
            }
            AwsErrorKind::TokenReused => {
                "the block was bought already, with other parameters than its record says now: \
                 look at it with `spotblock status`, or end it with `spotblock down`"
                    .to_owned()
            }
            AwsErrorKind::Exists | AwsErrorKind::Rejected => {
                "change what AWS names (usually a key of spotblock.toml), then run the same \
                 command again"
                    .to_owned()
            }
        }
    }
}

impl AwsErrorKind {
    /// Whether it says something about the caller: every other call would fail like this one.
    #[must_use]
    pub fn is_about_the_caller(self) -> bool {
        matches!(self, Self::Expired | Self::BadCredentials | Self::NoCredentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_denied_call_names_the_permission_that_is_missing() {
        let failure = AwsError {
            action: "ec2:RequestSpotInstances",
            resource: "block sb-1f2c".into(),
            kind: AwsErrorKind::Denied,
            code: Some("UnauthorizedOperation".into()),
            message: "You are not authorized to perform this operation.".into(),
            request_id: Some("7a62c49f".into()),
        };
        assert!(
            failure.to_string().ends_with("perform this operation. (request id 7a62c49f)"),
            "{failure}"
        );
        let error = Error::from(Box::new(failure));
        assert!(
            error
                .next()
                .contains("the permission ec2:RequestSpotInstances on block sb-1f2c is missing")
        );
        assert_eq!(error.exit_code(), 1);
    }

    /// Catches: a user who is told to allow what is allowed already.
    #[test]
    fn a_permission_that_aws_names_itself_is_named_instead_of_the_calls() {
        let failure = AwsError {
            action: "batch:CreateComputeEnvironment",
            resource: "blocks".into(),
            kind: AwsErrorKind::Denied,
            code: Some("AccessDeniedException".into()),
            message: "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on \
                      resource: arn:aws:iam::1:role/r"
                .into(),
            request_id: None,
        };
        assert!(
            failure.next().starts_with("the permission iam:PassRole on blocks is missing"),
            "{}",
            failure.next()
        );
    }
}
