//! Whether AWS takes the instance back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{FailureLog, WatchContext, answer};
use crate::lifecycle::Event;
use crate::ports::Metadata;

/// How often a spot instance looks for a notice.
pub(crate) const ON_SPOT: Duration = Duration::from_secs(1);

/// How often any other instance does: AWS asks for at least this.
pub(crate) const ELSEWHERE: Duration = Duration::from_secs(5);

/// Looks for a notice for ever, and tells `looked` after each look. Whatever IMDS answers in its
/// place, the next look may find one.
pub(crate) async fn watch(
    metadata: Arc<dyn Metadata>,
    every: Duration,
    looked: watch::Sender<()>,
    context: WatchContext,
) {
    let mut failures = FailureLog::default();
    let mut known = None;
    while !context.events.is_closed() {
        match answer(metadata.notice()).await {
            Ok(notice) => {
                failures.over("looking for an interruption notice");
                if let Some(taken_at) = notice
                    && known.is_none_or(|known| taken_at < known)
                {
                    known = Some(taken_at);
                    tracing::warn!(%taken_at, "AWS takes this instance back");
                    context.emit(Event::Notice { taken_at }).await;
                }
            }
            Err(error) => failures.failed("looking for an interruption notice", &error),
        }
        looked.send_replace(());
        // From beat to beat, not from answer to look: a slow answer must not make the next notice
        // late.
        context.beat(every).await;
    }
}
