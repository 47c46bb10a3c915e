//! The provisioner's real program: its command line, its SDK code, and everything between them, on simulated time.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use clap::Parser as _;
use fastrand::Rng;
use jiff::Timestamp;
use localcloud_core::Request;
use localcloud_core::protocol::sdk;
use spotblock::args::Cli;
use spotblock::aws::Account;
use spotblock::aws::calls::CallLog;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;

use crate::mutant::{self, Mutant};
use crate::trouble::{Caller, Kind};
use crate::world::World;

/// Where a run is killed: at its nth call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Before it has an effect.
    Before(usize),
    /// After it has had its effect.
    After(usize),
}

/// What befalls a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mishap {
    /// Where it is killed.
    pub kill: Option<Kill>,
    /// How many of a hundred of its calls go wrong, and how.
    pub trouble: Option<(u8, Kind)>,
}

/// What a run left.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Its command line.
    pub words: Vec<String>,
    /// Its exit code; `None` when it was killed.
    pub code: Option<u8>,
    /// Its result.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// What it changed at AWS, in order.
    pub changes: Vec<Change>,
}

/// A call that changes something, and that AWS took or may have taken.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The operation, as far as the request tells it: EC2's action, or a method and a path.
    pub operation: String,
    /// The request's body.
    pub body: String,
}

/// Runs a command to its end, or until it is killed.
///
/// # Panics
/// When the command line is none.
pub async fn run(world: &Arc<World>, config: &Path, words: &[&str], mishap: Mishap, seed: u64) -> Run {
    let (command, rest) = words.split_first().unwrap_or((&"status", &[]));
    let config = config.to_string_lossy();
    let all = [&["spotblock", command, "--config", &config][..], rest].concat();
    let cli = Cli::try_parse_from(&all).unwrap_or_else(|error| panic!("{all:?}: {error}"));
    let killed = Arc::new(Notify::new());
    let changes = Arc::<Mutex<Vec<Change>>>::default();
    let connector = Connector {
        world: Arc::clone(world),
        command: (*command).to_owned(),
        now: words.contains(&"--now"),
        seed,
        mishap,
        dice: Arc::new(Mutex::new(Rng::with_seed(seed))),
        count: Arc::default(),
        killed: Arc::clone(&killed),
        changes: Arc::clone(&changes),
    };
    let connector = SharedHttpConnector::new(connector);
    let (result, said) = (Shared::default(), Shared::default());
    // Kept until the end, so that nobody interrupts.
    let (_interrupter, interrupts) = unbounded_channel();
    let credentials = Credentials::new("AKIASIMULATION", "secret", None, None, "sim");
    let ports = spotblock::Ports {
        http: http_client_fn(move |_, _| connector.clone()),
        sleep: SharedAsyncSleep::new(TokioSleep::new()),
        time: SharedTimeSource::new(mutant::clock(world, command)),
        account: Account::Given {
            credentials: SharedCredentialsProvider::new(credentials),
            endpoint: "http://cloud.invalid".to_owned(),
        },
        calls: CallLog::default(),
        stdout: Box::new(result.clone()),
        stderr: Box::new(said.clone()),
        terminal: false,
        answers: None,
        screen: || None,
        progress: || None,
        seed,
        interrupts,
    };
    let code = tokio::select! {
        biased;
        () = killed.notified() => None,
        code = Box::pin(spotblock::run(cli, ports)) => Some(code),
    };
    world.note(format!("spotblock {}: {}", words.join(" "), code.map_or("killed".to_owned(), |code| code.to_string())));
    let changes = std::mem::take(&mut *changes.lock().unwrap_or_else(PoisonError::into_inner));
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let run = Run { words, code, stdout: result.text(), stderr: said.text(), changes };
    world.state().runs.push(run.clone());
    run
}

/// The HTTP client: the core in place of a network.
#[derive(Clone)]
struct Connector {
    world: Arc<World>,
    command: String,
    now: bool,
    seed: u64,
    mishap: Mishap,
    dice: Arc<Mutex<Rng>>,
    count: Arc<AtomicUsize>,
    killed: Arc<Notify>,
    changes: Arc<Mutex<Vec<Change>>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the local cloud's core")
    }
}

impl Connector {
    async fn killed_at(&self, kill: Kill) {
        if self.mishap.kill == Some(kill) {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// `--now` asks for what is a broken promise otherwise.
    fn at_once(&self, request: &Request) {
        let body = String::from_utf8_lossy(&request.body);
        if self.now && body.starts_with("Action=TerminateInstances") {
            let mut state = self.world.state();
            let named = state.hosts.iter_mut().filter(|host| body.contains(host.instance.as_str()));
            named.for_each(|host| host.at_once = true);
        }
    }

    fn trouble(&self) -> Option<Kind> {
        let (percent, kind) = self.mishap.trouble?;
        let hit = self.dice.lock().unwrap_or_else(PoisonError::into_inner).u8(0..100) < percent;
        hit.then_some(kind)
    }

    fn note(&self, request: &Request, taken: bool) {
        let body = String::from_utf8_lossy(&request.body);
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        let operation = action.map_or_else(|| format!("{} {}", request.method, request.path), str::to_owned);
        let reads = ["Describe", "Get", "List", "Simulate", "GET ", "POST /v1/describe", "POST /v1/list"];
        if taken && request.service() != "ecs" && !reads.iter().any(|read| operation.starts_with(read)) {
            let change = Change { at: self.world.now(), operation, body: body.into_owned() };
            self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        }
    }

    async fn answer(self, request: Request) -> Result<HttpResponse, ConnectorError> {
        let request = mutant::spoilt(self.world.mutant, self.seed, request);
        let nth = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.killed_at(Kill::Before(nth)).await;
        if let Some(told) = mutant::swallows(self.world.mutant, &self.command, &request) {
            return sdk::response(told);
        }
        self.at_once(&request);
        let answer = match self.trouble() {
            Some(kind) => self.world.spoiled(Caller::User, &request, Some(kind)).await,
            None => self.world.request(Caller::User, &request).await,
        };
        // Where the answer is lost it may have been taken.
        self.note(&request, answer.as_ref().map_or(true, |response| response.status < 300));
        let twice = if self.world.mutant == Some(Mutant::BuysTwice) { mutant::again(&request.body) } else { None };
        if let Some(body) = twice {
            let _ = self.world.request(Caller::User, &Request { body, ..request }).await;
        }
        self.killed_at(Kill::After(nth)).await;
        match answer {
            Ok(response) => sdk::response(response),
            Err(_) => Err(ConnectorError::io("the connection was cut".into())),
        }
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(sdk::request(&request)))
    }
}

/// An output that is read afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
