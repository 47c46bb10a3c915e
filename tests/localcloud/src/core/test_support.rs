//! Requests as the AWS CLI sends them, for unit tests.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Cloud, Options, Request, Response};

/// A cloud, somebody who calls it, and a clock of its own.
pub(crate) struct Console {
    pub(crate) cloud: Cloud,
    pub(crate) now: Timestamp,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let now = "2026-11-24T12:00:00.25Z".parse().expect("a time");
        Self { cloud: Cloud::new(options), now }
    }

    /// Lets time pass.
    pub(crate) fn wait_ms(&mut self, ms: i64) {
        self.now += SignedDuration::from_millis(ms);
        self.cloud.advance(self.now);
    }

    pub(crate) fn send(&mut self, request: &Request) -> Response {
        self.cloud.handle(request, self.now)
    }

    /// Puts a signature's header on a request; nobody checks the signature itself.
    pub(crate) fn signed(&self, service: &str, mut request: Request) -> Request {
        let scope = format!("AKIAEXAMPLE/20261124/us-east-1/{service}/aws4_request");
        let value = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0");
        request.headers.push(("authorization".to_owned(), value));
        request
    }

    /// A call of EC2, IAM or STS with this form; gives the answer's XML.
    pub(crate) fn query(&mut self, service: &str, form: &str) -> String {
        self.try_query(service, form).unwrap_or_else(|error| panic!("{form}: {error}"))
    }

    /// The same, when it may fail: the error is its status, code and message.
    pub(crate) fn try_query(&mut self, service: &str, form: &str) -> Result<String, String> {
        let request =
            Request { method: "POST".to_owned(), path: "/".to_owned(), body: form.into(), ..Request::default() };
        let response = self.send(&self.signed(service, request));
        let text = String::from_utf8(response.body).expect("UTF-8");
        if response.status == 200 {
            return Ok(text);
        }
        let part = |name: &str| between(&text, name).unwrap_or_default().to_owned();
        Err(format!("{} {}: {}", response.status, part("Code"), part("Message")))
    }

    /// A call of a JSON 1.1 service; the error is its type.
    pub(crate) fn json(&mut self, service: &str, target: &str, body: &Value) -> Result<Value, String> {
        let headers = vec![("x-amz-target".to_owned(), target.to_owned())];
        let request = Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers,
            body: body.to_string().into_bytes(),
            ..Request::default()
        };
        self.outcome(service, request)
    }

    /// A call of a REST JSON service; the error is its type.
    pub(crate) fn rest(&mut self, service: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body,
            ..Request::default()
        };
        self.outcome(service, request)
    }

    fn outcome(&mut self, service: &str, request: Request) -> Result<Value, String> {
        let response = self.send(&self.signed(service, request));
        if response.status == 200 {
            return Ok(serde_json::from_slice(&response.body).expect("JSON"));
        }
        let header = response.headers.iter().find(|(name, _)| name == "x-amzn-errortype");
        Err(header.expect("the error's type").1.clone())
    }
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
