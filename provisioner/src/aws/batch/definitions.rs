//! Batch: job definitions, between our shape and AWS's.

use std::collections::BTreeMap;

use aws_sdk_batch::types::{
    ContainerProperties, EvaluateOnExit, Host, JobDefinitionType, JobTimeout, KeyValuePair,
    LinuxParameters, LogConfiguration, LogDriver, MountPoint, ResourceRequirement, ResourceType,
    RetryAction, RetryStrategy, Volume,
};

use super::{Batch, our_tags, sdk_tags};
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::Result;
use crate::model::job_definition::{JobDefinition, Log, Mount, RetryRule};
use crate::model::ownership::Owned;

/// A revision in AWS.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// Its ARN, with the revision.
    pub arn: String,
    /// The revision.
    pub revision: i32,
    /// What it says.
    pub definition: JobDefinition,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Batch {
    /// The ACTIVE revisions of a job definition, the newest first.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn definitions(&self, name: &str) -> Result<Vec<Registered>> {
        let call =
            self.client.describe_job_definitions().job_definition_name(name).status("ACTIVE");
        let mut pages = call.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(definition) = pages.next().await {
            let definition = definition.map_err(failed("batch:DescribeJobDefinitions", name))?;
            found.push(registered(&definition));
        }
        found.sort_by_key(|it| -it.revision);
        Ok(found)
    }

    /// Registers a new revision.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn register(
        &self,
        definition: &JobDefinition,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        let timeout = definition
            .timeout_secs
            .map(|secs| JobTimeout::builder().attempt_duration_seconds(int(secs)).build());
        self.client
            .register_job_definition()
            .job_definition_name(&definition.name)
            .r#type(JobDefinitionType::Container)
            .container_properties(container(definition))
            .retry_strategy(retry_strategy(definition))
            .set_timeout(timeout)
            .set_tags(Some(sdk_tags(tags)))
            .send()
            .await
            .map(|_| ())
            .map_err(failed("batch:RegisterJobDefinition", &definition.name))
    }

    /// Takes a revision out of use.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn deregister(&self, owned: &Owned) -> Result<()> {
        let call = self.client.deregister_job_definition().job_definition(owned.id());
        call.send().await.map(|_| ()).map_err(failed("batch:DeregisterJobDefinition", owned.id()))
    }
}

/// Settings hold every number to far less.
pub(super) fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(super) fn requirement(kind: ResourceType, value: u32) -> ResourceRequirement {
    ResourceRequirement::builder().r#type(kind).value(value.to_string()).build()
}

fn container(wanted: &JobDefinition) -> ContainerProperties {
    let mut requirements = vec![
        requirement(ResourceType::Vcpu, wanted.vcpus),
        requirement(ResourceType::Memory, wanted.memory_mib),
    ];
    if wanted.gpus > 0 {
        requirements.push(requirement(ResourceType::Gpu, wanted.gpus));
    }
    let pairs = wanted
        .environment
        .iter()
        .map(|(key, value)| KeyValuePair::builder().name(key).value(value).build());
    let named = || wanted.mounts.iter().enumerate().map(|(n, mount)| (format!("mount-{n}"), mount));
    let volumes = named().map(|(name, mount)| {
        Volume::builder().name(name).host(Host::builder().source_path(&mount.host).build()).build()
    });
    let points = named().map(|(name, mount)| {
        let point = MountPoint::builder().source_volume(name).container_path(&mount.container);
        point.read_only(mount.read_only).build()
    });
    let log = wanted.log.as_ref().map(|log| {
        let builder = LogConfiguration::builder().log_driver(LogDriver::from(log.driver.as_str()));
        builder.set_options(Some(sdk_tags(&log.options))).build()
    });
    ContainerProperties::builder()
        .image(&wanted.image)
        .set_resource_requirements(Some(requirements))
        .set_command(some_of(wanted.command.clone()))
        .set_environment(some_of(pairs.collect()))
        .set_job_role_arn(wanted.job_role.clone())
        .set_volumes(some_of(volumes.collect()))
        .set_mount_points(some_of(points.collect()))
        .set_log_configuration(log)
        .privileged(wanted.privileged)
        .linux_parameters(
            LinuxParameters::builder().init_process_enabled(wanted.init_process).build(),
        )
        .build()
}

/// An empty list is left out.
fn some_of<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(super) fn retry_strategy(wanted: &JobDefinition) -> RetryStrategy {
    let rules = wanted.retry.iter().map(|rule| {
        EvaluateOnExit::builder()
            .action(RetryAction::from(rule.action.as_str()))
            .set_on_status_reason(rule.on_status_reason.clone())
            .set_on_exit_code(rule.on_exit_code.clone())
            .set_on_reason(rule.on_reason.clone())
            .build()
    });
    RetryStrategy::builder()
        .attempts(int(wanted.attempts))
        .set_evaluate_on_exit(Some(rules.collect()))
        .build()
}

