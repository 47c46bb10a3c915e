//! Whatever happens, in whatever order.

use node_contract::{OnRebalance, Options};
use proptest::prelude::*;

use super::table::rows;
use super::*;

const TASKS: [&str; 4] = ["a", "b", "c", "d"];

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Done), Just(Outcome::Retry), Just(Outcome::Refused)]
}

fn registration() -> impl Strategy<Value = Registration> {
    let instance = prop_oneof![4 => Just("arn:own"), 1 => Just("arn:other")];
    let cluster = prop_oneof![6 => Just("c"), 1 => Just("default")];
    (instance, cluster).prop_map(|(i, c)| Registration { instance: i.into(), cluster: c.into() })
}

fn instance_status() -> impl Strategy<Value = InstanceStatus> {
    prop_oneof![
        4 => Just(InstanceStatus::Draining),
        2 => Just(InstanceStatus::Active),
        1 => Just(InstanceStatus::Gone),
        1 => Just(InstanceStatus::Other("REGISTERING".into())),
    ]
}

fn a_survey() -> impl Strategy<Value = Survey> {
    let tasks = prop::collection::btree_map(
        prop::sample::select(&TASKS[..]).prop_map(str::to_owned),
        any::<bool>(),
        0..4,
    );
    (registration(), instance_status(), 0..2_u32, tasks).prop_map(|(of, status, pending, tasks)| {
        Survey { instance: of.instance, status, pending, tasks }
    })
}

fn host_tasks() -> impl Strategy<Value = BTreeMap<String, OnHost>> {
    let seen = prop_oneof![Just(OnHost::Live), Just(OnHost::Stopped)];
    prop::collection::btree_map(
        prop::sample::select(&TASKS[..]).prop_map(str::to_owned),
        seen,
        0..4,
    )
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Tick),
        1 => prop::option::of(registration()).prop_map(|registration| Event::Started { registration }),
        4 => registration().prop_map(Event::Registered),
        1 => (0..5_000_i64).prop_map(|s| Event::Notice { taken_at: testing::state().timeline.start + secs(s) }),
        1 => (0..5_000_i64).prop_map(|s| Event::Limited { until: testing::state().timeline.start + secs(s) }),
        1 => Just(Event::Rebalance),
        1 => (0..9_000_i64).prop_map(|s| Event::EndMoved { to: testing::state().timeline.start + secs(s) }),
        1 => (registration(), 0..9_000_i64, 0..9_000_i64, outcome()).prop_map(|(of, asked, end, outcome)| {
            let at = |s| testing::state().timeline.start + secs(s);
            Event::ExtensionAnswered { answer: ExtensionAnswer { of, asked: at(asked), end: at(end) }, outcome }
        }),
        1 => (0..9_000_i64, outcome())
            .prop_map(|(s, outcome)| Event::Warned { stop_at: testing::state().timeline.start + secs(s), outcome }),
        5 => prop::option::weighted(0.8, host_tasks()).prop_map(Event::OnHost),
        2 => (registration(), instance_status())
            .prop_map(|(of, status)| Event::StatusRead { instance: of.instance, status }),
        1 => outcome().prop_map(Event::EcsAgentStarted),
        1 => outcome().prop_map(Event::EcsAgentRepaired),
        1 => (prop::option::of(any::<bool>()), prop::option::of(Just(5)))
            .prop_map(|(runs, exit)| Event::EcsUnitSeen(EcsUnit { runs, exit })),
        3 => (registration(), outcome())
            .prop_map(|(of, outcome)| Event::DrainingSet { instance: of.instance, outcome }),
        4 => prop_oneof![4 => a_survey().prop_map(Ok), 1 => outcome().prop_map(Err)].prop_map(Event::Surveyed),
        2 => (prop::sample::select(&TASKS[..]), outcome())
            .prop_map(|(task, outcome)| Event::TaskStopAsked { task: task.into(), outcome }),
        2 => outcome().prop_map(Event::EcsAgentStopped),
        1 => outcome().prop_map(Event::ContainersStopped),
        1 => prop_oneof![3 => prop::option::of(registration()).prop_map(Ok), 1 => outcome().prop_map(Err)]
            .prop_map(Event::Found),
        1 => outcome().prop_map(Event::Deregistered),
        1 => outcome().prop_map(Event::PoweredOff),
    ]
}

/// Events, each some seconds after the one before: an hour in a hundred steps, or a fraction of it.
fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let pause = prop_oneof![3 => 0..20_i64, 1 => 0..600_i64];
    prop::collection::vec((pause, event()), 1..120)
}

