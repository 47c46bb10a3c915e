//! A host, its ECS agent, ECS and IMDS in one piece, on tokio's paused time. It keeps state as they do: a task that is
//! asked to stop takes its time, ECS learns of it later, a host that is powered off is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::clock::Anchor;
use crate::lifecycle::{EcsUnit, InstanceStatus, OnHost, Outcome, Registration, Survey};
use crate::ports::{
    Answer, Clock, Cluster, ClusterError, Details, EcsAgent, Hooks, Host, HostError, Identity, IntrospectionError,
    Metadata, MetadataError, Moment, Ports, Saved, Signal, StateStore, StoreError, Supervisor,
};

/// How long ECS takes to learn what the host knows.
const REPORT: SignedDuration = SignedDuration::from_secs(2);

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct FakeTask {
    /// When it ends by itself.
    pub(crate) ends_at: Timestamp,
    /// How long it takes to stop when asked; `None` when it never does.
    pub(crate) stops_in: Option<SignedDuration>,
    /// When it was asked to stop, and with what reason.
    pub(crate) stop: Option<(Timestamp, String)>,
    /// When the container runtime sent it SIGTERM, and when SIGKILL follows.
    pub(crate) local: Option<(Timestamp, Timestamp)>,
}

impl FakeTask {
    /// One that runs to this time and obeys within a second.
    pub(crate) fn until(ends_at: Timestamp) -> Self {
        Self { ends_at, stops_in: Some(SignedDuration::from_secs(1)), stop: None, local: None }
    }

    fn ended_at(&self) -> Timestamp {
        let stopped = self.stop.as_ref().and_then(|(at, _)| Some(*at + self.stops_in?));
        let asked = stopped.map_or(self.ends_at, |at| at.min(self.ends_at));
        let local = self.local.map(|(at, killed)| self.stops_in.map_or(killed, |takes| killed.min(at + takes)));
        local.map_or(asked, |at| at.min(asked))
    }
}

/// What befalls one thing that the agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails and has no effect.
    Fails,
    /// It has no effect and no end.
    Hangs,
}

/// What the world is like.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) tasks: BTreeMap<String, FakeTask>,
    pub(crate) ecs_agent_runs: bool,
    pub(crate) registered: bool,
    /// The ECS agent ends with this code when it is started.
    pub(crate) ecs_exit: Option<i32>,
    /// It joins this cluster instead of its own.
    pub(crate) joins: Option<String>,
    /// It runs and doesn't register.
    pub(crate) never_registers: bool,
    pub(crate) drained: bool,
    pub(crate) drained_at: Option<Timestamp>,
    pub(crate) deregistered: bool,
    /// Tasks of which ECS has a reason why they stop.
    pub(crate) stops_taken: BTreeSet<String>,
    /// Tasks whose jobs were lost by deregistering.
    pub(crate) lost: Vec<String>,
    pub(crate) notice: Option<Timestamp>,
    /// What else IMDS says.
    pub(crate) termination_time: Option<Timestamp>,
    pub(crate) rebalance: Option<Timestamp>,
    pub(crate) maintenance: Option<Timestamp>,
    pub(crate) end_tag: Option<Timestamp>,
    pub(crate) saved: Option<Saved>,
    /// Every request to ECS fails, or hangs for ever.
    pub(crate) ecs_fails: bool,
    pub(crate) ecs_hangs: bool,
    /// Commands on the host fail, or hang.
    pub(crate) host_fails: bool,
    pub(crate) stop_ecs_hangs: bool,
    /// The container runtime doesn't do what it is told.
    pub(crate) docker_fails: bool,
    /// The ECS agent is gone although nobody stopped it, from this time on.
    pub(crate) ecs_agent_dies_at: Option<Timestamp>,
    /// ECS answers StopTask with this.
    pub(crate) stop_task_is: Option<Outcome>,
    /// The disk is full.
    pub(crate) disk_fails: bool,
    /// IMDS answers with errors so many times.
    pub(crate) imds_fails: u32,
    /// What IMDS gives out.
    pub(crate) identity: Option<Identity>,
    pub(crate) user_data: Option<String>,
    /// How many things were asked for or saved, after how many the agent's process is killed, and whether it is.
    pub(crate) acts: usize,
    pub(crate) dies_after: Option<usize>,
    pub(crate) dead: bool,
    /// Which of those things something befalls.
    pub(crate) trouble: Option<(usize, Trouble)>,
    /// Introspection lists no task, whatever runs; ECS says that all have stopped.
    pub(crate) introspection_lies: bool,
    pub(crate) ecs_lies: bool,
    /// All that was asked for, in order.
    pub(crate) log: Vec<(Timestamp, String)>,
    pub(crate) status: String,
}

