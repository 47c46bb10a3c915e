//! Blocks whose end is moved.

use std::time::Duration;

use localcloud_core::{Options, ec2};
use node_contract::names::tag;
use serde_json::Value;

use super::World;
use super::fallback::{config, today};

/// Three on-demand instances, which nothing ends here but a schedule: the simulation's nodes only
/// register.
async fn on_demand() -> World {
    on_demand_with(today(&[]), "").await
}

/// The same with agents that act: the local cloud's light nodes.
async fn with_agents(more: &str) -> World {
    on_demand_with(Options { light_nodes_above: 0, ..today(&[]) }, more).await
}

async fn on_demand_with(options: Options, more: &str) -> World {
    let config = config(&["on-demand"]).replace("instances = 3", &format!("instances = 3\n{more}"));
    let world = World::with_config(options, &config);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn extended(world: &World, arguments: &[&str], code: u8) -> Value {
    let run = world.run(&[&["extend", "--output", "json"], arguments].concat()).await;
    assert_eq!(run.code, code, "{}", run.stderr);
    serde_json::from_str(&run.stdout).expect("JSON")
}

fn answers(extended: &Value) -> Vec<&str> {
    let nodes = extended["instances"].as_array().expect("a list");
    nodes.iter().map(|node| node["answer"].as_str().expect("a word")).collect()
}

async fn minutes(world: &World, minutes: u64) {
    world.pass(Duration::from_secs(minutes * 60)).await;
}

fn ends(world: &World) -> Vec<String> {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    tags.values().filter_map(|tags| tags.get(tag::END)).cloned().collect()
}

/// Catches: a schedule that can't end a fleet, or whose role may not: without agents and timers it
/// is all there is.
#[tokio::test(start_paused = true)]
async fn instances_whose_agents_and_timers_have_failed_are_ended_by_the_schedule() {
    let world = on_demand().await;
    assert_eq!(world.accepted("CreateSchedule").len(), 1, "one for the fleet");
    minutes(&world, 63).await;
    assert_eq!(world.alive(), 3);
    minutes(&world, 5).await;
    assert_eq!(world.alive(), 0);
}

/// Catches: a schedule that ends an extended block at its old end, or one that no longer ends it at
/// all.
#[tokio::test(start_paused = true)]
async fn an_extension_moves_the_schedule_before_the_tag_and_the_block_ends_an_hour_later() {
    let world = on_demand().await;
    let before = world.calls();
    let extended = extended(&world, &["--by", "1h"], 4).await;
    assert_eq!(world.changing(before), ["UpdateSchedule", "CreateTags"]);
    assert_eq!(answers(&extended), ["not-heard"; 3], "none of them has an agent");
    assert!(
        extended["instances"][0]["why"].as_str().expect("text").contains("If it takes jobs after"),
        "{extended}"
    );
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
    let world = with_agents("").await;
    let first = extended(&world, &["--by", "1h"], 0).await;
    let end = first["end"].as_str().expect("a time");
    let again = extended(&world, &["--to", end], 0).await;
    assert_eq!(world.accepted("UpdateSchedule").len(), 1);
    assert_eq!((answers(&again), &again["schedules"]), (vec!["accepted"; 3], &Value::from(0)));
    let earlier = world.run(&["extend", "--to", "2026-11-24T10:30:00Z"]).await;
    assert_eq!(earlier.code, 2, "{}", earlier.stderr);
    assert!(earlier.stderr.contains("can only be extended"), "{}", earlier.stderr);
    let endless = world.run(&["extend", "--by", "3000h"]).await;
    assert_eq!(endless.code, 2, "{}", endless.stderr);
}

/// Catches: an extension that is promised to instances whose drain has begun, or whose end is
/// AWS's.
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
    assert!(
        refused.stderr.contains("AWS ends instances of spot-block itself"),
        "{}",
        refused.stderr
    );
    assert_eq!(world.changing(before), Vec::<String>::new());
}

/// Catches: "accepted" where nobody accepted, or from an instance that takes no more jobs.
#[tokio::test(start_paused = true)]
async fn each_instance_says_whether_it_has_accepted_or_it_was_too_late() {
    let world = with_agents("").await;
    let drained = world.launched()[1].clone();
    world.drain_by_hand(&drained);
    let before = world.now();
    let result = extended(&world, &["--by", "1h"], 1).await;
    let took = before.duration_until(world.now()).as_secs();
    assert!((1..=45).contains(&took), "the agents look every 30 s: {took}");
    for node in result["instances"].as_array().expect("a list") {
        let (answer, end) = match node["instance"] == drained.as_str() {
            true => ("too-late", &Value::Null),
            false => ("accepted", &result["end"]),
        };
        assert_eq!((&node["answer"], &node["end"]), (&Value::from(answer), end), "{node}");
    }
    minutes(&world, 75).await;
    assert_eq!(world.alive(), 2, "those that have accepted live past the old end");
    minutes(&world, 45).await;
    assert_eq!(world.alive(), 0);
}

/// Catches: an extension that costs more than the user's limit, or a refusal after something was
/// changed.
#[tokio::test(start_paused = true)]
async fn an_extension_is_held_to_max_cost_before_anything_is_changed() {
    // Three instances of $0.0116 for an hour are $0.0348.
    let world = with_agents("max-cost = 0.06").await;
    let before = world.calls();
    let refused = world.run(&["extend", "--by", "1h"]).await;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    for part in
        ["could cost up to $0.0696 in all (estimate)", "max-cost is $0.06", "nothing was changed"]
    {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(world.changing(before), Vec::<String>::new());
    let within = extended(&world, &["--by", "30m"], 0).await;
    assert_eq!(within["worst_case_usd_estimate"], "0.0522");
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
