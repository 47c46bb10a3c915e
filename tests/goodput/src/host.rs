//! One instance: its tasks, and the agent that steps through its life.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use node_contract::{End, NodeConfig, Options, Source, Timeline, VERSION};
use spotblock_agent::lifecycle::{
    Action, Event, InstanceStatus, OnHost, Outcome, Registration, Rules, State, Survey, spread_of,
};

use crate::policy::STOP_LEAD;

/// How long a task takes to stop after it was asked to, in seconds.
const STOPS_WITHIN: i64 = 10;

/// How long a host takes to go down, in seconds. It is paid for.
const GOES_DOWN_WITHIN: i64 = 20;

/// How often the agent looks at its tasks, in seconds.
const LOOKS_EVERY: i64 = 5;

const CLUSTER: &str = "goodput";

/// A task on a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// The job's place in its stream.
    pub(crate) job: usize,
    /// When it ends by itself.
    pub(crate) ends_at: i64,
    /// When it is gone, since it was asked to stop.
    stopped_at: Option<i64>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// With its host, unasked.
    CutOff,
}

/// An instance.
pub(crate) struct Host {
    agent: Option<Agent>,
    pub(crate) launched: i64,
    joined: i64,
    /// From here on tasks are stopped.
    pub(crate) stop_at: i64,
    block_end: i64,
    pub(crate) seen: Seen,
    pub(crate) gone: Option<i64>,
}

/// What the agent sees of its host, and does to it.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) tasks: BTreeMap<String, Running>,
    registration: Option<Registration>,
    draining: bool,
    off: bool,
}

impl Host {
    /// An instance that is launched, joins and has to end at these seconds; with an agent of this
    /// drain lead, if any.
    pub(crate) fn new(
        name: &str,
        agent: Option<(u32, Options)>,
        launched: i64,
        joined: i64,
        block_end: i64,
    ) -> Self {
        let agent =
            agent.map(|(lead, options)| Agent::new(name, lead, options, launched, block_end));
        let stop_at = block_end - i64::from(STOP_LEAD);
        Self { agent, launched, joined, stop_at, block_end, seen: Seen::default(), gone: None }
    }

    /// Whether Batch may place tasks here.
    pub(crate) fn takes_tasks(&self, now: i64) -> bool {
        self.joined <= now && self.gone.is_none() && !self.seen.draining && !self.seen.off
    }

    pub(crate) fn place(&mut self, task: String, job: usize, ends_at: i64) {
        self.seen.tasks.insert(task, Running { job, ends_at, stopped_at: None });
    }

    /// A second of its life; gives what ended.
    pub(crate) fn live(&mut self, now: i64) -> Vec<(usize, Ended)> {
        if self.gone.is_some() || now < self.launched {
            return Vec::new();
        }
        let mut ended = self.seen.ended(now);
        if let Some(agent) = &mut self.agent {
            agent.live(now, self.joined <= now, &mut self.seen);
        }
        if self.seen.off || now >= self.block_end {
            ended.extend(self.go(now));
        }
        ended
    }

    /// Leaves at once.
    pub(crate) fn go(&mut self, now: i64) -> Vec<(usize, Ended)> {
        let down = if self.agent.is_some() { GOES_DOWN_WITHIN } else { 0 };
        self.gone = Some((now + down).min(self.block_end));
        std::mem::take(&mut self.seen.tasks)
            .into_values()
            .map(|task| (task.job, Ended::CutOff))
            .collect()
    }
}

impl Seen {
    fn ended(&mut self, now: i64) -> Vec<(usize, Ended)> {
        let mut ended = Vec::new();
        self.tasks.retain(|_, task| {
            if task.ends_at <= now {
                ended.push((task.job, Ended::Finished));
            } else if task.stopped_at.is_some_and(|at| at <= now) {
                ended.push((task.job, Ended::Stopped));
            } else {
                return true;
            }
            false
        });
        ended
    }

    fn stop(&mut self, task: Option<&str>, by: i64) {
        for (_, running) in
            self.tasks.iter_mut().filter(|(arn, _)| task.is_none_or(|task| task == *arn))
        {
            running.stopped_at = Some(running.stopped_at.map_or(by, |at| at.min(by)));
        }
    }

