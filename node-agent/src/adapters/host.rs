//! The host: commands from the settings, and ecs.config before the ECS agent's start.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::ecs_config::EcsConfig;
use crate::ports::{Answer, Host, HostError};
use crate::settings::Commands;

/// The longest time for a command that only asks for something.
const ASK: Duration = Duration::from_secs(20);

/// The host.
#[derive(Debug)]
pub struct CommandHost {
    commands: Commands,
    ecs_config: EcsConfig,
}

impl CommandHost {
    /// A host with these commands.
    #[must_use]
    pub fn new(commands: Commands, ecs_config: EcsConfig) -> Self {
        Self { commands, ecs_config }
    }
}

impl Host for CommandHost {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            let config = self.ecs_config.clone();
            let written = tokio::task::spawn_blocking(move || config.write()).await;
            match written.map_err(std::io::Error::other).flatten() {
                Ok(true) => tracing::info!("ecs.config written"),
                Ok(false) => {}
                // Without its cluster the ECS agent would join `default`, and could not be moved later.
                Err(error) => {
                    return Err(HostError { what: "write ecs.config".to_owned(), problem: error.to_string() });
                }
            }
            limited(&self.commands.start_ecs).await
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        // The caller's limit counts: it knows how much time there is.
        Box::pin(run(&self.commands.stop_ecs))
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(limited(&self.commands.power_off))
    }
}

async fn limited(command: &[String]) -> Result<(), HostError> {
    tokio::time::timeout(ASK, run(command)).await.unwrap_or_else(|_| Err(failed(command, "took too long".to_owned())))
}

/// Runs a command to its end; it is killed when nobody waits for it any more.
async fn run(command: &[String]) -> Result<(), HostError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(failed(command, "no program".to_owned()));
    };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(failed(command, format!("{}: {}", output.status, said.trim())))
        }
        Err(error) => Err(failed(command, error.to_string())),
    }
}

fn failed(command: &[String], problem: String) -> HostError {
    HostError { what: command.join(" "), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_failing_command_tells_its_status_and_its_words() {
        run(&command(&["true"])).await.expect("true");
        let error = run(&command(&["sh", "-c", "echo broken >&2; exit 3"])).await.expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3") && error.contains("broken"), "{error}");
        let error = run(&command(&["/nonexistent/program"])).await.expect_err("it fails").to_string();
        assert!(error.contains("/nonexistent/program"), "{error}");
    }
}
