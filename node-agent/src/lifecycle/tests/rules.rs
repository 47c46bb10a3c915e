//! One rule a test.

use super::*;

#[test]
fn the_ecs_agent_is_asked_to_start_and_again_if_it_doesn_t_register() {
    let mut life = Life::new();
    assert_eq!(life.step(Event::Started { registration: None }), [Action::StartEcsAgent]);
    assert_eq!(life.after(1).step(Event::EcsAgentStarted(Outcome::Done)), []);
    assert_eq!(life.after(59).step(Event::Tick), []);
    assert_eq!(life.after(1).step(Event::Tick), [Action::StartEcsAgent]);
    life.step(Event::EcsAgentStarted(Outcome::Retry));
    assert_eq!(life.after(2).step(Event::Tick), [Action::StartEcsAgent]);
    life.step(Event::Registered(own()));
    assert_eq!(life.after(600).step(Event::Tick), []);
}

/// Catches: a host that comes back from a reboot in the middle of its block, without an ECS agent.
#[test]
fn a_restart_while_serving_starts_the_ecs_agent_once() {
    let mut life = Life::serving();
    assert_eq!(life.step(Event::Started { registration: None }), [Action::StartEcsAgent]);
    life.step(Event::EcsAgentStarted(Outcome::Done));
    assert_eq!(life.after(300).step(Event::Tick), []);
    assert_eq!(life.state.phase, Phase::Serving);
}

#[test]
fn a_registration_in_a_foreign_cluster_is_not_joining() {
    let mut life = Life::new();
    let foreign = Registration { cluster: "default".into(), ..own() };
    life.step(Event::Registered(foreign));
    assert_eq!(life.state.phase, Phase::Joining);
    let by_arn = Registration { cluster: "arn:aws:ecs:us-east-1:1:cluster/c".into(), ..own() };
    life.step(Event::Registered(by_arn));
    assert_eq!(life.state.phase, Phase::Serving);
}

#[test]
fn an_instance_that_is_late_for_its_block_never_starts_the_ecs_agent() {
    let mut life = Life::new();
    let actions = life.at("10:20:00").step(Event::Started { registration: None });
    assert!(matches!(actions[..], [Action::StopEcsAgent(_)]), "{actions:?}");
    assert!(matches!(life.step(Event::EcsAgentStopped(Outcome::Retry))[..], [Action::FindRegistration(_)]));
    assert_eq!(life.step(Event::Found(Ok(None))), [Action::PowerOff]);
}

/// Catches: an instance that is deregistered by force although ECS never said which tasks hang on it.
#[test]
fn where_ecs_refuses_to_tell_of_a_registration_its_containers_are_stopped_without_it() {
    let refused = Err(Outcome::Refused);
    for found in [None, Some(own())] {
        let mut life = Life::new();
        life.at("10:20:00").step(Event::Started { registration: None });
        life.step(Event::EcsAgentStopped(Outcome::Done));
        let actions = match found {
            None => life.step(Event::Found(Err(Outcome::Refused))),
            Some(own) => {
                life.step(Event::Found(Ok(Some(own))));
                life.step(Event::Surveyed(refused.clone()))
            }
        };
        assert!(matches!(actions[..], [Action::StopContainers { .. }]), "{actions:?}");
        assert_eq!(life.step(Event::ContainersStopped(Outcome::Done)), [Action::PowerOff]);
    }
}

/// Catches: an agent whose state was lost in the middle of the drain, and that takes the running tasks for late ones.
#[test]
fn without_saved_state_a_registration_that_is_there_puts_it_back_into_the_drain() {
    let mut life = Life::new();
    life.at("10:20:00").step(Event::Started { registration: Some(own()) });
    assert_eq!(life.state.phase, Phase::Serving);
    assert_eq!(life.step(Event::Tick), [Action::SetDraining(own())]);
    assert_eq!(life.state.phase, Phase::Draining);
}