/// What must hold between a state and the next.
fn check(
    rules: &Rules,
    old: &State,
    new: &State,
    now: Timestamp,
    actions: &[Action],
) -> Result<(), TestCaseError> {
    let (before, after) = (old.timeline, new.timeline);
    let tightened = after.end <= before.end
        && after.stop_at <= before.stop_at
        && after.drain_at <= before.drain_at;
    let extended = old.phase == Phase::Serving
        && !old.noticed
        && new.moved_to.is_some_and(|to| after.end <= to);
    prop_assert!(tightened || extended, "{before:?} became {after:?}");
    prop_assert!(new.limit.is_none_or(|limit| after.end <= limit), "beyond its limit");
    if old.phase != new.phase {
        let row =
            (old.phase.word().to_owned(), new.phase.word().to_owned(), new.why.word().to_owned());
        prop_assert!(rows().contains(&row), "{row:?} is not in the table");
    }
    prop_assert!(
        old.phase < Phase::Draining || new.phase >= Phase::Draining,
        "never back to serving"
    );
    prop_assert!(now < after.end || new.phase == Phase::Gone, "past its end");
    if actions.contains(&Action::PowerOff) {
        for (arn, task) in &new.tasks {
            let asked = task.stop.is_some() || new.registration.is_none();
            prop_assert!(
                !task.is_live() || asked,
                "{arn} was not asked to stop before powering off"
            );
        }
    }
    if new.leave == LeaveStep::Deregister && old.leave != LeaveStep::Deregister {
        let settled = new.tasks.values().all(|task| task.stopped_for_ecs || task.stop_taken);
        prop_assert!(settled, "deregistering would end a task with a reason that no rule retries");
    }
    if actions.iter().any(|action| matches!(action, Action::StopContainers { .. })) {
        prop_assert!(
            matches!(new.phase, Phase::Stopping | Phase::Leaving),
            "containers stopped while {:?}",
            new.phase
        );
    }
    if actions.iter().any(|action| matches!(action, Action::RepairEcsAgent(_))) {
        prop_assert!(
            new.phase == Phase::Joining && !old.repaired && new.live_tasks() == 0,
            "repaired while it serves"
        );
    }
    if new.why == Why::Idle && old.why != Why::Idle {
        prop_assert!(
            new.drained && new.host_known && new.tasks.values().all(Task::is_over),
            "left while not idle"
        );
    }
    let (again, same) = rules.step(old, now, Event::Tick);
    prop_assert_eq!(rules.step(old, now, Event::Tick), (again, same), "it is deterministic");
    Ok(())
}

/// All the choices that a block's and a host's settings give.
fn rules() -> impl Strategy<Value = Rules> {
    let (longest, release) = (prop::option::of(0..4_000_u32), prop::option::of(60..900_u32));
    let rebalance = prop_oneof![Just(OnRebalance::Ignore), Just(OnRebalance::Drain)];
    let warn = prop::option::of((1..900_i64).prop_map(secs));
    (longest, release, rebalance, 0..600_u32, warn).prop_map(
        |(longest, release, on_rebalance, reclaim, warn_lead)| {
            let mut rules = Rules { warn_lead, ..testing::rules() };
            rules.config.early_reclaim_secs = reclaim;
            rules.config.options = Options {
                longest_timeout_secs: longest,
                release_when_idle_secs: release,
                on_rebalance,
            };
            rules
        },
    )
}

/// Lets time pass, as the loop does, until the agent is gone.
fn live_out(life: &mut Life) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..10_000 {
        if life.state.phase == Phase::Gone {
            break;
        }
        if !life.rules.is_restless(&life.state, life.now) {
            life.now = life.rules.wake_at(&life.state, life.now).expect("the end is always ahead");
        }
        actions.extend(life.step(Event::Tick));
    }
    actions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(events in events(), rules in rules()) {
        let mut life = Life { rules, ..Life::new() };
        let mut powered_off = false;
        for (pause, event) in events {
            life.after(pause);
            let old = life.state.clone();
            let actions = life.step(event);
            check(&life.rules, &old, &life.state, life.now, &actions)?;
            powered_off |= actions.contains(&Action::PowerOff);
        }
        // And when nothing happens any more, nobody answering, the end comes in time.
        let end = life.state.timeline.end.max(life.now);
        powered_off |= live_out(&mut life).contains(&Action::PowerOff);
        prop_assert!(powered_off && life.state.phase == Phase::Gone);
        prop_assert!(life.now <= end, "{} is after {end}", life.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// Catches: knowledge that only lives in the process, and a resume that goes elsewhere than the
    /// life it continues.
    #[test]
    fn a_restart_after_any_prefix_comes_to_the_same_end(events in events(), rules in rules()) {
        let mut life = Life { rules, ..Life::new() };
        for (pause, event) in events {
            life.after(pause);
            life.step(event);
            let json = serde_json::to_string(&life.state).expect("JSON");
            let mut resumed = Life { rules: life.rules.clone(), state: serde_json::from_str(&json).expect("a \
                state"), now: life.now };
            prop_assert_eq!(&State { host_known: life.state.host_known, ..resumed.state.clone() }, &life.state);
            resumed.step(Event::Started { registration: life.state.registration.clone() });
            prop_assert!(resumed.state.phase >= life.state.phase || life.state.look);
            prop_assert_eq!(resumed.state.timeline.end, life.state.timeline.end);
            live_out(&mut resumed);
            prop_assert_eq!(resumed.state.phase, Phase::Gone);
            prop_assert!(resumed.now <= life.state.timeline.end.max(life.now));
        }
    }
}
