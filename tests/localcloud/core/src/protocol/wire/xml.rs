//! XML answers of EC2, IAM, STS and S3.
//!
//! An answer is a [`Value`] in the order of its elements: an object's entries are elements, a list
//! is an element that holds one `item` (EC2) or `member` (IAM, STS) for each entry, and `null` is
//! no element at all.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::protocol::{AwsError, Response};

const EC2_NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// An answer of EC2.
#[must_use]
pub(crate) fn ec2_response(request_id: &str, operation: &str, body: Value) -> Response {
    let mut root = object([("@xmlns", json!(EC2_NAMESPACE)), ("requestId", json!(request_id))]);
    if let Value::Object(fields) = elements(body, "item") {
        root.extend(fields);
    }
    document(200, request_id, &format!("{operation}Response"), &Value::Object(root))
}

/// An error of EC2.
#[must_use]
pub(crate) fn ec2_error(request_id: &str, error: &AwsError) -> Response {
    let error_body = json!({ "Error": { "Code": error.code, "Message": error.message } });
    document(
        error.status,
        request_id,
        "Response",
        &json!({ "Errors": error_body, "RequestID": request_id }),
    )
}

/// An answer of IAM or STS. Operations that give nothing back have no result element.
#[must_use]
pub(crate) fn query_response(
    service: &str,
    request_id: &str,
    operation: &str,
    body: Value,
) -> Response {
    let mut root = object([("@xmlns", json!(query_namespace(service)))]);
    if !body.is_null() {
        root.insert(format!("{operation}Result"), elements(body, "member"));
    }
    root.insert("ResponseMetadata".to_owned(), json!({ "RequestId": request_id }));
    document(200, request_id, &format!("{operation}Response"), &Value::Object(root))
}

/// An error of IAM or STS.
#[must_use]
pub(crate) fn query_error(service: &str, request_id: &str, error: &AwsError) -> Response {
    let side = if error.status < 500 { "Sender" } else { "Receiver" };
    let body = json!({
        "@xmlns": query_namespace(service),
        "Error": { "Type": side, "Code": error.code, "Message": error.message },
        "RequestId": request_id,
    });
    document(error.status, request_id, "ErrorResponse", &body)
}

/// An error of S3, which has a header of its own for the request id.
#[must_use]
pub(crate) fn s3_error(request_id: &str, error: &AwsError) -> Response {
    let body = json!({ "Code": error.code, "Message": error.message, "RequestId": request_id });
    let mut response = document(error.status, request_id, "Error", &body);
    response.headers.push(("x-amz-request-id".to_owned(), request_id.to_owned()));
    response
}

fn query_namespace(service: &str) -> &'static str {
    match service {
        "iam" => "https://iam.amazonaws.com/doc/2010-05-08/",
        _ => "https://sts.amazonaws.com/doc/2011-06-15/",
    }
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Brings lists below an element of their own and leaves out what is null. An empty list stays as
/// an empty element, as AWS has it. The few lists whose entries have a name of their own are
/// written as `{"#name": [...]}`.
fn elements(value: Value, entry: &str) -> Value {
    match value {
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().map(|value| elements(value, entry)).collect();
            // Moved, where `json!` would copy all that is below once for each level.
            if list.is_empty() {
                Value::String(String::new())
            } else {
                object([(entry, list.into())]).into()
            }
        }
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match (name.strip_prefix('#'), value) {
                (Some(name), Value::Array(list)) => (
                    name.to_owned(),
                    list.into_iter().map(|value| elements(value, entry)).collect(),
                ),
                (_, value) => (name, elements(value, entry)),
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

fn document(status: u16, request_id: &str, root: &str, body: &Value) -> Response {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let written = quick_xml::se::Serializer::with_root(&mut text, Some(root))
        .and_then(|to| body.serialize(to));
    // Every element name is this program's own, and every text can be escaped: what fails here is a
    // fault of its own.
    let (status, text) = match written {
        Ok(_) => (status, text),
        Err(error) => (500, format!("<Response>{error}</Response>")),
    };
    Response {
        status,
        headers: vec![
            ("content-type".to_owned(), "text/xml;charset=UTF-8".to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        body: text.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response) -> &str {
        let text = std::str::from_utf8(&response.body).expect("UTF-8");
        text.split_once('\n').expect("a declaration").1
    }

    #[test]
    fn ec2_lists_have_items_and_null_has_no_element() {
        let body = json!({"set": [{"a": 1, "none": null}, {"a": "<&"}], "plain": ["x", "y"], "empty": [], "yes": true,
            "own": {"#groupId": ["g", "h"]}});
        assert_eq!(
            text(&ec2_response("r-1", "DescribeThings", body)),
            "<DescribeThingsResponse \
             xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r-1</requestId><set><item><a>1</a></item><item><a>&lt;&amp;</a></item></set><plain><item>x</item><item>y</item></plain><empty/><yes>true</yes><own><groupId>g</groupId><groupId>h</groupId></own></DescribeThingsResponse>"
        );
    }

    #[test]
    fn iam_answers_have_a_result_and_metadata() {
        let namespace = "xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";
        assert_eq!(
            text(&query_response(
                "iam",
                "r-1",
                "ListThings",
                json!({"Names": ["a"], "IsTruncated": false})
            )),
            format!(
                "<ListThingsResponse \
                 {namespace}><ListThingsResult><Names><member>a</member></Names><IsTruncated>false</IsTruncated></ListThingsResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></ListThingsResponse>"
            )
        );
        assert_eq!(
            text(&query_response("iam", "r-1", "DeleteThing", Value::Null)),
            format!(
                "<DeleteThingResponse \
                 {namespace}><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></DeleteThingResponse>"
            )
        );
    }

    #[test]
    fn each_protocol_has_its_own_shape_of_an_error() {
        let error = AwsError::new("NoSuchThing", "it's <gone>").with_status(404);
        let ec2 = ec2_error("r-1", &error);
        assert_eq!(ec2.status, 404);
        assert_eq!(
            text(&ec2),
            "<Response><Errors><Error><Code>NoSuchThing</Code><Message>it's \
             &lt;gone&gt;</Message></Error></Errors><RequestID>r-1</RequestID></Response>"
        );
        assert!(
            text(&query_error("iam", "r-1", &error))
                .contains("<Error><Type>Sender</Type><Code>NoSuchThing</Code>")
        );
        assert!(text(&s3_error("r-1", &error)).starts_with("<Error><Code>NoSuchThing</Code>"));
    }
}
