//! The program: real ports, and [`spotblock::run`].

use std::io::IsTerminal as _;
use std::process::ExitCode;

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use clap::Parser as _;
use spotblock::Ports;
use spotblock::args::Cli;
use spotblock::aws::Account;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ports = Ports {
        http: Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
        sleep: SharedAsyncSleep::new(TokioSleep::new()),
        time: SharedTimeSource::new(SystemTimeSource::new()),
        account: Account::Chain,
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        terminal: std::io::stderr().is_terminal(),
        seed: fastrand::u64(..),
        interrupt: Box::pin(async {
            // Without a handler Ctrl-C ends the process at once, which is all right too.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }),
    };
    ExitCode::from(spotblock::run(cli, ports).await)
}
