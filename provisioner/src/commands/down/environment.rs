//! Removing what was made for an environment, in AWS's order: the queue is disabled, waited for,
//! deleted, waited for; then the compute environment likewise; then job definitions, profile,
//! roles. What spotblock did not make is kept.

use std::time::Duration;

use super::Ended;
use crate::environment::desired::{Choice, Desired, Scheduler};
use crate::environment::policy;
use crate::model::batch::JOB_STATES;
use crate::model::error::{Error, Result};
use crate::runtime::failures::Failures;
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;

const LIMIT: Duration = Duration::from_secs(600);

/// Deleting a queue loses the jobs in it.
///
/// # Errors
/// [`Error::state`] when there are some, unless `discard`.
pub(super) async fn refuse_to_lose_jobs(session: &Session<'_>, discard: bool) -> Result<()> {
    let queue = &session.settings.environment.queue;
    if discard || session.aws.batch.queue(queue).await?.is_none() {
        return Ok(());
    }
    let mut waiting = Vec::new();
    for state in JOB_STATES.iter().filter(|state| !matches!(**state, "SUCCEEDED" | "FAILED")) {
        let count = session.aws.batch.count_jobs(queue, state).await?;
        if count > 0 {
            waiting.push(format!("{count} {state}"));
        }
    }
    if waiting.is_empty() {
        return Ok(());
    }
    Err(Error::state(
        format!("queue {queue} has jobs that would be lost: {}", waiting.join(", ")),
        "wait for them, cancel them, end the block alone with `spotblock down`, or give \
         --discard-jobs",
    ))
}

/// What a CloudFormation stack made, only that stack can take back: its next update would fail on
/// what is missing.
///
/// # Errors
/// [`Error::state`] when the queue is a stack's.
pub(super) async fn refuse_a_stacks(session: &Session<'_>) -> Result<()> {
    let queue = &session.settings.environment.queue;
    let Some(has) = session.aws.batch.queue(queue).await? else { return Ok(()) };
    // Batch's compute environments don't get this tag, its queues do `[V, resource specification]`.
    let Some(stack) = has.tags.get("aws:cloudformation:stack-name") else { return Ok(()) };
    Err(Error::state(
        format!("queue {queue} was made by CloudFormation stack {stack}"),
        format!(
            "end the blocks with `spotblock down`, then remove the rest with `aws cloudformation \
             delete-stack --stack-name {stack}`"
        ),
    ))
}

/// Removes what carries the environment's mark, as far as it can. What fails is noted.
///
/// # Errors
/// As [`Failures::note`].
pub(super) async fn remove(
    session: &Session<'_>,
    ended: &mut Ended,
    failures: &mut Failures,
) -> Result<()> {
    let (desired, ui) = (Desired::new(session.settings), session.ui);
    let queue_is_gone = queue(session, &desired, ended).await;
    let queue_is_gone =
        failures.ok_or_note(ui, queue_is_gone, format!("job queue {}", desired.queue))?;
    let mut batch_is_done = queue_is_gone.is_some();
    if queue_is_gone == Some(true) {
        let removed = compute_environment(session, &desired, ended).await;
        let name = format!("compute environment {}", desired.environment);
        batch_is_done = failures.ok_or_note(ui, removed, name)?.is_some();
    }
    let removed = definitions(session, &desired, ended).await;
    failures.ok_or_note(ui, removed, "job definitions")?;
    if let Choice::Made(name) = &desired.profile {
        let removed = profile(session, &desired, name, ended).await;
        failures.ok_or_note(ui, removed, format!("instance profile and role {name}"))?;
    } else {
        ended.kept.push(format!("instance profile {}, which is yours", desired.profile.name()));
    }
    if let Some(scheduler) = &desired.scheduler {
        let removed = schedules(session, &desired, scheduler, ended).await;
        failures.ok_or_note(
            ui,
            removed,
            format!("schedule group {} and its role", scheduler.group),
        )?;
    }
    match &desired.service_role {
        // Batch works with it to delete the environment.
        Choice::Made(name) if !batch_is_done => {
            ended.kept.push(format!(
                "service role {name}, which Batch needs until the compute environment is gone"
            ));
        }
        Choice::Made(name) => {
            let removed = service_role(session, &desired, name, ended).await;
            failures.ok_or_note(ui, removed, format!("service role {name}"))?;
        }
        Choice::Existing(_) => {
            ended
                .kept
                .push(format!("service role {}, which is yours", desired.service_role.name()));
        }
    }
    Ok(())
}

