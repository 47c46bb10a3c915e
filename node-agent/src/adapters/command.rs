//! Commands: programs of the host, run to their end and within a limit.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::ports::HostError;

/// The longest time for a command that only asks for something.
pub(super) const ASK: Duration = Duration::from_secs(20);

/// Runs a command that only asks for something.
pub(super) async fn limited(command: &[String]) -> Result<(), HostError> {
    tokio::time::timeout(ASK, run(command))
        .await
        .unwrap_or_else(|_| Err(failed(command, "took too long".to_owned())))
}

/// Runs a command to its end; it is killed when nobody waits for it any more.
pub(super) async fn run(command: &[String]) -> Result<(), HostError> {
    output_of(command).await.map(drop)
}

/// Runs a command to its end, and returns what it has printed.
pub(super) async fn output_of(command: &[String]) -> Result<String, HostError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(failed(command, "no program".to_owned()));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(failed(command, format!("{}: {}", output.status, said.trim())))
        }
        Err(error) => Err(failed(command, error.to_string())),
    }
}

/// The error of a command that failed.
pub(super) fn failed(command: &[String], problem: String) -> HostError {
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
        let error = run(&command(&["sh", "-c", "echo broken >&2; exit 3"]))
            .await
            .expect_err("it fails")
            .to_string();
        assert!(error.contains("exit status: 3") && error.contains("broken"), "{error}");
        let error =
            run(&command(&["/nonexistent/program"])).await.expect_err("it fails").to_string();
        assert!(error.contains("/nonexistent/program"), "{error}");
    }
}