/// The world.
pub(crate) struct World {
    facts: Mutex<Facts>,
    start: Timestamp,
    started: tokio::time::Instant,
    pub(crate) off: Notify,
    pub(crate) draining: Notify,
    pub(crate) died: Notify,
}

impl World {
    /// A world in which it is this time now.
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time stands in for all clocks")]
    pub(crate) fn at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::default(),
            start,
            started: tokio::time::Instant::now(),
            off: Notify::new(),
            draining: Notify::new(),
            died: Notify::new(),
        })
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().expect("no test panics while it holds it")
    }

    pub(crate) fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            clock: Arc::<Self>::clone(self),
            metadata: Arc::<Self>::clone(self),
            ecs_agent: Arc::<Self>::clone(self),
            cluster: Arc::<Self>::clone(self),
            host: Arc::<Self>::clone(self),
            supervisor: Arc::<Self>::clone(self),
            store: Arc::<Self>::clone(self),
            hooks: Arc::<Self>::clone(self),
        }
    }

    /// When this was asked for first.
    pub(crate) fn first(&self, what: &str) -> Option<Timestamp> {
        self.facts().log.iter().find(|(_, said)| said == what).map(|(at, _)| *at)
    }

    /// How often this was asked for.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.facts().log.iter().filter(|(_, said)| said == what).count()
    }

    /// What the agent does comes here first. A process that was killed does nothing any more; what it had asked for
    /// before goes on without it.
    /// Returns whether it fails.
    async fn act(&self) -> bool {
        let (dead, trouble) = {
            let mut facts = self.facts();
            let number = facts.acts;
            if !facts.dead {
                facts.acts += 1;
                facts.dead = facts.dies_after == Some(number);
            }
            (facts.dead, facts.trouble.filter(|(at, _)| *at == number && !facts.dead).map(|(_, trouble)| trouble))
        };
        if dead {
            self.died.notify_one();
        }
        if dead || trouble == Some(Trouble::Hangs) {
            std::future::pending::<()>().await;
        }
        trouble == Some(Trouble::Fails)
    }

    fn note(&self, what: impl Into<String>) -> MutexGuard<'_, Facts> {
        let now = self.now();
        let mut facts = self.facts();
        facts.log.push((now, what.into()));
        facts
    }

    /// What every request to ECS goes through.
    async fn ecs(&self, what: String) -> Result<(), ClusterError> {
        let befallen = self.act().await;
        let (fails, hangs) = {
            let facts = self.note(what);
            (facts.ecs_fails || befallen, facts.ecs_hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if fails {
            return Err(ClusterError {
                operation: "Any",
                object: "arn:own".into(),
                problem: "ServerException".into(),
                outcome: Outcome::Retry,
            });
        }
        Ok(())
    }

    async fn command(&self, what: &str) -> Result<MutexGuard<'_, Facts>, HostError> {
        let befallen = self.act().await;
        let facts = self.note(what);
        if facts.host_fails || befallen {
            return Err(HostError { what: what.into(), problem: "exit status: 1".into() });
        }
        Ok(facts)
    }
}

fn own() -> Registration {
    Registration { instance: "arn:own".into(), cluster: "c".into() }
}

