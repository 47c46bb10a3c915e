//! What tests share.

use std::path::Path;

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use harness::SimulatedTime;

use crate::args::BlockFlags;
use crate::model::job_definition::JobDefinition;
use crate::runtime::clock::Clock;
use crate::runtime::interrupt::Interrupt;
use crate::settings::Settings;

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
    Settings::parse(
        Path::new("spotblock.toml"),
        &format!("{EXAMPLE}\n{more}"),
        &BlockFlags::default(),
        None,
    )
    .expect("the example's settings")
}

/// The first example's job definition.
pub(crate) fn hello_world() -> JobDefinition {
    settings("").job_definitions.remove(0)
}