    /// Does what the agent asks for, which works at once here, and tells it so.
    fn act(&mut self, now: i64, action: Action) -> Option<Event> {
        let done = Outcome::Done;
        Some(match action {
            Action::StartEcsAgent => Event::EcsAgentStarted(done),
            Action::RepairEcsAgent(_) => Event::EcsAgentRepaired(done),
            Action::Warn { stop_at, .. } => Event::Warned { stop_at, outcome: done },
            Action::AnswerExtension(answer) => Event::ExtensionAnswered { answer, outcome: done },
            Action::SetDraining(of) => {
                self.draining = true;
                Event::DrainingSet { instance: of.instance, outcome: done }
            }
            Action::Survey { of, tasks } => Event::Surveyed(Ok(self.survey(of.instance, tasks))),
            Action::StopTask { task, .. } => {
                self.stop(Some(&task), now + STOPS_WITHIN);
                Event::TaskStopAsked { task, outcome: done }
            }
            Action::StopEcsAgent(_) => Event::EcsAgentStopped(done),
            Action::StopContainers { .. } => {
                self.stop(None, now);
                Event::ContainersStopped(done)
            }
            Action::FindRegistration(_) => Event::Found(Ok(self.registration.clone())),
            Action::Deregister(..) => Event::Deregistered(done),
            Action::PowerOff => {
                self.off = true;
                return None;
            }
        })
    }

    fn survey(&self, instance: String, asked: Vec<String>) -> Survey {
        let status = if self.draining { InstanceStatus::Draining } else { InstanceStatus::Active };
        let known = asked.into_iter().map(|arn| (arn, true));
        let live = self.tasks.keys().map(|arn| (arn.clone(), false));
        Survey { instance, status, pending: 0, tasks: known.chain(live).collect() }
    }
}

struct Agent {
    rules: Rules,
    state: State,
    /// When it looks next, and when it wants to be woken.
    next: i64,
    wake: Option<Timestamp>,
}

impl Agent {
    fn new(
        name: &str,
        drain_lead_secs: u32,
        options: Options,
        launched: i64,
        block_end: i64,
    ) -> Self {
        let config = NodeConfig {
            version: VERSION,
            block: "sb-0".into(),
            environment: CLUSTER.into(),
            region: "us-east-1".into(),
            cluster: CLUSTER.into(),
            source: Source::OnDemand,
            end: End::At(at(block_end)),
            early_reclaim_secs: 0,
            drain_lead_secs,
            stop_lead_secs: STOP_LEAD,
            stop_reason: None,
            options,
        };
        let state = State::new(Timeline::new(&config, at(launched)), at(launched));
        let idle_settle = SignedDuration::from_secs(6);
        let rules = Rules {
            cluster: CLUSTER.into(),
            config,
            warn_lead: None,
            idle_settle,
            spread: spread_of(name),
        };
        Self { rules, state, next: launched, wake: None }
    }

    fn live(&mut self, now: i64, joined: bool, host: &mut Seen) {
        if self.next <= now {
            self.next = now + LOOKS_EVERY;
            if joined && host.registration.is_none() {
                let registration =
                    Registration { instance: "arn:own".into(), cluster: CLUSTER.into() };
                host.registration = Some(registration.clone());
                self.hear(now, host, Event::Registered(registration));
            }
            let seen = host.tasks.keys().map(|arn| (arn.clone(), OnHost::Live)).collect();
            self.hear(now, host, Event::OnHost(Some(seen)));
        } else if self.wake.is_some_and(|wake| wake <= at(now)) {
            self.hear(now, host, Event::Tick);
        }
    }

    fn hear(&mut self, now: i64, host: &mut Seen, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let (state, actions) = self.rules.step(&self.state, at(now), event);
            self.state = state;
            events.extend(actions.into_iter().filter_map(|action| host.act(now, action)));
            if events.is_empty() && self.rules.is_restless(&self.state, at(now)) {
                events.push_back(Event::Tick);
            }
        }
        self.wake = self.rules.wake_at(&self.state, at(now));
    }
}

/// The moment so many seconds after the first block's start.
fn at(secs: i64) -> Timestamp {
    const START: i64 = 1_800_000_000;
    Timestamp::from_second(START + secs).unwrap_or(Timestamp::MAX)
}
