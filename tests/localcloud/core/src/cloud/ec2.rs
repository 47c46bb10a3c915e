//! EC2's instances from outside: what is known of them, and what becomes of their hosts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Cloud;
use crate::hosts::simulated_hosts::Info;
use crate::services::ec2;
pub use crate::services::ec2::{Instance, Market, State};

/// An instance, while it can be described.
#[must_use]
pub fn instance<'a>(cloud: &'a Cloud, id: &str) -> Option<&'a Instance> {
    cloud.ec2.instance(id)
}

/// All instances that can be described.
#[must_use]
pub fn all(cloud: &Cloud) -> &[Instance] {
    cloud.ec2.instances()
}

/// Whether `spotblock-agent` is baked into the instance's image.
#[must_use]
pub fn carries_agent(cloud: &Cloud, id: &str) -> bool {
    instance(cloud, id).is_some_and(|instance| instance.image().carries_agent)
}

/// The tags of everything that has any, by its id.
#[must_use]
pub fn all_tags(cloud: &Cloud) -> &BTreeMap<String, BTreeMap<String, String>> {
    cloud.ec2.all_tags()
}

/// All light nodes that ever were.
#[must_use]
pub fn light_nodes(cloud: &Cloud) -> Vec<Info> {
    cloud.simulated_hosts.info()
}

/// Whether this instance is a light node.
#[must_use]
pub fn is_light(cloud: &Cloud, instance: &str) -> bool {
    cloud.simulated_hosts.contains(instance)
}

/// The host shut itself down. A one-time spot instance is terminated by that.
pub fn power_off(cloud: &mut Cloud, now: Timestamp, id: &str) {
    ec2::power_off(&mut cloud.ec2(), now, id);
    cloud.settle();
}

/// The host dies without notice.
pub fn vanish(cloud: &mut Cloud, now: Timestamp, id: &str) {
    ec2::vanish(&mut cloud.ec2(), now, id);
    cloud.settle();
}

/// A line on a host's console.
pub fn console_says(cloud: &mut Cloud, id: &str, line: &str) {
    cloud.ec2.console_says(id, line);
}

/// AWS announces that it takes the instance at `taken_at`; `action` is `terminate`, `stop` or
/// `hibernate`, all of which end the host here.
pub fn interrupt(cloud: &mut Cloud, now: Timestamp, id: &str, action: &str, taken_at: Timestamp) {
    ec2::interrupt(&mut cloud.ec2(), now, id, action, taken_at);
}

/// AWS recommends to leave the instance.
pub fn rebalance(cloud: &mut Cloud, now: Timestamp, id: &str) {
    cloud.ec2.rebalance(now, id);
}
