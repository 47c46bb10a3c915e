//! Ctrl-C: once, what is in flight may finish and nothing new begins; twice, it leaves at once.

use std::time::Duration;

use localcloud_core::cloud::faults::Effect;
use localcloud_core::{Fault, Options};
use tokio::sync::mpsc::unbounded_channel;

use super::{Run, World};

/// Runs a command that is interrupted after each of these pauses; gives how long it took as well.
async fn interrupted(world: &World, command: &[&str], pauses: &[Duration]) -> (Run, Duration) {
    let (sender, receiver) = unbounded_channel();
    let start = world.now();
    let (run, ()) = tokio::join!(
        async {
            let run = world.run_with(command, None, receiver).await.expect("it is not killed");
            (run, start.duration_until(world.now()).unsigned_abs())
        },
        async {
            for pause in pauses {
                tokio::time::sleep(*pause).await;
                let _ = sender.send(());
            }
        }
    );
    run
}

fn fault(world: &World, operation: &str, skip: u32, effect: Effect) {
    let operation = Some(operation.to_owned());
    world.cloud(|cloud| {
        cloud.add_fault(Fault { service: None, operation, caller: None, skip, count: 1, effect })
    });
}

async fn with_environment() -> World {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    world
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_interrupted_wait_ends_at_once_and_says_how_to_go_on() {
    let world = with_environment().await;
    world.break_instances(1);
    let (run, took) = interrupted(&world, &["request"], &[60 * SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(took < 61 * SECOND, "{took:?}");
    for part in [
        "stopping; a call in flight may finish",
        "error: interrupted",
        "run the same command again",
    ] {
        assert!(run.stderr.contains(part), "{part:?} is missing in {}", run.stderr);
    }
    let instance = world.launched().pop().expect("an instance");
    let cluster = world.run(&["env", "show", "--output", "json"]).await.stdout;
    let cluster: serde_json::Value = serde_json::from_str(&cluster).expect("JSON");
    world.register(&instance, cluster["cluster"].as_str().expect("a cluster"));
    let again = world.run(&["request"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(world.launched().len(), 1, "the same block goes on");
}

/// Catches: a purchase cut off in the middle, and calls that begin after the user wanted to stop.
#[tokio::test(start_paused = true)]
async fn a_call_in_flight_finishes_and_no_other_begins() {
    let world = with_environment().await;
    fault(&world, "RequestSpotInstances", 0, Effect::Slow { millis: 5_000 });
    let (run, took) = interrupted(&world, &["request"], &[2 * SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!((5 * SECOND..6 * SECOND).contains(&took), "{took:?}");
    assert_eq!(
        world.operations_of_users().last().map(String::as_str),
        Some("RequestSpotInstances")
    );
    let again = world.run(&["request"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(world.launched().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_second_interrupt_leaves_at_once() {
    let world = with_environment().await;
    fault(&world, "RequestSpotInstances", 0, Effect::Hang { secs: 19 });
    let (run, took) = interrupted(&world, &["request"], &[2 * SECOND, SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
}

/// Catches: a call that failed on the way out and is retried for another minute.
#[tokio::test(start_paused = true)]
async fn after_an_interrupt_nothing_is_retried() {
    let world = with_environment().await;
    fault(&world, "RequestSpotInstances", 0, Effect::Hang { secs: 5 });
    let (run, took) = interrupted(&world, &["request"], &[2 * SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(took < 7 * SECOND, "{took:?}");
    let purchases =
        world.operations_of_users().iter().filter(|name| *name == "RequestSpotInstances").count();
    assert_eq!(purchases, 1);
}

/// Catches: jobs in the queue that the user is told nothing of.
#[tokio::test(start_paused = true)]
async fn an_interrupted_submit_lists_what_it_submitted() {
    let world = with_environment().await;
    fault(&world, "SubmitJob", 2, Effect::Slow { millis: 5_000 });
    let (run, _) =
        interrupted(&world, &["submit", "-j", "hello-world", "-n", "9"], &[2 * SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert_eq!(world.accepted("SubmitJob").len(), 3);
    assert!(
        run.stdout.contains("hello-world-3") && !run.stdout.contains("hello-world-4"),
        "{}",
        run.stdout
    );
    assert!(run.stderr.contains("3 of 9 jobs were submitted, as listed"), "{}", run.stderr);
}

/// Catches: an error for somebody who has seen enough, or a 0 from which a script concludes that
/// the jobs succeeded.
#[tokio::test(start_paused = true)]
async fn a_watch_of_jobs_is_left_without_an_error() {
    let world = with_environment().await;
    let (run, took) =
        interrupted(&world, &["submit", "-j", "hello-world", "--watch"], &[60 * SECOND]).await;
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(took < 61 * SECOND, "{took:?}");
    assert!(
        run.stderr.ends_with("the jobs go on: `spotblock jobs` lists them\n"),
        "{}",
        run.stderr
    );
    for part in ["error", "stopping"] {
        assert!(!run.stderr.contains(part), "{part:?} is in {}", run.stderr);
    }
    assert_eq!(world.accepted("TerminateJob").len() + world.accepted("CancelJob").len(), 0);
}
