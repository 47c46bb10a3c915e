//! The deciding part of the local cloud: `(request, now, seed) -> response`.
//!
//! It does no I/O and reads no clock, so a simulation drives it directly: [`Cloud::handle`] takes
//! one request, [`Cloud::advance`] lets time pass, and [`Cloud::take_effects`] says what is to be
//! done outside. The package `localcloud` puts it behind sockets.
//!
//! A module uses those in its own row and in the rows above it, never those below.
//!
//! | layer | what it is |
//! |---|---|
//! | `protocol` | requests, answers, errors and options, and AWS's wire formats |
//! | `journal` | what happened, and what is to be done about it |
//! | `services` | one module a service of AWS, each on its own state |
//! | `hosts` | what an instance has of its own: metadata, agents, faults of both; simulated hosts |
//! | `cloud` | all of them together: dispatch, authorization, the fault script, and time |

pub mod cloud;
pub mod hosts;
pub mod journal;
pub mod protocol;
mod services;

pub use cloud::{Cloud, Fault, ec2, faults};
pub use hosts::{NodeFault, agent_calls};
pub use journal::{Call, Effect, Event};
pub use protocol::{Caller, Options, Request, Response};
