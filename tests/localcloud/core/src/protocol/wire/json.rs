//! JSON 1.1, where a header names the operation, and REST JSON, where the path does.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{AwsError, Request, Response};

/// The operation that a JSON 1.1 request asks for: what follows the dot in `X-Amz-Target`.
#[must_use]
pub(crate) fn target(request: &Request) -> Option<&str> {
    request.header("x-amz-target")?.rsplit_once('.').map(|(_, operation)| operation)
}

/// Reads a body; an empty one counts as `{}`, as REST JSON clients send none when there is nothing
/// to say.
///
/// # Errors
/// `SerializationException` when it is not the JSON that the operation takes.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AwsError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| AwsError::new("SerializationException", error.to_string()))
}

/// A JSON 1.1 answer.
#[must_use]
pub(crate) fn target_response(request_id: &str, body: &impl Serialize) -> Response {
    response(200, "application/x-amz-json-1.1", request_id, body)
}

/// A JSON 1.1 error.
#[must_use]
pub(crate) fn target_error(service: &str, request_id: &str, error: &AwsError) -> Response {
    let body = serde_json::json!({ "__type": error.code, text_member(service, &error.code): error.message });
    with_error_type(response(error.status, "application/x-amz-json-1.1", request_id, &body), error)
}

/// A REST JSON answer.
#[must_use]
pub(crate) fn rest_response(request_id: &str, body: &impl Serialize) -> Response {
    response(200, "application/json", request_id, body)
}

/// A REST JSON error.
#[must_use]
pub(crate) fn rest_error(service: &str, request_id: &str, error: &AwsError) -> Response {
    let body = serde_json::json!({ text_member(service, &error.code): error.message });
    with_error_type(response(error.status, "application/json", request_id, &body), error)
}

/// The member with an error's text, which AWS's models spell in two ways.
fn text_member(service: &str, code: &str) -> &'static str {
    match (service, code) {
        ("scheduler" | "pricing", _) | ("ssm", "InvalidNextToken") => "Message",
        _ => "message",
    }
}

fn response(status: u16, content_type: &str, request_id: &str, body: &impl Serialize) -> Response {
    Response {
        status,
        headers: vec![
            ("content-type".to_owned(), content_type.to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        // The answers are structs and values with string keys, which always have a JSON form.
        body: serde_json::to_vec(body).unwrap_or_default(),
    }
}

fn with_error_type(mut response: Response, error: &AwsError) -> Response {
    response.headers.push(("x-amzn-errortype".to_owned(), error.code.clone()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> AwsError {
        AwsError::new("ClientException", "no such thing")
    }

    #[test]
    fn the_target_header_names_the_operation() {
        let header =
            ("x-amz-target".to_owned(), "AmazonEC2ContainerServiceV20141113.ListTasks".to_owned());
        let request = Request { headers: vec![header], ..Request::default() };
        assert_eq!(target(&request), Some("ListTasks"));
        assert_eq!(target(&Request::default()), None);
    }

    #[test]
    fn an_empty_body_is_an_empty_object_and_a_broken_one_is_refused() {
        let empty: serde_json::Value = parse(b"").expect("nothing to say");
        assert_eq!(empty, serde_json::json!({}));
        let error = parse::<serde_json::Value>(b"{").expect_err("broken");
        assert_eq!((error.status, error.code.as_str()), (400, "SerializationException"));
    }

    #[test]
    fn a_json_1_1_error_names_its_code_in_the_body_and_in_a_header() {
        let response = target_error("ecs", "r-1", &error());
        assert_eq!(response.status, 400);
        assert_eq!(response.body, br#"{"__type":"ClientException","message":"no such thing"}"#);
        assert!(
            response
                .headers
                .contains(&("x-amzn-errortype".to_owned(), "ClientException".to_owned()))
        );
        assert!(response.headers.contains(&("x-amzn-requestid".to_owned(), "r-1".to_owned())));
    }

    #[test]
    fn a_rest_json_error_names_its_code_in_a_header_alone() {
        let response = rest_error("batch", "r-1", &error().with_status(404));
        assert_eq!(response.status, 404);
        assert_eq!(response.body, br#"{"message":"no such thing"}"#);
        assert!(
            response
                .headers
                .contains(&("x-amzn-errortype".to_owned(), "ClientException".to_owned()))
        );
    }

    #[test]
    fn the_text_of_an_error_is_spelled_as_in_the_services_model() {
        assert_eq!(
            rest_error("scheduler", "r-1", &error()).body,
            br#"{"Message":"no such thing"}"#
        );
    }
}
