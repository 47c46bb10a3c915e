//! What moves the block's moments, or cuts them short.

use node_contract::OnRebalance;

use super::*;

fn today(time: &str) -> Timestamp {
    testing::at(&format!("2026-11-24T{time}Z"))
}

fn moments(life: &Life) -> (Timestamp, Timestamp, Timestamp) {
    let timeline = life.state.timeline;
    (timeline.drain_at, timeline.stop_at, timeline.end)
}

#[test]
fn an_extension_moves_all_moments_and_keeps_the_leads() {
    let mut life = Life::serving();
    life.step(Event::EndMoved { to: today("11:30:00") });
    assert_eq!(moments(&life), (today("10:45:00"), today("11:25:00"), today("11:30:00")));
    life.step(Event::EndMoved { to: today("12:00:00") });
    assert_eq!(life.state.timeline.end, today("12:00:00"), "and can be had again");
}

/// Catches: a tag that undoes a drain, or what AWS or the host's owner has said.
#[test]
fn an_extension_is_honoured_while_serving_only_and_never_beyond_a_limit() {
    let to = today("12:00:00");
    for mut life in [Life::new(), Life::draining(&[]), Life::stopping(&[]), Life::leaving()] {
        let before = moments(&life);
        life.step(Event::EndMoved { to });
        assert_eq!(moments(&life), before, "{:?}", life.state.phase);
    }
    let mut life = Life::serving();
    let before = moments(&life);
    life.step(Event::EndMoved { to: today("10:30:00") });
    assert_eq!(moments(&life), before, "an earlier end is no extension");

    life.step(Event::Limited { until: today("11:10:00") });
    assert_eq!(moments(&life), before, "the limit is beyond the end");
    life.step(Event::EndMoved { to });
    assert_eq!(moments(&life), (today("10:25:00"), today("11:05:00"), today("11:10:00")));
}

/// The answers that are to be given in these actions: the moment asked for and the end.
fn answers(actions: &[Action]) -> Vec<(Timestamp, Timestamp)> {
    let answers = actions.iter().filter_map(|action| match action {
        Action::AnswerExtension(answer) => Some((answer.asked, answer.end)),
        _ => None,
    });
    answers.collect()
}

/// Catches: an extension that is taken and told to nobody, or one that a limit cuts and that passes
/// for taken whole.
#[test]
fn what_became_of_an_extension_is_told_until_ecs_has_taken_it_and_again_when_it_changes() {
    let told = |life: &mut Life, asked, end, outcome| {
        let of = life.state.registration.clone().expect("registered");
        life.step(Event::ExtensionAnswered { answer: ExtensionAnswer { of, asked, end }, outcome })
    };
    let (to, limit) = (today("12:00:00"), today("11:10:00"));
    let mut life = Life::serving();
    assert_eq!(answers(&life.step(Event::Tick)), [], "nobody asked");
    assert_eq!(answers(&life.step(Event::EndMoved { to })), [(to, to)]);
    assert_eq!(answers(&life.step(Event::EndMoved { to })), [], "it is under way");
    assert_eq!(answers(&told(&mut life, to, to, Outcome::Retry)), []);
    assert_eq!(answers(&life.after(2).step(Event::Tick)), [(to, to)]);
    assert_eq!(answers(&told(&mut life, to, to, Outcome::Done)), []);
    assert_eq!(answers(&life.after(600).step(Event::EndMoved { to })), [], "it is told");
    // It doesn't reach as far any more.
    assert_eq!(answers(&life.step(Event::Limited { until: limit })), [(to, limit)]);
    // What is refused will be refused again.
    assert_eq!(answers(&told(&mut life, to, limit, Outcome::Refused)), []);
    assert_eq!(answers(&life.after(600).step(Event::EndMoved { to })), []);
    // A new container instance shows the end that is in ecs.config.
    life.step(Event::Registered(Registration { instance: "arn:new".into(), cluster: "c".into() }));
    assert_eq!(answers(&life.after(30).step(Event::Tick)), [(to, limit)]);
}

#[test]
fn from_the_drain_on_an_extension_is_not_answered() {
    for mut life in [Life::new(), Life::draining(&[]), Life::stopping(&[]), Life::leaving()] {
        assert_eq!(
            answers(&life.step(Event::EndMoved { to: today("12:00:00") })),
            [],
            "{:?}",
            life.state.phase
        );
    }
}

#[test]
fn an_extension_is_held_to_what_aws_takes_back_early() {
    let mut life = Life::serving();
    life.rules.config.early_reclaim_secs = 600;
    life.step(Event::EndMoved { to: today("12:00:00") });
    assert_eq!(life.state.timeline.end, today("11:50:00"));
}

