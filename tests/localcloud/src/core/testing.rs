//! What the core's tests share: a cloud on its own time, and calls as a user or as an instance.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::request::NODE_KEY_PREFIX;
use super::{Cloud, Effect, Options, Request};

/// A cloud and its time.
pub(super) struct World {
    pub(super) cloud: Cloud,
    pub(super) now: Timestamp,
}

/// An operation's error: its code and its message.
pub(super) type Failure = (String, String);

impl World {
    pub(super) fn new() -> Self {
        Self { cloud: Cloud::new(Options::default()), now: Timestamp::from_second(1_800_000_000).expect("a time") }
    }

    /// Lets time pass in small steps, and gives what the outside would have had to do.
    pub(super) fn pass(&mut self, millis: i64) -> Vec<Effect> {
        let end = self.now + SignedDuration::from_millis(millis);
        while self.now < end {
            self.now = (self.now + SignedDuration::from_millis(50)).min(end);
            self.cloud.advance(self.now);
        }
        self.cloud.take_effects()
    }

    /// One call of ECS or Batch with a user's credentials.
    pub(super) fn call(&mut self, service: &str, operation: &str, parameters: Value) -> Result<Value, Failure> {
        self.call_as("AKIAUSER", service, operation, parameters)
    }

    /// The same with the credentials of an instance.
    pub(super) fn call_from(&mut self, instance: &str, operation: &str, parameters: Value) -> Result<Value, Failure> {
        let key = format!("{NODE_KEY_PREFIX}{}", instance.trim_start_matches("i-").to_uppercase());
        self.call_as(&key, "ecs", operation, parameters)
    }

    fn call_as(&mut self, key: &str, service: &str, operation: &str, parameters: Value) -> Result<Value, Failure> {
        let scope = format!("AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, x");
        let request = Request {
            method: "POST".to_owned(),
            path: if service == "batch" { format!("/v1/{}", operation.to_lowercase()) } else { "/".to_owned() },
            headers: vec![
                ("authorization".to_owned(), scope),
                ("x-amz-target".to_owned(), format!("AmazonEC2ContainerServiceV20141113.{operation}")),
            ],
            body: parameters.to_string().into_bytes(),
            ..Request::default()
        };
        let response = self.cloud.handle(&request, self.now);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        if response.status == 200 {
            return Ok(body);
        }
        let code = response.headers.iter().find(|(name, _)| name == "x-amzn-errortype").expect("a code").1.clone();
        Err((code, body["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Registers an instance with 2 vCPUs, 2 GiB and one GPU, as its ECS agent would, and gives its ARN.
    pub(super) fn register(&mut self, instance: &str, cluster: &str) -> String {
        let registration = json!({
            "cluster": cluster,
            "instanceIdentityDocument": json!({"instanceId": instance}).to_string(),
            "totalResources": [
                {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                {"name": "MEMORY", "type": "INTEGER", "integerValue": 2048},
                {"name": "GPU", "type": "STRINGSET", "stringSetValue": ["GPU-0"]},
            ],
            "attributes": [{"name": "spotblock.end", "value": "2026-11-24T11:00:00Z"}],
        });
        let answer = self.call_from(instance, "RegisterContainerInstance", registration).expect("a registration");
        answer["containerInstance"]["containerInstanceArn"].as_str().expect("an ARN").to_owned()
    }

    /// An ECS agent's report.
    pub(super) fn report(&mut self, cluster: &str, task: &str, status: &str, exit_code: Option<i32>) {
        let mut container = json!({"containerName": "default", "status": status});
        if let Some(code) = exit_code {
            container["exitCode"] = json!(code);
        }
        let report = json!({"cluster": cluster, "task": task, "status": status, "containers": [container]});
        self.call_from("i-1", "SubmitTaskStateChange", report).expect("a report");
    }
}
