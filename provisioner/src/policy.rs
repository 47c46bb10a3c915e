//! The policies of the roles that are made: as little as the agent and the ECS agent need, since every job on the
//! instance can use them too.

use serde_json::{Value, json};

/// Who may assume a role.
#[must_use]
pub fn trust(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    })
}

/// What AWS attaches to Batch's service role.
#[must_use]
pub fn batch_service_policy(partition: &str) -> String {
    format!("arn:{partition}:iam::aws:policy/service-role/AWSBatchServiceRole")
}

/// The instance role's policy: what AmazonEC2ContainerServiceforEC2Role gives the ECS agent, held to one cluster where
/// ECS can (without ecs:CreateCluster: the cluster is Batch's), and what `spotblock-agent` does on top.
#[must_use]
pub fn instance(cluster: &str) -> Value {
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

    /// Catches: a right that reaches beyond the cluster, which every job on the instance would have as well.
    #[test]
    fn nothing_that_changes_ecs_reaches_beyond_the_cluster() {
        let cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/c";
        let policy = instance(cluster);
        for statement in policy["Statement"].as_array().expect("statements") {
            let held =
                statement["Resource"] == cluster || statement["Condition"]["ArnEquals"]["ecs:cluster"] == cluster;
            for action in statement["Action"].as_array().expect("actions") {
                let action = action.as_str().expect("a name");
                assert!(held || !action.starts_with("ecs:") || action == "ecs:DiscoverPollEndpoint", "{action}");
                assert!(!action.contains('*') && !action.starts_with("iam:"), "{action}");
            }
        }
    }
}
