//! The deciding part: `(request, now, seed) -> response`, without I/O and without a clock.
//!
//! [`Cloud::handle`] takes one request; [`Cloud::advance`] lets time pass. What the outside has to do comes out of
//! [`Cloud::take_effects`]; what happened on a node comes back as ordinary ECS requests, through
//! [`Cloud::agent_connected`] and [`Cloud::process`].

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::hosts::{NodeFault, simulated_hosts};
use crate::journal::{Call, Effect, Event, record};
use crate::protocol::{AwsError, Caller, Context, Handled, Options, Request, Response, ids};
use crate::services::{batch, ec2, ecs, iam, logs, pricing, s3, scheduler, ssm, sts};

pub mod faults;
#[cfg(test)]
pub(crate) mod testing;

pub use faults::{Delivery, Fault};

/// The whole cloud's state.
pub struct Cloud {
    /// How it behaves; can be changed while it runs.
    pub options: Options,
    pub(crate) ids: ids::Ids,
    pub(crate) ec2: ec2::Ec2,
    pub(crate) iam: iam::Iam,
    pub(crate) logs: logs::Logs,
    pub(crate) ssm: ssm::Ssm,
    pub(crate) s3: s3::S3,
    pub(crate) scheduler: scheduler::Scheduler,
    pub(crate) ecs: ecs::Ecs,
    pub(crate) batch: batch::Batch,
    pub(crate) simulated_hosts: simulated_hosts::SimulatedHosts,
    pub(crate) faults: faults::Faults,
    effects: VecDeque<Effect>,
    calls: Vec<Call>,
    events: Vec<Event>,
}

/// An answer, and how it gets back to who asked.
pub struct Answer {
    /// What goes on the wire.
    pub response: Response,
    /// When it does, if at all.
    pub delivery: Delivery,
}

impl Cloud {
    /// A cloud with the resources of the seed's example account; equal options give equal clouds.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let ids = ids::Ids::new(options.seed);
        Self {
            ec2: ec2::Ec2::with_example_account(&options),
            iam: iam::Iam::with_example_account(&options),
            logs: logs::Logs::default(),
            ssm: ssm::Ssm::default(),
            s3: s3::S3::default(),
            scheduler: scheduler::Scheduler::default(),
            ecs: ecs::Ecs::default(),
            batch: batch::Batch::default(),
            simulated_hosts: simulated_hosts::SimulatedHosts::default(),
            faults: faults::Faults::default(),
            options,
            ids,
            effects: VecDeque::new(),
            calls: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Answers one request, and records the call.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        self.answer(request, now).response
    }