fn registered(has: &aws_sdk_batch::types::JobDefinition) -> Registered {
    Registered {
        arn: text(has.job_definition_arn()),
        revision: has.revision().unwrap_or_default(),
        definition: definition(has),
        tags: our_tags(has.tags()),
    }
}

fn definition(has: &aws_sdk_batch::types::JobDefinition) -> JobDefinition {
    let empty = ContainerProperties::builder().build();
    let container = has.container_properties().unwrap_or(&empty);
    let requirements = |kind: ResourceType| {
        let found = container.resource_requirements().iter().find(|it| it.r#type() == Some(&kind));
        found.and_then(|it| it.value()).and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    let pairs = container.environment().iter().map(|pair| (text(pair.name()), text(pair.value())));
    let retry = has.retry_strategy();
    JobDefinition {
        name: text(has.job_definition_name()),
        image: text(container.image()),
        vcpus: requirements(ResourceType::Vcpu),
        memory_mib: requirements(ResourceType::Memory),
        gpus: requirements(ResourceType::Gpu),
        timeout_secs: has
            .timeout()
            .and_then(|it| it.attempt_duration_seconds())
            .and_then(|it| it.try_into().ok()),
        command: container.command().to_vec(),
        environment: pairs.collect(),
        job_role: container.job_role_arn().map(str::to_owned),
        mounts: mounts(container),
        log: container.log_configuration().map(|log| Log {
            driver: text(log.log_driver().map(|driver| driver.as_str())),
            options: our_tags(log.options()),
        }),
        privileged: container.privileged().unwrap_or_default(),
        init_process: container
            .linux_parameters()
            .and_then(|it| it.init_process_enabled())
            .unwrap_or_default(),
        attempts: retry.and_then(|it| it.attempts()).and_then(|it| it.try_into().ok()).unwrap_or(1),
        retry: retry.map(|it| it.evaluate_on_exit().iter().map(rule).collect()).unwrap_or_default(),
    }
}

fn mounts(container: &ContainerProperties) -> Vec<Mount> {
    let host = |name: Option<&str>| {
        let volume = container.volumes().iter().find(|volume| volume.name() == name);
        text(volume.and_then(|volume| volume.host()).and_then(|host| host.source_path()))
    };
    let points = container.mount_points().iter();
    points
        .map(|point| Mount {
            host: host(point.source_volume()),
            container: text(point.container_path()),
            read_only: point.read_only().unwrap_or_default(),
        })
        .collect()
}

/// Batch takes the action in any case and gives it back as it likes.
fn rule(rule: &EvaluateOnExit) -> RetryRule {
    RetryRule {
        action: text(rule.action().map(|action| action.as_str())).to_uppercase(),
        on_status_reason: rule.on_status_reason().map(str::to_owned),
        on_exit_code: rule.on_exit_code().map(str::to_owned),
        on_reason: rule.on_reason().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hello_world;

    fn as_aws(wanted: &JobDefinition) -> aws_sdk_batch::types::JobDefinition {
        let timeout = wanted
            .timeout_secs
            .map(|secs| JobTimeout::builder().attempt_duration_seconds(int(secs)).build());
        aws_sdk_batch::types::JobDefinition::builder()
            .job_definition_name(&wanted.name)
            .container_properties(container(wanted))
            .retry_strategy(retry_strategy(wanted))
            .set_timeout(timeout)
            .build()
    }

    /// Catches: a field that is sent but not read back, so that each `up` registers another
    /// revision.
    #[test]
    fn what_is_sent_reads_back_equal() {
        let rich = JobDefinition {
            timeout_secs: Some(2400),
            gpus: 2,
            command: vec!["run".into(), "it".into()],
            environment: BTreeMap::from([("B".into(), "2".into()), ("A".into(), "1".into())]),
            job_role: Some("arn:aws:iam::1:role/r".into()),
            mounts: vec![
                Mount { host: "/scratch".into(), container: "/data".into(), read_only: false },
                Mount { host: "/ref".into(), container: "/ref".into(), read_only: true },
            ],
            log: Some(Log {
                driver: "awslogs".into(),
                options: BTreeMap::from([("awslogs-group".into(), "g".into())]),
            }),
            privileged: true,
            attempts: 5,
            ..hello_world()
        };
        for wanted in [hello_world(), rich] {
            assert_eq!(definition(&as_aws(&wanted)).changes_to(&wanted), []);
        }
    }

    #[test]
    #[expect(deprecated, reason = "that they stay unset is the point")]
    fn the_deprecated_vcpus_and_memory_are_never_sent() {
        let container = container(&hello_world());
        assert_eq!((container.vcpus(), container.memory()), (None, None));
    }
}
