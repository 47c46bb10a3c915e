//! Beginnings, with a fake IMDS and a fake disk.

use std::sync::Arc;

use jiff::SignedDuration;
use node_contract::user_data::embed;

use super::*;
use crate::lifecycle::Phase;
use crate::ports::Clock;
use crate::testing::{self, Trouble, World, at};

async fn find_out(world: &Arc<World>, clock: &BootClock) -> Found {
    find_out_with(world, clock, None).await
}

async fn find_out_with(
    world: &Arc<World>,
    clock: &BootClock,
    max_life: Option<SignedDuration>,
) -> Found {
    let ports = world.ports();
    let boot = Boot {
        metadata: ports.metadata.as_ref(),
        clock,
        store: ports.store.as_ref(),
        supervisor: ports.supervisor.as_ref(),
        given: None,
        max_life,
    };
    boot.find_out().await
}

fn world() -> Arc<World> {
    let world = World::at(at("2026-11-24T10:00:00Z"));
    world.facts().identity = Some(testing::identity());
    world.facts().user_data = Some(format!("#!/bin/sh\n{}", embed(&testing::config())));
    world
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_takes_everything_from_imds() {
    let found = find_out(&world(), &BootClock::new()).await;
    assert_eq!((found.identity, found.config), (testing::identity(), testing::config()));
    assert_eq!(
        (found.state.phase, found.state.timeline),
        (Phase::Joining, testing::state().timeline)
    );
}

/// Catches: lifecycled#84's kin, an agent that ends because IMDS is down when the host starts.
#[tokio::test(start_paused = true)]
async fn imds_that_is_down_is_asked_for_ever_and_not_in_a_hurry() {
    let world = world();
    world.facts().imds_fails = 200;
    let before = world.now();
    find_out(&world, &BootClock::new()).await;
    let took = before.duration_until(world.now());
    assert!(took > SignedDuration::from_mins(45) && took < SignedDuration::from_mins(50), "{took}");
    assert!(world.facts().status.contains("waiting for IMDS"), "{}", world.facts().status);
    assert!(world.count("alive") > 190, "the watchdog is fed meanwhile");
}

#[tokio::test(start_paused = true)]
async fn user_data_without_settings_is_read_again_and_nothing_is_started() {
    let cases = [
        (None, "the instance has no user data"),
        (Some("#!/bin/sh\necho hello\n".to_owned()), "holds no spotblock settings"),
        (Some(embed(&testing::config()).replace("sb-1f2c", "sb-")), "block"),
        (Some(embed(&testing::config()).replace("\"version\":1", "\"version\":2")), "version 2"),
        (Some(embed(&testing::config()).replace("cluster", "klaster")), "klaster"),
    ];
    for (text, said) in cases {
        let world = world();
        world.facts().user_data = text.clone();
        let clock = BootClock::new();
        let waited = tokio::time::timeout(Duration::from_secs(595), find_out(&world, &clock)).await;
        assert!(waited.is_err(), "{text:?}");
        let status = world.facts().status.clone();
        assert!(status.starts_with("no block: ") && status.contains(said), "{status}");
        assert_eq!(world.count("user-data"), 10, "once a minute");
        world.facts().user_data = Some(embed(&testing::config()));
        find_out(&world, &clock).await;
    }
}

fn saved_at(phase: Phase, boot_id: &str) -> Saved {
    let mut saved = testing::saved();
    saved.state.phase = phase;
    saved.anchor.boot_id = boot_id.into();
    saved
}

/// A state that was saved in this boot, and the clock by which it was.
fn saved_in_this_boot(phase: Phase) -> (Saved, BootClock) {
    let clock = BootClock::new();
    clock.saw_date("Tue, 24 Nov 2026 10:00:00 GMT");
    (Saved { anchor: clock.anchor(), ..saved_at(phase, "") }, clock)
}

/// Catches: a restart in the middle of a drain that waits for an IMDS which is down, or hangs.
#[tokio::test(start_paused = true)]
async fn in_the_same_boot_the_saved_state_is_enough() {
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        let world = world();
        world.facts().trouble = Some((0, trouble));
        let (saved, first) = saved_in_this_boot(Phase::Draining);
        world.facts().saved = Some(saved.clone());
        let (second, before) = (BootClock::new(), world.now());
        let found = find_out(&world, &second).await;
        assert_eq!(
            (found.state.phase, found.anchor),
            (Phase::Draining, saved.anchor),
            "{trouble:?}"
        );
        let apart = first.now().duration_until(second.now()).abs();
        assert!(apart < SignedDuration::from_secs(1), "its clock goes on: {apart}");
        assert!(before.duration_until(world.now()) <= SignedDuration::from_secs(1), "{trouble:?}");
    }
}

