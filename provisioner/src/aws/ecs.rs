//! ECS: the container instances of the cluster behind an environment.

use std::collections::BTreeMap;

use aws_sdk_ecs::Client;
use serde::Serialize;

use super::text;
use crate::error::{Kind, Result, failed};

/// DescribeContainerInstances takes up to 100 `[V]`.
const DESCRIBE_LIMIT: usize = 100;

/// The client.
pub struct Ecs {
    client: Client,
}

/// A container instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its ARN.
    pub arn: String,
    /// Its status, such as ACTIVE.
    pub status: String,
    /// Whether its ECS agent is connected.
    pub connected: bool,
    /// How many tasks run on it, by their desired status.
    pub running_tasks: i32,
    /// How many are on their way to it.
    pub pending_tasks: i32,
}

impl Member {
    /// Whether it takes jobs, or did: one that drains has joined before.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.connected && matches!(self.status.as_str(), "ACTIVE" | "DRAINING")
    }
}

impl Ecs {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_ecs, base) }
    }

    /// The cluster's container instances by their EC2 instance. A cluster that is gone has none.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn members(&self, cluster: &str) -> Result<BTreeMap<String, Member>> {
        let mut pages = self.client.list_container_instances().cluster(cluster).into_paginator().items().send();
        let mut arns = Vec::new();
        while let Some(arn) = pages.next().await {
            match arn.map_err(failed("ecs:ListContainerInstances", cluster)) {
                Ok(arn) => arns.push(arn),
                Err(error)
                    if error.aws().is_some_and(|it| it.kind == Kind::NotFound || it.is("ClusterNotFoundException")) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let mut members = BTreeMap::new();
        for some in arns.chunks(DESCRIBE_LIMIT) {
            let answer = self
                .client
                .describe_container_instances()
                .cluster(cluster)
                .set_container_instances(Some(some.to_vec()))
                .send()
                .await
                .map_err(failed("ecs:DescribeContainerInstances", cluster))?;
            for instance in answer.container_instances() {
                let member = Member {
                    arn: text(instance.container_instance_arn()),
                    status: text(instance.status()),
                    connected: instance.agent_connected(),
                    running_tasks: instance.running_tasks_count(),
                    pending_tasks: instance.pending_tasks_count(),
                };
                members.insert(text(instance.ec2_instance_id()), member);
            }
        }
        Ok(members)
    }
}
