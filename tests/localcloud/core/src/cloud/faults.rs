//! The fault script: calls that throttle, fail, hang, or lose their answer.
//!
//! A fault waits for a call of its service and operation, lets `skip` of them pass, and then
//! befalls `count`. Faults are looked at in the order in which they were added; the first that
//! matches counts the call.

use serde::{Deserialize, Serialize};

use crate::hosts::node_faults::{NodeFaults, Which, covers};
use crate::protocol::wire;
use crate::protocol::{AwsError, Caller, Context, Handled, Request, Response};

/// One line of the fault script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// `ec2`, `batch`, ...; left out, any.
    #[serde(default)]
    pub service: Option<String>,
    /// AWS's name of the operation, such as `SubmitJob`, or its beginning and `*`; left out, any.
    #[serde(default)]
    pub operation: Option<String>,
    /// Whose calls; left out, everybody's.
    #[serde(default)]
    pub caller: Option<Who>,
    /// How many calls pass before the first that is hit.
    #[serde(default)]
    pub skip: u32,
    /// How many calls are hit.
    #[serde(default = "once")]
    pub count: u32,
    /// What happens to them.
    pub effect: Effect,
}

fn once() -> u32 {
    1
}

/// Whose calls a fault befalls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Those with an instance role's credentials.
    Instance,
    /// Those of a person or their tool.
    User,
    /// Those with this instance's credentials.
    Node(Which),
    /// Those that schedules make.
    Scheduler,
}

/// What a fault does to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Effect {
    /// The service's throttling error; the call has no effect.
    Throttle,
    /// This error; the call has no effect.
    Fail {
        /// AWS's code.
        code: String,
        /// The HTTP status.
        status: u16,
        /// The text.
        message: String,
    },
    /// The call has no effect, and after so many seconds the connection is cut.
    Hang {
        /// How many seconds.
        secs: u64,
    },
    /// The call has its effect, and the connection is cut instead of an answer.
    LostAnswer,
    /// The call has its effect at once, and its answer comes late.
    Slow {
        /// How late.
        millis: u64,
    },
}

/// How an answer gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As always.
    AtOnce,
    /// Late.
    After {
        /// How late.
        millis: u64,
    },
    /// Not at all: the connection is cut.
    NeverAfter {
        /// After how long.
        millis: u64,
    },
}

/// The script, as far as it is still to come.
#[derive(Default)]
pub(crate) struct Faults {
    script: Vec<Fault>,
    /// Those on instances.
    pub(crate) nodes: NodeFaults,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.script.push(fault);
    }

    /// What befalls this call. An instance that calls has its number.
    pub(crate) fn take(&mut self, call: Called<'_>) -> Option<Effect> {
        let fault = self.script.iter_mut().find(|fault| fault.count > 0 && fault.matches(call))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.count -= 1;
        Some(fault.effect.clone())
    }
}

/// A call, as far as faults look at it.
#[derive(Clone, Copy)]
pub(crate) struct Called<'a> {
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) caller: &'a Caller,
    /// The calling instance's number in the order of launches.
    pub(crate) number: Option<usize>,
}

impl Fault {
    fn matches(&self, call: Called<'_>) -> bool {
        let who = match (&self.caller, call.caller) {
            (None, _)
            | (Some(Who::Instance), Caller::Instance(_))
            | (Some(Who::User), Caller::User)
            | (Some(Who::Scheduler), Caller::Scheduler) => true,
            (Some(Who::Node(Which::Id(id))), Caller::Instance(caller)) => id == caller,
            (Some(Who::Node(Which::Number(number))), Caller::Instance(_)) => {
                call.number == Some(*number)
            }
            (Some(_), _) => false,
        };
        who && self.service.as_deref().is_none_or(|wanted| wanted == call.service)
            && self.operation.as_deref().is_none_or(|wanted| covers(wanted, call.operation))
    }
}

/// The service's own way to say that calls come too fast.
pub(crate) fn throttled(
    service: &str,
    operation: &str,
    context: &Context,
    request: &Request,
) -> Handled {
    let error = match service {
        "ec2" => AwsError::new("RequestLimitExceeded", "Request limit exceeded.").with_status(503),
        "batch" => AwsError::new("TooManyRequestsException", "Too Many Requests").with_status(429),
        "s3" => AwsError::new("SlowDown", "Please reduce your request rate.").with_status(503),
        "iam" | "sts" => AwsError::new("Throttling", "Rate exceeded"),
        "scheduler" => AwsError::new("ThrottlingException", "Rate exceeded").with_status(429),
        _ => AwsError::new("ThrottlingException", "Rate exceeded"),
    };
    failed(service, operation, context, request, &error)
}

/// An error in the shape of the service's protocol.
pub(crate) fn failed(
    service: &str,
    operation: &str,
    context: &Context,
    request: &Request,
    error: &AwsError,
) -> Handled {
    let response = wire::error(service, context, error);
    Handled { error: Some(error.code.clone()), response, ..unanswered(operation, request) }
}

/// A call that was noted and got nowhere.
pub(crate) fn unanswered(operation: &str, request: &Request) -> Handled {
    Handled {
        operation: operation.to_owned(),
        parameters: serde_json::from_slice(&request.body).unwrap_or_default(),
        response: Response::default(),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script(faults: serde_json::Value) -> Faults {
        Faults { script: serde_json::from_value(faults).expect("faults"), ..Faults::default() }
    }

    fn call<'a>(service: &'a str, operation: &'a str, caller: &'a Caller) -> Called<'a> {
        Called { service, operation, caller, number: None }
    }

    #[test]
    fn a_fault_skips_hits_and_is_used_up() {
        let mut faults = script(json!([
            {"service": "batch", "operation": "SubmitJob", "skip": 1, "count": 2, "effect": "throttle"},
        ]));
        let mut hit = || faults.take(call("batch", "SubmitJob", &Caller::User)).is_some();
        assert_eq!([hit(), hit(), hit(), hit()], [false, true, true, false]);
    }

    #[test]
    fn a_fault_looks_at_service_operation_and_caller() {
        let mut faults = script(json!([
            {"service": "ecs", "operation": "StopTask", "caller": "instance", "effect": {"hang": {"secs": 3}}},
        ]));
        let instance = Caller::Instance("i-1".into());
        assert_eq!(faults.take(call("ecs", "StopTask", &Caller::User)), None);
        assert_eq!(faults.take(call("batch", "StopTask", &instance)), None);
        assert_eq!(faults.take(call("ecs", "ListTasks", &instance)), None);
        assert_eq!(faults.take(call("ecs", "StopTask", &instance)), Some(Effect::Hang { secs: 3 }));
    }

    #[test]
    fn a_fault_can_be_one_instances_and_of_many_operations() {
        let mut faults = script(json!([
            {"operation": "Describe*", "caller": {"node": "i-1"}, "count": 9, "effect": "throttle"},
            {"operation": "ListTasks", "caller": {"node": 2}, "count": 9, "effect": "throttle"},
        ]));
        let (first, second) = (Caller::Instance("i-1".into()), Caller::Instance("i-2".into()));
        let from_second = |operation| Called { number: Some(2), ..call("ecs", operation, &second) };
        assert!(faults.take(call("ecs", "DescribeTasks", &first)).is_some());
        assert!(faults.take(from_second("DescribeTasks")).is_none());
        assert!(faults.take(from_second("ListTasks")).is_some());
        assert!(faults.take(call("ecs", "ListTasks", &Caller::User)).is_none());
    }
}
