//! The source `reservation`: secured first, launched into, and never left behind.

use std::time::Duration;

use jiff::Timestamp;
use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};
use node_contract::names::tag;
use serde_json::Value;

use super::fallback::{config, today};
use super::faults::whichever_answer_is_lost;
use super::killed::{AFTER, BOTH, after, at_every_call};
use super::{Run, World};

fn world(capacity: &[(&str, u32)], sources: &[&str]) -> World {
    World::with_config(today(capacity), &config(sources))
}

/// With everything around the block made.
async fn prepared(sources: &[&str]) -> World {
    after(world(&[], sources), &["env", "apply"], 0).await
}

fn block(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}", run.stderr);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["block"].clone()
}

fn sources_of(block: &Value) -> Vec<&str> {
    block["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["source"].as_str())
        .collect()
}

fn failing(world: &World, operation: &str, code: &str, count: u32) {
    let effect =
        Effect::Fail { code: code.into(), status: 400, message: "as the script says".into() };
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault { service: None, operation, caller: None, skip: 0, count, effect })
    });
}

/// Makes a reservation by hand, with these tags.
pub(super) async fn by_hand(
    world: &World,
    instance_type: &str,
    count: u32,
    tags: &[(&str, &str)],
) -> String {
    let mut form = format!(
        "Action=CreateCapacityReservation&InstanceType={instance_type}&InstancePlatform=Linux%2FUNIX&AvailabilityZone=us-east-1c&InstanceCount={count}&InstanceMatchCriteria=targeted"
    );
    if !tags.is_empty() {
        form.push_str("&TagSpecifications.1.ResourceType=capacity-reservation");
    }
    for (n, (key, value)) in (1..).zip(tags) {
        let at = format!("&TagSpecifications.1.Tag.{n}");
        form.push_str(&format!("{at}.Key={key}{at}.Value={value}"));
    }
    let xml = world.by_hand("ec2", &form);
    world.pass(Duration::from_secs(1)).await;
    let id = xml.split("<capacityReservationId>").nth(1).and_then(|rest| rest.split('<').next());
    id.expect("an id").to_owned()
}

fn block_id(world: &World) -> String {
    let records = world.accepted("CreateLaunchTemplate");
    let text = records.last().expect("a record").parameters.to_string();
    let at = text.find("\"sb-").expect("an id") + 1;
    text[at..at + 13].to_owned()
}

