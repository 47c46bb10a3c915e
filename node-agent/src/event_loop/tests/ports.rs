//! A port that lies all the time.

use super::*;

/// A world with a task that is too long for the block, and one that isn't.
fn world() -> Arc<World> {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().tasks.insert("short".into(), FakeTask::until(today("10:40:00")));
    world
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
        let (asked, _) = world.facts().tasks["long"]
            .stop
            .clone()
            .unwrap_or_else(|| panic!("{liar}: not stopped"));
        assert_eq!(clock(Some(asked)), "10:55:00", "{liar}");
        assert!(world.first("stop-ecs").expect("it left") > asked, "{liar}");
    }
}
