//! Whole lives in a fake world, on paused time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use node_contract::OnRebalance;

use super::*;
use crate::lifecycle::Outcome;
use crate::testing::{self, FakeTask, World, at};

fn node() -> Node {
    Node { identity: testing::identity(), config: testing::config(), rules: testing::rules() }
}

fn today(time: &str) -> Timestamp {
    at(&format!("2026-11-24T{time}Z"))
}

/// The time of day to the second.
fn clock(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.strftime("%H:%M:%S").to_string())
}

/// Lives from `state` until the host is powered off, or for two hours.
async fn live(world: &Arc<World>, state: State) {
    live_as(node(), world, state).await;
}

async fn live_as(node: Node, world: &Arc<World>, state: State) {
    let off = async {
        let _ = tokio::time::timeout(Duration::from_secs(7_200), world.off.notified()).await;
    };
    run(node, state, world.ports(), off).await;
}

/// Changes the world after so many milliseconds.
fn later(world: &Arc<World>, millis: u64, change: impl FnOnce(&mut crate::testing::Facts) + Send + 'static) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        change(&mut world.facts());
    });
}

/// Lives until this time, and is then ended by SIGTERM.
async fn live_until(world: &Arc<World>, state: State, time: &str) {
    let length = (today(time).duration_since(world.ports().clock.now())).unsigned_abs();
    run(node(), state, world.ports(), tokio::time::sleep(length)).await;
}

fn saved_state(world: &World) -> State {
    world.facts().saved.clone().expect("a saved state").state
}

#[tokio::test(start_paused = true)]
async fn a_good_life_joins_drains_waits_for_its_jobs_and_leaves() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("10:30:00")));
    live(&world, testing::state()).await;

    assert_eq!(clock(world.first("start-ecs")), "10:00:00");
    assert_eq!(clock(world.first("drain")), "10:15:00");
    let first_survey = world.first("survey").expect("ECS was asked");
    assert!(first_survey >= today("10:30:00"), "ECS is left alone while a job runs");
    assert_eq!(world.first("stop long"), None, "a job that ends in time is not stopped");
    let (stopped, deregistered, off) = (world.first("stop-ecs"), world.first("deregister"), world.first("power-off"));
    assert!(stopped.is_some() && stopped <= deregistered && deregistered <= off);
    let off = off.expect("powered off");
    assert!(off >= today("10:30:08") && off < today("10:30:20"), "soon after the settle time: {off}");
    assert!(world.count("survey") <= 6, "{}", world.count("survey"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_too_long_is_stopped_with_the_reason_that_retry_rules_know() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live(&world, testing::state()).await;

    let (asked, reason) = world.facts().tasks["long"].stop.clone().expect("it was stopped");
    assert_eq!(clock(Some(asked)), "10:55:00");
    assert_eq!(reason, "Host EC2 (instance i-0a1b) leaves: the block ends");
    let left = world.first("stop-ecs").expect("it left");
    assert!(left >= today("10:55:03"), "not before ECS knows that it stopped");
    assert!(world.first("power-off").expect("powered off") < today("10:56:00"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ignores_sigterm_holds_nothing_up() {
    let world = World::at(today("10:00:00"));
    let task = FakeTask { stops_in: None, ..FakeTask::until(today("18:00:00")) };
    world.facts().tasks.insert("stubborn".into(), task);
    live(&world, testing::state()).await;
    let (_, killed) = stopped_locally(&world, "stubborn");
    let left = world.first("stop-ecs").expect("it left");
    assert!(left >= killed + SignedDuration::from_secs(2) && left <= today("10:59:30"), "ECS knows: {left}");
    assert!(world.first("power-off").expect("powered off") <= today("11:00:00"));
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_acted_on_within_two_seconds() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(301)).await;
        later.facts().notice = Some(today("10:07:00"));
    });
    live(&world, testing::state()).await;
    for what in ["drain", "stop long"] {
        assert!(world.first(what).expect(what) <= today("10:05:03"), "{what}: {:?}", world.first(what));
    }
    assert!(world.first("power-off").expect("powered off") < today("10:06:00"));
}

/// Catches: a task placed after the last look at the host, which the notice would forget.
#[tokio::test(start_paused = true)]
async fn a_task_that_comes_with_the_notice_is_stopped_too() {
    let world = World::at(today("10:00:00"));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(301)).await;
        later.facts().notice = Some(today("10:07:00"));
        tokio::time::sleep(Duration::from_secs(2)).await;
        later.facts().tasks.insert("late".into(), FakeTask::until(today("18:00:00")));
    });
    live(&world, testing::state()).await;
    assert!(world.first("stop late").expect("stopped") < today("10:05:10"));
    assert!(world.first("power-off").expect("powered off") < today("10:07:00"));
}