#[tokio::test(start_paused = true)]
async fn capacity_is_reserved_first_launched_into_and_cancelled_by_down() {
    let world = world(&[], &["reservation"]);
    let found = block(&world.run(&["up", "--output", "json", "--duration", "95m"]).await);
    assert_eq!(found["guarantee"]["label"], "firm, secured before launch");
    assert_eq!(sources_of(&found), ["reservation"; 3]);
    let reserved = world.accepted("CreateCapacityReservation")[0].parameters.clone();
    assert_eq!(
        (&reserved["InstanceMatchCriteria"], &reserved["EndDateType"]),
        (&"targeted".into(), &"limited".into())
    );
    let end = |value: &Value| {
        value.as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a time")
    };
    assert!(end(&reserved["EndDate"]) > end(&found["end"]), "{reserved} {found}");
    let launch = world.accepted("RunInstances")[0].parameters.clone();
    assert_eq!((&launch["MinCount"], &launch["MaxCount"]), (&"3".into(), &"3".into()));
    let inside = world
        .by_hand("ec2", "Action=DescribeInstances")
        .matches("<capacityReservationTarget>")
        .count();
    assert_eq!(inside, 3, "all of them run in it");
    assert_eq!(world.accepted("CreateSchedule").len(), 3, "each has its schedule");
    let again = world.run(&["up"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!((world.launched().len(), world.reservations()), (3, vec!["active".to_owned()]));
    let down = world.run(&["down", "--output", "json"]).await;
    assert_eq!((down.code, world.alive()), (0, 0), "{}", down.stderr);
    assert_eq!(world.reservations(), ["cancelled"]);
    assert!(down.stdout.contains("\"cr-"), "{}", down.stdout);
}

#[tokio::test(start_paused = true)]
async fn an_existing_reservation_is_launched_into_and_never_cancelled() {
    let world = world(&[], &["reservation"]);
    let id = by_hand(&world, "t2.micro", 4, &[]).await;
    let found = block(&world.run(&["up", "--output", "json", "--reservation", &id]).await);
    assert_eq!(sources_of(&found), ["reservation"; 3]);
    assert_eq!(
        world.accepted("RunInstances")[0].parameters["CapacityReservationSpecification"]["CapacityReservationTarget"]
            ["CapacityReservationId"],
        id.as_str()
    );
    assert_eq!(world.run(&["down"]).await.code, 0);
    assert_eq!((world.alive(), world.reservations()), (0, vec!["active".to_owned()]));
}

/// Catches: another block started because the user's reservation doesn't fit, or was mistyped; or
/// the ladder stopped because it is merely full.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_an_existing_reservation_is_a_mistake_and_a_full_one_leads_on() {
    for (kind, count, code, said) in [
        ("t3.micro", 3, 1, "is for t3.micro in us-east-1c, and [block] asks for t2.micro"),
        ("t2.micro", 2, 0, "ReservationCapacityExceeded"),
    ] {
        let world = world(&[], &["reservation", "spot"]);
        let id = by_hand(&world, kind, count, &[]).await;
        let run = world.run(&["up", "--reservation", &id]).await;
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(said), "{said:?} is missing in {}", run.stderr);
        assert_eq!(
            (world.alive(), world.reservations()),
            (if code == 0 { 3 } else { 0 }, vec!["active".to_owned()])
        );
    }
    let world = world(&[], &["reservation", "spot"]);
    let run = world.run(&["up", "--reservation", "cr-00000000000000000"]).await;
    assert_eq!((run.code, world.launched().len()), (1, 0), "{}", run.stderr);
    assert!(run.stderr.contains("InvalidCapacityReservationId.NotFound"), "{}", run.stderr);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_tried_pool_by_pool() {
    let text = config(&["reservation"]).replace("[\"t2.micro\"]", "[\"t3.micro\", \"t2.micro\"]");
    let world = World::with_config(today(&[("t3.micro/*", 2)]), &text);
    let found = block(&world.run(&["up", "--output", "json"]).await);
    assert!(
        found["instances"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|it| it["instance_type"] == "t2.micro")
    );
    assert_eq!(found["refused"][0]["codes"][0], "InsufficientInstanceCapacity");
    assert_eq!(world.reservations(), ["active"]);
}

/// Catches: capacity that stays reserved, and paid for, after its attempt was refused.
#[tokio::test(start_paused = true)]
async fn each_refusal_leads_on_and_leaves_no_reservation() {
    for (operation, code, reserved) in [
        ("CreateCapacityReservation", "InsufficientInstanceCapacity", 0),
        ("CreateCapacityReservation", "InstanceLimitExceeded", 0),
        ("CreateCapacityReservation", "VcpuLimitExceeded", 0),
        ("CreateCapacityReservation", "Unsupported", 0),
        ("RunInstances", "ReservationCapacityExceeded", 1),
        ("RunInstances", "InsufficientInstanceCapacity", 1),
        ("RunInstances", "VcpuLimitExceeded", 1),
    ] {
        let world = world(&[], &["reservation", "spot"]);
        failing(&world, operation, code, 1);
        let run = world.run(&["up", "--output", "json"]).await;
        let found = block(&run);
        assert_eq!(sources_of(&found), ["spot"; 3], "{operation} {code}");
        assert_eq!(found["refused"][0]["codes"][0], code, "{operation}: {}", run.stderr);
        assert_eq!(world.reservations(), vec!["cancelled"; reserved], "{operation} {code}");
    }
    let world = World::with_config(
        Options { on_demand_vcpus: Some(2), ..today(&[]) },
        &config(&["reservation"]),
    );
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("InstanceLimitExceeded"), "{}", run.stderr);
}

