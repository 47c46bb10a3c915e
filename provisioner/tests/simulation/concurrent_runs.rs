//! Two runs at once: one wins, the other says so and follows it.

use std::time::Duration;

use localcloud_core::Options;
use localcloud_core::protocol::options::SpotBlock;

use super::end_state::EndState;
use super::{Run, World};

/// Two runs, the other one beginning later by so many milliseconds.
pub(super) async fn both(world: &World, command: &[&str], later: u64) -> (Run, Run) {
    tokio::join!(world.run(command), async {
        tokio::time::sleep(Duration::from_millis(later)).await;
        world.run(command).await
    })
}

/// Catches: any of the steps that two runs can't do at the same time, and a purchase that both
/// make.
#[tokio::test(start_paused = true)]
async fn two_ups_at_once_make_one_environment_and_buy_one_block() {
    let alone = World::new(Options::default());
    assert_eq!(alone.run(&["up"]).await.code, 0);
    let wanted = EndState::of(&alone).await;
    for later in [0, 7, 20, 41, 90, 250, 900, 2_000, 4_000] {
        let world = World::new(Options::default());
        let (one, other) = both(&world, &["up"], later).await;
        assert_eq!((one.code, other.code), (0, 0), "{later}: {}\n{}", one.stderr, other.stderr);
        assert_eq!(EndState::of(&world).await, wanted, "{later}: {}\n{}", one.stderr, other.stderr);
        let said = format!("{}{}", one.stderr, other.stderr);
        let follows = said.contains("another run was first: following its block")
            || said.contains("continuing block");
        assert!(follows, "{later}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_say_new_at_once_start_one_block_more() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    let (one, other) = both(&world, &["up", "--new"], 0).await;
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.stderr, other.stderr);
    assert_eq!(world.launched().len(), 2);
    // Both are told, so from now on it means another.
    assert_eq!(world.run(&["up", "--new"]).await.code, 0);
    assert_eq!(world.launched().len(), 3);
}

/// Catches: the one that follows a refused block asking again for itself.
#[tokio::test(start_paused = true)]
async fn of_two_that_are_refused_both_end_with_3() {
    let world = World::new(Options { spot_block: SpotBlock::Refuse, ..Options::default() });
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let (one, other) = both(&world, &["request"], 0).await;
    assert_eq!((one.code, other.code), (3, 3), "{}\n{}", one.stderr, other.stderr);
    assert_eq!(world.accepted("CreateLaunchTemplate").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_one_that_follows_is_told_what_it_does_not_get() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let (one, other) =
        tokio::join!(world.run(&["request"]), world.run(&["request", "--instances", "5"]));
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.stderr, other.stderr);
    let said = format!("{}{}", one.stderr, other.stderr);
    assert!(said.contains("it stays as it was bought: "), "{said}");
    assert!(matches!(world.launched().len(), 1 | 5));
}

/// Catches: minutes spent on a name that somebody else's launch template has, or that template
/// taken for a record.
#[tokio::test(start_paused = true)]
async fn a_name_that_a_foreign_launch_template_has_is_passed_over() {
    let world = World::new(Options::default());
    for number in [1, 2] {
        let name = format!("LaunchTemplateName=spotblock-spot-block-test-{number}");
        world.by_hand(
            "ec2",
            &format!("Action=CreateLaunchTemplate&{name}&LaunchTemplateData.InstanceType=t2.micro"),
        );
    }
    let start = world.now();
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("spotblock-spot-block-test-2 is somebody else's"),
        "{}",
        run.stderr
    );
    assert!(start.duration_until(world.now()).as_secs() < 60);
    let plan = world.run(&["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "{}", plan.stdout);
}
