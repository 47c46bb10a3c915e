//! The node's containers: processes that sleep and end as the job's definition says.
//!
//! A job's command is never run. `sleep N` in it gives the seconds; four variables of the job's
//! environment say more:
//!
//! - `LOCALCLOUD_SECONDS`: how long the container runs (default: `N`, or 2 without such a command)
//! - `LOCALCLOUD_EXIT`: its exit code (default 0)
//! - `LOCALCLOUD_ON_TERM`: what it does on SIGTERM: `exit:CODE` or `ignore` (default: it dies of
//!   it)
//! - `LOCALCLOUD_PLATFORM`: the platforms that its image is for, such as `linux/arm64` (default:
//!   all); on another host it can't be pulled

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use localcloud_core::cloud::ec2;
use localcloud_core::hosts::behaviour::{Behaviour, OnTerm};
use localcloud_core::journal::effect::Container;

use crate::clock;
use crate::process::{Group, Leader, exit_code};
use crate::shared_cloud::SharedCloud;

/// Docker's code for a container that could not be started.
const NOT_STARTED: i32 = 127;

/// How long a container takes from its task's arrival to its start.
const CREATION: Duration = Duration::from_millis(100);

/// How far a task has come, as the host knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    Pending,
    Running,
    Stopped,
}

impl Known {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// One task on this host.
struct Task {
    container: String,
    family: String,
    revision: String,
    runtime_id: String,
    known: Known,
    /// The states that ECS has not been told yet, in order.
    unreported: VecDeque<Report>,
    wanted: watch::Sender<bool>,
    group: Option<Group>,
}

impl Task {
    fn becomes(&mut self, arn: &str, known: Known, exit_code: Option<i32>) {
        self.known = known;
        self.unreported.push_back(Report {
            task: arn.to_owned(),
            container: self.container.clone(),
            runtime_id: self.runtime_id.clone(),
            known,
            since: clock::now(),
            exit_code,
            not_started: None,
        });
    }
}

/// A state that ECS is to be told.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) task: String,
    pub(super) container: String,
    pub(super) runtime_id: String,
    pub(super) known: Known,
    /// Since when.
    pub(super) since: Timestamp,
    pub(super) exit_code: Option<i32>,
    /// Why its container never began.
    pub(super) not_started: Option<String>,
}

/// All tasks of one host.
pub(super) struct Containers {
    instance: String,
    state: Arc<Mutex<State>>,
    waiters: Mutex<Vec<JoinHandle<()>>>,
}

struct State {
    tasks: BTreeMap<String, Task>,
    stop_timeout: Duration,
    /// The host is gone: nothing starts any more.
    ended: bool,
}

impl Containers {
    pub(super) fn new(instance: &str) -> Self {
        let state =
            State { tasks: BTreeMap::new(), stop_timeout: Duration::from_secs(30), ended: false };
        Self {
            instance: instance.to_owned(),
            state: Arc::new(Mutex::new(state)),
            waiters: Mutex::default(),
        }
    }

    /// Takes the time between SIGTERM and SIGKILL that the ECS agent read at its start.
    pub(super) fn set_stop_timeout(&self, timeout: Duration) {
        self.lock().stop_timeout = timeout;
    }

    /// Takes a task and starts its container.
    pub(super) fn run(&self, cloud: &Arc<SharedCloud>, arn: &str, container: &Container) {
        let mut state = self.lock();
        if state.ended || state.tasks.contains_key(arn) {
            return;
        }
        let (wanted, wish) = watch::channel(true);
        let mut task = Task {
            container: container.name.clone(),
            family: container.family.clone(),
            revision: container.revision.clone(),
            runtime_id: format!("{:0>64}", arn.rsplit('/').next().unwrap_or_default()),
            known: Known::Pending,
            unreported: VecDeque::new(),
            wanted,
            group: None,
        };
        task.becomes(arn, Known::Pending, None);
        state.tasks.insert(arn.to_owned(), task);
        let life = Life {
            instance: self.instance.clone(),
            arn: arn.to_owned(),
            state: Arc::clone(&self.state),
            cloud: Arc::clone(cloud),
            wish,
        };
        let behaviour = Behaviour::of(container);
        let waiter = tokio::spawn(async move { life.live(&behaviour).await });
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(waiter);
    }

    /// A task is to stop: SIGTERM, and SIGKILL after the stop timeout.
    pub(super) fn stop(&self, arn: &str) {
        if let Some(task) = self.lock().tasks.get(arn) {
            task.wanted.send_replace(false);
        }
    }

    /// Stops all without the ECS agent, as `docker stop` does: SIGTERM, and SIGKILL after `grace`.
    /// Returns when all have ended.
    pub(super) async fn stop_all(&self, grace: Duration) {
        {
            let mut state = self.lock();
            state.stop_timeout = grace;
            for task in state.tasks.values() {
                task.wanted.send_replace(false);
            }
        }
        let ended = async {
            while self.live() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            let state = self.lock();
            state
                .tasks
                .values()
                .filter_map(|task| task.group)
                .for_each(|group| group.signal(Signal::SIGKILL));
        }
    }

    /// The next state of each task that ECS doesn't know yet and that is older than `delay_ms`.
    pub(super) fn due(&self, now: Timestamp, delay_ms: u64) -> Vec<Report> {
        let delay = SignedDuration::from_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        let state = self.lock();
        let next = state.tasks.values().filter_map(|task| task.unreported.front());
        next.filter(|report| report.since.duration_until(now) >= delay).cloned().collect()
    }

