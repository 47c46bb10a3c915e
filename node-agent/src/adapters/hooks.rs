//! Hooks: programs of the host's owner, run at certain moments. Nothing waits for them, each has a
//! time limit, and what they say goes into the log.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::ports::{Details, Hooks, Moment};

/// How much of what a hook says is kept.
const SAID: usize = 4096;

/// How much longer than its limit a hook's own supervisor has, so that the supervisor ends it and
/// not the agent.
const LATER: Duration = Duration::from_secs(2);

/// A folder with a folder for each moment.
#[derive(Clone, Debug)]
pub(crate) struct HookFolder {
    folder: PathBuf,
    /// The program that a hook is given to as arguments, if any.
    launcher: Vec<String>,
    limit: Duration,
}

impl HookFolder {
    /// Hooks in this folder, each run through `launcher`, if that isn't empty, and for at most
    /// `limit`.
    #[must_use]
    pub(crate) fn new(folder: PathBuf, launcher: Vec<String>, limit: Duration) -> Self {
        Self { folder, launcher, limit }
    }

    /// Runs a moment's hooks, one after another in the order of their names.
    async fn run(self, moment: Moment, details: Details) {
        let folder = self.folder.join(moment.word());
        let listed = tokio::task::spawn_blocking(move || programs(&folder)).await;
        for program in listed.unwrap_or_default() {
            self.run_one(&program, moment, &details).await;
        }
    }

    async fn run_one(&self, program: &Path, moment: Moment, details: &Details) {
        let hook = program.display();
        match self.command(program, moment, details).spawn() {
            Ok(child) => match watch(child, self.limit + LATER).await {
                Some((status, said)) if status.success() => {
                    tracing::info!(%hook, said, "the hook has run")
                }
                Some((status, said)) => tracing::warn!(%hook, %status, said, "the hook failed"),
                None => tracing::warn!(%hook, "the hook took too long and was killed"),
            },
            Err(error) => tracing::warn!(%hook, %error, "the hook can't be run"),
        }
    }

    /// What is to be known goes along as arguments of env: whatever stands before may not pass an
    /// environment on.
    fn command(&self, program: &Path, moment: Moment, details: &Details) -> Command {
        let mut words = self.launcher.iter().map(String::as_str).chain(["env"]);
        let mut command = Command::new(words.next().unwrap_or("env"));
        command.args(words);
        for (name, value) in [
            ("HOOK", moment.word().to_owned()),
            ("BLOCK", details.block.clone()),
            ("INSTANCE", details.instance.clone()),
            ("WHY", details.why.to_owned()),
            ("STOP_AT", details.stop_at.to_string()),
            ("END", details.end.to_string()),
        ] {
            command.arg(format!("SPOTBLOCK_{name}={value}"));
        }
        command.arg(program).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Of its own, so that whatever it has started can be killed with it.
        command.process_group(0).kill_on_drop(true);
        command
    }
}

impl Hooks for HookFolder {
    fn fire(&self, moment: Moment, details: &Details) {
        tokio::spawn(self.clone().run(moment, details.clone()));
    }
}

/// The executables in a folder, by name.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    // A folder that isn't there holds no hooks.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_program).collect();
    programs.sort();
    programs
}

/// Waits for a hook's end, or kills it with all that it has started.
async fn watch(mut child: Child, limit: Duration) -> Option<(ExitStatus, String)> {
    let group = child.id();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(child.wait(), said(out), said(err)) };
    match tokio::time::timeout(limit, all).await {
        Ok((status, out, err)) => {
            status.ok().map(|status| (status, format!("{out}{err}").trim().to_owned()))
        }
        Err(_) => {
            if let Some(group) = group.and_then(|group| i32::try_from(group).ok()) {
                // Gone already is as good.
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait().await;
            None
        }
    }
}

/// The beginning of what is said. All of it is read: a hook must not get stuck on a full pipe.
async fn said(from: Option<impl AsyncRead + Unpin>) -> String {
    let (mut said, mut some) = (Vec::new(), [0; 1024]);
    if let Some(mut from) = from {
        while let Ok(length @ 1..) = from.read(&mut some).await {
            let room = SAID - said.len();
            said.extend_from_slice(&some[..length.min(room)]);
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn details() -> Details {
        Details {
            block: "sb-1f2c".into(),
            instance: "i-0a1b".into(),
            why: "drain-time",
            stop_at: at("2026-11-24T10:55:00Z"),
            end: at("2026-11-24T11:00:00Z"),
        }
    }

    fn hook(folder: &Path, name: &str, script: &str) {
        std::fs::create_dir_all(folder).expect("the folder");
        std::fs::write(folder.join(name), format!("#!/bin/sh\n{script}\n")).expect("the hook");
        let mode =
            std::fs::Permissions::from_mode(if name.ends_with(".txt") { 0o644 } else { 0o755 });
        std::fs::set_permissions(folder.join(name), mode).expect("its mode");
    }

    #[tokio::test]
    async fn a_moments_hooks_run_by_name_and_know_what_it_is_about() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        let note = |what: &str| format!("echo {what} >> {}", log.display());
        let all = "$SPOTBLOCK_HOOK $SPOTBLOCK_BLOCK $SPOTBLOCK_INSTANCE $SPOTBLOCK_WHY \
                   $SPOTBLOCK_STOP_AT $SPOTBLOCK_END";
        hook(&dir.path().join("drain"), "20-second", &note(all));
        hook(&dir.path().join("drain"), "10-first", &format!("{}; exit 1", note("first")));
        hook(&dir.path().join("drain"), "readme.txt", &note("no program"));
        hook(&dir.path().join("stop"), "10-other", &note("another moment"));
        let hooks = HookFolder::new(dir.path().into(), Vec::new(), Duration::from_secs(10));
        hooks.clone().run(Moment::Leave, details()).await;
        hooks.run(Moment::Drain, details()).await;
        let log = std::fs::read_to_string(&log).expect("they ran");
        let second = "drain sb-1f2c i-0a1b drain-time 2026-11-24T10:55:00Z 2026-11-24T11:00:00Z";
        assert_eq!(log, format!("first\n{second}\n"));
    }

    #[tokio::test]
    async fn what_stands_before_a_hook_gets_it_as_arguments() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        hook(
            dir.path(),
            "before",
            &format!("echo \"$1 $2\" >> {}; shift; exec \"$@\"", log.display()),
        );
        hook(&dir.path().join("stop"), "10-hook", &format!("echo ran >> {}", log.display()));
        let before = vec![dir.path().join("before").display().to_string(), "--quiet".to_owned()];
        HookFolder::new(dir.path().into(), before, Duration::from_secs(10))
            .run(Moment::Stop, details())
            .await;
        assert_eq!(std::fs::read_to_string(&log).expect("it ran"), "--quiet env\nran\n");
    }

    /// Catches: a hook that outlives its limit by way of a child, or gets stuck on what it says.
    #[tokio::test]
    async fn a_hook_that_takes_too_long_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let alive = dir.path().join("alive");
        let script =
            format!("head -c 1000000 /dev/zero; (sleep 4; touch {}) & sleep 60", alive.display());
        hook(&dir.path().join("warn"), "10-slow", &script);
        let hooks = HookFolder::new(dir.path().into(), Vec::new(), Duration::ZERO);
        let run = hooks.run(Moment::Warn, details());
        tokio::time::timeout(Duration::from_secs(10), run).await.expect("it was killed");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(!alive.exists());
    }
}
