//! What IMDS says, and how soon it is acted on.

use node_contract::OnRebalance;

use super::*;

/// Catches: a poll that drifts, waits for a slow neighbour or sleeps beside the pace. The fake ECS
/// takes 20 ms to answer.
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
    for (tagged_after, drain, stop, answers) in
        [(600_000, "10:45:00", "11:25:00", 1), (905_000, "10:15:00", "10:55:00", 0)]
    {
        let world = World::at(today("10:00:00"));
        world.facts().tasks.insert("long".into(), FakeTask::until(today("18:00:00")));
        later(&world, tagged_after, |facts| facts.end_tag = Some(today("11:30:00")));
        live(&world, testing::state()).await;
        assert_eq!(clock(world.first("drain")), drain);
        assert_eq!(clock(world.first("stop long")), stop);
        let answered = world.facts().answers.clone();
        assert_eq!(answered.len(), answers, "{answered:?}");
        assert!(
            answered.iter().all(|it| it.asked == it.end && it.end == today("11:30:00")),
            "{answered:?}"
        );
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
        let said =
            log.into_iter().filter(|(_, what)| what.starts_with("warn ") || what == "hook warn");
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
    assert!(
        noticed[3].1.starts_with("warn 10:52:0") && noticed[3].1.ends_with(" notice"),
        "{noticed:?}"
    );
}
