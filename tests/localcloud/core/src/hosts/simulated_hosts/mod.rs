//! Light nodes: instances whose host, agent and ECS agent are a few fields and no process, so that a block can have a
//! thousand. Beyond `light-nodes-above` living instances the next ones are of this kind.
//!
//! A light node does what ECS and EC2 would see of a real one, by the same calls with its role's credentials: it
//! registers, runs tasks for as long as they say ([`Behaviour`]), reports them, drains, stops what still runs, powers
//! off; `node.rs` says when. It has no metadata service and no files, writes no notices for its jobs, and what it can
//! know of DRAINING, an interruption, a rebalance recommendation or a moved end it sees in the cloud's state, without a
//! call.
//!
//! [`Behaviour`]: super::behaviour::Behaviour

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use node_contract::names::{attribute, tag};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::hosts::agent_calls;
use crate::journal::Effect;
use crate::services::{ec2, ecs};
use node::{Node, Outside, Wish};

mod node;
#[cfg(test)]
mod tests;

/// The light nodes.
#[derive(Default)]
pub struct SimulatedHosts {
    nodes: BTreeMap<String, Node>,
    inbox: VecDeque<Effect>,
}

/// What the controls tell of a light node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The EC2 instance's id.
    pub instance: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether it has registered with ECS.
    pub registered: bool,
    /// How many containers live.
    pub containers: usize,
}

/// All light nodes that ever were.
#[must_use]
pub fn info(cloud: &Cloud) -> Vec<Info> {
    cloud.simulated_hosts.nodes.iter().map(|(id, node)| node.info(id)).collect()
}

/// Whether this instance is a light node.
#[must_use]
pub fn is_light(cloud: &Cloud, instance: &str) -> bool {
    cloud.simulated_hosts.nodes.contains_key(instance)
}

/// Whether the next instance is a light node.
pub(crate) fn is_next(cloud: &Cloud) -> bool {
    let alive = ec2::all(cloud).iter().filter(|instance| instance.alive()).count();
    u32::try_from(alive).unwrap_or(u32::MAX) >= cloud.options.light_nodes_above
}

/// Boots a light node for an instance.
pub(crate) fn start(cloud: &mut Cloud, now: Timestamp, instance: &str) {
    let Some(it) = ec2::instance(cloud, instance) else { return };
    let config = it.user_data().and_then(|data| std::str::from_utf8(data).ok()).filter(|_| it.image().carries_agent);
    let config = config.and_then(|text| node_contract::user_data::extract(text).ok());
    let launched = it.launch_time;
    let number = ec2::number(cloud, instance).unwrap_or_default() as u64;
    let seed = cloud.options.seed.rotate_left(32) ^ number;
    let node = Node::new(now, launched, config, cloud.options.pace.ecs_start_ms, seed);
    cloud.simulated_hosts.nodes.insert(instance.to_owned(), node);
}

/// Takes what is for a light node; gives back what is for the outside.
pub(crate) fn take(cloud: &mut Cloud, effect: Effect) -> Option<Effect> {
    let (Effect::StartNode { instance }
    | Effect::EndNode { instance }
    | Effect::RunTask { instance, .. }
    | Effect::StopTask { instance, .. }) = &effect;
    if !is_light(cloud, instance) {
        return Some(effect);
    }
    cloud.simulated_hosts.inbox.push_back(effect);
    None
}

/// The next moment at which a light node has something to do.
pub(crate) fn next_due(cloud: &Cloud) -> Option<Timestamp> {
    let report_ms = cloud.options.pace.report_ms;
    cloud.simulated_hosts.nodes.values().filter_map(|node| node.due(report_ms)).min()
}

/// Light nodes see what has changed, and do what is due.
pub(crate) fn advance(cloud: &mut Cloud, now: Timestamp) {
    while let Some(effect) = cloud.simulated_hosts.inbox.pop_front() {
        match effect {
            Effect::StartNode { .. } => {}
            Effect::EndNode { instance } => with(cloud, &instance, Node::end),
            Effect::RunTask { instance, task, container } => {
                let architecture = ec2::instance(cloud, &instance).map_or("", |it| it.image().architecture);
                with(cloud, &instance, |node| node.run_task(now, &task, &container, architecture));
            }
            Effect::StopTask { instance, task } => with(cloud, &instance, |node| node.stop_task(now, &task)),
        }
    }
    let report_ms = cloud.options.pace.report_ms;
    if cloud.simulated_hosts.nodes.is_empty() {
        return;
    }
    for (id, outside) in outside(cloud) {
        with(cloud, &id, |node| node.sees(now, &outside));
    }
    let is_due = |node: &Node| node.due(report_ms).is_some_and(|at| at <= now);
    let due = cloud.simulated_hosts.nodes.iter().filter(|(_, node)| is_due(node));
    let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
    for id in due {
        while cloud.simulated_hosts.nodes.get(&id).is_some_and(is_due) {
            if let Some(wish) = cloud.simulated_hosts.nodes.get_mut(&id).and_then(|node| node.step(&id, now, report_ms))
            {
                fulfil(cloud, now, &id, wish);
            }
        }
    }
}