impl Clock for World {
    #[expect(clippy::disallowed_methods, reason = "tokio's paused time stands in for all clocks")]
    fn now(&self) -> Timestamp {
        let gone = tokio::time::Instant::now().duration_since(self.started);
        self.start + SignedDuration::try_from(gone).expect("a short life")
    }

    fn skew(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    fn anchored(&self) -> Anchor {
        crate::testing::anchor()
    }
}

impl Metadata for World {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        Box::pin(async {
            let mut facts = self.facts();
            if facts.imds_fails > 0 {
                facts.imds_fails -= 1;
                return Err(MetadataError { path: "identity", problem: "HTTP 503".into() });
            }
            facts.identity.clone().ok_or(MetadataError { path: "identity", problem: "HTTP 404".into() })
        })
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        Box::pin(async { Ok(self.note("user-data").user_data.clone()) })
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async move {
            let facts = self.note(format!("signal {signal:?}"));
            Ok(match signal {
                Signal::TerminationTime => facts.termination_time,
                Signal::Rebalance => facts.rebalance,
                Signal::Maintenance => facts.maintenance,
                Signal::EndTag => facts.end_tag,
            })
        })
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async {
            let notice = self.facts().notice;
            // What isn't a notice is garbage half the time.
            let garbage = || MetadataError { path: "action", problem: "expected value".into() };
            if notice.is_none() && self.now().as_second() % 2 == 0 { Err(garbage()) } else { Ok(notice) }
        })
    }
}

impl EcsAgent for World {
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>> {
        Box::pin(async {
            let facts = self.facts();
            if !facts.ecs_agent_runs {
                return Err(IntrospectionError { path: "metadata", problem: "refused".into() });
            }
            let cluster = facts.joins.clone().unwrap_or_else(|| own().cluster);
            Ok(facts.registered.then(|| Registration { cluster, ..own() }))
        })
    }

    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>> {
        Box::pin(async {
            let now = self.now();
            let facts = self.facts();
            if !facts.ecs_agent_runs || facts.ecs_agent_dies_at.is_some_and(|at| at <= now) {
                return Err(IntrospectionError { path: "tasks", problem: "refused".into() });
            }
            if facts.introspection_lies {
                return Ok(BTreeMap::new());
            }
            let on_host = |task: &FakeTask| if task.ended_at() <= now { OnHost::Stopped } else { OnHost::Live };
            Ok(facts.tasks.iter().map(|(arn, task)| (arn.clone(), on_host(task))).collect())
        })
    }
}

impl Cluster for World {
    fn drain<'a>(&'a self, _: &'a Registration) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            self.ecs("drain".into()).await?;
            let now = self.now();
            let mut facts = self.facts();
            facts.drained = true;
            facts.drained_at.get_or_insert(now);
            self.draining.notify_one();
            Ok(InstanceStatus::Draining)
        })
    }

    fn status<'a>(&'a self, _: &'a Registration) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            self.ecs("status".into()).await?;
            Ok(if self.facts().drained { InstanceStatus::Draining } else { InstanceStatus::Active })
        })
    }

    fn survey<'a>(&'a self, of: &'a Registration, asked: &'a [String]) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(async move {
            self.ecs("survey".into()).await?;
            let now = self.now();
            let facts = self.facts();
            let known = |arn: &String| {
                facts.ecs_lies || facts.tasks.get(arn).is_none_or(|task| task.ended_at() + REPORT <= now)
            };
            let tasks = facts.tasks.keys().chain(asked).map(|arn| (arn.clone(), known(arn))).collect();
            let status = if facts.drained { InstanceStatus::Draining } else { InstanceStatus::Active };
            Ok(Survey { instance: of.instance.clone(), status, pending: 0, tasks })
        })
    }

    fn stop_task<'a>(
        &'a self,
        _: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            self.ecs(format!("stop {task}")).await?;
            let now = self.now();
            let refused = self.facts().stop_task_is;
            if let Some(outcome) = refused {
                let problem = "AccessDeniedException".to_owned();
                return Err(ClusterError { operation: "StopTask", object: task.into(), problem, outcome });
            }
            self.facts().stops_taken.insert(task.to_owned());
            if self.facts().ecs_agent_dies_at.is_some_and(|at| at <= now) {
                // ECS takes it, and nobody on the host carries it out.
                return Ok(());
            }
            if let Some(task) = self.facts().tasks.get_mut(task) {
                task.stop.get_or_insert((now, reason.to_owned()));
            }
            Ok(())
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(async {
            self.ecs("find".into()).await?;
            Ok(self.facts().registered.then(own))
        })
    }

    fn deregister<'a>(&'a self, _: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            self.ecs("deregister".into()).await?;
            let now = self.now();
            let mut facts = self.facts();
            facts.deregistered = true;
            // What ECS takes for running ends with a reason that no retry rule knows.
            let running = facts.tasks.iter().filter(|(_, task)| now < task.ended_at() + REPORT);
            let lost = running.map(|(arn, _)| arn.clone()).filter(|arn| !facts.stops_taken.contains(arn)).collect();
            facts.lost = lost;
            Ok(())
        })
    }
}

