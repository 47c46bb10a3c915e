//! The world: AWS, the hosts, and what is wrong with them, on simulated time.
//!
//! Everything is behind one lock that is held for single calls and never over an await. The pump
//! ([`World::pump`]) lets happen what is due, and sleeps until the next thing is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::{Answered, LATENCY, SimulatedTime, Unanswered, deliver};
use jiff::{SignedDuration, Timestamp};
use localcloud_core::cloud::faults::Who;
use localcloud_core::journal::record::What;
use localcloud_core::{Cloud, Effect, Options, Request, ec2};
use tokio::sync::Notify;

use crate::host::{Host, Outside};
use crate::look_out;
use crate::mutant::Mutant;
use crate::process;
use crate::provision::Run;
use crate::trouble::{Caller, Kind, Troubles};

/// The longest that the pump sleeps.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// The world.
pub struct World {
    /// The only clock.
    pub time: SimulatedTime,
    /// What is wrong with the programs under test.
    pub mutant: Option<Mutant>,
    state: Mutex<State>,
    poke: Notify,
}

/// All that changes.
pub struct State {
    /// AWS.
    pub cloud: Cloud,
    /// The hosts, in the order of their launches.
    pub hosts: Vec<Host>,
    /// What is wrong with AWS.
    pub troubles: Troubles,
    /// What else happened, beside the cloud's own record.
    pub notes: Vec<(Timestamp, String)>,
    /// Killing points for agents' processes of hosts that are still to come, by the host's number.
    pub kills: Vec<(usize, Vec<(u32, bool)>)>,
    /// How long a block lasts from its launch on, by its settings.
    pub length: SignedDuration,
    /// What the provisioner's runs left, in the order of their ends.
    pub runs: Vec<Run>,
    /// Whether the first block came up.
    pub brought: bool,
    /// Whether schedules stand behind what `up` brought.
    pub secured: bool,
    /// Where somebody moved the ends of instances' blocks, furthest.
    pub moved: BTreeMap<String, Timestamp>,
    /// Promises that were seen broken at the very call.
    pub seen: Vec<String>,
    /// Whether everybody but the story's own `down` has stopped.
    pub over: bool,
}

impl World {
    /// A world without hosts and troubles.
    #[must_use]
    pub fn new(options: Options, mutant: Option<Mutant>) -> Arc<Self> {
        let troubles = Troubles::new(options.seed);
        let state = State {
            cloud: Cloud::new(options),
            hosts: Vec::new(),
            troubles,
            notes: Vec::new(),
            kills: Vec::new(),
            length: SignedDuration::ZERO,
            runs: Vec::new(),
            brought: false,
            secured: false,
            moved: BTreeMap::new(),
            seen: Vec::new(),
            over: false,
        };
        Arc::new(Self {
            time: SimulatedTime::start(),
            mutant,
            state: Mutex::new(state),
            poke: Notify::new(),
        })
    }

    /// All that changes, for one call.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// Writes down what happened.
    pub fn note(&self, what: impl Into<String>) {
        let now = self.now();
        self.state().notes.push((now, what.into()));
    }