fn foreign(kind: &str, name: &str) -> String {
    format!("{kind} {name}, which spotblock did not make")
}

async fn queue(session: &Session<'_>, desired: &Desired, ended: &mut Ended) -> Result<bool> {
    let (batch, name) = (&session.aws.batch, &desired.queue);
    let Some(has) = batch.queue(name).await? else { return Ok(true) };
    let Some(owned) = desired.marks().claim(name, &has.tags) else {
        ended.kept.push(foreign("job queue", name));
        return Ok(!has.environments.contains(&desired.environment));
    };
    session.ui.say(format_args!("removing job queue {name}"));
    let of = format!("job queue {name}");
    let what = |what: &str| bound(format!("{of} to be {what}"));
    if has.status != "DELETING" {
        if has.state != "DISABLED" {
            session.change(&of, async || batch.disable_queue(&owned).await).await?;
        }
        session
            .waits
            .until(session.ui, what("disabled"), async || match batch.queue(name).await? {
                Some(has)
                    if has.state == "DISABLED"
                        && matches!(has.status.as_str(), "VALID" | "INVALID") =>
                {
                    Ok(Poll::Done(()))
                }
                Some(has) => Ok(Poll::NotYet(has.status)),
                None => Ok(Poll::Done(())),
            })
            .await?;
        session.change(&of, async || batch.delete_queue(&owned).await).await?;
    }
    session
        .waits
        .until(session.ui, what("gone"), async || match batch.queue(name).await? {
            Some(has) => Ok(Poll::NotYet(has.status)),
            None => Ok(Poll::Done(())),
        })
        .await?;
    ended.removed.push(format!("job queue {name}"));
    Ok(true)
}

async fn compute_environment(
    session: &Session<'_>,
    desired: &Desired,
    ended: &mut Ended,
) -> Result<()> {
    let (batch, name) = (&session.aws.batch, &desired.environment);
    let Some(has) = batch.environment(name).await? else { return Ok(()) };
    let Some(owned) = desired.marks().claim(name, &has.tags) else {
        ended.kept.push(foreign("compute environment", name));
        return Ok(());
    };
    session.ui.say(format_args!("removing compute environment {name}"));
    let of = format!("compute environment {name}");
    let what = |what: &str| bound(format!("{of} to be {what}"));
    if has.status != "DELETING" {
        if has.state != "DISABLED" {
            session
                .change(&of, async || batch.update_environment(&owned, false, None).await)
                .await?;
        }
        session
            .waits
            .until(session.ui, what("disabled"), async || match batch.environment(name).await? {
                Some(has)
                    if has.state == "DISABLED"
                        && matches!(has.status.as_str(), "VALID" | "INVALID") =>
                {
                    Ok(Poll::Done(()))
                }
                Some(has) => Ok(Poll::NotYet(has.status)),
                None => Ok(Poll::Done(())),
            })
            .await?;
        session.change(&of, async || batch.delete_environment(&owned).await).await?;
    }
    session
        .waits
        .until(session.ui, what("gone"), async || match batch.environment(name).await? {
            Some(has) if has.status == "INVALID" => Err(Error::state(
                format!("compute environment {name} can't be deleted: {}", has.reason),
                "repair what Batch names, then run the same command again",
            )),
            Some(has) => Ok(Poll::NotYet(has.status)),
            None => Ok(Poll::Done(())),
        })
        .await?;
    ended.removed.push(format!("compute environment {name}"));
    Ok(())
}

