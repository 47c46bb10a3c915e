//! Light nodes: instances whose host, agent and ECS agent are a few fields and no process, so that
//! a block can have a thousand. Beyond `light-nodes-above` living instances the next ones are of
//! this kind.
//!
//! A light node does what ECS and EC2 would see of a real one, by the same calls with its role's
//! credentials: it registers, runs tasks for as long as they say ([`Behaviour`]), reports them,
//! drains, stops what still runs, powers off; `node.rs` says when. It has no metadata service and
//! no files, writes no notices for its jobs, and what it can know of DRAINING, an interruption, a
//! rebalance recommendation or a moved end it sees in the cloud's state, without a call.
//!
//! [`Behaviour`]: super::behaviour::Behaviour

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use node_contract::names::{attribute, tag};
use serde_json::{Value, json};

use super::agent_calls;
use crate::journal::Effect;
use crate::protocol::Options;
use crate::services::ec2::{Ec2, Instance};
use crate::services::ecs::Ecs;
use node::Outside;

pub(crate) use node::{Node, Wish};

mod node;
#[cfg(test)]
mod tests;

/// The light nodes.
#[derive(Default)]
pub(crate) struct SimulatedHosts {
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

impl SimulatedHosts {
    /// All light nodes that ever were.
    pub(crate) fn info(&self) -> Vec<Info> {
        self.nodes.iter().map(|(id, node)| node.info(id)).collect()
    }

    /// Whether this instance is a light node.
    pub(crate) fn contains(&self, instance: &str) -> bool {
        self.nodes.contains_key(instance)
    }

    /// Boots a light node for an instance.
    pub(crate) fn start(&mut self, options: &Options, now: Timestamp, instance: &Instance) {
        let config = instance.user_data().and_then(|data| std::str::from_utf8(data).ok());
        let config = config.filter(|_| instance.image().carries_agent);
        let config = config.and_then(|text| node_contract::user_data::extract(text).ok());
        let seed = options.seed.rotate_left(32) ^ instance.number() as u64;
        let node = Node::new(now, instance.launch_time, config, options.pace.ecs_start_ms, seed);
        self.nodes.insert(instance.id.clone(), node);
    }

    /// Takes what is for a light node; gives back what is for the outside.
    pub(crate) fn take(&mut self, effect: Effect) -> Option<Effect> {
        let (Effect::StartNode { instance }
        | Effect::EndNode { instance }
        | Effect::RunTask { instance, .. }
        | Effect::StopTask { instance, .. }) = &effect;
        if !self.contains(instance) {
            return Some(effect);
        }
        self.inbox.push_back(effect);
        None
    }

    /// The next moment at which a light node has something to do.
    pub(crate) fn next_due(&self, options: &Options) -> Option<Timestamp> {
        self.nodes.values().filter_map(|node| node.due(options.pace.report_ms)).min()
    }

    /// Light nodes get what was given to them, and see what has changed.
    pub(crate) fn see(&mut self, now: Timestamp, ec2: &Ec2, ecs: &Ecs) {
        while let Some(effect) = self.inbox.pop_front() {
            match effect {
                Effect::StartNode { .. } => {}
                Effect::EndNode { instance } => self.tell(&instance, Node::end),
                Effect::RunTask { instance, task, container } => {
                    let architecture =
                        ec2.instance(&instance).map_or("", |found| found.image().architecture);
                    self.tell(&instance, |node| {
                        node.run_task(now, &task, &container, architecture)
                    });
                }
                Effect::StopTask { instance, task } => {
                    self.tell(&instance, |node| node.stop_task(now, &task))
                }
            }
        }
        if self.nodes.is_empty() {
            return;
        }
        for (id, outside) in outside(ec2, ecs) {
            self.tell(&id, |node| node.sees(now, &outside));
        }
    }

    /// The light nodes that have something to do.
    pub(crate) fn due(&self, options: &Options, now: Timestamp) -> Vec<String> {
        let is_due = |node: &Node| node.due(options.pace.report_ms).is_some_and(|at| at <= now);
        let due = self.nodes.iter().filter(|(_, node)| is_due(node));
        due.map(|(id, _)| id.clone()).collect()
    }

    /// Whether this one has something to do.
    pub(crate) fn is_due(&self, options: &Options, now: Timestamp, id: &str) -> bool {
        let due = self.nodes.get(id).and_then(|node| node.due(options.pace.report_ms));
        due.is_some_and(|at| at <= now)
    }

    /// The next thing that it wants done.
    pub(crate) fn step(&mut self, options: &Options, now: Timestamp, id: &str) -> Option<Wish> {
        self.nodes.get_mut(id)?.step(id, now, options.pace.report_ms)
    }

    /// Tells a light node what came of its wish, or what has become of it.
    pub(crate) fn tell(&mut self, instance: &str, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(instance) {
            change(node);
        }
    }
}

/// What those can see of whom there is something to see.
fn outside(ec2: &Ec2, ecs: &Ecs) -> BTreeMap<String, Outside> {
    let draining = ecs.draining_instances();
    let tags = ec2.all_tags();
    let seen = ec2.instances().iter().filter(|it| it.alive()).filter_map(|it| {
        let moved =
            tags.get(&it.id).filter(|_| it.shows_tags()).and_then(|tags| tags.get(tag::END));
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

/// What the ECS agent sends with the attributes that `spotblock-agent` gives it.
pub(crate) fn registration(
    options: &Options,
    instance: &Instance,
    cluster: &str,
    block: &str,
    end: Timestamp,
) -> Value {
    let document = json!({
        "instanceId": instance.id,
        "instanceType": instance.instance_type().name,
        "availabilityZone": format!("{}{}", options.region, instance.zone()),
        "imageId": instance.image().id,
    });
    let end = end.to_string();
    let attributes = [
        (attribute::BLOCK, block),
        (attribute::END, &end),
        (attribute::AGENT_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    agent_calls::registration(&document, cluster, instance.instance_type(), attributes)
}
