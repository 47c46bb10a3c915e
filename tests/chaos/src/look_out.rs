//! What is seen to be wrong at the very call of the provisioner, since it can't be told any more
//! afterwards.

use std::collections::BTreeMap;

use jiff::Timestamp;
use localcloud_core::{Request, ec2};
use node_contract::names::tag;
use provisioner_model::record;

use crate::trouble::Caller;
use crate::world::State;

/// The tags of a record whose block came to nothing, or is being ended by somebody's `down`.
const GIVEN_UP: [&str; 2] = [record::OUTCOME, record::ENDED];

/// The promise that is broken if AWS takes this call.
#[must_use]
pub fn before(state: &State, now: Timestamp, caller: Caller, request: &Request) -> Option<String> {
    if caller != Caller::User || request.service() != "ec2" {
        return None;
    }
    let body = String::from_utf8_lossy(&request.body);
    let value =
        |key: &str| body.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    match value("Action")? {
        "CreateLaunchTemplate"
        | "RequestSpotInstances"
        | "CreateFleet"
        | "RunInstances"
        | "CreateCapacityReservation"
        | "PurchaseCapacityBlock" => second_block(state, now, &body),
        "DeleteLaunchTemplate" => record_lost(state, value("LaunchTemplateId")?),
        _ => None,
    }
}

/// Notes where this call, which AWS took, has moved ends: EC2 forgets its instances after a while.
pub fn after(state: &mut State, caller: Caller, request: &Request) {
    if caller != Caller::User || !request.body.starts_with(b"Action=CreateTags") {
        return;
    }
    let tags = ec2::all_tags(&state.cloud);
    for host in &state.hosts {
        let end = tags.get(&host.instance).and_then(|tags| tags.get(tag::END)?.parse().ok());
        if let Some(end) = end {
            let furthest = state.moved.entry(host.instance.clone()).or_insert(end);
            *furthest = end.max(*furthest);
        }
    }
}

/// A block is begun, or bought, while another one lives that has not been given up.
fn second_block(state: &State, now: Timestamp, body: &str) -> Option<String> {
    let tags = ec2::all_tags(&state.cloud);
    let goes_on =
        |tags: &BTreeMap<String, String>| GIVEN_UP.iter().all(|tag| !tags.contains_key(*tag));
    let records = tags.iter().filter(|(id, tags)| id.starts_with("lt-") && goes_on(tags));
    let others = records
        .filter_map(|(_, tags)| tags.get(tag::BLOCK))
        .filter(|block| !body.contains(block.as_str()));
    let living = others.filter_map(|block| living(state, block, now)).next()?;
    Some(format!("bought twice: a second block at {now}, and {living} of another lives"))
}

/// A record goes while its block lives: nobody knows any more what it is.
fn record_lost(state: &State, template: &str) -> Option<String> {
    let block = ec2::all_tags(&state.cloud).get(template)?.get(tag::BLOCK)?;
    living(state, block, Timestamp::MIN)
        .map(|instance| format!("record lost: that of block {block}, and {instance} lives"))
}

/// An instance of this block that lives and whose end is after this, as far as tags tell.
fn living(state: &State, block: &str, after: Timestamp) -> Option<String> {
    let tags = ec2::all_tags(&state.cloud);
    let of_it =
        |id: &str| tags.get(id).and_then(|tags| tags.get(tag::BLOCK)).is_some_and(|it| it == block);
    let living = ec2::all(&state.cloud)
        .iter()
        .find(|it| it.alive() && after < it.launch_time + state.length && of_it(&it.id));
    living.map(|it| it.id.clone())
}
