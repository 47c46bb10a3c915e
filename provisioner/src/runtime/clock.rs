//! The only reader of clocks. Both the time and the sleep are the ones the SDK clients are given,
//! so that a simulation can put the whole program on simulated time.

use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep as _, SharedAsyncSleep};
use aws_smithy_async::time::SharedTimeSource;
use jiff::Timestamp;

use crate::runtime::interrupt::Interrupt;

/// The time, and sleeping.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    time: SharedTimeSource,
    sleep: SharedAsyncSleep,
    interrupt: Interrupt,
}

impl Clock {
    /// A clock on these, whose sleeps end for ever when the user wants to stop.
    #[must_use]
    pub(crate) fn new(
        time: SharedTimeSource,
        sleep: SharedAsyncSleep,
        interrupt: Interrupt,
    ) -> Self {
        Self { time, sleep, interrupt }
    }

    /// Whether the user wants to stop.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        self.interrupt.is_requested()
    }

    /// The time now. A clock outside of what a timestamp can hold (years -9999 to 9999) counts as
    /// its minimum.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::try_from(self.time.now()).unwrap_or(Timestamp::MIN)
    }

    /// Waits for what is no work that could be lost, such as a user's answer: an interrupt ends it at
    /// once.
    pub(crate) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> T {
        tokio::select! {
            outcome = wait => outcome,
            () = self.interrupt.requested() => self.interrupt.block_forever().await,
        }
    }

    /// The outcome, or none once the user wants to stop: for what ends by that as it is meant to,
    /// such as a watch.
    pub(crate) async fn until_stopped<T>(&self, watch: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // Before the watch's own waits, which would halt.
            biased;
            () = self.interrupt.requested() => None,
            outcome = watch => Some(outcome),
        }
    }

    /// Sleeps. A wait is no work that could be lost: an interrupt ends it at once.
    pub(crate) async fn sleep(&self, duration: Duration) {
        self.unless_stopped(self.sleep.sleep(duration)).await;
    }
}
