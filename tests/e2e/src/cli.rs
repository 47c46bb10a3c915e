//! One run of a command line program against the local cloud.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::guard;

/// What a run left.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// Its results.
    pub stdout: String,
    /// Its progress and errors.
    pub stderr: String,
}

impl Run {
    /// The run, if it ended with 0.
    ///
    /// # Errors
    /// With everything it printed.
    pub fn success(self) -> anyhow::Result<Self> {
        self.code(0)
    }

    /// The run, if it ended with `code`.
    ///
    /// # Errors
    /// With everything it printed.
    pub fn code(self, code: i32) -> anyhow::Result<Self> {
        ensure!(
            self.code == code,
            "exit {} instead of {code}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Its results as JSON.
    ///
    /// # Errors
    /// When they are not.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("results as JSON: {}", self.stdout))
    }
}

/// A command for `program`, confined to the local cloud at `endpoint`; nobody is there whom it
/// could ask.
#[must_use]
pub fn command(program: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    guard::confine(&mut command, endpoint);
    command.args(arguments).stdin(Stdio::null()).env("SPOTBLOCK_YES", "true");
    command
}

/// Runs `command` to its end.
///
/// # Errors
/// When the guard refuses it, it can't be started, or it takes longer than `limit`.
pub async fn run(mut command: Command, limit: Duration) -> anyhow::Result<Run> {
    guard::check(&command)?;
    let shown = format!("{:?}", command.as_std());
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, output)
        .await
        .with_context(|| format!("{} s are over: {shown}", limit.as_secs()))?
        .with_context(|| format!("start {shown}"))?;
    Ok(Run {
        code: output.status.code().unwrap_or_else(|| {
            128 + std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or_default()
        }),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
