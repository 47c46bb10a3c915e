//! One light node: when it registers, drains, stops its tasks and leaves, and what becomes of its
//! tasks. It decides; what it wants done it gives as a [`Wish`], one at a time.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, OnRebalance, Timeline};

use super::Info;
use crate::hosts::behaviour::{Behaviour, OnTerm};
use crate::journal::effect::Container;

/// How long it waits before it tries again what failed.
const RETRY: SignedDuration = SignedDuration::from_secs(1);
/// How long a container takes from its task's arrival to its start.
const CREATION: SignedDuration = SignedDuration::from_millis(100);
/// The ECS agent's default between SIGTERM and SIGKILL.
const STOP_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);
/// How often the agent looks at its container instance's status, in milliseconds.
const LOOK_MS: u64 = 15_000;
/// How often it looks at the tag that moves its block's end, in milliseconds.
const TAG_MS: u64 = 30_000;

/// Something that it wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Wish {
    Register {
        cluster: String,
        block: String,
        end: Timestamp,
    },
    Drain {
        cluster: String,
        member: String,
    },
    /// Says what became of an extension.
    Answer {
        cluster: String,
        member: String,
        asked: Timestamp,
        end: Timestamp,
    },
    Stop {
        cluster: String,
        task: String,
        reason: String,
    },
    Report {
        cluster: String,
        task: String,
        container: String,
        status: &'static str,
        since: Timestamp,
        exit_code: Option<i32>,
        not_started: Option<String>,
    },
    Process {
        task: String,
        exit_code: Option<i32>,
    },
    PowerOff,
}

/// What it can see of itself in the cloud.
pub(crate) struct Outside {
    pub(crate) draining: bool,
    pub(crate) taken_at: Option<Timestamp>,
    pub(crate) rebalance: bool,
    /// The moment to which its block's end was moved.
    pub(crate) moved: Option<Timestamp>,
}

impl Outside {
    /// Whether there is anything to see.
    pub(crate) fn is_something(&self) -> bool {
        self.draining || self.rebalance || self.taken_at.is_some() || self.moved.is_some()
    }
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Registers at this moment.
    Joining(Timestamp),
    Serving,
    /// Takes no task; asks for DRAINING at this moment, unless that is done.
    Draining(Option<Timestamp>),
    Gone,
}

/// A light node.
pub(crate) struct Node {
    config: Option<NodeConfig>,
    timeline: Option<Timeline>,
    phase: Phase,
    member: Option<String>,
    tasks: BTreeMap<String, Task>,
    /// Since when no task has lived.
    idle_since: Timestamp,
    /// When DRAINING that somebody else asked for is noticed.
    notices_at: Option<Timestamp>,
    /// The extension that was asked for last, and when it is answered; none once that is done.
    extension: Option<(Timestamp, Option<Timestamp>)>,
    random: fastrand::Rng,
}

struct Task {
    container: String,
    behaviour: Behaviour,
    /// When its process begins, and when it ends; the code it ends with.
    begins: Timestamp,
    ends: Option<(Timestamp, Option<i32>)>,
    state: State,
    reports: VecDeque<Report>,
    /// Why its container can't begin.
    pull_error: Option<String>,
    /// When its end is asked for again; none once that is done.
    asks_stop: Option<Timestamp>,
    stop_asked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Running,
    Stopped,
}

struct Report {
    status: &'static str,
    since: Timestamp,
    exit_code: Option<i32>,
    not_started: Option<String>,
    /// Not before this, when it failed.
    again: Option<Timestamp>,
}

fn plus(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn millis(number: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Task {
    fn lives(&self) -> bool {
        self.state != State::Stopped
    }

    fn becomes(
        &mut self,
        state: State,
        status: &'static str,
        since: Timestamp,
        exit_code: Option<i32>,
    ) {
        self.state = state;
        self.reports.push_back(Report { status, since, exit_code, not_started: None, again: None });
    }

    fn changes_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Pending => Some(self.ends.map_or(self.begins, |(at, _)| at.min(self.begins))),
            State::Running => self.ends.map(|(at, _)| at),
            State::Stopped => None,
        }
    }

    fn reports_at(&self, report_ms: u64) -> Option<Timestamp> {
        self.reports
            .front()
            .map(|report| report.again.unwrap_or_else(|| plus(report.since, millis(report_ms))))
    }

    /// SIGTERM. One that has not begun ends without a code.
    fn stop(&mut self, now: Timestamp) {
        let by_itself = self.ends.map_or(Timestamp::MAX, |(at, _)| at);
        self.ends = match (self.state, self.behaviour.on_term) {
            (State::Stopped, _) => return,
            (State::Pending, _) => Some((now, None)),
            (State::Running, OnTerm::Die) => Some((now, Some(143))),
            (State::Running, OnTerm::Exit(code)) => Some((now, Some(code.into()))),
            (State::Running, OnTerm::Ignore) if by_itself > plus(now, STOP_TIMEOUT) => {
                Some((plus(now, STOP_TIMEOUT), Some(137)))
            }
            (State::Running, OnTerm::Ignore) => return,
        };
    }

    /// Its process begins or ends; gives what a host's record says of that.
    fn change(&mut self, arn: &str) -> Option<Wish> {
        let at = self.changes_at()?;
        let begins = self.state == State::Pending && self.ends.is_none();
        if let Some(why) = self.pull_error.take_if(|_| begins) {
            self.becomes(State::Stopped, "STOPPED", at, None);
            self.reports.back_mut()?.not_started = Some(why);
            return None;
        }
        if begins {
            let runs = SignedDuration::try_from_secs_f64(self.behaviour.seconds)
                .unwrap_or(SignedDuration::MAX);
            self.ends = Some((plus(at, runs), Some(self.behaviour.exit.into())));
            self.becomes(State::Running, "RUNNING", at, None);
            return Some(Wish::Process { task: arn.to_owned(), exit_code: None });
        }
        let code = self.ends.and_then(|(_, code)| code);
        self.becomes(State::Stopped, "STOPPED", at, code);
        code.map(|code| Wish::Process { task: arn.to_owned(), exit_code: Some(code) })
    }
}

