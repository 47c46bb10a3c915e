//! Capacity blocks: those that are there already, and those that are bought; each purchase once, or
//! not at all.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options, ec2};
use node_contract::{End, NodeConfig};
use serde_json::Value;

use super::concurrent_runs::both;
use super::{Kill, Run, World, example_with};

const BUY: [&str; 4] = ["request", "--yes-purchase", "--max-cost", "1000"];

/// Two instances for a day, in a zone where capacity blocks are on offer.
pub(super) fn config(more: &str) -> String {
    let text = example_with("instances = 1", "instances = 2");
    let text = text
        .replace("sources = [\"spot-block\"]", &format!("sources = [\"capacity-block\"]\n{more}"));
    let text = text.replace("\"60m\"", "\"24h\"").replace("\"t2.micro\"", "\"p5.4xlarge\"");
    text.replace("subnet-c8d30ae4", "subnet-1b6e40a1").replace("zone = \"us-east-1c\"\n", "")
}

async fn world_with(options: Options, config: &str) -> World {
    let world = World::with_config(options, config);
    let run = world.run(&["env", "apply"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    world
}

/// One whose capacity blocks begin at once.
fn soon() -> Options {
    Options { capacity_block_starts_in: Some(SignedDuration::ZERO), ..Options::default() }
}

async fn world() -> World {
    world_with(soon(), &config("")).await
}

fn between<'a>(text: &'a str, tag: &str) -> &'a str {
    let after = text.split_once(&format!("<{tag}>")).unwrap_or_else(|| panic!("{tag} in {text}")).1;
    after.split_once('<').expect("its end").0
}

/// A capacity block that somebody bought by hand.
fn by_hand(world: &World, count: u32) -> String {
    let search = format!(
        "Action=DescribeCapacityBlockOfferings&InstanceType=p5.4xlarge&InstanceCount={count}&CapacityDurationHours=24"
    );
    let offering = between(&world.by_hand("ec2", &search), "capacityBlockOfferingId").to_owned();
    let form = format!(
        "Action=PurchaseCapacityBlock&InstancePlatform=Linux%2FUNIX&CapacityBlockOfferingId={offering}"
    );
    between(&world.by_hand("ec2", &form), "capacityReservationId").to_owned()
}

fn purchases(world: &World) -> usize {
    world.accepted("PurchaseCapacityBlock").len()
}

/// What the agents were told.
fn told(world: &World) -> Vec<NodeConfig> {
    let of = |id: &String| {
        world.cloud(|cloud| {
            let it = ec2::instance(cloud, id)?;
            let text = String::from_utf8(it.user_data()?.to_vec()).ok()?;
            node_contract::user_data::extract(&text).ok()
        })
    };
    world.launched().iter().filter_map(of).collect()
}

fn fault(world: &World, operation: &str, count: u32, effect: Effect) {
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault { service: None, operation, caller: None, skip: 0, count, effect })
    });
}

/// Asserts that two instances came into one capacity block.
fn came(world: &World, run: &Run, bought: usize) {
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (purchases(world), world.launched().len(), world.alive()),
        (bought, 2, 2),
        "{}",
        run.stderr
    );
}

