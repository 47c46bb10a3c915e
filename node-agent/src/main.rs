//! Args, logging, run, exit code; all else is in the library.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use spotblock_agent::args::{Args, Command};
use spotblock_agent::settings::{Environment, LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code for wrong usage or settings.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Command::Run(args) = Args::parse().command;
    let settings = match Settings::load(&args, Environment::read()) {
        Ok(settings) => settings,
        Err(error) => return fail(&anyhow::Error::new(error), ExitCode::from(USAGE)),
    };
    init_log(settings.log, settings.verbose);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the async runtime")?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let stop = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        spotblock_agent::run(settings, stop).await.context("start the agent")
    })?;
    // A write to a disk that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(())
}

fn init_log(format: LogFormat, verbose: bool) {
    // The SDK's own debug output holds requests and answers, credentials among them: it is never let through.
    let own = if verbose { "debug" } else { "info" };
    let filter = EnvFilter::new(format!("warn,spotblock_agent={own}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

#[expect(clippy::print_stderr, reason = "the log may not be there yet")]
fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    eprintln!("spotblock-agent: {error:#}");
    code
}
