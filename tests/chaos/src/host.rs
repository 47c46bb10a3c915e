//! A host: its disk, its clocks, its ECS agent and its containers. The agent under test lives in
//! `process.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::{Cloud, Fault, agent_calls, ec2, faults};
use serde_json::{Value, json};

use crate::container::{Container, Life};
use crate::process::Process;
use crate::trouble::{Kind, Troubles};

mod ill;

pub use ill::{Ill, Lie};

/// How long the ECS agent waits before it tries again what failed.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// The exit code of an ECS agent whose cluster is not the one it registered with.
const DATA_MISMATCH: i32 = 5;

/// What the ECS agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EcsAgent {
    /// It doesn't run; the exit code of its last end, if that wasn't 0.
    Stopped(Option<i32>),
    /// It registers at this moment.
    Starting(Timestamp),
    /// It is registered.
    Registered,
}

/// What the ECS agent reads at its start.
#[derive(Clone, Debug)]
pub struct EcsSettings {
    /// ECS_CLUSTER.
    pub cluster: String,
    /// ECS_CONTAINER_STOP_TIMEOUT.
    pub stop_timeout: SignedDuration,
}

/// A host.
pub struct Host {
    /// The EC2 instance.
    pub instance: String,
    /// Its place in the order of launches, from 0.
    pub number: usize,
    /// Its launch, as it is told: blocks are dated back.
    pub launched: Timestamp,
    /// When AWS takes it back with its capacity block.
    pub reclaimed: Option<Timestamp>,
    /// Whether it is up; one that reboots is not, for a while.
    pub up: bool,
    /// It is gone for good.
    pub gone: bool,
    /// When it goes off, once it has been told.
    pub goes_off: Option<Timestamp>,
    /// When it is up again.
    pub back_at: Option<Timestamp>,
    /// When it was booted, and how often.
    pub booted: (Timestamp, u32),
    /// How far its wall clock is ahead.
    pub wall_ahead: SignedDuration,
    /// What the agent saved, as it stands on disk.
    pub disk: Option<String>,
    /// When the power-off timer goes off.
    pub timer: Option<Timestamp>,
    /// The agent's process.
    pub process: Option<Arc<Process>>,
    /// The ECS agent.
    pub ecs: EcsAgent,
    /// ecs.config.
    pub settings: Option<EcsSettings>,
    /// agent.db: the cluster and the container instance.
    pub data: Option<(String, String)>,
    /// The tasks it was given.
    pub containers: BTreeMap<String, Container>,
    /// When the agent's process is started again, counted from its end.
    pub restart: SignedDuration,
    /// What is wrong with it, from when on and until when.
    pub ills: Vec<(Ill, Timestamp, Timestamp)>,
    /// Where the agent's next processes are killed, the last one first: at which call, and whether
    /// before it.
    pub kills: Vec<(u32, bool)>,
    /// Whether a killed process's saved state is lost with it.
    pub forgets: bool,
    /// When an event that AWS has announced ends it.
    pub maintenance: Option<Timestamp>,
    /// The guard's process, while the host goes down.
    pub guard: Option<Arc<Process>>,
    /// The time of its first boot, and whether it was told then that its launch is to come yet.
    pub born: (Timestamp, bool),
    /// Somebody shut it down.
    pub shut_down: bool,
    /// Somebody ended it with `down --now`.
    pub at_once: bool,
    /// The agent is never started again, and there is no power-off timer.
    pub stuck: bool,
    /// When it crashed, or was gone without notice.
    pub crashes: Vec<Timestamp>,
    /// What happened to its containers and is over.
    pub lives: Vec<Life>,
}

/// What a host needs of the world to go on.
pub struct Outside<'a> {
    /// AWS.
    pub cloud: &'a mut Cloud,
    /// What is wrong just now.
    pub troubles: &'a mut Troubles,
    /// Now.
    pub now: Timestamp,
}

impl Host {
    /// A host that boots now.
    #[must_use]
    pub fn new(now: Timestamp, instance: &ec2::Instance, number: usize) -> Self {
        Self {
            instance: instance.id.clone(),
            number,
            launched: instance.launch_time,
            reclaimed: None,
            up: true,
            gone: false,
            goes_off: None,
            back_at: None,
            booted: (now, 0),
            wall_ahead: SignedDuration::ZERO,
            disk: None,
            timer: None,
            process: None,
            ecs: EcsAgent::Stopped(None),
            settings: None,
            data: None,
            containers: BTreeMap::new(),
            restart: SignedDuration::from_secs(2),
            ills: Vec::new(),
            kills: Vec::new(),
            forgets: false,
            maintenance: None,
            guard: None,
            born: (now, false),
            shut_down: false,
            at_once: false,
            stuck: false,
            crashes: Vec::new(),
            lives: Vec::new(),
        }
    }

