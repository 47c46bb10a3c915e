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
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use clap::Parser as _;
use localcloud::core::{Request, Response};
use spotblock::args::Cli;
use spotblock::aws::Account;
use spotblock::aws::calls::CallLog;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;

use crate::mutant::{self, Mutant};
use crate::trouble::Caller;
use crate::world::World;

/// Where a run is killed: at its nth call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Before it has an effect.
    Before(usize),
    /// After it has had its effect.
    After(usize),
}

/// What a run left.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` when it was killed.
    pub code: Option<u8>,
    /// What it said.
    pub stderr: String,
}

/// Runs a command to its end, or until it is killed.
///
/// # Panics
/// When the command line is none.
pub async fn run(world: &Arc<World>, config: &Path, words: &[&str], kill: Option<Kill>, seed: u64) -> Run {
    let (command, rest) = words.split_first().unwrap_or((&"status", &[]));
    let config = config.to_string_lossy();
    let all = [&["spotblock", command, "--config", &config][..], rest].concat();
    let cli = Cli::try_parse_from(&all).unwrap_or_else(|error| panic!("{all:?}: {error}"));
    let killed = Arc::new(Notify::new());
    let connector = Connector { world: Arc::clone(world), kill, count: Arc::default(), killed: Arc::clone(&killed) };
    let connector = SharedHttpConnector::new(connector);
    let said = Shared::default();
    // Kept until the end, so that nobody interrupts.
    let (_interrupter, interrupts) = unbounded_channel();
    let credentials = Credentials::new("AKIASIMULATION", "secret", None, None, "sim");
    let ports = spotblock::Ports {
        http: http_client_fn(move |_, _| connector.clone()),
        sleep: SharedAsyncSleep::new(TokioSleep::new()),
        time: SharedTimeSource::new(world.time),
        account: Account::Given {
            credentials: SharedCredentialsProvider::new(credentials),
            endpoint: "http://cloud.invalid".to_owned(),
        },
        calls: CallLog::default(),
        stdout: Box::new(std::io::sink()),
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
    Run { code, stderr: said.text() }
}

/// The HTTP client: the core in place of a network.
#[derive(Clone)]
struct Connector {
    world: Arc<World>,
    kill: Option<Kill>,
    count: Arc<AtomicUsize>,
    killed: Arc<Notify>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the local cloud's core")
    }
}

impl Connector {
    async fn killed_at(&self, kill: Kill) {
        if self.kill == Some(kill) {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn answer(self, request: Request) -> Result<HttpResponse, ConnectorError> {
        let nth = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.killed_at(Kill::Before(nth)).await;
        let answer = self.world.request(Caller::User, &request).await;
        let twice = if self.world.mutant == Some(Mutant::BuysTwice) { mutant::again(&request.body) } else { None };
        if let Some(body) = twice {
            let _ = self.world.request(Caller::User, &Request { body, ..request }).await;
        }
        self.killed_at(Kill::After(nth)).await;
        match answer {
            Ok(response) => to_sdk(response),
            Err(_) => Err(ConnectorError::io("the connection was cut".into())),
        }
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(of_sdk(&request)))
    }
}

fn of_sdk(request: &HttpRequest) -> Request {
    let uri = request.uri();
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let target = rest.find(['/', '?']).map_or("/", |at| &rest[at..]);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: request.method().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: request.headers().iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: request.body().bytes().unwrap_or_default().to_vec(),
    }
}

fn to_sdk(response: Response) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(response.status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut answer = HttpResponse::new(status, SdkBody::from(response.body));
    for (name, value) in response.headers {
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
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
