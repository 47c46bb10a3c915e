//! Jobs that ECS placed just before an instance's DRAINING, and that reach its host after it.

use e2e::lives::{self, Terms};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::world::World;

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

/// How long before the drain the jobs are submitted, and how long their tasks are on their way to
/// the hosts.
const BEFORE: SignedDuration = SignedDuration::from_millis(2_500);
const ON_THEIR_WAY: u64 = 4_500;

/// Catches: an agent that leaves at its drain because the host shows no task, while ECS has just
/// placed one there: the job would be lost, or run twice.
#[tokio::test]
async fn a_job_placed_across_the_draining_is_waited_for_or_stopped() {
    let world = World::new("one-node.toml", &["--block-ends-in", "45s"]).await;
    let fleet = Fleet::start(world, &[("one", Value::Null), ("other", Value::Null)], 0).await;
    let events = fleet.world.until("two instances", |_| true).await;
    let nodes = lives::nodes(&fleet.world.calls().await, &events, &TERMS);
    let drain = nodes.iter().map(|node| node.drain_at(&TERMS)).min().expect("an instance");

    sleep_until(drain - BEFORE).await;
    fleet.world.cloud.set(&json!({"pace": {"delivery-ms": ON_THEIR_WAY}})).await.expect("the pace");
    let short =
        ["submit", "--job-definition", "hello-world", "--name", "short", "--", "sleep", "1"];
    fleet.world.spotblock(&short).await.success().expect("taken");
    fleet.submit("long", 1).await;
    let draining =
        |events: &[_]| lives::nodes(&[], events, &TERMS).iter().all(|node| node.draining.is_some());
    fleet.world.until("both drain", draining).await;
    fleet.world.cloud.set(&json!({"pace": {"delivery-ms": 200}})).await.expect("the pace");

    let events = fleet.end().await;
    fleet.kept_its_promises(&events, &TERMS, &[]).await;
    let nodes = lives::nodes(&fleet.world.calls().await, &events, &TERMS);
    let jobs = lives::jobs(&events);
    for (name, exit) in [("short", 0), ("long", 42)] {
        let job = jobs.values().find(|job| job.name == name).expect("the job");
        let [attempt] = job.attempts.as_slice() else {
            panic!("{name} did not start once: {job:?}")
        };
        let node =
            nodes.iter().find(|node| node.instance == attempt.instance).expect("its instance");
        assert!(
            node.draining.expect("it drained") < attempt.started,
            "{name} did not come across: {job:?} {node:?}"
        );
        assert_eq!(attempt.exit_code, Some(exit), "{job:?}");
    }
    fleet.world.cloud.stop().await.expect("it ends");
}

async fn sleep_until(moment: Timestamp) {
    let left = localcloud::clock::now().duration_until(moment);
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
}
