//! Each port fails, hangs or lies at each of its calls.

use super::*;
use crate::testing::Trouble;

/// How many things the agent asks for in a life in which nothing goes wrong.
async fn things_in_a_good_life() -> usize {
    let world = world();
    live(&world, testing::state()).await;
    world.facts().acts
}

/// A world with a task that is too long for the block, and one that isn't.
fn world() -> Arc<World> {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().tasks.insert("short".into(), FakeTask::until(today("10:40:00")));
    world
}

/// Catches: anything that is asked for once only, or waited for without a limit. A life asks ECS for its status every
/// 15 s; one in 29 of all calls is tried, and each of those around the drain, the stop and the end.
#[tokio::test(start_paused = true)]
async fn one_call_that_fails_or_hangs_spoils_no_life() {
    let things = things_in_a_good_life().await;
    assert!(things > 200, "{things}");
    let places = (0..things).filter(|place| *place < 20 || place % 29 == 0 || place + 30 > things);
    for place in places {
        for trouble in [Trouble::Fails, Trouble::Hangs] {
            let world = world();
            world.facts().trouble = Some((place, trouble));
            live(&world, testing::state()).await;
            let when = format!("thing {place} {trouble:?}");
            let (asked, _) = world.facts().tasks["long"].stop.clone().unwrap_or_else(|| panic!("{when}: not stopped"));
            // A hanging one is given up after 25 s.
            assert!(asked < today("10:55:35"), "{when}: stopped at {asked}");
            let drained = world.facts().drained_at.unwrap_or_else(|| panic!("{when}: not drained"));
            assert!(drained < today("10:15:35"), "{when}: drained at {drained}");
            assert_eq!(world.facts().lost, Vec::<String>::new(), "{when}");
            let off = world.first("power-off").unwrap_or_else(|| panic!("{when}: never powered off"));
            assert!(off > asked && off < today("10:58:00"), "{when}: off at {off}");
        }
    }
}

/// Catches: an agent that takes the word of one side only, and powers off under running jobs.
#[tokio::test(start_paused = true)]
async fn one_side_that_lies_about_the_tasks_is_not_enough_to_leave() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 2] = [
        ("introspection", |world| world.facts().introspection_lies = true),
        ("ECS", |world| world.facts().ecs_lies = true),
    ];
    for (liar, spoil) in cases {
        let world = world();
        spoil(&world);
        live(&world, testing::state()).await;
        let (asked, _) = world.facts().tasks["long"].stop.clone().unwrap_or_else(|| panic!("{liar}: not stopped"));
        assert_eq!(clock(Some(asked)), "10:55:00", "{liar}");
        assert!(world.first("stop-ecs").expect("it left") > asked, "{liar}");
    }
}
