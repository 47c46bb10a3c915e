//! Where ECS or its agent is no way to stop a task, one rule a test: the containers are stopped on
//! the host.

use super::*;

fn is_local_stop(action: &Action) -> bool {
    matches!(action, Action::StopContainers { .. })
}

/// Lets seconds pass in which the host shows this task and StopTask ends like this; returns when it
/// left.
fn unheard_after(life: &mut Life, asked: Option<Outcome>, seen: &Event) -> i64 {
    for second in 0..300 {
        if let Some(outcome) = asked {
            life.step(Event::TaskStopAsked { task: "t".into(), outcome });
        }
        life.step(seen.clone());
        if life.state.phase == Phase::Leaving {
            return second;
        }
        life.after(1);
    }
    panic!("it never left");
}

/// Catches: an agent that goes on asking until the end, and gives its tasks no SIGTERM.
#[test]
fn tasks_that_ecs_takes_no_stop_for_are_stopped_on_the_host() {
    for outcome in [Outcome::Retry, Outcome::Refused] {
        let mut life = Life::stopping(&[("t", OnHost::Live)]);
        let waited = unheard_after(&mut life, Some(outcome), &on_host(&[("t", OnHost::Live)]));
        assert_eq!((waited, life.state.why), (30, Why::Unheard), "half the margin");
        // The ECS agent first: what it reported of the end would count as the job's own.
        let actions = life.step(Event::EcsAgentStopped(Outcome::Done));
        let [Action::StopContainers { grace, limit }] = actions[..] else { panic!("{actions:?}") };
        assert_eq!((grace.as_secs(), limit.as_secs()), (191, 223), "three quarters of 4 min 15 s");
        assert_eq!(life.after(5).step(Event::ContainersStopped(Outcome::Retry)), []);
        assert!(life.after(2).step(Event::Tick).iter().any(is_local_stop), "tried again");
        let actions = life.step(Event::ContainersStopped(Outcome::Done));
        assert_eq!(
            actions,
            [Action::PowerOff],
            "deregistered, its job would fail with a reason that no rule retries"
        );
        assert_eq!((life.state.phase, life.state.why), (Phase::Gone, Why::Left));
    }
}

/// Catches: an instance that takes new tasks while it stops the old ones, and so spends the
/// attempts of every job in the queue.
#[test]
fn an_instance_that_ecs_keeps_active_stops_its_tasks_on_the_host() {
    for outcome in [Outcome::Retry, Outcome::Refused] {
        let mut life = Life::serving();
        life.at("10:15:00").step(Event::Tick);
        life.step(draining_set(outcome));
        life.step(on_host(&[("t", OnHost::Live)]));
        let actions = life.at("10:55:00").step(Event::Tick);
        assert_eq!(
            (life.state.phase, stops(&actions)),
            (Phase::Stopping, vec!["t"]),
            "ECS may hear the reason"
        );
        assert!(
            life.rules.is_restless(&life.state, life.now),
            "and its agent goes before there is room for another"
        );
        let actions = life.step(Event::Tick);
        assert_eq!((life.state.phase, life.state.why), (Phase::Leaving, Why::Unheard));
        assert!(matches!(actions[..], [Action::StopEcsAgent(_)]), "{actions:?}");
        assert!(life.step(Event::EcsAgentStopped(Outcome::Done)).iter().any(is_local_stop));
    }

    // On a notice both are asked at once, and DRAINING has its time.
    let mut life = Life::serving();
    life.step(on_host(&[("t", OnHost::Live)]));
    let actions = life.step(Event::Notice { taken_at: life.now + secs(120) });
    assert_eq!(stops(&actions), ["t"]);
    life.step(Event::TaskStopAsked { task: "t".into(), outcome: Outcome::Done });
    life.step(draining_set(Outcome::Retry));
    life.after(14).step(on_host(&[("t", OnHost::Live)]));
    assert_eq!(life.state.phase, Phase::Stopping);
    life.after(1).step(Event::Tick);
    assert_eq!(
        (life.state.phase, life.state.why),
        (Phase::Leaving, Why::Unheard),
        "half the margin of 30 s"
    );
}

/// Catches: an agent that relies on an ECS agent which has died: ECS takes the StopTask, and nobody
/// carries it out.
#[test]
fn tasks_of_an_ecs_agent_that_is_silent_are_stopped_on_the_host() {
    let mut life = Life::stopping(&[("t", OnHost::Live)]);
    let waited = unheard_after(&mut life, Some(Outcome::Done), &Event::OnHost(None));
    assert_eq!((waited, life.state.why), (30, Why::Unheard));

    // A short silence is none.
    let mut life = Life::stopping(&[("t", OnHost::Live)]);
    life.step(Event::TaskStopAsked { task: "t".into(), outcome: Outcome::Done });
    for _ in 0..4 {
        life.step(Event::OnHost(None));
        life.after(20).step(on_host(&[("t", OnHost::Live)]));
        assert_eq!(life.state.phase, Phase::Stopping);
    }
}

#[test]
fn a_task_whose_stop_was_taken_is_left_to_its_ecs_agent() {
    let mut life = Life::stopping(&[("t", OnHost::Live)]);
    life.step(Event::TaskStopAsked { task: "t".into(), outcome: Outcome::Done });
    for _ in 0..254 {
        assert!(!life.after(1).step(on_host(&[("t", OnHost::Live)])).iter().any(is_local_stop));
        assert_eq!(life.state.phase, Phase::Stopping);
    }
}

/// Catches: a job that outlives its stop and is taken down by the power-off, of which ECS never
/// hears.
#[test]
fn what_outlives_its_stop_is_killed_while_the_ecs_agent_can_report_it() {
    // The block ends at 11:00, its margin is a minute; AWS takes the host within two minutes, and
    // one.
    for (notice, wanted) in [(None, "10:59:15"), (Some(120), "10:16:37.5"), (Some(60), "10:15:45")]
    {
        let mut life = Life::draining(&[("t", OnHost::Live)]);
        match notice {
            None => life.at("10:55:00").step(Event::Tick),
            Some(secs) => {
                let taken_at = life.now + SignedDuration::from_secs(secs);
                life.step(Event::Notice { taken_at })
            }
        };
        life.step(Event::TaskStopAsked { task: "t".into(), outcome: Outcome::Done });
        let due = testing::at(&format!("2026-11-24T{wanted}Z"));
        assert_eq!(life.state.kill_at(), due, "{notice:?}");
        assert!(due <= life.state.leave_at());
        life.now = due - SignedDuration::from_millis(1);
        assert!(!life.step(Event::Tick).iter().any(is_local_stop));
        assert!(life.at(wanted).step(Event::Tick).iter().any(is_local_stop), "{notice:?}");
        let actions = life.after(1).step(Event::ContainersStopped(Outcome::Done));
        assert!(actions.iter().any(is_survey), "ECS is asked whether it knows: {actions:?}");
        assert_eq!(life.state.phase, Phase::Stopping);
    }
}
