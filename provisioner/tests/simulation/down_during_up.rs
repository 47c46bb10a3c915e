//! A whole `down` in the middle of an `up`, at each of its calls in turn.

use localcloud_core::Options;
use localcloud_core::protocol::options::SpotBlock;

use super::fallback::{config, today};
use super::killed::after;
use super::{Kill, World};

async fn prepared(sources: &[&str], consistency_ms: u64) -> World {
    let mut options = Options { spot_block: SpotBlock::Grant, ..today(&[]) };
    options.pace.consistency_ms = consistency_ms;
    after(World::with_config(options, &config(sources)), &["env", "apply"], 0).await
}

/// How many instances, reservations and schedules of blocks are left.
fn left(world: &World) -> [usize; 3] {
    let reserved = world.reservations().iter().filter(|it| *it != "cancelled").count();
    let schedules = world.accepted("CreateSchedule").len() - world.accepted("DeleteSchedule").len();
    [world.alive(), reserved, schedules]
}

/// Runs `down` in the middle of `up` at each of its calls, its answer on the way.
async fn at_each_call(sources: &[&str], consistency_ms: u64) {
    let undisturbed = prepared(sources, consistency_ms).await;
    let before = undisturbed.calls_of_users();
    assert_eq!(undisturbed.run(&["request"]).await.code, 0);
    let calls = undisturbed.operations_of_users().split_off(before);
    let recorded = calls.iter().position(|name| name == "CreateLaunchTemplate").expect("a record");
    let mut said = 0;
    // Before a call is after the one before; and before there is a record, `down` has nothing to
    // end.
    let points = harness::points(calls.len()).filter(|point| *point >= recorded);
    for at in points.map(Kill::After) {
        let world = prepared(sources, consistency_ms).await;
        let (up, down) = world.run_paused(&["request"], at, world.run(&["down"])).await;
        let told = format!(
            "{sources:?} {at:?}: {}\n--- down: {:?}",
            up.stderr,
            down.as_ref().map(|it| &it.stderr)
        );
        let Some(down) = down else { panic!("it never stood still: {told}") };
        assert_eq!(down.code, 0, "{told}");
        world.pass(std::time::Duration::from_secs(120)).await;
        assert!(world.launched().len() <= 3, "bought twice: {told}");
        if down.stderr.contains("ending block sb-") {
            assert_eq!(left(&world), [0; 3], "{told}");
            // At its last words it may have all, and be told of it.
            assert!(matches!(up.code, 1 | 4) || up.stdout.contains("block sb-"), "{told}");
        } else {
            assert_eq!(
                (up.code, world.alive()),
                (0, 3),
                "begun after `down` had looked, it is another block: {told}"
            );
            let next = world.run(&["down"]).await;
            assert_eq!((next.code, left(&world)), (0, [0; 3]), "{told}\n{}", next.stderr);
        }
        said += usize::from(
            up.stderr.contains("was ended by `spotblock down` while this run brought it"),
        );
    }
    assert!(!harness::takes_all_points() || said > 5, "{said}");
}

/// Catches: what `up` buys behind the back of a `down` that has looked, left running with nobody
/// who knows of it.
#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_nothing_of_a_spot_block() {
    at_each_call(&["spot-block"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_nothing_of_a_fleet() {
    at_each_call(&["on-demand"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_nothing_of_a_ladder() {
    at_each_call(&["spot", "on-demand"], 0).await;
}

/// Catches: a reservation made for a launch that then has no template any more, left to cost until
/// its end date.
#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_no_reservation() {
    at_each_call(&["reservation"], 0).await;
}

/// The same where AWS shows a purchase only after a while.
#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_nothing_of_a_fleet_that_is_shown_late() {
    at_each_call(&["on-demand"], 10_000).await;
}

#[tokio::test(start_paused = true)]
async fn down_in_the_middle_of_an_up_leaves_no_reservation_that_is_shown_late() {
    at_each_call(&["reservation"], 10_000).await;
}
