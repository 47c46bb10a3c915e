//! The cloud: all services and hosts together, under one time.
//!
//! - `dispatch`: which service a request is for; `authorize`: whether its caller may
//! - [`faults`]: calls that go wrong; `simulation`: light nodes do what they want to
//! - [`ec2`], [`host_ports`]: instances and the ports of their hosts, as the outside sees them
//!
//! [`Cloud::handle`] takes one request; [`Cloud::advance`] lets time pass. What the outside has to
//! do comes out of [`Cloud::take_effects`]; what happened on a node comes back as ordinary ECS
//! requests, through [`Cloud::agent_connected`] and [`Cloud::process`].

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::Value;

use crate::hosts::NodeFault;
use crate::hosts::imds::Imds;
use crate::hosts::simulated_hosts::SimulatedHosts;
use crate::journal::record::What;
use crate::journal::{Call, Effect, Event, Journal};
use crate::protocol::ids::Ids;
use crate::protocol::{AwsError, Caller, Context, Handled, Options, Request, Response};
use crate::services::batch::{self, Batch};
use crate::services::ec2::{self as ec2_service, Ec2};
use crate::services::ecs::{self, Ecs};
use crate::services::iam::Iam;
use crate::services::logs::Logs;
use crate::services::s3::S3;
use crate::services::scheduler::{self, Scheduler};
use crate::services::ssm::Ssm;
use authorize::Facts;
use faults::Faults;

mod authorize;
mod dispatch;
pub mod ec2;
pub mod faults;
pub mod host_ports;
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

pub use faults::{Delivery, Fault};

