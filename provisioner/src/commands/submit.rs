//! `spotblock submit`: jobs into the queue.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;

use super::jobs;
use crate::args;
use crate::aws::batch::{Detail, Job, Registered};
use crate::model::error::{AwsErrorKind, Error, Result};
use crate::session::Session;
use crate::settings::{is_batch_name, nearest, parse_duration, parse_mebibytes};
use crate::terminal::table;

/// How often a submission that AWS throttles is repeated: throttled means not done.
const ATTEMPTS: u32 = 6;
/// A watched job is looked at so often at first, and less and less often up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The exit code when a watched job failed.
const JOB_FAILED: u8 = 5;
/// The exit code when the user left the watch by Ctrl-C: nobody knows yet what becomes of the jobs.
const LEFT: u8 = 130;

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
pub(crate) async fn run(session: &Session<'_>, args: &args::Submit) -> Result<u8> {
    let names = job_names(args)?;
    let job = job(args)?;
    let definition = definition(session, &args.job_definition).await?;
    let job = Job {
        queue: session.settings.environment.queue.clone(),
        definition: format!("{}:{}", args.job_definition, definition.revision),
        retry: args.attempts.map(|attempts| crate::model::job_definition::JobDefinition {
            attempts,
            ..definition.definition.clone()
        }),
        ..job
    };
    guard(session, &definition, &job)?;
    let job = Job { depends_on: dependencies(session, &args.depends_on).await?, ..job };
    let mut submitted = Vec::new();
    for name in names {
        if session.waits.clock().is_stopping() {
            show(session, &submitted)?;
            let next =
                format!("{} of {} jobs were submitted, as listed", submitted.len(), args.count);
            return Err(Error::interrupted(next));
        }
        let job = Job { name: name.clone(), ..job.clone() };
        match submit(session, &job).await {
            Ok(id) => {
                submitted.push(Submitted { id, name, queue: job.queue, definition: job.definition })
            }
            Err(error) => {
                if !submitted.is_empty() {
                    show(session, &submitted)?;
                }
                return Err(uncertain(jobs::of_queue(session, error).await, &name, &job.queue));
            }
        }
    }
    if args.watch {
        let watched =
            session.waits.clock().until_stopped(Box::pin(watch(session, &submitted))).await;
        return watched.unwrap_or_else(|| {
            session.ui.waited();
            session.ui.say("the jobs go on: `spotblock jobs` lists them");
            Ok(LEFT)
        });
    }
    show(session, &submitted)?;
    Ok(0)
}

/// The ids of the jobs that have to succeed first, which can be given by their names.
async fn dependencies(session: &Session<'_>, given: &[String]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for job in given {
        ids.push(jobs::find(session, job).await?.id);
    }
    Ok(ids)
}

fn show(session: &Session<'_>, submitted: &Vec<Submitted>) -> Result<()> {
    session.ui.result(submitted, |submitted| {
        table::plain(["JOB", "ID"], submitted.iter().map(|job| [job.name.clone(), job.id.clone()]))
    })
}

/// Tells each change of the jobs' states until all have ended, and then prints what became of them.
async fn watch(session: &Session<'_>, submitted: &[Submitted]) -> Result<u8> {
    let ids: Vec<String> = submitted.iter().map(|job| job.id.clone()).collect();
    let mut told = vec![String::new(); ids.len()];
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = match session.aws.batch.jobs(&ids).await {
            Ok(jobs) => {
                for job in &jobs {
                    let state = state(job);
                    let at = ids.iter().position(|id| *id == job.id);
                    if let Some(last) =
                        at.and_then(|at| told.get_mut(at)).filter(|last| **last != state)
                    {
                        session.ui.say(format_args!("{} {} {state}", job.name, job.id));
                        *last = state;
                        pause = FIRST_PAUSE;
                    }
                }
                let all_over = jobs.len() == ids.len() && jobs.iter().all(Detail::is_over);
                all_over.then_some(jobs)
            }
            // The jobs go on; so does the watch, through what may pass.
            Err(error) if error.is_transient() => None,
            Err(error) => return Err(error),
        };
        if let Some(jobs) = ended {
            let failed = jobs.iter().any(|job| job.status == "FAILED");
            session.ui.result(&jobs, |jobs| {
                let row = |job: &Detail| {
                    [job.name.clone(), job.id.clone(), job.status.clone(), job.why()]
                };
                table::plain(["JOB", "ID", "STATE", "WHY"], jobs.iter().map(row))
            })?;
            if let Some(job) = jobs.iter().find(|job| job.status == "FAILED") {
                session.ui.say(format_args!("`spotblock doctor {}` says what helps", job.id));
            }
            return Ok(if failed { JOB_FAILED } else { 0 });
        }
        session.waits.clock().sleep(session.waits.jittered(pause)).await;
        pause = pause.mul_f64(1.5).min(LONGEST_PAUSE);
    }
}