#[test]
fn a_notice_drains_and_stops_in_the_same_step() {
    let mut life = Life::serving();
    life.step(on_host(&[("t", OnHost::Live), ("ended", OnHost::Stopped)]));
    let taken_at = life.now + secs(120);
    let actions = life.step(Event::Notice { taken_at });
    assert_eq!(actions[0], Action::SetDraining(own()));
    assert_eq!(stops(&actions), ["t"], "a task that has ended is not stopped: its job may have succeeded");
    assert!(actions.iter().any(is_survey));
    assert_eq!(life.state.timeline.end, taken_at);
}

/// Catches: a notice that is read late, or says what can't be, and for which jobs die without a warning.
#[test]
fn a_notice_of_a_time_that_has_passed_still_leaves_tasks_their_stop() {
    let mut life = Life::serving();
    life.step(on_host(&[("t", OnHost::Live)]));
    let taken_at = life.now - secs(3600);
    let actions = life.step(Event::Notice { taken_at });
    assert_eq!((life.state.phase, stops(&actions)), (Phase::Stopping, vec!["t"]));
    let end = life.state.timeline.end;
    assert_eq!(end, life.now + secs(20));
    life.after(5).step(Event::Notice { taken_at });
    assert_eq!(life.state.timeline.end, end, "it is read again, and moves nothing away");
}

#[test]
fn after_a_notice_while_joining_what_got_through_is_stopped() {
    let mut life = Life::new();
    life.step(Event::Started { registration: None });
    let taken_at = life.now + secs(120);
    let actions = life.step(Event::Notice { taken_at });
    assert!(matches!(actions[..], [Action::StopEcsAgent(_)]), "{actions:?}");
    life.after(1).step(Event::EcsAgentStopped(Outcome::Done));
    life.step(Event::Found(Err(Outcome::Retry)));
    assert!(matches!(life.after(2).step(Event::Tick)[..], [Action::FindRegistration(_)]));
    let actions = life.step(Event::Found(Ok(Some(own()))));
    assert_eq!(actions, [Action::Survey { of: own(), tasks: vec![] }]);
    let actions = life.step(survey(InstanceStatus::Active, 0, &[("late", false)]));
    assert_eq!(life.state.phase, Phase::Stopping);
    assert_eq!(actions[..2], [Action::StartEcsAgent, Action::SetDraining(own())]);
    assert_eq!(stops(&actions), ["late"]);
}

#[test]
fn draining_is_set_until_ecs_confirms_it_and_again_when_it_is_undone() {
    let mut life = Life::serving();
    assert_eq!(life.at("10:15:00").step(Event::Tick), [Action::SetDraining(own())]);
    life.step(draining_set(Outcome::Retry));
    assert_eq!(life.after(1).step(Event::Tick), []);
    assert_eq!(life.after(1).step(Event::Tick), [Action::SetDraining(own())]);
    life.step(draining_set(Outcome::Done));
    assert_eq!(life.after(100).step(Event::Tick), []);
    assert_eq!(life.step(status(InstanceStatus::Active)), [Action::SetDraining(own())]);
    life.step(status(InstanceStatus::Draining));
    let again = Registration { instance: "arn:again".into(), ..own() };
    assert_eq!(life.after(60).step(Event::Registered(again.clone())), [Action::SetDraining(again)]);
}

#[test]
fn ecs_is_not_asked_while_something_lives_on_the_host_and_at_once_when_the_last_ends() {
    let mut life = Life::draining(&[("t", OnHost::Live)]);
    for _ in 0..600 {
        assert_eq!(life.after(1).step(on_host(&[("t", OnHost::Live)])), []);
    }
    let actions = life.after(1).step(on_host(&[("t", OnHost::Stopped)]));
    assert_eq!(actions, [Action::Survey { of: own(), tasks: vec!["t".into()] }]);
    // ECS has not been told yet: asked again, at a growing distance.
    let mut asked = 1;
    life.step(survey(InstanceStatus::Draining, 0, &[("t", false)]));
    for _ in 0..60 {
        if life.after(1).step(on_host(&[("t", OnHost::Stopped)])).iter().any(is_survey) {
            asked += 1;
            life.step(survey(InstanceStatus::Draining, 0, &[("t", false)]));
        }
    }
    assert!((3..=8).contains(&asked), "{asked} times in a minute");
}

