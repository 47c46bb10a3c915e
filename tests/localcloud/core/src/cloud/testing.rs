//! What the core's tests share: a cloud on its own time, calls as the AWS CLI sends them, and
//! pieces of XML.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::journal::Effect;
use crate::protocol::request::NODE_KEY_PREFIX;
use crate::protocol::{Options, Request, Response};

/// A cloud, and its time.
pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) now: Timestamp,
}

/// An operation's error: its code and its message.
pub(crate) type Failure = (String, String);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let now = "2026-11-24T12:00:00.25Z".parse().expect("a time");
        Self { cloud: Cloud::new(options), now }
    }

    /// Lets time pass at once: what is due on the way happens, but what that brings about does so
    /// at the end.
    pub(crate) fn wait_ms(&mut self, ms: i64) {
        self.now += SignedDuration::from_millis(ms);
        self.cloud.advance(self.now);
    }

    /// Lets time pass in small steps, and gives what the outside would have had to do.
    pub(crate) fn pass(&mut self, ms: i64) -> Vec<Effect> {
        let end = self.now + SignedDuration::from_millis(ms);
        while self.now < end {
            self.now = (self.now + SignedDuration::from_millis(50)).min(end);
            self.cloud.advance(self.now);
        }
        self.cloud.take_effects()
    }

    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.cloud.handle(request, self.now)
    }

    /// A call of EC2, IAM or STS with this form; gives the answer's XML.
    pub(crate) fn query(&mut self, service: &str, form: &str) -> String {
        self.try_query(service, form).unwrap_or_else(|error| panic!("{form}: {error}"))
    }

    /// The same, when it may fail: the error is its status, code and message.
    pub(crate) fn try_query(&mut self, service: &str, form: &str) -> Result<String, String> {
        let response = self.send(&signed(service, Request { body: form.into(), ..post("/") }));
        let text = String::from_utf8(response.body).expect("UTF-8");
        if response.status == 200 {
            return Ok(text);
        }
        let part = |name: &str| between(&text, name).unwrap_or_default().to_owned();
        Err(format!("{} {}: {}", response.status, part("Code"), part("Message")))
    }

    /// A call of SSM.
    pub(crate) fn ssm(&mut self, operation: &str, parameters: &Value) -> Result<Value, Failure> {
        self.outcome(&signed("ssm", targeted("AmazonSSM", operation, parameters)))
    }

    /// A call of the price list's service.
    pub(crate) fn pricing(
        &mut self,
        operation: &str,
        parameters: &Value,
    ) -> Result<Value, Failure> {
        self.outcome(&signed("pricing", targeted("AWSPriceListService", operation, parameters)))
    }

    /// A call of Scheduler; a query string can follow the path.
    pub(crate) fn scheduler(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failure> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request =
            Request { method: method.to_owned(), query: query.to_owned(), body, ..post(path) };
        self.outcome(&signed("scheduler", request))
    }

    /// A call of ECS or Batch with a user's credentials.
    pub(crate) fn call(
        &mut self,
        service: &str,
        operation: &str,
        parameters: Value,
    ) -> Result<Value, Failure> {
        let request = match service {
            "batch" => {
                let body = parameters.to_string().into_bytes();
                Request { body, ..post(&format!("/v1/{}", operation.to_lowercase())) }
            }
            _ => of_ecs(operation, &parameters),
        };
        self.outcome(&signed(service, request))
    }

    /// A call of ECS with the credentials of an instance.
    pub(crate) fn call_from(
        &mut self,
        instance: &str,
        operation: &str,
        parameters: Value,
    ) -> Result<Value, Failure> {
        let key = format!("{NODE_KEY_PREFIX}{}", instance.trim_start_matches("i-").to_uppercase());
        self.outcome(&signed_with(&key, "ecs", of_ecs(operation, &parameters)))
    }

    /// The outcome of a request whose answer is JSON.
    fn outcome(&mut self, request: &Request) -> Result<Value, Failure> {
        let response = self.send(request);
        let body: Value = serde_json::from_slice(&response.body).expect("JSON");
        if response.status == 200 {
            return Ok(body);
        }
        let header = response.headers.iter().find(|(name, _)| name == "x-amzn-errortype");
        let message = body["message"].as_str().or_else(|| body["Message"].as_str());
        Err((header.expect("a code").1.clone(), message.unwrap_or_default().to_owned()))
    }

    /// Registers an instance with 2 vCPUs, 2 GiB and one GPU, as its ECS agent would, and gives its
    /// ARN.
    pub(crate) fn register(&mut self, instance: &str, cluster: &str) -> String {
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
        let answer = self
            .call_from(instance, "RegisterContainerInstance", registration)
            .expect("a registration");
        answer["containerInstance"]["containerInstanceArn"].as_str().expect("an ARN").to_owned()
    }

    /// An ECS agent's report.
    pub(crate) fn report(
        &mut self,
        cluster: &str,
        task: &str,
        status: &str,
        exit_code: Option<i32>,
    ) {
        let mut container = json!({"containerName": "default", "status": status});
        if let Some(code) = exit_code {
            container["exitCode"] = json!(code);
        }
        let report =
            json!({"cluster": cluster, "task": task, "status": status, "containers": [container]});
        self.call_from("i-1", "SubmitTaskStateChange", report).expect("a report");
    }
}

fn post(path: &str) -> Request {
    Request { method: "POST".to_owned(), path: path.to_owned(), ..Request::default() }
}

fn of_ecs(operation: &str, parameters: &Value) -> Request {
    targeted("AmazonEC2ContainerServiceV20141113", operation, parameters)
}

/// A request of JSON 1.1.
fn targeted(prefix: &str, operation: &str, parameters: &Value) -> Request {
    let headers = vec![("x-amz-target".to_owned(), format!("{prefix}.{operation}"))];
    Request { headers, body: parameters.to_string().into_bytes(), ..post("/") }
}

/// Puts a user's signature on a request; nobody checks the signature itself.
pub(crate) fn signed(service: &str, request: Request) -> Request {
    signed_with("AKIAEXAMPLE", service, request)
}

fn signed_with(key: &str, service: &str, mut request: Request) -> Request {
    let scope = format!("{key}/20261124/us-east-1/{service}/aws4_request");
    let value =
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0");
    request.headers.push(("authorization".to_owned(), value));
    request
}

/// The text of the first element of this name.
pub(crate) fn between<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = xml[start..].find(&format!("</{name}>"))? + start;
    Some(&xml[start..end])
}

/// The texts of all elements of this name.
pub(crate) fn all<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(text) = between(rest, name) {
        found.push(text);
        rest = &rest[text.as_ptr() as usize - rest.as_ptr() as usize + text.len()..];
    }
    found
}

/// Whether an answer holds a piece of XML, showing it when it doesn't.
#[track_caller]
pub(crate) fn contains(xml: &str, piece: &str) -> bool {
    assert!(xml.contains(piece), "no {piece} in {xml}");
    true
}
