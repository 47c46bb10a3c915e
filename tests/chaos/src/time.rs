//! Simulated time: tokio's paused clock, as a wall clock that starts at 2026-11-24T10:00:00Z.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use jiff::{SignedDuration, Timestamp};

/// Seconds from 1970 to the beginning of every simulation.
const START: i64 = 1_795_514_400;

/// The only clock of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Time(tokio::time::Instant);

impl Time {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// How long it has run.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    pub fn run(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.0)
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(START).unwrap_or_default();
        start + SignedDuration::try_from(self.run()).unwrap_or_default()
    }
}

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START.unsigned_abs()) + self.run()
    }
}

/// Waits until this moment of simulated time, and a millisecond more: timers go by whole ones.
pub async fn sleep_until(time: Time, at: Timestamp) {
    let left = time.now().duration_until(at);
    if left.is_positive() {
        tokio::time::sleep(left.unsigned_abs() + Duration::from_millis(1)).await;
    }
}
