//! Joining, one rule a test: starting the ECS agent, repairing it, and what a registration that got
//! through unseen needs.

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
    assert!(matches!(
        life.step(Event::EcsAgentStopped(Outcome::Retry))[..],
        [Action::FindRegistration(_)]
    ));
    assert_eq!(life.step(Event::Found(Ok(None))), [Action::PowerOff]);
}

/// Catches: an instance that is deregistered by force although ECS never said which tasks hang on
/// it.
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

const MISMATCH: Event = Event::EcsUnitSeen(EcsUnit { runs: Some(false), exit: Some(5) });

fn repairs(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::RepairEcsAgent(_))).count()
}

/// Catches: a host that stays out of its cluster for ever (amazon-ecs-agent#887), and one that is
/// repaired in a circle.
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
        assert_eq!(
            life.after(50).step(Event::Tick),
            [Action::StartEcsAgent],
            "and the usual way goes on"
        );
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
    assert_eq!(
        repairs(&life.step(MISMATCH)),
        0,
        "an ECS agent that has joined is not given a new beginning"
    );
    assert_eq!(life.state.hindrance, None);
}