impl Node {
    /// A node that registers a little after `start_ms`; one without settings never does.
    pub(crate) fn new(
        now: Timestamp,
        launched: Timestamp,
        config: Option<NodeConfig>,
        start_ms: u64,
        seed: u64,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let delay = start_ms + random.u64(0..=2 * start_ms);
        Self {
            timeline: config.as_ref().map(|config| Timeline::new(config, launched)),
            config,
            phase: Phase::Joining(plus(now, millis(delay))),
            member: None,
            tasks: BTreeMap::new(),
            idle_since: now,
            notices_at: None,
            extension: None,
            random,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.phase != Phase::Gone
    }

    pub(crate) fn info(&self, instance: &str) -> Info {
        let containers = if self.is_up() { self.living() } else { 0 };
        Info {
            instance: instance.to_owned(),
            up: self.is_up(),
            registered: self.member.is_some(),
            containers,
        }
    }

    fn living(&self) -> usize {
        self.tasks.values().filter(|task| task.lives()).count()
    }

    /// The host is gone, with all that ran on it.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Gone;
    }

    /// Takes a task on a host of this architecture.
    pub(crate) fn run_task(
        &mut self,
        now: Timestamp,
        arn: &str,
        container: &Container,
        architecture: &str,
    ) {
        let behaviour = Behaviour::of(container);
        let mut task = Task {
            container: container.name.clone(),
            pull_error: behaviour.pull_error(architecture),
            behaviour,
            begins: plus(now, CREATION),
            ends: None,
            state: State::Pending,
            reports: VecDeque::new(),
            asks_stop: None,
            stop_asked: false,
        };
        task.becomes(State::Pending, "PENDING", now, None);
        self.tasks.entry(arn.to_owned()).or_insert(task);
    }

    pub(crate) fn stop_task(&mut self, now: Timestamp, arn: &str) {
        if let Some(task) = self.tasks.get_mut(arn) {
            task.stop(now);
        }
    }

    /// Takes in what the agent would find out by itself.
    pub(crate) fn sees(&mut self, now: Timestamp, outside: &Outside) {
        let (Some(config), Some(timeline)) = (&self.config, self.timeline) else { return };
        let mut new = timeline;
        if let Some(moved) = outside.moved.filter(|_| self.phase == Phase::Serving) {
            if self.extension.is_none_or(|(asked, _)| asked != moved) {
                self.extension = Some((moved, Some(plus(now, millis(self.random.u64(0..TAG_MS))))));
            }
            let moved = Timeline::moved_to(config, timeline.start, moved);
            if moved.end > new.end {
                new = moved;
            }
        }
        if let Some(taken_at) =
            outside.taken_at.filter(|taken_at| *taken_at < new.end || now < new.stop_at)
        {
            new = new.interrupted(now, taken_at);
        }
        let drains = outside.rebalance && config.options.on_rebalance == OnRebalance::Drain;
        if drains && self.phase == Phase::Serving {
            new.drain_at = new.drain_at.min(now);
        }
        self.timeline = Some(new);
        if outside.draining && self.phase == Phase::Serving && self.notices_at.is_none() {
            self.notices_at = Some(plus(now, millis(self.random.u64(0..LOOK_MS))));
        }
    }

