//! The order in which causes are looked for, and what keeps one from being found.
//! tests/simulation/doctor.rs makes each happen.

use std::collections::BTreeMap;

use super::*;
use crate::aws::batch::{Detail, JobAttempt};
use crate::aws::ecs::Room;

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
        missing: BTreeMap::new(),
        wrote: BTreeMap::new(),
        stops: BTreeMap::new(),
        baked: true,
        now: now(),
    }
}

fn a_job(status: &str, reasons: &[&str]) -> Detail {
    let attempt = |reason: &&str| JobAttempt {
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
fn a_lost_connection_and_an_instance_that_is_gone_are_found() {
    assert!(
        of_instance(&facts(vec![host("ACTIVE", false)]))
            .starts_with("its ECS agent has lost its connection")
    );
    let gone = Instance {
        state: "terminated".into(),
        reason: "Server.SpotInstanceTermination".into(),
        ..an_instance()
    };
    let found = instance(&facts(Vec::new()), &gone).expect("it is gone");
    assert_eq!(found.evidence, "it is terminated: Server.SpotInstanceTermination");
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
    assert!(
        job(&facts, &a_job("RUNNABLE", &[]))[1].finding.contains("never reach this environment")
    );
}

/// Catches: a job that is retried in one block after the other, with nobody told that it can't
/// work.
#[test]
fn a_job_that_block_ends_stop_again_and_again_is_told_so() {
    let facts = facts(vec![host("ACTIVE", true)]);
    let host_gone = "Host EC2 (instance i-0) block ends";
    let found = job(&facts, &a_job("RUNNABLE", &[host_gone, host_gone]));
    assert!(
        found[0].finding.contains("again and again") && found[0].evidence.starts_with("2 of its 2"),
        "{found:?}"
    );
    assert!(found[1].finding.contains("there is room"), "{found:?}");
    let once = job(&facts, &a_job("RUNNABLE", &[host_gone, "Essential container in task exited"]));
    assert!(!once[0].finding.contains("again and again"), "{once:?}");
}

#[test]
fn room_is_shown_in_vcpus() {
    assert_eq!(
        Room { cpu: 1536, memory_mib: 900, gpus: 2 }.to_string(),
        "1.5 vCPU, 900 MiB, 2 GPU"
    );
}

fn looked(console: &str, change: impl FnOnce(&mut Looked)) -> Surroundings {
    let mut looked = Looked {
        console: Some(console.to_owned()),
        place: Some(InstancePlacement {
            subnet: "subnet-1".into(),
            vpc: "vpc-1".into(),
            public: true,
            profile: Some("p".into()),
        }),
        way: Some(Some(Way { table: "rtb-1".into(), target: "igw-1".into(), blackhole: false })),
        rights: Some(Rights::Some),
    };
    change(&mut looked);
    Surroundings { missing: BTreeMap::from([("i-1".to_owned(), looked)]), ..facts(Vec::new()) }
}

fn cause(facts: &Surroundings) -> Option<Cause> {
    instance(facts, &an_instance()).map(|it| it.cause)
}

const STARTED: &str = "[  OK  ] Started spotblock-agent.service - Keeps this instance's block";

/// Catches: an order in which what a failure brings about hides the failure.
#[test]
fn what_the_console_says_comes_before_rights_and_those_before_the_network() {
    let broken = |looked: &mut Looked| {
        looked.rights = Some(Rights::NoRole("p".into()));
        looked.way = Some(None);
    };
    let console = "spotblock: can't fetch https://x/agent.tgz: powering off";
    assert_eq!(cause(&looked(console, broken)), Some(Cause::UserDataFailed));
    assert_eq!(cause(&looked(STARTED, broken)), Some(Cause::NoRole));
    assert_eq!(cause(&looked(STARTED, |it| it.way = Some(None))), Some(Cause::NoRoute));
    assert_eq!(cause(&looked(STARTED, |_| ())), Some(Cause::NeverJoined));
}

#[test]
fn each_failure_that_a_console_shows_is_told_with_its_line() {
    for (line, expected) in [
        (
            "[   21.4] cloud-init[1201]: spotblock: this image has no spotblock-agent: powering \
             off",
            Cause::NoAgent,
        ),
        ("spotblock: https://x/a.tgz has another SHA-256: powering off", Cause::UserDataFailed),
        (
            "2026-11-24 cc_scripts_user.py[WARNING]: Failed to run module scripts_user (scripts \
             in x)",
            Cause::UserDataFailed,
        ),
        (
            "2018-05-11 cc_scripts_user.py[WARNING]: Failed to run module scripts-user (scripts \
             in x)",
            Cause::UserDataFailed,
        ),
    ] {
        let found = instance(&looked(&format!("boot\n{line}\nlogin:"), |_| ()), &an_instance())
            .expect("a finding");
        assert_eq!(found.cause, expected, "{line}");
        let told = line.find("spotblock: ").map_or(line, |at| &line[at..]);
        assert!(found.evidence.contains(told), "{found:?}");
    }
    // It says so of an instance that powered itself off too: that is when it matters.
    let facts = looked("spotblock: this image has no spotblock-agent: powering off", |_| ());
    let gone = Instance { state: "terminated".into(), ..an_instance() };
    assert_eq!(instance(&facts, &gone).map(|it| it.cause), Some(Cause::NoAgent));
}

/// Catches: a reason that the user data's scripts write to the console and that is not read there.
#[test]
fn each_reason_for_which_the_user_data_gives_up_is_told() {
    assert!(
        include_str!("../block/user_data/common.sh")
            .contains("\"spotblock: $*: powering off\" | tee /dev/console")
    );
    let scripts =
        [include_str!("../block/user_data/baked.sh"), include_str!("../block/user_data/fetch.sh")];
    let lines = scripts.iter().flat_map(|script| script.lines());
    let reasons: Vec<&str> =
        lines.filter_map(|line| line.split_once("fail \"")?.1.split('"').next()).collect();
    assert!(reasons.len() >= 4, "{reasons:?}");
    for reason in reasons {
        let console = format!(
            "boot\r\n[   21.4] cloud-init[1201]: spotblock: {reason}: powering off\r\nlogin:"
        );
        let found = instance(&looked(&console, |_| ()), &an_instance()).expect("a finding");
        assert!(
            matches!(found.cause, Cause::NoAgent | Cause::UserDataFailed),
            "{reason}: {found:?}"
        );
        assert!(
            found.evidence.ends_with(&format!("\"spotblock: {reason}: powering off\"")),
            "{found:?}"
        );
    }
}

#[test]
fn a_way_out_that_an_instance_cannot_take_is_found() {
    let way = |target: &str, blackhole| {
        Some(Some(Way { table: "rtb-1".into(), target: target.into(), blackhole }))
    };
    let private = |it: &mut Looked| it.place.as_mut().expect("a place").public = false;
    assert_eq!(cause(&looked(STARTED, private)), Some(Cause::NoPublicAddress));
    let through_nat = looked(STARTED, |it| {
        private(it);
        it.way = way("nat-1", false);
    });
    assert_eq!(
        cause(&through_nat),
        Some(Cause::NeverJoined),
        "a NAT gateway needs no public address"
    );
    assert_eq!(cause(&looked(STARTED, |it| it.way = way("nat-1", true))), Some(Cause::NoRoute));
    // What may not be looked at says nothing.
    assert_eq!(cause(&looked(STARTED, |it| it.way = None)), Some(Cause::NeverJoined));
}

#[test]
fn a_job_that_ends_after_its_instances_stop_jobs_is_told_so() {
    let stop = now() + jiff::SignedDuration::from_mins(20);
    let mut facts = Surroundings {
        stops: BTreeMap::from([("i-1".into(), stop)]),
        ..facts(vec![host("ACTIVE", true)])
    };
    let of = |facts: &Surroundings, secs| {
        let found = job(facts, &Detail { timeout_secs: secs, ..a_job("RUNNABLE", &[]) });
        found.iter().map(|it| it.cause).collect::<Vec<_>>()
    };
    assert_eq!(of(&facts, Some(1201)), [Cause::Room, Cause::TooLate]);
    assert_eq!(of(&facts, Some(1200)), [Cause::Room], "it just fits");
    assert_eq!(of(&facts, None), [Cause::Room], "nobody knows how long it takes");
    facts.stops.clear();
    assert_eq!(of(&facts, Some(86400)), [Cause::Room], "nobody knows when the instance stops");
}

#[test]
fn an_image_for_other_processors_is_told_from_other_failures() {
    let facts = facts(vec![host("ACTIVE", true)]);
    let found = job(
        &facts,
        &a_job("FAILED", &["CannotPullContainerError: no matching manifest for linux/arm64/v8"]),
    );
    assert_eq!(
        found.iter().map(|it| it.cause).collect::<Vec<_>>(),
        [Cause::Architecture, Cause::Failed]
    );
    let other = job(&facts, &a_job("FAILED", &["CannotPullContainerError: pull access denied"]));
    assert_eq!(other.len(), 1, "{other:?}");
}

/// Catches: a finding that the user finds no word about, and a row for one that isn't there.
#[test]
fn the_documentation_has_a_row_for_each_finding_and_no_other() {
    let text = include_str!("../../../docs/troubleshooting.md");
    let rows: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('|'))
        .filter_map(|(cause, rest)| {
            Some((cause.trim().strip_suffix('`')?, rest.split('|').next()?.trim()))
        })
        .collect();
    let known: Vec<(String, &str)> = Cause::ALL
        .iter()
        .map(|it| {
            (
                serde_json::to_value(it).expect("a word").as_str().expect("text").to_owned(),
                it.says(),
            )
        })
        .collect();
    let known: Vec<(&str, &str)> =
        known.iter().map(|(cause, says)| (cause.as_str(), *says)).collect();
    assert_eq!(rows, known);
}
