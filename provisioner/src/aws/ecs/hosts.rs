//! ECS: what room a cluster's container instances have, for the doctor.

use std::fmt;

use super::{DESCRIBE_LIMIT, Ecs};
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::{AwsErrorKind, Result};

/// CPU, memory and GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// CPU units, 1024 a vCPU.
    pub cpu: u32,
    /// MiB.
    pub memory_mib: u32,
    /// GPUs.
    pub gpus: u32,
}

impl Room {
    /// Whether this has room for that.
    #[must_use]
    pub(crate) fn holds(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory_mib >= other.memory_mib && self.gpus >= other.gpus
    }
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.cpu / 1024, self.cpu % 1024 * 10 / 1024);
        let part = if part == 0 { String::new() } else { format!(".{part}") };
        write!(formatter, "{whole}{part} vCPU, {} MiB", self.memory_mib)?;
        if self.gpus > 0 { write!(formatter, ", {} GPU", self.gpus) } else { Ok(()) }
    }
}

/// A container instance and its room.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The EC2 instance.
    pub instance: String,
    /// Its status, such as ACTIVE.
    pub status: String,
    /// Whether its ECS agent is connected.
    pub connected: bool,
    /// Its tasks, running and pending.
    pub tasks: i32,
    /// All that it registered.
    pub whole: Room,
    /// What is free of it.
    pub free: Room,
}

fn room(resources: &[aws_sdk_ecs::types::Resource]) -> Room {
    let named = |name: &str| resources.iter().find(|it| it.name() == Some(name));
    let number =
        |name: &str| named(name).and_then(|it| it.integer_value().try_into().ok()).unwrap_or(0);
    let gpus = named("GPU").map_or(0, |it| it.string_set_value().len());
    Room {
        cpu: number("CPU"),
        memory_mib: number("MEMORY"),
        gpus: gpus.try_into().unwrap_or(u32::MAX),
    }
}

impl Ecs {
    /// A cluster's container instances. One that isn't there has none.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn hosts(&self, cluster: &str) -> Result<Vec<Host>> {
        let mut pages =
            self.client.list_container_instances().cluster(cluster).into_paginator().items().send();
        let mut arns = Vec::new();
        while let Some(arn) = pages.next().await {
            match arn.map_err(failed("ecs:ListContainerInstances", cluster)) {
                Ok(arn) => arns.push(arn),
                Err(error) if error.is_aws(AwsErrorKind::NotFound) => break,
                Err(error) => return Err(error),
            }
        }
        let mut hosts = Vec::new();
        for some in arns.chunks(DESCRIBE_LIMIT) {
            let call = self.client.describe_container_instances().cluster(cluster);
            let answer = call.set_container_instances(Some(some.to_vec())).send().await;
            let answer = answer.map_err(failed("ecs:DescribeContainerInstances", cluster))?;
            hosts.extend(answer.container_instances().iter().map(|it| Host {
                instance: text(it.ec2_instance_id()),
                status: text(it.status()),
                connected: it.agent_connected(),
                tasks: it.running_tasks_count() + it.pending_tasks_count(),
                whole: room(it.registered_resources()),
                free: room(it.remaining_resources()),
            }));
        }
        Ok(hosts)
    }
}