/// Catches: a mistake that leads on, or leaves what was reserved for it.
#[tokio::test(start_paused = true)]
async fn a_wrong_launch_ends_the_block_and_its_reservation() {
    let world = world(&[], &["reservation", "spot"]);
    failing(&world, "RunInstances", "InvalidKeyPair.NotFound", 1);
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!((world.launched().len(), world.reservations()), (0, vec!["cancelled".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn when_none_joins_the_reservation_goes_with_the_instances() {
    let world = world(&[], &["reservation"]);
    world.break_instances(3);
    let run = world.run(&["up", "--timeout", "2m"]).await;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert_eq!((world.alive(), world.reservations()), (0, vec!["cancelled".to_owned()]));
}

/// Catches: a second reservation, or a second launch, by the run that comes after a crash.
#[tokio::test(start_paused = true)]
async fn reserved_and_launched_once_wherever_it_was_killed() {
    let wanted =
        at_every_call(async || prepared(&["reservation"]).await, &["request"], BOTH, 15).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 2), "one reservation, and one launch");
}

/// Catches: a reservation left by a run that died between the refusal of its launch and its
/// cancellation.
#[tokio::test(start_paused = true)]
async fn a_refused_launch_leaves_no_reservation_wherever_it_was_killed() {
    let prepare = async || {
        let world = prepared(&["reservation", "spot"]).await;
        failing(&world, "RunInstances", "ReservationCapacityExceeded", 100);
        world
    };
    let wanted = at_every_call(prepare, &["request"], AFTER, 18).await;
    assert_eq!(wanted.code, 0);
}

/// The same where it was the last attempt. Killed after its last call, the next run begins another
/// block.
#[tokio::test(start_paused = true)]
async fn a_refused_block_leaves_no_reservation_wherever_it_was_killed() {
    let prepare = async || {
        let world = prepared(&["reservation"]).await;
        failing(&world, "RunInstances", "ReservationCapacityExceeded", 100);
        world
    };
    let calls = super::killed::undisturbed(&prepare().await, &["request"]).await.calls;
    for kill in harness::points(calls).map(super::Kill::After) {
        let world = prepare().await;
        assert!(world.run_until(&["request"], Some(kill)).await.is_none(), "{kill:?}");
        let run = world.run(&["request"]).await;
        assert_eq!(run.code, 3, "{kill:?}: {}", run.stderr);
        let states = world.reservations();
        assert!(states.iter().all(|it| it == "cancelled"), "{kill:?}: {states:?}: {}", run.stderr);
        assert!(!states.is_empty() && states.len() <= 2, "{kill:?}: {states:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whichever_answer_is_lost_it_reserves_and_launches_once() {
    let prepare = async || prepared(&["reservation"]).await;
    let operations = whichever_answer_is_lost(prepare, &["request"]).await;
    assert!(
        operations.contains("RunInstances") && operations.contains("CreateCapacityReservation")
    );
}

#[tokio::test(start_paused = true)]
async fn down_leaves_no_reservation_wherever_it_was_killed() {
    let prepare = async || after(world(&[], &["reservation"]), &["up"], 0).await;
    let wanted = at_every_call(prepare, &["down"], BOTH, 10).await;
    assert_eq!(wanted.code, 0);
}

/// Catches: what a killed `up` reserved, and `down` didn't find.
#[tokio::test(start_paused = true)]
async fn whatever_a_killed_up_reserved_down_cancels() {
    let calls =
        super::killed::undisturbed(&prepared(&["reservation"]).await, &["request"]).await.calls;
    for nth in harness::points(calls) {
        let world = prepared(&["reservation"]).await;
        let _ = world.run_until(&["request"], Some(super::Kill::After(nth))).await;
        let down = world.run(&["down"]).await;
        assert_eq!((down.code, world.alive()), (0, 0), "{nth}: {}", down.stderr);
        assert!(world.reservations().iter().all(|it| it == "cancelled"), "{nth}: {}", down.stderr);
    }
}

/// Catches: a reservation in use cancelled, one that holds nothing kept, and a foreign one touched.
#[tokio::test(start_paused = true)]
async fn reap_cancels_a_reservation_in_which_nothing_runs_any_more() {
    let world = world(&[], &["reservation"]);
    assert_eq!(world.run(&["up"]).await.code, 0);
    let copied = [(tag::BLOCK, block_id(&world)), (tag::ENVIRONMENT, "spot-block".to_owned())];
    let copied = copied.each_ref().map(|(key, value)| (*key, value.as_str()));
    by_hand(&world, "t2.micro", 1, &copied).await;
    by_hand(&world, "t2.micro", 1, &[("Name", "spotblock")]).await;
    let reap = world.run(&["reap"]).await;
    assert_eq!(reap.code, 0, "{}", reap.stderr);
    assert!(
        reap.stdout.contains("spared: capacity reservation") && reap.stdout.contains("is up"),
        "{}",
        reap.stdout
    );
    for id in world.launched() {
        world.by_hand("ec2", &format!("Action=TerminateInstances&InstanceId.1={id}"));
    }
    world.pass(Duration::from_secs(60)).await;
    let dry = world.run(&["reap", "--dry-run"]).await;
    assert!(dry.stdout.contains("would end: capacity reservation"), "{}", dry.stdout);
    let reap = world.run(&["reap"]).await;
    assert!(reap.stdout.contains("ended: capacity reservation"), "{}", reap.stdout);
    assert_eq!(world.reservations(), ["cancelled", "active", "active"]);
    assert_eq!(world.run(&["down"]).await.code, 0);
    assert_eq!(
        world.reservations(),
        ["cancelled", "active", "active"],
        "neither of the look-alikes was touched"
    );
}

/// Catches: a reservation that outlives everything because its record is gone and nobody runs
/// anything.
#[tokio::test(start_paused = true)]
async fn behind_everything_stands_the_end_date_and_reap_needs_no_record() {
    let forgotten = world(&[], &["reservation"]);
    assert_eq!(forgotten.run(&["up"]).await.code, 0);
    forgotten.pass(Duration::from_secs(2 * 3600)).await;
    assert_eq!(forgotten.reservations(), ["expired"]);
    let lost = world(&[], &["reservation"]);
    let tags = [(tag::BLOCK, "sb-0123456789"), (tag::ENVIRONMENT, "spot-block-test")];
    by_hand(&lost, "t2.micro", 1, &tags).await;
    let young = lost.run(&["reap"]).await;
    assert!(young.stdout.contains("spared: capacity reservation"), "{}", young.stdout);
    lost.pass(Duration::from_secs(11 * 60)).await;
    assert_eq!(lost.run(&["reap"]).await.code, 0);
    assert_eq!(lost.reservations(), ["cancelled"]);
}
