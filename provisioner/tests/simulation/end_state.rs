//! What a run left in AWS, without what differs by chance: ids, times, and the blocks' own ids.

use std::collections::BTreeMap;

use localcloud_core::{Call, ec2};
use node_contract::names::tag;
use serde_json::Value;

use super::World;

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndState {
    /// Each purchase once, with all its parameters.
    purchases: Vec<String>,
    /// The states of all capacity reservations.
    reservations: Vec<String>,
    /// The instances that were ever launched: what they are, where, their state, whether they are
    /// in the cluster.
    instances: Vec<String>,
    /// The tags of every instance, request and record.
    tags: Vec<String>,
    /// The schedules that are left, by what they call and as whom.
    schedules: Vec<String>,
    /// What a further `up` would do around the block, and about it.
    plan: String,
}

impl EndState {
    pub(super) async fn of(world: &World) -> Self {
        let plan = world.run(&["plan", "--output", "json"]).await;
        assert_eq!(plan.code, 0, "{}", plan.stderr);
        let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
        let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
        let blocks = blocks(&tags);
        let plain = |text: &str| plain(text, &blocks);
        let mut purchases = BTreeMap::new();
        let calls =
            ["RequestSpotInstances", "CreateFleet", "CreateCapacityReservation", "RunInstances"];
        for call in calls.into_iter().flat_map(|operation| world.accepted(operation)) {
            let token = call.parameters["ClientToken"].as_str().expect("always one").to_owned();
            let before = purchases.insert((call.operation, token), call.parameters.clone());
            assert!(
                before.is_none_or(|before| before == call.parameters),
                "repeated as it was: {}",
                call.parameters
            );
        }
        let mut purchases: Vec<String> =
            purchases.into_values().map(|it| plain(&purchase(it))).collect();
        purchases.sort();
        let mut tags: Vec<String> =
            tags.iter().map(|(id, tags)| plain(&tagged(id, tags))).collect();
        tags.sort();
        let schedules = schedules(world).into_iter().map(|it| plain(&it)).collect();
        let (reservations, instances) = (world.reservations(), world.instances());
        Self {
            purchases,
            reservations,
            instances,
            tags,
            schedules,
            plan: plain(&plan["steps"].to_string()),
        }
    }

    pub(super) fn bought(&self) -> usize {
        self.purchases.len()
    }
}

/// A purchase's parameters with the user data as text, and without what follows from the block's id
/// and the time.
fn purchase(mut parameters: Value) -> String {
    let fields = parameters.as_object_mut().expect("parameters");
    fields.remove("ClientToken");
    fields.remove("ValidUntil");
    fields.remove("EndDate");
    fields.remove("CapacityReservationSpecification");
    if let Some(template) = fields.get_mut("LaunchTemplate") {
        *template = template["Version"].clone();
    }
    if let Some(template) =
        parameters.pointer_mut("/LaunchTemplateConfigs/0/LaunchTemplateSpecification")
    {
        *template = template["Version"].clone();
        return parameters.to_string();
    }
    let place = if parameters.get("UserData").is_some() {
        "/UserData"
    } else {
        "/LaunchSpecification/UserData"
    };
    let Some(data) = parameters.pointer_mut(place) else { return parameters.to_string() };
    let bytes = base64::Engine::decode(
        &base64::prelude::BASE64_STANDARD,
        data.as_str().expect("user data"),
    );
    *data = String::from_utf8(bytes.expect("base64")).expect("text").into();
    parameters.to_string()
}

fn schedules(world: &World) -> Vec<String> {
    let deleted = world.accepted("DeleteSchedule");
    let left =
        |call: &&Call| deleted.iter().all(|it| it.parameters["Name"] != call.parameters["Name"]);
    let made = world.accepted("CreateSchedule");
    let mut made: Vec<&Call> = made.iter().filter(left).collect();
    // The repetition of a call whose answer was lost is accepted as well.
    made.dedup_by_key(|call| call.parameters["Name"].clone());
    made.iter()
        .map(|call| {
            format!(
                "{} as {}",
                call.parameters["Target"]["Arn"], call.parameters["Target"]["RoleArn"]
            )
        })
        .collect()
}

fn tagged(id: &str, tags: &BTreeMap<String, String>) -> String {
    let mut tags = tags.clone();
    tags.remove("spotblock:valid-until");
    tags.remove("spotblock:opened");
    tags.remove("spotblock:driver");
    tags.remove("aws:ec2:fleet-id");
    tags.remove("aws:ec2launchtemplate:id");
    format!("{} {tags:?}", id.split('-').next().unwrap_or_default())
}

/// The blocks' ids; all of them in one world count as the same.
fn blocks(tags: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    tags.values().filter_map(|tags| tags.get(tag::BLOCK)).cloned().collect()
}

fn plain(text: &str, blocks: &[String]) -> String {
    let mut text = text.to_owned();
    for block in blocks {
        text = text.replace(block, "sb-#");
    }
    // The cluster's name ends in a UUID.
    while let Some(at) = text.find("_Batch_").filter(|at| !text[at + 7..].starts_with('#')) {
        text.replace_range(at + 7..at + 7 + 36, "#");
        text = text.replacen("_Batch_#", "_BATCH_#", 1);
    }
    text
}
