//! Simulated time: tokio's clock, paused, as a wall clock that starts at 2026-11-24T10:00:00Z.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use jiff::{SignedDuration, Timestamp};

/// Seconds from 1970 to the beginning of every simulation.
const START: i64 = 1_795_514_400;

/// The only clock of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedTime(tokio::time::Instant);

impl SimulatedTime {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(START).expect("a time");
        start + SignedDuration::try_from(self.elapsed()).expect("not that long")
    }

    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.0)
    }
}

impl TimeSource for SimulatedTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START.unsigned_abs()) + self.elapsed()
    }
}
