//! ECS: only the calls that are used, each failure classified here, once.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_ecs::Client;
use aws_sdk_ecs::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecs::operation::RequestId;
use aws_sdk_ecs::types::{
    Attribute, ContainerInstance, ContainerInstanceStatus, DesiredStatus, Task,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use jiff::Timestamp;
use node_contract::names::attribute;

use crate::lifecycle::{ExtensionAnswer, InstanceStatus, Outcome, Registration, Survey};
use crate::ports::{Answer, Cluster, ClusterError, error_chain};

/// How many ids DescribeTasks and DescribeContainerInstances take at once.
const BATCH: usize = 100;

/// ECS, for one instance.
#[derive(Debug)]
pub(crate) struct Ecs {
    config: aws_sdk_ecs::Config,
    /// Made by the first request: it reads the host's certificates, which the way to ecs.config
    /// needn't wait for.
    client: OnceLock<Client>,
    cluster: String,
    instance: String,
}

/// What the client is built from.
pub(crate) struct Parts {
    /// The region.
    pub(crate) region: String,
    /// Where ECS listens, if not at AWS.
    pub(crate) endpoint: Option<String>,
    /// The HTTP client.
    pub(crate) http: SharedHttpClient,
    /// The role's credentials.
    pub(crate) credentials: SharedCredentialsProvider,
    /// The time by which requests are signed.
    pub(crate) time: SharedTimeSource,
}

impl Ecs {
    /// ECS for the instance with this EC2 id, which belongs into this cluster.
    #[must_use]
    pub(crate) fn new(parts: Parts, cluster: String, instance: String) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .operation_attempt_timeout(Duration::from_secs(5))
            .operation_timeout(Duration::from_secs(12))
            .build();
        let mut config = aws_sdk_ecs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(parts.region))
            .credentials_provider(parts.credentials)
            .http_client(parts.http)
            .sleep_impl(TokioSleep::new())
            .time_source(parts.time)
            .timeout_config(timeouts)
            // Longer patience is the lifecycle's business: it knows how much time there is.
            .retry_config(RetryConfig::standard().with_max_attempts(3));
        config.set_endpoint_url(parts.endpoint);
        Self { config: config.build(), client: OnceLock::new(), cluster, instance }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::from_conf(self.config.clone()))
    }

    async fn describe(&self, of: &Registration) -> Result<Option<ContainerInstance>, ClusterError> {
        let answer = self
            .client()
            .describe_container_instances()
            .cluster(&of.cluster)
            .container_instances(&of.instance)
            .send()
            .await
            .map_err(|error| failed("DescribeContainerInstances", &of.instance, &error))?;
        Ok(answer.container_instances.unwrap_or_default().into_iter().next())
    }

    async fn list_tasks(
        &self,
        of: &Registration,
        desired: DesiredStatus,
    ) -> Result<Vec<String>, ClusterError> {
        let mut pages = self
            .client()
            .list_tasks()
            .cluster(&of.cluster)
            .container_instance(&of.instance)
            .desired_status(desired)
            .into_paginator()
            .items()
            .send();
        let mut tasks = Vec::new();
        while let Some(task) = pages.next().await {
            tasks.push(task.map_err(|error| failed("ListTasks", &of.instance, &error))?);
        }
        Ok(tasks)
    }

    async fn describe_tasks(
        &self,
        of: &Registration,
        tasks: &[String],
    ) -> Result<Vec<Task>, ClusterError> {
        let answer = self
            .client()
            .describe_tasks()
            .cluster(&of.cluster)
            .set_tasks(Some(tasks.to_vec()))
            .send()
            .await
            .map_err(|error| failed("DescribeTasks", &of.instance, &error))?;
        Ok(answer.tasks.unwrap_or_default())
    }

    /// The instance first, then the lists, then each task: what is placed in between is pending or
    /// listed in the next survey, and idle takes two.
    async fn look(&self, of: &Registration, asked: &[String]) -> Result<Survey, ClusterError> {
        let Some(instance) = self.describe(of).await? else {
            let gone = asked.iter().map(|task| (task.clone(), true)).collect();
            return Ok(Survey {
                instance: of.instance.clone(),
                status: InstanceStatus::Gone,
                pending: 0,
                tasks: gone,
            });
        };
        let running = self.list_tasks(of, DesiredStatus::Running).await?;
        let stopping = self.list_tasks(of, DesiredStatus::Stopped).await?;
        let all: BTreeSet<&String> = asked.iter().chain(&running).chain(&stopping).collect();
        // A task that isn't described is one that ECS has forgotten, unless ECS has just listed it
        // as to be running.
        let mut tasks: BTreeMap<String, bool> =
            all.into_iter().map(|task| (task.clone(), !running.contains(task))).collect();
        let names: Vec<String> = tasks.keys().cloned().collect();
        for names in names.chunks(BATCH) {
            for task in self.describe_tasks(of, names).await? {
                if let Some(arn) = task.task_arn {
                    // Not desiredStatus: that is STOPPED while the container still lives.
                    tasks.insert(arn, task.last_status.as_deref() == Some("STOPPED"));
                }
            }
        }
        Ok(Survey {
            instance: of.instance.clone(),
            status: status_of(instance.status.as_deref()),
            pending: u32::try_from(instance.pending_tasks_count).unwrap_or_default(),
            tasks,
        })
    }

    /// Lists the cluster's instances and describes them until this one is among them. The instance
    /// role needs `ecs:ListContainerInstances` for it.
    async fn search(&self) -> Result<Option<Registration>, ClusterError> {
        // Without a filter: it happens once in a life at most, and a comparison needs no belief in
        // a query language.
        let mut pages =
            self.client().list_container_instances().cluster(&self.cluster).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| failed("ListContainerInstances", &self.cluster, &error))?;
            let arns = page.container_instance_arns.unwrap_or_default();
            if arns.is_empty() {
                continue;
            }
            let answer = self
                .client()
                .describe_container_instances()
                .cluster(&self.cluster)
                .set_container_instances(Some(arns))
                .send()
                .await
                .map_err(|error| failed("DescribeContainerInstances", &self.cluster, &error))?;
            let own = |found: &ContainerInstance| {
                found.ec2_instance_id.as_deref() == Some(&self.instance)
            };
            let found = answer.container_instances.unwrap_or_default().into_iter().find(own);
            if let Some(instance) = found.and_then(|found| found.container_instance_arn) {
                return Ok(Some(Registration { instance, cluster: self.cluster.clone() }));
            }
        }
        Ok(None)
    }
}

