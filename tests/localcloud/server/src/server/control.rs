//! The controls below `/_localcloud/`; the crate's header lists them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use jiff::SignedDuration;
use localcloud_core::cloud::Fault;
use localcloud_core::cloud::{ec2, host_ports};
use localcloud_core::hosts::NodeFault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Server;
use crate::client::NodeInfo;
use crate::{booted_elsewhere, clock};

/// The controls' routes.
pub(super) fn router() -> Router<Arc<Server>> {
    Router::new()
        .route("/_localcloud/calls", get(calls))
        .route("/_localcloud/events", get(events))
        .route("/_localcloud/nodes", get(nodes))
        .route("/_localcloud/hosts", get(hosts))
        .route("/_localcloud/hosts/{instance}/tasks", get(host_tasks))
        .route("/_localcloud/hosts/{instance}/asked", get(host_asked))
        .route("/_localcloud/hosts/{instance}/{action}", post(act_on_host))
        .route("/_localcloud/options", get(options).patch(change_options))
        .route("/_localcloud/faults", post(add_fault).delete(clear_faults))
        .route("/_localcloud/nodes/{instance}/{action}", post(act_on_node))
}

async fn calls(State(server): State<Arc<Server>>) -> Response {
    json(server.cloud.lock().calls())
}

async fn events(State(server): State<Arc<Server>>) -> Response {
    json(server.cloud.lock().events())
}

async fn nodes(State(server): State<Arc<Server>>) -> Response {
    let mut nodes: Vec<_> = server.nodes().iter().map(|node| node.info()).collect();
    nodes.extend(ec2::light_nodes(&server.cloud.lock()).into_iter().map(NodeInfo::of_light));
    json(&nodes)
}

async fn hosts(State(server): State<Arc<Server>>) -> Response {
    json(&booted_elsewhere::info(&server.cloud))
}

async fn host_tasks(State(server): State<Arc<Server>>, Path(instance): Path<String>) -> Response {
    json(&server.hosts.as_ref().map(|hosts| hosts.tasks(&instance)).unwrap_or_default())
}

/// What the instance's metadata service was asked.
async fn host_asked(State(server): State<Arc<Server>>, Path(instance): Path<String>) -> Response {
    json(host_ports::asked(&server.cloud.lock(), &instance))
}

/// What becomes of a host that is booted elsewhere.
async fn act_on_host(
    State(server): State<Arc<Server>>,
    Path((instance, action)): Path<(String, String)>,
) -> Response {
    let now = clock::now();
    match action.as_str() {
        "power-off" => server.cloud.act(|cloud| ec2::power_off(cloud, now, &instance)),
        "ecs-connected" => server.cloud.act(|cloud| cloud.agent_connected(now, &instance, true)),
        "ecs-gone" => server.cloud.act(|cloud| cloud.agent_connected(now, &instance, false)),
        _ => return (StatusCode::NOT_FOUND, format!("hosts have no {action}\n")).into_response(),
    }
    answer(Ok(()))
}

async fn options(State(server): State<Arc<Server>>) -> Response {
    json(&server.cloud.lock().options)
}

/// A JSON merge patch. An option that doesn't exist is refused.
async fn change_options(State(server): State<Arc<Server>>, body: Bytes) -> Response {
    let result = server.cloud.act(|cloud| -> Result<(), serde_json::Error> {
        let patch = serde_json::from_slice(&body)?;
        let mut options = serde_json::to_value(&cloud.options)?;
        merge(&mut options, patch);
        cloud.options = serde_json::from_value(options)?;
        Ok(())
    });
    answer(result.map_err(|error| error.to_string()))
}

/// One fault, or a list of them.
async fn add_fault(State(server): State<Arc<Server>>, body: Bytes) -> Response {
    answer(faults(&body).map_err(|error| error.to_string()).map(|faults| {
        let mut cloud = server.cloud.lock();
        for fault in faults {
            match fault {
                AnyFault::Call(fault) => cloud.add_fault(fault),
                AnyFault::Node(fault) => cloud.add_node_fault(fault),
            }
        }
    }))
}

