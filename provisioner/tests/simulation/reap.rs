//! The last line of defence: what has outlived its block is ended, and nothing else.

use std::time::Duration;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options, ec2};
use node_contract::names::tag;
use serde_json::Value;

use super::World;

const LAUNCH: &str = "LaunchSpecification.ImageId=ami-a7a242da&LaunchSpecification.InstanceType=t2.micro&LaunchSpecification.SubnetId=subnet-c8d30ae4&LaunchSpecification.SecurityGroupId.1=sg-55964223";

async fn minutes(world: &World, minutes: u64) {
    world.pass(Duration::from_secs(minutes * 60)).await;
}

/// An instance of a spot request with these tags, that AWS doesn't end at the block's end.
async fn lasting(world: &World, environment: &str, block: &str) -> String {
    let tags = [(tag::ENVIRONMENT, environment), (tag::BLOCK, block), ("spotblock:attempt", "1")];
    let tag = |(n, (key, value)): (usize, &(&str, &str))| {
        format!(
            "&TagSpecification.1.Tag.{}.Key={key}&TagSpecification.1.Tag.{}.Value={value}",
            n + 1,
            n + 1
        )
    };
    let tags: String = tags.iter().enumerate().map(tag).collect();
    let kind = "TagSpecification.1.ResourceType=spot-instances-request";
    world.by_hand(
        "ec2",
        &format!("Action=RequestSpotInstances&SpotPrice=0.03&{LAUNCH}&{kind}{tags}"),
    );
    world.pass(Duration::from_secs(5)).await;
    world.launched().pop().expect("an instance")
}

fn block(world: &World) -> String {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    tags.values().find_map(|tags| tags.get(tag::BLOCK)).expect("a block").clone()
}

fn alive(world: &World, id: &str) -> bool {
    world.cloud(|cloud| ec2::instance(cloud, id).expect("it is there").alive())
}

/// A block, one more instance of it that nothing ends, and a look-alike.
async fn outlived() -> (World, String, String) {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let ours = lasting(&world, "spot-block-test", &block(&world)).await;
    world.by_hand("ec2", &format!("Action=RequestSpotInstances&SpotPrice=0.03&{LAUNCH}"));
    world.pass(Duration::from_secs(5)).await;
    let foreign = world.launched().pop().expect("an instance");
    let copied = format!("Tag.1.Key={}&Tag.1.Value=spot-block-test", tag::ENVIRONMENT);
    world.by_hand("ec2", &format!("Action=CreateTags&ResourceId.1={foreign}&{copied}"));
    (world, ours, foreign)
}

async fn reap(world: &World, more: &[&str]) -> (u8, Value) {
    let run = world.run(&[&["reap", "--output", "json"], more].concat()).await;
    let items = serde_json::from_str(&run.stdout)
        .unwrap_or_else(|_| panic!("{} {}", run.stdout, run.stderr));
    (run.code, items)
}

/// The verdict on a thing, and why.
fn verdict<'a>(items: &'a Value, id: &str) -> (&'a str, &'a str) {
    let item = items.as_array().expect("a list").iter().find(|it| it["id"] == id);
    let item = item.unwrap_or_else(|| panic!("no {id} in {items}"));
    (item["verdict"].as_str().expect("one"), item["why"].as_str().expect("a reason"))
}

/// Catches: a block that goes on ended, a foreign instance ended, a dry run that ends something.
#[tokio::test(start_paused = true)]
async fn what_has_outlived_its_block_is_ended_and_of_the_rest_it_is_said_why_not() {
    let (world, ours, foreign) = outlived().await;
    let (code, items) = reap(&world, &[]).await;
    assert_eq!(code, 0);
    assert_eq!(verdict(&items, &ours).0, "spared");
    assert!(verdict(&items, &ours).1.contains("goes on until"), "{items}");
    assert!(verdict(&items, &foreign).1.contains("was not brought by spotblock"), "{items}");
    minutes(&world, 65).await;
    let (_, items) = reap(&world, &[]).await;
    assert!(verdict(&items, &ours).1.contains("its timer and its schedule have until"), "{items}");
    minutes(&world, 7).await;
    let before = world.calls();
    let (_, items) = reap(&world, &["--dry-run"]).await;
    assert_eq!(verdict(&items, &ours).0, "would-end", "{items}");
    assert_eq!(world.changing(before), Vec::<String>::new());
    let (code, items) = reap(&world, &[]).await;
    assert_eq!((code, verdict(&items, &ours).0), (0, "ended"), "{items}");
    assert_eq!(
        verdict(&items, "spotblock-spot-block-test-1").0,
        "spared",
        "its record goes last: {items}"
    );
    minutes(&world, 10).await;
    let (_, items) = reap(&world, &[]).await;
    assert_eq!(verdict(&items, "spotblock-spot-block-test-1").0, "ended", "{items}");
    assert!(!alive(&world, &ours) && alive(&world, &foreign));
    let (_, items) = reap(&world, &[]).await;
    assert_eq!(
        items.as_array().map(Vec::len),
        Some(1),
        "the foreign one is all that is left: {items}"
    );
}

/// Catches: one thing that AWS refuses to end, which keeps all others alive.
#[tokio::test(start_paused = true)]
async fn one_that_can_not_be_ended_does_not_stop_the_rest() {
    let (world, ours, _) = outlived().await;
    let second = lasting(&world, "spot-block-test", &block(&world)).await;
    minutes(&world, 75).await;
    let effect =
        Effect::Fail { code: "UnauthorizedOperation".into(), status: 403, message: "no".into() };
    let operation = Some("TerminateInstances".to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault {
            service: None,
            operation,
            caller: None,
            skip: 0,
            count: 1,
            effect,
        });
    });
    let (code, items) = reap(&world, &[]).await;
    assert_eq!(code, 1);
    let verdicts = [verdict(&items, &ours).0, verdict(&items, &second).0];
    assert!(verdicts.contains(&"failed") && verdicts.contains(&"ended"), "{items}");
    let (code, _) = reap(&world, &[]).await;
    assert_eq!(code, 0, "run again, it ends what is left");
    assert!(!alive(&world, &ours) && !alive(&world, &second));
}

/// Catches: an instance whose record is gone kept for ever, or ended although nothing says that its
/// block is over.
#[tokio::test(start_paused = true)]
async fn what_has_no_record_is_ended_only_by_its_age_and_only_when_asked() {
    let world = World::new(Options::default());
    let lost = lasting(&world, "forgotten", "sb-0123456789").await;
    minutes(&world, 120).await;
    let (_, items) = reap(&world, &["--all", "--region", "us-east-1"]).await;
    assert!(verdict(&items, &lost).1.contains("--older-than ends it"), "{items}");
    let (_, items) = reap(
        &world,
        &["--environment", "forgotten", "--older-than", "3h", "--region", "us-east-1"],
    )
    .await;
    assert_eq!(verdict(&items, &lost).0, "spared", "{items}");
    assert!(alive(&world, &lost));
    let (_, items) = reap(&world, &["--all", "--older-than", "1h", "--region", "us-east-1"]).await;
    assert_eq!(verdict(&items, &lost).0, "ended", "{items}");
    assert!(!alive(&world, &lost));
}