    /// When it has something to do next.
    pub(crate) fn due(&self, report_ms: u64) -> Option<Timestamp> {
        let timeline = self.timeline.filter(|_| self.is_up())?;
        let of_task = |task: &Task| {
            let stop = if task.stop_asked {
                None
            } else {
                Some(task.asks_stop.unwrap_or(timeline.stop_at))
            };
            let stop = stop.filter(|_| task.lives());
            [task.changes_at(), task.reports_at(report_ms), stop].into_iter().flatten().min()
        };
        let tasks = self.tasks.values().filter_map(of_task).min();
        let own = match self.phase {
            Phase::Joining(at) => Some(at),
            Phase::Serving => {
                let answer = self.extension.and_then(|(_, at)| at);
                answer.into_iter().chain([self.drains_at(timeline)]).min()
            }
            Phase::Draining(Some(at)) => Some(at),
            Phase::Draining(None) => self.is_empty().then_some(self.idle_since),
            Phase::Gone => None,
        };
        [tasks, own, Some(timeline.end)].into_iter().flatten().min()
    }

    fn drains_at(&self, timeline: Timeline) -> Timestamp {
        let idle = self.config.as_ref().and_then(|config| config.options.release_when_idle_secs);
        let idle = idle.filter(|_| self.is_empty());
        let idle = idle.map(|secs| plus(self.idle_since, SignedDuration::from_secs(secs.into())));
        [Some(timeline.drain_at), self.notices_at, idle]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(timeline.drain_at)
    }

    /// Nothing lives, and ECS knows it.
    fn is_empty(&self) -> bool {
        self.tasks.values().all(|task| !task.lives() && task.reports.is_empty())
    }

    /// Does one thing that is due.
    pub(crate) fn step(&mut self, instance: &str, now: Timestamp, report_ms: u64) -> Option<Wish> {
        let (timeline, cluster) = (self.timeline?, self.config.as_ref()?.cluster.clone());
        if timeline.end <= now || self.phase == Phase::Draining(None) && self.is_empty() {
            return Some(Wish::PowerOff);
        }
        if let Phase::Joining(at) = self.phase
            && at <= now
        {
            let block = self.config.as_ref()?.block.clone();
            return Some(Wish::Register { cluster, block, end: timeline.end });
        }
        if let Some((arn, task)) =
            self.tasks.iter_mut().find(|(_, it)| it.changes_at().is_some_and(|at| at <= now))
        {
            return task.change(arn);
        }
        if let Some((arn, task)) =
            self.tasks.iter().find(|(_, it)| it.reports_at(report_ms).is_some_and(|at| at <= now))
        {
            let report = task.reports.front()?;
            return Some(Wish::Report {
                cluster,
                task: arn.clone(),
                container: task.container.clone(),
                status: report.status,
                since: report.since,
                exit_code: report.exit_code,
                not_started: report.not_started.clone(),
            });
        }
        let member = self.member.clone()?;
        if self.phase == Phase::Serving && self.drains_at(timeline) <= now {
            self.phase = Phase::Draining(Some(now));
        }
        if let Phase::Draining(Some(at)) = self.phase
            && at <= now
        {
            return Some(Wish::Drain { cluster, member });
        }
        if let Some((asked, Some(at))) = self.extension
            && self.phase == Phase::Serving
            && at <= now
        {
            return Some(Wish::Answer { cluster, member, asked, end: timeline.end });
        }
        let stops = |it: &&String| {
            let task = &self.tasks[*it];
            task.lives() && !task.stop_asked && task.asks_stop.unwrap_or(timeline.stop_at) <= now
        };
        let task = self.tasks.keys().find(stops)?.clone();
        let reason = format!("Host EC2 (instance {instance}) leaves: the block ends");
        let reason = self.config.as_ref()?.stop_reason.clone().unwrap_or(reason);
        Some(Wish::Stop { cluster, task, reason })
    }

    pub(crate) fn registered(&mut self, now: Timestamp, arn: Option<String>) {
        self.phase = if arn.is_some() { Phase::Serving } else { Phase::Joining(plus(now, RETRY)) };
        self.idle_since = now;
        self.member = arn;
    }

    pub(crate) fn drained(&mut self, now: Timestamp, done: bool) {
        self.phase = Phase::Draining((!done).then(|| plus(now, RETRY)));
    }

    pub(crate) fn answered(&mut self, now: Timestamp, of: Timestamp, done: bool) {
        if let Some((asked, at)) = &mut self.extension
            && *asked == of
        {
            *at = (!done).then(|| plus(now, RETRY));
        }
    }

    pub(crate) fn stop_asked(&mut self, now: Timestamp, arn: &str, done: bool) {
        if let Some(task) = self.tasks.get_mut(arn) {
            task.stop_asked = done;
            task.asks_stop = Some(plus(now, RETRY));
        }
    }

    pub(crate) fn reported(&mut self, now: Timestamp, arn: &str, done: bool) {
        let Some(task) = self.tasks.get_mut(arn) else { return };
        if done {
            task.reports.pop_front();
        } else if let Some(report) = task.reports.front_mut() {
            report.again = Some(plus(now, RETRY));
        }
        if self.is_empty() {
            self.idle_since = now;
        }
    }
}
