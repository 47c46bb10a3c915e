//! AWS, the ECS agent or the container runtime don't do what they should.

use super::*;

/// Catches: jobs that are killed without a warning, or outlive their block, because AWS can't be
/// reached or says no.
#[tokio::test(start_paused = true)]
async fn when_ecs_takes_no_stop_the_tasks_are_stopped_on_the_host() {
    type Spoil = fn(&World);
    // Where DRAINING found no hearing for forty minutes, StopTask is not waited for.
    let cases: [(&str, bool, Spoil); 4] = [
        ("every call fails", false, |world| world.facts().ecs_fails = true),
        ("every call hangs", false, |world| world.facts().ecs_hangs = true),
        ("StopTask is denied", true, |world| world.facts().stop_task_is = Some(Outcome::Refused)),
        ("the ECS agent died", true, |world| {
            world.facts().ecs_agent_dies_at = Some(today("10:50:00"))
        }),
    ];
    for (what, drained, spoil) in cases {
        let world = World::at(today("10:00:00"));
        let stubborn = FakeTask { stops_in: None, ..FakeTask::until(today("18:00:00")) };
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        world.facts().tasks.insert("stubborn".into(), stubborn);
        spoil(&world);
        live(&world, testing::state()).await;
        let (term, kill) = stopped_locally(&world, "long");
        let due = if drained { today("10:55:30") } else { today("10:55:00") };
        assert!(term >= due && term < due + SignedDuration::from_secs(15), "{what}: {term}");
        assert_eq!(clock(world.first("stop long")), "10:55:00", "{what}");
        assert!(kill.duration_since(term) >= SignedDuration::from_mins(3), "{what}: {kill}");
        let off = world.first("power-off").expect("powered off");
        assert!(kill <= off && off <= today("11:00:00"), "{what}: killed at {kill}, off at {off}");
        assert!(world.first("stop-ecs").expect("stopped") <= term, "{what}");
        assert_eq!(world.facts().lost, Vec::<String>::new(), "{what}");
    }
}

/// The worst of all at once: the ECS agent is stopped, the state lost, and ECS not to be reached.
/// Nothing on the host tells of tasks then. Catches: containers that are killed by the power-off
/// alone, without their SIGTERM.
#[tokio::test(start_paused = true)]
async fn without_state_ecs_agent_and_ecs_the_containers_are_still_stopped_in_time() {
    for (begins, hangs, due) in [
        ("10:55:10", true, "10:55:40"),
        ("10:55:10", false, "10:55:40"),
        // Before tasks are to be stopped ECS is given the time until then.
        ("10:40:00", true, "10:55:30"),
        // As late as it can be and still be something.
        ("10:59:20", true, "10:59:30"),
    ] {
        let world = World::at(today(begins));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        (world.facts().registered, world.facts().ecs_fails, world.facts().ecs_hangs) =
            (true, true, hangs);
        live(&world, testing::state()).await;
        let (term, kill) = stopped_locally(&world, "long");
        let late = term.duration_since(today(due));
        assert!(
            (0..20).contains(&late.as_secs()),
            "began at {begins}, hangs: {hangs}: stopped at {term}"
        );
        let off = world.first("power-off").expect("powered off");
        assert!(
            term < kill && off <= today("11:00:00"),
            "began at {begins}, hangs: {hangs}: {kill}, {off}"
        );
        assert!(!world.facts().deregistered, "its job would be lost");
    }
}

/// Catches: an end that waits for a container runtime which is broken.
#[tokio::test(start_paused = true)]
async fn a_broken_container_runtime_delays_nothing() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().docker_fails = true;
    world.facts().stop_task_is = Some(Outcome::Refused);
    live(&world, testing::state()).await;
    assert_eq!(world.count("stop-containers"), 3);
    assert!(!world.facts().deregistered, "its job would be lost");
    assert!(world.first("power-off").expect("powered off") < today("10:57:00"));
}

