//! The only reader of clocks. Both the time and the sleep are the ones the SDK clients are given, so that a simulation
//! can put the whole program on simulated time.

use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep as _, SharedAsyncSleep};
use aws_smithy_async::time::SharedTimeSource;
use jiff::Timestamp;

/// The time, and sleeping.
#[derive(Clone, Debug)]
pub struct Clock {
    time: SharedTimeSource,
    sleep: SharedAsyncSleep,
}

impl Clock {
    /// A clock on these two.
    #[must_use]
    pub fn new(time: SharedTimeSource, sleep: SharedAsyncSleep) -> Self {
        Self { time, sleep }
    }

    /// The time now. A clock outside of what a timestamp can hold (years -9999 to 9999) counts as its minimum.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::try_from(self.time.now()).unwrap_or(Timestamp::MIN)
    }

    /// Sleeps.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep.sleep(duration).await;
    }
}
