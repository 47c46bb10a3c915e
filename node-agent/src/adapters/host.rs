//! The host: commands from the settings, and before the ECS agent's start ecs.config and a look at
//! its data.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;

use super::atomic_file;
use super::command::{ASK, failed, limited, output_of, run};
use super::ecs_config::EcsConfig;
use super::ecs_data::EcsData;
use super::power::Power;
use crate::lifecycle::EcsUnit;
use crate::ports::{Answer, Details, Host, HostError};
use crate::settings::Commands;

/// The host.
pub(crate) struct CommandHost {
    commands: Commands,
    ecs_config: EcsConfig,
    ecs_data: EcsData,
    notice: PathBuf,
    power: Power,
    /// Whether the ECS agent's data has been looked at.
    looked: AtomicBool,
}

impl CommandHost {
    /// A host with these commands; tasks are warned by the file `notice`.
    #[must_use]
    pub(crate) fn new(
        commands: Commands,
        ecs_config: EcsConfig,
        ecs_data: EcsData,
        notice: PathBuf,
        power: Power,
    ) -> Self {
        Self { commands, ecs_config, ecs_data, notice, power, looked: AtomicBool::new(false) }
    }

    /// Writes ecs.config, and then asks for the ECS agent to be started.
    async fn write_and_start(&self) -> Result<(), HostError> {
        let config = self.ecs_config.clone();
        let written = tokio::task::spawn_blocking(move || config.write()).await;
        match written.map_err(std::io::Error::other).flatten() {
            Ok(true) => tracing::info!("ecs.config written"),
            Ok(false) => {}
            // Without its cluster the ECS agent would join `default`, and could not be moved later.
            Err(error) => {
                return Err(HostError {
                    what: "write ecs.config".to_owned(),
                    problem: error.to_string(),
                });
            }
        }
        limited(&self.commands.start_ecs).await
    }

    /// Removes what another instance's ECS agent left, if anything. The ECS agent is stopped
    /// before: if it runs already it runs with that.
    async fn remove_foreign_data(&self) -> Result<(), HostError> {
        let data = self.ecs_data.clone();
        let foreign = tokio::task::spawn_blocking(move || data.foreign()).await.unwrap_or_default();
        if foreign.is_empty() {
            return Ok(());
        }
        tracing::warn!(?foreign, "the ECS agent's data is another instance's and is removed");
        limited(&self.commands.stop_ecs).await?;
        self.remove_data(foreign).await
    }

    async fn remove_data(&self, files: Vec<PathBuf>) -> Result<(), HostError> {
        let data = self.ecs_data.clone();
        let removed = tokio::task::spawn_blocking(move || data.remove(&files)).await;
        let removed = removed.map_err(std::io::Error::other).flatten();
        removed.map_err(|error| HostError {
            what: "remove the ECS agent's data".into(),
            problem: error.to_string(),
        })
    }
}

impl Host for CommandHost {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            if !self.looked.load(Ordering::Relaxed) {
                self.remove_foreign_data().await?;
                self.looked.store(true, Ordering::Relaxed);
            }
            self.write_and_start().await
        })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            run(&self.commands.stop_ecs).await?;
            self.remove_data(self.ecs_data.files().collect()).await?;
            self.write_and_start().await
        })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        Box::pin(async {
            let command = set("show-ecs", self.commands.show_ecs.as_ref())?;
            let said = tokio::time::timeout(ASK, output_of(&command)).await;
            Ok(unit(&said.unwrap_or_else(|_| Err(failed(&command, "took too long".to_owned())))?))
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        // The caller's limit counts: it knows how much time there is.
        Box::pin(run(&self.commands.stop_ecs))
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async move {
            let mut command = set("stop-containers", self.commands.stop_containers.as_ref())?;
            command.push(grace.as_secs().max(0).to_string());
            run(&command).await
        })
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        Box::pin(async move {
            let (path, content) = (self.notice.clone(), notice(details));
            let written = tokio::task::spawn_blocking(move || write_notice(&path, &content)).await;
            let written = written.map_err(std::io::Error::other).flatten();
            written.map_err(|error| HostError {
                what: format!("write {}", self.notice.display()),
                problem: error.to_string(),
            })
        })
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(self.power.off())
    }
}

/// A command that may be left out.
fn set(key: &str, command: Option<&Vec<String>>) -> Result<Vec<String>, HostError> {
    let command = command.filter(|words| !words.is_empty()).cloned();
    command.ok_or_else(|| HostError {
        what: format!("commands.{key}"),
        problem: "is not set".to_owned(),
    })
}

/// What tasks read: JSON, the moments RFC 3339 in UTC.
fn notice(details: &Details) -> String {
    let Details { block, instance, why, stop_at, end } = details;
    let json = serde_json::json!({"block": block, "instance": instance, "why": why, "stop_at": stop_at, "end": end});
    format!("{json}\n")
}

fn write_notice(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    atomic_file::write(path, content.as_bytes(), 0o644)
}

