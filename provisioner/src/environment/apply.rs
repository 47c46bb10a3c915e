//! Runs a plan. Every step can be repeated: what is there already, made by an earlier run or by
//! another one at the same time, is what was wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::aws::classify::is_batch_role_too_new;
use crate::environment::desired::Desired;
use crate::environment::plan::{Action, Plan, Step, Verdict};
use crate::environment::policy;
use crate::model::batch::{ComputeEnvironment, Queue};
use crate::model::error::{AwsErrorKind, Error, Result};
use crate::model::names;
use crate::model::ownership::Owned;
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;

/// Batch takes seconds to some minutes.
const BATCH_LIMIT: Duration = Duration::from_secs(300);
/// A new role takes seconds to be usable `[I]`.
const ROLE_LIMIT: Duration = Duration::from_secs(60);

/// Does what the plan says, and gives the compute environment, VALID.
///
/// # Errors
/// When a call fails for good, or something doesn't become VALID in time.
pub(crate) async fn apply(
    session: &Session<'_>,
    desired: &Desired,
    plan: &Plan,
) -> Result<ComputeEnvironment> {
    for step in &plan.steps {
        announce(session, step);
        perform(session, desired, &step.action).await?;
    }
    queue_valid(session, &desired.queue).await?;
    environment_valid(session, &desired.environment).await
}

fn announce(session: &Session<'_>, step: &Step) {
    match &step.verdict {
        Verdict::Create => session.ui.say(format_args!("creating {} {}", step.resource, step.name)),
        Verdict::Change { changes } => {
            let fields: Vec<_> = changes
                .iter()
                .map(|it| format!("{}: {} -> {}", it.field, it.from, it.to))
                .collect();
            session.ui.say(format_args!(
                "changing {} {} ({})",
                step.resource,
                step.name,
                fields.join("; ")
            ));
        }
        Verdict::Keep | Verdict::Refuse { .. } => {}
    }
}

async fn perform(session: &Session<'_>, desired: &Desired, action: &Action) -> Result<()> {
    let (aws, tags) = (session.aws, &desired.tags);
    match action {
        Action::Nothing | Action::StartBlock => Ok(()),
        Action::ServiceRole(name) => {
            let role =
                role_of_ours(session, desired, name, &policy::trust("batch.amazonaws.com")).await?;
            aws.iam.attach(&role, &policy::batch_service_policy(aws.partition.id)).await
        }
        Action::CreateEnvironment => {
            create_environment(session, desired).await?;
            environment_valid(session, &desired.environment).await.map(|_| ())
        }
        Action::UpdateEnvironment => {
            let has = environment_valid(session, &desired.environment).await?;
            let owned = claimed(desired, "compute environment", &has.name, &has.tags)?;
            let role = role_arn(session, desired).await?;
            let what = format!("compute environment {}", desired.environment);
            session
                .change(&what, async || {
                    aws.batch.update_environment(&owned, true, Some(&role)).await
                })
                .await?;
            environment_valid(session, &desired.environment).await.map(|_| ())
        }
        Action::CreateQueue => {
            // Batch refuses a queue on an environment that isn't VALID yet.
            environment_valid(session, &desired.environment).await?;
            let created = aws
                .batch
                .create_queue(&desired.queue, desired.priority, &desired.environment, tags)
                .await;
            exists_is_fine(created)
        }
        Action::UpdateQueue => {
            let has = queue_valid(session, &desired.queue).await?;
            let owned = claimed(desired, "job queue", &has.name, &has.tags)?;
            let what = format!("job queue {}", desired.queue);
            session
                .change(&what, async || aws.batch.update_queue(&owned, desired.priority).await)
                .await
        }
        Action::Register(definition) => aws.batch.register(definition, tags).await,
        Action::InstanceProfile(name) => instance_profile(session, desired, name).await,
        Action::SchedulerRole(name) => scheduler_role(session, desired, name).await,
        Action::ScheduleGroup(name) => schedule_group(session, desired, name).await,
    }
}

/// The gate before a thing that was there before is changed.
fn claimed(
    desired: &Desired,
    kind: &str,
    name: &str,
    tags: &BTreeMap<String, String>,
) -> Result<Owned> {
    desired.marks().claim(name, tags).ok_or_else(|| {
        Error::state(
            format!("{kind} {name} is there, but was not made by spotblock"),
            "give another [environment] name, or remove it by hand if nothing needs it",
        )
    })
}

/// The role of this name, made now or by an earlier run.
async fn role_of_ours(
    session: &Session<'_>,
    desired: &Desired,
    name: &str,
    trust: &Value,
) -> Result<Owned> {
    if let Some(made) = session.aws.iam.create_role(name, trust, &desired.tags).await? {
        return Ok(made);
    }
    let role = session.aws.iam.role(name).await?.ok_or_else(|| not_shown("role", name))?;
    claimed(desired, "role", name, &role.tags)
}

fn not_shown(kind: &str, name: &str) -> Error {
    Error::state(
        format!("{kind} {name} is there, but is not shown yet"),
        "run the same command again in a few seconds",
    )
}

fn exists_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_aws(AwsErrorKind::Exists) => Ok(()),
        result => result,
    }
}

async fn role_arn(session: &Session<'_>, desired: &Desired) -> Result<String> {
    use crate::environment::desired::Choice;
    if let Choice::Existing(arn) = &desired.service_role
        && arn.starts_with("arn:")
    {
        return Ok(arn.clone());
    }
    let name = desired.service_role.name();
    let role = session.aws.iam.role(name).await?;
    role.map(|role| role.arn).ok_or_else(|| {
        Error::state(
            format!("service role {name} is not there"),
            "run the same command again; if it was deleted meanwhile, it is made anew",
        )
    })
}

