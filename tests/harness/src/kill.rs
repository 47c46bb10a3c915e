//! Runs that are killed at one of their calls.

use std::sync::Arc;

use tokio::sync::Notify;

/// Where a run is killed: at its nth call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Before it has an effect.
    Before(usize),
    /// After it has had its effect.
    After(usize),
}

/// The one point at which a run is killed, if any; its clones are the same.
#[derive(Clone)]
pub(crate) struct KillPoint {
    at: Option<Kill>,
    reached: Arc<Notify>,
}

impl KillPoint {
    pub(crate) fn new(at: Option<Kill>) -> Self {
        Self { at, reached: Arc::default() }
    }

    /// Completes when the run is to be killed.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// Passes, or stands still for ever where the run is killed.
    pub(crate) async fn pass(&self, here: Kill) {
        if self.at == Some(here) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
