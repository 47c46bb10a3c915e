//! Batch: jobs.

use aws_sdk_batch::config::retry::RetryConfig;
use aws_sdk_batch::operation::list_jobs::builders::ListJobsFluentBuilder;
use aws_sdk_batch::types::{
    ArrayProperties, ContainerOverrides, JobDependency, JobStatus, JobTimeout, KeyValuePair,
    KeyValuesPair, ResourceRequirement, ResourceType,
};
use jiff::Timestamp;
use serde::Serialize;

use super::definitions::{int, requirement, retry_strategy};
use super::{Batch, name_in};
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::Result;
use crate::model::job_definition::JobDefinition;

/// DescribeJobs takes up to 100 `[V]`.
const DESCRIBE_LIMIT: usize = 100;
/// Where Batch's logs go when a job definition says nothing else `[V]`.
const LOG_GROUP: &str = "/aws/batch/job";

/// A job to submit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    /// Its name.
    pub name: String,
    /// The queue.
    pub queue: String,
    /// The job definition, with or without revision.
    pub definition: String,
    /// Variables on top of the definition's.
    pub environment: Vec<(String, String)>,
    /// The command; empty: the definition's.
    pub command: Vec<String>,
    /// How many children it has, if it is an array.
    pub array: Option<u32>,
    /// The ids of jobs that have to succeed first.
    pub depends_on: Vec<String>,
    /// Values for the `Ref::name` in the definition's command.
    pub parameters: Vec<(String, String)>,
    /// Virtual CPUs instead of the definition's.
    pub vcpus: Option<u32>,
    /// Memory in MiB instead of the definition's.
    pub memory_mib: Option<u32>,
    /// GPUs instead of the definition's.
    pub gpus: Option<u32>,
    /// An attempt's timeout instead of the definition's.
    pub timeout_secs: Option<u32>,
    /// The definition with other attempts: Batch replaces the whole strategy, rules included.
    pub retry: Option<JobDefinition>,
}

/// A job that was submitted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Detail {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The queue's name.
    pub queue: String,
    /// Its status.
    pub status: String,
    /// Why it has this status.
    pub reason: Option<String>,
    /// The job definition with its revision.
    pub definition: String,
    /// When it was submitted.
    pub created: Option<Timestamp>,
    /// When its last attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub stopped: Option<Timestamp>,
    /// Its attempts that are over.
    pub attempts: Vec<JobAttempt>,
    /// How many children it has and how many of them are in which state, if it is an array.
    pub array: Option<Children>,
    /// The jobs that have to succeed first.
    pub depends_on: Vec<String>,
    /// An attempt's timeout.
    pub timeout_secs: Option<u32>,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// GPUs.
    pub gpus: u32,
    /// The log group, if its logs go to CloudWatch.
    pub log_group: Option<String>,
    /// The log stream of the attempt under way, or else of the last one.
    pub log_stream: Option<String>,
}

/// An attempt that is over.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JobAttempt {
    /// The container's exit code, if it ended by itself.
    pub exit_code: Option<i32>,
    /// What Docker or ECS says.
    pub reason: Option<String>,
    /// What Batch says; the retry rules look at it.
    pub status_reason: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub stopped: Option<Timestamp>,
    /// Its log stream.
    pub log_stream: Option<String>,
}

/// A job as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: String,
    /// When it was submitted.
    pub created: Option<Timestamp>,
}

/// An array's children.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Children {
    /// How many.
    pub size: i32,
    /// How many in each state.
    pub states: std::collections::BTreeMap<String, i32>,
}

impl Detail {
    /// Whether it has ended.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "SUCCEEDED" | "FAILED")
    }

    /// Why it is as it is: what ended the last attempt is nearer to the cause than what Batch sums
    /// up.
    #[must_use]
    pub(crate) fn why(&self) -> String {
        let last = self.attempts.last();
        let exit = last
            .and_then(|it| it.exit_code)
            .filter(|code| *code != 0)
            .map(|code| format!("exit {code}"));
        let container = last.and_then(|it| it.reason.clone());
        let mut parts: Vec<String> =
            [self.reason.clone(), exit, container].into_iter().flatten().collect();
        parts.retain(|part| !part.is_empty());
        parts.dedup();
        parts.join("; ")
    }
}

