//! A ladder whose run is killed, loses an answer, or has another beside it: what is bought is
//! bought once.

use std::time::Duration;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};

use super::concurrent_runs::both;
use super::end_state::EndState;
use super::fallback::{config, today};
use super::faults::whichever_answer_is_lost;
use super::killed::{AFTER, after, at_every_call, undisturbed};
use super::{Kill, World};

/// Spot blocks are refused, spot has too little, on-demand grants.
async fn three_sources() -> World {
    let world = World::with_config(options(), &config(&["spot-block", "spot", "on-demand"]));
    after(world, &["env", "apply"], 0).await
}

fn options() -> Options {
    today(&[("*/*/spot", 2)])
}

/// Catches: an attempt that is repeated under another token, or passed over, by the run that comes
/// after a crash.
#[tokio::test(start_paused = true)]
async fn a_ladder_ends_the_same_wherever_it_was_killed() {
    let wanted = at_every_call(three_sources, &["request"], AFTER, 18).await;
    assert_eq!(
        (wanted.code, wanted.end.bought()),
        (0, 2),
        "two fleets, of which one launched nothing"
    );
}

/// Catches: what one source brought counted twice, or forgotten, when the run dies before the gap
/// is filled.
#[tokio::test(start_paused = true)]
async fn a_gap_is_filled_once_wherever_the_run_was_killed() {
    let wanted = at_every_call(three_sources, &["request", "--mix"], AFTER, 18).await;
    assert_eq!(wanted.code, 0);
}

#[tokio::test(start_paused = true)]
async fn whichever_answer_of_a_ladder_is_lost_it_buys_once() {
    whichever_answer_is_lost(three_sources, &["request"]).await;
}

/// Catches: two runs of which each climbs by itself.
#[tokio::test(start_paused = true)]
async fn two_at_once_climb_one_ladder() {
    let wanted = undisturbed(&three_sources().await, &["request"]).await;
    for later in [0, 7, 20, 41, 90, 170, 250, 400, 900, 2_000, 4_000] {
        let world = three_sources().await;
        let (one, other) = both(&world, &["request"], later).await;
        assert_eq!((one.code, other.code), (0, 0), "{later}: {}\n{}", one.stderr, other.stderr);
        assert_eq!(
            EndState::of(&world).await,
            wanted.end,
            "{later}: {}\n{}",
            one.stderr,
            other.stderr
        );
        assert_eq!(world.launched().len(), 3, "{later}");
    }
}

/// Catches: two that wait for a third which is dead, and take over from it both. One of them is
/// killed, too, at each of its calls, and the other still brings the block.
#[tokio::test(start_paused = true)]
async fn of_two_that_take_over_from_a_dead_run_one_buys() {
    let calls = undisturbed(&three_sources().await, &["request"]).await.calls;
    for nth in harness::cases((3..calls).step_by(3)) {
        for second in [None, Some(12), Some(25), Some(40), Some(60)] {
            let world = three_sources().await;
            let _ = world.run_until(&["request"], Some(Kill::After(nth))).await;
            let (one, other) =
                tokio::join!(world.run_until(&["request"], second.map(Kill::After)), async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    world.run(&["request"]).await
                });
            let told = format!("killed at {nth} and {second:?}: {}", other.stderr);
            assert_eq!(other.code, 0, "{told}");
            assert!(one.is_none_or(|one| one.code == 0), "{told}");
            assert_eq!((world.launched().len(), world.alive()), (3, 3), "{told}");
        }
    }
}

/// Catches: a follower that takes a slow driver for a dead one and goes on to the next source
/// beside it.
#[tokio::test(start_paused = true)]
async fn a_driver_that_is_slow_is_not_overtaken() {
    for operation in ["RequestSpotInstances", "CreateTags", "CreateFleet"] {
        let world = three_sources().await;
        let effect = Effect::Slow { millis: 24_000 };
        let fault = Fault {
            service: None,
            operation: Some(operation.into()),
            caller: None,
            skip: 0,
            count: 2,
            effect,
        };
        world.cloud(|cloud| cloud.add_fault(fault));
        let (one, other) = both(&world, &["request"], 100).await;
        assert_eq!((one.code, other.code), (0, 0), "{operation}: {}\n{}", one.stderr, other.stderr);
        assert_eq!(world.launched().len(), 3, "{operation}");
    }
}

/// Catches: instances that a run gave up and left, because it was killed before it had ended them.
#[tokio::test(start_paused = true)]
async fn a_block_that_did_not_join_leaves_nothing_wherever_the_run_was_killed() {
    let command = ["request", "--timeout", "1m"];
    let prepare = async || {
        let world = three_sources().await;
        world.break_instances(3);
        world
    };
    let calls = undisturbed(&prepare().await, &command).await.calls;
    for nth in (1..=calls).rev().take(14) {
        let world = prepare().await;
        assert!(world.run_until(&command, Some(Kill::After(nth))).await.is_none(), "{nth}");
        let run = world.run(&command).await;
        // Killed after its last word, the next run begins another block, whose instances join.
        let alive = if run.code == 0 { 3 } else { 0 };
        assert!(matches!(run.code, 0 | 1 | 4), "{nth}: {}", run.stderr);
        assert_eq!(world.alive(), alive, "{nth}: {}", run.stderr);
    }
}
