//! Capacity blocks whose end is moved: each extension is bought once, or not at all.

use std::time::Duration;

use jiff::SignedDuration;
use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options, ec2};
use node_contract::names::tag;
use serde_json::Value;

use super::capacity_block::config;
use super::concurrent_runs::both;
use super::{Kill, World};

const EXTEND: [&str; 4] = ["extend", "--by", "24h", "--yes-purchase"];
/// The block costs $330.24, and so does a day more of it.
const CAP: &str = "max-cost = 700\n";

/// Two instances with agents that act, in a capacity block that begins at once, at ten.
async fn world() -> World {
    let options =
        Options { capacity_block_starts_in: Some(SignedDuration::ZERO), ..Options::default() };
    world_with(Options { light_nodes_above: 0, ..options }, CAP).await
}

async fn world_with(options: Options, more: &str) -> World {
    let world = World::with_config(options, &config(more));
    let run = world.run(&["up", "--yes-purchase", "--max-cost", "1000"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

fn bought(world: &World) -> usize {
    world.accepted("PurchaseCapacityBlockExtension").len()
}

fn ends(world: &World) -> Vec<String> {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    tags.values().filter_map(|tags| tags.get(tag::END)).cloned().collect()
}

fn fault(world: &World, operation: &str, effect: Effect) {
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault { service: None, operation, caller: None, skip: 0, count: 1, effect })
    });
}

/// The mark, taken away as the error says.
fn let_go(world: &World) {
    let templates = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    let record = templates.iter().find(|(_, tags)| tags.contains_key("spotblock:extension"));
    let (id, _) = record.expect("a record with the mark");
    world.by_hand(
        "ec2",
        &format!("Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=spotblock%3Aextension"),
    );
}

/// Catches: an end that agents, schedules and `status` understand differently; a block that ends at
/// its old end.
#[tokio::test(start_paused = true)]
async fn a_day_more_is_bought_before_schedules_and_agents_are_told() {
    let world = world().await;
    let before = world.calls();
    let run = world.run(&[&EXTEND[..], &["--output", "json"]].concat()).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let changed: Vec<String> =
        world.changing(before).into_iter().filter(|it| it != "PutAttributes").collect();
    let bought_first = [
        "CreateTags",
        "PurchaseCapacityBlockExtension",
        "UpdateSchedule",
        "UpdateSchedule",
        "CreateTags",
    ];
    assert_eq!(changed, bought_first, "the mark, the purchase, and then the rest");
    let extended: Value = serde_json::from_str(&run.stdout).expect("JSON");
    // The capacity block ends at ten two days later, and is taken back half an hour before.
    assert!(
        extended["end"].as_str().is_some_and(|end| end.starts_with("2026-11-26T09:3")),
        "{extended}"
    );
    assert!(
        ends(&world).iter().all(|end| end.starts_with("2026-11-26T10:0")),
        "{:?}",
        ends(&world)
    );
    for node in extended["instances"].as_array().expect("a list") {
        assert_eq!(
            (&node["answer"], &node["end"]),
            (&"accepted".into(), &extended["end"]),
            "{extended}"
        );
    }
    let status: Value =
        serde_json::from_str(&world.run(&["status", "--output", "json"]).await.stdout)
            .expect("status in JSON");
    assert_eq!(status["blocks"][0]["instances"][0]["end"], extended["end"], "{status}");
    world.pass(Duration::from_secs(25 * 3600)).await;
    assert_eq!(world.alive(), 2, "the first end is past");
    let reap = world.run(&["reap"]).await.stdout;
    assert!(!reap.contains("ended:"), "{reap}");
    world.pass(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.alive(), 0);
}

/// Catches: money spent that nobody agreed to, or above the cap of all extensions together.
#[tokio::test(start_paused = true)]
async fn nothing_is_bought_without_consent_or_a_cap_or_above_it_or_of_another_length() {
    let world = world().await;
    for (words, code, part) in [
        (&["extend", "--by", "24h"][..], 3, "takes --yes-purchase and [block] max-cost"),
        (&["extend", "--by", "25h", "--yes-purchase"], 2, "a capacity block lasts 1 to 14 days"),
        (
            &["extend", "--by", "72h", "--yes-purchase"],
            3,
            "costs $990.72, more than max-cost $700.00",
        ),
    ] {
        let before = world.calls();
        let run = world.run(words).await;
        assert!(
            run.code == code && run.stderr.contains(part),
            "{words:?}: {} {}",
            run.code,
            run.stderr
        );
        assert_eq!((bought(&world), world.changing(before)), (0, vec![]), "{words:?}");
    }
    for count in [1, 2] {
        assert_eq!(world.run(&EXTEND).await.code, 0);
        assert_eq!(bought(&world), count);
    }
    let third = world.run(&EXTEND).await;
    assert!(
        third.code == 3 && third.stderr.contains("beside the $660.48 of those before it"),
        "{}",
        third.stderr
    );
    assert_eq!(bought(&world), 2);

    let options =
        Options { capacity_block_starts_in: Some(SignedDuration::ZERO), ..Options::default() };
    let uncapped = world_with(Options { light_nodes_above: 0, ..options }, "").await;
    let run = uncapped.run(&EXTEND).await;
    assert_eq!((run.code, bought(&uncapped)), (3, 0), "{}", run.stderr);
}

