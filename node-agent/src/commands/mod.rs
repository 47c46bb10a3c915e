//! What the command line runs, one file a command.
//!
//! `guard` and `drain` work beside the agent that runs: what they find on the host is in
//! `found_host.rs`.

pub mod check;
pub mod drain;
pub mod due;
mod found_host;
pub mod guard;
mod guard_ports;
pub mod run;
pub mod status;
