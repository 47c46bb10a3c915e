//! The stand-in for the ECS agent of a node, and for its container runtime.
//!
//! 1. On start it reads `etc/ecs/ecs.config` ([`config`]), holds the cluster against the one in
//!    `var/lib/ecs/data/agent.db` ([`checkpoint`]), and opens introspection ([`introspection`]).
//! 2. After a short boot it registers with ECS, as itself: by a request with the instance role's
//!    credentials ([`ecs`]).
//! 3. It runs the tasks that ECS gives it as processes ([`containers`]), stops those that ECS wants
//!    stopped, and reports what became of them, a little late.
//! 4. Stopped, it reports nothing; the containers live on, and the next start reports what was
//!    missed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use localcloud_core::hosts::agent_calls::VERSION;
use localcloud_core::journal::effect::Container;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::config::Config;
use self::containers::Containers;
use crate::clock;
use crate::port::Port;
use crate::shared_cloud::SharedCloud;

mod checkpoint;
mod config;
mod containers;
mod ecs;
mod introspection;

/// How long it waits before it tries again to register.
const RETRY: Duration = Duration::from_secs(1);

/// How often it looks for changes to report.
const LOOK: Duration = Duration::from_millis(20);

/// The exit code of an agent whose cluster is not the one it registered with; systemd does not
/// start it again.
const DATA_MISMATCH: i32 = 5;

/// What it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Stopped,
    Starting,
    Registered { cluster: String, arn: String },
    Exited(i32),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Starting => f.write_str("starting"),
            Self::Registered { .. } => f.write_str("registered"),
            Self::Exited(code) => write!(f, "exited {code}"),
        }
    }
}

impl Status {
    /// What systemd would show of its unit.
    pub(super) fn unit(&self) -> String {
        let (state, code) = match self {
            Self::Stopped => ("inactive", 0),
            Self::Starting | Self::Registered { .. } => ("active", 0),
            Self::Exited(code) => ("failed", *code),
        };
        format!("ActiveState={state}\nExecMainStatus={code}\n")
    }
}

/// The stand-in on one node.
pub(super) struct EcsAgent {
    instance: String,
    root: PathBuf,
    inner: Arc<Inner>,
    /// The run that is under way, or the last one.
    run: Mutex<Option<Run>>,
}

/// What a run and its introspection share.
struct Inner {
    port: Port,
    status: Mutex<Status>,
    /// What it was told about its cluster, for introspection.
    cluster: Mutex<String>,
    containers: Containers,
}

struct Run {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl EcsAgent {
    pub(super) fn new(instance: &str, root: &Path, port: Port) -> Self {
        let inner = Inner {
            port,
            status: Mutex::new(Status::Stopped),
            cluster: Mutex::default(),
            containers: Containers::new(instance),
        };
        Self {
            instance: instance.to_owned(),
            root: root.to_owned(),
            inner: Arc::new(inner),
            run: Mutex::default(),
        }
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&self, cloud: &Arc<SharedCloud>) {
        if matches!(self.state(), Status::Starting | Status::Registered { .. }) {
            return;
        }
        self.inner.set(Status::Starting);
        let (stop, stopped) = watch::channel(false);
        let previous = lock(&self.run).take();
        let run = AgentRun {
            instance: self.instance.clone(),
            root: self.root.clone(),
            inner: Arc::clone(&self.inner),
            cloud: Arc::clone(cloud),
            stopped,
        };
        let task = tokio::spawn(async move {
            // Its port must be free again.
            if let Some(previous) = previous {
                let _ = previous.task.await;
            }
            run.run().await;
        });
        *lock(&self.run) = Some(Run { stop, task });
    }

    /// Stops it. The containers live on.
    pub(super) fn stop(&self, cloud: &Arc<SharedCloud>) {
        if let Some(run) = &*lock(&self.run) {
            run.stop.send_replace(true);
        }
        self.inner.set(Status::Stopped);
        cloud.act(|cloud| cloud.agent_connected(clock::now(), &self.instance, false));
    }

    /// Ends it and all containers at once.
    pub(super) fn end(&self) {
        if let Some(run) = &*lock(&self.run) {
            run.stop.send_replace(true);
        }
        self.inner.set(Status::Stopped);
        self.inner.containers.end();
    }

