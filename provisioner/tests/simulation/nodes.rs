//! Nodes: they boot, and register with the cluster in their user data.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::{Effect, Request, agent_calls, ec2};
use serde_json::json;

use super::world::{State, World};

/// How long an instance takes from its launch to its registration.
const BOOT: Duration = Duration::from_secs(4);

impl World {
    /// Registers an instance with a cluster, as its ECS agent would.
    pub(crate) fn register(&self, instance: &str, cluster: &str) {
        let now = self.now();
        self.cloud(|cloud| cloud.handle(&registration(instance, cluster), now));
    }
}

impl State {
    /// Nodes begin to boot, and those that are done register under the cluster in their user data.
    pub(super) fn boot(&mut self, now: Timestamp) {
        for effect in self.cloud.take_effects() {
            if let Effect::StartNode { instance } = effect {
                if self.broken > 0 || !ec2::carries_agent(&self.cloud, &instance) {
                    self.broken = self.broken.saturating_sub(1);
                    continue;
                }
                self.booting.push((instance, now + SignedDuration::try_from(BOOT).expect("short")));
            }
        }
        let (ready, booting) = self.booting.drain(..).partition(|(_, at)| *at <= now);
        self.booting = booting;
        for (instance, _) in ready {
            if let Some(cluster) = self.cluster(&instance) {
                self.cloud.handle(&registration(&instance, &cluster), now);
            }
        }
    }

    /// The cluster that the agent would read out of its instance's user data, if it lives that
    /// long.
    pub(super) fn cluster(&self, instance: &str) -> Option<String> {
        let it = ec2::instance(&self.cloud, instance).filter(|it| it.alive())?;
        let text = String::from_utf8(it.user_data()?.to_vec()).expect("text");
        Some(
            node_contract::user_data::extract(&text)
                .expect("settings that the agent can read")
                .cluster,
        )
    }
}

/// What a node's ECS agent sends.
fn registration(instance: &str, cluster: &str) -> Request {
    let resources = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 900},
    ]);
    let body = json!({
        "cluster": cluster,
        "instanceIdentityDocument": json!({"instanceId": instance}).to_string(),
        "totalResources": resources,
    });
    agent_calls::request("us-east-1", instance, "RegisterContainerInstance", &body)
}
