//! Job queues.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Change, Service, Status, Tags, arn, client, enabled, is_name, name_of, refused, settled, view,
};
use crate::protocol::options::later;
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

/// A queue names at most this many environments.
const MAX_ENVIRONMENTS: usize = 3;

/// A job queue.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) enabled: bool,
    pub(super) status: Status,
    pub(super) priority: i32,
    /// The environments' ARNs in order, with the number that gave the order.
    pub(super) order: Order,
    pub(super) tags: Tags,
}

/// Environments in order.
pub(super) struct Order(Vec<(i32, String)>);

impl Order {
    pub(super) fn contains(&self, arn: &str) -> bool {
        self.0.iter().any(|(_, environment)| environment == arn)
    }

    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, arn)| arn.as_str())
    }

    pub(super) fn view(&self) -> Value {
        self.0
            .iter()
            .map(|(order, arn)| json!({"order": order, "computeEnvironment": arn}))
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderItem {
    order: i32,
    compute_environment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Create {
    job_queue_name: String,
    state: Option<String>,
    priority: i32,
    #[serde(default)]
    compute_environment_order: Vec<OrderItem>,
    #[serde(default)]
    tags: Tags,
}

pub(super) fn create(
    service: &mut Service<'_>,
    context: &Context,
    create: Create,
) -> Result<Value, AwsError> {
    let name = create.job_queue_name;
    if !is_name(&name) {
        return Err(refused(
            context,
            "jobQueueName should match valid pattern [A-Za-z0-9][A-Za-z0-9_-]*",
        ));
    }
    check_priority(context, create.priority)?;
    if service.state.queues.contains_key(&name) {
        return Err(client("Object already exists"));
    }
    let queue = Queue {
        arn: arn(service, "job-queue", &name),
        enabled: enabled(context, create.state.as_deref())?,
        status: Status::Changing(
            Change::Creating,
            later(context.now, service.options.pace.batch_ms),
        ),
        priority: create.priority,
        order: order(service, context, create.compute_environment_order)?,
        tags: create.tags,
        name: name.clone(),
    };
    let answer = json!({"jobQueueName": name, "jobQueueArn": queue.arn});
    service.state.queues.insert(name, queue);
    Ok(answer)
}

fn check_priority(context: &Context, priority: i32) -> Result<(), AwsError> {
    if priority < 0 { Err(refused(context, "priority must not be negative")) } else { Ok(()) }
}

/// The environments of a queue: one to three, each VALID, each with a number of its own.
fn order(
    service: &Service<'_>,
    context: &Context,
    mut items: Vec<OrderItem>,
) -> Result<Order, AwsError> {
    if items.is_empty() {
        return Err(refused(
            context,
            "computeEnvironmentOrder must have at least one compute environment",
        ));
    }
    if items.len() > MAX_ENVIRONMENTS {
        return Err(refused(
            context,
            "computeEnvironmentOrder can have at most 3 compute environments",
        ));
    }
    items.sort_by_key(|item| item.order);
    if items.windows(2).any(|pair| pair[0].order == pair[1].order) {
        return Err(refused(
            context,
            "computeEnvironmentOrder has two compute environments of the same order",
        ));
    }
    let mut environments = Vec::new();
    for item in items {
        let reference = &item.compute_environment;
        let environment = service
            .state
            .environments
            .get(name_of(reference))
            .ok_or_else(|| refused(context, format_args!("{reference} does not exist")))?;
        if environment.status != Status::Valid {
            return Err(refused(context, format_args!("{} is not valid", environment.arn)));
        }
        environments.push((item.order, environment.arn.clone()));
    }
    Ok(Order(environments))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Update {
    job_queue: String,
    state: Option<String>,
    priority: Option<i32>,
    compute_environment_order: Option<Vec<OrderItem>>,
}

pub(super) fn update(
    service: &mut Service<'_>,
    context: &Context,
    update: Update,
) -> Result<Value, AwsError> {
    let due = later(context.now, service.options.pace.batch_ms);
    settled(&find(service, context, &update.job_queue)?.status, "update")?;
    let order =
        update.compute_environment_order.map(|items| order(service, context, items)).transpose()?;
    if let Some(priority) = update.priority {
        check_priority(context, priority)?;
    }
    let queue = find(service, context, &update.job_queue)?;
    if update.state.is_some() {
        queue.enabled = enabled(context, update.state.as_deref())?;
    }
    queue.priority = update.priority.unwrap_or(queue.priority);
    if let Some(order) = order {
        queue.order = order;
    }
    queue.status = Status::Changing(Change::Updating, due);
    Ok(json!({"jobQueueName": queue.name, "jobQueueArn": queue.arn}))
}

fn find<'a>(
    service: &'a mut Service<'_>,
    context: &Context,
    reference: &str,
) -> Result<&'a mut Queue, AwsError> {
    let queue = service.state.queues.get_mut(name_of(reference));
    queue.ok_or_else(|| refused(context, format_args!("{reference} does not exist")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    job_queues: Option<Vec<String>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Names that don't exist are left out, as Batch does.
pub(super) fn describe(service: &Service<'_>, describe: &Describe) -> Result<Value, AwsError> {
    let names: Option<Vec<&str>> = describe
        .job_queues
        .as_ref()
        .filter(|names| !names.is_empty())
        .map(|names| names.iter().map(|n| name_of(n)).collect());
    let wanted = |name: &str| names.as_ref().is_none_or(|names| names.contains(&name));
    let queues = service.state.queues.values().filter(|queue| wanted(&queue.name));
    let views = queues.map(|queue| (queue.name.clone(), view::queue(queue))).collect();
    let page = page(
        views,
        describe.next_token.as_deref(),
        describe.max_results.unwrap_or(100).clamp(1, 100),
    )
    .map_err(|_| client("Invalid nextToken"))?;
    Ok(view::with_token(json!({"jobQueues": page.items}), page.next_token))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delete {
    job_queue: String,
}

/// Only a disabled queue can be deleted; its jobs end with it. Deleting what isn't there is no
/// error.
pub(super) fn delete(
    service: &mut Service<'_>,
    context: &Context,
    delete: &Delete,
) -> Result<Value, AwsError> {
    let due = later(context.now, service.options.pace.batch_ms);
    let Ok(queue) = find(service, context, &delete.job_queue) else { return Ok(json!({})) };
    if matches!(queue.status, Status::Changing(Change::Deleting, _)) {
        return Ok(json!({}));
    }
    settled(&queue.status, "delete")?;
    if queue.enabled {
        return Err(client("Cannot delete, job queue state must be DISABLED"));
    }
    queue.status = Status::Changing(Change::Deleting, due);
    Ok(json!({}))
}

/// Ends the changes that are due. A queue that is being deleted first ends its jobs, and goes when
/// they have ended.
pub(super) fn advance(service: &mut Service<'_>, now: jiff::Timestamp) {
    let due = service
        .state
        .queues
        .values()
        .filter(|queue| queue.status.due().is_some_and(|due| due <= now));
    let due: Vec<(String, Status)> =
        due.map(|queue| (queue.name.clone(), queue.status.clone())).collect();
    for (name, status) in due {
        if matches!(status, Status::Changing(Change::Deleting, _)) {
            if super::scheduler::end_jobs_of(service, now, &name) {
                service.state.queues.remove(&name);
            }
        } else {
            let status = settled_status(service, &name);
            if let Some(queue) = service.state.queues.get_mut(&name) {
                queue.status = status;
            }
        }
    }
}

/// A queue whose change ends while one of its environments can't be used is INVALID; what Batch
/// says then is `[A]`.
fn settled_status(service: &Service<'_>, name: &str) -> Status {
    let Some(queue) = service.state.queues.get(name) else { return Status::Valid };
    let usable = |arn: &&str| {
        let environment = service.state.environments.get(name_of(arn));
        environment.is_some_and(|it| !matches!(it.status, Status::Invalid(_)))
    };
    match queue.order.arns().find(|arn| !usable(arn)) {
        Some(arn) => {
            Status::Invalid(format!("CLIENT_ERROR - Compute environment {arn} is not valid"))
        }
        None => Status::Valid,
    }
}
