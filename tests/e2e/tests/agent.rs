//! What `spotblock-agent` offers on an instance beside keeping the block.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::journal::record::What;
use serde_json::Value;

use crate::host::Host;
use crate::world::{World, any_gone, job_is};

/// Catches: a second agent that acts beside the first, a status that nobody can ask for, a timer
/// that isn't where the block ends, and a host that goes down and takes its job with it
/// unannounced.
#[tokio::test]
async fn the_agent_tells_how_it_is_refuses_a_second_one_and_guards_a_host_that_goes_down() {
    let world = World::new("one-node.toml", &["--block-ends-in", "300s"]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("guarded", 200, &[]).await;
    world.until("the job runs", |events| job_is(events, "guarded", "RUNNING")).await;
    let host = Host::of(&world).await;

    // The tasks are listed every five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (code, said, problem) = host.agent(&["status", "--output", "json"]).await;
    assert_eq!(code, Some(0), "{problem}");
    let status: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(status["life"]["state"], "serving", "{said}");
    assert_eq!(status["life"]["tasks"].as_object().expect("tasks").len(), 1, "{said}");
    let (code, said, _) = host.agent(&["status"]).await;
    assert!(code == Some(0) && said.starts_with("serving block sb-"), "{said}");

    let (code, _, said) = host.agent(&["run"]).await;
    assert!(code == Some(1) && said.contains("another spotblock-agent (process "), "{said}");

    let (code, said, problem) = host.agent(&["check"]).await;
    assert_eq!(code, Some(0), "{said}{problem}");
    for wanted in [
        "ok       imds",
        "ok       block",
        "ok       timer",
        "ok       permissions",
        "ok       agent",
    ] {
        assert!(said.contains(wanted), "{wanted:?} in {said}");
    }
    let end: Timestamp = status["life"]["timeline"]["end"]
        .as_str()
        .and_then(|end| end.parse().ok())
        .expect("an end");
    let timer = host.file("etc/systemd/system/spotblock-poweroff.timer");
    let at = (end + SignedDuration::from_mins(2))
        .strftime("OnCalendar=%Y-%m-%d %H:%M:%S UTC")
        .to_string();
    assert!(timer.contains(&at), "{at} in {timer}");

    let (code, _, said) = host.agent(&["guard", "--stop", "--within", "30s"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("before all tasks"), "{said}");
    let events = world.until("the instance's end", any_gone).await;
    let job =
        e2e::lives::jobs(&events).into_values().find(|job| job.name == "guarded").expect("the job");
    let reason = job.attempts[0].reason.clone().expect("a reason");
    assert!(
        reason.starts_with("Host EC2 (instance i-") && reason.ends_with("the host goes down"),
        "{reason}"
    );
    assert!(
        events.iter().any(
            |event| matches!(&event.what, What::Gone { how, .. } if how.contains("power-off"))
        )
    );

    let record = host.file("var/lib/spotblock/record.jsonl");
    let whats: Vec<Value> =
        record.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for wanted in
        ["agent-started", "registered", "task-seen", "draining-confirmed", "transition", "drain"]
    {
        assert!(whats.iter().any(|entry| entry["what"] == wanted), "{wanted} in {record}");
    }
    world.cloud.stop().await.expect("it ends");
}

/// Catches: a `drain` on the instance that ECS doesn't hear of, or an agent that drains and stays.
#[tokio::test]
async fn an_instance_that_is_drained_from_inside_leaves_when_its_job_has_ended() {
    let world = World::new("one-node.toml", &["--block-ends-in", "300s"]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("last", 15, &[]).await;
    world.until("the job runs", |events| job_is(events, "last", "RUNNING")).await;
    let (code, said, problem) = Host::of(&world).await.agent(&["drain"]).await;
    assert!(code == Some(0) && said.contains("is DRAINING"), "{said}{problem}");
    let events = world.until("the instance's end", any_gone).await;
    let job =
        e2e::lives::jobs(&events).into_values().find(|job| job.name == "last").expect("the job");
    assert_eq!((job.status.as_str(), job.attempts.len()), ("SUCCEEDED", 1), "{job:?}");
    world.cloud.stop().await.expect("it ends");
}

/// Catches: a disk that was full when the agent saved, so that a host which goes down takes its job
/// with it unannounced.
#[tokio::test]
async fn the_guard_needs_no_saved_state() {
    let world = World::new("one-node.toml", &["--block-ends-in", "300s"]).await;
    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("guarded", 200, &[]).await;
    world.until("the job runs", |events| job_is(events, "guarded", "RUNNING")).await;
    let host = Host::of(&world).await;
    std::fs::write(host.node.root.join("var/lib/spotblock/state.json"), "{").expect("spoilt");
    let (code, _, said) = host.agent(&["guard", "--stop", "--within", "30s"]).await;
    assert_eq!(code, Some(0), "{said}");
    let stopped = |job: &e2e::lives::Job| job.name == "guarded" && job.attempts[0].ended.is_some();
    let events =
        world.until("the job's end", |events| e2e::lives::jobs(events).values().any(stopped)).await;
    let job =
        e2e::lives::jobs(&events).into_values().find(|job| job.name == "guarded").expect("the job");
    let reason = job.attempts[0].reason.clone().expect("a reason");
    assert!(reason.ends_with("the host goes down"), "{reason}");
    world.cloud.stop().await.expect("it ends");
}
