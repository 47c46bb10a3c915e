//! Blocks whose end is moved.

use std::time::Duration;

use localcloud::core::{Options, ec2};
use node_contract::names::tag;
use serde_json::Value;

use super::World;
use super::ladder::{config, today};

/// Three on-demand instances, which nothing ends here but a schedule: the simulation's nodes only register.
async fn on_demand() -> World {
    let world = World::with_config(today(&[]), &config(&["on-demand"]));
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn minutes(world: &World, minutes: u64) {
    world.pass(Duration::from_secs(minutes * 60)).await;
}

fn ends(world: &World) -> Vec<String> {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    tags.values().filter_map(|tags| tags.get(tag::END)).cloned().collect()
}

/// Catches: a schedule that can't end a fleet, or whose role may not: without agents and timers it is all there is.
#[tokio::test(start_paused = true)]
async fn instances_whose_agents_and_timers_have_failed_are_ended_by_the_schedule() {
    let world = on_demand().await;
    assert_eq!(world.accepted("CreateSchedule").len(), 1, "one for the fleet");
    minutes(&world, 63).await;
    assert_eq!(world.alive(), 3);
    minutes(&world, 5).await;
    assert_eq!(world.alive(), 0);
}

/// Catches: a schedule that ends an extended block at its old end, or one that no longer ends it at all.
#[tokio::test(start_paused = true)]
async fn an_extension_moves_the_schedule_before_the_tag_and_the_block_ends_an_hour_later() {
    let world = on_demand().await;
    let before = world.calls();
    let run = world.run(&["extend", "--by", "1h", "--output", "json"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(world.changing(before), ["UpdateSchedule", "CreateTags"]);
    let extended: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(extended["instances"].as_array().expect("a list").iter().all(|it| it["answer"] == "asked"), "{extended}");
    assert_eq!(ends(&world), vec![extended["end"].as_str().expect("a time").to_owned(); 3]);
    minutes(&world, 75).await;
    assert_eq!(world.alive(), 3);
    let reap = world.run(&["reap"]).await.stdout;
    assert!(reap.contains("goes on until") && !reap.contains("ended:"), "{reap}");
    let up = world.run(&["up"]).await;
    assert!(up.stderr.contains("continuing block"), "{}", up.stderr);
    assert_eq!(world.accepted("CreateSchedule").len(), 1, "it makes none for the old end");
    minutes(&world, 52).await;
    assert_eq!(world.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn said_again_with_the_same_moment_it_changes_nothing() {
    let world = on_demand().await;
    let run = world.run(&["extend", "--by", "1h", "--output", "json"]).await;
    let extended: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let end = extended["end"].as_str().expect("a time");
    let again = world.run(&["extend", "--to", end, "--output", "json"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(world.accepted("UpdateSchedule").len(), 1);
    assert!(again.stdout.contains("\"schedules\": 0"), "{}", again.stdout);
    let earlier = world.run(&["extend", "--to", "2026-11-24T10:30:00Z"]).await;
    assert_eq!(earlier.code, 2, "{}", earlier.stderr);
    assert!(earlier.stderr.contains("can only be extended"), "{}", earlier.stderr);
    let endless = world.run(&["extend", "--by", "3000h"]).await;
    assert_eq!(endless.code, 2, "{}", endless.stderr);
}

/// Catches: an extension that is promised to instances whose drain has begun, or whose end is AWS's.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_extended_says_why_and_nothing_is_changed() {
    let world = on_demand().await;
    minutes(&world, 50).await;
    let before = world.calls();
    let late = world.run(&["extend", "--by", "1h"]).await;
    assert_eq!(late.code, 1, "{}", late.stderr);
    assert!(late.stderr.contains("its drain began at"), "{}", late.stderr);
    assert_eq!(world.changing(before), Vec::<String>::new());

    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let before = world.calls();
    let refused = world.run(&["extend", "--by", "1h"]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("AWS ends instances of spot-block itself"), "{}", refused.stderr);
    assert_eq!(world.changing(before), Vec::<String>::new());
}

/// Catches: an extension that is promised to instances that somebody drains.
#[tokio::test(start_paused = true)]
async fn what_drains_is_not_extended() {
    let world = on_demand().await;
    assert_eq!(world.run(&["drain"]).await.code, 0);
    let run = world.run(&["extend", "--by", "1h"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("it is DRAINING"), "{}", run.stderr);
    assert_eq!(ends(&world), Vec::<String>::new());
}
