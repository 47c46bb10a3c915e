//! SSM: the public parameters that name the ECS images.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::protocol::wire::json;
use crate::protocol::{AwsError, Context, Handled, Options, Request};
use crate::services::ec2;

/// Where AWS keeps the parameters of its ECS images.
const PREFIX: &str = "/aws/service/ecs/optimized-ami/";

/// SSM's state: its parameters, all of them AWS's own.
pub(crate) struct Ssm {
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    value: &'static str,
}

impl Default for Ssm {
    fn default() -> Self {
        let named = |(name, image): &(&str, &'static str)| Parameter {
            name: format!("{PREFIX}{name}/image_id"),
            value: image,
        };
        Self { parameters: ec2::ECS_IMAGES.iter().map(named).collect() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetParameter {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetParameters {
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetParametersByPath {
    path: String,
    #[serde(default)]
    recursive: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
}

pub(crate) fn handle(
    ssm: &Ssm,
    options: &Options,
    context: &Context,
    request: &Request,
) -> Handled {
    let action = json::target(request).unwrap_or_default();
    let result = match action {
        "GetParameter" => get(ssm, options, &request.body),
        "GetParameters" => get_several(ssm, options, &request.body),
        "GetParametersByPath" => get_by_path(ssm, options, &request.body),
        _ => Err(AwsError::new("UnknownOperationException", format!("unknown operation {action}"))),
    };
    let (response, error) = match result {
        Ok(body) => (json::target_response(&context.request_id, &body), None),
        Err(error) => (json::target_error("ssm", &context.request_id, &error), Some(error.code)),
    };
    Handled {
        operation: action.to_owned(),
        parameters: serde_json::from_slice(&request.body).unwrap_or_default(),
        response,
        error,
    }
}

fn answer(options: &Options, Parameter { name, value }: &Parameter) -> Value {
    json!({
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 42,
        // 2026-11-01: SSM writes times as seconds.
        "LastModifiedDate": 1_793_491_200,
        "ARN": format!("arn:aws:ssm:{}::parameter{name}", options.region),
        "DataType": "text",
    })
}

fn get(ssm: &Ssm, options: &Options, body: &[u8]) -> Result<Value, AwsError> {
    let GetParameter { name } = json::parse(body)?;
    match ssm.parameters.iter().find(|known| known.name == name) {
        Some(parameter) => Ok(json!({ "Parameter": answer(options, parameter) })),
        None => Err(AwsError::new("ParameterNotFound", "")),
    }
}

fn get_several(ssm: &Ssm, options: &Options, body: &[u8]) -> Result<Value, AwsError> {
    let GetParameters { names } = json::parse(body)?;
    if !(1..=10).contains(&names.len()) {
        let message = "Member must have length between 1 and 10, inclusive";
        return Err(AwsError::new("ValidationException", message));
    }
    let all = &ssm.parameters;
    let invalid: Vec<&String> =
        names.iter().filter(|name| all.iter().all(|known| known.name != **name)).collect();
    let found = all.iter().filter(|known| names.contains(&known.name));
    let answers: Vec<Value> = found.map(|parameter| answer(options, parameter)).collect();
    Ok(json!({ "Parameters": answers, "InvalidParameters": invalid }))
}

fn get_by_path(ssm: &Ssm, options: &Options, body: &[u8]) -> Result<Value, AwsError> {
    let GetParametersByPath { path, recursive, max_results, next_token } = json::parse(body)?;
    if !path.starts_with('/') {
        let message = "The parameter doesn't meet the parameter name requirements. The parameter \
                       name must begin with a forward slash \"/\".";
        return Err(AwsError::new("ValidationException", message));
    }
    let size = max_results.unwrap_or(10);
    if !(1..=10).contains(&size) {
        return Err(AwsError::new(
            "ValidationException",
            "maxResults: Member must have value between 1 and 10",
        ));
    }
    let start: usize = match next_token {
        None => 0,
        Some(token) => token
            .parse()
            .map_err(|_| AwsError::new("InvalidNextToken", "The specified token isn't valid."))?,
    };
    let below = format!("{}/", path.trim_end_matches('/'));
    let inside =
        |name: &str| name.strip_prefix(&below).is_some_and(|rest| recursive || !rest.contains('/'));
    let all: Vec<&Parameter> = ssm.parameters.iter().filter(|known| inside(&known.name)).collect();
    let page: Vec<Value> =
        all.iter().skip(start).take(size).map(|parameter| answer(options, parameter)).collect();
    let mut body = json!({ "Parameters": page });
    if all.len() > start + size {
        body["NextToken"] = json!((start + size).to_string());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cloud::testing::World;

    const NAME: &str = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id";

    #[test]
    fn the_named_images_can_be_described() {
        let mut world = World::new();
        let answer = world.ssm("GetParameter", &json!({ "Name": NAME })).expect("a parameter");
        let image = answer["Parameter"]["Value"].as_str().expect("an image");
        world.query("ec2", &format!("Action=DescribeImages&ImageId.1={image}"));
    }

    #[test]
    fn an_unknown_name_is_not_found_alone_and_listed_among_others() {
        let mut world = World::new();
        let error = world.ssm("GetParameter", &json!({ "Name": "/x" })).expect_err("unknown");
        assert_eq!(error.0, "ParameterNotFound");
        let answer = world.ssm("GetParameters", &json!({ "Names": [NAME, "/x"] })).expect("both");
        assert_eq!(answer["InvalidParameters"], json!(["/x"]));
        assert_eq!(answer["Parameters"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_path_gives_what_is_below_it_in_pages() {
        let mut world = World::new();
        let mut ask =
            json!({ "Path": "/aws/service/ecs/optimized-ami", "Recursive": true, "MaxResults": 4 });
        let first = world.ssm("GetParametersByPath", &ask).expect("the first page");
        ask["NextToken"] = first["NextToken"].clone();
        let second = world.ssm("GetParametersByPath", &ask).expect("the second page");
        let count = |page: &serde_json::Value| page["Parameters"].as_array().map(Vec::len);
        assert_eq!(
            (count(&first), count(&second), second.get("NextToken")),
            (Some(4), Some(2), None)
        );
    }
}
