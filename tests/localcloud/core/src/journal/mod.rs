//! What the cloud writes down, and what it asks the outside to do.

pub mod effect;
pub mod record;

pub use effect::Effect;
pub use record::{Call, Event};
