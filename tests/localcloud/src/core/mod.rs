//! The deciding part: `(request, now, seed) -> response`, without I/O and without a clock.
//!
//! [`Cloud::handle`] takes one request; [`Cloud::advance`] lets time pass. What the outside has to do comes out of
//! [`Cloud::take_effects`]; what happened on a node comes back as ordinary ECS requests and through
//! [`Cloud::node_gone`].

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::Value;

pub mod batch;
pub mod ec2;
pub mod ecs;
pub mod effect;
pub mod error;
pub mod iam;
pub mod ids;
pub mod imds;
pub mod options;
pub mod record;
pub mod request;
pub mod s3;
pub mod scheduler;
pub mod ssm;
pub mod sts;

pub use effect::Effect;
pub use error::AwsError;
pub use options::Options;
pub use record::{Call, Event};
pub use request::{Caller, Request, Response};

/// The whole cloud's state.
pub struct Cloud {
    /// How it behaves; can be changed while it runs.
    pub options: Options,
    pub(crate) ids: ids::Ids,
    pub(crate) ec2: ec2::Ec2,
    pub(crate) iam: iam::Iam,
    pub(crate) ssm: ssm::Ssm,
    pub(crate) s3: s3::S3,
    pub(crate) scheduler: scheduler::Scheduler,
    pub(crate) ecs: ecs::Ecs,
    pub(crate) batch: batch::Batch,
    effects: VecDeque<Effect>,
    calls: Vec<Call>,
    events: Vec<Event>,
}

/// What an operation knows about its request.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of the request.
    pub now: Timestamp,
    /// The id that goes into the response.
    pub request_id: String,
    /// Who asks.
    pub caller: Caller,
    /// The region in the request's credential scope.
    pub region: String,
}

/// An operation's outcome, before it is recorded.
pub struct Handled {
    /// AWS's name of the operation.
    pub operation: String,
    /// Its parameters, for the record.
    pub parameters: Value,
    /// What goes back on the wire.
    pub response: Response,
    /// AWS's error code, when it failed.
    pub error: Option<String>,
}

impl Cloud {
    /// A cloud with the resources of the seed's example account; equal options give equal clouds.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let ids = ids::Ids::new(options.seed);
        Self {
            ec2: ec2::Ec2::with_example_account(&options),
            iam: iam::Iam::with_example_account(&options),
            ssm: ssm::Ssm::default(),
            s3: s3::S3::default(),
            scheduler: scheduler::Scheduler::default(),
            ecs: ecs::Ecs::default(),
            batch: batch::Batch::default(),
            options,
            ids,
            effects: VecDeque::new(),
            calls: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Answers one request, and records the call.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        self.advance(now);
        let context = Context {
            now,
            request_id: self.ids.request_id(),
            caller: request.caller(),
            region: request.region().unwrap_or(&self.options.region).to_owned(),
        };
        let service = request.service();
        let handled = match service {
            "ec2" => ec2::handle(self, &context, request),
            "iam" => iam::handle(self, &context, request),
            "sts" => sts::handle(self, &context, request),
            "ssm" => ssm::handle(self, &context, request),
            "ecs" => ecs::handle(self, &context, request),
            "batch" => batch::handle(self, &context, request),
            "scheduler" => scheduler::handle(self, &context, request),
            _ => s3::handle(self, &context, request),
        };
        self.calls.push(Call {
            seq: self.calls.len() as u64 + 1,
            at: now,
            caller: context.caller,
            service: service.to_owned(),
            operation: handled.operation,
            parameters: handled.parameters,
            status: handled.response.status,
            error: handled.error,
            request_id: context.request_id,
        });
        self.advance(now);
        handled.response
    }

    /// Lets everything happen that is due by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        ec2::advance(self, now);
        batch::advance(self, now);
        ecs::advance(self, now);
    }

    /// What the outside has to do, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        self.effects.drain(..).collect()
    }

    /// All calls so far.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// All that happened so far: launches, joins, state changes of jobs, ends.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}