/// A state as it is told: with what a retried job's last attempt came to.
fn state(job: &Detail) -> String {
    match (&job.array, job.attempts.len()) {
        (Some(array), _) => format!("{} ({})", job.status, jobs::states(array)),
        (None, 0) => job.status.clone(),
        (None, _) if job.status == "SUCCEEDED" => job.status.clone(),
        (None, tries) => {
            format!("{} after {tries} of {} attempts: {}", job.status, job.max_attempts, job.why())
        }
    }
}

fn job_names(args: &args::Submit) -> Result<Vec<String>> {
    let base = args.name.as_ref().unwrap_or(&args.job_definition);
    let names: Vec<String> = if args.count == 1 {
        vec![base.clone()]
    } else {
        (1..=args.count).map(|n| format!("{base}-{n}")).collect()
    };
    match names.iter().find(|name| !is_batch_name(name)) {
        None => Ok(names),
        Some(name) => Err(Error::usage(
            format!("{name:?} is no name for a job"),
            "a job's name has 1 to 128 letters, digits, `-` and `_`, and begins with a letter or \
             digit",
        )),
    }
}

/// What the flags say of every job, before any call.
fn job(args: &args::Submit) -> Result<Job> {
    let bad = |flag: &str, problem: String| Error::settings(&[format!("{flag}: {problem}")]);
    let memory = args.memory.as_deref().map(parse_mebibytes).transpose();
    let timeout = args.timeout.as_deref().map(parse_duration).transpose();
    let timeout = timeout.map_err(|problem| bad("--job-timeout", problem))?;
    if timeout.is_some_and(|timeout| timeout < SignedDuration::from_mins(1)) {
        return Err(bad("--job-timeout", "is under 1m, the shortest that Batch takes".to_owned()));
    }
    Ok(Job {
        environment: pairs("--env", &args.env)?,
        parameters: pairs("--parameter", &args.parameter)?,
        command: args.command.clone(),
        array: args.array,
        vcpus: args.vcpus,
        memory_mib: memory.map_err(|problem| bad("--memory", problem))?,
        gpus: args.gpus,
        timeout_secs: timeout.and_then(|timeout| timeout.as_secs().try_into().ok()),
        ..Job::default()
    })
}

fn pairs(flag: &str, given: &[String]) -> Result<Vec<(String, String)>> {
    let read = |pair: &String| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::usage(
            format!("{flag} {pair:?} has no `=`"),
            format!("write {flag} NAME=VALUE"),
        )),
    };
    given.iter().map(read).collect()
}

/// The newest revision.
async fn definition(session: &Session<'_>, name: &str) -> Result<Registered> {
    let newest = session.aws.batch.definitions(name).await?.into_iter().next();
    newest.ok_or_else(|| unknown(session, name))
}

/// Refuses a job that no fresh block has room for; says what will surprise at a block's end.
fn guard(session: &Session<'_>, definition: &Registered, job: &Job) -> Result<()> {
    let name = &definition.definition.name;
    let secs = job.timeout_secs.or(definition.definition.timeout_secs);
    let (longest, agent) = (session.settings.longest_job(), &session.settings.agent);
    let whose = if job.timeout_secs.is_some() {
        "the job".to_owned()
    } else {
        format!("job definition {name}")
    };
    match secs.map(|secs| SignedDuration::from_secs(secs.into())) {
        Some(timeout) if timeout > longest => {
            return Err(Error::usage(
                format!(
                    "{whose} has a timeout of {timeout:#}, and a fresh block has room for \
                         {longest:#}"
                ),
                if job.timeout_secs.is_some() {
                    "make --job-timeout shorter, or the block longer ([block] duration in \
                     spotblock.toml)"
                        .to_owned()
                } else {
                    "make the block longer or the timeout shorter in spotblock.toml, then run \
                     `spotblock env apply`"
                        .to_owned()
                },
            ));
        }
        Some(timeout) if timeout > agent.drain_lead.saturating_sub(agent.stop_lead) => {
            session.ui.warn(format_args!(
                "{whose} has a timeout of {timeout:#}: one that starts shortly before the block \
             drains may be stopped {:#} before its end, and retried",
                agent.stop_lead
            ))
        }
        Some(_) => {}
        None => session.ui.warn(format_args!(
            "job definition {name} has no timeout: nobody can say whether a job fits a block, \
             and one that hangs keeps its instance until the block's end (`timeout` in \
             spotblock.toml, or --job-timeout)"
        )),
    }
    let attempts = job.retry.as_ref().map_or(definition.definition.attempts, |it| it.attempts);
    if attempts < 2 {
        session.ui.warn(format_args!(
            "job definition {name} allows one attempt: a job that the block's end stops is not \
             retried"
        ));
    } else if !retries_a_lost_host(&definition.definition.retry) {
        session.ui.warn(format_args!(
            "job definition {name} has retry rules, and none that retries `Host EC2*`: a job \
             that the block's end stops is not retried"
        ));
    }
    Ok(())
}