#[tokio::test(start_paused = true)]
async fn draining_set_by_somebody_else_starts_the_drain() {
    let world = World::at(today("10:00:00"));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(120)).await;
        later.facts().drained = true;
    });
    live(&world, testing::state()).await;
    let off = world.first("power-off").expect("powered off");
    assert!(off > today("10:02:06") && off < today("10:02:40"), "{off}");
}

#[tokio::test(start_paused = true)]
async fn sigterm_saves_and_touches_nothing() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live_until(&world, testing::state(), "10:20:00").await;
    let last = world.facts().log.last().cloned();
    assert_eq!(last.map(|(_, what)| what), Some("save draining".to_owned()));
    for what in ["stop long", "stop-ecs", "deregister", "power-off"] {
        assert_eq!(world.first(what), None, "{what}");
    }
}

/// Catches: a loop that acts first, and forgets after a crash what it was about to do.
#[tokio::test(start_paused = true)]
async fn a_phase_is_saved_before_anything_of_it_is_done() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live(&world, testing::state()).await;
    let log = world.facts().log.clone();
    let place = |what: &str| log.iter().position(|(_, said)| said == what).expect(what);
    for (saved, done) in [
        ("save joining", "start-ecs"),
        ("save draining", "drain"),
        ("save stopping", "stop long"),
        ("save leaving", "stop-ecs"),
        ("save gone", "power-off"),
    ] {
        assert!(place(saved) < place(done), "{saved} comes after {done}");
    }
}

/// Catches: any state from which a restart doesn't finish.
#[tokio::test(start_paused = true)]
async fn a_restart_at_any_time_comes_to_the_same_end() {
    for time in ["10:00:01", "10:05:00", "10:15:00", "10:20:00", "10:54:59", "10:55:00", "10:55:02", "10:55:09"] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        live_until(&world, testing::state(), time).await;
        live(&world, saved_state(&world)).await;
        let (asked, _) = world.facts().tasks["long"].stop.clone().expect("it was stopped");
        assert!(asked < today("10:55:05"), "restarted at {time}: {asked}");
        let off = world.first("power-off").expect("powered off");
        assert!(off < today("10:56:00"), "restarted at {time}: {off}");
        assert!(world.facts().deregistered, "restarted at {time}");
    }
}