/// Creates the environment. Batch refuses a role that is too new to be assumed, so that refusal is
/// waited out.
async fn create_environment(session: &Session<'_>, desired: &Desired) -> Result<()> {
    let role = role_arn(session, desired).await?;
    let bound = WaitSpec {
        what: format!("Batch to accept service role {}", desired.service_role.name()),
        limit: ROLE_LIMIT,
        next: "check that the role trusts batch.amazonaws.com".to_owned(),
    };
    session
        .waits
        .until(session.ui, bound, async || {
            let created = session
                .aws
                .batch
                .create_environment(&desired.environment, &role, &desired.tags)
                .await;
            match exists_is_fine(created) {
                Ok(()) => Ok(Poll::Done(())),
                Err(error) if is_batch_role_too_new(&error) => Ok(Poll::NotYet(error.to_string())),
                Err(error) => Err(error),
            }
        })
        .await
}

async fn instance_profile(session: &Session<'_>, desired: &Desired, name: &str) -> Result<()> {
    let iam = &session.aws.iam;
    let environment = environment_valid(session, &desired.environment).await?;
    let role = role_of_ours(session, desired, name, &policy::trust("ec2.amazonaws.com")).await?;
    iam.put_policy(&role, &policy::instance(&[&environment.cluster], desired.object.as_deref()))
        .await?;
    if let Some(made) = iam.create_profile(name, &desired.tags).await? {
        return role_into_profile(session, &made, name).await;
    }
    let has = iam.profile(name).await?.ok_or_else(|| not_shown("instance profile", name))?;
    if has.roles == [name.to_owned()] {
        return Ok(());
    }
    let owned = claimed(desired, "instance profile", name, &has.tags)?;
    // A profile has one role at most.
    for other in &has.roles {
        iam.remove_role(&owned, other).await?;
    }
    role_into_profile(session, &owned, name).await
}

async fn scheduler_role(session: &Session<'_>, desired: &Desired, name: &str) -> Result<()> {
    // Of all that a user writes or AWS gives, only the cluster's ARN has the account for certain.
    let environment = environment_valid(session, &desired.environment).await?;
    let account = policy::account(&environment.cluster);
    let partition = session.aws.partition.id;
    let trust =
        policy::trust_schedules(partition, account, &names::schedule_group(&desired.environment));
    let role = role_of_ours(session, desired, name, &trust).await?;
    session
        .aws
        .iam
        .put_policy(&role, &policy::scheduler(partition, account, &desired.environment))
        .await
}

async fn schedule_group(session: &Session<'_>, desired: &Desired, name: &str) -> Result<()> {
    if session.aws.scheduler.create_group(name, &desired.tags).await?.is_some() {
        return Ok(());
    }
    let group = session
        .aws
        .scheduler
        .group(name)
        .await?
        .ok_or_else(|| not_shown("schedule group", name))?;
    claimed(desired, "schedule group", name, &group.tags).map(|_| ())
}

/// A profile has one role at most, so the repetition of a call whose answer was lost is refused: it
/// is in already.
async fn role_into_profile(session: &Session<'_>, profile: &Owned, role: &str) -> Result<()> {
    let iam = &session.aws.iam;
    match iam.add_role(profile, role).await {
        Err(error) if error.aws().is_some_and(|it| it.is("LimitExceeded")) => {
            let has = iam.profile(profile.id()).await?;
            if has.is_some_and(|it| it.roles == [role.to_owned()]) { Ok(()) } else { Err(error) }
        }
        result => result,
    }
}

/// Waits until the compute environment is VALID and has its cluster.
///
/// # Errors
/// When it becomes INVALID, or not in time.
pub(crate) async fn environment_valid(
    session: &Session<'_>,
    name: &str,
) -> Result<ComputeEnvironment> {
    let bound = WaitSpec {
        what: format!("compute environment {name} to be VALID"),
        limit: BATCH_LIMIT,
        next: "run the same command again to wait on".to_owned(),
    };
    session
        .waits
        .until(session.ui, bound, async || {
            let Some(has) = session.aws.batch.environment(name).await? else {
                return Ok(Poll::NotYet("not there yet".to_owned()));
            };
            match has.status.as_str() {
                "VALID" if !has.cluster.is_empty() => Ok(Poll::Done(has)),
                "INVALID" => Err(invalid("compute environment", name, &has.reason)),
                status => Ok(Poll::NotYet(status.to_owned())),
            }
        })
        .await
}

async fn queue_valid(session: &Session<'_>, name: &str) -> Result<Queue> {
    let bound = WaitSpec {
        what: format!("job queue {name} to be VALID"),
        limit: BATCH_LIMIT,
        next: "run the same command again to wait on".to_owned(),
    };
    session
        .waits
        .until(session.ui, bound, async || {
            let Some(has) = session.aws.batch.queue(name).await? else {
                return Ok(Poll::NotYet("not there yet".to_owned()));
            };
            match has.status.as_str() {
                "VALID" => Ok(Poll::Done(has)),
                "INVALID" => Err(invalid("job queue", name, &has.reason)),
                status => Ok(Poll::NotYet(status.to_owned())),
            }
        })
        .await
}

fn invalid(what: &str, name: &str, reason: &str) -> Error {
    Error::state(
        format!("{what} {name} became INVALID: {reason}"),
        "repair what Batch names, or remove it with `spotblock down --all` and run `spotblock \
         up` again",
    )
}
