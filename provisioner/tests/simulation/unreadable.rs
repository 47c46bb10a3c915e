//! Each read of what ends blocks, denied or failing in turn: what all the others show is ended,
//! what may be left keeps what is to end it, nothing foreign is touched, and the run fails and says
//! so.

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Cloud, Fault, Options, ec2};
use node_contract::names::tag;

use super::denied::{deny, operations};
use super::fallback::{config, today};
use super::foreign::{self, INSTANCE};
use super::{Run, World};

/// What there was before.
struct Before {
    ours: Vec<String>,
    foreign: Vec<String>,
    tags: std::collections::BTreeMap<String, std::collections::BTreeMap<String, String>>,
}

/// A block of this source, and look-alikes: instances of a spot request and of none that carry both
/// of its marks, a reservation and an open request that carry one. With a fleet there is a job,
/// too.
async fn prepared(source: &str) -> (World, Before) {
    let options =
        Options { spot_block: localcloud_core::protocol::options::SpotBlock::Grant, ..today(&[]) };
    let world = World::with_config(options, &config(&[source]));
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    if source == "on-demand" {
        assert_eq!(world.run(&["submit", "-j", "hello-world"]).await.code, 0);
    }
    let up = world.run(&["up"]).await;
    assert_eq!(up.code, 0, "{}", up.stderr);
    let ours = world.launched();
    let block = foreign::value_of(&world, tag::BLOCK);
    let both = [(tag::ENVIRONMENT, "spot-block-test"), (tag::BLOCK, block.as_str())];
    let of_request = foreign::launched(&world, &both).await;
    world.by_hand(
        "ec2",
        &format!(
            "Action=RunInstances&MinCount=1&MaxCount=1&{}",
            INSTANCE.replace("LaunchSpecification.", "")
        ),
    );
    let of_none = world.launched().pop().expect("an instance");
    foreign::tag(&world, &of_none, &both);
    super::reservation::by_hand(&world, "t2.micro", 1, &both[..1]).await;
    world.cloud(|cloud| cloud.options.spot_price = Some(1.0));
    world.by_hand("ec2", &format!("Action=RequestSpotInstances&SpotPrice=0.01&{INSTANCE}"));
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    (world, Before { ours, foreign: vec![of_request, of_none], tags })
}

fn alive(world: &World, ids: &[String]) -> usize {
    world.cloud(|cloud| {
        ids.iter().filter_map(|id| ec2::instance(cloud, id)).filter(|it| it.alive()).count()
    })
}

fn failing(world: &World, operation: &str) {
    let effect =
        Effect::Fail { code: "InternalError".into(), status: 500, message: "try again".into() };
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault {
            service: None,
            operation,
            caller: None,
            skip: 0,
            count: u32::MAX,
            effect,
        });
    });
}

/// How many schedules of the block are left.
fn schedules(world: &World) -> usize {
    world.accepted("CreateSchedule").len() - world.accepted("DeleteSchedule").len()
}

/// What is left of a block of this source when this read of `down` fails: instances, reservations,
/// schedules, records.
fn left(source: &str, read: &str) -> [usize; 4] {
    let schedules = if source == "on-demand" { 1 } else { 3 };
    let reserved = usize::from(source == "reservation");
    match (read, source) {
        ("DescribeLaunchTemplates", _) => [0, 0, 0, 1],
        // Only its request says whose a spot block's instance is.
        ("DescribeSpotInstanceRequests", "spot-block") => [3, 0, schedules, 1],
        ("DescribeSpotInstanceRequests", _) => [0, 0, schedules, 1],
        // Its requests name a spot block's instances.
        ("DescribeInstances", "spot-block") => [0, 0, schedules, 1],
        ("DescribeInstances", _) => [3, 0, schedules, 1],
        ("DescribeCapacityReservations", _) => [0, reserved, 0, reserved],
        ("ListSchedules" | "GetScheduleGroup" | "ListTagsForResource", _) => [0, 0, schedules, 1],
        _ => [0; 4],
    }
}

fn fails_and_names_it(run: &Run, service: &str, read: &str, again: &str) {
    assert_eq!(run.code, 1, "{read}: {}", run.stderr);
    let named = [
        format!("error: {service}:{read} for "),
        "(request id ".into(),
        "There may be left: ".into(),
        again.into(),
    ];
    for part in named {
        assert!(run.stderr.contains(&part), "{read}: {part:?} is missing in {}", run.stderr);
    }
}

