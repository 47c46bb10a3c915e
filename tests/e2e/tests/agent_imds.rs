//! IMDS that fails, at the boot and in the middle of a life. One block: each of its instances has
//! another fault.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::lives::Terms;
use jiff::SignedDuration;
use localcloud::client::Asked;
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

/// For how many seconds IMDS fails at the boot.
const AT_BOOT: u32 = 4;

const HOURS_OFF: i64 = 6;

/// A fault of whatever IMDS is asked for, and what the agent's status says of it.
struct Broken {
    name: &'static str,
    effect: Value,
    shown: &'static str,
}

fn broken() -> Vec<Broken> {
    let broken = |name, effect, shown| Broken { name, effect, shown };
    vec![
        broken("401", json!({"status": 401}), "HTTP 401"),
        broken("403", json!({"status": 403}), "HTTP 403"),
        broken("404", json!({"status": 404}), "HTTP 404"),
        broken("500", json!({"status": 500}), "HTTP 500"),
        broken("503", json!({"status": 503}), "HTTP 503"),
        broken("hang", json!({"hang": {"secs": 30}}), "timed out"),
        broken("garbage", json!("garbage"), "it is no text"),
        broken("half a body", json!("half"), "end of file before message length reached"),
        broken("refused", json!("refuse"), "Connection refused"),
        broken("no token", json!({"status": 403}), "failed to load IMDS session token"),
    ]
}

/// The lines of the script, each with its bounds.
fn lines(bounds: &Value) -> Vec<(&'static str, Value)> {
    let line = |Broken { name, effect, .. }: Broken| {
        let mut line = json!({"service": "imds", "effect": effect});
        match name {
            // Whoever isn't let in can't say what for.
            "refused" => {}
            "no token" => line["operation"] = json!("token"),
            _ => line["operation"] = json!("/latest/*"),
        }
        let bounds = bounds.as_object().expect("bounds");
        line.as_object_mut().expect("a line").extend(bounds.clone());
        (name, line)
    };
    broken().into_iter().map(line).collect()
}

/// Faults of the whole life, which cost nothing.
fn harmless() -> [(&'static str, Value); 2] {
    let off = json!({"clock-off": {"secs": SignedDuration::from_hours(HOURS_OFF).as_secs()}});
    let short = json!({"short-token": {"uses": 3}});
    [
        ("clock off", json!({"service": "imds", "count": u32::MAX, "effect": off})),
        (
            "token expires",
            json!({"service": "imds", "operation": "token", "count": u32::MAX, "effect": short}),
        ),
    ]
}

/// Catches: an agent that gives up on IMDS, one that keeps a token that was refused, one that takes
/// an error for a notice, one that loses its block's end with IMDS or by a clock that is off; and
/// each without a word in its status.
#[tokio::test]
async fn no_fault_of_imds_costs_a_job_or_the_end() {
    let world = World::new("one-node.toml", &["--block-ends-in", "50s"]).await;
    let at_boot = [lines(&json!({"secs": AT_BOOT})), harmless().to_vec()].concat();
    let fleet = Fleet::start(world, &at_boot, at_boot.len()).await;
    // The same once more, to the block's end.
    fleet.add(&lines(&json!({"count": u32::MAX}))).await;
    // The tasks are listed every five seconds.
    tokio::time::sleep(Duration::from_secs(7)).await;
    faults_are_shown(&fleet.statuses().await);
    the_expired_token_was_met(&fleet).await;
    let events = fleet.end().await;
    fleet.kept_its_promises(&events, &TERMS, &[]).await;
    fleet.world.cloud.stop().await.expect("it ends");
}

fn faults_are_shown(statuses: &BTreeMap<&str, Value>) {
    for Broken { name, shown, .. } in broken() {
        let status = &statuses[name];
        let shows = |what| problem(status, what).is_some_and(|error| error.contains(shown));
        assert!(shows("IMDS doesn't tell who this instance is"), "{name}: {shown:?} in {status:#}");
        // Where nothing is there is no notice, and who has a token needs no other.
        let is_fault = !["404", "no token"].contains(&name);
        assert_eq!(
            shows("looking for an interruption notice fails"),
            is_fault,
            "{name}: {shown:?} in {status:#}"
        );
    }
    for (name, status) in statuses {
        assert_eq!(status["life"]["state"], "serving", "{name}: {status:#}");
        assert_eq!(
            status["life"]["tasks"].as_object().map(serde_json::Map::len),
            Some(1),
            "{name}: {status:#}"
        );
    }
    assert_eq!(statuses["token expires"]["problems"], json!([]));
    let skew = statuses["clock off"]["skew_millis"]
        .as_i64()
        .map(SignedDuration::from_millis)
        .expect("a skew");
    assert!(
        (skew + SignedDuration::from_hours(HOURS_OFF)).abs() < SignedDuration::from_secs(3),
        "{skew}"
    );
}

/// Without this the fault could be none.
async fn the_expired_token_was_met(fleet: &Fleet) {
    let instance = &fleet.host("token expires").node.instance;
    let asked: Vec<Asked> =
        fleet.world.cloud.get(&format!("hosts/{instance}/asked")).await.expect("what was asked");
    let refused = asked.iter().filter(|asked| asked.status == 401).count();
    let tokens = asked.iter().filter(|asked| asked.method == "PUT" && asked.status == 200).count();
    assert!(refused >= 3 && tokens > refused, "{refused} refused, {tokens} tokens: {asked:?}");
}