/// Batch's milliseconds; 0 is none.
fn at(millis: Option<i64>) -> Option<Timestamp> {
    millis.filter(|millis| *millis > 0).and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

fn pairs(given: &[(String, String)]) -> Vec<KeyValuePair> {
    given
        .iter()
        .map(|(key, value)| KeyValuePair::builder().name(key).value(value).build())
        .collect()
}

fn overrides(job: &Job) -> Option<ContainerOverrides> {
    let wanted = [
        (ResourceType::Vcpu, job.vcpus),
        (ResourceType::Memory, job.memory_mib),
        (ResourceType::Gpu, job.gpus),
    ];
    let resources: Vec<ResourceRequirement> =
        wanted.into_iter().filter_map(|(kind, value)| Some(requirement(kind, value?))).collect();
    if job.environment.is_empty() && job.command.is_empty() && resources.is_empty() {
        return None;
    }
    let builder = ContainerOverrides::builder()
        .set_environment((!job.environment.is_empty()).then(|| pairs(&job.environment)))
        .set_command((!job.command.is_empty()).then(|| job.command.clone()))
        .set_resource_requirements((!resources.is_empty()).then_some(resources));
    Some(builder.build())
}

impl Batch {
    /// Submits a job once and gives its id. SubmitJob has no client token, so the SDK's own retries
    /// are off: after a lost answer they would submit it twice.
    ///
    /// # Errors
    /// When the call fails; after a transient failure the job may have been submitted.
    pub(crate) async fn submit(&self, job: &Job) -> Result<String> {
        let depends_on =
            job.depends_on.iter().map(|id| JobDependency::builder().job_id(id).build()).collect();
        let parameters = job.parameters.iter().cloned().collect();
        let answer = self
            .client
            .submit_job()
            .job_name(&job.name)
            .job_queue(&job.queue)
            .job_definition(&job.definition)
            .set_container_overrides(overrides(job))
            .set_array_properties(
                job.array.map(|size| ArrayProperties::builder().size(int(size)).build()),
            )
            .set_depends_on((!job.depends_on.is_empty()).then_some(depends_on))
            .set_parameters((!job.parameters.is_empty()).then_some(parameters))
            .set_timeout(
                job.timeout_secs
                    .map(|it| JobTimeout::builder().attempt_duration_seconds(int(it)).build()),
            )
            .set_retry_strategy(job.retry.as_ref().map(retry_strategy))
            .customize()
            .config_override(
                aws_sdk_batch::config::Builder::new().retry_config(RetryConfig::disabled()),
            )
            .send()
            .await
            .map_err(failed(
                "batch:SubmitJob",
                format!("job {} in queue {}", job.name, job.queue),
            ))?;
        Ok(text(answer.job_id()))
    }

    /// Jobs by their ids, in that order; ids that Batch doesn't know (any more) are left out.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn jobs(&self, ids: &[String]) -> Result<Vec<Detail>> {
        let mut found = Vec::new();
        for some in ids.chunks(DESCRIBE_LIMIT) {
            let call = self.client.describe_jobs().set_jobs(Some(some.to_vec()));
            let answer =
                call.send().await.map_err(failed("batch:DescribeJobs", some.join(", ")))?;
            found.extend(answer.jobs().iter().map(detail));
        }
        found.sort_by_cached_key(|job| ids.iter().position(|id| *id == job.id));
        Ok(found)
    }

    /// A queue's jobs in one state, at most `limit` of them. An array is one of them, its children
    /// are not `[V]`.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn jobs_in_state(
        &self,
        queue: &str,
        state: &str,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        self.list(
            self.client.list_jobs().job_queue(queue).job_status(JobStatus::from(state)),
            queue,
            limit,
        )
        .await
    }

    /// An array's children in one state, at most `limit` of them.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn children_in_state(
        &self,
        array: &str,
        state: &str,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        self.list(
            self.client.list_jobs().array_job_id(array).job_status(JobStatus::from(state)),
            array,
            limit,
        )
        .await
    }

    /// A queue's jobs whose name is `name`, or begins as it does where it ends in `*`.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn jobs_named(&self, queue: &str, name: &str) -> Result<Vec<Listed>> {
        let filter = KeyValuesPair::builder().name("JOB_NAME").values(name).build();
        self.list(self.client.list_jobs().job_queue(queue).filters(filter), queue, usize::MAX).await
    }

    async fn list(
        &self,
        call: ListJobsFluentBuilder,
        of: &str,
        limit: usize,
    ) -> Result<Vec<Listed>> {
        let mut items = call.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(job) = items.next().await {
            let job = job.map_err(failed("batch:ListJobs", of))?;
            found.push(Listed {
                id: text(job.job_id()),
                status: text(job.status().map(|status| status.as_str())),
                created: at(job.created_at()),
            });
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }
}