/// Each case would make a job run twice, or kill it.
#[test]
fn what_is_not_idle() {
    type Case<'a> = (&'a str, &'a [(&'a str, OnHost)], Event);
    let draining = || InstanceStatus::Draining;
    let cases: [Case<'_>; 5] = [
        ("not DRAINING", &[], survey(InstanceStatus::Active, 0, &[])),
        ("a task on its way", &[], survey(draining(), 1, &[])),
        ("a task that ECS takes for running", &[], survey(draining(), 0, &[("t", false)])),
        ("an end that was not reported", &[("t", OnHost::Stopped)], survey(draining(), 0, &[("t", false)])),
        ("a container that lives", &[("t", OnHost::Live)], survey(draining(), 0, &[("t", true)])),
    ];
    for (what, tasks, found) in cases {
        let mut life = Life::draining(tasks);
        for _ in 0..10 {
            life.after(6).step(found.clone());
            life.step(on_host(tasks));
            assert_eq!((life.state.phase, life.state.idle), (Phase::Draining, Idle::No), "{what}");
        }
    }
}

#[test]
fn idle_takes_two_looks_over_the_settle_time_with_nothing_in_between() {
    let quiet = || survey(InstanceStatus::Draining, 0, &[]);
    let mut life = Life::draining(&[]);
    life.step(quiet());
    life.after(5).step(quiet());
    assert_eq!(life.state.phase, Phase::Draining, "too early");
    life.step(Event::OnHost(None));
    life.after(1).step(on_host(&[]));
    life.step(quiet());
    assert_eq!(life.state.phase, Phase::Draining, "introspection was silent meanwhile");
    life.after(5).step(on_host(&[("late", OnHost::Live)]));
    life.step(on_host(&[("late", OnHost::Stopped)]));
    life.after(1).step(survey(InstanceStatus::Draining, 0, &[("late", true)]));
    assert_eq!(life.state.phase, Phase::Draining, "a task came meanwhile");
    life.after(6).step(quiet());
    assert_eq!((life.state.phase, life.state.why), (Phase::Leaving, Why::Idle));
}

#[test]
fn introspection_that_doesn_t_answer_is_never_idle() {
    let mut life = Life::draining(&[]);
    for _ in 0..20 {
        life.step(Event::OnHost(None));
        life.after(6).step(survey(InstanceStatus::Draining, 0, &[]));
        assert_eq!(life.state.phase, Phase::Draining);
    }
}

#[test]
fn tasks_are_stopped_once_and_late_ones_too() {
    let mut life = Life::draining(&[("a", OnHost::Live)]);
    let actions = life.at("10:55:00").step(Event::Tick);
    assert_eq!(stops(&actions), ["a"]);
    life.step(Event::TaskStopAsked { task: "a".into(), outcome: Outcome::Done });
    let actions = life.after(1).step(survey(InstanceStatus::Draining, 1, &[("a", false), ("b", false)]));
    assert_eq!(stops(&actions), ["b"], "ECS lists one that the host doesn't know yet");
    life.step(Event::TaskStopAsked { task: "b".into(), outcome: Outcome::Retry });
    let actions = life.after(2).step(Event::Tick);
    assert_eq!(stops(&actions), ["b"], "it failed and is tried again");
    let actions = life.step(on_host(&[("a", OnHost::Live), ("c", OnHost::Live)]));
    assert_eq!(stops(&actions), ["c"], "the host lists one that ECS didn't");
}

#[test]
fn whatever_runs_and_whoever_answers_it_leaves_in_time_and_powers_off_until_the_host_is_gone() {
    let mut life = Life::stopping(&[("stubborn", OnHost::Live)]);
    let actions = life.at("10:59:30").step(Event::Tick);
    assert_eq!(actions, [Action::StopEcsAgent(SignedDuration::from_millis(7500))], "half of what is left");
    // Neither the ECS agent's end nor ECS's answer comes.
    let actions = life.at("10:59:45").step(Event::Tick);
    assert_eq!(actions.last(), Some(&Action::PowerOff));
    assert_eq!(life.state.phase, Phase::Gone);
    life.step(Event::PoweredOff(Outcome::Retry));
    assert_eq!(life.after(9).step(Event::Tick), []);
    assert_eq!(life.after(1).step(Event::Tick), [Action::PowerOff]);
}