/// Catches: a folder that was copied from one container to another on the same host, and an agent
/// that takes itself for the first one's: its block, its registration and its end.
#[tokio::test(start_paused = true)]
async fn in_the_same_boot_the_state_of_another_instance_is_not_used() {
    let world = world();
    let (mut saved, _) = saved_in_this_boot(Phase::Gone);
    saved.identity.instance = "i-ffff".into();
    world.facts().saved = Some(saved);
    let found = find_out(&world, &BootClock::new()).await;
    assert_eq!((found.state.phase, found.identity.instance.as_str()), (Phase::Joining, "i-0a1b"));
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_life_goes_on_and_no_deadline_has_moved_away() {
    let world = world();
    let mut saved = saved_at(Phase::Stopping, "another boot");
    saved.state.timeline.end = at("2026-11-24T10:30:00Z");
    world.facts().saved = Some(saved);
    let found = find_out(&world, &BootClock::new()).await;
    assert_eq!(found.state.phase, Phase::Stopping);
    assert_eq!(found.state.timeline.end, at("2026-11-24T10:30:00Z"));
    assert_ne!(found.anchor.boot_id, "another boot");
}

/// Catches: an instance that lives on because IMDS, or the clock that it is held against, says that
/// it was launched in the future.
#[tokio::test(start_paused = true)]
async fn a_launch_that_is_ahead_does_not_put_off_the_end() {
    let found = launched_at(at("2099-01-01T00:00:00Z"), &BootClock::new()).await;
    let late = found.identity.launched.duration_until(found.state.since);
    assert!(late >= SignedDuration::ZERO && late < SignedDuration::from_secs(1), "{found:?}");
    assert_eq!(found.state.timeline, Timeline::new(&testing::config(), found.identity.launched));
}

/// Catches: a block that is over as soon as it begins, on every host that runs in a container of a
/// machine which has been up for longer.
#[tokio::test(start_paused = true)]
async fn a_launch_after_the_boot_counts() {
    let clock = BootClock::new();
    let launched = clock.now() - SignedDuration::from_millis(1);
    assert!(clock.anchored().booted_at < launched, "the test needs a machine that is up");
    assert_eq!(launched_at(launched, &clock).await.identity.launched, launched);
}

async fn launched_at(launched: Timestamp, clock: &BootClock) -> Found {
    let world = world();
    world.facts().identity = Some(Identity { launched, ..testing::identity() });
    find_out(&world, clock).await
}

/// Catches: a baked image that makes every host of it power off at its first boot.
#[tokio::test(start_paused = true)]
async fn the_state_of_another_instance_is_not_used() {
    let world = world();
    let mut saved = saved_at(Phase::Gone, "another boot");
    saved.identity.instance = "i-ffff".into();
    world.facts().saved = Some(saved);
    let found = find_out(&world, &BootClock::new()).await;
    assert_eq!((found.state.phase, found.identity.instance.as_str()), (Phase::Joining, "i-0a1b"));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_can_t_be_read_is_passed_over() {
    let world = world();
    world.facts().disk_fails = true;
    assert_eq!(find_out(&world, &BootClock::new()).await.state.phase, Phase::Joining);
}

#[tokio::test(start_paused = true)]
async fn a_given_maximum_holds_in_the_first_life_and_in_every_later_one() {
    let longest = Some(SignedDuration::from_mins(30));
    let end = at("2026-11-24T10:30:00Z");
    let first = find_out_with(&world(), &BootClock::new(), longest).await.state;
    assert_eq!((first.timeline.end, first.limit), (end, Some(end)));
    assert_eq!(first.timeline.stop_at, at("2026-11-24T10:25:00Z"), "the leads stay");

    let world = world();
    world.facts().saved = Some(saved_at(Phase::Serving, "another boot"));
    let later = find_out_with(&world, &BootClock::new(), longest).await.state;
    assert_eq!((later.timeline.end, later.limit), (end, Some(end)));
    let longer =
        find_out_with(&world, &BootClock::new(), Some(SignedDuration::from_hours(9))).await.state;
    assert_eq!(longer.timeline.end, testing::state().timeline.end);
}

/// Catches: a restart that takes an extension back.
#[tokio::test(start_paused = true)]
async fn an_extension_outlives_a_restart_and_a_reboot() {
    let world = world();
    let mut saved = saved_at(Phase::Serving, "another boot");
    let moved = at("2026-11-24T12:00:00Z");
    saved.state.moved_to = Some(moved);
    saved.state.timeline = Timeline::moved_to(&saved.config, saved.identity.launched, moved);
    world.facts().saved = Some(saved);
    assert_eq!(find_out(&world, &BootClock::new()).await.state.timeline.end, moved);
}
