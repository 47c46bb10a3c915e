//! What a running command has: settings, AWS, the outputs, waits.

use crate::aws::Aws;
use crate::settings::Settings;
use crate::ui::Ui;
use crate::wait::Waits;

/// Everything a command works with.
pub struct Session<'a> {
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
    pub fn environment(&self) -> &str {
        &self.settings.environment.name
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> jiff::Timestamp {
        self.waits.clock().now()
    }
}
