//! What the ECS agent says to ECS, by the same requests and with the same credentials as the real
//! one.

use std::sync::Arc;

use localcloud_core::cloud::{ec2, host_ports};
use localcloud_core::hosts::agent_calls;
use localcloud_core::protocol::Request;
use serde_json::{Value, json};

use super::config::Config;
use super::containers::Report;
use crate::clock;
use crate::shared_cloud::SharedCloud;

/// Registers under the cluster of the settings, and gives the container instance's ARN. `known` is
/// the one that an earlier start had.
pub(super) fn register(
    cloud: &Arc<SharedCloud>,
    instance: &str,
    config: &Config,
    known: Option<&str>,
) -> Result<String, String> {
    let document = identity_document(cloud, instance)?;
    let document: Value = serde_json::from_str(&document).map_err(|error| error.to_string())?;
    let kind = ec2::instance(&cloud.lock(), instance)
        .ok_or("EC2 does not know this instance")?
        .instance_type();
    let attributes = config.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut parameters = agent_calls::registration(&document, &config.cluster, kind, attributes);
    if let Some(arn) = known {
        parameters["containerInstanceArn"] = json!(arn);
    } else if config.cluster == "default" {
        // The real one makes this cluster when nobody named another.
        call(cloud, instance, "CreateCluster", &json!({"clusterName": "default"}))?;
    }
    let answer = call(cloud, instance, "RegisterContainerInstance", &parameters)?;
    let arn = answer["containerInstance"]["containerInstanceArn"].as_str();
    arn.map(str::to_owned).ok_or_else(|| format!("no ARN in {answer}"))
}

/// Reports a task's state.
pub(super) fn report(
    cloud: &Arc<SharedCloud>,
    instance: &str,
    cluster: &str,
    report: &Report,
) -> Result<(), String> {
    let parameters = agent_calls::report(&agent_calls::Report {
        cluster,
        task: &report.task,
        container: &report.container,
        runtime_id: &report.runtime_id,
        status: report.known.as_str(),
        since: report.since,
        exit_code: report.exit_code,
        not_started: report.not_started.as_deref(),
    });
    call(cloud, instance, "SubmitTaskStateChange", &parameters).map(|_| ())
}

/// The identity document, from the node's own IMDS.
fn identity_document(cloud: &Arc<SharedCloud>, instance: &str) -> Result<String, String> {
    let ask = |method: &str, path: &str, header: (&str, &str)| {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: vec![(header.0.to_owned(), header.1.to_owned())],
            ..Request::default()
        };
        let response =
            cloud.act(|cloud| host_ports::metadata(cloud, clock::now(), instance, &request));
        let body = String::from_utf8_lossy(&response.body).into_owned();
        if response.status == 200 {
            Ok(body)
        } else {
            Err(format!("IMDS: {} {body}", response.status))
        }
    };
    let token = ask("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", "60"))?;
    ask("GET", "/latest/dynamic/instance-identity/document", ("x-aws-ec2-metadata-token", &token))
}

/// One call of ECS.
fn call(
    cloud: &Arc<SharedCloud>,
    instance: &str,
    operation: &str,
    parameters: &Value,
) -> Result<Value, String> {
    let region = cloud.lock().options.region.clone();
    let request = agent_calls::request(&region, instance, operation, parameters);
    let response = cloud.act(|cloud| cloud.handle(&request, clock::now()));
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 {
        Ok(body)
    } else {
        Err(format!("{operation}: {} {body}", response.status))
    }
}
