//! What went wrong lately. It listens to the log, so that nothing which is logged as a problem is
//! missing here.

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::ports::Clock;

/// How many kinds of problems are kept. The code knows some fifty; a host that has more at once has
/// worse ones.
const KINDS: usize = 32;

/// How many characters of why are kept: some errors repeat a line of what they could not read.
const LONGEST: usize = 500;

/// A problem, as often as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// What went wrong, in the words of the log.
    pub(crate) what: String,
    /// Why, when it happened last.
    pub(crate) error: String,
    pub(crate) last: Option<Timestamp>,
    /// How often it was logged.
    pub(crate) count: u64,
}

/// What went wrong lately, the last one last.
#[derive(Clone, Default)]
pub struct Problems(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kinds: Mutex<VecDeque<Problem>>,
    clock: OnceLock<Arc<dyn Clock>>,
}

impl Problems {
    /// From here on problems get the time of this clock.
    pub(crate) fn goes_by(&self, clock: Arc<dyn Clock>) {
        // A second clock would be a second agent in one process; the first one stays.
        let _ = self.0.clock.set(clock);
    }

    /// All that is kept.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Problem> {
        self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, what: String, error: &str) {
        let error = error.chars().take(LONGEST).collect();
        let last = self.0.clock.get().map(|clock| clock.now());
        let mut kinds = self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.iter().position(|problem| problem.what == what);
        let count = known.and_then(|known| kinds.remove(known)).map_or(0, |problem| problem.count);
        if kinds.len() == KINDS {
            kinds.pop_front();
        }
        kinds.push_back(Problem { what, error, last, count: count + 1 });
    }
}

impl<S: Subscriber> Layer<S> for Problems {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        // Other crates' warnings are in the log; their words aren't ours to show.
        if *metadata.level() <= Level::WARN && metadata.target().starts_with("spotblock_agent") {
            let mut words = Words::default();
            event.record(&mut words);
            self.add(words.message, &words.rest);
        }
    }
}

#[derive(Default)]
struct Words {
    message: String,
    rest: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.rest = format!("{value:?}"),
            name => {
                let gap = if self.rest.is_empty() { "" } else { ", " };
                // Writing into a string has no way to fail.
                let _ = write!(self.rest, "{gap}{name} {value:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn warnings_and_errors_are_kept_by_kind_and_counted() {
        let problems = Problems::default();
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::BootClock::new());
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(problems.clone()),
            || {
                tracing::warn!(error = "early", "IMDS doesn't answer");
                problems.goes_by(clock);
                tracing::info!("all is well");
                tracing::error!(error = %"full", "the state can't be saved");
                tracing::warn!(error = "late", "IMDS doesn't answer");
                tracing::warn!(target: "elsewhere", "not ours");
            },
        );
        let all = problems.all();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(
            (all[0].what.as_str(), all[0].error.as_str()),
            ("the state can't be saved", "full")
        );
        assert_eq!((all[1].error.as_str(), all[1].count), ("late", 2));
        assert!(all[1].last.is_some());
    }

    /// Catches: memory that grows with each new wording of a failure.
    #[test]
    fn only_so_many_kinds_are_kept() {
        let problems = Problems::default();
        for number in 0..10_000 {
            problems.add(format!("problem {number}"), "");
        }
        assert_eq!(problems.all().len(), KINDS);
        assert_eq!(problems.all().last().expect("the last").what, "problem 9999");
        problems.add("long".into(), &"ü".repeat(100_000));
        assert_eq!(problems.all().last().expect("the last").error, "ü".repeat(LONGEST));
    }
}