#[test]
fn deregistering_is_tried_and_then_given_up() {
    let mut life = Life::draining(&[]);
    life.step(survey(InstanceStatus::Draining, 0, &[]));
    life.after(6).step(survey(InstanceStatus::Draining, 0, &[]));
    life.step(Event::EcsAgentStopped(Outcome::Done));
    for _ in 0..3 {
        assert_eq!(life.state.phase, Phase::Leaving);
        life.after(40).step(Event::Tick);
        life.step(Event::Deregistered(Outcome::Retry));
    }
    assert_eq!((life.state.phase, life.state.why), (Phase::Gone, Why::Left));
}

#[test]
fn a_host_that_comes_back_after_its_end_powers_off() {
    let mut life = Life::leaving();
    life.at("11:00:00").step(Event::Tick);
    let actions = life.at("15:00:00").step(Event::Started { registration: None });
    assert_eq!(actions, [Action::PowerOff]);
}

#[test]
fn what_belongs_to_another_registration_or_to_a_past_step_changes_nothing() {
    let mut life = Life::draining(&[]);
    let before = life.state.clone();
    let foreign = || "arn:foreign".to_owned();
    let late = [
        Event::StatusRead { instance: foreign(), status: InstanceStatus::Active },
        Event::DrainingSet { instance: foreign(), outcome: Outcome::Retry },
        Event::EcsAgentStopped(Outcome::Done),
        Event::Found(Ok(None)),
        Event::Deregistered(Outcome::Done),
        Event::TaskStopAsked { task: "unknown".into(), outcome: Outcome::Retry },
        Event::PoweredOff(Outcome::Done),
    ];
    for event in late {
        life.step(event.clone());
        // Asking is not learning: what is due is asked for with any event.
        let learned = State { survey: before.survey, ..life.state.clone() };
        assert_eq!(learned, before, "{event:?}");
    }
}

#[test]
fn instances_wait_for_different_times() {
    let spread = |instance: &str| Rules { spread: spread_of(instance), ..testing::rules() };
    let waits: std::collections::BTreeSet<SignedDuration> =
        (0..50).map(|n| spread(&format!("i-0abc{n:04x}")).backoff(5)).collect();
    assert!(waits.len() > 40, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait >= secs(30) && *wait < secs(45)), "{waits:?}");
}

fn is_local_stop(action: &Action) -> bool {
    matches!(action, Action::StopContainers { .. })
}

/// Lets seconds pass in which the host shows this task and StopTask ends like this; returns when it left.
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
        assert_eq!(actions, [Action::PowerOff], "deregistered, its job would fail with a reason that no rule retries");
        assert_eq!((life.state.phase, life.state.why), (Phase::Gone, Why::Left));
    }
}

