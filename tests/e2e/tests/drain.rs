//! Ending a block with a job on it.

use localcloud_core::journal::record::What;

use crate::world::{World, accepted, any_gone, job_is};

async fn with_a_job(seconds: u32) -> World {
    let world = World::new("one-node.toml", &["--block-ends-in", "300s"]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("held", seconds, &[]).await;
    world.until("the job runs", |events| job_is(events, "held", "RUNNING")).await;
    world
}

/// Catches: an instance ended under its job, of which Batch learns a quarter of an hour later.
#[tokio::test]
async fn down_stops_a_job_with_a_reason_that_its_retry_rule_knows() {
    let world = with_a_job(200).await;
    let down = world.spotblock(&["down"]).await.success().expect("down");
    assert!(down.stderr.contains("stopping 1 jobs"), "{}", down.stderr);
    world.until("the instance's end", any_gone).await;
    let waits = |events: &[localcloud_core::Event]| {
        let held =
            e2e::lives::jobs(events).into_values().find(|job| job.name == "held").expect("the job");
        held.status == "RUNNABLE"
            && held.attempts[0]
                .reason
                .as_deref()
                .is_some_and(|it| it.starts_with("Host EC2 (instance i-"))
    };
    world.until("it waits again, for the reason that was given", waits).await;
    let calls = world.calls().await;
    let order: Vec<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
    let at =
        |name: &str| order.iter().position(|it| *it == name).unwrap_or_else(|| panic!("no {name}"));
    assert!(
        at("UpdateContainerInstancesState") < at("StopTask")
            && at("StopTask") < at("TerminateInstances")
    );
    world.cloud.stop().await.expect("it ends");
}

/// Catches: a limit that is not waited for, and an instance that stays when its job has ended.
#[tokio::test]
async fn drain_lets_a_job_finish_and_the_agent_leave() {
    let world = with_a_job(8).await;
    let drain =
        world.spotblock(&["drain", "--wait", "--output", "json"]).await.success().expect("drain");
    let drained = drain.json().expect("JSON");
    assert_eq!(drained["stopped"], 0, "{drained}");
    assert_eq!(drained["draining"][0], world.instance().await.as_str());
    let events = world.until("the instance's end", any_gone).await;
    assert!(job_is(&events, "held", "SUCCEEDED"));
    let by_itself = |what: &What| matches!(what, What::Gone { how, .. } if how == "power-off");
    assert!(events.iter().any(|event| by_itself(&event.what)), "the agent left");
    assert_eq!(accepted(&world.calls().await, "TerminateInstances").len(), 0);
    world.cloud.stop().await.expect("it ends");
}
