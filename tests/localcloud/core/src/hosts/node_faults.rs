//! Faults on an instance itself: in its metadata service and in its ECS agent's introspection.
//!
//! They belong to the same script as the faults of AWS's calls (`cloud/faults.rs`) and are told
//! from them by their service. What the stand-in for the ECS agent asks of its metadata service is
//! not befallen: it is the agent under test that has to cope.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocol::Response;

/// One line of the fault script that concerns instances.
///
/// Of the requests that match, `skip` pass, and then `count` are hit; with `secs` instead of a
/// count, all those until so many seconds after the first that was hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeFault {
    /// What it befalls.
    pub service: Place,
    /// The path, with `*` at its end for all that begins so, or `token` for the request of a token;
    /// left out, any.
    #[serde(default)]
    pub operation: Option<String>,
    /// Which instance's; left out, every one's.
    #[serde(default)]
    pub node: Option<Which>,
    /// How many requests pass before the first that is hit.
    #[serde(default)]
    pub skip: u32,
    /// How many requests are hit.
    #[serde(default = "once")]
    pub count: u32,
    /// For how many seconds requests are hit, however many.
    #[serde(default)]
    pub secs: Option<u32>,
    /// What happens to them.
    pub effect: NodeEffect,
}

fn once() -> u32 {
    1
}

/// What on an instance a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The instance metadata service.
    Imds,
    /// The ECS agent's introspection.
    Introspection,
}

/// One instance: by its id, or by its number in the order of launches, from 1, since a fault that
/// meets a boot has to be there before the instance has an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Which {
    /// Its number.
    Number(usize),
    /// Its id.
    Id(String),
}

/// What a fault does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum NodeEffect {
    /// This HTTP status, with the page that IMDS sends with it, or with introspection's empty
    /// struct.
    Status(u16),
    /// No answer; after so many seconds the connection is cut.
    Hang {
        /// How many seconds.
        secs: u32,
    },
    /// Status 200 and nonsense.
    Garbage,
    /// The answer's head and half of the body that it announces; then the connection is cut.
    Half,
    /// Nobody listens; one that is connected is cut off. Without `secs` until the script is
    /// emptied.
    Refuse,
    /// IMDS: the token is refused (401) after so many requests, whatever its time to live says.
    ShortToken {
        /// How many requests it is good for.
        uses: u32,
    },
    /// IMDS: all times are off by so many seconds, the answer's Date included. A host sees the same
    /// when its own clock is off by as much the other way.
    ClockOff {
        /// How many seconds AWS seems to be ahead.
        secs: i32,
    },
    /// Introspection: the container instance's ARN is null.
    NullArn,
}

/// An answer of an instance's own services, and how it gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// What goes on the wire.
    pub response: Response,
    /// How it does.
    pub way: Way,
}

/// How an answer gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As always.
    Whole,
    /// Half of its body; then the connection is cut.
    Half,
    /// Not at all: the connection is cut.
    CutAfter {
        /// After how many seconds.
        secs: u32,
    },
}

impl NodeEffect {
    /// Whether the request gets through to the service, whatever becomes of its answer.
    pub(crate) fn is_served(self) -> bool {
        match self {
            Self::Status(_) | Self::Hang { .. } | Self::Garbage | Self::Refuse => false,
            Self::Half | Self::ShortToken { .. } | Self::ClockOff { .. } | Self::NullArn => true,
        }
    }
}

impl From<Response> for NodeAnswer {
    fn from(response: Response) -> Self {
        Self { response, way: Way::Whole }
    }
}

/// The script, as far as it is still to come.
#[derive(Default)]
pub(crate) struct NodeFaults {
    script: Vec<Line>,
}

struct Line {
    fault: NodeFault,
    /// When it ends, once it has begun to hold for a time.
    until: Option<Timestamp>,
}

/// Who is asked, and for what.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) place: Place,
    pub(crate) operation: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) number: Option<usize>,
}

impl NodeFaults {
    pub(crate) fn add(&mut self, fault: NodeFault) {
        self.script.push(Line { fault, until: None });
    }