#[tokio::test(start_paused = true)]
async fn on_a_notice_what_lives_on_is_killed_so_that_ecs_hears_of_it() {
    let world = World::at(today("10:00:00"));
    let stubborn = FakeTask { stops_in: None, ..FakeTask::until(today("18:00:00")) };
    world.facts().tasks.insert("stubborn".into(), stubborn);
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(301)).await;
        later.facts().notice = Some(today("10:07:01"));
    });
    live(&world, testing::state()).await;
    let (_, killed) = stopped_locally(&world, "stubborn");
    let left = world.first("stop-ecs").expect("it left");
    assert!(killed <= today("10:06:46"), "15 s before AWS takes the host: {killed}");
    assert!(left >= killed + SignedDuration::from_secs(2), "not before ECS knows: {left}");
    assert!(world.first("power-off").expect("powered off") < today("10:07:01"));
}

#[tokio::test(start_paused = true)]
async fn an_ecs_agent_of_another_cluster_is_repaired_and_joins() {
    type Spoil = fn(&World);
    let cases: [Spoil; 2] = [
        |world| world.facts().ecs_exit = Some(5),
        |world| world.facts().joins = Some("default".into()),
    ];
    for spoil in cases {
        let world = World::at(today("10:00:00"));
        spoil(&world);
        live_until(&world, testing::state(), "10:02:00").await;
        assert_eq!(world.count("repair-ecs"), 1);
        assert_eq!(saved_state(&world).phase, Phase::Serving);
    }
}

/// Catches: the silence of containers-roadmap#2231, an instance that doesn't join and says nothing
/// about it.
#[tokio::test(start_paused = true)]
async fn why_an_instance_has_not_joined_is_found_out_and_told() {
    type Spoil = fn(&World);
    let cases: [(Spoil, &str); 5] = [
        (
            |world| (world.facts().never_registers, world.facts().imds_fails) = (true, 99),
            "IMDS doesn't answer, so the ECS agent has neither identity nor credentials: IMDS \
             identity: HTTP 503",
        ),
        (
            |world| world.facts().ecs_exit = Some(1),
            "the ECS agent doesn't run, its last exit code was 1",
        ),
        (
            |world| world.facts().never_registers = true,
            "ECS can be reached, the ECS agent has not registered",
        ),
        (
            |world| (world.facts().never_registers, world.facts().ecs_fails) = (true, true),
            "ECS can't be reached: Any for arn:own: ServerException",
        ),
        (
            |world| (world.facts().never_registers, world.facts().ecs_hangs) = (true, true),
            "ECS doesn't answer: is there a way from the subnet to it?",
        ),
    ];
    for (spoil, wanted) in cases {
        let world = World::at(today("10:00:00"));
        spoil(&world);
        live_until(&world, testing::state(), "10:03:00").await;
        let hindrance = saved_state(&world).hindrance.unwrap_or_default();
        assert!(hindrance.starts_with(wanted), "{hindrance}");
        let status = world.facts().status.clone();
        assert!(status.contains(&hindrance), "{status}");
        assert!(world.count("find") <= 4, "ECS is left alone: {}", world.count("find"));
        assert_eq!(world.count("repair-ecs"), 0);
    }
}

/// Catches: a role without a permission, or with credentials that have expired, that shows as a
/// drain which takes long.
#[tokio::test(start_paused = true)]
async fn what_ecs_refuses_or_fails_is_named_in_the_status_until_it_works() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().stop_task_is = Some(Outcome::Refused);
    live_until(&world, testing::state(), "10:55:20").await;
    let status = world.facts().status.clone();
    assert!(status.starts_with("stopping 1 task of block sb-1f2c"), "{status}");
    assert!(status.ends_with("; ECS StopTask is refused: AccessDeniedException"), "{status}");

    let world = World::at(today("10:00:00"));
    world.facts().ecs_fails = true;
    live_until(&world, testing::state(), "10:05:00").await;
    assert!(
        world.facts().status.ends_with("; ECS Any fails: ServerException"),
        "{}",
        world.facts().status
    );
    world.facts().ecs_fails = false;
    live_until(&world, saved_state(&world), "10:06:00").await;
    assert!(!world.facts().status.contains("ECS"), "{}", world.facts().status);
}
