//! Whole lives in a fake world, on paused time.

mod crashes;
mod every_point;
mod faults;
mod ports;
mod signals;
mod soak;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::lifecycle::Outcome;
use crate::testing::{self, FakeTask, World, at};

fn node() -> Node {
    Node { identity: testing::identity(), config: testing::config(), rules: testing::rules() }
}

fn today(time: &str) -> Timestamp {
    at(&format!("2026-11-24T{time}Z"))
}

/// The time of day to the second.
fn clock(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.strftime("%H:%M:%S").to_string())
}

/// Lives from `state` until the host is powered off, or for two hours.
async fn live(world: &Arc<World>, state: State) {
    live_as(node(), world, state).await;
}

async fn live_as(node: Node, world: &Arc<World>, state: State) {
    let off = async {
        let _ = tokio::time::timeout(Duration::from_secs(7_200), world.off.notified()).await;
    };
    run(node, state, world.ports(), off).await;
}

/// Changes the world after so many milliseconds.
fn later(
    world: &Arc<World>,
    millis: u64,
    change: impl FnOnce(&mut crate::testing::Facts) + Send + 'static,
) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        change(&mut world.facts());
    });
}

/// Lives until this time, and is then ended by SIGTERM.
async fn live_until(world: &Arc<World>, state: State, time: &str) {
    let length = (today(time).duration_since(world.ports().clock.now())).unsigned_abs();
    run(node(), state, world.ports(), tokio::time::sleep(length)).await;
}

fn saved_state(world: &World) -> State {
    world.facts().saved.clone().expect("a saved state").state
}

#[tokio::test(start_paused = true)]
async fn a_good_life_joins_drains_waits_for_its_jobs_and_leaves() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("10:30:00")));
    live(&world, testing::state()).await;

    assert_eq!(clock(world.first("start-ecs")), "10:00:00");
    assert_eq!(clock(world.first("drain")), "10:15:00");
    let first_survey = world.first("survey").expect("ECS was asked");
    assert!(first_survey >= today("10:30:00"), "ECS is left alone while a job runs");
    assert_eq!(world.first("stop long"), None, "a job that ends in time is not stopped");
    let (stopped, deregistered, off) =
        (world.first("stop-ecs"), world.first("deregister"), world.first("power-off"));
    assert!(stopped.is_some() && stopped <= deregistered && deregistered <= off);
    let off = off.expect("powered off");
    assert!(
        off >= today("10:30:08") && off < today("10:30:20"),
        "soon after the settle time: {off}"
    );
    assert!(world.count("survey") <= 6, "{}", world.count("survey"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_too_long_is_stopped_with_the_reason_that_retry_rules_know() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live(&world, testing::state()).await;

    let (asked, reason) = world.facts().tasks["long"].stop.clone().expect("it was stopped");
    assert_eq!(clock(Some(asked)), "10:55:00");
    assert_eq!(reason, "Host EC2 (instance i-0a1b) leaves: the block ends");
    let left = world.first("stop-ecs").expect("it left");
    assert!(left >= today("10:55:03"), "not before ECS knows that it stopped");
    assert!(world.first("power-off").expect("powered off") < today("10:56:00"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ignores_sigterm_holds_nothing_up() {
    let world = World::at(today("10:00:00"));
    let task = FakeTask { stops_in: None, ..FakeTask::until(today("18:00:00")) };
    world.facts().tasks.insert("stubborn".into(), task);
    live(&world, testing::state()).await;
    let (_, killed) = stopped_locally(&world, "stubborn");
    let left = world.first("stop-ecs").expect("it left");
    assert!(
        left >= killed + SignedDuration::from_secs(2) && left <= today("10:59:30"),
        "ECS knows: {left}"
    );
    assert!(world.first("power-off").expect("powered off") <= today("11:00:00"));
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_acted_on_within_two_seconds() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(301)).await;
        later.facts().notice = Some(today("10:07:00"));
    });
    live(&world, testing::state()).await;
    for what in ["drain", "stop long"] {
        assert!(
            world.first(what).expect(what) <= today("10:05:03"),
            "{what}: {:?}",
            world.first(what)
        );
    }
    assert!(world.first("power-off").expect("powered off") < today("10:06:00"));
}

/// Catches: a task placed after the last look at the host, which the notice would forget.
#[tokio::test(start_paused = true)]
async fn a_task_that_comes_with_the_notice_is_stopped_too() {
    let world = World::at(today("10:00:00"));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(301)).await;
        later.facts().notice = Some(today("10:07:00"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        later.facts().tasks.insert("late".into(), FakeTask::until(today("18:00:00")));
    });
    live(&world, testing::state()).await;
    assert!(world.first("stop late").expect("stopped") < today("10:05:10"));
    assert!(world.first("power-off").expect("powered off") < today("10:07:00"));
}

#[tokio::test(start_paused = true)]
async fn draining_set_by_somebody_else_starts_the_drain() {
    let world = World::at(today("10:00:00"));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(120)).await;
        later.facts().drained = true;
    });
    live(&world, testing::state()).await;
    let off = world.first("power-off").expect("powered off");
    assert!(off > today("10:02:06") && off < today("10:02:40"), "{off}");
}

#[tokio::test(start_paused = true)]
async fn sigterm_saves_and_touches_nothing() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live_until(&world, testing::state(), "10:20:00").await;
    let last = world.facts().log.last().cloned();
    assert_eq!(last.map(|(_, what)| what), Some("save draining".to_owned()));
    for what in ["stop long", "stop-ecs", "deregister", "power-off"] {
        assert_eq!(world.first(what), None, "{what}");
    }
}

