//! The program: real ports, and [`spotblock::run`].

use std::io::IsTerminal as _;
use std::process::ExitCode;

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use spotblock::Answers;
use spotblock::CallLog;
use spotblock::Ports;
use spotblock::{Account, Connection};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

fn main() -> std::io::Result<ExitCode> {
    let cli = spotblock::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async { spotblock::run(cli, ports(interrupts())).await });
    // Not waited for: after an interrupt a name look-up may still be under way in a thread, for as
    // long as it likes.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}

fn ports(interrupts: UnboundedReceiver<()>) -> Ports {
    Ports {
        connection: Connection {
            http: Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
            sleep: SharedAsyncSleep::new(TokioSleep::new()),
            time: SharedTimeSource::new(SystemTimeSource::new()),
            account: Account::Chain,
            calls: CallLog::default(),
        },
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
        terminal: std::io::stderr().is_terminal(),
        answers: answers(),
        screen: || size(&console::Term::stdout()),
        progress: || size(&console::Term::stderr()),
        seed: fastrand::u64(..),
        interrupts,
    }
}

/// Columns and rows; none where it is no terminal.
fn size(terminal: &console::Term) -> Option<(u16, u16)> {
    terminal.size_checked().map(|(rows, columns)| (columns, rows))
}

/// Lines from stdin, where a user sees the question and can answer.
fn answers() -> Option<Answers> {
    let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    somebody.then(|| -> Answers {
        Box::new(|| {
            Box::pin(async {
                let read =
                    || std::io::stdin().lines().next().and_then(Result::ok).unwrap_or_default();
                tokio::task::spawn_blocking(read).await.unwrap_or_default()
            })
        })
    })
}

/// One message for each SIGINT and SIGTERM. Without a handler a signal ends the process at once,
/// which is all right too.
fn interrupts() -> UnboundedReceiver<()> {
    let (sender, receiver) = unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        tokio::spawn(forward(kind, sender.clone()));
    }
    receiver
}

async fn forward(kind: SignalKind, sender: UnboundedSender<()>) {
    let Ok(mut signals) = signal(kind) else { return };
    while signals.recv().await.is_some() && sender.send(()).is_ok() {}
}
