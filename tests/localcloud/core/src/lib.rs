//! The deciding part of the local cloud: `(request, now, seed) -> response`, without I/O and without a clock.

pub mod cloud;
pub mod hosts;
pub mod journal;
pub mod protocol;
pub mod services;

pub use cloud::{Cloud, Fault, ec2, faults};
pub use hosts::{NodeFault, agent_calls};
pub use journal::{Call, Effect, Event};
pub use protocol::{Caller, Options, Request, Response};