    /// What befalls this request.
    pub(crate) fn take(&mut self, now: Timestamp, asked: Asked<'_>) -> Option<NodeEffect> {
        let line =
            self.script.iter_mut().find(|line| line.is_live(now) && line.fault.matches(asked))?;
        line.hit(now)
    }

    /// Whether connections are refused. It is asked for again and again, and counts no request.
    pub(crate) fn refuse(&mut self, now: Timestamp, asked: Asked<'_>) -> bool {
        let refuses =
            |line: &&mut Line| line.fault.effect == NodeEffect::Refuse && line.fault.matches(asked);
        let Some(line) = self.script.iter_mut().filter(|line| line.is_live(now)).find(refuses)
        else {
            return false;
        };
        if let (Some(secs), None) = (line.fault.secs, line.until) {
            line.until = Some(now + SignedDuration::from_secs(secs.into()));
        }
        true
    }
}

impl Line {
    fn is_live(&self, now: Timestamp) -> bool {
        match self.fault.secs {
            Some(_) => self.until.is_none_or(|until| now < until),
            None => self.fault.count > 0,
        }
    }

    fn hit(&mut self, now: Timestamp) -> Option<NodeEffect> {
        let fault = &mut self.fault;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        match fault.secs {
            Some(secs) => {
                let until = now + SignedDuration::from_secs(secs.into());
                let _ = self.until.get_or_insert(until);
            }
            // A refusal is over when the script is emptied: how often a port is looked at says
            // nothing.
            None if fault.effect == NodeEffect::Refuse => {}
            None => fault.count -= 1,
        }
        Some(fault.effect)
    }
}

impl NodeFault {
    fn matches(&self, asked: Asked<'_>) -> bool {
        let which = match &self.node {
            None => true,
            Some(Which::Id(id)) => id == asked.instance,
            Some(Which::Number(number)) => asked.number == Some(*number),
        };
        which
            && self.service == asked.place
            && self.operation.as_deref().is_none_or(|o| covers(o, asked.operation))
    }
}

/// Whether an operation as a fault gives it means this one.
pub(crate) fn covers(wanted: &str, operation: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == operation, |start| operation.starts_with(start))
}

/// An answer of introspection, as this fault lets it through.
pub(crate) fn introspected(
    fault: Option<NodeEffect>,
    response: impl FnOnce() -> Response,
) -> NodeAnswer {
    match fault {
        None => response().into(),
        Some(NodeEffect::Status(status)) => Response { status, ..json(b"{}".to_vec()) }.into(),
        Some(NodeEffect::NullArn) => without_arn(response()).into(),
        Some(effect) => befall(effect, response),
    }
}

/// What the effects do that are the same everywhere. The others don't concern this service.
pub(crate) fn befall(effect: NodeEffect, response: impl FnOnce() -> Response) -> NodeAnswer {
    let cut = |secs| NodeAnswer { response: Response::default(), way: Way::CutAfter { secs } };
    match effect {
        NodeEffect::Hang { secs } => cut(secs),
        NodeEffect::Refuse => cut(0),
        NodeEffect::Garbage => {
            // No UTF-8, no JSON, and no value of a header.
            let body = b"\x00\xfe\xff{\"Tasks\": \n\x01 garbage".to_vec();
            Response { status: 200, headers: Vec::new(), body }.into()
        }
        NodeEffect::Half => NodeAnswer { response: response(), way: Way::Half },
        NodeEffect::Status(_)
        | NodeEffect::ShortToken { .. }
        | NodeEffect::ClockOff { .. }
        | NodeEffect::NullArn => response().into(),
    }
}

fn json(body: Vec<u8>) -> Response {
    Response {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
    }
}

