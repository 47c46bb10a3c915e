//! What can go wrong, as people read it: what failed, on which resource, AWS's code and request id, what to do next.
//!
//! The adapters in `aws/` classify an SDK error once, with [`failed`]; everything above looks at [`Kind`] only.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::text::human;

/// A result with this program's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// spotblock.toml or the flags break rules; each problem is a line of its own.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// The command can't be done as asked.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        next: String,
    },
    /// A file could not be read or written.
    #[error("{what}")]
    File {
        /// What was tried, with the file's name.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] Box<AwsFailure>),
    /// Something in AWS is in a state that this program can't or must not change.
    #[error("{what}")]
    State {
        /// What it is.
        what: String,
        /// What to do.
        next: String,
    },
    /// AWS refuses to sell the capacity, or has none.
    #[error("{what}")]
    Capacity {
        /// What was refused.
        what: String,
        /// AWS's answer, where one call was refused.
        #[source]
        source: Option<Box<AwsFailure>>,
        /// What to do.
        next: String,
    },
    /// A bounded wait came to its end.
    #[error("{what}: not within {}", human(*.limit))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// The bound.
        limit: Duration,
        /// What was seen last.
        last: String,
        /// What to do.
        next: String,
    },
    /// Something failed, and the rest was done all the same.
    #[error("{what}")]
    Unfinished {
        /// What failed.
        failed: Vec<Error>,
        /// What may be left.
        what: String,
        /// What to do.
        next: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted {
        /// How to go on.
        next: String,
    },
}

/// One failed call to AWS.
#[derive(Debug)]
pub struct AwsFailure {
    /// Service prefix and operation, such as `ec2:RequestSpotInstances`; it is the IAM action as well.
    pub action: &'static str,
    /// What it was called for.
    pub resource: String,
    /// What kind of failure it is.
    pub kind: Kind,
    /// AWS's code.
    pub code: Option<String>,
    /// AWS's message, or the SDK's.
    pub message: String,
    /// AWS's request id.
    pub request_id: Option<String>,
}

/// The kinds of failures that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    /// AWS understood and refused.
    Rejected,
}

impl fmt::Display for AwsFailure {
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

impl StdError for AwsFailure {}

impl AwsFailure {
    /// Whether AWS's code is `code`.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Throttled | Kind::Unreachable | Kind::Server | Kind::Busy)
    }

    /// The permission that is missing: the call's own, or another that AWS names, such as iam:PassRole.
    fn denied_action(&self) -> &str {
        let named = self.message.split("to perform: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        named.filter(|name| name.contains(':')).unwrap_or(self.action)
    }

    fn next(&self) -> String {
        match self.kind {
            Kind::Denied => format!(
                "the permission {} on {} is missing: add it to the policy of the user or role that runs spotblock",
                self.denied_action(),
                self.resource
            ),
            Kind::Expired => {
                "the credentials have expired: sign in again (`aws sso login`, or new keys), then run the \
                              same command again"
                    .to_owned()
            }
            Kind::BadCredentials => {
                "AWS doesn't accept these credentials: check `aws sts get-caller-identity`, --profile and the clock of \
                 this machine"
                    .to_owned()
            }
            Kind::NoCredentials => "no credentials were found: run `aws configure` or `aws sso login`, name a profile \
                                    with --profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            Kind::Unreachable => "AWS's endpoint gave no answer: check the network, --region and --endpoint-url \
                                  (AWS_ENDPOINT_URL), then run the same command again; it goes on where it stopped"
                .to_owned(),
            Kind::Throttled => "AWS asks for fewer calls: run the same command again in a minute".to_owned(),
            Kind::Busy => "it is being changed already: run the same command again in a minute".to_owned(),
            Kind::Server => "AWS failed to answer: run the same command again; it goes on where it stopped".to_owned(),
            Kind::NotFound => format!("check that {} exists in this region and account", self.resource),
            Kind::Rejected
                if self.code.as_deref().is_some_and(|code| code.starts_with("AuthFailure.ServiceLinked")) =>
            {
                "this account has never had spot instances: run `aws iam create-service-linked-role --aws-service-name \
                 spot.amazonaws.com` once, then the same command again"
                    .to_owned()
            }
            Kind::Rejected if self.is("IdempotentParameterMismatch") => {
                "the block was bought already, with other parameters than its record says now: look at it with \
                 `spotblock status`, or end it with `spotblock down`"
                    .to_owned()
            }
            Kind::Exists | Kind::Rejected => {
                "change what AWS names (usually a key of spotblock.toml), then run the same command again".to_owned()
            }
        }
    }
}

impl Error {
    /// The failed call behind this error.
    #[must_use]
    pub fn aws(&self) -> Option<&AwsFailure> {
        match self {
            Self::Aws(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether this is a failed call of this kind.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        self.aws().is_some_and(|failure| failure.kind == kind)
    }

    /// Whether every other call would fail like this one: it says something about the caller, not about the call.
    #[must_use]
    pub fn is_about_the_caller(&self) -> bool {
        [Kind::Expired, Kind::BadCredentials, Kind::NoCredentials].into_iter().any(|kind| self.is(kind))
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.aws().is_some_and(AwsFailure::is_transient)
    }

    /// The exit code, as the README lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Usage { .. } => 2,
            Self::File { .. } | Self::Aws(_) | Self::State { .. } => 1,
            Self::Capacity { .. } => 3,
            Self::TimedOut { .. } => 4,
            Self::Interrupted { .. } => 130,
            Self::Unfinished { failed, .. } => failed.first().map_or(1, Self::exit_code),
        }
    }

    /// What to do next; empty when the error says it itself.
    #[must_use]
    pub fn next(&self) -> String {
        match self {
            Self::Settings(_) => String::new(),
            Self::Usage { next, .. } | Self::State { next, .. } | Self::Capacity { next, .. } => next.clone(),
            Self::Unfinished { next, .. } => next.clone(),
            Self::File { .. } => "check that the file is there and that you may read or write it".to_owned(),
            Self::Aws(failure) => failure.next(),
            Self::TimedOut { next, .. } | Self::Interrupted { next } => next.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_names_the_permission_that_is_missing() {
        let failure = AwsFailure {
            action: "ec2:RequestSpotInstances",
            resource: "block sb-1f2c".into(),
            kind: Kind::Denied,
            code: Some("UnauthorizedOperation".into()),
            message: "You are not authorized to perform this operation.".into(),
            request_id: Some("7a62c49f".into()),
        };
        assert!(failure.to_string().ends_with("perform this operation. (request id 7a62c49f)"), "{failure}");
        let error = Error::from(Box::new(failure));
        assert!(error.next().contains("the permission ec2:RequestSpotInstances on block sb-1f2c is missing"));
        assert_eq!(error.exit_code(), 1);
    }

    /// Catches: a user who is told to allow what is allowed already.
    #[test]
    fn a_permission_that_aws_names_itself_is_named_instead_of_the_calls() {
        let failure = AwsFailure {
            action: "batch:CreateComputeEnvironment",
            resource: "blocks".into(),
            kind: Kind::Denied,
            code: Some("AccessDeniedException".into()),
            message: "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: \
                      arn:aws:iam::1:role/r"
                .into(),
            request_id: None,
        };
        assert!(failure.next().starts_with("the permission iam:PassRole on blocks is missing"), "{}", failure.next());
    }
}
