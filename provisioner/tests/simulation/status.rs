//! `status`: what it shows.

use std::time::Duration;

use localcloud_core::Options;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use super::{World, fallback};

async fn live() -> World {
    let world = World::new(Options::default());
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

async fn up(sources: &[&str]) -> World {
    let world = World::with_config(fallback::today(&[]), &fallback::config(sources));
    assert_eq!(world.run(&["up"]).await.code, 0);
    world
}

/// Catches: a reservation that costs money and shows nowhere, a cost that is unknown although the
/// price list has it, an extension that nobody accepted and that looks as if.
#[tokio::test(start_paused = true)]
async fn a_status_shows_what_is_reserved_what_it_has_cost_and_who_goes_on() {
    let world = up(&["reservation"]).await;
    world.pass(Duration::from_secs(20 * 60)).await;
    assert_eq!(world.run(&["extend", "--by", "1h"]).await.code, 4, "nobody answers here");
    let shown = world.run(&["status"]).await.stdout;
    for part in [
        "capacity reservation cr-",
        ", active, ends ",
        "at most $0.02 (estimate)",
        "extended: 0 of 3 agents",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
    let shown: Value =
        serde_json::from_str(&world.run(&["status", "-o", "json"]).await.stdout).expect("JSON");
    let block = &shown["blocks"][0];
    assert_eq!(block["reservations"][0]["goes_with_block"], true);
    assert_eq!(block["instances"][0]["extension"], "asked");
    // Three times a third of an hour at $0.0116, and the minute that extending took.
    let dollars = block["used"]["at_most_dollars"].as_f64().expect("a number");
    assert!((0.0116..0.0125).contains(&dollars), "{dollars}");
}

#[tokio::test(start_paused = true)]
async fn a_live_block_shows_its_time_its_cost_and_when_each_instance_drains() {
    let world = live().await;
    world.pass(Duration::from_secs(30 * 60)).await;
    let shown = world.run(&["status"]).await.stdout;
    for part in [
        "30 min left of 1 h",
        "0.5 instance-hours so far, at most $0.0",
        "(estimate)",
        "DRAINS",
        "in 15 min",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in {shown}");
    }
    let bar = shown.lines().find(|line| line.contains("left of")).expect("a bar");
    assert!(bar.contains("==--") && bar.contains('D') && bar.contains('S'), "{bar}");
    assert!(!shown.contains('\x1b'), "no colour where stdout is no terminal");
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_prints_a_line_each_time_and_is_refused_where_it_could_not_draw() {
    let world = live().await;
    let run = world.run(&["status", "--watch"]).await;
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("stdout is no terminal") && run.stderr.contains("-o json"),
        "{}",
        run.stderr
    );
    let (sender, receiver) = unbounded_channel();
    let (run, _) =
        tokio::join!(world.run_with(&["status", "--watch", "-o", "json"], None, receiver), async {
            tokio::time::sleep(Duration::from_secs(17)).await;
            sender.send(())
        });
    let run = run.expect("it is not killed");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "Ctrl-C is how one leaves a watch");
    let at: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")["at"].clone())
        .collect();
    assert!((3..=4).contains(&at.len()) && at[0] != at[1], "{at:?}");
}

/// Catches: a watch that goes on asking AWS for ever behind a pipe that nobody reads any more, as
/// in `... | head -1`.
#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_reader_has_gone() {
    let world = live().await.read_by_head(2);
    let watch = world.run(&["status", "--watch", "-o", "json"]);
    let run =
        tokio::time::timeout(Duration::from_secs(60), watch).await.expect("it ends by itself");
    assert_eq!((run.code, run.stderr.as_str(), run.stdout.lines().count()), (0, "", 2));
}
