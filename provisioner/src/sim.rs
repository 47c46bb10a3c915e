//! The whole program on simulated time, against the local cloud's core, in one process: its real SDK code, an HTTP
//! client that hands requests to the core, tokio's paused clock for time and sleep.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_async::time::{SharedTimeSource, TimeSource as _};
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use clap::Parser as _;
use jiff::Timestamp;
use localcloud_core::cloud::faults::Delivery;
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Caller, Cloud, Effect, Options, Request, Response, ec2};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Ports;
use crate::args::Cli;
use crate::aws::{Account, Connection};
use crate::testing::{EXAMPLE, SimulatedTime};
use connector::Connector;
use output::{Head, Shared};
use pause::Pause;

mod at_once;
mod beside;
mod blind;
mod capacity_block;
mod capacity_extension;
mod connector;
mod consent;
mod crash;
mod defence;
mod denied;
mod doctor;
mod drift;
mod errors;
mod extend;
mod faults;
mod foreign;
mod jobs;
mod json;
mod ladder;
mod ladder_crash;
mod lives;
mod logs;
mod messages;
mod output;
mod pause;
mod policies;
mod prices;
mod reap;
mod reservation;
mod scale;
mod snapshot;
mod status;
mod stop;
mod template;

/// Instead of an answer: nobody is there.
const NOBODY: &str = "\0";

/// Instead of an answer: somebody is there and says nothing.
pub(crate) const SILENCE: &str = "\x01";

/// How long an instance takes from its launch to its registration.
const BOOT: Duration = Duration::from_secs(4);

/// A cloud on simulated time, with nodes that do nothing but register.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    time: SimulatedTime,
    config: Arc<tempfile::NamedTempFile>,
    seed: Arc<std::sync::atomic::AtomicU64>,
    credentials: SharedCredentialsProvider,
    printed: Arc<Mutex<Shared>>,
    asks: Option<&'static str>,
    /// Whether stderr is a terminal.
    terminal: bool,
    /// How many writes to stdout are read before its reader goes.
    reads: usize,
}

