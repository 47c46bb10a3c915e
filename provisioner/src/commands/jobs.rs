//! `spotblock jobs`: the queue's jobs, and why they are as they are.

use jiff::Timestamp;

use crate::args;
use crate::aws::batch::{Detail, JOB_STATES};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::ui::{table, view};

/// Runs it.
///
/// # Errors
/// When a call fails.
pub async fn run(session: &Session<'_>, args: &args::Jobs) -> Result<u8> {
    let (batch, queue) = (&session.aws.batch, &session.settings.environment.queue);
    let states: Vec<&str> = JOB_STATES
        .into_iter()
        .filter(|state| args.states.is_empty() || args.states.iter().any(|it| it.eq_ignore_ascii_case(state)))
        .collect();
    let mut ids = Vec::new();
    match &args.name {
        // Batch takes a name or a state, not both `[V]`.
        Some(name) => ids = batch.jobs_named(queue, name, usize::MAX).await?,
        None => {
            for state in &states {
                ids.extend(batch.jobs_in_state(queue, state, usize::MAX).await?);
            }
        }
    }
    ids.dedup();
    let mut jobs = batch.jobs(&ids).await?;
    jobs.retain(|job| states.contains(&job.status.as_str()));
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
    jobs.truncate(args.limit);
    session.ui.result(&jobs, |jobs| text(jobs, session.now()))?;
    Ok(0)
}

fn text(jobs: &[Detail], now: Timestamp) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let rows = jobs
        .iter()
        .map(|job| [job.name.clone(), job.id.clone(), job.status.clone(), since(job, now), tries(job), shown(job)]);
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
    at.map_or_else(String::new, |at| view::ago(at, now))
}

/// Which attempt is the last or under way, of how many.
fn tries(job: &Detail) -> String {
    let under_way = usize::from(matches!(job.status.as_str(), "STARTING" | "RUNNING"));
    format!("{}/{}", job.attempts.len() + under_way, job.max_attempts)
}

fn shown(job: &Detail) -> String {
    if let Some(array) = &job.array {
        return states(array);
    }
    match job.status.as_str() {
        "PENDING" if !job.depends_on.is_empty() => format!("waits for {}", job.depends_on.join(", ")),
        "RUNNABLE" if job.attempts.is_empty() => format!("`spotblock doctor {}` says what it waits for", job.name),
        _ => job.why(),
    }
}

/// An array's children by state.
pub(crate) fn states(array: &crate::aws::batch::Children) -> String {
    let count = |state: &&str| array.states.get(*state).copied().filter(|count| *count > 0);
    let parts: Vec<String> = JOB_STATES.iter().filter_map(|state| Some(format!("{} {state}", count(state)?))).collect();
    format!("{} children: {}", array.size, parts.join(", "))
}

/// A job by its id, or else the newest of that name in the queue.
///
/// # Errors
/// When there is none, or a call fails.
pub(crate) async fn find(session: &Session<'_>, given: &str) -> Result<Detail> {
    let (batch, queue) = (&session.aws.batch, &session.settings.environment.queue);
    if is_id(given)
        && let Some(job) = batch.jobs(&[given.to_owned()]).await?.into_iter().next()
    {
        return Ok(job);
    }
    let ids = batch.jobs_named(queue, given, usize::MAX).await?;
    let newest = batch.jobs(&ids).await?.into_iter().max_by_key(|job| job.created);
    newest.ok_or_else(|| Error::Usage {
        what: format!("there is no job {given} in queue {queue}"),
        next: "list them with `spotblock jobs`; Batch forgets ended ones after some days".to_owned(),
    })
}

/// A UUID, with an index behind `:` for an array's child.
fn is_id(given: &str) -> bool {
    let id = given.split(':').next().unwrap_or_default();
    id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}
