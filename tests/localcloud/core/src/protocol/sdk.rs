//! Requests of the AWS SDK for Rust as the core's, and the core's answers as the SDK's: for
//! simulations, whose HTTP client is the core itself.

use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use crate::protocol::{Request, Response};

/// The request that the SDK would put on the wire. A body that is a stream counts as empty: none of
/// the calls that are simulated has one.
#[must_use]
pub fn request(of: &HttpRequest) -> Request {
    let uri = of.uri();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let target = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: of.method().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: of
            .headers()
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: of.body().bytes().unwrap_or_default().to_vec(),
    }
}

/// The answer as it comes off the wire.
///
/// # Errors
/// When its status is none.
pub fn response(of: Response) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(of.status)
        .map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut answer = HttpResponse::new(status, SdkBody::from(of.body));
    for (name, value) in of.headers {
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use crate::protocol::sdk::*;

    /// Catches: a path with the host or the query in it.
    #[test]
    fn a_request_is_taken_apart() {
        for (uri, path, query) in [
            ("http://cloud.invalid/v1/jobs/a%20b?x=1&y=2", "/v1/jobs/a%20b", "x=1&y=2"),
            ("http://cloud.invalid", "/", ""),
        ] {
            let mut sent = HttpRequest::new(SdkBody::from("Action=X"));
            sent.set_method("PUT").expect("a method");
            sent.set_uri(uri).expect("a URI");
            sent.headers_mut().append("X-Amz-Target", "A.B");
            let it = request(&sent);
            assert_eq!(
                (it.method.as_str(), it.path.as_str(), it.query.as_str()),
                ("PUT", path, query),
                "{uri}"
            );
            assert_eq!(
                (it.header("x-amz-target"), it.body.as_slice()),
                (Some("A.B"), &b"Action=X"[..])
            );
        }
    }

    #[test]
    fn an_answer_is_put_together_and_one_without_a_status_is_none() {
        let headers = vec![("x-amzn-requestid".to_owned(), "r-1".to_owned())];
        let answer =
            response(Response { status: 404, headers, body: b"no".to_vec() }).expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers().get("x-amzn-requestid")),
            (404, Some("r-1"))
        );
        assert_eq!(answer.body().bytes(), Some(&b"no"[..]));
        assert!(response(Response::default()).is_err());
    }
}
