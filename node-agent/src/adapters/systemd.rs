//! systemd, as the one that started the agent: readiness, the status line and the watchdog. Without
//! it, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::ports::Supervisor;

/// The service manager.
#[derive(Debug)]
pub(crate) struct Systemd;

impl Supervisor for Systemd {
    fn ready(&self) {
        notify(&NotifyState::Ready);
    }

    fn status(&self, text: &str) {
        notify(&NotifyState::Status(text));
    }

    fn alive(&self) {
        notify(&NotifyState::Watchdog);
    }

    fn expects_alive_every(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "systemd can't be told");
    }
}
