//! Killed at each call in turn, before its effect or with its answer lost, and run again with the
//! same words: the same end as of a run that nobody disturbed. Between two calls a run has no
//! effect, so these are all the places there are.

use std::time::Duration;

use localcloud_core::Options;
use localcloud_core::protocol::options::SpotBlock;

use super::end_state::EndState;
use super::{Kill, World, example_with};

/// How a run that nobody disturbed ended.
pub(super) struct Undisturbed {
    pub(super) code: u8,
    pub(super) calls: usize,
    pub(super) end: EndState,
}

pub(super) async fn undisturbed(world: &World, command: &[&str]) -> Undisturbed {
    let before = world.calls_of_users();
    let run = world.run(command).await;
    let calls = world.calls_of_users() - before;
    Undisturbed { code: run.code, calls, end: EndState::of(world).await }
}

/// Kills `command` at each of its calls in a world of its own, runs it again, and compares.
pub(super) async fn at_every_call(
    prepare: impl AsyncFn() -> World,
    command: &[&str],
    kinds: &[fn(usize) -> Kill],
    least: usize,
) -> Undisturbed {
    let wanted = undisturbed(&prepare().await, command).await;
    assert!(wanted.calls >= least, "{} calls are too few for {command:?}", wanted.calls);
    for nth in harness::points(wanted.calls) {
        for kill in kinds.iter().map(|kind| kind(nth)) {
            let world = prepare().await;
            if world.run_until(command, Some(kill)).await.is_some() {
                // Whoever waits less long for the same needs fewer calls.
                assert!(nth + 5 > wanted.calls, "{command:?} was to be killed at {kill:?}");
                continue;
            }
            if kill == Kill::After(wanted.calls) && command.contains(&"--new") {
                // The user has the result: from here on the same words mean another block.
                assert!(world.printed().contains("block sb-"), "{kill:?}");
                assert_eq!(EndState::of(&world).await, wanted.end, "{command:?} {kill:?}");
                continue;
            }
            let run = world.run(command).await;
            assert_eq!(run.code, wanted.code, "{command:?} {kill:?}: {}", run.stderr);
            assert_eq!(
                EndState::of(&world).await,
                wanted.end,
                "{command:?} {kill:?}: {}",
                run.stderr
            );
        }
    }
    wanted
}

/// Before its effect, and with its answer lost.
pub(super) const BOTH: &[fn(usize) -> Kill] = &[Kill::Before, Kill::After];
/// What a run leaves that is killed before a call is what it leaves when it is killed after the one
/// before: to try both everywhere would only take longer.
pub(super) const AFTER: &[fn(usize) -> Kill] = &[Kill::After];

async fn fresh() -> World {
    World::with_config(Options::default(), &example_with("instances = 1", "instances = 3"))
}

/// A world in which everything is made that can be made.
async fn with_roles() -> World {
    let config = example_with("service-role = \"BatchServiceRole\"\n", "");
    World::with_config(
        Options::default(),
        &config.replace("instance-profile = \"ecsInstanceRole\"\n", ""),
    )
}

pub(super) async fn after(world: World, command: &[&str], code: u8) -> World {
    let run = world.run(command).await;
    assert_eq!(run.code, code, "{}", run.stderr);
    world
}

/// Catches: a step that can't be repeated, a purchase that the loss of its answer repeats, an
/// instance left untagged.
#[tokio::test(start_paused = true)]
async fn up_ends_the_same_wherever_it_was_killed() {
    let wanted = at_every_call(fresh, &["up"], AFTER, 20).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn up_that_makes_its_roles_ends_the_same_wherever_it_was_killed() {
    let wanted = at_every_call(with_roles, &["env", "apply"], BOTH, 20).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn request_ends_the_same_wherever_it_was_killed() {
    let prepare = async || after(World::new(Options::default()), &["env", "apply"], 0).await;
    let wanted = at_every_call(prepare, &["request"], BOTH, 15).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 1));
}

