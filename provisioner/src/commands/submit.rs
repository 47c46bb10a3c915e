//! `spotblock submit`: jobs into the queue.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

use crate::args;
use crate::aws::batch::{Job, Registered};
use crate::error::{Error, Kind, Result};
use crate::session::Session;
use crate::settings::{is_batch_name, nearest};
use crate::ui::table;

/// How often a submission that AWS throttles is repeated: throttled means not done.
const ATTEMPTS: u32 = 6;

/// A job that was submitted.
#[derive(Debug, Serialize)]
struct Submitted {
    id: String,
    name: String,
    queue: String,
    definition: String,
}

/// Runs it.
///
/// # Errors
/// When the job could not run in a block, or a call fails.
pub async fn run(session: &Session<'_>, args: &args::Submit) -> Result<u8> {
    let names = job_names(args)?;
    let environment = variables(&args.env)?;
    let definition = definition(session, &args.job_definition).await?;
    let queue = session.settings.environment.queue.clone();
    let mut submitted = Vec::new();
    for name in names {
        if session.waits.clock().is_stopping() {
            show(session, &submitted)?;
            let next = format!("{} of {} jobs were submitted, as listed", submitted.len(), args.count);
            return Err(Error::Interrupted { next });
        }
        let job = Job {
            name: name.clone(),
            queue: queue.clone(),
            definition: format!("{}:{}", args.job_definition, definition.revision),
            environment: environment.clone(),
            command: args.command.clone(),
        };
        match submit(session, &job).await {
            Ok(id) => submitted.push(Submitted { id, name, queue: queue.clone(), definition: job.definition }),
            Err(error) => {
                show(session, &submitted)?;
                return Err(uncertain(error, &name, &queue));
            }
        }
    }
    show(session, &submitted)?;
    Ok(0)
}

fn show(session: &Session<'_>, submitted: &Vec<Submitted>) -> Result<()> {
    session.ui.result(submitted, |submitted| {
        table::plain(["JOB", "ID"], submitted.iter().map(|job| [job.name.clone(), job.id.clone()]))
    })
}

fn job_names(args: &args::Submit) -> Result<Vec<String>> {
    let base = args.name.as_ref().unwrap_or(&args.job_definition);
    let names: Vec<String> =
        if args.count == 1 { vec![base.clone()] } else { (1..=args.count).map(|n| format!("{base}-{n}")).collect() };
    match names.iter().find(|name| !is_batch_name(name)) {
        None => Ok(names),
        Some(name) => Err(Error::Usage {
            what: format!("{name:?} is no name for a job"),
            next: "a job's name has 1 to 128 letters, digits, `-` and `_`, and begins with a letter or digit"
                .to_owned(),
        }),
    }
}

fn variables(given: &[String]) -> Result<Vec<(String, String)>> {
    let read = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            Err(Error::Usage { what: format!("--env {pair:?} has no `=`"), next: "write --env NAME=VALUE".to_owned() })
        }
    };
    given.iter().map(read).collect()
}

/// The newest revision, if a job of it fits a fresh block.
async fn definition(session: &Session<'_>, name: &str) -> Result<Registered> {
    let newest = session.aws.batch.definitions(name).await?.into_iter().next();
    let newest = newest.ok_or_else(|| unknown(session, name))?;
    let longest = session.settings.longest_job();
    let timeout = newest.definition.timeout_secs.map(|secs| SignedDuration::from_secs(secs.into()));
    if let Some(timeout) = timeout.filter(|timeout| *timeout > longest) {
        return Err(Error::Usage {
            what: format!(
                "job definition {name} has a timeout of {timeout:#}, and a fresh block has room for {longest:#}"
            ),
            next: "make the block longer or the timeout shorter in spotblock.toml, then run `spotblock env apply`"
                .to_owned(),
        });
    }
    if newest.definition.attempts < 2 {
        session.ui.warn(format_args!(
            "job definition {name} allows one attempt: a job that the block's end stops is not retried"
        ));
    }
    Ok(newest)
}

fn unknown(session: &Session<'_>, name: &str) -> Error {
    let known = session.settings.job_definitions.iter().map(|job| job.name.as_str());
    let next = match nearest(name, known) {
        Some(near) if near == name => "make it with `spotblock env apply`".to_owned(),
        Some(near) => format!("did you mean {near}?"),
        None => "list it in spotblock.toml and run `spotblock env apply`".to_owned(),
    };
    Error::Usage { what: format!("there is no job definition {name}"), next }
}

async fn submit(session: &Session<'_>, job: &Job) -> Result<String> {
    let mut pause = Duration::from_secs(1);
    for _ in 1..ATTEMPTS {
        match session.aws.batch.submit(job).await {
            Err(error) if error.is(Kind::Throttled) => {
                session.waits.clock().sleep(session.waits.jittered(pause)).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    session.aws.batch.submit(job).await
}

/// After a lost answer nobody knows whether the job is in the queue, and asking again could run it twice.
fn uncertain(error: Error, name: &str, queue: &str) -> Error {
    if error.is_transient() && !error.is(Kind::Throttled) {
        return Error::State {
            what: format!("whether job {name} was submitted is not known: {error}"),
            next: format!("look with `aws batch list-jobs --job-queue {queue}` before submitting it again"),
        };
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str, count: u32) -> args::Submit {
        args::Submit {
            job_definition: "hello-world".into(),
            name: (!name.is_empty()).then(|| name.into()),
            count,
            ..args::Submit::default()
        }
    }

    #[test]
    fn jobs_are_named_and_numbered() {
        assert_eq!(job_names(&args("", 1)).expect("names"), ["hello-world"]);
        assert_eq!(job_names(&args("a", 3)).expect("names"), ["a-1", "a-2", "a-3"]);
        let error = job_names(&args("my job", 1)).expect_err("a space");
        assert_eq!((error.exit_code(), error.to_string().as_str()), (2, "\"my job\" is no name for a job"));
        assert!(job_names(&args(&"x".repeat(127), 10)).is_err(), "the number counts too");
    }

    #[test]
    fn variables_have_a_name_and_a_value() {
        let read = variables(&["A=1".into(), "B=x=y".into(), "C=".into()]).expect("variables");
        assert_eq!(read, [("A".into(), "1".into()), ("B".into(), "x=y".into()), ("C".into(), String::new())]);
        assert!(variables(&["A".into()]).is_err());
        assert!(variables(&["=1".into()]).is_err());
    }
}