/// Catches: an agent that counts from its launch and not to the capacity block's end, or ends when
/// AWS already has.
#[tokio::test(start_paused = true)]
async fn a_block_is_bought_waited_for_and_ends_half_an_hour_before_its_capacity_block() {
    let world = world_with(Options::default(), &config("")).await;
    let run = world.run(&[&BUY[..], &["--output", "json"]].concat()).await;
    came(&world, &run, 1);
    // It began at 11:30, an hour and a half later.
    let end: Timestamp = "2026-11-25T11:30:00Z".parse().expect("a time");
    for config in told(&world) {
        assert_eq!((config.end, config.early_reclaim_secs), (End::At(end), 1800));
    }
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let block = &result["block"];
    assert_eq!(
        (block["source"].as_str(), block["end"].as_str()),
        (Some("capacity-block"), Some("2026-11-25T11:00:00Z"))
    );
    assert_eq!(block["instances"][0]["end"], "2026-11-25T11:00:00Z");
    assert_eq!(world.accepted("CreateSchedule").len(), 2);
    let again = world.run(&BUY).await;
    came(&world, &again, 1);
    let extend = world.run(&["extend", "--by", "24h"]).await;
    assert!(
        extend.code == 3 && extend.stderr.contains("takes --yes-purchase"),
        "{}",
        extend.stderr
    );
    let down = world.run(&["down"]).await;
    assert_eq!((down.code, world.alive()), (0, 0), "{}", down.stderr);
    assert!(world.accepted("CancelCapacityReservation").is_empty(), "what is paid for stays");
    assert_eq!(world.run(&["reap"]).await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_there_already_is_launched_into_and_nothing_is_bought() {
    let world = world().await;
    let id = by_hand(&world, 2);
    let run = world.run(&["request", "--capacity-block", &id]).await;
    assert_eq!((run.code, world.alive()), (0, 2), "{}", run.stderr);
    assert!(world.accepted("DescribeCapacityBlockOfferings").len() <= 1);
    let bought =
        world.operations_of_users().iter().filter(|it| *it == "PurchaseCapacityBlock").count();
    assert_eq!(bought, 1, "by hand");
    let run = &world.accepted("RunInstances")[0].parameters;
    assert_eq!((&run["MinCount"], &run["MaxCount"]), (&"2".into(), &"2".into()));
    assert_eq!(
        run["CapacityReservationSpecification"]["CapacityReservationTarget"]["CapacityReservationId"],
        id
    );
}

/// Catches: a record, or more, begun for a capacity block that doesn't fit.
#[tokio::test(start_paused = true)]
async fn a_block_that_does_not_fit_is_refused_before_anything_is_recorded() {
    for (more, part) in [
        (&["--instance-type", "p4d.24xlarge"][..], "which is not in [block] instance-types"),
        (&["--subnet", "subnet-c8d30ae4"], "and no subnet is"),
        (&["--instances", "3"], "has 2 instances, and 3 are asked for"),
    ] {
        let world = world().await;
        let id = by_hand(&world, 2);
        let run = world.run(&[&["request", "--capacity-block", &id][..], more].concat()).await;
        assert!(run.code == 2 && run.stderr.contains(part), "{}: {}", run.code, run.stderr);
        assert!(world.accepted("CreateLaunchTemplate").is_empty());
    }
    let world = world().await;
    let run = world.run(&["request", "--capacity-block", "cr-0123456789abcdef0"]).await;
    assert!(run.code == 1 && run.stderr.contains("cr-0123456789abcdef0"), "{}", run.stderr);
    let settings = world.run(&["request", "--instances", "65", "--duration", "25h"]).await;
    assert!(settings.code == 2 && settings.stderr.contains("at most 64"), "{}", settings.stderr);
    assert!(settings.stderr.contains("a capacity block lasts 1 to 14 days"), "{}", settings.stderr);
}

/// Catches: money spent that nobody agreed to.
#[tokio::test(start_paused = true)]
async fn nothing_is_bought_without_consent_and_a_cap_or_above_it_or_where_nothing_is_on_offer() {
    for (words, part) in [
        (&["request"][..], "takes --yes-purchase and [block] max-cost"),
        (&["request", "--yes-purchase"], "takes --yes-purchase and [block] max-cost"),
        (&["request", "--max-cost", "1000"], "takes --yes-purchase and [block] max-cost"),
        (&["request", "--yes-purchase", "--max-cost", "330"], "more than max-cost $330.00"),
        (
            &["request", "--yes-purchase", "--max-cost", "1000", "--subnet", "subnet-c8d30ae4"],
            "no capacity block of 2 x",
        ),
        (
            &["request", "--yes-purchase", "--max-cost", "1000", "--instance-type", "t2.micro"],
            "no capacity",
        ),
    ] {
        let world = world().await;
        let run = world.run(words).await;
        assert!(
            run.code == 3 && run.stderr.contains(part),
            "{words:?}: {} {}",
            run.code,
            run.stderr
        );
        assert_eq!((purchases(&world), world.launched().len()), (0, 0), "{words:?}");
    }
    let world = world_with(Options::default(), &config("")).await;
    let run = world.run(&[&BUY[..], &["--start-within", "1h"]].concat()).await;
    assert!(run.code == 3 && run.stderr.contains("begins by"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn plan_shows_what_is_on_offer_with_its_price() {
    let run = world().await.run(&["plan"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains("2 x p5.4xlarge in us-east-1a")
            && run.stdout.contains("$330.24 at once"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("$6.88 per GPU-hour"), "{}", run.stdout);
}

/// Catches: a second purchase after a crash. Killed between its mark and its answer, a run leaves
/// one that may have been made: where it was, it is found; where nothing is shown, nothing more is
/// bought until the user has let go of it.
#[tokio::test(start_paused = true)]
async fn wherever_a_run_is_killed_it_buys_once() {
    let first = world().await;
    let before = first.calls_of_users();
    came(&first, &first.run(&BUY).await, 1);
    let calls = first.calls_of_users() - before;
    let mut unsure = 0;
    for nth in harness::points(calls) {
        for kill in [Kill::Before(nth), Kill::After(nth)] {
            let world = world().await;
            if world.run_until(&BUY, Some(kill)).await.is_some() {
                continue;
            }
            let run = world.run(&BUY).await;
            if purchases(&world) == 0 {
                unsure += 1;
                assert!(
                    run.code == 1 && run.stderr.contains("nothing more is bought"),
                    "{kill:?}: {}",
                    run.stderr
                );
                assert_eq!(world.run(&["down"]).await.code, 0);
                came(&world, &world.run(&BUY).await, 1);
            } else {
                came(&world, &run, 1);
            }
        }
    }
    // After the mark, before the look at it, and before the purchase.
    assert!(!harness::takes_all_points() || (1..=4).contains(&unsure), "{unsure}");
}

/// Catches: the SDK's, or this program's, second try.
#[tokio::test(start_paused = true)]
async fn a_purchase_whose_answer_is_lost_is_found_and_not_repeated() {
    let world = world().await;
    fault(&world, "PurchaseCapacityBlock", 1, Effect::LostAnswer);
    let run = world.run(&BUY).await;
    came(&world, &run, 1);
    assert!(run.stderr.contains("whether the purchase was made is not known"), "{}", run.stderr);
}

/// Catches: a purchase that failed on AWS's side sent again, by the SDK or by the next run.
#[tokio::test(start_paused = true)]
async fn a_purchase_of_which_nothing_is_known_is_not_sent_again() {
    let world = world().await;
    let effect =
        Effect::Fail { code: "InternalError".into(), message: "It failed".into(), status: 500 };
    fault(&world, "PurchaseCapacityBlock", 1, effect);
    let sent =
        || world.operations_of_users().iter().filter(|it| *it == "PurchaseCapacityBlock").count();
    for _ in 0..2 {
        let run = world.run(&BUY).await;
        assert!(
            run.code == 1 && run.stderr.contains("spotblock down --block sb-"),
            "{}",
            run.stderr
        );
        assert_eq!((sent(), purchases(&world)), (1, 0));
        world.pass(Duration::from_secs(3600)).await;
    }
    assert_eq!(world.run(&["down"]).await.code, 0);
    came(&world, &world.run(&BUY).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_offering_that_somebody_else_took_is_a_lack_of_capacity() {
    let world = world().await;
    let code = "InvalidCapacityBlockOfferingId.NotFound".into();
    fault(
        &world,
        "PurchaseCapacityBlock",
        1,
        Effect::Fail { code, message: "gone".into(), status: 400 },
    );
    let run = world.run(&BUY).await;
    assert_eq!((run.code, purchases(&world)), (3, 0), "{}", run.stderr);
    came(&world, &world.run(&BUY).await, 1);
}

/// Catches: two purchases by two runs that begin at the same time, though there is one attempt.
#[tokio::test(start_paused = true)]
async fn two_at_once_buy_once() {
    for later in [0, 7, 20, 41, 90, 250, 900, 2_000, 4_000] {
        let world = world().await;
        let (one, other) = both(&world, &BUY, later).await;
        assert_eq!((one.code, other.code), (0, 0), "{later}: {}\n{}", one.stderr, other.stderr);
        came(&world, &one, 1);
    }
}

/// Catches: a run that slept between its look and its mark, and buys beside the one that took over.
#[tokio::test(start_paused = true)]
async fn a_run_that_wakes_up_late_buys_nothing() {
    for operation in [
        "DescribeCapacityBlockOfferings",
        "CreateTags",
        "PurchaseCapacityBlock",
        "DescribeLaunchTemplates",
    ] {
        let world = world().await;
        fault(&world, operation, 2, Effect::Slow { millis: 24_000 });
        let (one, other) = both(&world, &BUY, 100).await;
        assert!(one.code == 0 || other.code == 0, "{operation}: {}\n{}", one.stderr, other.stderr);
        assert_eq!((purchases(&world), world.launched().len()), (1, 2), "{operation}");
    }
}
