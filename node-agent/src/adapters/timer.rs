//! The power-off timer: two units on disk that end the host after its block without the agent's
//! help.
//!
//! The moment is absolute and kept over reboots, so that a host which comes back after its end goes
//! off at once. Both units stand outside systemd's default dependencies: a shutdown that hangs
//! doesn't stop them, and they end it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::names;
use tokio::sync::watch;

use super::atomic_file;
use node_contract::timeline::POWER_OFF_GRACE;

use super::command::limited;
use crate::clock::BootClock;
use crate::lifecycle::{Phase, State};
use crate::ports::{Clock, HostError, StateStore};

/// A moment that has passed already becomes one that is so far away.
const SOON: SignedDuration = SignedDuration::from_secs(60);

/// A wall clock that is off by more moves the timer.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// How often the wall clock is looked at.
const LOOK: Duration = Duration::from_secs(15);

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How long the timer's service waits before the next, harder way.
const STEP: SignedDuration = SignedDuration::from_secs(60);

/// What `spotblock-agent due` exits with when the block isn't over.
pub(crate) const NOT_DUE: u8 = 3;

/// The units' files, and the command that makes systemd read them.
#[derive(Clone, Debug)]
pub struct PowerOffTimer {
    /// Where units are.
    pub folder: PathBuf,
    /// Makes systemd read the files and start the timer; empty where there is no systemd to be
    /// told.
    pub arm: Vec<String>,
    /// How the host is powered off, from the gentlest way on.
    pub power_off_commands: Vec<Vec<String>>,
    /// The instance that the timer is for: an image made of this host carries it too.
    pub instance: String,
    /// The agent's program and arguments that tell whether the block is over.
    pub due: Vec<String>,
}

impl PowerOffTimer {
    /// Writes the units for this moment of the host's wall clock. From the next boot on they are in
    /// force.
    ///
    /// # Errors
    /// A file can't be written; older ones are then still there.
    pub async fn write(&self, at: Timestamp) -> Result<(), HostError> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || this.write_files(at)).await;
        written.map_err(io::Error::other).flatten().map_err(|error| HostError {
            what: format!("write {} in {}", names::unit::POWER_OFF_TIMER, self.folder.display()),
            problem: error.to_string(),
        })
    }

    /// Has systemd take up what was written.
    ///
    /// # Errors
    /// The command failed; an older timer is then still armed.
    pub(crate) async fn arm(&self) -> Result<(), HostError> {
        if self.arm.is_empty() {
            tracing::info!("the power-off timer is only written: no command to arm it is set");
            return Ok(());
        }
        limited(&self.arm).await
    }

    fn write_files(&self, at: Timestamp) -> io::Result<()> {
        let wants = self.folder.join("timers.target.wants");
        std::fs::create_dir_all(&wants)?;
        // What the timer starts comes first: a timer is never without it.
        replace(&self.folder.join(names::unit::POWER_OFF_SERVICE), &self.service())?;
        replace(&self.folder.join(names::unit::POWER_OFF_TIMER), &timer_unit(at))?;
        // What `systemctl enable` would do; here it doesn't need a systemd that answers.
        let target = Path::new("..").join(names::unit::POWER_OFF_TIMER);
        match std::os::unix::fs::symlink(target, wants.join(names::unit::POWER_OFF_TIMER)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    }

    fn service(&self) -> String {
        let mut ways = String::new();
        for (number, way) in self.power_off_commands.iter().enumerate() {
            if number > 0 {
                ways.push_str(&format!("ExecStart=-sleep {}\n", STEP.as_secs()));
            }
            ways.push_str(&format!("ExecStart=-{}\n", line(way)));
        }
        // On Nitro hosts the asset tag is the instance's id (EC2 user guide); on others there is
        // none, and it counts.
        let own = format!(
            "read -r tag </sys/devices/virtual/dmi/id/board_asset_tag; case \"$$tag\" in {}) ;; \
             i-*) exit 1 ;; esac",
            self.instance
        );
        let due = format!(
            "[ -x {} ] || exit 0; {}; [ $$? -ne {NOT_DUE} ]",
            word(&self.due, 0),
            line(&self.due)
        );
        format!(
            "# Written by spotblock-agent; changes are lost.\n[Unit]\nDescription=Powers this \
             host off after the end of its block\n# Not stopped by a shutdown: one that hangs is \
             ended \
             here.\nDefaultDependencies=no\n\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n# \
             Not on another instance that was made of this one's image.\nExecCondition=/bin/sh \
             -c '{own}'\n# Not because the wall clock was set forward: an agent that can tell \
             counts the time since the boot.\nExecCondition=/bin/sh -c '{due}'\n{ways}"
        )
    }
}

/// Writes a unit, unless it says so already.
fn replace(path: &Path, unit: &str) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == unit.as_bytes()) {
        return Ok(());
    }
    atomic_file::write(path, unit.as_bytes(), 0o644)
}

