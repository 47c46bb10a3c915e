//! Wall clocks that are hours off or jump. One block: each of its instances has another clock.
//!
//! The agent lives below libfaketime, which shifts CLOCK_REALTIME by what a file in the host's root
//! says at that moment, and leaves CLOCK_BOOTTIME and CLOCK_MONOTONIC alone, as a clock that is set
//! does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::lives::{self, Terms};
use jiff::SignedDuration;
use localcloud_core::Event;
use localcloud_core::journal::record::What;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::world::{World, binaries};

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

/// How far the clocks jump.
const HOURS: i64 = 6;

/// What a status and a Date may differ by: a Date counts whole seconds.
const EXACT: SignedDuration = SignedDuration::from_secs(3);

/// Stands in the agent's place: each host takes the next clock that is left, and becomes the agent.
const SHIFT: &str = r#"#!/bin/sh
root=$3
if [ ! -e "$root/clock" ]; then
    printf '+0' >"$root/clock"
    for clock in CLOCKS; do
        if mkdir "FOLDER/taken-$clock" 2>/dev/null; then
            echo "$clock" >"$root/fault"
            case "$clock" in ahead-at-boot) printf '+6h' ;; behind-at-boot) printf -- '-6h' ;; *) printf '+0' ;; esac >"$root/clock"
            break
        fi
    done
fi
export LD_PRELOAD=LIBRARY FAKETIME_TIMESTAMP_FILE="$root/clock" FAKETIME_NO_CACHE=1
export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1 NO_FAKE_STAT=1
exec AGENT "$@"
"#;

/// When a clock jumps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Boot,
    Serving,
    /// And the agent is killed right after.
    ServingAndKilled,
    Draining,
}

/// The clocks: name, when they jump, and which way.
const CLOCKS: [(&str, When, i64); 8] = [
    ("ahead-at-boot", When::Boot, HOURS),
    ("behind-at-boot", When::Boot, -HOURS),
    ("forward", When::Serving, HOURS),
    ("back", When::Serving, -HOURS),
    ("forward-then-killed", When::ServingAndKilled, HOURS),
    ("back-then-killed", When::ServingAndKilled, -HOURS),
    ("forward-in-the-drain", When::Draining, HOURS),
    ("back-in-the-drain", When::Draining, -HOURS),
];

/// Debian's package faketime has it.
fn libfaketime() -> Option<PathBuf> {
    let places = [
        format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH),
        "/usr/lib64/faketime".to_owned(),
    ];
    places
        .iter()
        .map(|place| Path::new(place).join("libfaketime.so.1"))
        .find(|library| library.exists())
}

fn shifting(folder: &Path, library: &Path) -> PathBuf {
    let script = SHIFT
        .replace("CLOCKS", &CLOCKS.map(|(name, ..)| name).join(" "))
        .replace("FOLDER", &folder.display().to_string())
        .replace("LIBRARY", &library.display().to_string())
        .replace("AGENT", &binaries().agent.display().to_string());
    let path = folder.join("shifting-agent");
    std::fs::write(&path, script).expect("the script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

/// Catches: an agent that counts a block on the wall clock: it drains a fresh one or powers it off
/// when the clock is set forward, and lives on when it is set back. Also one that keeps a jump to
/// itself.
#[expect(clippy::disallowed_methods, reason = "what is left out elsewhere must run in CI")]
#[tokio::test]
async fn no_jump_of_the_clock_costs_a_job_or_the_end() {
    let Some(library) = libfaketime() else {
        assert!(std::env::var_os("CI").is_none(), "CI has to have libfaketime");
        println!(
            "left out: clocks that jump, since libfaketime isn't installed (apt-get install \
             faketime)"
        );
        return;
    };
    let world = World::with_agent("one-node.toml", &["--block-ends-in", "50s"], |folder| {
        shifting(folder, &library)
    })
    .await;
    let names = CLOCKS.map(|(name, ..)| (name, Value::Null));
    let mut fleet = Fleet::start(world, &names, names.len()).await;
    // Which host took which is known only now.
    fleet.hosts.sort_by_key(|host| {
        CLOCKS.iter().position(|(name, ..)| host.file("fault").trim() == *name)
    });

    set(&fleet, &[When::Serving, When::ServingAndKilled]);
    for (name, ..) in CLOCKS.iter().filter(|(_, when, _)| *when == When::ServingAndKilled) {
        fleet.world.control(&fleet.host(name).node.instance, "kill-agent").await;
    }
    // Longer than any look at the clock takes to come round, and than a restart.
    tokio::time::sleep(Duration::from_secs(7)).await;
    the_skew_is_shown(&fleet, |when| when != When::Draining, &["serving"]).await;

    fleet.world.until("all drain", |events| draining(events) == CLOCKS.len()).await;
    set(&fleet, &[When::Draining]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    the_skew_is_shown(&fleet, |when| when == When::Draining, &["draining", "stopping"]).await;

    let events = fleet.end().await;
    fleet.kept_its_promises(&events, &TERMS, &[]).await;
    none_was_early(&fleet, &events).await;
    fleet.world.cloud.stop().await.expect("it ends");
}

fn draining(events: &[Event]) -> usize {
    let draining = |event: &&Event| matches!(&event.what, What::ContainerInstanceStatus { status, .. } if status == "DRAINING");
    events.iter().filter(draining).count()
}

/// Sets the clocks whose time has come.
fn set(fleet: &Fleet, due: &[When]) {
    for (name, _, hours) in CLOCKS.iter().filter(|(_, when, _)| due.contains(when)) {
        // In one step: an agent that reads half of it would see no clock at all.
        let clock = fleet.host(name).node.root.join("clock");
        let new = clock.with_extension("new");
        std::fs::write(&new, format!("{hours:+}h")).expect("the new time");
        std::fs::rename(new, clock).expect("the clock is set");
    }
}

async fn the_skew_is_shown(fleet: &Fleet, those: impl Fn(When) -> bool, states: &[&str]) {
    let statuses = fleet.statuses().await;
    for (name, _, hours) in CLOCKS.iter().filter(|(_, when, _)| those(*when)) {
        let status = &statuses[name];
        let state = status["life"]["state"].as_str().unwrap_or_default();
        assert!(states.contains(&state), "{name}: {status:#}");
        assert_eq!(status["life"]["clock"], "date", "{name}: {status:#}");
        let skew = status["skew_millis"].as_i64().map(SignedDuration::from_millis).expect("a skew");
        assert!((skew - SignedDuration::from_hours(*hours)).abs() < EXACT, "{name}: {skew}");
        let problems = status["problems"].as_array().expect("a list");
        let of_the_clock = |problem: &&Value| {
            problem["what"].as_str().is_some_and(|what| what.contains("wall clock"))
        };
        assert_eq!(
            problems.iter().filter(of_the_clock).count(),
            problems.len(),
            "{name}: {status:#}"
        );
        assert_eq!(problems.len(), 1, "{name} keeps it to itself: {status:#}");
    }
}

/// What AWS sees of the clocks: DRAINING at its time and not before, and no host gone before its
/// time to stop.
async fn none_was_early(fleet: &Fleet, events: &[Event]) {
    let calls = fleet.world.calls().await;
    for node in lives::nodes(&calls, events, &TERMS) {
        let drained = node.drained.expect("it drained");
        assert!(drained >= node.drain_at(&TERMS) - EXACT, "{node:?} drained early");
        let (gone, _) = node.gone.as_ref().expect("it is gone");
        assert!(*gone >= node.stop_at(&TERMS) - EXACT, "{node:?} left early");
    }
}
