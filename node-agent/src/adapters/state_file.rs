//! The state file: JSON, replaced whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinHandle;

use super::atomic_file;
use crate::ports::{Answer, SAVED_VERSION, Saved, StateStore, StoreError};

/// How long a write may hold up what the agent wants to do next. A disk that takes longer is a disk
/// that fails.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state file.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// A write that took longer than [`PATIENCE`].
    late: tokio::sync::Mutex<Option<JoinHandle<io::Result<()>>>>,
}

/// Enough of the file to tell its version, whatever else it holds.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl StateFile {
    /// The state in this file.
    #[must_use]
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, late: tokio::sync::Mutex::default() }
    }

    fn failed(&self, what: &str, problem: impl ToString) -> StoreError {
        StoreError { what: format!("{what} {}", self.path.display()), problem: problem.to_string() }
    }

    async fn write(&self, json: Vec<u8>) -> Result<(), StoreError> {
        let mut late = self.late.lock().await;
        // One write at a time, or an old state could come to lie over a newer one. A disk that
        // hangs is waited for once.
        if late.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Err(self.failed("write", "an earlier write still hangs"));
        }
        *late = None;
        let path = self.path.clone();
        let mut writing = tokio::task::spawn_blocking(move || write(&path, &json));
        match tokio::time::timeout(PATIENCE, &mut writing).await {
            Ok(written) => written
                .map_err(io::Error::other)
                .flatten()
                .map_err(|error| self.failed("write", error)),
            Err(_) => {
                *late = Some(writing);
                Err(self.failed("write", "the disk takes too long"))
            }
        }
    }
}

impl StateStore for StateFile {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async {
            let json = match std::fs::read_to_string(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                read => read.map_err(|error| self.failed("read", error))?,
            };
            let Versioned { version } =
                serde_json::from_str(&json).map_err(|error| self.failed("read", error))?;
            if version != SAVED_VERSION {
                return Err(
                    self.failed("read", format!("it is of version {version}, not {SAVED_VERSION}"))
                );
            }
            serde_json::from_str(&json).map(Some).map_err(|error| self.failed("read", error))
        })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async {
            let json =
                serde_json::to_vec_pretty(saved).map_err(|error| self.failed("write", error))?;
            self.write(json).await
        })
    }
}

fn write(path: &Path, json: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    atomic_file::write(path, json, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::saved;

    #[tokio::test]
    async fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = StateFile::new(dir.path().join("var/lib/spotblock/state.json"));
        assert_eq!(store.load().await.expect("no state"), None);
        store.save(&saved()).await.expect("saved");
        assert_eq!(store.load().await.expect("loaded"), Some(saved()));
    }

    /// Catches: an agent that is updated on a running host and forgets its place. The fixture is
    /// what the first build wrote.
    #[tokio::test]
    async fn the_state_of_an_earlier_build_reads_as_ever() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.json");
        std::fs::write(&path, include_str!("../../fixtures/state-v1.json")).expect("the fixture");
        let store = StateFile::new(path);
        let saved = store.load().await.expect("it reads").expect("a state");
        assert_eq!(
            (saved.state.phase, saved.state.live_tasks()),
            (crate::lifecycle::Phase::Stopping, 1)
        );
        store.save(&saved).await.expect("saved");
        assert_eq!(store.load().await.expect("it reads"), Some(saved));
    }

    #[tokio::test]
    async fn a_spoilt_or_foreign_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.json");
        let store = StateFile::new(path.clone());
        let whole = serde_json::to_string(&saved()).expect("JSON");
        let cases = [
            "",
            "{",
            &whole[..whole.len() / 2],
            r#"{"version": 9, "new": 1}"#,
            r#"{"version": 1}"#,
        ];
        for content in cases {
            std::fs::write(&path, content).expect("spoilt");
            let error = store.load().await.expect_err(content).to_string();
            assert!(error.contains("state.json"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_place_that_can_t_be_written_is_an_error_and_not_a_panic() {
        let store = StateFile::new("/proc/nowhere/state.json".into());
        assert!(store.save(&saved()).await.is_err());
        assert!(store.save(&saved()).await.is_err());
    }
}
