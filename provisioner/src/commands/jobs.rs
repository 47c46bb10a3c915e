//! `spotblock jobs`: the queue's jobs, and why they are as they are.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::args;
use crate::aws::batch::{Detail, Listed};
use crate::model::batch::JOB_STATES;
use crate::model::error::{AwsErrorKind, Error, Result};
use crate::session::Session;
use crate::terminal::{format, table};

/// Runs it.
///
/// # Errors
/// When a call fails.
pub(crate) async fn run(session: &Session<'_>, args: &args::Jobs) -> Result<u8> {
    let states: Vec<&str> = JOB_STATES
        .into_iter()
        .filter(|state| {
            args.states.is_empty() || args.states.iter().any(|it| it.eq_ignore_ascii_case(state))
        })
        .collect();
    let listed = match listed(session, args, &states).await {
        Ok(listed) => listed,
        Err(error) => return Err(of_queue(session, error).await),
    };
    let ids: Vec<String> = listed.iter().take(args.limit).map(|job| job.id.clone()).collect();
    let mut jobs = session.aws.batch.jobs(&ids).await?;
    // It may have gone on since it was listed.
    jobs.retain(|job| states.contains(&job.status.as_str()));
    session.ui.result(&jobs, |jobs| text(jobs, session.now()))?;
    if listed.len() > ids.len() {
        session.ui.say(format_args!(
            "these are the newest {} of {} jobs: --limit {} shows all",
            ids.len(),
            listed.len(),
            listed.len()
        ));
    }
    Ok(0)
}

/// The jobs that are asked for, the newest first.
async fn listed(session: &Session<'_>, args: &args::Jobs, states: &[&str]) -> Result<Vec<Listed>> {
    let (batch, queue) = (&session.aws.batch, &session.settings.environment.queue);
    let mut all = Vec::new();
    if let Some(name) = &args.name {
        // Batch takes a name or a state, not both `[V]`.
        all = batch.jobs_named(queue, name).await?;
        all.retain(|job| states.contains(&job.status.as_str()));
    } else if let Some(array) = &args.array {
        let array = array_id(session, array).await?;
        for state in states {
            all.extend(batch.children_in_state(&array, state, usize::MAX).await?);
        }
    } else {
        for state in states {
            all.extend(batch.jobs_in_state(queue, state, usize::MAX).await?);
        }
    }
    // One that goes on meanwhile is listed in two states.
    let mut seen = BTreeSet::new();
    all.retain(|job| seen.insert(job.id.clone()));
    all.sort_by_key(|job| std::cmp::Reverse(job.created));
    Ok(all)
}

async fn array_id(session: &Session<'_>, given: &str) -> Result<String> {
    let job = find(session, given).await?;
    match job.array {
        Some(_) => Ok(job.id),
        None => Err(Error::usage(
            format!("job {} ({}) is no array: it has no children", job.name, job.id),
            "look at it with `spotblock jobs --name` or `spotblock doctor`",
        )),
    }
}

fn text(jobs: &[Detail], now: Timestamp) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    // A name alone means the newest job that has it.
    let mut seen = BTreeSet::new();
    let rows = jobs.iter().map(|job| {
        let known_as = if seen.insert(&job.name) { &job.name } else { &job.id };
        let why = shown(job, known_as);
        [job.name.clone(), job.id.clone(), job.status.clone(), since(job, now), tries(job), why]
    });
    table::plain(["JOB", "ID", "STATE", "SINCE", "TRY", "WHY"], rows)
}

fn since(job: &Detail, now: Timestamp) -> String {
    let at = if job.is_over() {
        job.stopped
    } else if job.status == "RUNNING" {
        job.started
    } else {
        job.created
    };
    at.map_or_else(String::new, |at| format::ago(at, now))
}

/// Which attempt is the last or under way, of how many.
fn tries(job: &Detail) -> String {
    let under_way = usize::from(matches!(job.status.as_str(), "STARTING" | "RUNNING"));
    format!("{}/{}", job.attempts.len() + under_way, job.max_attempts)
}

fn shown(job: &Detail, known_as: &str) -> String {
    if let Some(array) = &job.array {
        return states(array);
    }
    match job.status.as_str() {
        "PENDING" if !job.depends_on.is_empty() => {
            format!("waits for {}", job.depends_on.join(", "))
        }
        "RUNNABLE" if job.attempts.is_empty() => {
            format!("`spotblock doctor {known_as}` says what it waits for")
        }
        _ => job.why(),
    }
}

/// An array's children by state.
pub(crate) fn states(array: &crate::aws::batch::Children) -> String {
    let count = |state: &&str| array.states.get(*state).copied().filter(|count| *count > 0);
    let parts: Vec<String> =
        JOB_STATES.iter().filter_map(|state| Some(format!("{} {state}", count(state)?))).collect();
    format!("{} children: {}", array.size, parts.join(", "))
}

/// A job by its id, or else the newest of that name in the queue; an array's child by `ID:INDEX` or
/// `NAME:INDEX`.
///
/// # Errors
/// When there is none, or a call fails.
pub(crate) async fn find(session: &Session<'_>, given: &str) -> Result<Detail> {
    let (batch, queue) = (&session.aws.batch, &session.settings.environment.queue);
    if is_id(given) {
        let found = batch.jobs(&[given.to_owned()]).await?.into_iter().next();
        return found.ok_or_else(|| no_job(session, given));
    }
    // A name has no colon.
    let (name, index) =
        given.split_once(':').map_or((given, None), |(name, index)| (name, Some(index)));
    let newest = match batch.jobs_named(queue, name).await {
        Ok(listed) => listed.into_iter().max_by_key(|job| job.created),
        Err(error) => return Err(of_queue(session, error).await),
    };
    let id = newest
        .map(|job| index.map_or_else(|| job.id.clone(), |index| format!("{}:{index}", job.id)));
    let ids: Vec<String> = id.into_iter().collect();
    batch.jobs(&ids).await?.into_iter().next().ok_or_else(|| no_job(session, given))
}

fn no_job(session: &Session<'_>, given: &str) -> Error {
    let (queue, region) = (&session.settings.environment.queue, &session.aws.region);
    let what = if is_id(given) {
        format!("there is no job {given} in {region}")
    } else {
        format!("there is no job {given} in queue {queue} in {region}")
    };
    Error::usage(what, "list them with `spotblock jobs`; Batch forgets ended ones after some days")
}

/// What Batch refuses about a queue that isn't there, or takes no jobs, is told as that.
pub(crate) async fn of_queue(session: &Session<'_>, error: Error) -> Error {
    if !error.is_aws(AwsErrorKind::Rejected) {
        return error;
    }
    let (name, region) = (&session.settings.environment.queue, &session.aws.region);
    match session.aws.batch.queue(name).await {
        Ok(None) => Error::usage(
            format!("there is no job queue {name} in {region}"),
            "make it with `spotblock env apply`; if it is elsewhere, say where (--region, \
             --profile)",
        ),
        Ok(Some(queue)) if queue.state == "DISABLED" => Error::state(
            format!("job queue {name} is disabled: it takes no jobs"),
            "enable it with `spotblock env apply`",
        ),
        _ => error,
    }
}

/// A UUID, with an index behind `:` for an array's child.
fn is_id(given: &str) -> bool {
    let id = given.split(':').next().unwrap_or_default();
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
