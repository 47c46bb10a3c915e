//! `spotblock doctor`: gathers the facts, and prints what `doctor.rs` makes of them.

use crate::args;
use crate::aws::batch::Detail;
use crate::diagnosis::gather::{gather, if_allowed};
use crate::diagnosis::{self, Finding, Surroundings};
use crate::model::error::{Error, Result};
use crate::session::Session;

use super::jobs;

/// How many waiting jobs are looked at when nothing is named: they wait for the same, mostly.
const MOST_JOBS: usize = 5;
/// How many of the last lines that a job wrote are looked at.
const LAST_LINES: u32 = 20;
/// The exit code when something was found.
const FOUND: u8 = 1;

/// Runs it.
///
/// # Errors
/// When what is named isn't there, or a call fails.
pub(crate) async fn run(session: &Session<'_>, args: &args::Doctor) -> Result<u8> {
    let about = args.about.as_deref();
    let mut facts = gather(session, about.filter(|id| id.starts_with("i-"))).await?;
    let found = match about {
        Some(id) if id.starts_with("i-") => {
            let instance = facts
                .instances
                .iter()
                .find(|it| it.id == id)
                .ok_or_else(|| unknown(session, id))?;
            diagnosis::instance(&facts, instance).into_iter().collect()
        }
        Some(job) => {
            let job = jobs::find(session, job).await?;
            of_our_queue(session, &job)?;
            of_job(session, &mut facts, job).await?
        }
        None => everything(session, &mut facts).await?,
    };
    session.ui.result(&found, |found| text(found, about))?;
    Ok(if found.is_empty() { 0 } else { FOUND })
}

fn unknown(session: &Session<'_>, id: &str) -> Error {
    Error::usage(
        format!(
            "instance {id} is in no block of environment {}, or was forgotten by EC2",
            session.environment()
        ),
        "`spotblock status` lists the blocks' instances",
    )
}

/// A job of another queue has other instances: what is known of ours says nothing of it.
fn of_our_queue(session: &Session<'_>, job: &Detail) -> Result<()> {
    let owned = &session.settings.environment.queue;
    if job.queue == *owned {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "job {} ({}) is in queue {}, and this environment's is {owned}",
            job.name, job.id, job.queue
        ),
        "ask with the spotblock.toml of that queue (--config)",
    ))
}

/// Why a job is where it is; of an array that waits, one of its children, since they wait for the
/// same, mostly.
async fn of_job(
    session: &Session<'_>,
    facts: &mut Surroundings,
    job: Detail,
) -> Result<Vec<Finding>> {
    let job = match waiting_child(session, &job).await? {
        Some(child) => child,
        None => job,
    };
    if let Some((group, stream)) = diagnosis::worth_reading(&job) {
        let read = session.aws.logs.tail(group, stream, LAST_LINES).await;
        let lines = if_allowed(session, read)?.unwrap_or_default();
        facts.wrote.insert(job.id.clone(), lines.into_iter().map(|line| line.text).collect());
    }
    Ok(diagnosis::job(facts, &job))
}

/// An array is PENDING as long as its children are not over `[V]`; one that depends on others says
/// so itself.
async fn waiting_child(session: &Session<'_>, job: &Detail) -> Result<Option<Detail>> {
    if job.array.is_none() || job.is_over() {
        return Ok(None);
    }
    let batch = &session.aws.batch;
    let states: &[&str] = if job.depends_on.is_empty() {
        &["RUNNABLE", "PENDING", "SUBMITTED"]
    } else {
        &["RUNNABLE"]
    };
    for state in states {
        if let Some(child) = batch.children_in_state(&job.id, state, 1).await?.into_iter().next() {
            return Ok(batch.jobs(&[child.id]).await?.into_iter().next());
        }
    }
    Ok(None)
}

async fn everything(session: &Session<'_>, facts: &mut Surroundings) -> Result<Vec<Finding>> {
    let mut found = diagnosis::surroundings(facts);
    found.extend(
        facts
            .instances
            .iter()
            .filter(|it| it.is_up())
            .filter_map(|it| diagnosis::instance(facts, it)),
    );
    if facts.queue.is_some() {
        for state in ["PENDING", "RUNNABLE"] {
            let listed =
                session.aws.batch.jobs_in_state(&facts.queue_name, state, MOST_JOBS).await?;
            let ids: Vec<String> = listed.into_iter().map(|job| job.id).collect();
            for job in session.aws.batch.jobs(&ids).await? {
                found.extend(of_job(session, facts, job).await?);
            }
        }
    }
    let mut told = Vec::new();
    found.retain(|it| {
        let new = !told.contains(it);
        told.push(it.clone());
        new
    });
    Ok(found)
}

fn text(found: &[Finding], about: Option<&str>) -> String {
    if found.is_empty() {
        return format!(
            "nothing is wrong with {}",
            about.unwrap_or("the environment, its instances and its queue")
        );
    }
    let one = |it: &Finding| {
        format!("{}: {}\n  because: {}\n  next:    {}", it.about, it.finding, it.evidence, it.next)
    };
    found.iter().map(one).collect::<Vec<_>>().join("\n")
}