/// Each of `down`'s reads with its service.
async fn reads(source: &str) -> std::collections::BTreeMap<String, String> {
    let (world, _) = prepared(source).await;
    let since = world.calls();
    assert_eq!(world.run(&["down"]).await.code, 0);
    let mut reads = operations(&world, since);
    reads.retain(|name, _| {
        ["Describe", "List", "Get"].iter().any(|prefix| name.starts_with(prefix))
    });
    reads
}

/// One read of `down` doesn't work, as `breaking` has it.
async fn holds(source: &str, service: &str, read: &str, breaking: impl Fn(&World)) {
    let (world, before) = prepared(source).await;
    breaking(&world);
    let run = world.run(&["down"]).await;
    let told = format!("{source} {read}: {}", run.stderr);
    fails_and_names_it(&run, service, read, "then run `spotblock down` again");
    let records = 1 - world.accepted("DeleteLaunchTemplate").len();
    // One was made by hand.
    let reserved = world.accepted("CreateCapacityReservation").len() - 1;
    let reserved = reserved - world.accepted("CancelCapacityReservation").len();
    let found = [alive(&world, &before.ours), reserved, schedules(&world), records];
    assert_eq!(found, left(source, read), "{told}");
    if source == "spot-block" && read == "DescribeSpotInstanceRequests" {
        assert!(before.ours.iter().all(|id| run.stderr.contains(id)), "they are named: {told}");
    }
    world.cloud(Cloud::clear_faults);
    let again = world.run(&["down"]).await;
    assert_eq!(again.code, 0, "{told}\n{}", again.stderr);
    let left = [alive(&world, &before.ours), schedules(&world), alive(&world, &before.foreign)];
    assert_eq!(left, [0, 0, 2], "{told}\n{}", again.stderr);
    let status = world.run(&["status"]).await.stdout;
    assert!(status.contains("no block"), "{told}: {status}");
    untouched(&world, &before, &told);
}

async fn each_is_denied(source: &str, least: usize) {
    let reads = reads(source).await;
    assert!(reads.len() >= least, "{reads:?}");
    for (read, service) in harness::cases(&reads) {
        holds(source, service, read, |world| deny(world, service, read)).await;
    }
}

/// Catches: a read without permission which keeps all that it doesn't show alive as well; an
/// instance ended of which nobody could look whose it is; the schedules or the record of what may
/// be left deleted.
#[tokio::test(start_paused = true)]
async fn down_ends_what_it_can_see_of_a_spot_block_whichever_read_fails() {
    each_is_denied("spot-block", 10).await;
}

#[tokio::test(start_paused = true)]
async fn down_ends_what_it_can_see_of_a_fleet_whichever_read_fails() {
    each_is_denied("on-demand", 12).await;
}

#[tokio::test(start_paused = true)]
async fn down_ends_what_it_can_see_of_a_reservation_whichever_read_fails() {
    each_is_denied("reservation", 10).await;
}

/// Catches: the same where AWS doesn't deny a read but fails, again and again.
#[tokio::test(start_paused = true)]
async fn down_ends_what_it_can_see_where_a_read_keeps_failing() {
    for read in [
        "DescribeLaunchTemplates",
        "DescribeSpotInstanceRequests",
        "DescribeInstances",
        "DescribeCapacityReservations",
    ] {
        holds("reservation", "ec2", read, |world| failing(world, read)).await;
    }
}

/// The look-alikes have their tags, the foreign reservation and request their state.
fn untouched(world: &World, before: &Before, told: &str) {
    let tags = world.cloud(|cloud| ec2::all_tags(cloud).clone());
    for id in &before.foreign {
        assert_eq!(tags.get(id), before.tags.get(id), "{told}");
    }
    assert_eq!(world.reservations().iter().filter(|it| *it == "active").count(), 1, "{told}");
    let requests = world.by_hand("ec2", "Action=DescribeSpotInstanceRequests");
    assert!(requests.contains("<state>open</state>"), "{told}");
}