    /// Waits until all is gone.
    pub(super) async fn ended(&self) {
        let run = lock(&self.run).take();
        if let Some(run) = run {
            let _ = run.task.await;
        }
        self.inner.containers.ended().await;
    }

    pub(super) fn run_task(&self, cloud: &Arc<SharedCloud>, task: &str, container: &Container) {
        self.inner.containers.run(cloud, task, container);
    }

    pub(super) fn stop_task(&self, task: &str) {
        self.inner.containers.stop(task);
    }

    /// Stops all containers without it.
    pub(super) async fn stop_containers(&self, grace: Duration) {
        self.inner.containers.stop_all(grace).await;
    }

    pub(super) fn state(&self) -> Status {
        lock(&self.inner.status).clone()
    }

    pub(super) fn port(&self) -> u16 {
        self.inner.port.number()
    }

    pub(super) fn live_containers(&self) -> usize {
        self.inner.containers.live()
    }
}

impl Inner {
    fn set(&self, status: Status) {
        *lock(&self.status) = status;
    }
}

/// One run, from start to stop.
struct AgentRun {
    instance: String,
    root: PathBuf,
    inner: Arc<Inner>,
    cloud: Arc<SharedCloud>,
    stopped: watch::Receiver<bool>,
}

impl AgentRun {
    async fn run(mut self) {
        let config = Config::read(&self.root.join("etc/ecs/ecs.config"));
        let saved = checkpoint::read(&self.root);
        if let Some(saved) = &saved
            && saved.cluster != config.cluster
        {
            tracing::warn!(instance = %self.instance, was = %saved.cluster, is = %config.cluster, "Data \
                mismatch");
            return self.inner.set(Status::Exited(DATA_MISMATCH));
        }
        self.inner.containers.set_stop_timeout(config.stop_timeout);
        lock(&self.inner.cluster).clone_from(&config.cluster);
        let (instance, inner, cloud) =
            (self.instance.clone(), Arc::clone(&self.inner), Arc::clone(&self.cloud));
        let site = introspection::Site { instance, inner, cloud };
        let introspection = tokio::spawn(introspection::serve(site, self.stopped.clone()));
        if let Some(arn) = self.join(&config, saved.map(|saved| saved.container_instance)).await {
            self.serve(config.cluster, arn).await;
        }
        let _ = introspection.await;
    }

    /// Boots and registers; nothing when it was stopped meanwhile.
    async fn join(&mut self, config: &Config, known: Option<String>) -> Option<String> {
        let boot = Duration::from_millis(self.cloud.lock().options.pace.ecs_start_ms);
        if self.stopped_within(boot).await {
            return None;
        }
        loop {
            match ecs::register(&self.cloud, &self.instance, config, known.as_deref()) {
                Ok(registered) => {
                    let saved = checkpoint::Checkpoint {
                        cluster: config.cluster.clone(),
                        container_instance: registered.clone(),
                        ec2_instance: self.instance.clone(),
                    };
                    checkpoint::write(&self.root, &saved);
                    return Some(registered);
                }
                Err(error) => tracing::warn!(instance = %self.instance, "registration: {error}"),
            }
            if self.stopped_within(RETRY).await {
                return None;
            }
        }
    }

    /// Takes tasks and reports what becomes of them, until it is stopped.
    async fn serve(&mut self, cluster: String, arn: String) {
        self.inner.set(Status::Registered { cluster: cluster.clone(), arn });
        self.cloud.act(|cloud| cloud.agent_connected(clock::now(), &self.instance, true));
        while !self.stopped_within(LOOK).await {
            let delay = self.cloud.lock().options.pace.report_ms;
            for report in self.inner.containers.due(clock::now(), delay) {
                match ecs::report(&self.cloud, &self.instance, &cluster, &report) {
                    Ok(()) => self.inner.containers.reported(&report),
                    Err(error) => {
                        tracing::warn!(instance = %self.instance, task = %report.task, "report: \
                            {error}")
                    }
                }
            }
        }
    }

    /// Waits; whether it was stopped meanwhile.
    async fn stopped_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stopped.wait_for(|stopped| *stopped)).await.is_ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
