//! The policies of the roles that are made: as little as the agent and the ECS agent need, since
//! every job on the instance can use them too.

use node_contract::names::tag;
use serde_json::{Value, json};

pub(crate) mod workstation;

/// Who may assume a role.
#[must_use]
pub(crate) fn trust(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    })
}

/// Who may assume the scheduler's role: EventBridge Scheduler, for schedules of this group of this
/// account.
#[must_use]
pub(crate) fn trust_schedules(partition: &str, account: &str, group: &str) -> Value {
    let mut trust = trust("scheduler.amazonaws.com");
    trust["Statement"][0]["Condition"] = json!({
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": format!("arn:{partition}:scheduler:*:{account}:schedule-group/{group}")},
    });
    trust
}

/// The scheduler's role: it ends instances and fleets that carry the environment's mark, and can do
/// nothing else.
#[must_use]
pub(crate) fn scheduler(partition: &str, account: &str, environment: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "EndWhatIsOfTheEnvironment",
            "Effect": "Allow",
            "Action": ["ec2:DeleteFleets", "ec2:TerminateInstances"],
            "Resource": [
                format!("arn:{partition}:ec2:*:{account}:fleet/*"),
                format!("arn:{partition}:ec2:*:{account}:instance/*"),
            ],
            "Condition": {"StringEquals": {format!("aws:ResourceTag/{}", tag::ENVIRONMENT): environment}},
        }],
    })
}

/// The account in an ARN, for which the SDKs have no type.
#[must_use]
pub(crate) fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// What AWS attaches to Batch's service role.
#[must_use]
pub(crate) fn batch_service_policy(partition: &str) -> String {
    format!("arn:{partition}:iam::aws:policy/service-role/AWSBatchServiceRole")
}

/// Patterns of the ARN of the cluster that Batch makes behind an environment, for who can't know
/// it: its name ends in a UUID, and both forms occur `[V]`. In an ARN's pattern `?` is any one
/// character `[V]`.
#[must_use]
pub(crate) fn clusters(
    partition: &str,
    region: &str,
    account: &str,
    environment: &str,
) -> [String; 2] {
    let uuid = [8, 4, 4, 4, 12].map(|length| "?".repeat(length)).join("-");
    [format!("AWSBatch-{environment}-{uuid}"), format!("{environment}_Batch_{uuid}")]
        .map(|name| format!("arn:{partition}:ecs:{region}:{account}:cluster/{name}"))
}

/// Whether such a pattern covers this ARN.
fn covers(pattern: &str, arn: &str) -> bool {
    pattern.len() == arn.len()
        && pattern.bytes().zip(arn.bytes()).all(|(wanted, is)| wanted == b'?' || wanted == is)
}

/// Whether a policy is the instance role's: the one for this cluster, or the one for patterns that
/// cover it.
#[must_use]
pub(crate) fn is_instance(
    policy: &Value,
    environment: &str,
    cluster: &str,
    object: Option<&str>,
) -> bool {
    let mut parts = cluster.split(':').skip(1);
    let (partition, region) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let patterns = clusters(partition, region, account(cluster), environment);
    let covered = patterns.iter().any(|pattern| covers(pattern, cluster));
    *policy == instance(&[cluster], object) || covered && *policy == instance(&patterns, object)
}

/// The instance role's policy: what AmazonEC2ContainerServiceforEC2Role gives the ECS agent, held
/// to the cluster where ECS can (without ecs:CreateCluster: the cluster is Batch's), and what
/// `spotblock-agent` does on top. Where it comes from S3, its `object` there (bucket and key) can
/// be read.
#[must_use]
pub(crate) fn instance<S: AsRef<str>>(clusters: &[S], object: Option<&str>) -> Value {
    let first = clusters.first().map(AsRef::as_ref).unwrap_or_default();
    let mut policy = on_cluster(&match clusters {
        [_] => json!(first),
        several => several.iter().map(AsRef::as_ref).collect(),
    });
    let statements = policy.get_mut("Statement").and_then(Value::as_array_mut);
    if let (Some(statements), Some(object)) = (statements, object) {
        let partition = first.split(':').nth(1).unwrap_or("aws");
        statements.push(json!({
            "Sid": "FetchTheAgent",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": format!("arn:{partition}:s3:::{object}"),
        }));
    }
    policy
}

