//! ECS: the container instances of the cluster behind an environment.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ecs::Client;
use aws_sdk_ecs::types::{ContainerInstance, ContainerInstanceStatus, DesiredStatus};
use jiff::Timestamp;
use node_contract::names::attribute;
use serde::Serialize;

use super::text;
use crate::aws::classify::failed;
use crate::model::error::{AwsErrorKind, Result};
use crate::model::ownership::{Owned, ids};

mod hosts;

pub(crate) use hosts::{Host, Room};

/// DescribeContainerInstances takes up to 100 `[V]`.
const DESCRIBE_LIMIT: usize = 100;

/// UpdateContainerInstancesState takes up to 10 `[V]`.
const UPDATE_LIMIT: usize = 10;

/// A task that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    /// Its ARN.
    pub arn: String,
    /// The ARN of the container instance that it is on.
    pub member: String,
    /// Whether its end was asked for.
    pub stopping: bool,
}

/// The client.
pub(crate) struct Ecs {
    client: Client,
}

/// A container instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
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
    /// Its block's end, as its agent has shown it.
    pub end: Option<Timestamp>,
    /// The moment to which the end was to be moved, as its agent has read it last.
    pub end_asked: Option<Timestamp>,
    /// Further container instances of the same EC2 instance: a registration whose answer was lost,
    /// or whose data the host has lost, leaves one behind.
    #[serde(skip)]
    pub others: Vec<String>,
}

impl Member {
    /// All container instances of the EC2 instance.
    pub(crate) fn arns(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.arn).chain(&self.others)
    }

    /// Puts what is known of the same EC2 instance together: the one that is connected tells how it
    /// is.
    fn join(&mut self, mut other: Self) {
        if other.connected && !self.connected {
            std::mem::swap(self, &mut other);
        }
        self.others.extend(other.arns().cloned());
    }

    /// Whether it takes jobs, or did: one that drains has joined before.
    #[must_use]
    pub(crate) fn has_joined(&self) -> bool {
        self.connected && matches!(self.status.as_str(), "ACTIVE" | "DRAINING")
    }
}

/// A moment among a container instance's attributes.
fn moment(instance: &ContainerInstance, name: &str) -> Option<Timestamp> {
    let named = instance.attributes().iter().find(|it| it.name() == name)?;
    named.value()?.parse().ok()
}

impl Ecs {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_ecs, base) }
    }

    /// The cluster's container instances by their EC2 instance. A cluster that is gone has none.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn members(&self, cluster: &str) -> Result<BTreeMap<String, Member>> {
        let mut members = BTreeMap::new();
        self.update_members(cluster, &mut members).await?;
        Ok(members)
    }

    /// Brings up to date what was seen of a cluster's container instances before. Those that had
    /// joined already are not described again while they are listed: a block can have a thousand,
    /// and AWS describes a hundred at once.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn update_members(
        &self,
        cluster: &str,
        members: &mut BTreeMap<String, Member>,
    ) -> Result<()> {
        let arns = self.member_arns(cluster).await?;
        let listed: BTreeSet<&String> = arns.iter().collect();
        members.retain(|_, member| member.has_joined() && listed.contains(&member.arn));
        members.values_mut().for_each(|member| member.others.retain(|arn| listed.contains(arn)));
        let known: BTreeSet<String> = members.values().flat_map(Member::arns).cloned().collect();
        let new: Vec<String> = arns.into_iter().filter(|arn| !known.contains(arn)).collect();
        for some in new.chunks(DESCRIBE_LIMIT) {
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
                    end: moment(instance, attribute::END),
                    end_asked: moment(instance, attribute::END_ASKED),
                    others: Vec::new(),
                };
                match members.entry(text(instance.ec2_instance_id())) {
                    Entry::Vacant(new) => drop(new.insert(member)),
                    Entry::Occupied(known) => known.into_mut().join(member),
                }
            }
        }
        Ok(())
    }

    async fn member_arns(&self, cluster: &str) -> Result<Vec<String>> {
        let mut pages =
            self.client.list_container_instances().cluster(cluster).into_paginator().items().send();
        let mut arns = Vec::new();
        while let Some(arn) = pages.next().await {
            match arn.map_err(failed("ecs:ListContainerInstances", cluster)) {
                Ok(arn) => arns.push(arn),
                Err(error)
                    if error.aws().is_some_and(|it| {
                        it.kind == AwsErrorKind::NotFound || it.is("ClusterNotFoundException")
                    }) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(arns)
    }

    /// Sets container instances DRAINING: they take no further task. One that is gone, or not
    /// registered whole yet, stays as it is.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn drain(&self, cluster: &str, members: &[Owned]) -> Result<()> {
        for some in ids(members).chunks(UPDATE_LIMIT) {
            let call = self.client.update_container_instances_state().cluster(cluster);
            let call = call
                .set_container_instances(Some(some.to_vec()))
                .status(ContainerInstanceStatus::Draining);
            call.send()
                .await
                .map_err(failed("ecs:UpdateContainerInstancesState", some.join(", ")))?;
        }
        Ok(())
    }

    /// The tasks of a cluster that have not ended, whatever they are wanted to do. A task that is
    /// being stopped is listed with those that are to be STOPPED while its container still lives
    /// `[V]`.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn live_tasks(&self, cluster: &str) -> Result<Vec<Task>> {
        let mut arns = Vec::new();
        for status in [DesiredStatus::Running, DesiredStatus::Stopped] {
            let call = self.client.list_tasks().cluster(cluster).desired_status(status);
            let mut pages = call.into_paginator().items().send();
            while let Some(arn) = pages.next().await {
                arns.push(arn.map_err(failed("ecs:ListTasks", cluster))?);
            }
        }
        let mut tasks = Vec::new();
        for some in arns.chunks(DESCRIBE_LIMIT) {
            let call = self.client.describe_tasks().cluster(cluster).set_tasks(Some(some.to_vec()));
            let answer = call.send().await.map_err(failed("ecs:DescribeTasks", cluster))?;
            let live = answer.tasks().iter().filter(|task| task.last_status() != Some("STOPPED"));
            tasks.extend(live.map(|task| Task {
                arn: text(task.task_arn()),
                member: text(task.container_instance_arn()),
                stopping: task.desired_status() == Some("STOPPED"),
            }));
        }
        Ok(tasks)
    }

    /// Asks for a task's end. One that has ended meanwhile is what was wanted.
    ///
    /// # Errors
    /// When the call fails otherwise.
    pub(crate) async fn stop(&self, cluster: &str, task: &Owned, reason: &str) -> Result<()> {
        let call = self.client.stop_task().cluster(cluster).task(task.id()).reason(reason);
        match call.send().await.map_err(failed("ecs:StopTask", task.id())) {
            Err(error) if error.aws().is_some_and(|it| it.message.contains("not found")) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}
