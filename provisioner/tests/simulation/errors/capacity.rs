//! Blocks of which AWS brings nothing, or a part.

use localcloud_core::Options;
use localcloud_core::protocol::options::{SpotBlock, SpotFailure};

use super::super::{World, example_with};
use super::says;

#[tokio::test(start_paused = true)]
async fn a_request_that_brings_nothing_says_why() {
    let failing = |failure| Options { spot_failure: Some(failure), ..Options::default() };
    for (name, options, code, parts) in [
        (
            "bad-parameters",
            failing(SpotFailure::BadParameters),
            1,
            &[
                "ended with bad-parameters (Your Spot request failed due to bad parameters.)",
                "next: nothing was bought",
            ][..],
        ),
        (
            "system-error",
            failing(SpotFailure::SystemError),
            1,
            &["ended with system-error", "next: nothing was bought"],
        ),
        (
            "limit-exceeded",
            failing(SpotFailure::LimitExceeded),
            3,
            &["ended with limit-exceeded", "next: nothing was bought"],
        ),
        (
            "price-too-low",
            Options { spot_price: Some(1.0), ..Options::default() },
            3,
            &[
                "ended with schedule-expired",
                "after price-too-low (Your Spot request price of 0.03",
                "Raise [block] max-price",
            ],
        ),
        (
            "capacity-not-available",
            Options { spot_capacity: Some(0), ..Options::default() },
            3,
            &[
                "ended with schedule-expired",
                "after capacity-not-available (",
                "--valid-for waits longer",
            ],
        ),
        (
            "spot blocks are not sold",
            Options { spot_block: SpotBlock::Refuse, ..Options::default() },
            3,
            &[
                "AWS refuses to sell block sb-",
                "cause: ec2:RequestSpotInstances",
                "InvalidParameterValue",
                "next: nothing was",
            ],
        ),
    ] {
        let world = World::new(options);
        let run = world.run(&["up"]).await;
        says(name, &run, code, parts);
        assert_eq!(world.launched().len(), 0, "{name}");
        // It is written down: the next run begins another block.
        world.cloud(|cloud| cloud.options = Options::default());
        assert_eq!(world.run(&["up"]).await.code, 0, "{name}");
        assert_eq!(world.accepted("CreateLaunchTemplate").len(), 2, "{name}");
    }
}

/// Catches: a part of a block that is left running, paid for, after the user was told that there is
/// none.
#[tokio::test(start_paused = true)]
async fn it_is_all_or_nothing() {
    let options = Options { spot_capacity: Some(2), ..Options::default() };
    let world = World::with_config(options, &example_with("instances = 1", "instances = 3"));
    let parts = ["too few instances came", "schedule-expired", "next: what came was given back"];
    says("2 of 3", &world.run(&["up"]).await, 3, &parts);
    assert_eq!((world.launched().len(), world.alive()), (2, 0));
    let status = world.run(&["status"]).await;
    assert!(status.stdout.contains("spot-block refused: schedule-expired"), "{}", status.stdout);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_block_is_kept_where_it_is_enough() {
    let options = Options { spot_capacity: Some(2), ..Options::default() };
    let world = World::with_config(options, &example_with("instances = 1", "instances = 3"));
    let command = ["up", "--partial", "2"];
    for _ in 0..2 {
        let run = world.run(&command).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains("has 2 of 3 instances"), "{}", run.stderr);
    }
    assert_eq!((world.alive(), world.accepted("CreateLaunchTemplate").len()), (2, 1));
    world.cloud(|cloud| cloud.options.spot_capacity = None);
    assert_eq!(world.run(&["up", "--new"]).await.code, 0);
    assert_eq!(world.alive(), 5);
    // Too little is nothing.
    world.cloud(|cloud| cloud.options.spot_capacity = Some(1));
    says(
        "1 of 3",
        &world.run(&["up", "--new", "--partial", "2"]).await,
        3,
        &["next: what came was given back"],
    );
    assert_eq!(world.alive(), 5);
}
