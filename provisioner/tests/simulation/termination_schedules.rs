//! The schedules that end a block when agent and timer have failed.

use std::time::Duration;

use localcloud_core::Options;
use localcloud_core::journal::record::What;

use super::{World, example_with};

/// What became of schedules that fired: their change, and why they failed.
fn fired(world: &World) -> Vec<(String, Option<String>)> {
    world.cloud(|cloud| {
        let of = |event: &localcloud_core::Event| match &event.what {
            What::Schedule { change, error, .. } => Some((change.clone(), error.clone())),
            _ => None,
        };
        cloud.events().iter().filter_map(of).collect()
    })
}

/// Catches: a role that Scheduler can't take, or that may not end the instance; a schedule that
/// fires early, or stays.
#[tokio::test(start_paused = true)]
async fn a_schedule_fires_five_minutes_after_the_end_with_a_role_that_may_and_is_gone() {
    let world =
        World::with_config(Options::default(), &example_with("instances = 1", "instances = 3"));
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(world.accepted("CreateSchedule").len(), 3, "one each");
    let made = run.stderr.find("made 3 schedules").expect("it is said");
    assert!(
        made < run.stderr.find("to join").unwrap_or(usize::MAX),
        "before the wait: {}",
        run.stderr
    );
    world.pass(Duration::from_secs(63 * 60)).await;
    assert_eq!(fired(&world), []);
    world.pass(Duration::from_secs(5 * 60)).await;
    assert_eq!(fired(&world), vec![("fired".to_owned(), None); 3]);
    let down = world.run(&["down"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    assert_eq!(world.accepted("DeleteSchedule").len(), 0, "they deleted themselves");
}

#[tokio::test(start_paused = true)]
async fn a_second_up_makes_no_schedule_twice_and_down_deletes_them() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.accepted("CreateSchedule").len(), 1);
    let down = world.run(&["down"]).await;
    assert_eq!(down.code, 0, "{}", down.stderr);
    let order = world.operations_of_users();
    let at =
        |name: &str| order.iter().position(|it| it == name).unwrap_or_else(|| panic!("no {name}"));
    // A `down` that is killed before has left what ends the instances without it.
    assert!(
        at("TerminateInstances") < at("DeleteSchedule")
            && at("DeleteSchedule") < at("DeleteLaunchTemplate")
    );
    world.pass(Duration::from_secs(70 * 60)).await;
    assert_eq!(fired(&world), []);
}

/// Catches: rights asked of those who said that they do without.
#[tokio::test(start_paused = true)]
async fn without_schedules_scheduler_is_never_called() {
    let config = example_with("[environment]\n", "[environment]\nschedules = false\n");
    let world = World::with_config(Options::default(), &config);
    assert_eq!(world.run(&["up"]).await.code, 0);
    assert_eq!(world.run(&["down", "--all"]).await.code, 0);
    world.cloud(|cloud| assert!(cloud.calls().iter().all(|call| call.service != "scheduler")));
    assert_eq!(world.accepted("CreateRole").len(), 0);
}

/// Catches: a block bought whose third line can't be.
#[tokio::test(start_paused = true)]
async fn what_schedules_need_is_looked_for_before_anything_is_bought() {
    let world = World::new(Options::default());
    assert_eq!(world.run(&["env", "apply"]).await.code, 0);
    world.by_hand(
        "iam",
        "Action=DeleteRolePolicy&RoleName=spotblock-spot-block-test-scheduler&PolicyName=spotblock",
    );
    world.by_hand("iam", "Action=DeleteRole&RoleName=spotblock-spot-block-test-scheduler");
    let run = world.run(&["request"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains("role spotblock-spot-block-test-scheduler, which is not there"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("schedules = false"), "{}", run.stderr);
    assert_eq!(world.accepted("CreateLaunchTemplate").len(), 0);
    assert_eq!(world.run(&["up"]).await.code, 0, "`up` makes it anew");
}

/// Catches: schedules put into, or deleted with, a group that somebody else made under our name.
#[tokio::test(start_paused = true)]
async fn somebody_elses_schedule_group_is_refused_and_kept() {
    let world = World::new(Options::default());
    world.send("scheduler", "/schedule-groups/spotblock-spot-block-test", "{}");
    let run = world.run(&["up"]).await;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("was not made by spotblock"), "{}", run.stderr);
    assert_eq!(world.run(&["down", "--all"]).await.code, 0);
    assert_eq!(world.accepted("DeleteScheduleGroup").len(), 0);
}
