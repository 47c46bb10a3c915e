//! Policies that AWS manages, as far as roles of this project have them.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// The document of the policy with this ARN.
pub(super) fn document(arn: &str) -> Option<&'static Value> {
    match arn.rsplit('/').next()? {
        "AmazonEC2ContainerServiceforEC2Role" => Some(&ECS_INSTANCE),
        _ => None,
    }
}

/// What AWS gives container instances (version 10, of 2026-02-12 `[V]`): it covers the ECS agent,
/// and not who looks at a container instance and its tasks or stops one.
static ECS_INSTANCE: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "ec2:DescribeTags",
                    "ecs:CreateCluster",
                    "ecs:DeregisterContainerInstance",
                    "ecs:DiscoverPollEndpoint",
                    "ecs:Poll",
                    "ecs:RegisterContainerInstance",
                    "ecs:StartTelemetrySession",
                    "ecs:UpdateContainerInstancesState",
                    "ecs:Submit*",
                    "ecr:GetAuthorizationToken",
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:BatchGetImage",
                    "logs:CreateLogStream",
                    "logs:PutLogEvents",
                ],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": "ecs:TagResource",
                "Condition": {"StringEquals": {"ecs:CreateAction": ["CreateCluster", "RegisterContainerInstance"]}},
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": "ecs:ListTagsForResource",
                "Resource": ["arn:aws:ecs:*:*:task/*/*", "arn:aws:ecs:*:*:container-instance/*/*"],
            },
        ],
    })
});