/// What systemd prints of a unit.
fn unit(text: &str) -> EcsUnit {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let runs =
        value("ActiveState").map(|state| ["active", "activating", "reloading"].contains(&state));
    // 0 is also what a unit shows that has never ended.
    let exit =
        value("ExecMainStatus").and_then(|code| code.trim().parse().ok()).filter(|code| *code != 0);
    EcsUnit { runs, exit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn host(root: &std::path::Path, commands: Commands) -> CommandHost {
        let (config, identity) = (crate::testing::config(), crate::testing::identity());
        let timeline = crate::testing::state().timeline;
        let ecs_config = EcsConfig::new(root.join("ecs.config"), &config, &identity, timeline);
        let ecs_data = EcsData::new(root.to_owned(), identity.instance, identity.launched);
        let clock = std::sync::Arc::new(crate::clock::BootClock::new());
        let notice = root.join("notice/notice.json");
        CommandHost::new(
            commands,
            ecs_config,
            ecs_data,
            notice,
            Power::new(Vec::new(), SignedDuration::ZERO, clock),
        )
    }

    /// Commands that write down their names, and what of the ECS agent's data is there when they
    /// run.
    fn noting(root: &std::path::Path) -> Commands {
        let note = |what: &str| {
            let root = root.display();
            command(&[
                "sh",
                "-c",
                &format!("echo {what} $(ls {root} | grep agent.db) >> {root}/said"),
            ])
        };
        Commands { start_ecs: note("start"), stop_ecs: note("stop"), ..Commands::default() }
    }

    fn said(root: &std::path::Path) -> String {
        std::fs::read_to_string(root.join("said")).unwrap_or_default()
    }

    /// Catches: amazon-ecs-agent#2738, an image's registration that every instance of it goes on
    /// with.
    #[tokio::test]
    async fn another_instances_data_is_removed_once_before_the_first_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = host(dir.path(), noting(dir.path()));
        std::fs::write(dir.path().join("agent.db"), "\"i-0fffffffffffffff1\"").expect("agent.db");
        host.start_ecs().await.expect("started");
        assert_eq!(said(dir.path()), "stop agent.db\nstart\n");
        assert!(dir.path().join("ecs.config").exists());
        std::fs::write(dir.path().join("agent.db"), "\"i-0fffffffffffffff1\"").expect("agent.db");
        host.start_ecs().await.expect("started");
        assert_eq!(
            said(dir.path()),
            "stop agent.db\nstart\nstart agent.db\n",
            "a running agent's data is its own"
        );
    }

    #[tokio::test]
    async fn a_repair_stops_the_ecs_agent_removes_its_data_and_starts_it_with_the_right_cluster() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = host(dir.path(), noting(dir.path()));
        std::fs::write(dir.path().join("agent.db"), "\"i-0a1b\"").expect("agent.db");
        host.repair_ecs().await.expect("repaired");
        assert_eq!(said(dir.path()), "stop agent.db\nstart\n");
        let config = std::fs::read_to_string(dir.path().join("ecs.config")).expect("ecs.config");
        assert!(config.contains("ECS_CLUSTER=c\n"), "{config}");
    }

    /// Jobs run as any user, and look at the file while it is replaced.
    #[tokio::test]
    async fn a_warning_is_a_file_that_every_task_can_read() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let host = host(dir.path(), Commands::default());
        let timeline = crate::testing::state().timeline;
        let (block, instance) = ("sb-1f2c".to_owned(), "i-0a1b".to_owned());
        let details = Details {
            block,
            instance,
            why: "notice",
            stop_at: timeline.stop_at,
            end: timeline.end,
        };
        host.warn(&details).await.expect("written");
        let path = dir.path().join("notice/notice.json");
        let told: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("read")).expect("JSON");
        assert_eq!(told["stop_at"], "2026-11-24T10:55:00Z");
        assert_eq!(told["end"], "2026-11-24T11:00:00Z");
        assert_eq!(std::fs::metadata(&path).expect("metadata").mode() & 0o777, 0o644);
    }

    #[test]
    fn what_systemd_prints_of_the_unit_is_read() {
        let cases = [
            ("ActiveState=active\nExecMainStatus=0\n", EcsUnit { runs: Some(true), exit: None }),
            (
                "ExecMainStatus=5\nActiveState=failed\n",
                EcsUnit { runs: Some(false), exit: Some(5) },
            ),
            ("ActiveState=inactive\nExecMainStatus=0\n", EcsUnit { runs: Some(false), exit: None }),
            ("nonsense", EcsUnit { runs: None, exit: None }),
        ];
        for (text, wanted) in cases {
            assert_eq!(unit(text), wanted, "{text}");
        }
    }

    /// Catches: a grace that is rounded to nothing or given in another unit.
    #[tokio::test]
    async fn the_containers_are_stopped_by_the_command_with_the_grace_in_seconds() {
        let dir = tempfile::tempdir().expect("a folder");
        let said = dir.path().join("said");
        let script = format!("echo \"$1\" > {}", said.display());
        let commands = Commands {
            stop_containers: Some(command(&["sh", "-c", &script, "sh"])),
            ..Commands::default()
        };
        let host = host(dir.path(), commands);
        host.stop_containers(SignedDuration::from_millis(90_500)).await.expect("stopped");
        assert_eq!(std::fs::read_to_string(&said).expect("read"), "90\n");
    }
}
