//! ECS: clusters, container instances, tasks.
//!
//! - `clusters`, `instances`, `tasks`: what users call; `agent`: what the ECS agent calls
//! - `view`: how the three look in an answer
//!
//! A task is created by Batch ([`start_task`]). After `pace.delivery_ms` its instance's ECS agent
//! hears of it, if it is connected then, and from there on its state is what the agent submits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::journal::Journal;
use crate::journal::effect::{Container, Effect};
use crate::protocol::ids::Ids;
use crate::protocol::wire;
use crate::protocol::{AwsError, Context, Handled, Options, Request};

mod agent;
mod attributes;
mod clusters;
mod instances;
mod tags;
mod tasks;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use clusters::{create_cluster, delete_cluster};
pub(crate) use instances::host_gone;
pub(crate) use tasks::{NewTask, start_task, stop_task};

/// ECS at work: its state, and what it shares with the other services.
pub(crate) struct Service<'a> {
    pub(crate) options: &'a Options,
    pub(crate) ids: &'a mut Ids,
    pub(crate) journal: &'a mut Journal,
    pub(crate) state: &'a mut Ecs,
}

/// ECS's state.
#[derive(Default)]
pub(crate) struct Ecs {
    /// By name.
    clusters: BTreeMap<String, Cluster>,
    /// By ARN.
    instances: BTreeMap<String, ContainerInstance>,
    /// By ARN.
    tasks: BTreeMap<String, Task>,
    /// Tags by ARN.
    tags: BTreeMap<String, Tags>,
    deliveries: Vec<Delivery>,
    /// Hosts that are gone, and when ECS notices.
    losses: Vec<(Timestamp, String)>,
}

/// Tags.
type Tags = BTreeMap<String, String>;

/// A cluster. A deleted one stays as INACTIVE.
struct Cluster {
    name: String,
    arn: String,
    active: bool,
}

/// A container instance. One that has gone stays as INACTIVE.
#[derive(Clone, Debug)]
pub(crate) struct ContainerInstance {
    pub(crate) arn: String,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The EC2 instance's id.
    pub(crate) instance: String,
    status: Status,
    connected: bool,
    pub(crate) capacity: Resources,
    /// The resources as they were registered.
    registered: Vec<Value>,
    attributes: Vec<Value>,
    version_info: Value,
    registered_at: Timestamp,
    /// Counts changes.
    version: u64,
}

impl ContainerInstance {
    pub(crate) fn registered_at(&self) -> Timestamp {
        self.registered_at
    }
}

/// A container instance's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Active,
    Draining,
    Inactive,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// What tasks take and instances have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// 1024 are a vCPU.
    pub(crate) cpu: u64,
    /// MiB.
    pub(crate) memory: u64,
    /// Whole GPUs.
    pub(crate) gpus: u64,
}

impl Resources {
    /// What is left when `used` is taken away.
    pub(crate) fn less(self, used: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(used.cpu),
            memory: self.memory.saturating_sub(used.memory),
            gpus: self.gpus.saturating_sub(used.gpus),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
            gpus: self.gpus + other.gpus,
        }
    }

    /// Whether `need` can be taken from it.
    pub(crate) fn fits(self, need: Self) -> bool {
        self.cpu >= need.cpu && self.memory >= need.memory && self.gpus >= need.gpus
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LastStatus {
    Pending,
    Running,
    Stopped,
}

impl LastStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A task with one container, as Batch makes them.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) arn: String,
    /// The cluster's name.
    cluster: String,
    pub(crate) container_instance: String,
    /// The EC2 instance's id.
    pub(crate) instance: String,
    container: Container,
    image: String,
    resources: Resources,
    started_by: String,
    pub(crate) last: LastStatus,
    /// Whether it is wanted to run; the other desired status is STOPPED.
    wanted: bool,
    created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    stopping_at: Option<Timestamp>,
    pub(crate) stopped_at: Option<Timestamp>,
    pub(crate) stopped_reason: Option<String>,
    stop_code: Option<&'static str>,
    pub(crate) exit_code: Option<i32>,
    /// The container's reason, which a failed start has.
    pub(crate) container_reason: Option<String>,
    runtime_id: Option<String>,
    version: u64,
}

/// Something that is on its way to an ECS agent.
struct Delivery {
    due: Timestamp,
    task: String,
    stop: bool,
}

impl Ecs {
    /// A task.
    pub(crate) fn task(&self, arn: &str) -> Option<&Task> {
        self.tasks.get(arn)
    }

    /// The instances of a cluster that take tasks: ACTIVE, with a connected agent.
    pub(crate) fn open_instances<'a>(
        &'a self,
        cluster_arn: &'a str,
    ) -> impl Iterator<Item = &'a ContainerInstance> {
        let cluster = name_of(cluster_arn);
        self.instances
            .values()
            .filter(move |i| i.cluster == cluster && i.status == Status::Active && i.connected)
    }

    /// Whether an instance still takes tasks.
    pub(crate) fn is_open(&self, arn: &str) -> bool {
        self.instances.get(arn).is_some_and(|i| i.status == Status::Active && i.connected)
    }

    /// What is left on an instance. A task holds its share until ECS knows it STOPPED.
    pub(crate) fn remaining(&self, instance: &ContainerInstance) -> Resources {
        self.tasks
            .values()
            .filter(|task| {
                task.container_instance == instance.arn && task.last != LastStatus::Stopped
            })
            .fold(instance.capacity, |left, task| left.less(task.resources))
    }

    /// The EC2 instances whose container instances are DRAINING.
    pub(crate) fn draining_instances(&self) -> BTreeSet<String> {
        let draining =
            self.instances.values().filter(|registered| registered.status == Status::Draining);
        draining.map(|registered| registered.instance.clone()).collect()
    }

    /// The cluster of this name or ARN; left out, `default`.
    fn cluster(&self, name_or_arn: Option<&str>) -> Result<&Cluster, AwsError> {
        self.clusters
            .get(name_of(name_or_arn.unwrap_or("default")))
            .filter(|cluster| cluster.active)
            .ok_or_else(|| AwsError::new("ClusterNotFoundException", "Cluster not found."))
    }
}