impl Host for World {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            let exits = {
                let mut facts = self.command("start-ecs").await?;
                facts.ecs_agent_runs = facts.ecs_exit.is_none();
                !facts.ecs_agent_runs
            };
            tokio::time::sleep(Duration::from_secs(3)).await;
            let mut facts = self.facts();
            facts.registered = !exits && !facts.never_registers;
            Ok(())
        })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            {
                let mut facts = self.command("repair-ecs").await?;
                facts.ecs_agent_runs = true;
                (facts.joins, facts.ecs_exit) = (None, None);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.facts().registered = true;
            Ok(())
        })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        Box::pin(async {
            let facts = self.command("show-ecs").await?;
            Ok(EcsUnit { runs: Some(facts.ecs_agent_runs), exit: facts.ecs_exit })
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("stop-ecs").await?.ecs_agent_runs = false;
            if self.facts().stop_ecs_hangs {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async move {
            let now = self.now();
            let ended = {
                let mut facts = self.command("stop-containers").await?;
                if facts.docker_fails {
                    return Err(HostError { what: "docker stop".into(), problem: "no daemon".into() });
                }
                for task in facts.tasks.values_mut().filter(|task| now < task.ended_at()) {
                    task.local.get_or_insert((now, now + grace));
                }
                facts.tasks.values().map(FakeTask::ended_at).max().unwrap_or(now)
            };
            tokio::time::sleep(now.duration_until(ended).max(SignedDuration::ZERO).unsigned_abs()).await;
            Ok(())
        })
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        Box::pin(async move {
            let stop_at = details.stop_at.strftime("%H:%M:%S");
            self.command(&format!("warn {stop_at} {}", details.why)).await.map(drop)
        })
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            drop(self.command("power-off").await?);
            self.off.notify_one();
            Ok(())
        })
    }
}

impl Supervisor for World {
    fn ready(&self) {}

    fn status(&self, text: &str) {
        text.clone_into(&mut self.facts().status);
    }

    fn alive(&self) {
        drop(self.note("alive"));
    }

    fn expects_alive_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

impl Hooks for World {
    fn fire(&self, moment: Moment, _: &Details) {
        drop(self.note(format!("hook {}", moment.word())));
    }
}

impl StateStore for World {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async {
            let facts = self.facts();
            if facts.disk_fails {
                return Err(StoreError { what: "read state.json".into(), problem: "input/output error".into() });
            }
            Ok(facts.saved.clone())
        })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let befallen = self.act().await;
            let mut facts = self.note(format!("save {}", saved.state.phase.word()));
            if facts.disk_fails || befallen {
                return Err(StoreError { what: "write state.json".into(), problem: "no space left".into() });
            }
            facts.saved = Some(saved.clone());
            Ok(())
        })
    }
}
