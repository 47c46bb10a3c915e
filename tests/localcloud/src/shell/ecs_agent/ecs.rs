//! What the ECS agent says to ECS, by the same requests and with the same credentials as the real one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::VERSION;
use super::config::Config;
use super::containers::{Known, Report};
use crate::core::request::NODE_KEY_PREFIX;
use crate::core::{Request, ec2, imds};
use crate::shell::{Shell, clock};

/// Registers under the cluster of the settings, and gives the container instance's ARN. `known` is the one that an
/// earlier start had.
pub(super) fn register(
    shell: &Arc<Shell>,
    instance: &str,
    config: &Config,
    known: Option<&str>,
) -> Result<String, String> {
    let document = identity_document(shell, instance)?;
    let identity: Value = serde_json::from_str(&document).map_err(|error| error.to_string())?;
    let total = resources(shell, instance)?;
    let mut attributes = vec![
        json!({"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}),
        json!({"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"}),
        json!({"name": "ecs.os-type", "value": "linux"}),
        json!({"name": "ecs.instance-type", "value": identity["instanceType"]}),
        json!({"name": "ecs.availability-zone", "value": identity["availabilityZone"]}),
        json!({"name": "ecs.ami-id", "value": identity["imageId"]}),
    ];
    attributes.extend(config.attributes.iter().map(|(name, value)| json!({"name": name, "value": value})));
    let mut parameters = json!({
        "cluster": config.cluster,
        "instanceIdentityDocument": document,
        "instanceIdentityDocumentSignature": "localcloud",
        "totalResources": total,
        "versionInfo": {"agentVersion": VERSION, "agentHash": "localcloud", "dockerVersion": "DockerVersion: 25.0.8"},
        "attributes": attributes,
    });
    if let Some(arn) = known {
        parameters["containerInstanceArn"] = json!(arn);
    } else if config.cluster == "default" {
        // The real one makes this cluster when nobody named another.
        call(shell, instance, "CreateCluster", &json!({"clusterName": "default"}))?;
    }
    let answer = call(shell, instance, "RegisterContainerInstance", &parameters)?;
    let arn = answer["containerInstance"]["containerInstanceArn"].as_str();
    arn.map(str::to_owned).ok_or_else(|| format!("no ARN in {answer}"))
}

/// What the instance has to give to tasks.
fn resources(shell: &Arc<Shell>, instance: &str) -> Result<Vec<Value>, String> {
    let cloud = shell.cloud();
    let kind = ec2::instance(&cloud, instance).ok_or("EC2 does not know this instance")?.instance_type();
    let integer = |name: &str, value: u32| json!({"name": name, "type": "INTEGER", "integerValue": value});
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
    Ok(total)
}

/// Reports a task's state.
pub(super) fn report(shell: &Arc<Shell>, instance: &str, cluster: &str, report: &Report) -> Result<(), String> {
    let status = report.known.as_str();
    let mut container = json!({"containerName": report.container, "runtimeId": report.runtime_id, "status": status});
    if let Some(code) = report.exit_code {
        container["exitCode"] = json!(code);
    }
    let mut parameters = json!({"cluster": cluster, "task": report.task, "status": status, "containers": [container]});
    if report.known == Known::Stopped {
        parameters["reason"] = json!("Essential container in task exited");
        parameters["executionStoppedAt"] = json!(seconds(report.since));
    }
    call(shell, instance, "SubmitTaskStateChange", &parameters).map(|_| ())
}

/// Seconds since the epoch, as JSON 1.1 gives times.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// The identity document, from the node's own IMDS.
fn identity_document(shell: &Arc<Shell>, instance: &str) -> Result<String, String> {
    let ask = |method: &str, path: &str, header: (&str, &str)| {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![(header.0.to_owned(), header.1.to_owned())],
            ..Request::default()
        };
        let response = shell.act(|cloud| imds::respond(cloud, clock::now(), instance, &request));
        let body = String::from_utf8_lossy(&response.body).into_owned();
        if response.status == 200 { Ok(body) } else { Err(format!("IMDS: {} {body}", response.status)) }
    };
    let token = ask("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", "60"))?;
    ask("GET", "/latest/dynamic/instance-identity/document", ("x-aws-ec2-metadata-token", &token))
}

/// One call of ECS.
fn call(shell: &Arc<Shell>, instance: &str, operation: &str, parameters: &Value) -> Result<Value, String> {
    let key = format!("{NODE_KEY_PREFIX}{}", instance.trim_start_matches("i-").to_uppercase());
    let region = shell.cloud().options.region.clone();
    let scope = format!("{key}/20260101/{region}/ecs/aws4_request");
    let request = Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![
            ("authorization".to_owned(), format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host")),
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target".to_owned(), format!("AmazonEC2ContainerServiceV20141113.{operation}")),
        ],
        body: parameters.to_string().into_bytes(),
        ..Request::default()
    };
    let response = shell.act(|cloud| cloud.handle(&request, clock::now()));
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 { Ok(body) } else { Err(format!("{operation}: {} {body}", response.status)) }
}