/// Catches: a loop that acts first, and forgets after a crash what it was about to do.
#[tokio::test(start_paused = true)]
async fn a_phase_is_saved_before_anything_of_it_is_done() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live(&world, testing::state()).await;
    let log = world.facts().log.clone();
    let place = |what: &str| log.iter().position(|(_, said)| said == what).expect(what);
    for (saved, done) in [
        ("save joining", "start-ecs"),
        ("save draining", "drain"),
        ("save stopping", "stop long"),
        ("save leaving", "stop-ecs"),
        ("save gone", "power-off"),
    ] {
        assert!(place(saved) < place(done), "{saved} comes after {done}");
    }
}

/// Catches: any state from which a restart doesn't finish.
#[tokio::test(start_paused = true)]
async fn a_restart_at_any_time_comes_to_the_same_end() {
    for time in [
        "10:00:01", "10:05:00", "10:15:00", "10:20:00", "10:54:59", "10:55:00", "10:55:02",
        "10:55:09",
    ] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        live_until(&world, testing::state(), time).await;
        live(&world, saved_state(&world)).await;
        let (asked, _) = world.facts().tasks["long"].stop.clone().expect("it was stopped");
        assert!(asked < today("10:55:05"), "restarted at {time}: {asked}");
        let off = world.first("power-off").expect("powered off");
        assert!(off < today("10:56:00"), "restarted at {time}: {off}");
        assert!(world.facts().deregistered, "restarted at {time}");
    }
}

#[tokio::test(start_paused = true)]
async fn ecs_that_fails_or_hangs_for_ever_delays_no_deadline() {
    for hangs in [false, true] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        world.facts().ecs_fails = true;
        world.facts().ecs_hangs = hangs;
        live(&world, testing::state()).await;
        assert_eq!(clock(world.first("drain")), "10:15:00");
        assert_eq!(clock(world.first("stop long")), "10:55:00");
        assert_eq!(
            clock(world.first("stop-ecs")),
            "10:55:00",
            "its tasks' room is not to be taken by others"
        );
        let drains = world.count("drain");
        assert!((40..200).contains(&drains), "it goes on trying, politely: {drains}");
        let off = world.first("power-off").expect("powered off");
        assert!(
            off > today("10:55:00") && off <= today("11:00:00"),
            "hangs: {hangs}, off at {off}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_on_the_host_that_fails_or_hangs_delays_the_end() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().stop_ecs_hangs = true;
    world.facts().tasks.get_mut("long").expect("it").stops_in = None;
    live(&world, testing::state()).await;
    assert!(world.first("power-off").expect("powered off") <= today("11:00:00"));

    let world = World::at(today("10:54:00"));
    world.facts().host_fails = true;
    live_until(&world, testing::state(), "11:01:00").await;
    assert!(
        world.first("power-off").expect("asked for") < today("10:55:00"),
        "it can't join, so it leaves"
    );
    assert!(
        world.count("power-off") >= 30,
        "again every ten seconds: {}",
        world.count("power-off")
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_nothing() {
    let world = World::at(today("10:00:00"));
    world.facts().disk_fails = true;
    live(&world, testing::state()).await;
    assert_eq!(clock(world.first("drain")), "10:15:00");
    assert!(world.first("power-off").expect("powered off") < today("10:16:00"));
}

/// Catches: a restart long after the disk was full for a moment, that finds a state from before.
#[tokio::test(start_paused = true)]
async fn what_the_disk_did_not_take_is_saved_as_soon_as_it_does() {
    let world = World::at(today("10:00:00"));
    world.facts().disk_fails = true;
    later(&world, 60_000, |facts| facts.disk_fails = false);
    let saved = async {
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(saved_state(&world).phase, Phase::Serving, "nothing has changed for a minute");
    };
    run(node(), testing::state(), world.ports(), saved).await;
}

#[tokio::test(start_paused = true)]
async fn the_status_is_told_and_signs_of_life_never_stop() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live_until(&world, testing::state(), "10:10:00").await;
    assert_eq!(world.facts().status, "serving block sb-1f2c, 1 task, drain in 5 min");
    let alive: Vec<Timestamp> =
        world.facts().log.iter().filter(|(_, what)| what == "alive").map(|(at, _)| *at).collect();
    let longest = alive.windows(2).map(|pair| pair[0].duration_until(pair[1])).max().expect("many");
    assert!(longest < SignedDuration::from_secs(20), "{longest}");
}

/// Catches: an agent that busies its host, or ECS, while nothing happens.
#[tokio::test(start_paused = true)]
async fn serving_is_quiet() {
    let world = World::at(today("10:00:00"));
    live_until(&world, testing::state(), "10:10:00").await;
    assert!((38..=44).contains(&world.count("status")), "every 15 s: {}", world.count("status"));
    assert!(world.count("save serving") <= 3, "{}", world.count("save serving"));
    assert_eq!(world.count("start-ecs"), 1);
}

/// When a task got SIGTERM by the container runtime, and when SIGKILL was to follow.
fn stopped_locally(world: &World, task: &str) -> (Timestamp, Timestamp) {
    world.facts().tasks[task].local.unwrap_or_else(|| panic!("{task} was not stopped on the host"))
}