fn without_arn(response: Response) -> Response {
    let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) else { return response };
    if let Some(arn) = body.get_mut("ContainerInstanceArn") {
        *arn = Value::Null;
    }
    Response { body: body.to_string().into_bytes(), ..response }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script(faults: Value) -> NodeFaults {
        let mut script = NodeFaults::default();
        let faults: Vec<NodeFault> = serde_json::from_value(faults).expect("faults");
        faults.into_iter().for_each(|fault| script.add(fault));
        script
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
    }

    fn imds(operation: &str) -> Asked<'_> {
        Asked { place: Place::Imds, operation, instance: "i-1", number: Some(1) }
    }

    #[test]
    fn a_fault_is_for_its_service_its_path_and_its_instance() {
        let mut faults = script(json!([
            {"service": "imds", "operation": "/latest/meta-data/spot/*", "node": 1, "count": 9, "effect": {"status": 503}},
            {"service": "imds", "operation": "token", "node": "i-2", "effect": "half"},
        ]));
        let spot = "/latest/meta-data/spot/instance-action";
        assert_eq!(faults.take(at(0), imds(spot)), Some(NodeEffect::Status(503)));
        assert_eq!(faults.take(at(0), imds("/latest/user-data")), None);
        assert_eq!(faults.take(at(0), Asked { place: Place::Introspection, ..imds(spot) }), None);
        assert_eq!(faults.take(at(0), Asked { number: Some(2), ..imds(spot) }), None);
        assert_eq!(faults.take(at(0), imds("token")), None);
        let second = Asked { instance: "i-2", number: Some(2), ..imds("token") };
        assert_eq!(faults.take(at(0), second), Some(NodeEffect::Half));
        assert_eq!(faults.take(at(0), second), None, "once");
    }

    /// Catches: a time that is counted from when the fault was written down, before the instance is
    /// there.
    #[test]
    fn a_fault_with_a_time_holds_from_the_first_request_that_it_hits() {
        let mut faults =
            script(json!([{"service": "imds", "skip": 1, "secs": 5, "effect": "garbage"}]));
        assert_eq!(faults.take(at(100), imds("x")), None);
        for seconds in [200, 203, 204] {
            assert_eq!(faults.take(at(seconds), imds("x")), Some(NodeEffect::Garbage));
        }
        assert_eq!(faults.take(at(205), imds("x")), None);
    }

    #[test]
    fn a_port_refuses_for_its_time_or_until_the_script_is_emptied() {
        let refuse = |faults: &mut NodeFaults, seconds| faults.refuse(at(seconds), imds(""));
        let mut faults = script(json!([{"service": "imds", "secs": 5, "effect": "refuse"}]));
        assert_eq!([0, 4, 5].map(|seconds| refuse(&mut faults, seconds)), [true, true, false]);
        let mut faults = script(json!([{"service": "imds", "effect": "refuse"}]));
        assert!(refuse(&mut faults, 0));
        assert_eq!(
            faults.take(at(1), imds("x")),
            Some(NodeEffect::Refuse),
            "who is connected is cut off"
        );
        assert!(refuse(&mut faults, 900));
    }

    #[test]
    fn introspection_fails_with_an_empty_struct_or_without_an_arn() {
        let mut faults = NodeFaults::default();
        for effect in
            [json!({"status": 500}), json!("null-arn"), json!("half"), json!({"hang": {"secs": 7}})]
        {
            let fault = json!({"service": "introspection", "operation": "/v1/*", "effect": effect});
            faults.add(serde_json::from_value(fault).expect("a fault"));
        }
        let real =
            json(json!({"Cluster": "c", "ContainerInstanceArn": "arn:1"}).to_string().into_bytes());
        let asked = Asked { place: Place::Introspection, ..imds("/v1/metadata") };
        let mut ask = || introspected(faults.take(at(0), asked), || real.clone());
        let first = ask();
        assert_eq!(
            (first.response.status, first.response.body.as_slice()),
            (500, b"{}".as_slice())
        );
        let body: Value = serde_json::from_slice(&ask().response.body).expect("JSON");
        assert_eq!(body, json!({"Cluster": "c", "ContainerInstanceArn": null}));
        assert_eq!(ask(), NodeAnswer { response: real.clone(), way: Way::Half });
        assert_eq!(ask().way, Way::CutAfter { secs: 7 });
        assert_eq!(ask(), real.clone().into());
    }
}