    /// ECS knows it.
    pub(super) fn reported(&self, report: &Report) {
        if let Some(task) = self.lock().tasks.get_mut(&report.task) {
            task.unreported.pop_front();
        }
    }

    /// The tasks as introspection shows them; stopped ones stay.
    pub(super) fn introspect(&self) -> Vec<Value> {
        let state = self.lock();
        let tasks = state.tasks.iter().map(|(arn, task)| {
            let wanted = *task.wanted.borrow() && task.known != Known::Stopped;
            json!({
                "Arn": arn,
                "DesiredStatus": if wanted { "RUNNING" } else { "STOPPED" },
                "KnownStatus": task.known.as_str(),
                "Family": task.family,
                "Version": task.revision,
                "Containers": [{
                    "DockerId": task.runtime_id,
                    "DockerName": format!("ecs-{}-{}-{}", task.family, task.revision, task.container),
                    "Name": task.container,
                }],
            })
        });
        tasks.collect()
    }

    pub(super) fn live(&self) -> usize {
        self.lock().tasks.values().filter(|task| task.known != Known::Stopped).count()
    }

    /// Kills them all at once; nothing is reported.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        for task in state.tasks.values() {
            task.wanted.send_replace(false);
            if let Some(group) = task.group {
                group.signal(Signal::SIGKILL);
            }
        }
    }

    /// Waits until all processes are gone.
    pub(super) async fn ended(&self) {
        let waiters =
            std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters {
            let _ = waiter.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of one container.
struct Life {
    instance: String,
    arn: String,
    state: Arc<Mutex<State>>,
    cloud: Arc<SharedCloud>,
    /// Whether it is wanted.
    wish: watch::Receiver<bool>,
}

impl Life {
    async fn live(mut self, behaviour: &Behaviour) {
        let stopped_early =
            tokio::time::timeout(CREATION, self.wish.wait_for(|wanted| !wanted)).await.is_ok();
        if stopped_early {
            // It never was: no exit code.
            return self.becomes(Known::Stopped, None, None);
        }
        let architecture = ec2::instance(&self.cloud.lock(), &self.instance)
            .map_or("", |it| it.image().architecture);
        if let Some(why) = behaviour.pull_error(architecture) {
            return self.fails_to_start(why);
        }
        let mut leader = match Leader::start(&mut command(behaviour)) {
            Ok(leader) => leader,
            Err(error) => {
                tracing::error!(task = %self.arn, "the container can't be started: {error}");
                return self.becomes(Known::Stopped, None, Some(NOT_STARTED));
            }
        };
        self.becomes(Known::Running, Some(leader.group()), None);
        self.cloud.lock().process(clock::now(), &self.instance, &self.arn, None);
        let code = self.watch(&mut leader).await;
        self.cloud.lock().process(clock::now(), &self.instance, &self.arn, Some(code));
        self.becomes(Known::Stopped, None, Some(code));
    }

    /// Waits for the process's end, and brings it about when the task isn't wanted any more.
    async fn watch(&mut self, leader: &mut Leader) -> i32 {
        tokio::select! {
            status = leader.wait() => return code_of(status),
            _ = self.wish.wait_for(|wanted| !wanted) => {}
        }
        let timeout = {
            let state = self.lock();
            if state.ended { Duration::ZERO } else { state.stop_timeout }
        };
        if !timeout.is_zero() {
            leader.group().signal(Signal::SIGTERM);
            if let Ok(status) = tokio::time::timeout(timeout, leader.wait()).await {
                return code_of(status);
            }
        }
        leader.group().signal(Signal::SIGKILL);
        code_of(leader.wait().await)
    }

    fn fails_to_start(&self, why: String) {
        self.becomes(Known::Stopped, None, None);
        let mut state = self.lock();
        if let Some(report) =
            state.tasks.get_mut(&self.arn).and_then(|task| task.unreported.back_mut())
        {
            report.not_started = Some(why);
        }
    }

    fn becomes(&self, known: Known, group: Option<Group>, exit_code: Option<i32>) {
        let mut state = self.lock();
        let ended = state.ended;
        if let Some(task) = state.tasks.get_mut(&self.arn) {
            task.becomes(&self.arn, known, exit_code);
            task.group = group;
            // The host can have gone between the start of the process and this note of its group.
            if let (true, Some(group)) = (ended, group) {
                group.signal(Signal::SIGKILL);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn code_of(status: std::io::Result<std::process::ExitStatus>) -> i32 {
    status.map_or(NOT_STARTED, exit_code)
}

/// The process that acts it out. Nothing of the job's own text gets into the script, only numbers.
fn command(behaviour: &Behaviour) -> Command {
    let Behaviour { seconds, exit, on_term, .. } = behaviour;
    let script = match on_term {
        OnTerm::Die => format!("sleep {seconds}; exit {exit}"),
        OnTerm::Exit(code) => {
            format!("trap 'exit {code}' TERM; sleep {seconds} & wait; exit {exit}")
        }
        OnTerm::Ignore => format!("trap '' TERM; sleep {seconds}; exit {exit}"),
    };
    let mut command = Command::new("/bin/sh");
    let null = std::process::Stdio::null;
    command
        .arg("-c")
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdout(null())
        .stderr(null());
    command
}
