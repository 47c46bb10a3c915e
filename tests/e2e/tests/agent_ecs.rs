//! ECS and its agent that fail. One block: each of its instances has another fault, from its launch
//! to its end.

use std::collections::BTreeMap;

use e2e::lives::Terms;
use jiff::{SignedDuration, Timestamp};
use localcloud_core::Event;
use localcloud_core::journal::record::What;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::host::problem;
use crate::world::World;

/// one-node.toml's terms.
const TERMS: Terms = Terms {
    duration: SignedDuration::from_hours(1),
    drain_lead: SignedDuration::from_secs(15),
    stop_lead: SignedDuration::from_secs(10),
};

/// All that the agent ever asks of ECS.
const ALL: [&str; 5] = [
    "UpdateContainerInstancesState",
    "StopTask",
    "Describe*",
    "List*",
    "DeregisterContainerInstance",
];

fn broken() -> Value {
    json!({"fail": {"code": "ServerException", "status": 500, "message": "broken"}})
}

fn denied() -> Value {
    json!({"fail": {"code": "AccessDeniedException", "status": 400, "message": "not authorized"}})
}

fn hang() -> Value {
    json!({"hang": {"secs": 60}})
}

/// These operations, every time.
fn always(operations: &[&str], effect: &Value) -> Value {
    let line = |operation| json!({"service": "ecs", "operation": operation, "count": u32::MAX, "effect": effect});
    operations.iter().map(line).collect()
}

fn faults() -> Vec<(&'static str, Value)> {
    let drain = &ALL[..1];
    let (stop, look) = (&ALL[1..2], &ALL[2..4]);
    let throttle = json!("throttle");
    let once = json!({"service": "ecs", "operation": drain[0], "count": 3, "effect": throttle});
    let no_role = json!({"service": "imds", "operation": "/latest/meta-data/iam/*", "count": u32::MAX, "effect": {"status": 404}});
    let null = json!({"service": "introspection", "operation": "/v1/metadata", "secs": 4, "effect": "null-arn"});
    vec![
        ("DRAINING throttled", once),
        ("DRAINING broken", always(drain, &broken())),
        ("DRAINING denied", always(drain, &denied())),
        ("StopTask throttled", always(stop, &throttle)),
        ("StopTask broken", always(stop, &broken())),
        ("StopTask hangs", always(stop, &hang())),
        ("looks throttled", always(look, &throttle)),
        ("looks broken", always(look, &broken())),
        ("looks denied", always(look, &denied())),
        ("all hangs", always(&ALL, &hang())),
        ("no credentials", no_role),
        ("ARN null", null),
        ("introspection 500", Value::Null),
        ("introspection refuses", Value::Null),
        ("introspection garbage", Value::Null),
    ]
}

/// What the status shows of each fault at some time: which problem, and a part of its error. A
/// StopTask that fails is told after the SDK's tries; in a block as short as this one the agent may
/// be gone by then, and its record tells of it.
const SHOWN: [(&str, &str, &str); 11] = [
    ("DRAINING throttled", "setting DRAINING failed", "ThrottlingException"),
    ("DRAINING broken", "setting DRAINING failed", "ServerException"),
    ("DRAINING denied", "setting DRAINING was refused", "AccessDeniedException"),
    ("looks throttled", "reading the container instance's status fails", "ThrottlingException"),
    ("looks broken", "reading the container instance's status fails", "ServerException"),
    ("looks denied", "reading the container instance's status fails", "AccessDeniedException"),
    ("all hangs", "reading the container instance's status fails", "timed out"),
    ("no credentials", "setting DRAINING failed", "credential provider"),
    ("introspection 500", "listing the tasks on the host fails", "HTTP 500"),
    ("introspection refuses", "listing the tasks on the host fails", "Connection refused"),
    ("introspection garbage", "listing the tasks on the host fails", "expected value"),
];