#[tokio::test(start_paused = true)]
async fn ecs_that_fails_or_hangs_for_ever_delays_no_deadline() {
    for hangs in [false, true] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        world.facts().ecs_fails = true;
        world.facts().ecs_hangs = hangs;
        live(&world, testing::state()).await;
        assert_eq!(clock(world.first("drain")), "10:15:00");
        assert_eq!(clock(world.first("stop long")), "10:55:00");
        let drains = world.count("drain");
        assert!((40..200).contains(&drains), "it goes on trying, politely: {drains}");
        let off = world.first("power-off").expect("powered off");
        assert!(off > today("10:55:30") && off <= today("11:00:00"), "hangs: {hangs}, off at {off}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_on_the_host_that_fails_or_hangs_delays_the_end() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    world.facts().stop_ecs_hangs = true;
    world.facts().tasks.get_mut("long").expect("it").stops_in = None;
    live(&world, testing::state()).await;
    assert!(world.first("power-off").expect("powered off") <= today("11:00:00"));

    let world = World::at(today("10:54:00"));
    world.facts().host_fails = true;
    live_until(&world, testing::state(), "11:01:00").await;
    assert!(world.first("power-off").expect("asked for") < today("10:55:00"), "it can't join, so it leaves");
    assert!(world.count("power-off") >= 30, "again every ten seconds: {}", world.count("power-off"));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_nothing() {
    let world = World::at(today("10:00:00"));
    world.facts().disk_fails = true;
    live(&world, testing::state()).await;
    assert_eq!(clock(world.first("drain")), "10:15:00");
    assert!(world.first("power-off").expect("powered off") < today("10:16:00"));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_told_and_signs_of_life_never_stop() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    live_until(&world, testing::state(), "10:10:00").await;
    assert_eq!(world.facts().status, "serving block sb-1f2c, 1 task, drain in 5 min");
    let alive: Vec<Timestamp> =
        world.facts().log.iter().filter(|(_, what)| what == "alive").map(|(at, _)| *at).collect();
    let longest = alive.windows(2).map(|pair| pair[0].duration_until(pair[1])).max().expect("many");
    assert!(longest < SignedDuration::from_secs(20), "{longest}");
}

/// Catches: an agent that busies its host, or ECS, while nothing happens.
#[tokio::test(start_paused = true)]
async fn serving_is_quiet() {
    let world = World::at(today("10:00:00"));
    live_until(&world, testing::state(), "10:10:00").await;
    assert!((38..=44).contains(&world.count("status")), "every 15 s: {}", world.count("status"));
    assert!(world.count("save serving") <= 3, "{}", world.count("save serving"));
    assert_eq!(world.count("start-ecs"), 1);
}

/// When a task got SIGTERM by the container runtime, and when SIGKILL was to follow.
fn stopped_locally(world: &World, task: &str) -> (Timestamp, Timestamp) {
    world.facts().tasks[task].local.unwrap_or_else(|| panic!("{task} was not stopped on the host"))
}

/// Catches: jobs that are killed without a warning, or outlive their block, because AWS can't be reached or says no.
#[tokio::test(start_paused = true)]
async fn when_ecs_takes_no_stop_the_tasks_are_stopped_on_the_host() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 4] = [
        ("every call fails", |world| world.facts().ecs_fails = true),
        ("every call hangs", |world| world.facts().ecs_hangs = true),
        ("StopTask is denied", |world| world.facts().stop_task_is = Some(Outcome::Refused)),
        ("the ECS agent died", |world| world.facts().ecs_agent_dies_at = Some(today("10:50:00"))),
    ];
    for (what, spoil) in cases {
        let world = World::at(today("10:00:00"));
        let stubborn = FakeTask { stops_in: None, ..FakeTask::until(today("18:00:00")) };
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        world.facts().tasks.insert("stubborn".into(), stubborn);
        spoil(&world);
        live(&world, testing::state()).await;
        assert_eq!(clock(world.first("stop long")), "10:55:00", "{what}");
        let (term, kill) = stopped_locally(&world, "long");
        assert!(term >= today("10:55:30") && term < today("10:55:45"), "{what}: {term}");
        assert!(kill.duration_since(term) >= SignedDuration::from_mins(3), "{what}: {kill}");
        let off = world.first("power-off").expect("powered off");
        assert!(kill < off && off <= today("11:00:00"), "{what}: killed at {kill}, off at {off}");
        assert!(world.first("stop-ecs").expect("stopped") <= term, "{what}");
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
    assert!(world.facts().deregistered, "what can still be done is done");
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
    let cases: [Spoil; 2] =
        [|world| world.facts().ecs_exit = Some(5), |world| world.facts().joins = Some("default".into())];
    for spoil in cases {
        let world = World::at(today("10:00:00"));
        spoil(&world);
        live_until(&world, testing::state(), "10:02:00").await;
        assert_eq!(world.count("repair-ecs"), 1);
        assert_eq!(saved_state(&world).phase, Phase::Serving);
    }
}

/// Catches: the silence of containers-roadmap#2231, an instance that doesn't join and says nothing about it.
#[tokio::test(start_paused = true)]
async fn why_an_instance_has_not_joined_is_found_out_and_told() {
    type Spoil = fn(&World);
    let cases: [(Spoil, &str); 4] = [
        (|world| world.facts().ecs_exit = Some(1), "the ECS agent doesn't run, its last exit code was 1"),
        (|world| world.facts().never_registers = true, "ECS can be reached, the ECS agent has not registered"),
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

/// Catches: a poll that drifts, waits for a slow neighbour or sleeps beside the pace. The fake ECS takes 20 ms to answer.
#[tokio::test(start_paused = true)]
async fn draining_is_accepted_within_1_2_s_of_a_notice_at_the_99th_percentile() {
    let mut waits = Vec::new();
    for number in 0..200_u32 {
        let world = World::at(today("10:00:00"));
        // At all phases of the poll, and of what is polled beside it.
        let after = 20_000 + number * 137;
        let noticed = today("10:00:00") + SignedDuration::from_millis(after.into());
        later(&world, after.into(), |facts| facts.notice = Some(today("10:07:00")));
        run(node(), testing::state(), world.ports(), world.draining.notified()).await;
        let drained = world.facts().drained_at.expect("drained");
        waits.push(noticed.duration_until(drained));
    }
    waits.sort_unstable();
    let (median, p99) = (waits[100], waits[197]);
    assert!(p99 <= SignedDuration::from_millis(1_200), "{p99}");
    assert!(median <= SignedDuration::from_millis(700), "{median}");
}

#[tokio::test(start_paused = true)]
async fn a_termination_time_in_the_old_place_is_a_notice() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    later(&world, 301_000, |facts| facts.termination_time = Some(today("10:07:00")));
    live(&world, testing::state()).await;
    assert!(world.first("stop long").expect("stopped") <= today("10:05:07"));
    assert!(world.first("power-off").expect("powered off") < today("10:07:00"));
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_recommendation_is_ignored_or_drains_as_the_block_says() {
    for (policy, wanted) in [(OnRebalance::Ignore, "10:15:00"), (OnRebalance::Drain, "10:05:05")] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("10:30:00")));
        later(&world, 302_000, |facts| facts.rebalance = Some(today("10:05:00")));
        let mut node = node();
        node.rules.config.options.on_rebalance = policy;
        live_as(node, &world, testing::state()).await;
        assert_eq!(clock(world.first("drain")), wanted, "{policy:?}");
        assert_eq!(world.first("stop long"), None, "those that run may finish");
    }
}

