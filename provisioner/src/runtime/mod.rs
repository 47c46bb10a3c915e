//! The clock, bounded waits, interruption, and failures collected on the way.

pub mod clock;
pub mod failures;
pub mod interrupt;
pub mod wait;
