//! A launched instance, the baked way: an ECS image that carries the agent, with the ECS agent
//! installed and not enabled.
//!
//! 1. [`Node::new`] makes the root folder, as the image ships it, and the settings that belong to
//!    the host (`etc/spotblock/agent.toml`): how the ECS agent is started and stopped and the host
//!    powered off.
//! 2. [`Node::boot`] serves IMDS on a port of its own and starts the agent, if the image carries
//!    it.
//! 3. The commands in `agent.toml` touch files in `run/localcloud/`; the node looks for them, and
//!    starts the stand-in for the ECS agent, stops it, or powers off.
//! 4. A host that powers off gives its agent a second and then ends everything, as does one that
//!    EC2 ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use localcloud_core::cloud::{ec2, host_ports};
use localcloud_core::hosts::node_faults::Place;
use localcloud_core::journal::effect::Container;
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{NodeInfo, NodeKind};
use crate::port::{Port, Wish};
use crate::process::Group;
use crate::shared_cloud::SharedCloud;
use crate::{clock, http};

mod agent;
mod ecs_agent;

pub(crate) use agent::AgentSettings;
use agent::supervise;
use ecs_agent::EcsAgent;

/// How often the node looks for what the agent's commands left.
const LOOK: Duration = Duration::from_millis(50);

/// How long a host that powers off waits for its agent before everything is killed.
const POWER_OFF_GRACE: Duration = Duration::from_millis(1_200);

/// Whether a host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs.
    Up,
    /// It powers off: its agent has been asked to end.
    GoingDown,
    /// It is gone.
    Off,
}

impl Phase {
    pub(crate) fn is_up(self) -> bool {
        self == Self::Up
    }

    pub(crate) fn is_going_down(self) -> bool {
        self == Self::GoingDown
    }
}

