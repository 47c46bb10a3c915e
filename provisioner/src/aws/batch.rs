//! Batch: compute environments, queues, jobs. Job definitions are in `batch/definitions.rs`.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_batch::Client;
use aws_sdk_batch::types::{CeState, CeType, ComputeEnvironmentOrder, JobStatus, JqState};

use super::text;
use crate::aws::classify::failed;
use crate::model::batch::{ComputeEnvironment, Queue};
use crate::model::error::Result;
use crate::model::ownership::Owned;

mod definitions;
mod jobs;

pub(crate) use definitions::Registered;
pub(crate) use jobs::{Children, Detail, Job, JobAttempt, Listed};

/// The client.
pub(crate) struct Batch {
    client: Client,
}

pub(super) fn our_tags(tags: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    tags.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn sdk_tags(tags: &BTreeMap<String, String>) -> HashMap<String, String> {
    tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The last part of an ARN, or the name itself.
fn name_in(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

fn order(environment: &str) -> ComputeEnvironmentOrder {
    ComputeEnvironmentOrder::builder().order(1).compute_environment(environment).build()
}

impl Batch {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        Self { client: super::calls::client!(aws_sdk_batch, base) }
    }

    /// A compute environment, if it is there.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn environment(&self, name: &str) -> Result<Option<ComputeEnvironment>> {
        let call = self.client.describe_compute_environments().compute_environments(name);
        let answer =
            call.send().await.map_err(failed("batch:DescribeComputeEnvironments", name))?;
        let found = answer.compute_environments().first().map(|it| ComputeEnvironment {
            name: text(it.compute_environment_name()),
            arn: text(it.compute_environment_arn()),
            kind: text(it.r#type().map(|kind| kind.as_str())),
            state: text(it.state().map(|state| state.as_str())),
            status: text(it.status().map(|status| status.as_str())),
            reason: text(it.status_reason()),
            service_role: text(it.service_role()),
            cluster: text(it.ecs_cluster_arn()),
            tags: our_tags(it.tags()),
        });
        Ok(found.filter(|it| it.status != "DELETED"))
    }

    /// Creates an unmanaged, enabled compute environment.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn create_environment(
        &self,
        name: &str,
        role: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        self.client
            .create_compute_environment()
            .compute_environment_name(name)
            .r#type(CeType::Unmanaged)
            .state(CeState::Enabled)
            .service_role(role)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map(|_| ())
            .map_err(failed("batch:CreateComputeEnvironment", name))
    }

    /// Enables or disables a compute environment, or gives it another service role.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn update_environment(
        &self,
        owned: &Owned,
        enabled: bool,
        role: Option<&str>,
    ) -> Result<()> {
        self.client
            .update_compute_environment()
            .compute_environment(owned.id())
            .state(if enabled { CeState::Enabled } else { CeState::Disabled })
            .set_service_role(role.map(str::to_owned))
            .send()
            .await
            .map(|_| ())
            .map_err(failed("batch:UpdateComputeEnvironment", owned.id()))
    }

    /// Deletes a compute environment.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn delete_environment(&self, owned: &Owned) -> Result<()> {
        let call = self.client.delete_compute_environment().compute_environment(owned.id());
        call.send().await.map(|_| ()).map_err(failed("batch:DeleteComputeEnvironment", owned.id()))
    }

    /// A queue, if it is there.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn queue(&self, name: &str) -> Result<Option<Queue>> {
        let call = self.client.describe_job_queues().job_queues(name);
        let answer = call.send().await.map_err(failed("batch:DescribeJobQueues", name))?;
        let found = answer.job_queues().first().map(|it| {
            let mut environments = it.compute_environment_order().to_vec();
            environments.sort_by_key(|entry| entry.order());
            Queue {
                name: text(it.job_queue_name()),
                state: text(it.state().map(|state| state.as_str())),
                status: text(it.status().map(|status| status.as_str())),
                reason: text(it.status_reason()),
                priority: it.priority().unwrap_or_default(),
                environments: environments
                    .iter()
                    .map(|entry| name_in(entry.compute_environment().unwrap_or_default()))
                    .collect(),
                tags: our_tags(it.tags()),
            }
        });
        Ok(found.filter(|it| it.status != "DELETED"))
    }

    /// Creates an enabled queue on one environment.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn create_queue(
        &self,
        name: &str,
        priority: i32,
        environment: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        self.client
            .create_job_queue()
            .job_queue_name(name)
            .state(JqState::Enabled)
            .priority(priority)
            .compute_environment_order(order(environment))
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map(|_| ())
            .map_err(failed("batch:CreateJobQueue", name))
    }

    /// Enables a queue and sets its priority.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn update_queue(&self, owned: &Owned, priority: i32) -> Result<()> {
        let call = self
            .client
            .update_job_queue()
            .job_queue(owned.id())
            .state(JqState::Enabled)
            .priority(priority);
        call.send().await.map(|_| ()).map_err(failed("batch:UpdateJobQueue", owned.id()))
    }

    /// Disables a queue: it takes no more jobs.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn disable_queue(&self, owned: &Owned) -> Result<()> {
        let call = self.client.update_job_queue().job_queue(owned.id()).state(JqState::Disabled);
        call.send().await.map(|_| ()).map_err(failed("batch:UpdateJobQueue", owned.id()))
    }

    /// Deletes a queue and the jobs in it.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn delete_queue(&self, owned: &Owned) -> Result<()> {
        let call = self.client.delete_job_queue().job_queue(owned.id());
        call.send().await.map(|_| ()).map_err(failed("batch:DeleteJobQueue", owned.id()))
    }

    /// How many jobs of a queue are in a state.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn count_jobs(&self, queue: &str, state: &str) -> Result<usize> {
        let call = self.client.list_jobs().job_queue(queue).job_status(JobStatus::from(state));
        let mut jobs = call.into_paginator().items().send();
        let mut count = 0;
        while let Some(job) = jobs.next().await {
            job.map_err(failed("batch:ListJobs", queue))?;
            count += 1;
        }
        Ok(count)
    }
}
