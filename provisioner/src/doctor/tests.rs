//! Causes that a simulated life doesn't reach. sim/doctor.rs makes the others happen.

use std::collections::BTreeMap;

use super::*;
use crate::aws::batch::Attempt;

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().expect("a time")
}

fn an_instance() -> Instance {
    Instance {
        id: "i-1".into(),
        state: "running".into(),
        instance_type: "t3.micro".into(),
        launched: now() - jiff::SignedDuration::from_mins(20),
        zone: "us-east-1a".into(),
        spot_request: None,
        reason: String::new(),
        tags: BTreeMap::new(),
    }
}

fn host(status: &str, connected: bool) -> Host {
    let whole = Room { cpu: 2048, memory_mib: 3800, gpus: 0 };
    Host { instance: "i-1".into(), status: status.into(), connected, tasks: 1, whole, free: whole }
}

fn facts(hosts: Vec<Host>) -> Surroundings {
    let environment = ComputeEnvironment {
        name: "e".into(),
        arn: String::new(),
        kind: "UNMANAGED".into(),
        state: "ENABLED".into(),
        status: "VALID".into(),
        reason: String::new(),
        service_role: String::new(),
        cluster: "c".into(),
        tags: BTreeMap::new(),
    };
    let queue = Queue {
        name: "q".into(),
        state: "ENABLED".into(),
        status: "VALID".into(),
        reason: String::new(),
        priority: 1,
        environments: vec!["e".into()],
        tags: BTreeMap::new(),
    };
    Surroundings {
        name: "e".into(),
        queue_name: "q".into(),
        environment: Some(environment),
        queue: Some(queue),
        hosts,
        in_default: Vec::new(),
        instances: vec![an_instance()],
        profile: None,
        now: now(),
    }
}

fn a_job(status: &str, reasons: &[&str]) -> Detail {
    let attempt = |reason: &&str| Attempt {
        exit_code: None,
        reason: None,
        status_reason: Some((*reason).to_owned()),
        started: None,
        stopped: None,
        log_stream: None,
    };
    Detail {
        id: "id".into(),
        name: "j".into(),
        queue: "q".into(),
        status: status.into(),
        reason: None,
        definition: "j:1".into(),
        created: None,
        started: None,
        stopped: None,
        attempts: reasons.iter().map(attempt).collect(),
        array: None,
        depends_on: Vec::new(),
        timeout_secs: None,
        max_attempts: 3,
        vcpus: 1,
        memory_mib: 256,
        gpus: 0,
        log_group: None,
        log_stream: None,
    }
}

fn of_instance(facts: &Surroundings) -> String {
    instance(facts, &an_instance())
        .map_or_else(|| "nothing".to_owned(), |it| format!("{}: {}", it.finding, it.evidence))
}

#[test]
fn an_instance_that_works_has_nothing() {
    assert_eq!(of_instance(&facts(vec![host("ACTIVE", true)])), "nothing");
    assert_eq!(surroundings(&facts(Vec::new())), []);
}

#[test]
fn a_lost_connection_and_a_profile_without_a_role_are_found() {
    assert!(of_instance(&facts(vec![host("ACTIVE", false)])).starts_with("its ECS agent has lost its connection"));
    let without_role = Surroundings { profile: Some(("p".into(), false)), ..facts(Vec::new()) };
    let said = of_instance(&without_role);
    assert!(said.starts_with("it has no rights") && said.ends_with("instance profile p has no role"), "{said}");
    let gone =
        Instance { state: "terminated".into(), reason: "Server.SpotInstanceTermination".into(), ..an_instance() };
    let found = instance(&facts(Vec::new()), &gone).expect("it is gone");
    assert_eq!(found.evidence, "Server.SpotInstanceTermination");
}

#[test]
fn what_is_wrong_with_all_jobs_comes_before_what_is_wrong_with_one() {
    let mut facts = facts(Vec::new());
    if let Some(environment) = &mut facts.environment {
        environment.status = "INVALID".into();
        environment.reason = "CLIENT_ERROR - not authorized".into();
    }
    let found = job(&facts, &a_job("RUNNABLE", &[]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].evidence, "CLIENT_ERROR - not authorized");
    if let Some(queue) = &mut facts.queue {
        queue.environments = vec!["other".into()];
    }
    assert!(job(&facts, &a_job("RUNNABLE", &[]))[1].finding.contains("never reach environment e"));
}

/// Catches: a job that is retried in one block after the other, with nobody told that it can't work.
#[test]
fn a_job_that_block_ends_stop_again_and_again_is_told_so() {
    let facts = facts(vec![host("ACTIVE", true)]);
    let host_gone = "Host EC2 (instance i-0) block ends";
    let found = job(&facts, &a_job("RUNNABLE", &[host_gone, host_gone]));
    assert!(found[0].finding.contains("again and again") && found[0].evidence.starts_with("2 of its 2"), "{found:?}");
    assert!(found[1].finding.contains("there is room"), "{found:?}");
    let once = job(&facts, &a_job("RUNNABLE", &[host_gone, "Essential container in task exited"]));
    assert!(!once[0].finding.contains("again and again"), "{once:?}");
}

#[test]
fn room_is_shown_in_vcpus() {
    assert_eq!(Room { cpu: 1536, memory_mib: 900, gpus: 2 }.to_string(), "1.5 vCPU, 900 MiB, 2 GPU");
}
