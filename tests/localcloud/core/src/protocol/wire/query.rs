//! Form bodies of EC2, IAM and STS: flat keys such as `Filter.1.Value.2` or `Tags.member.1.Key`, as
//! nested JSON.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::protocol::wire::xml;
use crate::protocol::{AwsError, Context, Handled, Request};

/// Parameters that belong to the protocol, not to the operation.
const PROTOCOL: [&str; 2] = ["Action", "Version"];

/// A request of the query protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// The operation; empty when the request names none.
    pub action: String,
    /// The operation's parameters, nested. All leaves are strings.
    pub parameters: Value,
}

/// What is built up from the keys: a leaf's text, or what lies below a name.
#[derive(Debug)]
enum Node {
    Leaf(String),
    Branch(Vec<(String, Node)>),
}

impl Query {
    /// Takes a request apart, whether its form is in the body (POST) or in the query string (GET).
    ///
    /// # Errors
    /// `MalformedQueryString` when a key stands for a value and for a structure at once.
    pub(crate) fn read(request: &Request) -> Result<Self, AwsError> {
        let mut action = String::new();
        let mut root = Vec::new();
        for source in [request.query.as_bytes(), request.body.as_slice()] {
            for (key, value) in form_urlencoded::parse(source) {
                match key.as_ref() {
                    "Action" => action = value.into_owned(),
                    key if PROTOCOL.contains(&key) || key.starts_with("X-Amz-") => {}
                    key => insert(&mut root, key, value.into_owned())?,
                }
            }
        }
        Ok(Self { action, parameters: nest(Node::Branch(root)) })
    }
}

fn insert(branch: &mut Vec<(String, Node)>, key: &str, text: String) -> Result<(), AwsError> {
    let malformed =
        || AwsError::new("MalformedQueryString", format!("The query string is malformed at {key}"));
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let at = branch.iter().position(|(known, _)| known == name);
    match (rest, at) {
        (None, Some(_)) => return Err(malformed()),
        (None, None) => branch.push((name.to_owned(), Node::Leaf(text))),
        (Some(rest), None) => {
            let mut below = Vec::new();
            insert(&mut below, rest, text)?;
            branch.push((name.to_owned(), Node::Branch(below)));
        }
        (Some(rest), Some(at)) => match &mut branch[at].1 {
            Node::Leaf(_) => return Err(malformed()),
            Node::Branch(below) => insert(below, rest, text)?,
        },
    }
    Ok(())
}

/// A branch whose names are all numbers is a list, and so is one with nothing but `member` (IAM)
/// that holds a list.
fn nest(node: Node) -> Value {
    let mut below = match node {
        Node::Leaf(text) => return Value::String(text),
        Node::Branch(below) => below,
    };
    if let [(name, Node::Branch(_))] = below.as_slice()
        && name == "member"
    {
        return nest(below.remove(0).1);
    }
    let numbers: Option<Vec<u32>> = below.iter().map(|(name, _)| name.parse().ok()).collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() => {
            let ordered: BTreeMap<u32, Node> =
                numbers.into_iter().zip(below.into_iter().map(|(_, node)| node)).collect();
            Value::Array(ordered.into_values().map(nest).collect())
        }
        _ => Value::Object(
            below.into_iter().map(|(name, node)| (name, nest(node))).collect::<Map<_, _>>(),
        ),
    }
}

/// Reads an operation's parameters into its struct.
///
/// # Errors
/// `UnknownParameter` and `MissingParameter` as EC2 gives them; `InvalidParameterValue` for what
/// can't be read.
pub(crate) fn parse<T: DeserializeOwned>(parameters: Value) -> Result<T, AwsError> {
    serde_json::from_value(parameters).map_err(|error| {
        let text = error.to_string();
        // serde has no other way to tell the two apart than the beginning of its message.
        let named = |beginning: &str| {
            text.strip_prefix(beginning)?.split_once('`').map(|(name, _)| name.to_owned())
        };
        if let Some(name) = named("unknown field `") {
            return AwsError::new(
                "UnknownParameter",
                format!("The parameter {name} is not recognized"),
            );
        }
        if let Some(name) = named("missing field `") {
            return AwsError::new(
                "MissingParameter",
                format!("The request must contain the parameter {name}"),
            );
        }
        AwsError::new("InvalidParameterValue", text)
    })
}

/// Takes one parameter out, before the rest is read into a struct that refuses what it doesn't
/// know.
pub(crate) fn take(parameters: &mut Value, name: &str) -> Option<Value> {
    parameters.as_object_mut()?.shift_remove(name)
}

