//! The agent's process is killed at each of its transitions.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::lives::{self, Terms};
use e2e::promises;
use jiff::SignedDuration;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::world::{World, any_gone, job_is};

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

/// Kills the agent of the node below this folder as soon as it has saved a state that it was not in
/// before; returns these states when it is told to end.
#[expect(
    clippy::disallowed_methods,
    reason = "it has a thread of its own, so that nothing makes it late"
)]
fn kill_at_each_transition(folder: &Path, over: &AtomicBool) -> BTreeSet<String> {
    let mut killed = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
        let nodes = std::fs::read_dir(folder)
            .expect("the cloud's folder")
            .flatten()
            .map(|entry| entry.path());
        for root in nodes.filter(|path| path.join("var").is_dir()) {
            let saved = std::fs::read_to_string(root.join("var/lib/spotblock/state.json"))
                .unwrap_or_default();
            let saved: Value = serde_json::from_str(&saved).unwrap_or_default();
            let Some(phase) = saved["state"]["phase"].as_str() else { continue };
            let lock =
                std::fs::read_to_string(root.join("run/spotblock/agent.lock")).unwrap_or_default();
            let Ok(process) = lock.trim().parse() else { continue };
            // Once gone it has asked for the power-off; a restart takes a second, which a block
            // this short hasn't got left.
            if phase != "gone"
                && !killed.contains(phase)
                && kill(Pid::from_raw(process), Signal::SIGKILL).is_ok()
            {
                killed.insert(phase.to_owned());
            }
        }
    }
    killed
}

/// Catches: a transition after which a killed agent forgets what it was about, stops a job twice or
/// never, or stays.
#[tokio::test]
async fn killed_at_each_transition_the_agent_loses_no_job_and_is_gone_in_time() {
    let world = World::new("one-node.toml", &["--block-ends-in", "45s"]).await;
    // Leaving would be over before anybody looks.
    let slow = json!({"operation": "DeregisterContainerInstance", "caller": "instance", "count": 9, "effect": {"slow": {"millis": 800}}});
    world.cloud.post("faults", &slow).await.expect("a fault");
    let over = Arc::new(AtomicBool::new(false));
    let (folder, told) = (world.cloud.folder.clone(), Arc::clone(&over));
    let killer = std::thread::spawn(move || kill_at_each_transition(&folder, &told));

    world.spotblock(&["up"]).await.success().expect("up");
    world.submit("short", 3, &[]).await;
    world.until("the short job's success", |events| job_is(events, "short", "SUCCEEDED")).await;
    world.submit("long", 100, &[]).await;
    let events = world.until("the instance's end", any_gone).await;
    over.store(true, Ordering::Relaxed);
    let killed = killer.join().expect("no panic");
    for phase in ["joining", "serving", "draining", "stopping", "leaving"] {
        assert!(killed.contains(phase), "it was not killed while {phase}: {killed:?}");
    }

    let long = lives::jobs(&events).into_values().find(|job| job.name == "long").expect("the job");
    let reason = long.attempts[0].reason.clone().unwrap_or_default();
    assert!(reason.starts_with("Host EC2 (instance i-"), "{long:?}");
    for verdict in promises::verdicts(&world.calls().await, &events, &TERMS, 1) {
        if !verdict.promise.contains("job SUCCEEDED") {
            assert!(verdict.broken.is_empty(), "{}: {:?}", verdict.promise, verdict.broken);
        }
    }
    world.cloud.stop().await.expect("it ends");
}
