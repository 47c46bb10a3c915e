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
    let world =
        World::new("one-node.toml", &["--spot-block", "refuse", "--block-ends-in", "45s"]).await;
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
    let calls = world.calls().await;
    let accepted = |operation: &str| {
        calls.iter().filter(|call| call.operation == operation && call.error.is_none()).count()
    };
    let (made, cancelled) =
        (accepted("CreateCapacityReservation"), accepted("CancelCapacityReservation"));
    assert_eq!((made, cancelled), if source == "reservation" { (1, 1) } else { (0, 0) });
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

/// Catches: an agent that counts from its launch, where the capacity block began long before; a
/// second purchase.
#[tokio::test]
async fn a_capacity_block_is_bought_and_left_before_aws_takes_it_back() {
    let world = World::new("one-node.toml", &["--block-ends-in", "60s"]).await;
    let place =
        ["--subnet", "subnet-1b6e40a1", "--zone", "us-east-1a", "--instance-type", "p5.4xlarge"];
    let what = ["--source", "capacity-block", "--duration", "24h", "--output", "json"];
    let without =
        world.spotblock(&[&["up", "--max-cost", "500"][..], &place, &what].concat()).await;
    assert_eq!(without.code, 3, "{}", without.stderr);
    let up = [&["up", "--max-cost", "500", "--yes-purchase"][..], &place, &what].concat();
    let run = world.spotblock(&up).await.success().expect("up");
    let result: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(result["block"]["instances"][0]["source"], "capacity-block", "{result}");
    world.submit("hello", 5, &[]).await;
    world.until("the job's success", |events| job_is(events, "hello", "SUCCEEDED")).await;
    let events = world.until("the instance's end", any_gone).await;
    let calls = world.calls().await;
    // The end is what the cloud promised, and not what spotblock made of it.
    let duration = SignedDuration::from_hours(24);
    for verdict in promises::verdicts(&calls, &events, &Terms { duration, ..TERMS }, 1) {
        assert!(verdict.broken.is_empty(), "{}: {:?}", verdict.promise, verdict.broken);
    }
    world.spotblock(&["down", "--all"]).await.success().expect("down");
    world.cloud.stop().await.expect("it ends");
}

/// Catches: an instance that AWS would keep running on demand when its reservation is over, and a
/// reservation left behind.
#[tokio::test]
async fn a_block_in_a_capacity_reservation_keeps_every_promise() {
    life("reservation").await;
}