/// Without rules Batch retries everything; with some, the first that matches decides.
fn retries_a_lost_host(rules: &[crate::model::job_definition::RetryRule]) -> bool {
    let reason = "Host EC2 (instance i-0) block ends";
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => reason.to_lowercase().starts_with(&start.to_lowercase()),
        None => reason.eq_ignore_ascii_case(pattern),
    };
    let decides = |rule: &&crate::model::job_definition::RetryRule| {
        rule.on_status_reason.as_deref().is_none_or(matches)
            && rule.on_exit_code.as_deref().is_none_or(|code| matches!(code, "143" | "*"))
            && rule.on_reason.as_deref().is_none_or(|reason| reason == "*")
    };
    rules.iter().find(decides).is_none_or(|rule| rule.action.eq_ignore_ascii_case("retry"))
}

fn unknown(session: &Session<'_>, name: &str) -> Error {
    let known = session.settings.job_definitions.iter().map(|job| job.name.as_str());
    let next = match nearest(name, known) {
        Some(near) if near == name => "make it with `spotblock env apply`".to_owned(),
        Some(near) => format!("did you mean {near}?"),
        None => "list it in spotblock.toml and run `spotblock env apply`".to_owned(),
    };
    Error::usage(format!("there is no job definition {name}"), next)
}

async fn submit(session: &Session<'_>, job: &Job) -> Result<String> {
    let mut pause = Duration::from_secs(1);
    for _ in 1..ATTEMPTS {
        match session.aws.batch.submit(job).await {
            Err(error) if error.is_aws(AwsErrorKind::Throttled) => {
                session.waits.clock().sleep(session.waits.jittered(pause)).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    session.aws.batch.submit(job).await
}

/// After a lost answer nobody knows whether the job is in the queue, and asking again could run it
/// twice.
fn uncertain(error: Error, name: &str, queue: &str) -> Error {
    if error.is_transient() && !error.is_aws(AwsErrorKind::Throttled) {
        return Error::state(
            format!("whether job {name} was submitted is not known: {error}"),
            format!(
                "look with `aws batch list-jobs --job-queue {queue}` before submitting it again"
            ),
        );
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
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (2, "\"my job\" is no name for a job")
        );
        assert!(job_names(&args(&"x".repeat(127), 10)).is_err(), "the number counts too");
    }

    /// Catches: a warning that isn't given, or one about rules that are all right.
    #[test]
    fn rules_that_lose_a_stopped_job_are_told() {
        let rule = |action: &str, on: &str| crate::model::job_definition::RetryRule {
            action: action.into(),
            on_status_reason: (!on.is_empty()).then(|| on.into()),
            on_exit_code: None,
            on_reason: None,
        };
        assert!(retries_a_lost_host(&crate::model::job_definition::retry_rules()));
        assert!(retries_a_lost_host(&[]));
        assert!(retries_a_lost_host(&[rule("EXIT", "Task failed*"), rule("RETRY", "Host EC2*")]));
        assert!(!retries_a_lost_host(&[rule("EXIT", "*"), rule("RETRY", "Host EC2*")]));
        assert!(!retries_a_lost_host(&[rule("EXIT", "")]));
    }

    #[test]
    fn overrides_without_a_unit_are_refused_before_any_call() {
        for (flag, args) in [
            ("--memory", args::Submit { memory: Some("256".into()), ..args("", 1) }),
            ("--job-timeout", args::Submit { timeout: Some("90".into()), ..args("", 1) }),
            ("--job-timeout", args::Submit { timeout: Some("30s".into()), ..args("", 1) }),
        ] {
            let error = job(&args).expect_err(flag);
            assert!(error.exit_code() == 2 && error.to_string().starts_with(flag), "{error}");
        }
    }

    #[test]
    fn variables_have_a_name_and_a_value() {
        let read = pairs("--env", &["A=1".into(), "B=x=y".into(), "C=".into()]).expect("variables");
        assert_eq!(
            read,
            [("A".into(), "1".into()), ("B".into(), "x=y".into()), ("C".into(), String::new())]
        );
        assert!(pairs("--env", &["A".into()]).is_err());
        assert!(pairs("--env", &["=1".into()]).is_err());
    }
}
