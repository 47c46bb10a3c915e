//! What users see of jobs, and how they end them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::job::{Array, Doom, Job, JobStatus};
use super::{Service, client, name_of, refused, scheduler, view};
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

#[derive(Deserialize)]
pub(super) struct Describe {
    jobs: Vec<String>,
}

/// Ids that don't exist are left out, as Batch does.
pub(super) fn describe(service: &Service<'_>, describe: &Describe) -> Result<Value, AwsError> {
    if describe.jobs.len() > 100 {
        return Err(client("Error executing request, Exception : jobs can have at most 100 ids"));
    }
    let jobs =
        describe.jobs.iter().filter_map(|reference| service.state.jobs.get(name_of(reference)));
    Ok(json!({"jobs": jobs.map(|job| view::job(service, job)).collect::<Vec<_>>()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    job_queue: Option<String>,
    array_job_id: Option<String>,
    multi_node_job_id: Option<String>,
    job_status: Option<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

impl Filter {
    /// A filter's value can end in one `*`, which stands for anything.
    fn matches(&self, job: &Job) -> Result<bool, AwsError> {
        let text = match self.name.as_str() {
            "JOB_NAME" => job.name.as_str(),
            "JOB_DEFINITION" => job.family.0.as_str(),
            other => {
                return Err(client(format!("the local cloud's Batch knows no filter {other}")));
            }
        };
        Ok(self.values.iter().any(|value| match value.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => text.eq_ignore_ascii_case(value),
        }))
    }
}

/// Lists a queue's jobs of one status, RUNNING if none is given, or an array's children; with a
/// filter, of any status.
pub(super) fn list(service: &Service<'_>, list: &List) -> Result<Value, AwsError> {
    let given = [&list.job_queue, &list.array_job_id, &list.multi_node_job_id];
    if given.iter().filter(|one| one.is_some()).count() != 1 {
        return Err(client("One of jobQueue, arrayJobId or multiNodeJobId must be specified"));
    }
    if let Some(queue) = &list.job_queue
        && !service.state.queues.contains_key(name_of(queue))
    {
        return Err(client(format!("JobQueue {queue} does not exist")));
    }
    let status = list.job_status.as_deref().unwrap_or("RUNNING");
    if !JobStatus::ALL.iter().any(|known| known.as_str() == status) {
        return Err(client(format!("jobStatus {status} is not a status of a job")));
    }
    let mut found = Vec::new();
    for job in service.state.jobs.values().filter(|job| list.is_about(job)) {
        let mut wanted = !list.filters.is_empty() || job.status.as_str() == status;
        for filter in &list.filters {
            wanted &= filter.matches(job)?;
        }
        if wanted {
            found.push((key(job), view::job_summary(service, job)));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let page =
        page(found, list.next_token.as_deref(), list.max_results.unwrap_or(100).clamp(1, 100))
            .map_err(|_| client("Invalid nextToken"))?;
    Ok(view::with_token(json!({"jobSummaryList": page.items}), page.next_token))
}

/// Jobs are listed in the order of their submission, children in that of their index.
fn key(job: &Job) -> String {
    match job.array {
        Array::Child { index, .. } => format!("{:012}:{index:06}", job.number),
        _ => format!("{:012}", job.number),
    }
}

impl List {
    fn is_about(&self, job: &Job) -> bool {
        match (&self.job_queue, &self.array_job_id) {
            (Some(queue), _) => {
                job.queue == name_of(queue) && !matches!(job.array, Array::Child { .. })
            }
            (_, Some(array)) => {
                matches!(&job.array, Array::Child { parent, .. } if parent == array)
            }
            _ => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct End {
    job_id: String,
    reason: String,
}

impl End {
    /// The job, or the children of the array, that are not over.
    fn targets(&self, service: &Service<'_>, context: &Context) -> Result<Vec<String>, AwsError> {
        let id = name_of(&self.job_id);
        if self.reason.is_empty() || self.reason.chars().count() > 1024 {
            return Err(refused(context, "reason must have 1 to 1024 characters"));
        }
        if !service.state.jobs.contains_key(id) {
            return Err(refused(context, format_args!("Job {id} does not exist")));
        }
        let of_array =
            |job: &&Job| matches!(&job.array, Array::Child { parent, .. } if parent == id);
        let meant = service.state.jobs.values().filter(|job| job.id == id || of_array(job));
        let meant =
            meant.filter(|job| !matches!(job.array, Array::Parent { .. }) && !job.status.is_over());
        Ok(meant.map(|job| job.id.clone()).collect())
    }
}

/// Ends jobs that have not been started; others are left alone.
pub(super) fn cancel(
    service: &mut Service<'_>,
    context: &Context,
    end: &End,
) -> Result<Value, AwsError> {
    for id in end.targets(service, context)? {
        if service.state.jobs[&id].status < JobStatus::Starting {
            scheduler::fail(service, context.now, &id, end.reason.clone());
        }
    }
    Ok(json!({}))
}

/// Ends jobs wherever they are. They become FAILED, and are not tried again.
pub(super) fn terminate(
    service: &mut Service<'_>,
    context: &Context,
    end: &End,
) -> Result<Value, AwsError> {
    for id in end.targets(service, context)? {
        scheduler::doom(service, context.now, &id, Doom::Terminated(end.reason.clone()));
    }
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    job_queue: String,
}

/// The jobs that are first in line.
pub(super) fn snapshot(service: &Service<'_>, snapshot: &Snapshot) -> Result<Value, AwsError> {
    let queue = name_of(&snapshot.job_queue);
    if !service.state.queues.contains_key(queue) {
        return Err(client(format!("JobQueue {} does not exist", snapshot.job_queue)));
    }
    let waiting = |job: &&Job| job.queue == queue && job.status == JobStatus::Runnable;
    let mut jobs: Vec<&Job> = service.state.jobs.values().filter(waiting).collect();
    jobs.sort_by_key(|job| key(job));
    let jobs: Vec<Value> = jobs
        .iter()
        .take(100)
        .map(|job| json!({"jobArn": job.arn, "earliestTimeAtPosition": job.created_at.as_millisecond()}))
        .collect();
    Ok(json!({"frontOfQueue": {"jobs": jobs}}))
}
