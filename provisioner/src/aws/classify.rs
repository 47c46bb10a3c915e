//! The one place that classifies an SDK error: everything above looks at its kind only.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::unanswered;
use crate::model::error::{AwsError, AwsErrorKind, Error};

/// Classifies an SDK error, once. `action` is service prefix and operation.
pub(crate) fn failed<E>(
    action: &'static str,
    resource: impl Into<String>,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    move |error| {
        let code = error.code().map(str::to_owned);
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None => unanswered::describe(&error),
        };
        let request_id =
            error.meta().request_id().or_else(|| error.request_id()).map(str::to_owned);
        let kind = kind_of(&error, code.as_deref(), &message);
        Box::new(AwsError { action, resource: resource.into(), kind, code, message, request_id })
            .into()
    }
}

fn kind_of<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>, message: &str) -> AwsErrorKind
where
    E: StdError + Send + Sync + 'static,
{
    if let Some(problem) = credentials_error(error) {
        let expired =
            matches!(problem, CredentialsError::ProviderError(_)) && message.contains("expired");
        return if expired { AwsErrorKind::Expired } else { AwsErrorKind::NoCredentials };
    }
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => AwsErrorKind::Unreachable,
        SdkError::ResponseError(_) => AwsErrorKind::Server,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            or_server(
                code.map_or(AwsErrorKind::Rejected, |code| kind_of_code(code, message)),
                status,
            )
        }
        _ => AwsErrorKind::Rejected,
    }
}

/// What isn't told apart by its code is AWS's own failure where the status says so.
fn or_server(kind: AwsErrorKind, status: u16) -> AwsErrorKind {
    if kind == AwsErrorKind::Rejected && status >= 500 { AwsErrorKind::Server } else { kind }
}

/// What AWS's code means. Services differ in how they name the same thing, and the SDKs' own lists
/// say only what to try again.
fn kind_of_code(code: &str, message: &str) -> AwsErrorKind {
    const DENIED: [&str; 4] =
        ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"];
    const EXPIRED: [&str; 4] =
        ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
    const BAD: [&str; 6] = [
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "AuthFailure",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
    ];
    if DENIED.contains(&code) {
        AwsErrorKind::Denied
    } else if EXPIRED.contains(&code) {
        AwsErrorKind::Expired
    } else if BAD.contains(&code) {
        AwsErrorKind::BadCredentials
    } else if code.contains("Throttl")
        || matches!(code, "RequestLimitExceeded" | "TooManyRequestsException")
    {
        AwsErrorKind::Throttled
    } else if code.contains("AlreadyExists")
        || (code == "ClientException" && message.contains("already exist"))
    {
        // Batch has no code of its own for this, nor for the next, whose wording is what its users
        // report [A].
        AwsErrorKind::Exists
    } else if code == "ClientException"
        && (message.contains("being modified")
            || message.contains("existing JobQueue relationship"))
    {
        // A queue that is gone can stand in the way of its environment for a while `[V,
        // terraform-provider-aws#46925]`.
        AwsErrorKind::Busy
    } else if code.starts_with("AuthFailure.ServiceLinked") {
        AwsErrorKind::NoServiceLinkedRole
    } else if code == "IdempotentParameterMismatch" {
        AwsErrorKind::TokenReused
    } else if code.contains("NotFound") || code == "NoSuchEntity" {
        AwsErrorKind::NotFound
    } else {
        AwsErrorKind::Rejected
    }
}

/// Whether Batch refuses a service role that is too new to be assumed. Batch has no code for this;
/// the texts are those that its users report `[V, terraform-provider-aws#34145]`.
#[must_use]
pub(crate) fn is_batch_role_too_new(error: &Error) -> bool {
    let says = |text: &str| says(error, text);
    says("role") && (says("assume") || says("authorized"))
}

/// Whether EventBridge Scheduler refuses a role that is too new to be assumed. A caller without
/// iam:PassRole is "not authorized", which lasts, so that word doesn't count here.
#[must_use]
pub(crate) fn is_scheduler_role_too_new(error: &Error) -> bool {
    says(error, "role") && says(error, "assume")
}

fn says(error: &Error, text: &str) -> bool {
    error.aws().is_some_and(|failure| failure.message.to_lowercase().contains(text))
}

fn credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let mut at: Option<&'a (dyn StdError + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<CredentialsError>() {
            return Some(found);
        }
        at = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_different_services_mean_the_same() {
        for (code, message, kind) in [
            ("UnauthorizedOperation", "", AwsErrorKind::Denied),
            ("AccessDeniedException", "", AwsErrorKind::Denied),
            ("ExpiredTokenException", "", AwsErrorKind::Expired),
            ("RequestExpired", "", AwsErrorKind::Expired),
            ("InvalidClientTokenId", "", AwsErrorKind::BadCredentials),
            ("ThrottlingException", "", AwsErrorKind::Throttled),
            ("RequestLimitExceeded", "", AwsErrorKind::Throttled),
            ("InvalidSpotInstanceRequestID.NotFound", "", AwsErrorKind::NotFound),
            ("NoSuchEntity", "", AwsErrorKind::NotFound),
            ("InvalidLaunchTemplateName.AlreadyExistsException", "", AwsErrorKind::Exists),
            ("EntityAlreadyExists", "", AwsErrorKind::Exists),
            ("ClientException", "Object already exists", AwsErrorKind::Exists),
            ("ClientException", "Cannot update, resource is being modified.", AwsErrorKind::Busy),
            (
                "ClientException",
                "Cannot delete, found existing JobQueue relationship",
                AwsErrorKind::Busy,
            ),
            ("ClientException", "serviceRole is required", AwsErrorKind::Rejected),
            (
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                "",
                AwsErrorKind::NoServiceLinkedRole,
            ),
            ("IdempotentParameterMismatch", "", AwsErrorKind::TokenReused),
            ("InvalidParameterValue", "", AwsErrorKind::Rejected),
        ] {
            assert_eq!(kind_of_code(code, message), kind, "{code} {message}");
        }
        assert_eq!(or_server(AwsErrorKind::Rejected, 503), AwsErrorKind::Server);
        assert_eq!(or_server(AwsErrorKind::Throttled, 503), AwsErrorKind::Throttled);
    }
}
