//! A whole life on each source that AWS sells today, after it refused the spot block.

use e2e::lives::Terms;
use e2e::promises;
use jiff::SignedDuration;

use crate::world::{World, any_gone, job_is};

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

async fn life(source: &str) {
    let world = World::new("one-node.toml", &["--spot-block", "refuse", "--block-ends-in", "45s"]).await;
    let up = ["up", "--source", "spot-block", "--source", source, "--output", "json"];
    let run = world.spotblock(&up).await.success().expect("up");
    assert!(run.stderr.contains("spot-block refused t2.micro"), "{}", run.stderr);
    let result: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(result["block"]["instances"][0]["source"], source, "{result}");
    world.submit("hello", 5, &[]).await;
    world.until("the job's success", |events| job_is(events, "hello", "SUCCEEDED")).await;
    let events = world.until("the instance's end", any_gone).await;
    for verdict in promises::verdicts(&world.calls().await, &events, &TERMS, 1) {
        assert!(verdict.broken.is_empty(), "{}: {:?}", verdict.promise, verdict.broken);
    }
    world.spotblock(&["down", "--all"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}

/// Catches: an instance that its agent doesn't end, where AWS ends none.
#[tokio::test]
async fn a_block_of_spot_instances_keeps_every_promise() {
    life("spot").await;
}

#[tokio::test]
async fn a_block_of_on_demand_instances_keeps_every_promise() {
    life("on-demand").await;
}
