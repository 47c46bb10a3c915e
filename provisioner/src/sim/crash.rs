//! Killed after each call in turn, before its effect or with its answer lost, and run again: the same end, and one
//! purchase.

use std::collections::BTreeSet;

use localcloud::core::record::What;
use localcloud::core::{Event, Options};

use super::{Kill, World};

fn alive(world: &World) -> usize {
    world.cloud(|cloud| {
        let count = |is: fn(&What) -> bool| cloud.events().iter().filter(|event: &&Event| is(&event.what)).count();
        count(|what| matches!(what, What::Launched { .. })) - count(|what| matches!(what, What::Gone { .. }))
    })
}

fn tokens(world: &World) -> BTreeSet<String> {
    let purchases = world.accepted("RequestSpotInstances");
    purchases.iter().map(|call| call.parameters["ClientToken"].as_str().expect("always one").to_owned()).collect()
}

/// Catches: a step that can't be repeated, a purchase whose answer's loss makes another, an untagged instance left.
#[tokio::test(start_paused = true)]
async fn up_killed_at_any_call_and_run_again_buys_once_and_ends_the_same() {
    let mut nth = 1;
    loop {
        let mut finished = 0;
        for kill in [Kill::Before(nth), Kill::After(nth)] {
            let world = World::new(Options::default());
            if world.run_until(&["up"], Some(kill)).await.is_some() {
                finished += 1;
                continue;
            }
            let run = world.run(&["up"]).await;
            assert_eq!(run.code, 0, "{kill:?}: {}", run.stderr);
            assert_eq!(tokens(&world).len(), 1, "{kill:?}");
            assert_eq!(alive(&world), 1, "{kill:?}");
            assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1, "{kill:?}");
            assert_eq!(world.accepted("CreateTags").len(), 1, "{kill:?}");
            let before = world.calls();
            assert_eq!(world.run(&["up"]).await.code, 0, "{kill:?}");
            assert_eq!(world.changing(before), Vec::<String>::new(), "{kill:?}");
        }
        if finished == 2 {
            break;
        }
        nth += 1;
    }
    assert!(nth > 20, "{nth} calls are too few for an `up`");
}

#[tokio::test(start_paused = true)]
async fn down_killed_at_any_call_and_run_again_leaves_nothing() {
    let mut nth = 1;
    loop {
        let mut finished = 0;
        for kill in [Kill::Before(nth), Kill::After(nth)] {
            let world = World::new(Options::default());
            assert_eq!(world.run(&["up"]).await.code, 0);
            if world.run_until(&["down", "--all"], Some(kill)).await.is_some() {
                finished += 1;
                continue;
            }
            let run = world.run(&["down", "--all"]).await;
            assert_eq!(run.code, 0, "{kill:?}: {}", run.stderr);
            assert_eq!(alive(&world), 0, "{kill:?}");
            let plan = world.run(&["plan", "--output", "json"]).await;
            assert_eq!(plan.stdout.matches("\"create\"").count(), 4, "{kill:?}: {}", plan.stdout);
        }
        if finished == 2 {
            break;
        }
        nth += 1;
    }
    assert!(nth > 15, "{nth} calls are too few for a `down`");
}
