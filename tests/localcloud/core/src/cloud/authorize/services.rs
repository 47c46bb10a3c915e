//! The calls of the other services.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Facts, entries, text, texts};
use crate::protocol::Request;
use crate::services::iam::{self, Ask};

/// The ARN of something in the account and its region.
pub(super) fn arn(facts: &Facts<'_>, service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{}:{}:{resource}", facts.options.region, facts.options.account)
}

/// What follows the last `/`, be it of an ARN or of a name.
fn last(named: &str) -> &str {
    named.rsplit('/').next().unwrap_or(named)
}

/// IAM's own calls.
pub(super) fn iam(facts: &Facts<'_>, operation: &str, parameters: &Value) -> Vec<Ask> {
    let action = format!("iam:{operation}");
    let account = &facts.options.account;
    let path = text(parameters, "Path").unwrap_or("/");
    let role = text(parameters, "RoleName").map(|name| {
        iam::role_arn(facts.iam, name)
            .unwrap_or_else(|| format!("arn:aws:iam::{account}:role{path}{name}"))
    });
    let tagged = !entries(parameters, "Tags").is_empty();
    if let Some(name) = text(parameters, "InstanceProfileName") {
        let known = iam::profile_of(facts.iam, name).map(|(arn, _)| arn);
        let profile =
            known.unwrap_or_else(|| format!("arn:aws:iam::{account}:instance-profile{path}{name}"));
        let beside = match operation {
            "AddRoleToInstanceProfile" => role.map(|role| Ask::pass(role, "ec2.amazonaws.com")),
            "CreateInstanceProfile" if tagged => {
                Some(Ask::new("iam:TagInstanceProfile", profile.clone()))
            }
            _ => None,
        };
        return std::iter::once(Ask::new(action, profile)).chain(beside).collect();
    }
    let resource = role.or_else(|| text(parameters, "PolicySourceArn").map(str::to_owned));
    let resource = resource.unwrap_or_else(|| "*".to_owned());
    let tags =
        (operation == "CreateRole" && tagged).then(|| Ask::new("iam:TagRole", resource.clone()));
    let mut ask = Ask::new(action, resource);
    if let Some(policy) = text(parameters, "PolicyArn") {
        ask = ask.with("iam:PolicyARN", policy);
    }
    std::iter::once(ask).chain(tags).collect()
}

/// ECS.
pub(super) fn ecs(facts: &Facts<'_>, operation: &str, parameters: &Value) -> Vec<Ask> {
    let action = format!("ecs:{operation}");
    let name = last(text(parameters, "cluster").unwrap_or("default"));
    let cluster = arn(facts, "ecs", &format!("cluster/{name}"));
    let inside = |kind: &str, ids: Vec<&str>| -> Vec<Ask> {
        let on = |id: &str| {
            let resource = arn(facts, "ecs", &format!("{kind}/{name}/{}", last(id)));
            Ask::new(action.clone(), resource).with("ecs:cluster", cluster.clone())
        };
        ids.into_iter().map(on).collect()
    };
    match operation {
        "DescribeContainerInstances" | "UpdateContainerInstancesState" => {
            inside("container-instance", texts(parameters, "containerInstances"))
        }
        "ListTasks" | "Poll" | "StartTelemetrySession" => {
            inside("container-instance", vec![text(parameters, "containerInstance").unwrap_or("*")])
        }
        "PutAttributes" => {
            let targets = entries(parameters, "attributes")
                .iter()
                .map(|it| text(it, "targetId").unwrap_or("*"));
            inside("container-instance", targets.collect())
        }
        "DescribeTasks" => inside("task", texts(parameters, "tasks")),
        "StopTask" => inside("task", texts(parameters, "task")),
        "ListTagsForResource" | "TagResource" => {
            vec![Ask::new(action, text(parameters, "resourceArn").unwrap_or("*"))]
        }
        "DiscoverPollEndpoint" | "ListClusters" => vec![Ask::new(action, "*")],
        _ => vec![Ask::new(action, cluster)],
    }
}

/// EventBridge Scheduler, whose paths name what a call is about.
pub(super) fn scheduler(
    facts: &Facts<'_>,
    operation: &str,
    request: &Request,
    body: &Value,
) -> Vec<Ask> {
    let action = format!("scheduler:{operation}");
    let path =
        percent_decode_str(request.path.trim_start_matches('/')).decode_utf8_lossy().into_owned();
    let (kind, name) = path.split_once('/').unwrap_or((&path, ""));
    let resource = match (kind, name) {
        (_, "") => "*".to_owned(),
        ("schedule-groups", name) => arn(facts, "scheduler", &format!("schedule-group/{name}")),
        ("tags", arn) => arn.to_owned(),
        (_, name) => {
            let in_query = form_urlencoded::parse(request.query.as_bytes())
                .find(|(key, _)| key == "groupName");
            let group = in_query.map(|(_, value)| value.into_owned());
            let group = group.or_else(|| text(body, "GroupName").map(str::to_owned));
            arn(
                facts,
                "scheduler",
                &format!("schedule/{}/{name}", group.as_deref().unwrap_or("default")),
            )
        }
    };
    let role = body.get("Target").and_then(|target| text(target, "RoleArn"));
    let tags = (operation == "CreateScheduleGroup" && !entries(body, "Tags").is_empty())
        .then(|| Ask::new("scheduler:TagResource", resource.clone()));
    let passed = role.map(|role| Ask::pass(role, "scheduler.amazonaws.com"));
    std::iter::once(Ask::new(action, resource)).chain(passed).chain(tags).collect()
}

/// SSM. AWS's own parameters are nobody's in particular.
pub(super) fn ssm(facts: &Facts<'_>, operation: &str, body: &Value) -> Vec<Ask> {
    let action = format!("ssm:{operation}");
    let name = text(body, "Name").unwrap_or("*");
    let path = name.trim_start_matches('/');
    let account = if name.starts_with("/aws/") { "" } else { facts.options.account.as_str() };
    vec![Ask::new(
        action,
        format!("arn:aws:ssm:{}:{account}:parameter/{path}", facts.options.region),
    )]
}

/// CloudWatch Logs.
pub(super) fn logs(facts: &Facts<'_>, operation: &str, body: &Value) -> Vec<Ask> {
    let of = |name: &str| text(body, name).unwrap_or("*");
    let stream = format!("log-group:{}:log-stream:{}", of("logGroupName"), of("logStreamName"));
    vec![Ask::new(format!("logs:{operation}"), arn(facts, "logs", &stream))]
}

/// S3's objects by path-style addresses.
pub(super) fn s3(request: &Request) -> Vec<Ask> {
    let action = if request.method == "PUT" { "s3:PutObject" } else { "s3:GetObject" };
    let path = percent_decode_str(request.path.trim_start_matches('/')).decode_utf8_lossy();
    vec![Ask::new(action, format!("arn:aws:s3:::{path}"))]
}
