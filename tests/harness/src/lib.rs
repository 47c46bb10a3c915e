//! What the simulation (provisioner/tests/simulation) and chaos share: the whole of `spotblock`,
//! from its command line to its SDK clients, in one process on simulated time.
//!
//! A [`Program`] has an outside world of its own: [`SimulatedTime`], captured [`Output`]s, and a
//! [`Network`], which the caller writes, and which hands each request to the local cloud's core.
//! It runs to its end, or until it is killed at one of its calls ([`Kill`]).

mod kill;
mod network;
mod output;
mod points;
mod program;
mod request;
mod snapshot;
mod time;

pub use kill::Kill;
pub use network::{Answered, Call, LATENCY, Network, Unanswered, deliver};
pub use output::Output;
pub use points::{cases, points, takes_all_points};
pub use program::{Ended, Program, account};
pub use request::by_hand;
pub use snapshot::snapshot;
pub use time::SimulatedTime;
