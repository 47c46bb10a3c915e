//! What tests share.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};

use crate::args::BlockFlags;
use crate::model::job_definition::JobDefinition;
use crate::runtime::clock::Clock;
use crate::runtime::interrupt::Interrupt;
use crate::settings::Settings;

/// Tokio's time, which a test can pause, as a wall clock that starts at 2026-11-24T10:00:00Z.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimulatedTime(tokio::time::Instant);

impl SimulatedTime {
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl TimeSource for SimulatedTime {
    #[expect(clippy::disallowed_methods, reason = "tokio's clock is the simulated one here")]
    fn now(&self) -> SystemTime {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_514_400);
        start + tokio::time::Instant::now().duration_since(self.0)
    }
}

/// A clock on simulated time.
pub(crate) fn clock() -> Clock {
    Clock::new(
        SharedTimeSource::new(SimulatedTime::start()),
        SharedAsyncSleep::new(TokioSleep::new()),
        Interrupt::default(),
    )
}

/// The first example's file.
pub(crate) const EXAMPLE: &str = include_str!("../../tests/e2e/fixtures/spot-block-test.toml");

/// The first example's settings, with more lines at the end of the file.
pub(crate) fn settings(more: &str) -> Settings {
    Settings::parse(Path::new("spotblock.toml"), &format!("{EXAMPLE}\n{more}"), &BlockFlags::default(), None)
        .expect("the example's settings")
}

/// The first example's job definition.
pub(crate) fn hello_world() -> JobDefinition {
    settings("").job_definitions.remove(0)
}

/// Holds a text against the file of this name below `fixtures/`. `make snapshots` writes them anew.
#[expect(clippy::disallowed_methods, reason = "whether to write them is said to the test, not to the program")]
pub(crate) fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if std::env::var_os("SPOTBLOCK_WRITE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wanted == text,
        "{name} is not as it was; if it should change: `make snapshots`, then look at the diff\n{text}"
    );
}
