//! A cloud on simulated time.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use harness::SimulatedTime;
use jiff::Timestamp;
use localcloud_core::cloud::Answer;
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Caller, Cloud, Options, Request, ec2};

use super::EXAMPLE;
use super::runs::NOBODY;

/// A cloud on simulated time, with nodes that do nothing but register.
#[derive(Clone)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    pub(super) time: SimulatedTime,
    pub(super) config: Arc<tempfile::NamedTempFile>,
    pub(super) seed: Arc<AtomicU64>,
    /// Somebody else's than the program's own.
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) printed: Arc<Mutex<String>>,
    pub(super) asks: Option<&'static str>,
    /// Whether stderr is a terminal.
    pub(super) terminal: bool,
    /// How many writes to stdout are read before its reader goes.
    pub(super) reads: usize,
}

pub(super) struct State {
    pub(super) cloud: Cloud,
    pub(super) booting: Vec<(String, Timestamp)>,
    /// How many of the next instances come up without a working agent.
    pub(super) broken: usize,
    /// Calls get no answer at all.
    pub(super) unreachable: bool,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self::with_config(options, EXAMPLE)
    }

    pub(crate) fn with_config(options: Options, config: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), config).expect("written");
        let state = State {
            cloud: Cloud::new(options),
            booting: Vec::new(),
            broken: 0,
            unreachable: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            time: SimulatedTime::start(),
            config: Arc::new(file),
            seed: Arc::default(),
            printed: Arc::default(),
            asks: None,
            terminal: false,
            reads: usize::MAX,
            credentials: None,
        }
    }

    /// The same world for somebody with other credentials.
    pub(crate) fn with_credentials(self, credentials: SharedCredentialsProvider) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// The same world where `up` is not told `--yes`: it asks, and this is the answer; `None` where
    /// nobody can answer.
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(crate) fn cloud<T>(&self, change: impl FnOnce(&mut Cloud) -> T) -> T {
        change(&mut self.state().cloud)
    }

    /// What the last run printed as its result, killed or not.
    pub(crate) fn printed(&self) -> String {
        self.printed.lock().expect("not poisoned").clone()
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

    pub(super) fn send(&self, service: &str, path: &str, body: &str) -> String {
        let request = harness::by_hand(service, "POST", path, body);
        let now = self.now();
        let response = self.state().answer(&request, now).response;
        let text = String::from_utf8(response.body).expect("text");
        assert_eq!(response.status, 200, "{body}: {text}");
        text
    }

    /// The state of every capacity reservation, in the order of their creation.
    pub(crate) fn reservations(&self) -> Vec<String> {
        let xml = self.by_hand("ec2", "Action=DescribeCapacityReservations");
        let state = |part: &str| part.split("</state>").next().unwrap_or_default().to_owned();
        xml.split("<state>").skip(1).map(state).collect()
    }

    /// Every instance that can be described: what it is, where, its state, whether it is in the
    /// cluster.
    pub(crate) fn instances(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.launched().iter().filter_map(|id| self.instance(id)).collect();
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
        self.cloud(|cloud| {
            launched
                .iter()
                .filter_map(|id| ec2::instance(cloud, id))
                .filter(|it| it.alive())
                .count()
        })
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

    /// The calls of one operation that the program made and the cloud accepted.
    pub(crate) fn accepted(&self, operation: &str) -> Vec<Call> {
        let is = |call: &&Call| {
            call.operation == operation && call.error.is_none() && call.caller == Caller::User
        };
        self.cloud(|cloud| cloud.calls().iter().filter(is).cloned().collect())
    }

    /// The operations of all calls since the nth that may change something.
    pub(crate) fn changing(&self, since: usize) -> Vec<String> {
        let user = |call: &&Call| call.caller == Caller::User && !call.only_reads();
        self.cloud(|cloud| {
            cloud.calls()[since..].iter().filter(user).map(|call| call.operation.clone()).collect()
        })
    }

    /// The operations of all calls so far that no instance made.
    pub(crate) fn operations_of_users(&self) -> Vec<String> {
        let user = |call: &&Call| call.caller == Caller::User;
        self.cloud(|cloud| {
            cloud.calls().iter().filter(user).map(|call| call.operation.clone()).collect()
        })
    }

    pub(crate) fn calls_of_users(&self) -> usize {
        self.operations_of_users().len()
    }

    pub(crate) fn calls(&self) -> usize {
        self.cloud(|cloud| cloud.calls().len())
    }
}

impl State {
    pub(super) fn answer(&mut self, request: &Request, now: Timestamp) -> Answer {
        self.cloud.advance(now);
        self.boot(now);
        let answer = self.cloud.answer(request, now);
        self.boot(now);
        answer
    }
}
