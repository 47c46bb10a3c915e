//! The clock, bounded waits, interruption, and failures collected on the way.

pub(crate) mod clock;
pub(crate) mod failures;
pub(crate) mod interrupt;
pub(crate) mod wait;
