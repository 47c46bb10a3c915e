//! What IMDS says besides the notice: slower signals, each looked for at its own pace.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{FailureLog, WatchContext, answer};
use crate::lifecycle::{Event, Phase};
use crate::ports::{Metadata, Signal};

/// How often the old place of the notice is looked at, and the recommendation to leave: AWS asks
/// for at least this.
const SOON: Duration = Duration::from_secs(5);

/// How often scheduled maintenance, which is days ahead, and the tag are looked for.
const LATER: Duration = Duration::from_secs(30);

/// What is looked for, and how often. AWS gives the first two on spot instances only.
fn looks(is_spot: bool) -> impl Iterator<Item = (Signal, &'static str, Duration)> {
    let on_spot = [
        (Signal::TerminationTime, "looking for a termination time", SOON),
        (Signal::Rebalance, "looking for a rebalance recommendation", SOON),
    ];
    let everywhere = [
        (Signal::Maintenance, "looking for scheduled maintenance", LATER),
        (Signal::EndTag, "reading the tag that moves the end", LATER),
    ];
    on_spot.into_iter().filter(move |_| is_spot).chain(everywhere)
}

/// Looks for one signal after the other, for ever, when the notice has been looked for: they share
/// IMDS's connection, and the answer has woken the process already.
pub(crate) async fn watch(
    metadata: Arc<dyn Metadata>,
    is_spot: bool,
    mut looked: watch::Receiver<()>,
    context: WatchContext,
) {
    let mut looks: Vec<_> =
        looks(is_spot).map(|look| (look, None, FailureLog::default())).collect();
    while looked.changed().await.is_ok() && !context.events.is_closed() {
        for ((signal, what, every), last, failures) in &mut looks {
            let beat = Some(context.beat.count(*every));
            // An extension is honoured while serving only.
            if *last == beat || (*signal == Signal::EndTag && context.phase() != Phase::Serving) {
                continue;
            }
            *last = beat;
            match answer(metadata.signal(*signal)).await {
                Ok(moment) => {
                    failures.over(what);
                    if let Some(moment) = moment {
                        context.emit(event(*signal, moment)).await;
                    }
                }
                Err(error) => failures.failed(what, &error),
            }
        }
    }
}

fn event(signal: Signal, moment: jiff::Timestamp) -> Event {
    match signal {
        Signal::TerminationTime => Event::Notice { taken_at: moment },
        Signal::Rebalance => Event::Rebalance,
        Signal::Maintenance => Event::Limited { until: moment },
        Signal::EndTag => Event::EndMoved { to: moment },
    }
}
