//! What a job's container writes to CloudWatch Logs: a stand-in for the output of a command that is
//! never run.

use jiff::Timestamp;
use serde_json::Value;

use super::job::Job;
use super::{Service, view};

/// Where Batch's logs go when the job definition says nothing else.
const GROUP: &str = "/aws/batch/job";

/// The group that a job's lines go to, if they go to CloudWatch Logs.
fn group(job: &Job) -> Option<String> {
    let Some(configuration) = job.properties.get("logConfiguration") else {
        return Some(GROUP.to_owned());
    };
    (configuration["logDriver"] == "awslogs")
        .then(|| configuration["options"]["awslogs-group"].as_str().unwrap_or(GROUP).to_owned())
}

fn write(
    service: &mut Service<'_>,
    at: Timestamp,
    job: &str,
    task: &str,
    lines: impl IntoIterator<Item = String>,
) {
    let Some(job) = service.state.jobs.get(job) else { return };
    let Some(group) = group(job) else { return };
    let stream = view::log_stream(job, task);
    for line in lines {
        service.logs.write(at, &group, &stream, line);
    }
}

/// The container began: what it was told to run, and what an `echo` would have said.
pub(super) fn began(service: &mut Service<'_>, at: Timestamp, job: &str, task: &str) {
    let words: Vec<String> = service.state.jobs.get(job).map(command).unwrap_or_default();
    let shown = if words.is_empty() { "the image's command".to_owned() } else { words.join(" ") };
    let mut lines = vec![format!("localcloud: running {shown}")];
    if let Some(said) = words.strip_prefix(&["echo".to_owned()]) {
        lines.push(said.join(" "));
    }
    write(service, at, job, task, lines);
}

/// The container ended.
pub(super) fn ended(
    service: &mut Service<'_>,
    at: Timestamp,
    job: &str,
    task: &str,
    exit_code: Option<i32>,
) {
    let line = exit_code.map(|code| format!("localcloud: ended with exit code {code}"));
    write(service, at, job, task, line);
}

fn command(job: &Job) -> Vec<String> {
    let words = job.properties["command"].as_array().into_iter().flatten();
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}