    /// Answers one request, records the call, and says what the fault script wants done with the answer.
    pub fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        self.advance(now);
        let answer = self.call(request, now, None);
        self.advance(now);
        answer
    }

    /// One call by itself, without letting time pass; `refusal` is what IAM says against it.
    pub(crate) fn call(&mut self, request: &Request, now: Timestamp, refusal: Option<AwsError>) -> Answer {
        let (service, caller) = (request.service(), request.caller());
        let operation = faults::operation(request);
        let refusal = refusal.or_else(|| iam::refusal(self, &caller, service, &operation, request));
        let context = Context {
            now,
            request_id: self.ids.request_id(),
            caller,
            region: request.region().unwrap_or(&self.options.region).to_owned(),
            refusal,
        };
        let number = match &context.caller {
            Caller::Instance(instance) => ec2::number(self, instance),
            Caller::Anonymous | Caller::User | Caller::Scheduler => None,
        };
        let call = faults::Called { service, operation: &operation, caller: &context.caller, number };
        let fault = self.faults.take(call);
        let (handled, delivery) = match fault {
            Some(effect) => self.faulty(effect, service, &context, request),
            None => (self.dispatch(service, &context, request), Delivery::AtOnce),
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
        Answer { response: handled.response, delivery }
    }

    fn dispatch(&mut self, service: &str, context: &Context, request: &Request) -> Handled {
        if let Some(refusal) = &context.refusal {
            return faults::failed(service, context, request, refusal);
        }
        match service {
            "ec2" => ec2::handle(self, context, request),
            "iam" => iam::handle(self, context, request),
            "sts" => sts::handle(self, context, request),
            "logs" => logs::handle(self, context, request),
            "ssm" => ssm::handle(self, context, request),
            "pricing" => pricing::handle(self, context, request),
            "ecs" => ecs::handle(self, context, request),
            "batch" => batch::handle(self, context, request),
            "scheduler" => scheduler::handle(self, context, request),
            _ => s3::handle(self, context, request),
        }
    }

    /// A request that a fault befalls: some faults keep it from its service, some only change its answer's way back.
    fn faulty(
        &mut self,
        effect: faults::Effect,
        service: &str,
        context: &Context,
        request: &Request,
    ) -> (Handled, Delivery) {
        match effect {
            faults::Effect::Throttle => (faults::throttled(service, context, request), Delivery::AtOnce),
            faults::Effect::Fail { code, status, message } => {
                let error = AwsError::new(&code, message).with_status(status);
                (faults::failed(service, context, request, &error), Delivery::AtOnce)
            }
            faults::Effect::Hang { secs } => {
                (faults::unanswered(request), Delivery::NeverAfter { millis: secs.saturating_mul(1000) })
            }
            faults::Effect::LostAnswer => {
                (self.dispatch(service, context, request), Delivery::NeverAfter { millis: 0 })
            }
            faults::Effect::Slow { millis } => (self.dispatch(service, context, request), Delivery::After { millis }),
        }
    }

    /// Adds a fault to the script.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Adds a fault on instances to the script.
    pub fn add_node_fault(&mut self, fault: NodeFault) {
        self.faults.nodes.add(fault);
    }

    /// Empties the fault script.
    pub fn clear_faults(&mut self) {
        self.faults = faults::Faults::default();
    }

    /// Lets everything happen that is due by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        loop {
            let due = [scheduler::next_due(self), simulated_hosts::next_due(self)].into_iter().flatten().min();
            let Some(at) = due.filter(|at| *at <= now) else { break };
            self.advance_services(at);
            simulated_hosts::advance(self, at);
            scheduler::fire(self, at);
        }
        self.advance_services(now);
        simulated_hosts::advance(self, now);
    }

    fn advance_services(&mut self, now: Timestamp) {
        ec2::advance(self, now);
        ecs::advance(self, now);
        batch::advance(self, now);
    }

    /// The next moment at which something is due, for a simulation that wants to jump there. What is due already
    /// doesn't count: it waits for something else, such as a capacity or an agent's connection.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let ec2 = ec2::next_due(self).filter(|due| *due > now);
        let scheduler = scheduler::next_due(self).filter(|due| *due > now);
        let light = simulated_hosts::next_due(self).filter(|due| *due > now);
        [ec2, ecs::next_due(self, now), batch::next_due(self, now), scheduler, light].into_iter().flatten().min()
    }

    /// The ECS agent of this instance has connected to ECS or lost its connection. What is to reach it waits until
    /// it is connected.
    pub fn agent_connected(&mut self, now: Timestamp, instance: &str, connected: bool) {
        ecs::agent_connected(self, instance, connected);
        self.advance(now);
    }

    /// A container's process began (no exit code) or ended on a node; ECS learns of it only by a report.
    pub fn process(&mut self, now: Timestamp, instance: &str, task: &str, exit_code: Option<i32>) {
        let change = if exit_code.is_some() { "ended" } else { "started" };
        self.event(Event {
            at: now,
            what: record::What::Process {
                instance: instance.to_owned(),
                task: task.to_owned(),
                change: change.to_owned(),
                exit_code,
            },
        });
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
        if let Some(effect) = simulated_hosts::take(self, effect) {
            self.effects.push_back(effect);
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}