/// Catches: jobs that run on where one of the reads that have nothing to do with them is denied.
#[tokio::test(start_paused = true)]
async fn drain_drains_what_it_can_see_whichever_read_fails() {
    for (service, read, draining) in [
        ("ec2", "DescribeLaunchTemplates", 3),
        ("ec2", "DescribeSpotInstanceRequests", 3),
        ("ec2", "DescribeCapacityReservations", 3),
        ("ec2", "DescribeInstances", 0),
        ("batch", "DescribeComputeEnvironments", 0),
        ("ecs", "ListContainerInstances", 0),
        ("ecs", "DescribeContainerInstances", 0),
        ("ecs", "ListTasks", 3),
        ("ecs", "DescribeTasks", 3),
    ] {
        // Only where there is a job is anything asked of its tasks.
        let (world, before) =
            prepared(if read == "DescribeTasks" { "on-demand" } else { "reservation" }).await;
        deny(&world, service, read);
        let run = world.run(&["drain", "--limit", "1m"]).await;
        fails_and_names_it(&run, service, read, "then run `spotblock drain` again");
        world.cloud(Cloud::clear_faults);
        let status = world.run(&["status", "--output", "json"]).await.stdout;
        assert_eq!(
            status.matches("\"DRAINING\"").count(),
            draining,
            "{read}: {}\n{status}",
            run.stderr
        );
        assert_eq!(alive(&world, &before.ours), 3, "{read}");
    }
}

/// A block of a source whose instances nobody else ends.
async fn unended() -> World {
    let text =
        config(&["reservation"]).replace("[environment]\n", "[environment]\nschedules = false\n");
    let world = World::with_config(today(&[]), &text);
    let up = world.run(&["up"]).await;
    assert_eq!(up.code, 0, "{}", up.stderr);
    world
}

const READS_OF_REAP: [(&str, [usize; 3]); 4] = [
    // When a block ends only its record says.
    ("DescribeLaunchTemplates", [3, 1, 1]),
    ("DescribeSpotInstanceRequests", [0, 0, 1]),
    ("DescribeInstances", [3, 1, 1]),
    ("DescribeCapacityReservations", [0, 1, 1]),
];

fn left_by_reap(world: &World) -> [usize; 3] {
    let reserved = 1 - world.accepted("CancelCapacityReservation").len();
    [world.alive(), reserved, 1 - world.accepted("DeleteLaunchTemplate").len()]
}

/// Catches: what has outlived its block kept alive by a read that fails, or ended by its age though
/// its record is there.
#[tokio::test(start_paused = true)]
async fn reap_ends_what_it_can_see_to_be_over_whichever_read_fails() {
    for (read, left) in READS_OF_REAP {
        let world = unended().await;
        world.pass(std::time::Duration::from_secs(75 * 60)).await;
        deny(&world, "ec2", read);
        let run = world.run(&["reap", "--older-than", "1h"]).await;
        fails_and_names_it(&run, "ec2", read, "then run `spotblock reap` again");
        assert_eq!(left_by_reap(&world), left, "{read}: {}{}", run.stdout, run.stderr);
        world.cloud(Cloud::clear_faults);
        for _ in 0..2 {
            let again = world.run(&["reap"]).await;
            assert_eq!(again.code, 0, "{read}: {}", again.stderr);
            world.pass(std::time::Duration::from_secs(10 * 60)).await;
        }
        assert_eq!(left_by_reap(&world), [0; 3], "{read}");
    }
}

/// Catches: a block that goes on, ended because one cannot see that it does.
#[tokio::test(start_paused = true)]
async fn reap_ends_nothing_that_may_go_on_whichever_read_fails() {
    for (read, _) in READS_OF_REAP {
        let world = unended().await;
        world.pass(std::time::Duration::from_secs(20 * 60)).await;
        deny(&world, "ec2", read);
        let since = world.calls();
        let run = world.run(&["reap", "--older-than", "1m"]).await;
        fails_and_names_it(&run, "ec2", read, "then run `spotblock reap` again");
        assert_eq!(world.changing(since), Vec::<String>::new(), "{read}: {}", run.stdout);
        assert_eq!(left_by_reap(&world), [3, 1, 1], "{read}");
    }
}

/// Catches: `reap --all` that ends nothing anywhere because one of its reads is denied.
#[tokio::test(start_paused = true)]
async fn reap_of_all_goes_on_with_the_environments_that_it_can_see() {
    let world = unended().await;
    world.pass(std::time::Duration::from_secs(100 * 60)).await;
    deny(&world, "ec2", "DescribeSpotInstanceRequests");
    let run = world.run(&["reap", "--all", "--region", "us-east-1"]).await;
    fails_and_names_it(
        &run,
        "ec2",
        "DescribeSpotInstanceRequests",
        "then run `spotblock reap` again",
    );
    assert_eq!(world.alive(), 0, "{}", run.stderr);
}
