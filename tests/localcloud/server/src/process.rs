//! Processes in groups of their own, so that ending one ends all that it started.

use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A process that leads its group.
pub(crate) struct Leader {
    child: Child,
    group: Group,
}

/// A process group, for signals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Pid);

impl Leader {
    /// Starts `command` without input as the leader of a new group.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn()?;
        let pid =
            child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, group: Group(Pid::from_raw(pid)) })
    }

    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// Waits for its end, and ends what it left behind in its group.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group.signal(Signal::SIGKILL);
        status
    }
}

impl Group {
    /// Signals the whole group. One that is gone already is no error.
    pub(crate) fn signal(self, signal: Signal) {
        if let Err(error) = killpg(self.0, signal)
            && error != nix::errno::Errno::ESRCH
        {
            tracing::warn!(group = %self.0, %signal, "signal: {error}");
        }
    }
}

/// The exit code as Docker gives it: 128 and the signal's number for a process that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
