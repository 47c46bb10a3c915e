//! A request and a response, as far as the core cares.

use serde::{Deserialize, Serialize};

/// An HTTP request, taken off the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// GET, POST, ...
    pub method: String,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query string without its `?`.
    pub query: String,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers besides Content-Length and Date.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Who made a call, told by the access key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caller {
    /// No credentials in the request.
    Anonymous,
    /// A person or their tool.
    User,
    /// The role of this instance, through the credentials that its IMDS gave out.
    Instance(String),
    /// EventBridge Scheduler, with the role of a schedule.
    Scheduler,
}

/// Access keys that a node's IMDS gives out begin with this, followed by the instance id in upper
/// case without `i-`.
pub const NODE_KEY_PREFIX: &str = "ASIANODE";

/// The access key of the calls that schedules make.
const SCHEDULER_KEY: &str = "ASIASCHEDULER0000000";

/// A form that a schedule sends to a service.
pub(crate) fn from_scheduler(service: &str, region: &str, body: Vec<u8>) -> Request {
    let scope = format!("{SCHEDULER_KEY}/20260101/{region}/{service}/aws4_request");
    let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host");
    Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![("authorization".to_owned(), authorization)],
        body,
        ..Request::default()
    }
}

impl Request {
    /// A header's value; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Access key, date, region, service out of a signature of version 4.
    fn scope(&self) -> Option<Vec<&str>> {
        let value = self.header("authorization")?;
        let credential = value.split_once("Credential=")?.1.split([',', ' ']).next()?;
        let parts: Vec<&str> = credential.split('/').collect();
        (parts.len() == 5).then_some(parts)
    }

    /// The service the request was signed for; unsigned ones are S3's.
    #[must_use]
    pub fn service(&self) -> &str {
        self.scope().map_or("s3", |parts| parts[3])
    }

    /// The region the request was signed for.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.scope().map(|parts| parts[2])
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self.scope() {
            None => Caller::Anonymous,
            Some(parts) if parts[0] == SCHEDULER_KEY => Caller::Scheduler,
            Some(parts) => match parts[0].strip_prefix(NODE_KEY_PREFIX) {
                Some(id) => Caller::Instance(format!("i-{}", id.to_lowercase())),
                None => Caller::User,
            },
        }
    }
}
