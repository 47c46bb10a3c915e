//! A long life in little time.

use node_contract::{End, Timeline};

use super::*;

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    rss.trim().trim_end_matches("kB").trim().parse().expect("kilobytes")
}

/// Catches: events, tasks of the past or answers that pile up while the agent serves. A new task
/// comes each minute, and the ECS agent lists those of the last three hours, as the real one does.
#[tokio::test(start_paused = true)]
async fn memory_is_flat_over_a_day_of_serving() {
    let mut node = node();
    node.config.end = End::AfterLaunchSecs(48 * 3_600);
    node.rules.config = node.config.clone();
    let world = World::at(today("10:00:00"));
    let turnover = Arc::clone(&world);
    tokio::spawn(async move {
        for number in 0_i64.. {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let mut facts = turnover.facts();
            let ends_at = today("10:00:00") + SignedDuration::from_mins(number + 2);
            facts.tasks.insert(format!("task-{number}"), FakeTask::until(ends_at));
            facts.tasks.remove(&format!("task-{}", number - 180));
            // The fake's own diary is not the agent's memory.
            facts.log = Vec::new();
        }
    });
    let measured = async {
        tokio::time::sleep(Duration::from_secs(6 * 3_600)).await;
        let before = resident_kilobytes();
        tokio::time::sleep(Duration::from_secs(18 * 3_600)).await;
        let after = resident_kilobytes();
        assert!(after < before + 2_048, "kB of memory: {before} and then {after}");
    };
    let state = State::new(Timeline::new(&node.config, today("10:00:00")), today("10:00:00"));
    run(node, state, world.ports(), measured).await;
    let state = saved_state(&world);
    assert!(state.phase == Phase::Serving && state.tasks.len() <= 185, "{}", state.tasks.len());
}