#[test]
fn maintenance_ahead_leaves_the_leads_and_maintenance_that_is_late_leaves_the_stop() {
    let mut life = Life::serving();
    life.step(Event::Limited { until: today("10:50:00") });
    assert_eq!(moments(&life), (today("10:05:00"), today("10:45:00"), today("10:50:00")));
    let mut life = Life::serving();
    life.step(on_host(&[("t", OnHost::Live)]));
    life.step(Event::Limited { until: today("09:00:00") });
    assert_eq!(life.state.phase, Phase::Stopping, "not gone: tasks have their stop lead");
    assert_eq!(life.state.timeline.end, life.now + secs(300));
}

/// The block stops at 10:55.
#[test]
fn the_drain_goes_by_the_longest_task_that_was_seen() {
    let mut life = Life::serving();
    life.rules.config.options.longest_timeout_secs = Some(60);
    life.rules.config.drain_lead_secs = 300;
    life.state.timeline.drain_at = today("10:54:00");
    let from = life.at("10:02:00").now;
    while life.state.phase == Phase::Serving {
        life.after(5).step(on_host(&[("t", OnHost::Live)]));
        assert!(life.now < today("10:40:00"), "it should have drained");
    }
    // From then on another task as long as this one would not end in time.
    let ran = from.duration_until(life.now);
    assert!(life.now.duration_until(life.state.timeline.stop_at) <= ran + secs(65), "{ran}");
    assert!(life.now >= today("10:27:00"), "{}", life.now);
}

#[test]
fn without_an_automatic_lead_long_tasks_move_nothing_and_nothing_is_saved_anew() {
    let mut life = Life::serving();
    life.step(on_host(&[("t", OnHost::Live)]));
    let before = life.state.clone();
    for _ in 0..100 {
        life.after(5).step(on_host(&[("t", OnHost::Live)]));
    }
    assert_eq!(life.state, before);
}

/// Catches: an instance that is released although a task came and went between two looks, or while
/// nobody could look.
#[test]
fn an_instance_is_released_when_nothing_came_for_long_enough() {
    let serving = || {
        let mut life = Life::serving();
        life.rules.config.options.release_when_idle_secs = Some(120);
        life.step(on_host(&[]));
        life
    };
    let mut life = serving();
    life.after(119).step(on_host(&[]));
    assert_eq!(life.state.phase, Phase::Serving);
    assert_eq!(life.rules.wake_at(&life.state, life.now), Some(life.now + secs(1)));
    life.after(1).step(Event::Tick);
    assert_eq!((life.state.phase, life.state.why), (Phase::Draining, Why::Released));

    let interruptions = [
        on_host(&[("t", OnHost::Live)]),
        on_host(&[("came-and-went", OnHost::Stopped)]),
        Event::OnHost(None),
        Event::Started { registration: Some(own()) },
    ];
    for interruption in interruptions {
        let mut life = serving();
        life.after(60).step(interruption.clone());
        life.after(5).step(on_host(&[]));
        life.after(110).step(on_host(&[]));
        assert_eq!(life.state.phase, Phase::Serving, "{interruption:?}");
    }

    let mut life = Life::serving();
    life.step(on_host(&[]));
    life.after(300).step(on_host(&[]));
    assert_eq!(life.state.phase, Phase::Serving, "not unless the block says so");
}

#[test]
fn a_rebalance_recommendation_drains_only_if_the_block_says_so_and_only_once_joined() {
    let mut life = Life::serving();
    life.step(Event::Rebalance);
    assert_eq!(life.state.phase, Phase::Serving);
    life.rules.config.options.on_rebalance = OnRebalance::Drain;
    life.step(Event::Tick);
    assert_eq!((life.state.phase, life.state.why), (Phase::Draining, Why::Rebalance));

    let mut life = Life::new();
    life.rules.config.options.on_rebalance = OnRebalance::Drain;
    life.step(Event::Started { registration: None });
    life.step(Event::Rebalance);
    assert_eq!(life.state.phase, Phase::Joining);
    life.step(Event::Registered(own()));
    life.step(Event::Tick);
    assert_eq!(life.state.phase, Phase::Draining);
}

#[test]
fn a_warning_that_fails_is_given_again() {
    let warns = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::Warn { .. })).count()
    };
    let mut life = Life::draining(&[("t", OnHost::Live)]);
    life.rules.warn_lead = Some(secs(600));
    assert_eq!(warns(&life.at("10:44:59").step(Event::Tick)), 0);
    assert_eq!(warns(&life.after(1).step(Event::Tick)), 1);
    let stop_at = life.state.timeline.stop_at;
    life.step(Event::Warned { stop_at, outcome: Outcome::Retry });
    assert_eq!(warns(&life.after(2).step(Event::Tick)), 1);
    life.step(Event::Warned { stop_at, outcome: Outcome::Done });
    assert_eq!(warns(&life.after(100).step(Event::Tick)), 0);
}