fn bound(what: String) -> WaitSpec {
    WaitSpec { what, limit: LIMIT, next: "run the same command again".to_owned() }
}

async fn definitions(session: &Session<'_>, desired: &Desired, ended: &mut Ended) -> Result<()> {
    for wanted in &desired.definitions {
        for revision in session.aws.batch.definitions(&wanted.name).await? {
            let name = format!("{}:{}", wanted.name, revision.revision);
            if let Some(owned) = desired.marks().claim(&revision.arn, &revision.tags) {
                session.aws.batch.deregister(&owned).await?;
                ended.removed.push(format!("job definition {name}"));
            } else {
                ended.kept.push(foreign("job definition", &name));
            }
        }
    }
    Ok(())
}

async fn profile(
    session: &Session<'_>,
    desired: &Desired,
    name: &str,
    ended: &mut Ended,
) -> Result<()> {
    let iam = &session.aws.iam;
    if let Some(profile) = iam.profile(name).await? {
        if let Some(owned) = desired.marks().claim(name, &profile.tags) {
            for role in &profile.roles {
                iam.remove_role(&owned, role).await?;
            }
            iam.delete_profile(&owned).await?;
            ended.removed.push(format!("instance profile {name}"));
        } else {
            ended.kept.push(foreign("instance profile", name));
            if !profile.roles.is_empty() {
                // IAM deletes no role that a profile holds.
                ended.kept.extend(
                    profile
                        .roles
                        .iter()
                        .map(|role| format!("role {role}, which that profile holds")),
                );
                return Ok(());
            }
        }
    }
    role_with_policy(session, desired, name, ended).await
}

async fn role_with_policy(
    session: &Session<'_>,
    desired: &Desired,
    name: &str,
    ended: &mut Ended,
) -> Result<()> {
    let iam = &session.aws.iam;
    let Some(role) = iam.role(name).await? else { return Ok(()) };
    let Some(owned) = desired.marks().claim(name, &role.tags) else {
        ended.kept.push(foreign("role", name));
        return Ok(());
    };
    iam.delete_policy(&owned).await?;
    iam.delete_role(&owned).await?;
    ended.removed.push(format!("role {name}"));
    Ok(())
}

async fn schedules(
    session: &Session<'_>,
    desired: &Desired,
    scheduler: &Scheduler,
    ended: &mut Ended,
) -> Result<()> {
    let (aws, name) = (&session.aws.scheduler, &scheduler.group);
    if let Some(group) = aws.group(name).await? {
        if let Some(owned) = desired.marks().claim(name, &group.tags) {
            aws.delete_group(&owned).await?;
            let what = bound(format!("schedule group {name} to be gone"));
            session
                .waits
                .until(session.ui, what, async || match aws.group(name).await? {
                    Some(_) => Ok(Poll::NotYet("DELETING".to_owned())),
                    None => Ok(Poll::Done(())),
                })
                .await?;
            ended.removed.push(format!("schedule group {name}"));
        } else {
            ended.kept.push(foreign("schedule group", name));
        }
    }
    match &scheduler.role {
        Choice::Made(role) => role_with_policy(session, desired, role, ended).await,
        Choice::Existing(role) => {
            ended.kept.push(format!("role {role}, which is yours"));
            Ok(())
        }
    }
}

async fn service_role(
    session: &Session<'_>,
    desired: &Desired,
    name: &str,
    ended: &mut Ended,
) -> Result<()> {
    let iam = &session.aws.iam;
    let Some(role) = iam.role(name).await? else { return Ok(()) };
    let Some(owned) = desired.marks().claim(name, &role.tags) else {
        ended.kept.push(foreign("role", name));
        return Ok(());
    };
    iam.detach(&owned, &policy::batch_service_policy(session.aws.partition.id)).await?;
    iam.delete_role(&owned).await?;
    ended.removed.push(format!("role {name}"));
    Ok(())
}
