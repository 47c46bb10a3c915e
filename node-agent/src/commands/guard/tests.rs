//! The guard in a fake world, on paused time.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::lifecycle::Outcome;
use crate::testing::{self, FakeTask, World, at};

const WITHIN: SignedDuration = SignedDuration::from_secs(80);

fn node() -> Node {
    Node { identity: testing::identity(), config: testing::config(), rules: testing::rules() }
}

/// A host at 10:05 that serves, with a task that obeys and one that doesn't.
async fn serving() -> (Arc<World>, State) {
    let world = World::at(at("2026-11-24T10:04:00Z"));
    world.facts().tasks.insert("long".into(), FakeTask::until(at("2026-11-24T18:00:00Z")));
    let stubborn = FakeTask { stops_in: None, ..FakeTask::until(at("2026-11-24T18:00:00Z")) };
    world.facts().tasks.insert("stubborn".into(), stubborn);
    let minute = tokio::time::sleep(Duration::from_secs(60));
    event_loop::run(node(), testing::state(), world.ports(), minute).await;
    let state = world.facts().saved.clone().expect("saved").state;
    (world, state)
}

/// Guards, and returns when it began and ended.
async fn guarded(world: &Arc<World>, state: State) -> (Timestamp, Timestamp, bool) {
    let began = world.ports().clock.now();
    let in_time = stop_tasks(node(), state, world.ports(), WITHIN).await;
    (began, world.ports().clock.now(), in_time)
}

fn check(world: &World, began: Timestamp, ended: Timestamp, what: &str) {
    let took = began.duration_until(ended);
    assert!(took <= WITHIN, "{what}: {took}");
    for task in ["long", "stubborn"] {
        let task = world.facts().tasks[task].clone();
        let asked =
            task.stop.map(|(at, _)| at).into_iter().chain(task.local.map(|(at, _)| at)).min();
        let asked = began
            .duration_until(asked.unwrap_or_else(|| panic!("{what}: nobody told a task to stop")));
        assert!(asked <= SignedDuration::from_secs(15), "{what}: {asked}");
    }
    let killed = world.facts().tasks["stubborn"].local.map(|(_, killed)| killed);
    assert!(killed.expect("the one that doesn't obey is killed") <= ended, "{what}");
    for never in ["stop-ecs", "deregister", "power-off"] {
        assert_eq!(world.count(never), 0, "{what}: {never}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_stops_the_tasks_and_leaves_the_rest_to_whoever_takes_the_host_down() {
    let (world, state) = serving().await;
    let (began, ended, in_time) = guarded(&world, state).await;
    check(&world, began, ended, "all is well");
    assert!(in_time && world.facts().drained);
}

/// Catches: containers that are left to Docker's few seconds when ECS can't be reached while the
/// host goes down.
#[tokio::test(start_paused = true)]
async fn where_ecs_takes_no_stop_the_guard_stops_the_containers() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 3] = [
        ("every call fails", |world| world.facts().ecs_fails = true),
        ("every call hangs", |world| world.facts().ecs_hangs = true),
        ("StopTask is denied", |world| world.facts().stop_task_is = Some(Outcome::Refused)),
    ];
    for (what, spoil) in cases {
        let (world, state) = serving().await;
        spoil(&world);
        let (began, ended, _) = guarded(&world, state).await;
        check(&world, began, ended, what);
        let (term, kill) = world.facts().tasks["long"].local.expect("stopped on the host");
        assert!(
            term.duration_until(kill) >= SignedDuration::from_secs(40),
            "{what}: most of the time is theirs"
        );
    }
}
