//! Powering the host off: the usual way first, then harder ones, as long as the host lives on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::command::limited;
use crate::ports::{Clock, HostError};

/// Ways to power the host off, each harder than the one before.
pub(crate) struct Power {
    commands: Vec<Vec<String>>,
    grace: SignedDuration,
    clock: Arc<dyn Clock>,
    first: Mutex<Option<Timestamp>>,
    /// Ways below this one have failed outright.
    lowest: AtomicUsize,
}

impl Power {
    /// These commands, from the gentlest on; each has `grace` before the next.
    #[must_use]
    pub(crate) fn new(
        commands: Vec<Vec<String>>,
        grace: SignedDuration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { commands, grace, clock, first: Mutex::default(), lowest: AtomicUsize::new(0) }
    }

    /// Powers the host off the way that is due: by the time since it was asked for first, and by
    /// what has failed.
    ///
    /// # Errors
    /// The command failed. The next call takes the next one at once.
    pub(crate) async fn off(&self) -> Result<(), HostError> {
        let way = self.due();
        let Some(command) = self.commands.get(way) else {
            return Err(HostError {
                what: "power off".to_owned(),
                problem: "no command is set".to_owned(),
            });
        };
        if way > 0 {
            tracing::warn!(command = command.join(" "), "the host lives on: powering off harder");
        }
        let done = limited(command).await;
        if done.is_err() {
            self.lowest.fetch_max(way + 1, Ordering::Relaxed);
        }
        done
    }

    fn due(&self) -> usize {
        let now = self.clock.now();
        let first = *self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        let gone = first.duration_until(now).as_millis();
        let by_time = usize::try_from(gone / self.grace.as_millis().max(1)).unwrap_or_default();
        by_time.max(self.lowest.load(Ordering::Relaxed)).min(self.commands.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::{World, at};

    fn writes(word: &str, file: &Path) -> Vec<String> {
        let script = format!("echo {word} >> {}", file.display());
        ["sh", "-c", &script].map(str::to_owned).into()
    }

    /// Catches: a host that ignores `systemctl poweroff` and is asked the same for ever.
    #[tokio::test]
    async fn a_host_that_lives_on_is_powered_off_harder_as_time_passes() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("log");
        let commands = ["usual", "force", "last"].map(|word| writes(word, &file)).into();
        let world = World::at(at("2026-11-24T10:00:00Z"));
        let clock: Arc<dyn Clock> = world;
        let power = Power::new(commands, SignedDuration::from_millis(300), clock);
        for _ in 0..2 {
            power.off().await.expect("asked");
        }
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_millis(310)).await;
            power.off().await.expect("asked");
        }
        let log = std::fs::read_to_string(&file).expect("the commands ran");
        assert_eq!(log, "usual\nusual\nforce\nlast\nlast\n");
    }

    #[tokio::test]
    async fn a_way_that_fails_is_not_tried_twice_while_there_is_a_harder_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("log");
        let commands = vec![vec!["false".to_owned()], writes("force", &file)];
        let clock: Arc<dyn Clock> = World::at(at("2026-11-24T10:00:00Z"));
        let power = Power::new(commands, SignedDuration::from_hours(1), clock);
        assert!(power.off().await.is_err());
        power.off().await.expect("the harder way");
        power.off().await.expect("again");
        assert_eq!(std::fs::read_to_string(&file).expect("it ran"), "force\nforce\n");
    }
}
