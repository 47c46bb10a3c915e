//! Draining, stopping and leaving, one rule a test.

use super::*;

/// Catches: an agent whose state was lost in the middle of the drain, and that takes the running
/// tasks for late ones.
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
    assert_eq!(
        stops(&actions),
        ["t"],
        "a task that has ended is not stopped: its job may have succeeded"
    );
    assert!(actions.iter().any(is_survey));
    assert_eq!(life.state.timeline.end, taken_at);
}

/// Catches: a notice that is read late, or says what can't be, and for which jobs die without a
/// warning.
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
        (
            "an end that was not reported",
            &[("t", OnHost::Stopped)],
            survey(draining(), 0, &[("t", false)]),
        ),
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
    let actions =
        life.after(1).step(survey(InstanceStatus::Draining, 1, &[("a", false), ("b", false)]));
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
    assert_eq!(
        actions,
        [Action::StopEcsAgent(SignedDuration::from_millis(7500))],
        "half of what is left"
    );
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

/// Catches: a job that has succeeded while the agent was dead, and gets the reason of a stop.
#[test]
fn after_a_restart_tasks_are_stopped_by_what_is_seen_then_or_soon_without() {
    let mut life = Life::draining(&[("long", OnHost::Live), ("short", OnHost::Live)]);
    let actions = life.at("10:55:01").step(Event::Started { registration: Some(own()) });
    assert_eq!(stops(&actions), Vec::<&str>::new());
    let mut seeing = Life { rules: life.rules.clone(), state: life.state.clone(), now: life.now };
    let actions =
        seeing.after(1).step(on_host(&[("long", OnHost::Live), ("short", OnHost::Stopped)]));
    assert_eq!(stops(&actions), ["long"]);
    assert_eq!(life.rules.wake_at(&life.state, life.now), Some(life.now + secs(3)));
    assert_eq!(stops(&life.after(3).step(Event::Tick)), ["long", "short"]);
}