struct State {
    cloud: Cloud,
    booting: Vec<(String, Timestamp)>,
    /// How many of the next instances come up without a working agent.
    broken: usize,
    /// Calls get no answer at all.
    unreachable: bool,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Where a run is killed: at its nth call, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    Before(usize),
    After(usize),
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_config(options, EXAMPLE)
    }

    pub(crate) fn with_config(options: Options, config: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), config).expect("written");
        let state = State { cloud: Cloud::new(options), booting: Vec::new(), broken: 0, unreachable: false };
        Self {
            state: Arc::new(Mutex::new(state)),
            time: SimulatedTime::start(),
            config: Arc::new(file),
            seed: Arc::default(),
            printed: Arc::default(),
            asks: None,
            terminal: false,
            reads: usize::MAX,
            credentials: SharedCredentialsProvider::new(Credentials::new(
                "AKIASIMULATION",
                "secret",
                None,
                None,
                "sim",
            )),
        }
    }

    /// The same world for somebody with other credentials.
    pub(crate) fn with_credentials(self, credentials: SharedCredentialsProvider) -> Self {
        Self { credentials, ..self }
    }

    /// The same world where `up` is not told `--yes`: it asks, and this is the answer; `None` where nobody can answer.
    pub(crate) fn asking(self, answer: Option<&'static str>) -> Self {
        Self { asks: Some(answer.unwrap_or(NOBODY)), ..self }
    }

    /// The same world where somebody looks at stderr.
    pub(crate) fn on_a_terminal(self) -> Self {
        Self { terminal: true, ..self }
    }

    /// The same world where stdout is read by somebody like `head`, who goes after so many writes.
    pub(crate) fn read_by_head(self, reads: usize) -> Self {
        Self { reads, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::try_from(self.time.now()).expect("a time")
    }

    pub(crate) fn cloud<T>(&self, change: impl FnOnce(&mut Cloud) -> T) -> T {
        change(&mut self.state().cloud)
    }

    /// What the last run printed as its result, killed or not.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().expect("not poisoned").text()
    }

    /// The next `count` instances never join.
    pub(crate) fn break_instances(&self, count: usize) {
        self.state().broken = count;
    }

    pub(crate) fn cut_off(&self) {
        self.state().unreachable = true;
    }

    /// A call that somebody else makes by hand, to EC2 or IAM; gives the answer's XML.
    pub(crate) fn by_hand(&self, service: &str, form: &str) -> String {
        self.send(service, "/", form)
    }

    /// The same, to Batch.
    pub(crate) fn batch_by_hand(&self, operation: &str, body: &serde_json::Value) -> String {
        self.send("batch", &format!("/v1/{}", operation.to_lowercase()), &body.to_string())
    }

    fn send(&self, service: &str, path: &str, body: &str) -> String {
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIAHAND/20261124/us-east-1/{service}/aws4_request");
        let request = Request {
            method: "POST".into(),
            path: path.into(),
            query: String::new(),
            headers: vec![("authorization".to_owned(), format!("{scope}, SignedHeaders=host, Signature=0"))],
            body: body.into(),
        };
        let now = self.now();
        let (response, _) = self.state().answer(&request, now);
        let text = String::from_utf8(response.body).expect("text");
        assert_eq!(response.status, 200, "{body}: {text}");
        text
    }

    /// Registers an instance with a cluster, as its ECS agent would.
    pub(crate) fn register(&self, instance: &str, cluster: &str) {
        let now = self.now();
        self.cloud(|cloud| cloud.handle(&registration(instance, cluster), now));
    }

    /// The state of every capacity reservation, in the order of their creation.
    pub(crate) fn reservations(&self) -> Vec<String> {
        let xml = self.by_hand("ec2", "Action=DescribeCapacityReservations");
        let state = |part: &str| part.split("</state>").next().unwrap_or_default().to_owned();
        xml.split("<state>").skip(1).map(state).collect()
    }

    /// Every instance that can be described: what it is, where, its state, whether it is in the cluster.
    pub(crate) fn instances(&self) -> Vec<String> {
        let mut all: Vec<String> = self.launched().iter().filter_map(|id| self.instance(id)).collect();
        all.sort();
        all
    }

    fn instance(&self, id: &str) -> Option<String> {
        self.cloud(|cloud| {
            let joined = |event: &&localcloud_core::Event| matches!(&event.what, What::Joined { instance, .. } if instance == id);
            let joined = cloud.events().iter().filter(joined).count();
            let it = ec2::instance(cloud, id)?;
            let placed = it.placed();
            Some(format!(
                "{} {} {} {:?} {:?} joined {joined} times",
                it.image().id, it.instance_type().name, placed.subnet, placed.groups, it.state
            ))
        })
    }

    /// The ids of all instances that were ever launched, in order.
    pub(crate) fn launched(&self) -> Vec<String> {
        let of = |event: &localcloud_core::Event| match &event.what {
            What::Launched { instance, .. } => Some(instance.clone()),
            _ => None,
        };
        self.cloud(|cloud| cloud.events().iter().filter_map(of).collect())
    }

    /// How many instances live.
    pub(crate) fn alive(&self) -> usize {
        let launched = self.launched();
        self.cloud(|cloud| launched.iter().filter_map(|id| ec2::instance(cloud, id)).filter(|it| it.alive()).count())
    }

    pub(crate) async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.settle();
    }

    /// In steps of a second, so that what happens brings about what follows in time.
    pub(crate) async fn pass_slowly(&self, duration: Duration) {
        for _ in 0..duration.as_secs() {
            self.pass(Duration::from_secs(1)).await;
        }
    }

    /// Lets what is due happen.
    fn settle(&self) {
        let (mut state, now) = (self.state(), self.now());
        state.cloud.advance(now);
        state.boot(now);
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Run {
        self.run_until(arguments, None).await.expect("it is not killed")
    }

    /// Runs a command; `None` when it was killed.
    pub(crate) async fn run_until(&self, arguments: &[&str], kill: Option<Kill>) -> Option<Run> {
        // Kept until the end, so that nobody interrupts.
        let (_interrupter, interrupts) = unbounded_channel();
        self.run_with(arguments, kill, interrupts).await
    }

    async fn run_with_pause(&self, arguments: &[&str], pause: Pause) -> Run {
        let (_interrupter, interrupts) = unbounded_channel();
        self.start(arguments, None, interrupts, pause).await.expect("it is not killed")
    }

    /// The same with somebody who may interrupt it.
    pub(crate) async fn run_with(
        &self,
        arguments: &[&str],
        kill: Option<Kill>,
        interrupts: UnboundedReceiver<()>,
    ) -> Option<Run> {
        self.start(arguments, kill, interrupts, Pause::before_or_after(None)).await
    }

    async fn start(
        &self,
        arguments: &[&str],
        kill: Option<Kill>,
        interrupts: UnboundedReceiver<()>,
        pause: Pause,
    ) -> Option<Run> {
        let config = self.config.path().to_str().expect("a path");
        let (command, rest) = arguments.split_first().expect("a command");
        let own = if rest.contains(&"--config") { &[][..] } else { &["--config", config] };
        let yes = if *command == "up" && self.asks.is_none() { &["--yes"][..] } else { &[] };
        let all = [&["spotblock", command], own, yes, rest].concat();
        let cli = Cli::try_parse_from(all).expect("a command line");
        let (out, err) = (Shared::default(), Shared::default());
        *self.printed.lock().expect("not poisoned") = out.clone();
        let killed = Arc::new(Notify::new());
        let connector = Connector {
            world: self.clone(),
            kill,
            count: Arc::default(),
            killed: killed.clone(),
            pause: pause.clone(),
        };
        let connector = SharedHttpConnector::new(connector);
        let ports = Ports {
            connection: Connection {
                http: http_client_fn(move |_, _| connector.clone()),
                sleep: SharedAsyncSleep::new(pause),
                time: SharedTimeSource::new(self.time),
                account: Account::Given {
                    credentials: self.credentials.clone(),
                    endpoint: "http://cloud.invalid".to_owned(),
                },
                calls: crate::aws::calls::CallLog::default(),
            },
            stdout: Box::new(Head { left: self.reads, to: out.clone() }),
            stderr: Box::new(err.clone()),
            terminal: self.terminal,
            answers: self.asks.filter(|answer| *answer != NOBODY).map(|answer| -> crate::terminal::Answers {
                Box::new(move || match answer {
                    SILENCE => Box::pin(std::future::pending()),
                    _ => Box::pin(std::future::ready(answer.to_owned())),
                })
            }),
            screen: || None,
            progress: || None,
            seed: self.seed.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            interrupts,
        };
        let code = tokio::select! {
            code = crate::run(cli, ports) => code,
            () = killed.notified() => return None,
        };
        Some(Run { code, stdout: out.text(), stderr: err.text() })
    }

    /// The calls of one operation that the program made and the cloud accepted.
    pub(crate) fn accepted(&self, operation: &str) -> Vec<Call> {
        let is = |call: &&Call| call.operation == operation && call.error.is_none() && call.caller == Caller::User;
        self.cloud(|cloud| cloud.calls().iter().filter(is).cloned().collect())
    }

    /// The operations of all calls since the nth that may change something.
    pub(crate) fn changing(&self, since: usize) -> Vec<String> {
        let user = |call: &&Call| call.caller == Caller::User && !call.only_reads();
        self.cloud(|cloud| cloud.calls()[since..].iter().filter(user).map(|call| call.operation.clone()).collect())
    }

    /// The operations of all calls so far that no instance made.
    pub(crate) fn operations_of_users(&self) -> Vec<String> {
        let user = |call: &&Call| call.caller == Caller::User;
        self.cloud(|cloud| cloud.calls().iter().filter(user).map(|call| call.operation.clone()).collect())
    }

    pub(crate) fn calls_of_users(&self) -> usize {
        self.operations_of_users().len()
    }

    pub(crate) fn calls(&self) -> usize {
        self.cloud(|cloud| cloud.calls().len())
    }
}

