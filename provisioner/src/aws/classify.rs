//! The one place that classifies an SDK error: everything above looks at its kind only.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::unanswered;
use crate::model::error::{AwsFailure, Error, Kind};

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
            None => unanswered::told(&error),
        };
        let request_id = error.meta().request_id().or_else(|| error.request_id()).map(str::to_owned);
        let kind = kind_of(&error, code.as_deref(), &message);
        Box::new(AwsFailure { action, resource: resource.into(), kind, code, message, request_id }).into()
    }
}

fn kind_of<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>, message: &str) -> Kind
where
    E: StdError + Send + Sync + 'static,
{
    if let Some(problem) = credentials_error(error) {
        let expired = matches!(problem, CredentialsError::ProviderError(_)) && message.contains("expired");
        return if expired { Kind::Expired } else { Kind::NoCredentials };
    }
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => Kind::Unreachable,
        SdkError::ResponseError(_) => Kind::Server,
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            or_server(code.map_or(Kind::Rejected, |code| kind_of_code(code, message)), status)
        }
        _ => Kind::Rejected,
    }
}

/// What isn't told apart by its code is AWS's own failure where the status says so.
fn or_server(kind: Kind, status: u16) -> Kind {
    if kind == Kind::Rejected && status >= 500 { Kind::Server } else { kind }
}

/// What AWS's code means. Services differ in how they name the same thing.
fn kind_of_code(code: &str, message: &str) -> Kind {
    const DENIED: [&str; 4] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"];
    const EXPIRED: [&str; 4] = ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
    const BAD: [&str; 6] = [
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "AuthFailure",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
    ];
    if DENIED.contains(&code) {
        Kind::Denied
    } else if EXPIRED.contains(&code) {
        Kind::Expired
    } else if BAD.contains(&code) {
        Kind::BadCredentials
    } else if code.contains("Throttl") || matches!(code, "RequestLimitExceeded" | "TooManyRequestsException") {
        Kind::Throttled
    } else if code.contains("AlreadyExists") || (code == "ClientException" && message.contains("already exist")) {
        // Batch has no code of its own for this, nor for the next, whose wording is what its users report [A].
        Kind::Exists
    } else if code == "ClientException"
        && (message.contains("being modified") || message.contains("existing JobQueue relationship"))
    {
        // A queue that is gone can stand in the way of its environment for a while `[V, terraform-provider-aws#46925]`.
        Kind::Busy
    } else if code.contains("NotFound") || code == "NoSuchEntity" {
        Kind::NotFound
    } else {
        Kind::Rejected
    }
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
            ("UnauthorizedOperation", "", Kind::Denied),
            ("AccessDeniedException", "", Kind::Denied),
            ("ExpiredTokenException", "", Kind::Expired),
            ("RequestExpired", "", Kind::Expired),
            ("InvalidClientTokenId", "", Kind::BadCredentials),
            ("ThrottlingException", "", Kind::Throttled),
            ("RequestLimitExceeded", "", Kind::Throttled),
            ("InvalidSpotInstanceRequestID.NotFound", "", Kind::NotFound),
            ("NoSuchEntity", "", Kind::NotFound),
            ("InvalidLaunchTemplateName.AlreadyExistsException", "", Kind::Exists),
            ("EntityAlreadyExists", "", Kind::Exists),
            ("ClientException", "Object already exists", Kind::Exists),
            ("ClientException", "Cannot update, resource is being modified.", Kind::Busy),
            ("ClientException", "Cannot delete, found existing JobQueue relationship", Kind::Busy),
            ("ClientException", "serviceRole is required", Kind::Rejected),
            ("InvalidParameterValue", "", Kind::Rejected),
        ] {
            assert_eq!(kind_of_code(code, message), kind, "{code} {message}");
        }
        assert_eq!(or_server(Kind::Rejected, 503), Kind::Server);
        assert_eq!(or_server(Kind::Throttled, 503), Kind::Throttled);
    }
}