/// The last part of an ARN, or the name itself.
fn name_of(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

pub(crate) fn handle(service: &mut Service<'_>, context: &Context, request: &Request) -> Handled {
    let operation = wire::json::target(request).unwrap_or_default().to_owned();
    let parsed = wire::json::parse::<Value>(&request.body);
    let parameters = parsed.as_ref().cloned().unwrap_or_default();
    match parsed.and_then(|parameters| dispatch(service, context, &operation, parameters)) {
        Ok(answer) => Handled {
            operation,
            parameters,
            response: wire::json::target_response(&context.request_id, &answer),
            error: None,
        },
        Err(error) => Handled {
            operation,
            parameters,
            response: wire::json::target_error("ecs", &context.request_id, &error),
            error: Some(error.code),
        },
    }
}

fn dispatch(
    service: &mut Service<'_>,
    context: &Context,
    operation: &str,
    p: Value,
) -> Result<Value, AwsError> {
    match operation {
        "CreateCluster" => clusters::create(service, context, read(p)?),
        "DescribeClusters" => clusters::describe(service, read(p)?),
        "ListClusters" => clusters::list(service, &read(p)?),
        "DeleteCluster" => clusters::delete(service, &read(p)?),
        "ListContainerInstances" => instances::list(service, &read(p)?),
        "DescribeContainerInstances" => instances::describe(service, read(p)?),
        "UpdateContainerInstancesState" => instances::update_state(service, context, read(p)?),
        "PutAttributes" => attributes::put(service, read(p)?),
        "DeregisterContainerInstance" => instances::deregister(service, context, &read(p)?),
        "ListTasks" => tasks::list(service, &read(p)?),
        "DescribeTasks" => tasks::describe(service, read(p)?),
        "StopTask" => tasks::stop(service, context, read(p)?),
        "RegisterContainerInstance" => agent::register(service, context, read(p)?),
        "SubmitTaskStateChange" => agent::submit_task(service, context, read(p)?),
        "SubmitContainerStateChange" => agent::submit_container(service, context, read(p)?),
        "DiscoverPollEndpoint" => Ok(agent::discover(context)),
        "TagResource" => tags::tag(service, read(p)?),
        "UntagResource" => tags::untag(service, &read(p)?),
        "ListTagsForResource" => tags::list(service, &read(p)?),
        _ => Err(AwsError::new(
            "UnknownOperationException",
            format!("the local cloud's ECS has no {operation}"),
        )),
    }
}

/// An operation's parameters out of its JSON.
fn read<T: DeserializeOwned>(parameters: Value) -> Result<T, AwsError> {
    serde_json::from_value(parameters)
        .map_err(|error| AwsError::new("SerializationException", error.to_string()))
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterException", message)
}

/// How a list fails for something that isn't there.
fn missing(arn: &str) -> Value {
    json!({"arn": arn, "reason": "MISSING"})
}

/// Delivers what is due, and notices hosts that are gone.
pub(crate) fn advance(service: &mut Service<'_>, now: Timestamp) {
    instances::notice_losses(service, now);
    let ecs = &mut service.state;
    let mut effects = Vec::new();
    ecs.deliveries.retain(|delivery| {
        let Some(task) = ecs.tasks.get_mut(&delivery.task) else { return false };
        if task.last == LastStatus::Stopped {
            return false;
        }
        let connected = ecs.instances.get(&task.container_instance).is_some_and(|i| i.connected);
        if delivery.due > now || !connected {
            return true;
        }
        let (instance, arn) = (task.instance.clone(), task.arn.clone());
        effects.push(if delivery.stop {
            Effect::StopTask { instance, task: arn }
        } else {
            Effect::RunTask { instance, task: arn, container: task.container.clone() }
        });
        false
    });
    effects.into_iter().for_each(|effect| service.journal.effect(now, effect));
}

/// The next moment at which something is due.
pub(crate) fn next_due(ecs: &Ecs, now: Timestamp) -> Option<Timestamp> {
    let deliveries = ecs.deliveries.iter().map(|delivery| delivery.due);
    let losses = ecs.losses.iter().map(|(due, _)| *due);
    deliveries.chain(losses).filter(|due| *due > now).min()
}

/// The ECS agent of this instance has connected or lost its connection.
pub(crate) fn agent_connected(ecs: &mut Ecs, instance: &str, connected: bool) {
    let lost = ecs.losses.iter().any(|(_, host)| host == instance);
    for registered in ecs.instances.values_mut() {
        if registered.instance == instance && registered.status != Status::Inactive {
            registered.connected = connected && !lost;
        }
    }
}