#[tokio::test(start_paused = true)]
async fn scheduled_maintenance_ends_the_block_before_it() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
    later(&world, 60_000, |facts| facts.maintenance = Some(today("10:50:00")));
    live(&world, testing::state()).await;
    assert_eq!(clock(world.first("drain")), "10:05:00");
    assert_eq!(clock(world.first("stop long")), "10:45:00");
    assert!(world.first("power-off").expect("powered off") < today("10:50:00"));
}

/// Catches: an extension that is read once, or loosens a drain that has begun.
#[tokio::test(start_paused = true)]
async fn an_extension_by_tag_is_honoured_while_serving_only() {
    for (tagged_after, drain, stop) in [(600_000, "10:45:00", "11:25:00"), (905_000, "10:15:00", "10:55:00")] {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        later(&world, tagged_after, |facts| facts.end_tag = Some(today("11:30:00")));
        live(&world, testing::state()).await;
        assert_eq!(clock(world.first("drain")), drain);
        assert_eq!(clock(world.first("stop long")), stop);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_to_which_no_task_comes_is_released() {
    let world = World::at(today("10:00:00"));
    world.facts().tasks.insert("short".into(), FakeTask::until(today("10:02:00")));
    let mut node = node();
    node.rules.config.options.release_when_idle_secs = Some(300);
    live_as(node, &world, testing::state()).await;
    let drained = world.first("drain").expect("drained");
    assert!(drained >= today("10:07:00") && drained <= today("10:07:06"), "{drained}");
    assert!(world.first("power-off").expect("powered off") < today("10:08:00"));
}

/// Catches: tasks that are told too late, or not of a stop that comes earlier than they were told.
#[tokio::test(start_paused = true)]
async fn tasks_are_warned_before_they_are_stopped_and_again_when_it_comes_nearer() {
    let warned = async |notice: bool| {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        if notice {
            later(&world, 52 * 60_000, |facts| facts.notice = Some(today("10:54:00")));
        }
        let mut node = node();
        node.rules.warn_lead = Some(SignedDuration::from_mins(5));
        live_as(node, &world, testing::state()).await;
        let log = world.facts().log.clone();
        let said = log.into_iter().filter(|(_, what)| what.starts_with("warn ") || what == "hook warn");
        said.map(|(at, what)| (clock(Some(at)), what)).collect::<Vec<_>>()
    };
    let told = |at: &str, what: &str| (at.to_owned(), what.to_owned());
    let first = [told("10:50:00", "hook warn"), told("10:50:00", "warn 10:55:00 drain-time")];
    let quiet = warned(false).await;
    assert_eq!(quiet[..2], first);
    assert_eq!(quiet.len(), 2, "{quiet:?}");
    let noticed = warned(true).await;
    assert_eq!(noticed[..2], first);
    assert_eq!(noticed.len(), 4, "{noticed:?}");
    assert!(noticed[3].1.starts_with("warn 10:52:0") && noticed[3].1.ends_with(" notice"), "{noticed:?}");
}