    /// Whether this is wrong with it now.
    #[must_use]
    pub fn suffers(&self, now: Timestamp, ill: Ill) -> bool {
        self.ills.iter().any(|(of, from, until)| *of == ill && *from <= now && now < *until)
    }

    /// Lets happen what is due.
    pub fn advance(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now;
        if self.gone {
            return;
        }
        if self.maintenance.is_some_and(|at| at <= now) {
            self.ends(now);
            ec2::vanish(outside.cloud, now, &self.instance);
            return;
        }
        if self.back_at.is_some_and(|at| at <= now) {
            (self.up, self.back_at) = (true, None);
            self.booted = (now, self.booted.1 + 1);
        }
        if !self.up {
            return;
        }
        if self.goes_off.is_some_and(|at| at <= now) || self.timer.is_some_and(|at| at <= now) {
            self.ends(now);
            ec2::power_off(outside.cloud, now, &self.instance);
            return;
        }
        self.containers_live(outside);
        self.ecs_agent_works(outside);
    }

    /// The next moment at which something is due.
    #[must_use]
    pub fn due(&self, report: SignedDuration) -> Option<Timestamp> {
        if self.gone {
            return None;
        }
        if !self.up {
            return self.back_at.into_iter().chain(self.maintenance).min();
        }
        let changes = self.containers.values().filter_map(Container::changes_at);
        let registered = self.ecs == EcsAgent::Registered;
        let reports =
            self.containers.values().filter(|_| registered).filter_map(|it| it.reports_at(report));
        let starting = match self.ecs {
            EcsAgent::Starting(at) => Some(at),
            EcsAgent::Stopped(_) | EcsAgent::Registered => None,
        };
        changes
            .chain(reports)
            .chain([self.goes_off, self.timer, self.maintenance, starting].into_iter().flatten())
            .min()
    }

    fn containers_live(&mut self, outside: &mut Outside<'_>) {
        let now = outside.now;
        let due = |it: &Container| it.changes_at().is_some_and(|at| at <= now);
        while let Some((task, it)) = self.containers.iter_mut().find(|(_, it)| due(it)) {
            let before = it.began;
            it.change();
            let life = it.life(&self.instance, task);
            let began = before.is_none() && it.began.is_some();
            if began {
                outside.cloud.process(now, &self.instance, task, None);
            } else if let Some(life) = life {
                outside.cloud.process(now, &self.instance, task, Some(0));
                self.lives.push(life);
            }
        }
    }

    fn ecs_agent_works(&mut self, outside: &mut Outside<'_>) {
        match self.ecs {
            EcsAgent::Starting(at) if at <= outside.now => self.register(outside),
            EcsAgent::Registered => self.report(outside),
            EcsAgent::Starting(_) | EcsAgent::Stopped(_) => {}
        }
    }

    fn register(&mut self, outside: &mut Outside<'_>) {
        let cluster =
            self.settings.as_ref().map_or_else(|| "default".to_owned(), |it| it.cluster.clone());
        if self.data.as_ref().is_some_and(|(of, _)| *of != cluster) {
            self.ecs = EcsAgent::Stopped(Some(DATA_MISMATCH));
            return;
        }
        let Some(kind) = ec2::instance(outside.cloud, &self.instance).map(|it| it.instance_type())
        else {
            return;
        };
        let document = json!({
            "instanceId": self.instance, "instanceType": kind.name, "availabilityZone": "us-east-1c", "imageId": "ami",
        });
        let mut parameters = agent_calls::registration(&document, &cluster, kind, []);
        if let Some((_, arn)) = &self.data {
            parameters["containerInstanceArn"] = json!(arn);
        }
        let answer = call(outside, &self.instance, "RegisterContainerInstance", &parameters);
        let arn =
            answer.as_ref().and_then(|it| it["containerInstance"]["containerInstanceArn"].as_str());
        match arn {
            Some(arn) => {
                self.data = Some((cluster, arn.to_owned()));
                self.ecs = EcsAgent::Registered;
                outside.cloud.agent_connected(outside.now, &self.instance, true);
            }
            None => self.ecs = EcsAgent::Starting(outside.now + RETRY),
        }
    }