fn on_cluster(cluster: &Value) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "EcsAgentOnItsCluster",
                "Effect": "Allow",
                "Action": [
                    "ecs:DeregisterContainerInstance",
                    "ecs:ListContainerInstances",
                    "ecs:RegisterContainerInstance",
                    "ecs:SubmitAttachmentStateChanges",
                    "ecs:SubmitContainerStateChange",
                    "ecs:SubmitTaskStateChange",
                ],
                "Resource": cluster,
            },
            {
                "Sid": "BothAgentsInTheirCluster",
                "Effect": "Allow",
                "Action": [
                    "ecs:Poll",
                    "ecs:PutAttributes",
                    "ecs:StartTelemetrySession",
                    "ecs:UpdateContainerInstancesState",
                    "ecs:DescribeContainerInstances",
                    "ecs:DescribeTasks",
                    "ecs:ListTasks",
                    "ecs:StopTask",
                ],
                "Resource": "*",
                "Condition": {"ArnEquals": {"ecs:cluster": cluster}},
            },
            {
                "Sid": "WithoutResources",
                "Effect": "Allow",
                "Action": ["ecs:DiscoverPollEndpoint", "ec2:DescribeTags", "ecr:GetAuthorizationToken"],
                "Resource": "*",
            },
            {
                "Sid": "ImagesAndLogs",
                "Effect": "Allow",
                "Action": [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                ],
                "Resource": "*",
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_comes_from_s3_can_be_read_there_and_nothing_else() {
        let cluster = "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:cluster/c";
        let with = instance(&[cluster], Some("b/agent.tar.gz"));
        let added = with["Statement"].as_array().and_then(|all| all.last()).expect("a statement");
        assert_eq!(added["Resource"], "arn:aws-us-gov:s3:::b/agent.tar.gz");
        assert_eq!(added["Action"], json!(["s3:GetObject"]));
        let without = instance(&[cluster], None);
        assert_eq!(
            with["Statement"].as_array().map(Vec::len),
            without["Statement"].as_array().map(|all| all.len() + 1)
        );
    }

    /// Catches: a right that reaches beyond the cluster, which every job on the instance would have
    /// as well.
    #[test]
    fn nothing_that_changes_ecs_reaches_beyond_the_cluster() {
        let cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/c";
        let policy = instance(&[cluster], None);
        for statement in policy["Statement"].as_array().expect("statements") {
            let held = statement["Resource"] == cluster
                || statement["Condition"]["ArnEquals"]["ecs:cluster"] == cluster;
            for action in statement["Action"].as_array().expect("actions") {
                let action = action.as_str().expect("a name");
                assert!(
                    held || !action.starts_with("ecs:") || action == "ecs:DiscoverPollEndpoint",
                    "{action}"
                );
                assert!(!action.contains('*') && !action.starts_with("iam:"), "{action}");
            }
        }
    }

    /// Catches: a schedule's role that could end somebody else's instances, or be taken for
    /// somebody else's schedule.
    #[test]
    fn the_schedulers_role_ends_what_carries_the_mark_and_nothing_else() {
        let policy = scheduler("aws", "123456789012", "blocks");
        let statement = &policy["Statement"][0];
        assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(1));
        assert_eq!(statement["Action"], json!(["ec2:DeleteFleets", "ec2:TerminateInstances"]));
        assert_eq!(
            statement["Condition"],
            json!({"StringEquals": {"aws:ResourceTag/spotblock:environment": "blocks"}})
        );
        let trust = trust_schedules("aws", "123456789012", "spotblock-blocks");
        assert_eq!(trust["Statement"][0]["Principal"]["Service"], "scheduler.amazonaws.com");
        assert_eq!(
            trust["Statement"][0]["Condition"]["StringEquals"]["aws:SourceAccount"],
            "123456789012"
        );
        assert_eq!(account("arn:aws:ecs:us-east-1:123456789012:cluster/c"), "123456789012");
    }
}
