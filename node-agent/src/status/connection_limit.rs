//! What the status socket and the metrics' port share: a few who ask at once, each with little
//! time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a question and its answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How many may ask at once; the next ones wait.
pub(crate) const AT_ONCE: usize = 4;

/// How long to wait when no connection can be taken, as when there are no descriptors left.
const BREATH: Duration = Duration::from_millis(200);

/// How many of those who ask are answered at once.
pub(crate) struct ConnectionLimit(Arc<Semaphore>);

impl ConnectionLimit {
    /// Nobody is being answered yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Waits for a place, takes one connection and lets it be answered beside. `what` listens.
    pub(crate) async fn serve_one<Stream, Answered>(
        &self,
        what: &str,
        accepted: impl Future<Output = io::Result<Stream>>,
        answer: impl FnOnce(Stream) -> Answered,
    ) where
        Answered: Future<Output = io::Result<()>> + Send + 'static,
    {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&self.0).acquire_owned().await else { return };
        match accepted.await {
            Ok(stream) => {
                let answered = answer(stream);
                tokio::spawn(async move {
                    // Whoever leaves before the answer doesn't need it.
                    let _ = tokio::time::timeout(PATIENCE, answered).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "{what} can't take a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