/// Catches: an extension that is asked for when AWS sells none, and nobody would use it.
#[tokio::test(start_paused = true)]
async fn in_the_last_hour_and_from_the_drain_on_nothing_is_bought() {
    let world = world().await;
    world.pass(Duration::from_secs((23 * 60 + 10) * 60)).await;
    let run = world.run(&EXTEND).await;
    assert!(
        run.code == 1 && run.stderr.contains("can be extended until an hour before that"),
        "{}",
        run.stderr
    );
    world.pass(Duration::from_secs(15 * 60)).await;
    let run = world.run(&EXTEND).await;
    assert_eq!((run.code, bought(&world)), (1, 0), "{}", run.stderr);
}

/// Catches: a second purchase after a crash. What is said again counts from the end that the
/// instances have: that is where the first purchase went.
#[tokio::test(start_paused = true)]
async fn wherever_a_run_is_killed_the_extension_is_bought_once() {
    let first = world().await;
    let before = first.calls_of_users();
    assert_eq!(first.run(&EXTEND).await.code, 0);
    let calls = first.calls_of_users() - before;
    let mut unsure = 0;
    for nth in harness::points(calls) {
        let world = world().await;
        if world.run_until(&EXTEND, Some(Kill::After(nth))).await.is_some()
            || ends(&world).len() == 2
        {
            continue;
        }
        let mut run = world.run(&EXTEND).await;
        if bought(&world) == 0 {
            unsure += 1;
            assert!(
                run.code == 1 && run.stderr.contains("nothing more is bought"),
                "{nth}: {}",
                run.stderr
            );
            let_go(&world);
            run = world.run(&EXTEND).await;
        }
        assert_eq!(
            (run.code, bought(&world), ends(&world).len()),
            (0, 1, 2),
            "{nth}: {}",
            run.stderr
        );
    }
    // After the mark, and after the look at it.
    assert!(!harness::takes_all_points() || unsure == 2, "{unsure}");
}

/// Catches: the SDK's, or this program's, second try.
#[tokio::test(start_paused = true)]
async fn a_purchase_whose_answer_is_lost_or_that_failed_at_aws_is_not_repeated() {
    let world_1 = world().await;
    fault(&world_1, "PurchaseCapacityBlockExtension", Effect::LostAnswer);
    let run = world_1.run(&EXTEND).await;
    assert_eq!((run.code, bought(&world_1), ends(&world_1).len()), (0, 1, 2), "{}", run.stderr);
    assert!(run.stderr.contains("whether the purchase was made is not known"), "{}", run.stderr);

    let world = world().await;
    let sent = || {
        world
            .operations_of_users()
            .iter()
            .filter(|it| *it == "PurchaseCapacityBlockExtension")
            .count()
    };
    let effect =
        Effect::Fail { code: "InternalError".into(), message: "It failed".into(), status: 500 };
    fault(&world, "PurchaseCapacityBlockExtension", effect);
    for _ in 0..2 {
        let run = world.run(&EXTEND).await;
        assert!(run.code == 1 && run.stderr.contains("Key=spotblock:extension"), "{}", run.stderr);
        assert_eq!((sent(), ends(&world).len()), (1, 0));
    }
    let_go(&world);
    assert_eq!((world.run(&EXTEND).await.code, bought(&world)), (0, 1));
}

/// A purchase that AWS refuses was not made: the next run may buy.
#[tokio::test(start_paused = true)]
async fn a_refused_purchase_leaves_no_mark_that_holds_the_next_back() {
    let world = world().await;
    let code = "InvalidCapacityBlockOfferingId.NotFound".into();
    fault(
        &world,
        "PurchaseCapacityBlockExtension",
        Effect::Fail { code, message: "gone".into(), status: 400 },
    );
    let run = world.run(&EXTEND).await;
    assert!(
        run.code == 1 && run.stderr.contains("InvalidCapacityBlockOfferingId.NotFound"),
        "{}",
        run.stderr
    );
    assert_eq!((world.run(&EXTEND).await.code, bought(&world)), (0, 1));
}

/// Catches: two purchases by two runs that begin at the same time.
#[tokio::test(start_paused = true)]
async fn two_at_once_buy_one_extension() {
    for later in [0, 7, 41, 250, 2_000, 11_000] {
        let world = world().await;
        let (one, other) = both(&world, &EXTEND, later).await;
        assert!(one.code == 0 || other.code == 0, "{later}: {}\n{}", one.stderr, other.stderr);
        assert_eq!(bought(&world), 1, "{later}: {}\n{}", one.stderr, other.stderr);
    }
}
