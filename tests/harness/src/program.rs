//! The whole program: its command line, its SDK code, and everything between them.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use clap::Parser as _;
use spotblock::CallLog;
use spotblock::Cli;
use spotblock::Ports;
use spotblock::{Account, Connection};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::kill::{Kill, KillPoint};
use crate::network::{self, Network};
use crate::output::Output;

/// `spotblock` with an outside world, ready to run one command.
pub struct Program {
    /// Its outside world. A test that needs another one changes it before it runs the command.
    pub ports: Ports,
    /// What it prints as its result.
    pub stdout: Output,
    /// What it says.
    pub stderr: Output,
    kill: KillPoint,
    /// Kept until the end, so that nobody interrupts.
    _interrupter: UnboundedSender<()>,
}

/// What a run left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; `None` when it was killed.
    pub code: Option<u8>,
    /// Its result.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Program {
    /// A program on tokio's time that nobody looks at, answers or interrupts. What is random in it
    /// follows from the seed; it is killed where `kill` says.
    #[must_use]
    pub fn new(
        network: impl Network,
        time: impl TimeSource + 'static,
        seed: u64,
        kill: Option<Kill>,
    ) -> Self {
        let (stdout, stderr) = (Output::default(), Output::default());
        let (interrupter, interrupts) = unbounded_channel();
        let kill = KillPoint::new(kill);
        let credentials = Credentials::new("AKIASIMULATION", "secret", None, None, "sim");
        let ports = Ports {
            connection: Connection {
                http: network::client(network, kill.clone()),
                sleep: SharedAsyncSleep::new(TokioSleep::new()),
                time: SharedTimeSource::new(time),
                account: account(SharedCredentialsProvider::new(credentials)),
                calls: CallLog::default(),
            },
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            terminal: false,
            answers: None,
            screen: || None,
            progress: || None,
            seed,
            interrupts,
        };
        Self { ports, stdout, stderr, kill, _interrupter: interrupter }
    }

    /// Runs a command, given without the program's name, to its end, or until it is killed.
    ///
    /// # Panics
    /// When the words are no command line.
    pub async fn run(self, words: &[&str]) -> Ended {
        let words = [&["spotblock"], words].concat();
        let cli = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let code = tokio::select! {
            biased;
            () = self.kill.reached() => None,
            code = Box::pin(spotblock::run(cli, self.ports)) => Some(code),
        };
        Ended { code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

/// The account of a caller with these credentials. Its endpoint is nowhere: the network is
/// simulated.
#[must_use]
pub fn account(credentials: SharedCredentialsProvider) -> Account {
    Account::Given { credentials, endpoint: "http://cloud.invalid".to_owned() }
}