/// A launched instance.
pub(crate) struct Node {
    pub(crate) instance: String,
    pub(crate) root: PathBuf,
    phase: watch::Sender<Phase>,
    agent: Mutex<Option<Group>>,
    ecs: EcsAgent,
    imds_port: Mutex<Option<u16>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Makes the root folder below `dir`.
    pub(crate) fn new(dir: &Path, instance: String) -> anyhow::Result<Self> {
        let root = dir.join(&instance);
        let port = Port::reserve().context("reserve a port for introspection")?;
        let settings = agent_toml(&root, port.number());
        for folder in
            ["etc/ecs", "etc/spotblock", "run/localcloud", "var/lib/ecs/data", "var/lib/spotblock"]
        {
            std::fs::create_dir_all(root.join(folder)).with_context(|| format!("make {folder}"))?;
        }
        // The ECS image ships it empty.
        std::fs::write(root.join("etc/ecs/ecs.config"), "").context("write ecs.config")?;
        std::fs::write(root.join("etc/spotblock/agent.toml"), settings)
            .context("write agent.toml")?;
        Ok(Self {
            ecs: EcsAgent::new(&instance, &root, port),
            instance,
            root,
            phase: watch::Sender::new(Phase::Up),
            agent: Mutex::default(),
            imds_port: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// Starts what runs on it.
    pub(crate) fn boot(self: &Arc<Self>, cloud: &Arc<SharedCloud>, agent: AgentSettings) {
        let (node, cloud) = (Arc::clone(self), Arc::clone(cloud));
        self.spawn(async move {
            if let Err(error) = node.run(&cloud, agent).await {
                tracing::error!(instance = %node.instance, "the node failed: {error:#}");
            }
        });
    }

    async fn run(
        self: &Arc<Self>,
        cloud: &Arc<SharedCloud>,
        agent: AgentSettings,
    ) -> anyhow::Result<()> {
        let port = Port::reserve().context("reserve a port for IMDS")?;
        let imds_port = port.number();
        *lock(&self.imds_port) = Some(imds_port);
        self.spawn(serve_imds(Arc::clone(self), Arc::clone(cloud), port));
        let carries_agent = ec2::instance(&cloud.lock(), &self.instance)
            .is_some_and(|instance| instance.image().carries_agent);
        if carries_agent {
            self.spawn(supervise(Arc::clone(self), agent, imds_port));
        }
        let mut phase = self.phase();
        let mut shown = String::new();
        while phase.borrow_and_update().is_up() {
            self.obey(cloud);
            let unit = self.ecs.state().unit();
            if unit != shown {
                std::fs::write(self.root.join("run/localcloud/ecs-unit"), &unit)
                    .context("write ecs-unit")?;
                shown = unit;
            }
            let _ = tokio::time::timeout(LOOK, phase.wait_for(|phase| !phase.is_up())).await;
        }
        Ok(())
    }

    /// Does what the agent's commands asked for.
    fn obey(self: &Arc<Self>, cloud: &Arc<SharedCloud>) {
        if self.asked("stop-ecs") {
            self.ecs.stop(cloud);
        }
        if self.asked("start-ecs") {
            self.ecs.start(cloud);
        }
        if self.asked("power-off") {
            self.power_off(cloud);
        }
        self.stop_containers();
    }

    /// The file holds the seconds between SIGTERM and SIGKILL; whoever left it waits until
    /// `stopping-containers` is gone too.
    fn stop_containers(self: &Arc<Self>) {
        let folder = self.root.join("run/localcloud");
        let under_way = folder.join("stopping-containers");
        if std::fs::rename(folder.join("stop-containers"), &under_way).is_err() {
            return;
        }
        let seconds =
            std::fs::read_to_string(&under_way).ok().and_then(|text| text.trim().parse().ok());
        let node = Arc::clone(self);
        self.spawn(async move {
            node.ecs.stop_containers(Duration::from_secs(seconds.unwrap_or_default())).await;
            let _ = std::fs::remove_file(under_way);
        });
    }

    fn asked(&self, what: &str) -> bool {
        std::fs::remove_file(self.root.join("run/localcloud").join(what)).is_ok()
    }

    /// Powers the host off from inside.
    pub(crate) fn power_off(self: &Arc<Self>, cloud: &Arc<SharedCloud>) {
        if !self.change_phase(Phase::Up, Phase::GoingDown) {
            return;
        }
        let (node, cloud) = (Arc::clone(self), Arc::clone(cloud));
        self.spawn(async move {
            let agent_gone = async {
                while lock(&node.agent).is_some() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            let _ = tokio::time::timeout(POWER_OFF_GRACE, agent_gone).await;
            if node.change_phase(Phase::GoingDown, Phase::Off) {
                node.ecs.end();
                node.ecs.ended().await;
                cloud.act(|cloud| ec2::power_off(cloud, clock::now(), &node.instance));
            }
        });
    }

    /// Ends everything on it at once.
    pub(crate) fn end(&self) {
        self.phase.send_replace(Phase::Off);
        if let Some(agent) = *lock(&self.agent) {
            agent.signal(Signal::SIGKILL);
        }
        self.ecs.end();
    }

    /// Waits until all that ran on it is gone.
    pub(crate) async fn ended(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(instance = %self.instance, "a part of the node failed: {error}");
            }
        }
        self.ecs.ended().await;
    }

    pub(crate) fn run_task(&self, cloud: &Arc<SharedCloud>, task: &str, container: &Container) {
        self.ecs.run_task(cloud, task, container);
    }

    pub(crate) fn stop_task(&self, task: &str) {
        self.ecs.stop_task(task);
    }

    /// Signals the agent's process; systemd starts it again.
    pub(crate) fn signal_agent(&self, signal: Signal) {
        if let Some(agent) = *lock(&self.agent) {
            agent.signal(signal);
        }
    }

    pub(crate) fn set_agent(&self, agent: Option<Group>) {
        *lock(&self.agent) = agent;
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes from one phase to the next, unless it is in another.
    fn change_phase(&self, from: Phase, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let change = *phase == from;
            if change {
                *phase = to;
            }
            change
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).push(tokio::spawn(task));
    }

    /// What the controls tell about it.
    pub(crate) fn info(&self) -> NodeInfo {
        NodeInfo {
            instance: self.instance.clone(),
            up: self.phase.borrow().is_up(),
            kind: NodeKind::Full,
            root: self.root.clone(),
            imds: lock(&self.imds_port).map(|port| format!("http://127.0.0.1:{port}")),
            introspection: format!("http://127.0.0.1:{}", self.ecs.port()),
            agent_running: lock(&self.agent).is_some(),
            ecs_agent: self.ecs.state().to_string(),
            containers: self.ecs.live_containers(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the node to stop the containers within so many seconds, and waits until it has. The folder
/// comes as `$0`.
const STOP_CONTAINERS: &str = "cd \"$0\" && echo \"$1\" >asked && mv asked stop-containers && \
    while [ -e stop-containers ] || [ -e stopping-containers ]; do sleep 0.05; done";

/// The settings of the agent that belong to the host.
fn agent_toml(root: &Path, introspection_port: u16) -> String {
    let touch = |what: &str| {
        format!("[\"touch\", {:?}]", root.join("run/localcloud").join(what).to_string_lossy())
    };
    let run = root.join("run/localcloud");
    let show = format!("[\"cat\", {:?}]", run.join("ecs-unit").to_string_lossy());
    let stop = format!("[\"sh\", \"-c\", {STOP_CONTAINERS:?}, {:?}]", run.to_string_lossy());
    format!(
        "introspection-url = \"http://127.0.0.1:{introspection_port}\"\n\n[commands]\nstart-ecs \
         = {}\nstop-ecs = {}\nshow-ecs = {show}\nstop-containers = {stop}\npower-off = {}\n",
        touch("start-ecs"),
        touch("stop-ecs"),
        touch("power-off"),
    )
}

/// Serves IMDS until the host is off.
async fn serve_imds(node: Arc<Node>, cloud: Arc<SharedCloud>, port: Port) {
    let phase = node.phase();
    let app = axum::Router::new()
        .fallback(answer_imds)
        .with_state((Arc::clone(&node), Arc::clone(&cloud)));
    let refuses =
        || host_ports::refuses(&mut cloud.lock(), clock::now(), Place::Imds, &node.instance);
    let wish = || match *phase.borrow() {
        Phase::Off => Wish::Closed,
        Phase::Up | Phase::GoingDown if refuses() => Wish::Refusing,
        Phase::Up | Phase::GoingDown => Wish::Open,
    };
    if let Err(error) = port.serve(&app, wish).await {
        tracing::error!(instance = %node.instance, "IMDS: {error}");
    }
}

async fn answer_imds(
    State((node, cloud)): State<(Arc<Node>, Arc<SharedCloud>)>,
    request: HttpRequest,
) -> HttpResponse {
    match http::take(request).await {
        Ok(request) => {
            let answer = cloud.act(|cloud| {
                host_ports::faulty_metadata(cloud, clock::now(), &node.instance, &request)
            });
            http::give_as(answer).await
        }
        Err(error) => (axum::http::StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    }
}
