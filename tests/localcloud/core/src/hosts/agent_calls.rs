//! What an ECS agent says to ECS, by the same requests and with the same credentials as the real
//! one: the stand-in on a node's host and the light nodes share it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::protocol::Request;
use crate::protocol::request::NODE_KEY_PREFIX;
use crate::services::ec2::InstanceType;

/// The version it says it has.
pub const VERSION: &str = "1.89.2";

/// A task's state that ECS is to be told.
pub struct Report<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The task's ARN.
    pub task: &'a str,
    /// The container's name.
    pub container: &'a str,
    /// Its id in the container runtime.
    pub runtime_id: &'a str,
    /// `PENDING`, `RUNNING` or `STOPPED`.
    pub status: &'a str,
    /// Since when.
    pub since: Timestamp,
    /// The exit code of one that stopped.
    pub exit_code: Option<i32>,
    /// Why its container never began.
    pub not_started: Option<&'a str>,
}

/// A call of ECS with the credentials of an instance.
#[must_use]
pub fn request(region: &str, instance: &str, operation: &str, parameters: &Value) -> Request {
    let key = format!("{NODE_KEY_PREFIX}{}", instance.trim_start_matches("i-").to_uppercase());
    let scope = format!("{key}/20260101/{region}/ecs/aws4_request");
    Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![
            (
                "authorization".to_owned(),
                format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host"),
            ),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("AmazonEC2ContainerServiceV20141113.{operation}")),
        ],
        body: parameters.to_string().into_bytes(),
        ..Request::default()
    }
}

/// The parameters of a registration. `document` is the instance's identity document; `attributes`
/// are the user's, beside those that the agent finds itself.
#[must_use]
pub fn registration<'a>(
    document: &Value,
    cluster: &str,
    kind: &InstanceType,
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Value {
    let mut all = vec![
        json!({"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}),
        json!({"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"}),
        json!({"name": "ecs.os-type", "value": "linux"}),
        json!({"name": "ecs.instance-type", "value": document["instanceType"]}),
        json!({"name": "ecs.availability-zone", "value": document["availabilityZone"]}),
        json!({"name": "ecs.ami-id", "value": document["imageId"]}),
    ];
    all.extend(attributes.into_iter().map(|(name, value)| json!({"name": name, "value": value})));
    json!({
        "cluster": cluster,
        "instanceIdentityDocument": document.to_string(),
        "instanceIdentityDocumentSignature": "localcloud",
        "totalResources": resources(kind),
        "versionInfo": {"agentVersion": VERSION, "agentHash": "localcloud", "dockerVersion": "DockerVersion: \
            25.0.8"},
        "attributes": all,
    })
}

/// What an instance has to give to tasks.
fn resources(kind: &InstanceType) -> Vec<Value> {
    let integer =
        |name: &str, value: u32| json!({"name": name, "type": "INTEGER", "integerValue": value});
    let mut total = vec![
        integer("CPU", kind.vcpus * 1024),
        // The system keeps some: a t2.micro registers with a little under its 1024 MiB.
        integer("MEMORY", kind.memory_mib - kind.memory_mib / 24),
        json!({"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2375", "2376", "51678", "51679"]}),
        json!({"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []}),
    ];
    if kind.gpus > 0 {
        let ids: Vec<String> = (0..kind.gpus).map(|gpu| format!("GPU-{gpu}")).collect();
        total.push(json!({"name": "GPU", "type": "STRINGSET", "stringSetValue": ids}));
    }
    total
}

/// The parameters of a report of a task's state.
#[must_use]
pub fn report(report: &Report<'_>) -> Value {
    let Report { cluster, task, container, runtime_id, status, since, exit_code, not_started } =
        report;
    let mut container =
        json!({"containerName": container, "runtimeId": runtime_id, "status": status});
    if let Some(code) = exit_code {
        container["exitCode"] = json!(code);
    }
    if let Some(why) = not_started {
        container["reason"] = json!(why);
    }
    let mut parameters =
        json!({"cluster": cluster, "task": task, "status": status, "containers": [container]});
    if *status == "STOPPED" {
        // `[A]` What a job shows for its attempt's statusReason.
        let reason = if not_started.is_some() {
            "Task failed to start"
        } else {
            "Essential container in task exited"
        };
        parameters["reason"] = json!(reason);
        parameters["executionStoppedAt"] = json!(seconds(*since));
    }
    parameters
}

/// Seconds since the epoch, as JSON 1.1 gives times.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
