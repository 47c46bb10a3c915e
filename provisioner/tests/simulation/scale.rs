//! A thousand instances: what they cost in calls. Those above thirty are the local cloud's light
//! nodes.

use std::collections::BTreeMap;

use localcloud_core::Caller;
use localcloud_core::protocol::options::SpotBlock;

use super::fallback::today;
use super::{World, example_with};

/// How many calls `up` makes at most with a thousand instances.
const UP: usize = 150;

/// The calls of users since the nth of all, by operation.
fn since(world: &World, nth: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    world.cloud(|cloud| {
        for call in cloud.calls()[nth..].iter().filter(|call| call.caller == Caller::User) {
            *counts.entry(call.operation.clone()).or_default() += 1;
        }
    });
    counts
}

/// Catches: a call an instance, pages that are smaller than AWS's limit, rounds that come too soon
/// after one another.
async fn comes_up_is_shown_and_goes_with_few_calls(source: &str, up: usize) {
    let config = example_with("instances = 1", "instances = 1000")
        .replace("[\"spot-block\"]", &format!("[\"{source}\"]"));
    let mut options = today(&[]);
    options.spot_block = SpotBlock::Grant;
    let world = World::with_config(options, &config);
    for (command, most) in [("up", up), ("status", 40), ("down", 200)] {
        let nth = world.calls();
        let run = world.run(&[command]).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        let counts = since(&world, nth);
        let count: usize = counts.values().sum();
        assert!(
            count <= most,
            "{command} of {source} made {count} calls, more than {most}: {counts:?}"
        );
        // A round of looking at who has joined: ECS lists and describes a hundred at once.
        let rounds = counts.get("DescribeInstances").copied().unwrap_or_default();
        let looked = counts.get("DescribeContainerInstances").copied().unwrap_or_default();
        assert!(looked <= 10 * rounds, "{looked} in {rounds} rounds");
        if command == "up" {
            assert_eq!(world.alive(), 1000);
        }
    }
    assert_eq!(world.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_on_demand_instances_come_up_and_go_with_few_calls() {
    comes_up_is_shown_and_goes_with_few_calls("on-demand", UP).await;
}

#[tokio::test(start_paused = true)]
async fn a_spot_block_of_a_thousand_comes_up_and_goes_with_few_calls() {
    comes_up_is_shown_and_goes_with_few_calls("spot-block", UP).await;
}
