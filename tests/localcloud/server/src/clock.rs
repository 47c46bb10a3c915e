//! The only reader of the clock.

use jiff::Timestamp;

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock; the core is given the time"
)]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