/// The whole cloud's state.
pub struct Cloud {
    /// How it behaves; can be changed while it runs.
    pub options: Options,
    ids: Ids,
    journal: Journal,
    iam: Iam,
    pub(crate) ec2: Ec2,
    logs: Logs,
    ssm: Ssm,
    s3: S3,
    ecs: Ecs,
    batch: Batch,
    scheduler: Scheduler,
    imds: Imds,
    simulated_hosts: SimulatedHosts,
    faults: Faults,
    effects: VecDeque<Effect>,
    calls: Vec<Call>,
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
        Self {
            ids: Ids::new(options.seed),
            journal: Journal::default(),
            iam: Iam::with_example_account(&options),
            ec2: Ec2::default(),
            logs: Logs::default(),
            ssm: Ssm::default(),
            s3: S3::default(),
            ecs: Ecs::default(),
            batch: Batch::default(),
            scheduler: Scheduler::default(),
            imds: Imds::default(),
            simulated_hosts: SimulatedHosts::default(),
            faults: Faults::default(),
            effects: VecDeque::new(),
            calls: Vec::new(),
            options,
        }
    }

    /// Answers one request, and records the call.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        self.answer(request, now).response
    }

    /// Answers one request, records the call, and says what the fault script wants done with the
    /// answer.
    pub fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        self.advance(now);
        let answer = self.call(request, now, None);
        self.advance(now);
        answer
    }

    /// One call by itself, without letting time pass; `refusal` is what IAM says against it.
    fn call(&mut self, request: &Request, now: Timestamp, refusal: Option<AwsError>) -> Answer {
        let (service, caller) = (request.service(), request.caller());
        let operation = dispatch::operation(request);
        let facts = Facts { options: &self.options, iam: &self.iam, ec2: &self.ec2 };
        let refusal =
            refusal.or_else(|| authorize::refusal(&facts, &caller, service, &operation, request));
        let context = Context {
            now,
            request_id: self.ids.request_id(),
            caller,
            region: request.region().unwrap_or(&self.options.region).to_owned(),
            refusal,
        };
        let number = match &context.caller {
            Caller::Instance(instance) => self.ec2.number(instance),
            Caller::Anonymous | Caller::User | Caller::Scheduler => None,
        };
        let call =
            faults::Called { service, operation: &operation, caller: &context.caller, number };
        let fault = self.faults.take(call);
        let (handled, delivery) = match fault {
            Some(effect) => self.faulty(effect, service, &operation, &context, request),
            None => (self.dispatch(service, &operation, &context, request), Delivery::AtOnce),
        };
        self.settle();
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

    /// A request that a fault befalls: some faults keep it from its service, some only change its
    /// answer's way back.
    fn faulty(
        &mut self,
        effect: faults::Effect,
        service: &str,
        operation: &str,
        context: &Context,
        request: &Request,
    ) -> (Handled, Delivery) {
        match effect {
            faults::Effect::Throttle => {
                (faults::throttled(service, operation, context, request), Delivery::AtOnce)
            }
            faults::Effect::Fail { code, status, message } => {
                let error = AwsError::new(&code, message).with_status(status);
                (faults::failed(service, operation, context, request, &error), Delivery::AtOnce)
            }
            faults::Effect::Hang { secs } => (
                faults::unanswered(operation, request),
                Delivery::NeverAfter { millis: secs.saturating_mul(1000) },
            ),
            faults::Effect::LostAnswer => (
                self.dispatch(service, operation, context, request),
                Delivery::NeverAfter { millis: 0 },
            ),
            faults::Effect::Slow { millis } => {
                (self.dispatch(service, operation, context, request), Delivery::After { millis })
            }
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
        self.faults = Faults::default();
    }

    /// From now on users may do what these policy documents allow, and nothing else.
    pub fn hold_users_to(&mut self, policies: Vec<Value>) {
        self.iam.hold_users_to(policies);
    }

    /// Lets everything happen that is due by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        loop {
            let simulated = self.simulated_hosts.next_due(&self.options);
            let due = [scheduler::next_due(&self.scheduler), simulated].into_iter().flatten().min();
            let Some(at) = due.filter(|at| *at <= now) else { break };
            self.advance_services(at);
            simulation::advance(self, at);
            self.fire(at);
        }
        self.advance_services(now);
        simulation::advance(self, now);
    }

    fn advance_services(&mut self, now: Timestamp) {
        ec2_service::advance(&mut self.ec2(), now);
        self.settle();
        ecs::advance(&mut self.ecs(), now);
        self.settle();
        batch::advance(&mut self.batch(), now);
        self.settle();
    }

    /// Fires the schedule whose time has come.
    fn fire(&mut self, now: Timestamp) {
        let Some((key, call)) = scheduler::next_call(&self.scheduler(), now) else { return };
        let outcome = call.and_then(|call| {
            let answer = self.call(&call.request, now, call.refusal);
            let error = self.calls.last().and_then(|call| call.error.clone());
            match (answer.delivery, error) {
                (Delivery::NeverAfter { .. }, _) => Err(scheduler::Failure::unanswered()),
                (_, None) => Ok(()),
                (_, Some(error)) => {
                    Err(scheduler::Failure::answered(answer.response.status, error))
                }
            }
        });
        scheduler::done(&mut self.scheduler(), now, key, outcome);
    }

    /// Does what services want done: some of it is for other services, some for simulated hosts,
    /// the rest for the outside.
    fn settle(&mut self) {
        while let Some((at, effect)) = self.journal.take_effect() {
            match &effect {
                Effect::StartNode { instance } => {
                    let found = self.ec2.instance(instance).filter(|found| found.is_simulated);
                    if let Some(found) = found {
                        self.simulated_hosts.start(&self.options, at, found);
                    }
                }
                Effect::EndNode { instance } => ecs::host_gone(&mut self.ecs(), at, instance),
                Effect::RunTask { .. } | Effect::StopTask { .. } => {}
            }
            self.effects.extend(self.simulated_hosts.take(effect));
        }
    }

    /// The next moment at which something is due, for a simulation that wants to jump there. What
    /// is due already doesn't count: it waits for something else, such as a capacity or an agent's
    /// connection.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let ec2 = ec2_service::next_due(&self.ec2).filter(|due| *due > now);
        let scheduler = scheduler::next_due(&self.scheduler).filter(|due| *due > now);
        let simulated = self.simulated_hosts.next_due(&self.options).filter(|due| *due > now);
        let ecs = ecs::next_due(&self.ecs, now);
        let batch = batch::next_due(&self.batch, &self.options, now);
        [ec2, ecs, batch, scheduler, simulated].into_iter().flatten().min()
    }

    /// The ECS agent of this instance has connected to ECS or lost its connection. What is to reach
    /// it waits until it is connected.
    pub fn agent_connected(&mut self, now: Timestamp, instance: &str, connected: bool) {
        ecs::agent_connected(&mut self.ecs, instance, connected);
        self.advance(now);
    }

    /// A container's process began (no exit code) or ended on a node; ECS learns of it only by a
    /// report.
    pub fn process(&mut self, now: Timestamp, instance: &str, task: &str, exit_code: Option<i32>) {
        let change = if exit_code.is_some() { "ended" } else { "started" };
        self.journal.event(Event {
            at: now,
            what: What::Process {
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
        self.journal.events()
    }
}
