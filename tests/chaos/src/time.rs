//! Waiting on simulated time.

use std::time::Duration;

use harness::SimulatedTime;
use jiff::Timestamp;

/// Waits until this moment of simulated time, and a millisecond more: timers go by whole ones.
pub async fn sleep_until(time: SimulatedTime, at: Timestamp) {
    let left = time.now().duration_until(at);
    if left.is_positive() {
        tokio::time::sleep(left.unsigned_abs() + Duration::from_millis(1)).await;
    }
}