impl Cluster for Ecs {
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let answer = self
                .client()
                .update_container_instances_state()
                .cluster(&of.cluster)
                .container_instances(&of.instance)
                .status(ContainerInstanceStatus::Draining)
                .send()
                .await
                .map_err(|error| failed("UpdateContainerInstancesState", &of.instance, &error))?;
            if let Some(instance) =
                answer.container_instances.unwrap_or_default().into_iter().next()
            {
                return Ok(status_of(instance.status.as_deref()));
            }
            let failure = answer.failures.unwrap_or_default().into_iter().next();
            let reason = failure
                .and_then(|failure| failure.reason)
                .unwrap_or_else(|| "no answer for it".to_owned());
            Err(ClusterError {
                operation: "UpdateContainerInstancesState",
                object: of.instance.clone(),
                problem: reason,
                outcome: Outcome::Retry,
            })
        })
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let shown = |name: &str, value: Timestamp| {
                // A target that is given by its ARN needs no type [V].
                Attribute::builder()
                    .name(name)
                    .value(value.to_string())
                    .target_id(&answer.of.instance)
                    .build()
            };
            let mut request = self.client().put_attributes().cluster(&answer.of.cluster);
            for (name, value) in
                [(attribute::END, answer.end), (attribute::END_ASKED, answer.asked)]
            {
                request = request.attributes(shown(name, value).map_err(|error| ClusterError {
                    operation: "PutAttributes",
                    object: answer.of.instance.clone(),
                    problem: error_chain(&error),
                    outcome: Outcome::Refused,
                })?);
            }
            request
                .send()
                .await
                .map_err(|error| failed("PutAttributes", &answer.of.instance, &error))?;
            tracing::info!(asked = %answer.asked, end = %answer.end, "ECS shows what became of \
                the extension");
            Ok(())
        })
    }

    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let instance = self.describe(of).await?;
            Ok(instance
                .map_or(InstanceStatus::Gone, |instance| status_of(instance.status.as_deref())))
        })
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(self.look(of, tasks))
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let request = self.client().stop_task().cluster(&of.cluster).task(task).reason(reason);
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) if says(&error, "InvalidParameterException", "not found") => Ok(()),
                Err(error) => Err(failed("StopTask", task, &error)),
            }
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(self.search())
    }

    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let request = self.client().deregister_container_instance().cluster(&of.cluster);
            match request.container_instance(&of.instance).force(true).send().await {
                Ok(_) => Ok(()),
                Err(error) if says(&error, "InvalidParameterException", "not found") => Ok(()),
                Err(error) => Err(failed("DeregisterContainerInstance", &of.instance, &error)),
            }
        })
    }
}

/// Unknown is not gone: an instance without a status is taken for one whose status isn't known yet.
fn status_of(status: Option<&str>) -> InstanceStatus {
    match status {
        Some("ACTIVE") => InstanceStatus::Active,
        Some("DRAINING") => InstanceStatus::Draining,
        Some("INACTIVE") => InstanceStatus::Gone,
        other => InstanceStatus::Other(other.unwrap_or_default().to_owned()),
    }
}

/// Whether the service said this. That "not found" is in the message for what ECS has forgotten is
/// an assumption [A]: if it isn't, the request counts as refused, which costs a log line and
/// nothing else.
fn says<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str, word: &str) -> bool {
    let service = error.as_service_error();
    service
        .is_some_and(|e| e.code() == Some(code) && e.message().unwrap_or_default().contains(word))
}

fn failed<E>(operation: &'static str, object: &str, error: &SdkError<E>) -> ClusterError
where
    E: Error + ProvideErrorMetadata + RequestId + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let Some(service) = error.as_service_error() else {
        return ClusterError {
            operation,
            object: object.to_owned(),
            problem: unread(status, error),
            outcome: Outcome::Retry,
        };
    };
    let code = service.code().unwrap_or("an unknown error");
    ClusterError {
        operation,
        object: object.to_owned(),
        problem: format!(
            "{code}: {} (request {})",
            service.message().unwrap_or("no message"),
            error.request_id().unwrap_or("without an id")
        ),
        outcome: classify(code, status),
    }
}

/// What went wrong where there is no answer, or none that can be read, as from something between
/// here and ECS. Credentials that can't be had come this way too.
fn unread(status: u16, error: &dyn Error) -> String {
    let words = error_chain(error);
    if status == 0 { words } else { format!("HTTP {status}, and no answer of ECS's: {words}") }
}

/// What is refused for good: a missing permission, or a request that makes no sense to ECS.
/// Anything else may pass.
fn classify(code: &str, status: u16) -> Outcome {
    match code {
        "AccessDeniedException"
        | "AttributeLimitExceededException"
        | "InvalidParameterException"
        | "ClusterNotFoundException"
            if status < 500 =>
        {
            Outcome::Refused
        }
        _ => Outcome::Retry,
    }
}

#[cfg(test)]
mod tests;