fn with(cloud: &mut Cloud, instance: &str, change: impl FnOnce(&mut Node)) {
    if let Some(node) = cloud.simulated_hosts.nodes.get_mut(instance) {
        change(node);
    }
}

/// What those can see of whom there is something to see.
fn outside(cloud: &Cloud) -> BTreeMap<String, Outside> {
    let draining = ecs::draining_instances(&cloud.ecs);
    let tags = ec2::all_tags(cloud);
    let seen = ec2::all(cloud).iter().filter(|it| it.alive()).filter_map(|it| {
        let moved = tags.get(&it.id).filter(|_| it.shows_tags()).and_then(|tags| tags.get(tag::END));
        let outside = Outside {
            draining: draining.contains(&it.id),
            taken_at: it.notice.as_ref().map(|notice| notice.taken_at),
            rebalance: it.rebalance.is_some(),
            moved: moved.and_then(|text| text.parse().ok()),
        };
        outside.is_something().then(|| (it.id.clone(), outside))
    });
    seen.collect()
}

/// Does what a node wants done, and tells it what came of it.
fn fulfil(cloud: &mut Cloud, now: Timestamp, id: &str, wish: Wish) {
    match wish {
        Wish::Register { cluster, block, end } => {
            let parameters = registration(cloud, id, &cluster, &block, end);
            let answer = call(cloud, now, id, "RegisterContainerInstance", &parameters);
            let arn = answer.and_then(|it| it["containerInstance"]["containerInstanceArn"].as_str().map(str::to_owned));
            with(cloud, id, |node| node.registered(now, arn));
        }
        Wish::Drain { cluster, member } => {
            let parameters = json!({"cluster": cluster, "containerInstances": [member], "status": "DRAINING"});
            let done = call(cloud, now, id, "UpdateContainerInstancesState", &parameters).is_some();
            with(cloud, id, |node| node.drained(now, done));
        }
        Wish::Answer { cluster, member, asked, end } => {
            let put =
                |name: &str, value: Timestamp| json!({"name": name, "value": value.to_string(), "targetId": member});
            let both = [put(attribute::END, end), put(attribute::END_ASKED, asked)];
            let parameters = json!({"cluster": cluster, "attributes": both});
            let done = call(cloud, now, id, "PutAttributes", &parameters).is_some();
            with(cloud, id, |node| node.answered(now, asked, done));
        }
        Wish::Stop { cluster, task, reason } => {
            let parameters = json!({"cluster": cluster, "task": task, "reason": reason});
            let done = call(cloud, now, id, "StopTask", &parameters).is_some();
            with(cloud, id, |node| node.stop_asked(now, &task, done));
        }
        Wish::Report { cluster, task, container, status, since, exit_code, not_started } => {
            let runtime_id = format!("{:0>64}", task.rsplit('/').next().unwrap_or_default());
            let report = agent_calls::Report {
                cluster: &cluster,
                task: &task,
                container: &container,
                runtime_id: &runtime_id,
                status,
                since,
                exit_code,
                not_started: not_started.as_deref(),
            };
            let done = call(cloud, now, id, "SubmitTaskStateChange", &agent_calls::report(&report)).is_some();
            with(cloud, id, |node| node.reported(now, &task, done));
        }
        Wish::Process { task, exit_code } => cloud.process(now, id, &task, exit_code),
        Wish::PowerOff => {
            with(cloud, id, Node::end);
            ec2::power_off(cloud, now, id);
        }
    }
}

/// What the ECS agent sends with the attributes that `spotblock-agent` gives it.
fn registration(cloud: &Cloud, id: &str, cluster: &str, block: &str, end: Timestamp) -> Value {
    let Some(it) = ec2::instance(cloud, id) else { return Value::Null };
    let document = json!({
        "instanceId": id,
        "instanceType": it.instance_type().name,
        "availabilityZone": format!("{}{}", cloud.options.region, it.zone()),
        "imageId": it.image().id,
    });
    let end = end.to_string();
    let attributes =
        [(attribute::BLOCK, block), (attribute::END, &end), (attribute::AGENT_VERSION, env!("CARGO_PKG_VERSION"))];
    agent_calls::registration(&document, cluster, it.instance_type(), attributes)
}

/// One call of ECS; nothing when it failed.
fn call(cloud: &mut Cloud, now: Timestamp, id: &str, operation: &str, parameters: &Value) -> Option<Value> {
    let request = agent_calls::request(&cloud.options.region, id, operation, parameters);
    let response = cloud.call(&request, now, None).response;
    (response.status == 200).then(|| serde_json::from_slice(&response.body).unwrap_or_default())
}