impl State {
    fn answer(&mut self, request: &Request, now: Timestamp) -> (Response, Delivery) {
        self.cloud.advance(now);
        self.boot(now);
        let answer = self.cloud.answer(request, now);
        self.boot(now);
        (answer.response, answer.delivery)
    }

    /// Nodes begin to boot, and those that are done register under the cluster in their user data.
    fn boot(&mut self, now: Timestamp) {
        for effect in self.cloud.take_effects() {
            if let Effect::StartNode { instance } = effect {
                if self.broken > 0 || !ec2::carries_agent(&self.cloud, &instance) {
                    self.broken = self.broken.saturating_sub(1);
                    continue;
                }
                self.booting.push((instance, now + jiff::SignedDuration::try_from(BOOT).expect("short")));
            }
        }
        let (ready, booting) = self.booting.drain(..).partition(|(_, at)| *at <= now);
        self.booting = booting;
        for (instance, _) in ready {
            if let Some(cluster) = self.cluster(&instance) {
                self.cloud.handle(&registration(&instance, &cluster), now);
            }
        }
    }

    /// The cluster that the agent would read out of its instance's user data, if it lives that long.
    fn cluster(&self, instance: &str) -> Option<String> {
        let it = ec2::instance(&self.cloud, instance).filter(|it| it.alive())?;
        let text = String::from_utf8(it.user_data()?.to_vec()).expect("text");
        Some(node_contract::user_data::extract(&text).expect("settings that the agent can read").cluster)
    }
}

/// What a node's ECS agent sends.
fn registration(instance: &str, cluster: &str) -> Request {
    let key = format!("ASIANODE{}", instance.trim_start_matches("i-").to_uppercase());
    let document = serde_json::json!({"instanceId": instance}).to_string();
    let resources = serde_json::json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": 1024},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 900},
    ]);
    let body = serde_json::json!({
        "cluster": cluster, "instanceIdentityDocument": document, "totalResources": resources,
    });
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Request {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![
            header(
                "authorization",
                &format!(
                    "AWS4-HMAC-SHA256 Credential={key}/20261124/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=0"
                ),
            ),
            header("content-type", "application/x-amz-json-1.1"),
            header("x-amz-target", "AmazonEC2ContainerServiceV20141113.RegisterContainerInstance"),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// The example's file, for tests that change it.
pub(crate) fn example_with(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "the example has {from:?}");
    EXAMPLE.replacen(from, to, 1)
}

/// A path that is never there, for commands that write.
pub(crate) fn fresh_path(folder: &Path) -> String {
    folder.join("spotblock.toml").to_str().expect("a path").to_owned()
}
