//! The agent's process is killed, and started again from what is on the disk.

use super::*;
use crate::lifecycle::InstanceStatus;
use crate::ports::Cluster as _;
use crate::testing::Trouble;

/// Lives until so many more calls were made, and is then killed as by SIGKILL: before the next one.
/// Returns whether it came to that.
async fn live_until_killed(world: &Arc<World>, state: State, things: usize) -> bool {
    {
        let mut facts = world.facts();
        facts.trouble = Some((facts.acts + things, Trouble::DiesBefore));
    }
    let killed = tokio::select! {
        () = run(node(), state, world.ports(), std::future::pending()) => false,
        () = world.died.notified() => true,
        () = world.off.notified() => false,
    };
    let mut facts = world.facts();
    (facts.trouble, facts.dead) = (None, false);
    killed
}

/// What a fresh process finds on the disk.
fn resumed(world: &World) -> State {
    let saved = world.facts().saved.clone().map(|saved| testing::as_on_disk(&saved));
    saved.map_or_else(testing::state, |saved| saved.state)
}

fn check(world: &World, when: &str) {
    let (asked, reason) =
        world.facts().tasks["long"].stop.clone().unwrap_or_else(|| panic!("{when}: never stopped"));
    assert!(asked >= today("10:55:00") && asked < today("10:55:10"), "{when}: stopped at {asked}");
    assert!(reason.starts_with("Host EC2 (instance i-"), "{when}: {reason}");
    let off = world.first("power-off").unwrap_or_else(|| panic!("{when}: never powered off"));
    assert!(off > asked && off < today("10:56:00"), "{when}: off at {off}");
    assert!(world.facts().deregistered && world.facts().drained, "{when}");
    assert_eq!(world.facts().lost, Vec::<String>::new(), "{when}");
    assert_eq!(world.facts().tasks["short"].stop, None, "{when}: it would have ended in time");
}

fn world_with_tasks() -> Arc<World> {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().tasks.insert("short".into(), FakeTask::until(today("10:40:00")));
    world
}

/// systemd starts it again each time, after a second.
#[tokio::test(start_paused = true)]
async fn killed_again_and_again_it_still_comes_to_its_end() {
    let world = world_with_tasks();
    for things in 1.. {
        if !live_until_killed(&world, resumed(&world), things).await {
            break;
        }
        assert!(world.ports().clock.now() < today("11:00:00"), "it never ended");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    check(&world, "killed each time it had asked for something");
}

/// Catches: an agent that can't save and therefore can't find its place; here from the very first.
#[tokio::test(start_paused = true)]
async fn killed_without_a_disk_it_finds_its_place_from_the_clock_and_the_ecs_agent() {
    for time in ["10:00:30", "10:14:59", "10:15:01", "10:30:00", "10:55:01"] {
        let world = world_with_tasks();
        world.facts().disk_fails = true;
        live_until(&world, testing::state(), time).await;
        live(&world, resumed(&world)).await;
        check(&world, &format!("killed at {time}"));
    }
}

/// The disk comes and goes: an old state is found, and the world has gone on since.
#[tokio::test(start_paused = true)]
async fn an_older_state_is_a_place_to_go_on_from() {
    for (old, time) in
        [("10:00:30", "10:20:00"), ("10:14:00", "10:55:02"), ("10:20:00", "10:55:02")]
    {
        let world = world_with_tasks();
        live_until(&world, testing::state(), old).await;
        world.facts().disk_fails = true;
        live_until(&world, resumed(&world), time).await;
        world.facts().disk_fails = false;
        live(&world, resumed(&world)).await;
        check(&world, &format!("the state of {old} found at {time}"));
    }
}

/// Catches: an instance that AWS or a person takes out of service while nobody looks, and that goes
/// on serving.
#[tokio::test(start_paused = true)]
async fn what_happened_while_it_was_dead_is_learned_afterwards() {
    let world = world_with_tasks();
    live_until(&world, testing::state(), "10:05:00").await;
    let registration = resumed(&world).registration.expect("it has joined");
    let drained = world.drain(&registration).await.expect("somebody drains it");
    assert_eq!(drained, InstanceStatus::Draining);
    live_until(&world, resumed(&world), "10:05:20").await;
    assert_eq!(resumed(&world).phase, Phase::Draining);
}
