//! What a block, a job definition and a purchase are: plain types and pure rules.

pub mod batch;
pub mod block;
pub mod capacity_reservation;
pub mod change;
pub mod cost;
pub mod error;
pub mod instance;
pub mod instance_type;
pub mod job_definition;
pub mod names;
pub mod ownership;
pub mod record;
pub mod source;
pub mod spot_request;
pub mod text;