/// A line of the fault script, told by its service.
enum AnyFault {
    Call(Fault),
    Node(NodeFault),
}

fn faults(body: &[u8]) -> Result<Vec<AnyFault>, serde_json::Error> {
    let faults = match serde_json::from_slice(body)? {
        Value::Array(faults) => faults,
        fault => vec![fault],
    };
    let read = |fault: Value| match fault["service"].as_str() {
        Some("imds" | "introspection") => serde_json::from_value(fault).map(AnyFault::Node),
        _ => serde_json::from_value(fault).map(AnyFault::Call),
    };
    faults.into_iter().map(read).collect()
}

async fn clear_faults(State(server): State<Arc<Server>>) -> Response {
    server.cloud.lock().clear_faults();
    answer(Ok(()))
}

/// What `interrupt` takes.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Interruption {
    /// `terminate`, `stop` or `hibernate`.
    action: String,
    /// How many seconds ahead.
    in_secs: i64,
}

impl Default for Interruption {
    /// Two minutes' notice.
    fn default() -> Self {
        Self { action: "terminate".to_owned(), in_secs: 120 }
    }
}

async fn act_on_node(
    State(server): State<Arc<Server>>,
    Path((instance, action)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let node = server.node(&instance);
    if node.is_none() && !ec2::is_light(&server.cloud.lock(), &instance) {
        return (StatusCode::NOT_FOUND, format!("no node {instance}\n")).into_response();
    }
    let now = clock::now();
    match (action.as_str(), node) {
        ("power-off", Some(node)) => node.power_off(&server.cloud),
        ("power-off", None) => server.cloud.act(|cloud| ec2::power_off(cloud, now, &instance)),
        ("kill-agent", Some(node)) => node.signal_agent(nix::sys::signal::Signal::SIGKILL),
        ("stop-agent", Some(node)) => node.signal_agent(nix::sys::signal::Signal::SIGTERM),
        ("vanish", _) => server.cloud.act(|cloud| ec2::vanish(cloud, now, &instance)),
        ("interrupt", _) => {
            let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
            match serde_json::from_slice::<Interruption>(body) {
                Ok(Interruption { action, in_secs }) => {
                    let taken_at =
                        now.checked_add(SignedDuration::from_secs(in_secs)).unwrap_or(now);
                    server
                        .cloud
                        .act(|cloud| ec2::interrupt(cloud, now, &instance, &action, taken_at));
                }
                Err(error) => return answer(Err(error.to_string())),
            }
        }
        ("rebalance", _) => server.cloud.act(|cloud| ec2::rebalance(cloud, now, &instance)),
        _ => {
            return (StatusCode::NOT_FOUND, format!("this node has no {action}\n")).into_response();
        }
    }
    answer(Ok(()))
}

fn answer(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Catches: an effect that a service can't have, taken and never seen.
    #[test]
    fn faults_are_told_by_their_service_and_held_to_its_effects() {
        let list = json!([
            {"service": "imds", "effect": {"status": 401}},
            {"service": "ecs", "effect": "throttle"},
            {"effect": "lost-answer"},
        ]);
        let read = faults(list.to_string().as_bytes()).expect("faults");
        assert!(matches!(read[..], [AnyFault::Node(_), AnyFault::Call(_), AnyFault::Call(_)]));
        assert_eq!(
            faults(br#"{"service": "introspection", "effect": "null-arn"}"#)
                .expect("a fault")
                .len(),
            1
        );
        for wrong in [
            json!({"service": "imds", "effect": "throttle"}),
            json!({"service": "ecs", "effect": {"status": 500}}),
            json!({"service": "imds", "caller": "user", "effect": "half"}),
        ] {
            assert!(faults(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_merge_patch_changes_adds_and_removes() {
        let mut target = json!({"a": 1, "pace": {"x": 1, "y": 2}, "gone": true});
        merge(&mut target, json!({"a": 2, "pace": {"y": 3}, "gone": null, "new": [1]}));
        assert_eq!(target, json!({"a": 2, "pace": {"x": 1, "y": 3}, "new": [1]}));
    }
}
