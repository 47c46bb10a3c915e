//! What the agent publishes of its state, gathered where it passes anyway: each state on its way to
//! the disk, each status line on its way to the service manager. Nothing of the agent's life
//! depends on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::problems::Problems;
use super::report::{Life, Report};
use crate::adapters::timer;
use crate::ports::{Answer, Clock, Saved, StateStore, StoreError, Supervisor};
use crate::status::record::{self, Record};

/// The most characters of what is wrong in the settings that a status line takes.
const LONGEST: usize = 160;

/// What is published: the last state and status line, with the problems and wrong settings.
pub(crate) struct PublishedState {
    clock: Arc<dyn Clock>,
    problems: Problems,
    wrong_settings: Vec<String>,
    record: Record,
    seen: Mutex<Seen>,
    power_off: watch::Sender<Timestamp>,
}

#[derive(Default)]
struct Seen {
    text: String,
    saved: Option<Saved>,
    transitions: u64,
}

impl PublishedState {
    /// Nothing is published yet.
    #[must_use]
    pub(crate) fn new(clock: Arc<dyn Clock>, problems: Problems, record: Record) -> Self {
        let power_off = watch::Sender::new(Timestamp::MAX);
        Self {
            clock,
            problems,
            wrong_settings: Vec::new(),
            record,
            seen: Mutex::default(),
            power_off,
        }
    }

    /// The same, where this is wrong in the host's settings.
    #[must_use]
    pub(crate) fn with_wrong_settings(self, wrong_settings: Vec<String>) -> Self {
        Self { wrong_settings, ..self }
    }

    /// When the power-off timer has to go off, as the end moves.
    #[must_use]
    pub(crate) fn power_off(&self) -> watch::Receiver<Timestamp> {
        self.power_off.subscribe()
    }

    /// Publishes a state, and records what has changed.
    pub(crate) fn publish(&self, saved: &Saved) {
        let now = self.clock.now();
        let mut seen = self.seen();
        match seen.saved.replace(saved.clone()) {
            Some(old) => {
                if old.state.phase != saved.state.phase {
                    seen.transitions += 1;
                }
                record::changes(now, &old.state, &saved.state)
                    .into_iter()
                    .for_each(|entry| self.record.note(entry));
            }
            None => self.record.note(record::begins(now, saved)),
        }
        let moment = timer::moment(&saved.state);
        self.power_off.send_if_modified(|old| std::mem::replace(old, moment) != moment);
    }

    /// What there is to tell.
    #[must_use]
    pub(crate) fn report(&self) -> Report {
        let seen = self.seen();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            now: self.clock.now(),
            text: seen.text.clone(),
            skew_millis: i64::try_from(self.clock.skew().as_millis()).unwrap_or(i64::MAX),
            transitions: seen.transitions,
            wrong_settings: self.wrong_settings.clone(),
            life: seen.saved.as_ref().map(Life::of),
            problems: self.problems.all(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state store that publishes each state on its way to the disk.
pub(crate) struct PublishingStore<S> {
    pub(crate) inner: Arc<S>,
    pub(crate) published: Arc<PublishedState>,
}

impl<S: StateStore> StateStore for PublishingStore<S> {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        self.inner.load()
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        self.published.publish(saved);
        self.inner.save(saved)
    }
}

/// A service manager whose status line is published too.
pub(crate) struct PublishingSupervisor<S> {
    pub(crate) inner: S,
    pub(crate) published: Arc<PublishedState>,
}

impl<S: Supervisor> Supervisor for PublishingSupervisor<S> {
    fn ready(&self) {
        self.inner.ready();
    }

    fn status(&self, text: &str) {
        let mut text = text.to_owned();
        if let Some(first) = self.published.wrong_settings.first() {
            let first: String = first.chars().take(LONGEST).collect();
            text = format!("{text}; settings are wrong, defaults hold: {first}");
        }
        self.inner.status(&text);
        self.published.seen().text = text;
    }

    fn alive(&self) {
        self.inner.alive();
    }

    fn expects_alive_every(&self) -> Option<Duration> {
        self.inner.expects_alive_every()
    }
}
