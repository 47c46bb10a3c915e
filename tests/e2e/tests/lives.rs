//! Lives that don't go as planned.

use std::time::Duration;

use e2e::lives::{self, Job, Terms};
use e2e::promises;
use jiff::SignedDuration;
use localcloud_core::Event;
use localcloud_core::journal::record::What;
use serde_json::json;

use crate::world::{World, any_gone, job_is};

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

fn job(events: &[Event], name: &str) -> Job {
    lives::jobs(events).into_values().find(|job| job.name == name).expect("the job was seen")
}

async fn one_node(block_ends_in: &str) -> World {
    let world = World::new("one-node.toml", &["--block-ends-in", block_ends_in]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world
}

/// What has to be true of every instance, whatever happened to its jobs.
async fn instance_kept_its_promises(world: &World) {
    let calls = world.calls().await;
    let events = world.cloud.events().await.expect("the events");
    for verdict in promises::verdicts(&calls, &events, &TERMS, 1) {
        if !verdict.promise.contains("job SUCCEEDED") {
            assert!(verdict.broken.is_empty(), "{}: {:?}", verdict.promise, verdict.broken);
        }
    }
}

/// Catches: an agent that reads the notice but drains by its old schedule, and one that leaves
/// before ECS knows.
#[tokio::test]
async fn a_notice_drains_and_stops_at_once_and_the_job_goes_back_into_the_queue() {
    let world = one_node("300s").await;
    world.submit("interrupted", 200, &[]).await;
    world.until("the job runs", |events| job_is(events, "interrupted", "RUNNING")).await;
    let instance = world.instance().await;
    world
        .cloud
        .post(&format!("nodes/{instance}/interrupt"), &json!({"in-secs": 120}))
        .await
        .expect("a notice");
    let events = world.until("the instance's end", any_gone).await;

    let noticed = events
        .iter()
        .find(|e| matches!(e.what, What::InterruptionNotice { .. }))
        .expect("a notice")
        .at;
    let node = &lives::nodes(&world.calls().await, &events, &TERMS)[0];
    let drained = node.drained.expect("it asked for DRAINING");
    assert!(
        noticed.duration_until(drained) < SignedDuration::from_millis(2500),
        "{noticed} {drained}"
    );
    let (gone, how) = node.gone.clone().expect("it is gone");
    assert_eq!(how, "power-off", "it left by itself, before AWS took it");
    assert!(noticed.duration_until(gone) < SignedDuration::from_secs(100));
    let first = &job(&events, "interrupted").attempts[0];
    assert!(
        first.reason.as_deref().is_some_and(|r| r.starts_with("Host EC2 (instance i-")),
        "{first:?}"
    );
    world.until("it waits again", |e| job(e, "interrupted").status == "RUNNABLE").await;
    instance_kept_its_promises(&world).await;
    world.cloud.stop().await.expect("it ends");
}

/// Catches: an agent that takes tasks down with itself, and one that forgets its place over a
/// restart.
#[tokio::test]
async fn an_agent_that_is_stopped_or_killed_leaves_tasks_alone_and_finds_its_place_again() {
    let world = one_node("40s").await;
    world.submit("undisturbed", 12, &[]).await;
    world.until("the job runs", |events| job_is(events, "undisturbed", "RUNNING")).await;
    let instance = world.instance().await;
    world.control(&instance, "stop-agent").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.control(&instance, "kill-agent").await;
    world.until("the job's success", |events| job_is(events, "undisturbed", "SUCCEEDED")).await;

    // Killed again in the middle of the drain, with a job that has to be stopped.
    world.submit("stopped", 60, &[]).await;
    world
        .until("DRAINING", |events| {
            events
                .iter()
                .any(|e| matches!(&e.what, What::ContainerInstanceStatus { status, .. } if status == "DRAINING"))
        })
        .await;
    world.control(&instance, "kill-agent").await;
    let events = world.until("the instance's end", any_gone).await;
    assert_eq!(job(&events, "undisturbed").attempts.len(), 1);
    let stopped = &job(&events, "stopped").attempts[0];
    assert!(
        stopped.reason.as_deref().is_some_and(|r| r.starts_with("Host EC2 (instance i-")),
        "{stopped:?}"
    );
    instance_kept_its_promises(&world).await;
    world.cloud.stop().await.expect("it ends");
}

/// Catches: a stop lead that leaves no time for SIGKILL and the report, so that ECS never learns of
/// the end.
#[tokio::test]
async fn a_job_that_ignores_sigterm_is_killed_in_time_and_retried() {
    let world = one_node("35s").await;
    world.submit("stubborn", 100, &["LOCALCLOUD_ON_TERM=ignore"]).await;
    let events = world.until("the instance's end", any_gone).await;
    let stubborn = job(&events, "stubborn");
    assert_eq!(stubborn.attempts[0].exit_code, Some(137), "{stubborn:?}");
    world.until("it waits again", |e| job(e, "stubborn").status == "RUNNABLE").await;
    instance_kept_its_promises(&world).await;
    world.cloud.stop().await.expect("it ends");
}

/// A job that writes its checkpoint and exits with 0 counts as done, so it isn't run again; `[A]`:
/// only a real account can tell.
#[tokio::test]
async fn a_job_that_finishes_on_sigterm_counts_as_done() {
    let world = one_node("35s").await;
    world.submit("finisher", 100, &["LOCALCLOUD_ON_TERM=exit:0"]).await;
    let events = world.until("the instance's end", any_gone).await;
    let finisher = job(&events, "finisher");
    assert_eq!(
        (finisher.status.as_str(), finisher.attempts.len()),
        ("SUCCEEDED", 1),
        "{finisher:?}"
    );
    instance_kept_its_promises(&world).await;
    world.cloud.stop().await.expect("it ends");
}

/// Catches: a role that lacks `ecs:StopTask`, under which jobs are cut off without a warning, or
/// lost.
#[tokio::test]
async fn jobs_that_ecs_takes_no_stop_for_are_stopped_on_the_host_and_retried() {
    let world = one_node("40s").await;
    let denied = json!({"fail": {"code": "AccessDeniedException", "status": 400, "message": "not \
        authorized"}});
    let fault = json!({"service": "ecs", "operation": "StopTask", "caller": "instance", "count": 999, "effect": denied});
    world.cloud.post("faults", &fault).await.expect("a fault");
    world.submit("unheard", 100, &["LOCALCLOUD_ON_TERM=exit:42"]).await;
    let events = world.until("the instance's end", any_gone).await;
    let ended = events.iter().find_map(|event| match &event.what {
        What::Process { change, exit_code, .. } if change == "ended" => Some(*exit_code),
        _ => None,
    });
    assert_eq!(ended, Some(Some(42)), "it got SIGTERM and had time for its checkpoint");
    let events = world.until("it waits again", |e| job(e, "unheard").status == "RUNNABLE").await;
    let first = &job(&events, "unheard").attempts[0];
    assert!(
        first.reason.as_deref().is_some_and(|r| r.starts_with("Host EC2 (instance i-")),
        "{first:?}"
    );
    instance_kept_its_promises(&world).await;
    world.cloud.stop().await.expect("it ends");
}