    fn report(&mut self, outside: &mut Outside<'_>) {
        let (now, delay) = (outside.now, outside.report_delay());
        let Some((cluster, _)) = self.data.clone() else { return };
        let due = |it: &Container| it.reports_at(delay).is_some_and(|at| at <= now);
        while let Some((task, it)) = self.containers.iter_mut().find(|(_, it)| due(it)) {
            let Some(report) = it.reports.front_mut() else { return };
            let parameters = agent_calls::report(&agent_calls::Report {
                cluster: &cluster,
                task,
                container: &it.name,
                runtime_id: "0",
                status: report.status,
                since: report.since,
                exit_code: report.exit_code,
                not_started: None,
            });
            if call(outside, &self.instance, "SubmitTaskStateChange", &parameters).is_some() {
                it.reports.pop_front();
            } else {
                report.again = Some(now + RETRY);
            }
        }
    }

    /// ECS gives it a task.
    pub fn run_task(
        &mut self,
        now: Timestamp,
        task: String,
        wanted: &localcloud_core::journal::effect::Container,
    ) {
        if self.up && !self.gone {
            self.containers.entry(task).or_insert_with(|| Container::new(now, wanted));
        }
    }

    /// ECS wants a task stopped.
    pub fn stop_task(&mut self, now: Timestamp, task: &str) {
        let grace =
            self.settings.as_ref().map_or(SignedDuration::from_secs(30), |it| it.stop_timeout);
        if let Some(it) = self.containers.get_mut(task) {
            it.stop(now, grace);
        }
    }

    /// Starts the ECS agent, unless it runs.
    pub fn start_ecs(&mut self, now: Timestamp, boot: SignedDuration) {
        if matches!(self.ecs, EcsAgent::Stopped(_)) {
            self.ecs = EcsAgent::Starting(now + boot);
        }
    }

    /// Stops the ECS agent; the containers live on.
    pub fn stop_ecs(&mut self, cloud: &mut Cloud, now: Timestamp) {
        if self.ecs == EcsAgent::Registered {
            cloud.agent_connected(now, &self.instance, false);
        }
        self.ecs = EcsAgent::Stopped(None);
    }

    /// The host crashes and is up again after `down`.
    pub fn reboot(&mut self, cloud: &mut Cloud, now: Timestamp, down: SignedDuration) {
        self.crashes.push(now);
        self.restarts(cloud, now, down);
    }

    /// The host is down, and up again after `down`.
    pub fn restarts(&mut self, cloud: &mut Cloud, now: Timestamp, down: SignedDuration) {
        self.stop_ecs(cloud, now);
        self.halts(now);
        self.back_at = Some(now + down);
    }

    /// The host is gone, with all that ran on it.
    pub fn ends(&mut self, now: Timestamp) {
        if !self.gone {
            self.halts(now);
            self.gone = true;
        }
    }

    fn halts(&mut self, now: Timestamp) {
        self.up = false;
        self.goes_off = None;
        for process in self.process.take().into_iter().chain(self.guard.take()) {
            process.kill();
        }
        for (task, it) in &mut self.containers {
            if it.lives() {
                it.dies_with_host(now);
                self.lives.extend(it.life(&self.instance, task));
            }
        }
    }
}

impl Outside<'_> {
    fn report_delay(&self) -> SignedDuration {
        SignedDuration::from_millis(self.cloud.options.pace.report_ms.cast_signed())
    }
}

/// A call that the ECS agent makes; `None` when it fails, whatever became of it.
fn call(
    outside: &mut Outside<'_>,
    instance: &str,
    operation: &str,
    parameters: &Value,
) -> Option<Value> {
    let request = agent_calls::request("us-east-1", instance, operation, parameters);
    match outside.troubles.strike(outside.now, crate::trouble::Caller::Instance, "ecs") {
        Some(Kind::Refuse | Kind::Hang) => return None,
        Some(kind) => outside.cloud.add_fault(fault(kind)),
        None => {}
    }
    let answer = outside.cloud.answer(&request, outside.now);
    let cut = matches!(answer.delivery, faults::Delivery::NeverAfter { .. });
    (answer.response.status == 200 && !cut)
        .then(|| serde_json::from_slice(&answer.response.body).unwrap_or_default())
}

fn fault(kind: Kind) -> Fault {
    kind.fault(faults::Who::Instance)
}