/// The moment at which the timer powers the host off, by the block's clock.
#[must_use]
pub fn moment(state: &State) -> Timestamp {
    let end = state.timeline.end;
    // An agent that left early has asked for it already; a shutdown that hangs needn't wait for the
    // block's end.
    let asked = if state.phase == Phase::Gone { state.since.min(end) } else { end };
    asked.checked_add(POWER_OFF_GRACE).unwrap_or(Timestamp::MAX)
}

/// Whether the block is over, as far as the agent's state tells. Without it, or in another boot, it
/// is: the timer's own word counts then. `agent_saw` is the id by which the agent knows this boot,
/// if it has run in it.
pub(crate) async fn is_due(
    store: &dyn StateStore,
    clock: &BootClock,
    agent_saw: Option<&str>,
) -> bool {
    let is_this_boot = |anchor| {
        clock.resume(anchor) || agent_saw.is_some_and(|boot_id| clock.resume_in(anchor, boot_id))
    };
    match store.load().await {
        Ok(Some(saved)) if is_this_boot(&saved.anchor) => {
            // The timer goes by whole seconds, and may come a moment early.
            clock
                .now()
                .checked_add(SignedDuration::from_secs(2))
                .is_ok_and(|now| moment(&saved.state) <= now)
        }
        _ => true,
    }
}

/// Keeps the timer at the moment that is wanted, until nobody wants any more. The first is written
/// already.
///
/// The timer goes by the host's wall clock: where that is off, and when it is set, the timer is
/// moved by as much.
pub(crate) async fn keep(
    timer: PowerOffTimer,
    clock: Arc<dyn Clock>,
    mut wanted: watch::Receiver<Timestamp>,
) {
    let mut armed: Option<(Timestamp, SignedDuration)> = None;
    let (mut pause, mut fails) = (RETRY, false);
    loop {
        let (moment, skew) = (*wanted.borrow_and_update(), clock.skew());
        if armed.is_none_or(|(at, by)| at != moment || (by - skew).abs() > SKEW) {
            match set(&timer, moment, clock.as_ref()).await {
                Ok(at) => {
                    tracing::info!(%at, "the power-off timer is set");
                    (armed, pause, fails) = (Some((moment, skew)), LOOK, false);
                }
                Err(error) => {
                    if !fails {
                        tracing::error!(%error, "the power-off timer can't be set");
                    }
                    (armed, pause, fails) = (None, RETRY, true);
                }
            }
        }
        if let Ok(Err(_)) = tokio::time::timeout(pause, wanted.changed()).await {
            return;
        }
    }
}

async fn set(
    timer: &PowerOffTimer,
    moment: Timestamp,
    clock: &dyn Clock,
) -> Result<Timestamp, HostError> {
    let at = by_wall_clock(moment, clock);
    timer.write(at).await?;
    timer.arm().await?;
    Ok(at)
}

/// A moment of the block's clock as the host's wall clock will show it. One that has passed would
/// never come.
#[must_use]
pub(crate) fn by_wall_clock(moment: Timestamp, clock: &dyn Clock) -> Timestamp {
    let (soon, skew) = (clock.now().checked_add(SOON).unwrap_or(Timestamp::MAX), clock.skew());
    let skew = if skew.abs() > SKEW { skew } else { SignedDuration::ZERO };
    moment.max(soon).checked_add(skew).unwrap_or(Timestamp::MAX)
}

/// The timer's unit.
fn timer_unit(at: Timestamp) -> String {
    format!(
        "# Written by spotblock-agent, which moves it when the block's end moves.\n\
         [Unit]\n\
         Description=Powers this host off after the end of its block\n\
         # After nothing: while a shutdown hangs, what that stops would be waited for.\n\
         DefaultDependencies=no\n\
         \n\
         [Timer]\n\
         OnCalendar={}\n\
         AccuracySec=1s\n\
         # Missed while the host was down, it is made up for at the next boot.\n\
         Persistent=true\n\
         Unit={}\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        names::unit::POWER_OFF_SERVICE,
    )
}

/// For which moment a timer's unit is.
#[must_use]
pub(crate) fn moment_of(unit: &str) -> Option<Timestamp> {
    let at =
        unit.lines().find_map(|line| line.strip_prefix("OnCalendar="))?.strip_suffix(" UTC")?;
    format!("{}Z", at.replace(' ', "T")).parse().ok()
}

/// A command as a line of a unit.
fn line(command: &[String]) -> String {
    let quoted: Vec<String> = (0..command.len()).map(|index| word(command, index)).collect();
    quoted.join(" ")
}

/// A word of a command, so that neither systemd nor a shell takes it for anything else.
fn word(command: &[String], index: usize) -> String {
    let word = command.get(index).map_or("", String::as_str);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let escaped =
        word.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests;
