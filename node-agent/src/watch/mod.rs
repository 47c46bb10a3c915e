//! Watchers: each polls a port and emits [`Event`]s. They decide nothing. All of them look at the
//! beats of one clock ([`Beat`]), so that the process is woken for them together.

pub(crate) mod interruption;
pub(crate) mod joining;
pub(crate) mod registration;
pub(crate) mod signals;
pub(crate) mod tasks;

use std::fmt::Display;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::clock::Beat;
use crate::lifecycle::{Event, Phase, Registration};

/// What watchers need to know of the agent's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Where in its life the agent is.
    pub(crate) phase: Phase,
    pub(crate) registration: Option<Registration>,
}

/// What a watcher works with.
#[derive(Clone)]
pub(crate) struct WatchContext {
    /// Where the loop takes events from.
    pub(crate) events: mpsc::Sender<Event>,
    /// What the agent's life looks like now.
    pub(crate) view: watch::Receiver<View>,
    /// The beat at which all watchers look.
    pub(crate) beat: Beat,
}

impl WatchContext {
    fn phase(&self) -> Phase {
        self.view.borrow().phase
    }

    /// Waits until this pace's next beat.
    async fn beat(&self, pace: Duration) {
        tokio::time::sleep_until(self.beat.next(pace)).await;
    }

    /// The same, but not beyond the next change of view: it may want another pace.
    async fn pause(&mut self, pace: Duration) {
        let _ = tokio::time::timeout_at(self.beat.next(pace), self.view.changed()).await;
    }

    /// Tells the loop. Returns false when it has ended.
    async fn emit(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }
}

/// How long any port has to answer. Adapters have shorter limits of their own; this one is for the
/// day one doesn't keep them: a watcher that waits for ever has gone blind.
const ANSWER: Duration = Duration::from_secs(15);

/// What a port answers, or that it doesn't.
async fn answer<T, E: Display>(asked: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err("there was no answer".to_owned()),
    }
}

/// Logs a failure when it begins and when it ends, and more and more seldom in between: what it
/// says may change, and the status shows the last word.
#[derive(Debug, Default)]
struct FailureLog {
    failures: u32,
}

impl FailureLog {
    fn failed(&mut self, what: &str, error: &dyn Display) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            tracing::warn!(failures = self.failures, %error, "{what} fails");
        } else {
            tracing::debug!(%error, "{what} still fails");
        }
    }

    fn over(&mut self, what: &str) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{what} works again");
            self.failures = 0;
        }
    }
}