/// Catches: `--new` that means another each time it is said, so that its repetition after a crash
/// buys a third.
#[tokio::test(start_paused = true)]
async fn up_new_beside_a_live_block_buys_one_more_wherever_it_was_killed() {
    let prepare = async || after(World::new(Options::default()), &["up"], 0).await;
    let wanted = at_every_call(prepare, &["up", "--new"], AFTER, 15).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn up_after_a_refusal_begins_one_block_wherever_it_was_killed() {
    let prepare = async || {
        let world = World::new(Options { spot_block: SpotBlock::Refuse, ..Options::default() });
        let world = after(world, &["up"], 3).await;
        world.cloud(|cloud| cloud.options.spot_block = SpotBlock::Grant);
        world
    };
    let wanted = at_every_call(prepare, &["request"], AFTER, 15).await;
    assert_eq!((wanted.code, wanted.end.bought()), (0, 1));
}

/// Catches: a refusal that is forgotten because the run was killed before it was written down.
#[tokio::test(start_paused = true)]
async fn a_refused_purchase_ends_with_3_wherever_it_was_killed() {
    let refusing = || World::new(Options { spot_block: SpotBlock::Refuse, ..Options::default() });
    let prepare = async || after(refusing(), &["env", "apply"], 0).await;
    let calls = undisturbed(&prepare().await, &["request"]).await.calls;
    for kill in harness::points(calls).map(Kill::After) {
        let world = prepare().await;
        assert!(world.run_until(&["request"], Some(kill)).await.is_none(), "{kill:?}");
        let run = world.run(&["request"]).await;
        assert_eq!(run.code, 3, "{kill:?}: {}", run.stderr);
        assert_eq!(world.launched().len(), 0);
        // Killed after it was written down, the next run begins another block: the user was told of
        // none.
        let records = world.accepted("CreateLaunchTemplate").len();
        assert_eq!(records, if kill == Kill::After(calls) { 2 } else { 1 }, "{kill:?}");
        let refused = world.accepted("CreateTags");
        assert_eq!(
            refused.iter().filter(|it| it.parameters.to_string().contains("refused:")).count(),
            records
        );
    }
}

#[tokio::test(start_paused = true)]
async fn down_ends_the_same_wherever_it_was_killed() {
    let prepare = async || after(fresh().await, &["up"], 0).await;
    let wanted = at_every_call(prepare, &["down"], BOTH, 10).await;
    assert_eq!(wanted.code, 0);
}

#[tokio::test(start_paused = true)]
async fn down_all_leaves_nothing_wherever_it_was_killed() {
    let prepare = async || after(with_roles().await, &["up"], 0).await;
    let wanted = at_every_call(prepare, &["down", "--all"], AFTER, 30).await;
    assert_eq!(wanted.code, 0);
}

/// Catches: a block that came up behind the back of a `down` that didn't wait for what a killed
/// `up` had ordered.
#[tokio::test(start_paused = true)]
async fn whatever_a_killed_up_left_down_ends_it() {
    let slow = || {
        let mut options = Options::default();
        options.pace.consistency_ms = 10_000;
        World::new(options)
    };
    let prepare = async || after(slow(), &["env", "apply"], 0).await;
    let calls = undisturbed(&prepare().await, &["request"]).await.calls;
    for nth in harness::points(calls) {
        let world = prepare().await;
        let _ = world.run_until(&["request"], Some(Kill::After(nth))).await;
        let down = world.run(&["down"]).await;
        assert_eq!(down.code, 0, "{nth}: {}", down.stderr);
        // An untagged instance of our own request is tagged before it is ended.
        let order = world.operations_of_users();
        let first = |name: &str| order.iter().position(|it| it == name);
        assert!(
            first("TerminateInstances")
                .is_none_or(|end| first("CreateTags").is_some_and(|tag| tag < end)),
            "{nth}"
        );
        world.pass(Duration::from_secs(120)).await;
        assert_eq!(world.alive(), 0, "{nth}: {}", down.stderr);
        let status = world.run(&["status"]).await.stdout;
        assert!(status.contains("no block"), "{nth}: {status}");
    }
}

/// Catches: a run that takes what AWS doesn't show yet for what was never bought, or what it shows
/// of three for all.
#[tokio::test(start_paused = true)]
async fn a_purchase_that_is_not_shown_yet_is_found_by_its_token() {
    let mut options = Options::default();
    options.pace.consistency_ms = 30_000;
    let world = World::with_config(options, &example_with("instances = 1", "instances = 3"));
    let bought = killed_at_its_purchase(&world, &["up"]).await;
    assert_eq!(bought, 1, "AWS has sold, and the answer is lost");
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let purchases = world.accepted("RequestSpotInstances");
    assert_eq!(purchases.len(), 2, "asked again");
    assert_eq!(
        purchases[0].parameters, purchases[1].parameters,
        "with the same words, token and ValidUntil included"
    );
    assert_eq!(world.launched().len(), 3, "and nothing was sold again");
}

/// Kills `command` after its purchase, and gives how many were accepted so far.
async fn killed_at_its_purchase(world: &World, command: &[&str]) -> usize {
    let calls = {
        let other = World::new(Options::default());
        assert_eq!(other.run(command).await.code, 0);
        let calls = other.operations_of_users();
        calls.iter().position(|name| name == "RequestSpotInstances").expect("a purchase") + 1
    };
    assert!(world.run_until(command, Some(Kill::After(calls))).await.is_none());
    world.accepted("RequestSpotInstances").len()
}

/// Catches: a block given up at ValidUntil although its purchase was made in time and is only not
/// shown yet.
#[tokio::test(start_paused = true)]
async fn a_purchase_that_shows_only_after_valid_until_is_found_by_its_tag() {
    let mut options = Options::default();
    options.pace.consistency_ms = 90_000;
    let world = World::new(options);
    let command = ["up", "--valid-for", "1m"];
    assert_eq!(killed_at_its_purchase(&world, &command).await, 1);
    world.pass(Duration::from_secs(65)).await;
    let run = world.run(&command).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("may have been made in time"), "{}", run.stderr);
    assert_eq!(
        world.accepted("RequestSpotInstances").len(),
        1,
        "after ValidUntil nothing is asked for again"
    );
    assert_eq!(world.launched().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn run_again_after_valid_until_up_buys_once_wherever_it_was_killed() {
    let prepare = async || after(World::new(Options::default()), &["env", "apply"], 0).await;
    let calls = undisturbed(&prepare().await, &["request"]).await.calls;
    for nth in harness::points(calls) {
        let world = prepare().await;
        if world.run_until(&["request"], Some(Kill::After(nth))).await.is_some() {
            continue;
        }
        world.pass(Duration::from_secs(11 * 60)).await;
        let run = world.run(&["request"]).await;
        assert_eq!(run.code, 0, "{nth}: {}", run.stderr);
        assert_eq!(world.launched().len(), 1, "{nth}: {}", run.stderr);
    }
}

/// Catches: a record that isn't shown yet taken for none, or for somebody else's.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_shown_yet_is_waited_for() {
    let mut options = Options::default();
    options.pace.template_ms = 40_000;
    let world = World::new(options);
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    let order = {
        let other = World::new(Options::default());
        assert_eq!(other.run(&["env", "apply"]).await.code, 0);
        let before = other.calls_of_users();
        assert_eq!(other.run(&["request"]).await.code, 0);
        other.operations_of_users().split_off(before)
    };
    let recorded =
        order.iter().position(|name| name == "CreateLaunchTemplate").expect("a record") + 1;
    assert!(world.run_until(&["request"], Some(Kill::After(recorded))).await.is_none());
    let (one, other) = tokio::join!(world.run(&["request"]), world.run(&["request"]));
    assert_eq!((one.code, other.code), (0, 0), "{}\n{}", one.stderr, other.stderr);
    assert!(
        one.stderr.contains("waiting for launch template spotblock-spot-block-test-1 to be shown"),
        "{}",
        one.stderr
    );
    assert_eq!((world.accepted("CreateLaunchTemplate").len(), world.launched().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn drain_ends_the_same_wherever_it_was_killed() {
    let prepare = async || after(fresh().await, &["up"], 0).await;
    let wanted = at_every_call(prepare, &["drain", "--wait"], AFTER, 5).await;
    assert_eq!(wanted.code, 0);
}

#[tokio::test(start_paused = true)]
async fn reap_ends_the_same_wherever_it_was_killed() {
    let prepare = async || {
        let world = after(fresh().await, &["up"], 0).await;
        world.pass(Duration::from_secs(100 * 60)).await;
        world
    };
    let wanted = at_every_call(prepare, &["reap"], AFTER, 5).await;
    assert_eq!(wanted.code, 0);
}

/// Catches: an extension that, stopped in between, leaves a schedule which ends the block at its
/// old end.
#[tokio::test(start_paused = true)]
async fn an_extension_to_a_moment_ends_the_same_wherever_it_was_killed() {
    let prepare = async || {
        let config = super::fallback::config(&["on-demand"]);
        // With agents, which answer.
        let options = Options { light_nodes_above: 0, ..super::fallback::today(&[]) };
        after(World::with_config(options, &config), &["up"], 0).await
    };
    let wanted = at_every_call(prepare, &["extend", "--to", "2026-11-24T13:00:00Z"], BOTH, 8).await;
    assert_eq!(wanted.code, 0);
}