/// Takes a list of texts out; left out, it is empty.
///
/// # Errors
/// `InvalidParameterValue` when it is something else.
pub(crate) fn take_list(parameters: &mut Value, name: &str) -> Result<Vec<String>, AwsError> {
    take(parameters, name).map_or_else(|| Ok(Vec::new()), parse)
}

/// Takes a truth value out; left out, it is false.
///
/// # Errors
/// `InvalidParameterValue` when it is something else.
pub(crate) fn take_flag(parameters: &mut Value, name: &str) -> Result<bool, AwsError> {
    match take(parameters, name) {
        None => Ok(false),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(other) => {
            Err(AwsError::new("InvalidParameterValue", format!("Invalid value {other} for {name}")))
        }
    }
}

/// Runs one operation of a query service and puts its outcome into the protocol's shape.
pub(crate) fn handle(
    service: &str,
    context: &Context,
    request: &Request,
    run: impl FnOnce(&str, Value) -> Result<Value, AwsError>,
) -> Handled {
    let (query, result) = match Query::read(request) {
        Ok(query) => {
            let result = run(&query.action, query.parameters.clone());
            (query, result)
        }
        Err(error) => (Query::default(), Err(error)),
    };
    let id = &context.request_id;
    let (response, error) = match result {
        Ok(body) if service == "ec2" => (xml::ec2_response(id, &query.action, body), None),
        Ok(body) => (xml::query_response(service, id, &query.action, body), None),
        Err(error) => (super::error(service, context, &error), Some(error.code)),
    };
    Handled { operation: query.action, parameters: query.parameters, response, error }
}

/// Reads a number or a truth value out of its text; for `#[serde(default, deserialize_with =
/// "...")]`.
///
/// # Errors
/// When the text is something else.
pub(crate) fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
{
    let text = String::deserialize(deserializer)?;
    text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("Invalid value '{text}'")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &str) -> Result<Query, AwsError> {
        Query::read(&Request { body: body.as_bytes().to_vec(), ..Request::default() })
    }

    #[test]
    fn numbered_keys_are_lists_in_the_order_of_their_numbers() {
        let body = "Action=DescribeTags&Version=2016-11-15&Filter.2.Name=key&Filter.1.Name=resource-id&Filter.1.Value.2=i-b&Filter.1.Value.10=i-c&Filter.1.Value.1=i-a&MaxResults=5";
        let query = read(body).expect("a form");
        assert_eq!(query.action, "DescribeTags");
        let filters =
            json!([{"Name": "resource-id", "Value": ["i-a", "i-b", "i-c"]}, {"Name": "key"}]);
        assert_eq!(query.parameters, json!({"Filter": filters, "MaxResults": "5"}));
    }

    #[test]
    fn iam_lists_are_below_member() {
        let query = read("Action=CreateRole&Tags.member.1.Key=a&Tags.member.1.Value=b%20c")
            .expect("a form");
        assert_eq!(query.parameters, json!({"Tags": [{"Key": "a", "Value": "b c"}]}));
    }

    #[test]
    fn a_get_carries_its_form_in_the_query_string() {
        let request = Request {
            query: "Action=GetCallerIdentity&X-Amz-Date=1".to_owned(),
            ..Request::default()
        };
        let query = Query::read(&request).expect("a form");
        assert_eq!((query.action.as_str(), query.parameters), ("GetCallerIdentity", json!({})));
    }

    #[test]
    fn a_key_that_is_a_value_and_a_structure_is_refused() {
        for body in ["A=1&A.1=2", "A.1=2&A=1", "A=1&A=2"] {
            assert_eq!(read(body).expect_err(body).code, "MalformedQueryString", "{body}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default, deserialize_with = "text")]
        count: Option<u32>,
    }

    #[test]
    fn unknown_missing_and_unreadable_parameters_have_aws_codes() {
        let sample: Sample = parse(json!({"Name": "x", "Count": "3"})).expect("right ones");
        assert_eq!((sample.name.as_str(), sample.count), ("x", Some(3)));
        let codes = [
            (json!({"Name": "x", "Cuont": "3"}), "UnknownParameter", "Cuont"),
            (json!({"Count": "3"}), "MissingParameter", "Name"),
            (json!({"Name": "x", "Count": "three"}), "InvalidParameterValue", "three"),
        ];
        for (parameters, code, hint) in codes {
            let error = parse::<Sample>(parameters).expect_err(code);
            assert_eq!(error.code, code);
            assert!(error.message.contains(hint), "{}", error.message);
        }
    }
}
