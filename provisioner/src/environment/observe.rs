//! AWS -> what is there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::aws::Aws;
use crate::aws::batch::Registered;
use crate::aws::ec2::Image;
use crate::aws::iam::{Profile, Role};
use crate::aws::scheduler::ScheduleGroup;
use crate::environment::desired::{Choice, Desired, Scheduler};
use crate::environment::policy;
use crate::model::batch::{ComputeEnvironment, Queue};
use crate::model::error::{Error, Result};
use crate::settings::{self, Settings};

/// The resources around a block, as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The compute environment.
    pub environment: Option<ComputeEnvironment>,
    /// The queue.
    pub queue: Option<Queue>,
    /// The newest ACTIVE revision of each wanted job definition.
    pub definitions: BTreeMap<String, Registered>,
    /// Batch's service role; an ARN that was given is taken as it is.
    pub service_role: Option<Role>,
    /// Whether the service role has what AWS attaches to it; asked only where it is made.
    pub service_policy: bool,
    /// The instances' role; looked at only where it is made.
    pub instance_role: Option<Role>,
    /// Its policy of ours.
    pub instance_policy: Option<Value>,
    /// The group of schedules; looked at only where there are to be some, like the next two.
    pub schedule_group: Option<ScheduleGroup>,
    /// The role of schedules; looked at only where it is made.
    pub scheduler_role: Option<Role>,
    /// Its policy of ours.
    pub scheduler_policy: Option<Value>,
    /// The instances' profile.
    pub profile: Option<Profile>,
    /// The ARNs of job roles that were given by name.
    pub job_roles: BTreeMap<String, String>,
}

/// What a new block is launched on.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The image.
    pub image: Image,
    /// The subnets' Availability Zones, each once.
    pub zones: Vec<String>,
}

/// Looks at everything around a block.
///
/// # Errors
/// When a call fails, or a role or profile that was given isn't there.
pub(crate) async fn observe(aws: &Aws, desired: &Desired) -> Result<Observed> {
    let mut observed = Observed {
        environment: aws.batch.environment(&desired.environment).await?,
        queue: aws.batch.queue(&desired.queue).await?,
        service_role: service_role(aws, &desired.service_role).await?,
        profile: aws.iam.profile(desired.profile.name()).await?,
        ..Observed::default()
    };
    for wanted in &desired.definitions {
        if let Some(newest) = aws.batch.definitions(&wanted.name).await?.into_iter().next() {
            observed.definitions.insert(wanted.name.clone(), newest);
        }
        if let Some(role) = wanted.job_role.as_ref().filter(|role| !role.starts_with("arn:")) {
            observed
                .job_roles
                .insert(role.clone(), given_role(aws, "job role", role, "job-role").await?.arn);
        }
    }
    if let (Choice::Made(name), Some(_)) = (&desired.service_role, &observed.service_role) {
        let wanted = policy::batch_service_policy(aws.partition.id);
        observed.service_policy = aws.iam.attached(name).await?.contains(&wanted);
    }
    match &desired.profile {
        Choice::Existing(name) => match &observed.profile {
            None => return Err(not_there("instance profile", name, "[block] instance-profile")),
            Some(profile) if profile.roles.is_empty() => {
                return Err(Error::state(
                    format!(
                        "instance profile {name} has no role: its instances could not join a \
                         cluster"
                    ),
                    "add a role to it, or leave [block] instance-profile out and one is made",
                ));
            }
            Some(_) => {}
        },
        Choice::Made(name) => {
            observed.instance_role = aws.iam.role(name).await?;
            if observed.instance_role.is_some() {
                observed.instance_policy = aws.iam.policy(name).await?;
            }
        }
    }
    if let Some(scheduler) = &desired.scheduler {
        observe_scheduler(aws, scheduler, &mut observed).await?;
    }
    Ok(observed)
}

async fn observe_scheduler(
    aws: &Aws,
    scheduler: &Scheduler,
    observed: &mut Observed,
) -> Result<()> {
    observed.schedule_group = aws.scheduler.group(&scheduler.group).await?;
    match &scheduler.role {
        Choice::Existing(arn) if arn.starts_with("arn:") => {}
        Choice::Existing(name) => {
            given_role(aws, "role", name, "[environment] scheduler-role").await?;
        }
        Choice::Made(name) => {
            observed.scheduler_role = aws.iam.role(name).await?;
            if observed.scheduler_role.is_some() {
                observed.scheduler_policy = aws.iam.policy(name).await?;
            }
        }
    }
    Ok(())
}

async fn service_role(aws: &Aws, choice: &Choice) -> Result<Option<Role>> {
    match choice {
        Choice::Existing(arn) if arn.starts_with("arn:") => {
            Ok(Some(Role { arn: arn.clone(), tags: BTreeMap::new() }))
        }
        Choice::Existing(name) => {
            given_role(aws, "service role", name, "[environment] service-role").await.map(Some)
        }
        Choice::Made(name) => aws.iam.role(name).await,
    }
}

/// A role that the settings give by name under this key.
///
/// # Errors
/// When the call fails, or there is no such role.
pub(crate) async fn given_role(aws: &Aws, what: &str, name: &str, key: &str) -> Result<Role> {
    aws.iam.role(name).await?.ok_or_else(|| not_there(what, name, key))
}

fn not_there(what: &str, name: &str, key: &str) -> Error {
    Error::state(
        format!("{what} {name} is not there"),
        format!(
            "create it, or change {key} in spotblock.toml (left out, one that fits is made where \
             it can be)"
        ),
    )
}

/// Looks at where a new block would be launched: the image, and whether subnets, zone and security
/// groups agree.
///
/// # Errors
/// When a call fails, or they disagree.
pub(crate) async fn site(aws: &Aws, settings: &Settings) -> Result<Site> {
    let block = &settings.block;
    let subnets = aws.ec2.subnets(&block.subnets).await?;
    if let (Some(zone), Some(other)) = (
        &block.zone,
        subnets.iter().find(|subnet| block.zone.as_ref().is_some_and(|zone| *zone != subnet.zone)),
    ) {
        return Err(Error::usage(
            format!("[block] zone is {zone}, but subnet {} is in {}", other.id, other.zone),
            "leave zone out, or give subnets of that zone",
        ));
    }
    let groups = aws.ec2.groups(&block.security_groups).await?;
    for subnet in &subnets {
        if let Some(group) = groups.iter().find(|group| group.vpc != subnet.vpc) {
            let (id, vpc) = (&group.id, &group.vpc);
            return Err(Error::usage(
                format!(
                    "security group {id} is in {vpc}, but subnet {} is in {}",
                    subnet.id, subnet.vpc
                ),
                "give security groups and subnets of one VPC",
            ));
        }
    }
    let id = match &block.image {
        settings::Image::Id(id) => id.clone(),
        settings::Image::Parameter(name) => aws.ssm.parameter(name).await?,
    };
    let mut zones: Vec<String> = subnets.into_iter().map(|subnet| subnet.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    Ok(Site { image: aws.ec2.image(&id).await?, zones })
}
