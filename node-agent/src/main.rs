//! Args, logging, run, exit code; all else is in the library.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;
use spotblock_agent::commands::{check, drain, due, guard, run, status};
use spotblock_agent::settings::args::{Args, Command, Output, RunArgs};
use spotblock_agent::settings::{Environment, Settings};
use spotblock_agent::status::log;
use spotblock_agent::status::problems::Problems;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::util::SubscriberInitExt as _;

/// The exit code for wrong usage or settings.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Run(place) => with_settings(&place, |settings, problems| {
            block_on(async {
                run::run(settings, problems, told_to_end()?).await.context("start the agent")?;
                Ok(ExitCode::SUCCESS)
            })
        }),
        Command::Guard { stop: false, .. } => Ok(ExitCode::SUCCESS),
        Command::Guard { place, within, .. } => with_settings(&place, |settings, _| {
            block_on(async {
                guard::stop(settings, within).await.context("stop the host's tasks")?;
                Ok(ExitCode::SUCCESS)
            })
        }),
        Command::Check { place, output, offline } => with_settings(&place, |settings, _| {
            block_on(async {
                let verdicts = check::check(&settings, offline).await.context("check the host")?;
                print(&rendered(&verdicts, output)?)?;
                Ok(if verdicts.pass() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            })
        }),
        Command::Drain(place) => with_settings(&place, |settings, _| {
            block_on(async {
                let done = drain::drain(&settings).await.context("drain this instance")?;
                print(&(done + "\n"))?;
                Ok(ExitCode::SUCCESS)
            })
        }),
        Command::Status { place, output } => tell_status(&place, output),
        Command::Due(place) => {
            block_on(async { Ok(ExitCode::from(due::exit_code(&place.root).await)) })
        }
    };
    done.unwrap_or_else(|error| fail(&error, ExitCode::FAILURE))
}

fn with_settings(
    place: &RunArgs,
    then: impl FnOnce(Settings, Problems) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match Settings::load(place, Environment::read()) {
        Ok(settings) => {
            let problems = Problems::default();
            log::subscriber(settings.log, settings.verbose, problems.clone(), std::io::stderr)
                .init();
            if !settings.wrong.is_empty() {
                tracing::error!(
                    error = settings.wrong.join("; "),
                    "the settings are wrong, and defaults hold in their place"
                );
            }
            then(settings, problems)
        }
        Err(error) => Ok(fail(&anyhow::Error::new(error), ExitCode::from(USAGE))),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let done = runtime.block_on(work);
    // A write to a disk that hangs must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Comes to its end with SIGTERM or SIGINT.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn tell_status(place: &RunArgs, output: Output) -> anyhow::Result<ExitCode> {
    print(&rendered(&status::report(&place.root)?, output)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A report as it was asked for.
fn rendered(report: &(impl Display + Serialize), output: Output) -> anyhow::Result<String> {
    Ok(match output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(report)? + "\n",
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("write to the standard output")
}

#[expect(clippy::print_stderr, reason = "the log may not be there yet")]
fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("spotblock-agent: {error:#}");
    code
}