/// Catches: an instance that takes new tasks while it stops the old ones, and so spends the attempts of every job in the
/// queue.
#[test]
fn an_instance_that_ecs_keeps_active_stops_its_tasks_on_the_host() {
    for outcome in [Outcome::Retry, Outcome::Refused] {
        let mut life = Life::serving();
        life.at("10:15:00").step(Event::Tick);
        life.step(draining_set(outcome));
        life.step(on_host(&[("t", OnHost::Live)]));
        let actions = life.at("10:55:00").step(Event::Tick);
        assert_eq!((life.state.phase, stops(&actions)), (Phase::Stopping, vec!["t"]), "ECS may hear the reason");
        assert!(life.rules.is_restless(&life.state, life.now), "and its agent goes before there is room for another");
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
    assert_eq!((life.state.phase, life.state.why), (Phase::Leaving, Why::Unheard), "half the margin of 30 s");
}

/// Catches: an agent that relies on an ECS agent which has died: ECS takes the StopTask, and nobody carries it out.
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

/// Catches: a job that outlives its stop and is taken down by the power-off, of which ECS never hears.
#[test]
fn what_outlives_its_stop_is_killed_while_the_ecs_agent_can_report_it() {
    // The block ends at 11:00, its margin is a minute; AWS takes the host within two minutes, and one.
    for (notice, wanted) in [(None, "10:59:15"), (Some(120), "10:16:37.5"), (Some(60), "10:15:45")] {
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

const MISMATCH: Event = Event::EcsUnitSeen(EcsUnit { runs: Some(false), exit: Some(5) });

fn repairs(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::RepairEcsAgent(_))).count()
}

/// Catches: a host that stays out of its cluster for ever (amazon-ecs-agent#887), and one that is repaired in a circle.
#[test]
fn an_ecs_agent_that_belongs_to_another_cluster_is_repaired_once() {
    let foreign = || Event::Registered(Registration { cluster: "default".into(), ..own() });
    for event in [MISMATCH, foreign()] {
        let mut life = Life::new();
        life.step(Event::Started { registration: None });
        life.step(Event::EcsAgentStarted(Outcome::Done));
        assert_eq!(repairs(&life.after(10).step(event.clone())), 1, "{event:?}");
        assert_eq!(life.after(10).step(event.clone()), [], "it is under way");
        assert_eq!(repairs(&life.step(Event::EcsAgentRepaired(Outcome::Retry))), 0);
        assert_eq!(repairs(&life.after(2).step(Event::Tick)), 1, "it failed and is tried again");
        life.step(Event::EcsAgentRepaired(Outcome::Done));
        assert_eq!(life.state.registration, None);
        assert_eq!(repairs(&life.after(10).step(event)), 0, "once");
        assert_eq!(life.after(50).step(Event::Tick), [Action::StartEcsAgent], "and the usual way goes on");
        life.step(Event::Registered(own()));
        assert_eq!(life.state.phase, Phase::Serving);
    }
}

/// Catches: tasks of somebody else's cluster whose containers nobody knows of any more.
#[test]
fn an_ecs_agent_with_tasks_is_not_repaired_before_they_have_ended() {
    let mut life = Life::new();
    life.step(Event::Started { registration: None });
    life.after(5).step(on_host(&[("foreign", OnHost::Live)]));
    let registered = Event::Registered(Registration { cluster: "default".into(), ..own() });
    assert_eq!(repairs(&life.step(registered)), 0);
    assert_eq!(repairs(&life.after(60).step(Event::Tick)), 0);
    assert_eq!(repairs(&life.step(on_host(&[("foreign", OnHost::Stopped)]))), 1);
}

#[test]
fn what_hinders_joining_is_forgotten_with_it() {
    let mut life = Life::new();
    life.step(Event::Started { registration: None });
    life.step(Event::Hindered("no network".into()));
    assert_eq!(life.state.hindrance.as_deref(), Some("no network"));
    life.step(MISMATCH);
    life.step(Event::Registered(own()));
    assert_eq!((life.state.hindrance.clone(), life.state.repair), (None, None));
    life.step(Event::Hindered("late".into()));
    assert_eq!(repairs(&life.step(MISMATCH)), 0, "an ECS agent that has joined is not given a new beginning");
    assert_eq!(life.state.hindrance, None);
}

/// Catches: a job that has succeeded while the agent was dead, and gets the reason of a stop.
#[test]
fn after_a_restart_tasks_are_stopped_by_what_is_seen_then_or_soon_without() {
    let mut life = Life::draining(&[("long", OnHost::Live), ("short", OnHost::Live)]);
    let actions = life.at("10:55:01").step(Event::Started { registration: Some(own()) });
    assert_eq!(stops(&actions), Vec::<&str>::new());
    let mut seeing = Life { rules: life.rules.clone(), state: life.state.clone(), now: life.now };
    let actions = seeing.after(1).step(on_host(&[("long", OnHost::Live), ("short", OnHost::Stopped)]));
    assert_eq!(stops(&actions), ["long"]);
    assert_eq!(life.rules.wake_at(&life.state, life.now), Some(life.now + secs(3)));
    assert_eq!(stops(&life.after(3).step(Event::Tick)), ["long", "short"]);
}
