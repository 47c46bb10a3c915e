//! What a running command has: settings, AWS, the outputs, waits.

use std::time::Duration;

use crate::aws::Aws;
use crate::model::error::Result;
use crate::runtime::wait::{Poll, WaitSpec, Waits};
use crate::settings::Settings;
use crate::terminal::Ui;

/// Batch takes seconds to a minute for a change.
const BUSY_LIMIT: Duration = Duration::from_secs(120);

/// Everything a command works with.
pub(crate) struct Session<'a> {
    /// What the user wants.
    pub settings: &'a Settings,
    /// AWS.
    pub aws: &'a Aws,
    /// The outputs.
    pub ui: &'a Ui,
    /// Waits, and with them the clock.
    pub waits: &'a Waits,
}

impl Session<'_> {
    /// The environment's name.
    #[must_use]
    pub(crate) fn environment(&self) -> &str {
        &self.settings.environment.name
    }

    /// Makes a change that can be repeated. While Batch is busy with another one of the same thing
    /// it waits; that may be this one's first attempt, whose answer was lost.
    ///
    /// # Errors
    /// When the change fails for good, or the thing stays busy.
    pub(crate) async fn change(
        &self,
        what: &str,
        mut change: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let bound = WaitSpec {
            what: format!("{what} to take a change"),
            limit: BUSY_LIMIT,
            next: "run the same command again".to_owned(),
        };
        self.waits.until(self.ui, bound, async || change().await.map(Poll::Done)).await
    }

    /// The time now.
    #[must_use]
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.waits.clock().now()
    }
}
