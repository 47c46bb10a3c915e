//! What the agent tells of itself: to `systemctl status`, over its socket, as metrics, in its log
//! and in its record.
//!
//! - `line.rs`: the status in a line
//! - `published_state.rs`: what is told, gathered where it passes anyway; `report.rs`: its form
//! - `socket.rs`, `metrics.rs`: who may ask for it, both within `connection_limit.rs`
//! - `log.rs`: the log; `problems.rs`: what went wrong lately, heard from the log
//! - `record.rs`: what happened when, for those who ask afterwards

pub(crate) mod connection_limit;
pub(crate) mod line;
pub mod log;
pub(crate) mod metrics;
pub mod problems;
pub(crate) mod published_state;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod socket;
