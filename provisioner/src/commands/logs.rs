//! `spotblock logs`: what a job wrote, out of CloudWatch Logs.

use std::time::Duration;

use super::jobs;
use crate::args;
use crate::aws::batch::Detail;
use crate::model::error::{Error, Result};
use crate::session::Session;

/// How often a followed log is read.
const PAUSE: Duration = Duration::from_secs(2);
/// The exit code when the user left by Ctrl-C.
const LEFT: u8 = 130;

/// Runs it.
///
/// # Errors
/// When the job or its log isn't there, or a call fails.
pub(crate) async fn run(session: &Session<'_>, args: &args::Logs) -> Result<u8> {
    let job = jobs::find(session, &args.job).await?;
    let group = group(&job)?;
    let attempt = args.attempt.and_then(|n| usize::try_from(n).ok());
    let mut reader = Reader { session, group, at: 0, token: None, written: false };
    let reading = async {
        if args.follow {
            follow(&mut reader, job, attempt).await
        } else {
            print(&mut reader, &job, attempt).await
        }
    };
    let read = session.waits.clock().until_stopped(Box::pin(reading)).await;
    read.unwrap_or(Ok(LEFT))
}

/// What is there now.
async fn print(reader: &mut Reader<'_>, job: &Detail, attempt: Option<usize>) -> Result<u8> {
    let streams = streams(job);
    if let Some(n) = attempt
        && n > streams.len()
    {
        return Err(no_attempt(job, n, streams.len()));
    }
    reader.at = attempt.unwrap_or(streams.len()).saturating_sub(1);
    if let Some(Some(stream)) = streams.get(reader.at) {
        reader.read(stream).await?;
    }
    if reader.written { Ok(0) } else { Err(nothing(job)) }
}

/// What comes, until the job or the attempt has ended.
async fn follow(reader: &mut Reader<'_>, mut job: Detail, attempt: Option<usize>) -> Result<u8> {
    let session = reader.session;
    reader.at = attempt.unwrap_or_else(|| streams(&job).len()).saturating_sub(1);
    if let Some(n) = attempt
        && n > usize::try_from(job.max_attempts).unwrap_or(usize::MAX)
    {
        return Err(no_attempt(&job, n, streams(&job).len()));
    }
    let mut waited = false;
    let mut over_at_last = is_over(&job, attempt);
    loop {
        let over = is_over(&job, attempt);
        passing(reader.read_on(&job, attempt).await)?;
        if session.ui.is_unread() {
            return Ok(0);
        }
        // Lines come to CloudWatch some time after they were written: an end that was seen is
        // followed by one look more.
        if over && over_at_last {
            break;
        }
        over_at_last = over;
        if !reader.written && !waited && !over {
            session.ui.say(format_args!(
                "job {} ({}) is {}: it has written nothing yet",
                job.name, job.id, job.status
            ));
            waited = true;
        }
        session.waits.clock().sleep(PAUSE).await;
        if let Some(now) = passing(jobs::find(session, &job.id).await.map(Some))? {
            job = now;
        }
    }
    if let Some(n) = attempt
        && n > streams(&job).len()
    {
        return Err(no_attempt(&job, n, streams(&job).len()));
    }
    if !reader.written {
        session.ui.say(format_args!("job {} ({}) has written nothing", job.name, job.id));
    }
    let end = format!("job {} ({}) is {}: {}", job.name, job.id, job.status, job.why());
    session.ui.say(end.trim_end_matches(": "));
    Ok(0)
}

/// A follower goes on through what may pass.
fn passing<T: Default>(outcome: Result<T>) -> Result<T> {
    outcome.or_else(|error| if error.is_transient() { Ok(T::default()) } else { Err(error) })
}

/// Where reading is.
struct Reader<'a> {
    session: &'a Session<'a>,
    group: String,
    /// The attempt, counted from 0.
    at: usize,
    /// Behind what was printed of its stream.
    token: Option<String>,
    /// Whether there was a stream at all.
    written: bool,
}

impl Reader<'_> {
    /// The rest of this attempt's stream, and the whole of those of later ones.
    async fn read_on(&mut self, job: &Detail, attempt: Option<usize>) -> Result<()> {
        let streams = streams(job);
        while let Some(stream) = streams.get(self.at) {
            if let Some(stream) = stream {
                self.read(stream).await?;
            }
            if attempt.is_some() || self.at + 1 == streams.len() {
                break;
            }
            self.at += 1;
            self.token = None;
            self.session.ui.say(format_args!(
                "attempt {} of job {} ({})",
                self.at + 1,
                job.name,
                job.id
            ));
        }
        Ok(())
    }

    /// Prints what is behind the token. The same token again says that there is nothing more for
    /// now `[V]`.
    async fn read(&mut self, stream: &str) -> Result<()> {
        let (logs, ui) = (&self.session.aws.logs, self.session.ui);
        while let Some(page) = logs.page(&self.group, stream, self.token.as_deref()).await? {
            self.written = true;
            for line in &page.lines {
                if ui.is_json() {
                    ui.line(line)?;
                } else {
                    ui.result(line, |line| line.text.clone())?;
                }
                if ui.is_unread() {
                    return Ok(());
                }
            }
            if page.next.is_none() || page.next == self.token {
                break;
            }
            self.token = page.next;
        }
        Ok(())
    }
}

/// Each attempt's stream in turn; an attempt whose container never began has none. Between two
/// attempts Batch still shows the last one's `[A]`.
fn streams(job: &Detail) -> Vec<Option<String>> {
    let mut streams: Vec<_> = job.attempts.iter().map(|it| it.log_stream.clone()).collect();
    if job.log_stream.is_some() && !streams.contains(&job.log_stream) {
        streams.push(job.log_stream.clone());
    }
    streams
}

/// Whether nothing more will be written.
fn is_over(job: &Detail, attempt: Option<usize>) -> bool {
    job.is_over() || attempt.is_some_and(|n| n <= job.attempts.len())
}

fn group(job: &Detail) -> Result<String> {
    if let Some(array) = &job.array {
        return Err(Error::usage(
            format!(
                "job {} is an array of {}, and each child has a log of its own",
                job.name, array.size
            ),
            format!(
                "name a child: `spotblock logs {}:0` to `{}:{}`",
                job.id,
                job.id,
                array.size - 1
            ),
        ));
    }
    job.log_group.clone().ok_or_else(|| {
        Error::usage(
            format!("job {} ({}) doesn't send its output to CloudWatch Logs", job.name, job.id),
            "look where the log driver of its job definition sends it",
        )
    })
}

fn no_attempt(job: &Detail, n: usize, had: usize) -> Error {
    Error::usage(
        format!(
            "job {} ({}) has no attempt {n}: it has had {had} of {}",
            job.name, job.id, job.max_attempts
        ),
        "leave --attempt out for the last one",
    )
}

fn nothing(job: &Detail) -> Error {
    let doctor = format!("`spotblock doctor {}`", job.id);
    let (what, next) = if job.is_over() {
        (
            "has written nothing",
            format!(
                "see with {doctor} what ended it, and with --attempt what an earlier try wrote"
            ),
        )
    } else {
        (
            "has written nothing yet",
            format!("wait for it with --follow, or see with {doctor} what it waits for"),
        )
    };
    Error::state(format!("job {} ({}) is {}: it {what}", job.name, job.id, job.status), next)
}