/// Under these faults ECS or its agent is no way to stop a task: the agent does it on the host.
const UNHEARD: [&str; 9] = [
    "DRAINING broken",
    "DRAINING denied",
    "StopTask throttled",
    "StopTask broken",
    "StopTask hangs",
    "all hangs",
    "no credentials",
    "introspection refuses",
    "introspection garbage",
];

/// Under these ECS doesn't confirm DRAINING, or not in time.
const UNDRAINED: [&str; 5] =
    ["DRAINING throttled", "DRAINING broken", "DRAINING denied", "all hangs", "no credentials"];

/// Catches: an agent that waits for ECS until its block is over, one that takes an answer that it
/// didn't get for "no tasks", one that takes new tasks while it stops the old ones; and each
/// without a word in its status.
#[tokio::test]
async fn no_fault_of_ecs_or_its_agent_costs_a_job_or_the_end() {
    let world = World::new("one-node.toml", &["--block-ends-in", "40s"]).await;
    let faults = faults();
    let fleet = Fleet::start(world, &faults, faults.len()).await;
    let introspection = |effect: Value| json!({"service": "introspection", "effect": effect});
    let with = |mut line: Value, bound: &str, amount: u32| {
        line[bound] = json!(amount);
        line
    };
    let later = [
        ("introspection 500", with(introspection(json!({"status": 500})), "secs", 8)),
        ("introspection garbage", with(introspection(json!("garbage")), "count", u32::MAX)),
        ("introspection refuses", introspection(json!("refuse"))),
    ];
    fleet.add(&later).await;
    let seen = fleet.watch().await;
    faults_were_shown(&seen);
    no_silence_was_taken_for_no_task(&seen);
    let events = fleet.end().await;
    // The throttled one has its DRAINING just before the stop, or just after.
    for (name, _) in faults.iter().filter(|(name, _)| *name != "DRAINING throttled") {
        let transitions = fleet.host(name).record("transition");
        let unheard = transitions.iter().any(|entry| entry["why"] == "unheard");
        assert_eq!(unheard, UNHEARD.contains(name), "{name}: {transitions:#?}");
    }
    a_null_arn_was_no_registration(&fleet, &events);
    fleet.kept_its_promises(&events, &TERMS, &UNDRAINED).await;
    fleet.world.cloud.stop().await.expect("it ends");
}

fn faults_were_shown(seen: &BTreeMap<&str, Vec<Value>>) {
    for (name, what, error) in SHOWN {
        let shows =
            |status: &Value| problem(status, what).is_some_and(|shown| shown.contains(error));
        assert!(
            seen[name].iter().any(shows),
            "{name}: {what}: {error:?} in none of {:#?}",
            seen[name].last()
        );
    }
}

/// Each host had its task until it was stopped.
fn no_silence_was_taken_for_no_task(seen: &BTreeMap<&str, Vec<Value>>) {
    for (name, statuses) in seen {
        let before_stop = statuses.iter().filter(|status| {
            status["life"]["state"] == "serving" || status["life"]["state"] == "draining"
        });
        let mut counts = before_stop
            .map(|status| status["life"]["tasks"].as_object().map(serde_json::Map::len))
            .peekable();
        assert!(counts.peek().is_some(), "{name} was not seen serving");
        // It is listed every five seconds.
        assert!(
            counts.skip_while(|count| *count == Some(0)).all(|count| count == Some(1)),
            "{name}: {statuses:#?}"
        );
    }
}

fn a_null_arn_was_no_registration(fleet: &Fleet, events: &[Event]) {
    let host = fleet.host("ARN null");
    let joined = events.iter().find_map(|event| match &event.what {
        What::Joined { instance, .. } if *instance == host.node.instance => Some(event.at),
        _ => None,
    });
    let known: Timestamp =
        host.record("registered")[0]["at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let late = joined.expect("it joined").duration_until(known);
    assert!(late > SignedDuration::from_secs(2), "the ARN was there after {late}");
}