fn detail(job: &aws_sdk_batch::types::JobDetail) -> Detail {
    let container = job.container();
    let requirement = |kind: ResourceType| {
        let all = container.map(|it| it.resource_requirements()).unwrap_or_default();
        let found = all
            .iter()
            .find(|it| it.r#type() == Some(&kind))
            .and_then(|it| it.value()?.parse::<f64>().ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "Batch's own numbers are small"
        )]
        let whole = found.unwrap_or_default().ceil() as u32;
        whole
    };
    let log = container.and_then(|it| it.log_configuration());
    let to_cloudwatch =
        log.is_none_or(|log| log.log_driver().is_some_and(|driver| driver.as_str() == "awslogs"));
    let group = log
        .and_then(|log| log.options()?.get("awslogs-group").cloned())
        .unwrap_or_else(|| LOG_GROUP.to_owned());
    Detail {
        id: text(job.job_id()),
        name: text(job.job_name()),
        queue: name_in(job.job_queue().unwrap_or_default()),
        status: text(job.status().map(|status| status.as_str())),
        reason: job.status_reason().map(str::to_owned),
        definition: name_in(job.job_definition().unwrap_or_default()),
        created: at(job.created_at()),
        started: at(job.started_at()),
        stopped: at(job.stopped_at()),
        attempts: job.attempts().iter().map(attempt).collect(),
        array: job.array_properties().and_then(|array| {
            let states = array.status_summary().cloned().unwrap_or_default().into_iter().collect();
            Some(Children { size: array.size()?, states })
        }),
        depends_on: job.depends_on().iter().map(|it| text(it.job_id())).collect(),
        timeout_secs: job.timeout().and_then(|it| it.attempt_duration_seconds()?.try_into().ok()),
        max_attempts: job
            .retry_strategy()
            .and_then(|it| it.attempts()?.try_into().ok())
            .unwrap_or(1),
        vcpus: requirement(ResourceType::Vcpu),
        memory_mib: requirement(ResourceType::Memory),
        gpus: requirement(ResourceType::Gpu),
        log_group: to_cloudwatch.then_some(group),
        log_stream: container.and_then(|it| it.log_stream_name()).map(str::to_owned),
    }
}

fn attempt(attempt: &aws_sdk_batch::types::AttemptDetail) -> JobAttempt {
    let container = attempt.container();
    JobAttempt {
        exit_code: container.and_then(|it| it.exit_code()),
        reason: container.and_then(|it| it.reason()).map(str::to_owned),
        status_reason: attempt.status_reason().map(str::to_owned),
        started: at(attempt.started_at()),
        stopped: at(attempt.stopped_at()),
        log_stream: container.and_then(|it| it.log_stream_name()).map(str::to_owned),
    }
}