    /// Something changed: what is due next may be due earlier.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Lets happen what is due, for ever.
    pub async fn pump(self: Arc<Self>) {
        loop {
            self.settle();
            let now = self.now();
            let next = self.state().next_due(now).unwrap_or(Timestamp::MAX).min(now + LONGEST);
            let sleep = tokio::time::sleep(
                now.duration_until(next).unsigned_abs() + Duration::from_millis(1),
            );
            tokio::select! {
                biased;
                () = self.poke.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// Lets happen what is due now.
    pub fn settle(self: &Arc<Self>) {
        let now = self.now();
        let born = self.state().advance(now);
        for number in born {
            tokio::spawn(process::supervise(Arc::clone(self), number));
        }
    }

    /// One call over the network.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request(self: &Arc<Self>, caller: Caller, request: &Request) -> Answered {
        tokio::time::sleep(LATENCY).await;
        let kind = self.state().troubles.strike(self.now(), caller, request.service());
        self.delivered(caller, request, kind).await
    }

    /// The same, and this goes wrong with it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn spoiled(
        self: &Arc<Self>,
        caller: Caller,
        request: &Request,
        kind: Option<Kind>,
    ) -> Answered {
        tokio::time::sleep(LATENCY).await;
        self.delivered(caller, request, kind).await
    }

    async fn delivered(
        self: &Arc<Self>,
        caller: Caller,
        request: &Request,
        kind: Option<Kind>,
    ) -> Answered {
        let now = self.now();
        let answer = {
            let mut state = self.state();
            let state = &mut *state;
            match kind {
                Some(Kind::Refuse) => return Err(Unanswered::Cut),
                Some(kind) => {
                    let who = if caller == Caller::User { Who::User } else { Who::Instance };
                    state.cloud.add_fault(kind.fault(who));
                }
                None => {}
            }
            let seen = look_out::before(state, now, caller, request);
            let answer = state.cloud.answer(request, now);
            if answer.response.status < 300 {
                state.seen.extend(seen);
                look_out::after(state, caller, request);
            }
            // Used up, or never needed: a call that fails before it is told apart must not leave it
            // for another one.
            if kind.is_some() {
                state.cloud.clear_faults();
            }
            answer
        };
        self.settle();
        self.poke();
        deliver(answer).await
    }

    /// A call that somebody makes by hand, whatever is wrong.
    ///
    /// # Errors
    /// AWS's answer, when it refuses.
    pub fn by_hand(
        self: &Arc<Self>,
        service: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<String, String> {
        let request = harness::by_hand(service, method, path, body);
        let now = self.now();
        let response = self.state().cloud.handle(&request, now);
        let text = String::from_utf8_lossy(&response.body).into_owned();
        self.settle();
        self.poke();
        if response.status < 300 { Ok(text) } else { Err(format!("{body}: {text}")) }
    }
}

impl State {
    /// Lets happen what is due, and gives the numbers of hosts that were born.
    fn advance(&mut self, now: Timestamp) -> Vec<usize> {
        let mut born = Vec::new();
        // What a host does can make something due at AWS, and the other way round.
        loop {
            self.cloud.advance(now);
            let effects = self.cloud.take_effects();
            let quiet = effects.is_empty();
            for effect in effects {
                born.extend(self.obey(now, effect));
            }
            let Self { cloud, hosts, troubles, .. } = self;
            for host in hosts.iter_mut() {
                host.advance(&mut Outside { cloud, troubles, now });
            }
            if quiet {
                return born;
            }
        }
    }

    fn obey(&mut self, now: Timestamp, effect: Effect) -> Option<usize> {
        match effect {
            // Somebody else's, of which nothing is looked at but whether it lives.
            Effect::StartNode { instance } if !ec2::carries_agent(&self.cloud, &instance) => {}
            Effect::StartNode { instance } => {
                let number = self.hosts.len();
                let mut host = Host::new(now, ec2::instance(&self.cloud, &instance)?, number);
                host.reclaimed = reclaimed(&self.cloud, &host.instance);
                if let Some(at) = self.kills.iter().position(|(of, _)| *of == number) {
                    host.kills = self.kills.swap_remove(at).1;
                }
                self.hosts.push(host);
                return Some(number);
            }
            Effect::EndNode { instance } => {
                if let Some(host) = self.host(&instance) {
                    host.ends(now);
                }
            }
            Effect::RunTask { instance, task, container } => {
                if let Some(host) = self.host(&instance) {
                    host.run_task(now, task, &container);
                }
            }
            Effect::StopTask { instance, task } => {
                if let Some(host) = self.host(&instance) {
                    host.stop_task(now, &task);
                }
            }
        }
        None
    }

    fn host(&mut self, instance: &str) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.instance == instance)
    }

    fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let report = SignedDuration::from_millis(self.cloud.options.pace.report_ms.cast_signed());
        let hosts = self.hosts.iter().filter_map(|host| host.due(report));
        hosts.chain(self.cloud.next_due(now)).min()
    }
}

/// When AWS takes it back, where it is in a capacity block.
fn reclaimed(cloud: &Cloud, id: &str) -> Option<Timestamp> {
    let in_block =
        ec2::instance(cloud, id).is_some_and(|it| it.market == ec2::Market::CapacityBlock);
    let launched = cloud.events().iter().rev().find_map(|event| match &event.what {
        What::Launched { instance, ends_at, .. } if instance == id => *ends_at,
        _ => None,
    });
    launched.filter(|_| in_block)
}
