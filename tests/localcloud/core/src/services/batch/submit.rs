//! SubmitJob.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::definitions::{Definition, Timeout};
use super::job::{Array, Job, JobStatus, set_status};
use super::retry::Strategy;
use super::{Service, Status, Tags, arn, container, definitions, is_name, name_of, refused};
use crate::protocol::{AwsError, Context};

/// A job waits for at most this many others.
const MAX_DEPENDENCIES: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submit {
    job_name: String,
    job_queue: String,
    job_definition: String,
    array_properties: Option<ArrayProperties>,
    #[serde(default)]
    depends_on: Vec<Dependency>,
    #[serde(default)]
    parameters: Map<String, Value>,
    container_overrides: Option<Value>,
    retry_strategy: Option<Strategy>,
    propagate_tags: Option<bool>,
    scheduling_priority_override: Option<i32>,
    timeout: Option<Timeout>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
struct ArrayProperties {
    size: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    job_id: Option<String>,
    r#type: Option<String>,
}

pub(super) fn submit(
    service: &mut Service<'_>,
    context: &Context,
    submit: Submit,
) -> Result<Value, AwsError> {
    if !is_name(&submit.job_name) {
        return Err(refused(
            context,
            "jobName should match valid pattern [A-Za-z0-9][A-Za-z0-9_-]* of at most 128",
        ));
    }
    let queue = queue(service, context, &submit.job_queue)?;
    let definition = definitions::find(service, &submit.job_definition)
        .ok_or_else(|| {
            refused(context, format_args!("Job definition {} not found", submit.job_definition))
        })?
        .clone();
    let size = submit.array_properties.as_ref().and_then(|array| array.size);
    if size.is_some_and(|size| !(2..=10_000).contains(&size)) {
        return Err(refused(context, "arrayProperties size must be between 2 and 10000"));
    }
    let job = job(service, context, submit, queue, &definition)?;
    let answer = json!({"jobArn": job.arn, "jobName": job.name, "jobId": job.id});
    match size {
        None => insert(service, context, job),
        Some(size) => insert_array(service, context, job, size),
    }
    Ok(answer)
}

/// The name of a queue that takes jobs.
fn queue(service: &Service<'_>, context: &Context, reference: &str) -> Result<String, AwsError> {
    let queue = service.state.queues.get(name_of(reference));
    let queue =
        queue.ok_or_else(|| refused(context, format_args!("JobQueue {reference} not found")))?;
    if !queue.enabled || matches!(queue.status, Status::Changing(super::Change::Deleting, _)) {
        return Err(refused(context, format_args!("JobQueue {reference} is disabled")));
    }
    Ok(queue.name.clone())
}

/// A job by its definition and what its submission overrides.
fn job(
    service: &mut Service<'_>,
    context: &Context,
    submit: Submit,
    queue: String,
    definition: &Definition,
) -> Result<Job, AwsError> {
    let refuse = |text: String| refused(context, text);
    let depends_on = dependencies(service, context, &submit.depends_on)?;
    if let Some(strategy) = &submit.retry_strategy {
        strategy.check().map_err(refuse)?;
    }
    let timeout =
        submit.timeout.as_ref().map(Timeout::check).transpose().map_err(refuse)?.flatten();
    let mut properties =
        container::overridden(&definition.properties, submit.container_overrides.as_ref());
    let resources = container::resources(&properties).map_err(refuse)?;
    let mut parameters = definition.parameters.clone();
    parameters.extend(submit.parameters);
    properties["command"] = json!(container::command(&properties, &parameters));
    service.state.submitted += 1;
    let id = service.ids.uuid();
    let propagate_tags = submit.propagate_tags.unwrap_or(definition.propagate_tags);
    Ok(Job {
        arn: arn(service, "job", &id),
        id,
        name: submit.job_name,
        number: service.state.submitted,
        queue,
        definition_arn: definition.arn.clone(),
        family: (definition.name.clone(), definition.revision),
        status: JobStatus::Submitted,
        status_reason: None,
        created_at: context.now,
        started_at: None,
        stopped_at: None,
        properties,
        parameters,
        resources,
        retry: submit.retry_strategy.or_else(|| definition.retry.clone()).unwrap_or_default(),
        timeout: timeout.or(definition.timeout),
        depends_on,
        array: Array::No,
        attempts: Vec::new(),
        placing: None,
        task: None,
        doom: None,
        propagate_tags,
        scheduling_priority: submit.scheduling_priority_override.or(definition.scheduling_priority),
        tags: submit.tags,
    })
}

/// The jobs to wait for. The kinds of dependency between arrays are not simulated, and so refused.
fn dependencies(
    service: &Service<'_>,
    context: &Context,
    given: &[Dependency],
) -> Result<Vec<String>, AwsError> {
    if given.len() > MAX_DEPENDENCIES {
        return Err(refused(
            context,
            format_args!("dependsOn can have at most {MAX_DEPENDENCIES} jobs"),
        ));
    }
    let mut ids = Vec::new();
    for dependency in given {
        if let Some(kind) = &dependency.r#type {
            return Err(refused(
                context,
                format_args!("the local cloud's Batch has no dependencies of type {kind}"),
            ));
        }
        let id = dependency.job_id.clone().unwrap_or_default();
        if !service.state.jobs.contains_key(&id) {
            return Err(refused(context, format_args!("dependsOn job {id} does not exist")));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn insert(service: &mut Service<'_>, context: &Context, job: Job) {
    let id = job.id.clone();
    service.state.jobs.insert(id.clone(), job);
    set_status(service, context.now, &id, JobStatus::Submitted, None);
}

/// The parent and its children, which run as jobs of their own.
fn insert_array(service: &mut Service<'_>, context: &Context, job: Job, size: u32) {
    for index in 0..size {
        let mut child = job.clone();
        child.id = format!("{}:{index}", job.id);
        child.arn = format!("{}:{index}", job.arn);
        child.array = Array::Child { parent: job.id.clone(), index };
        insert(service, context, child);
    }
    insert(service, context, Job { array: Array::Parent { size }, ..job });
}
