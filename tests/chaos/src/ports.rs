//! The agent's ports. They ask the world directly where the agent's adapters would speak HTTP: the same questions to
//! the same core, without the SDK's milliseconds. The adapters have tests of their own, on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud::core::{agent_calls, ec2};
use node_contract::NodeConfig;
use node_contract::names::{attribute, tag};
use serde_json::{Value, json};
use spotblock_agent::adapters::{ecs_config, timer};
use spotblock_agent::clock::BootClock;
use spotblock_agent::lifecycle::{EcsUnit, ExtensionAnswer, InstanceStatus, OnHost, Outcome, Registration, Survey};
use spotblock_agent::ports::{
    Answer, Cluster, ClusterError, Details, EcsAgent, Host, HostError, Identity, IntrospectionError, Metadata,
    MetadataError, Saved, Signal, StateStore, StoreError, Supervisor,
};

use crate::container::Stage;
use crate::host::{self, EcsSettings, Ill};
use crate::process::Process;
use crate::trouble::Caller;
use crate::world::World;

/// How often the adapter's SDK tries a call, and how long each attempt may take.
const ATTEMPTS: u32 = 3;
const ATTEMPT: Duration = Duration::from_secs(5);

/// What an agent's process can reach.
pub struct Agent {
    world: Arc<World>,
    number: usize,
    process: Arc<Process>,
    clock: Arc<BootClock>,
    known: OnceLock<Known>,
}

struct Known {
    instance: String,
    cluster: String,
    settings: EcsSettings,
}

impl Agent {
    /// The ports of this process on this host.
    #[must_use]
    pub fn new(world: Arc<World>, number: usize, process: Arc<Process>, clock: Arc<BootClock>) -> Self {
        Self { world, number, process, clock, known: OnceLock::new() }
    }

    /// What the boot found out.
    pub fn knows(&self, identity: &Identity, config: &NodeConfig) {
        let stop_lead = SignedDuration::from_secs(config.stop_lead_secs.into());
        let _ = self.known.set(Known {
            instance: identity.instance.clone(),
            cluster: config.cluster.clone(),
            settings: EcsSettings {
                cluster: config.cluster.clone(),
                stop_timeout: ecs_config::stop_timeout(stop_lead, identity.is_spot),
            },
        });
    }

    /// The power-off timer is set to this moment of the block's clock.
    pub fn set_timer(&self, at: Timestamp) {
        // The timer counts by the wall clock and is moved with it; what comes of both is the block's clock.
        let off = self.world.now().duration_until(self.clock_now());
        let at = at - off;
        self.host(|host| host.timer = Some(at));
        self.world.poke();
    }

    /// This host's instance.
    #[must_use]
    pub fn instance(&self) -> String {
        self.host(|host| host.instance.clone())
    }

    /// The world it is in.
    #[must_use]
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    fn clock_now(&self) -> Timestamp {
        use spotblock_agent::ports::Clock as _;
        self.clock.now()
    }

    fn host<T>(&self, see: impl FnOnce(&mut host::Host) -> T) -> T {
        see(&mut self.world.state().hosts[self.number])
    }

    fn suffers(&self, ill: Ill) -> bool {
        let now = self.world.now();
        self.host(|host| host.suffers(now, ill))
    }

    /// What every question to IMDS goes through.
    async fn imds<T>(
        &self,
        path: &'static str,
        read: impl FnOnce(&ec2::Instance, &BTreeMap<String, String>) -> T,
    ) -> Result<T, MetadataError> {
        self.process.before().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let problem = |problem: &str| MetadataError { path, problem: problem.to_owned() };
        if self.suffers(Ill::ImdsHangs) {
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Err(problem("timed out"));
        }
        if self.suffers(Ill::ImdsFails) {
            return Err(problem("HTTP 503"));
        }
        let (found, date) = {
            let (state, now) = (self.world.state(), self.world.now());
            let id = &state.hosts[self.number].instance;
            let nothing = BTreeMap::new();
            let instance = ec2::instance(&state.cloud, id).ok_or_else(|| problem("HTTP 404"))?;
            let tags = ec2::all_tags(&state.cloud).get(id).filter(|_| instance.shows_tags()).unwrap_or(&nothing);
            (read(instance, tags), now)
        };
        self.clock.saw_date(&date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        Ok(found)
    }

    /// A call of ECS with the instance's credentials.
    ///
    /// # Errors
    /// As the adapter classifies them.
    pub async fn ecs(&self, operation: &'static str, object: &str, parameters: Value) -> Result<Value, ClusterError> {
        let request = agent_calls::request("us-east-1", &self.instance(), operation, &parameters);
        let failed = |problem: String, outcome| ClusterError { operation, object: object.to_owned(), problem, outcome };
        let mut problem = String::new();
        for attempt in 0..ATTEMPTS {
            self.process.before().await;
            let answer = tokio::time::timeout(ATTEMPT, self.world.request(Caller::Instance, &request)).await;
            self.process.after().await;
            match answer {
                Ok(Ok(response)) if response.status == 200 => {
                    return serde_json::from_slice(&response.body)
                        .map_err(|error| failed(error.to_string(), Outcome::Retry));
                }
                Ok(Ok(response)) => {
                    let named = |name: &str| response.headers.iter().find(|(header, _)| header == name);
                    let code = named("x-amzn-errortype").map(|(_, code)| code.clone()).unwrap_or_default();
                    problem = format!("{code}: {}", String::from_utf8_lossy(&response.body));
                    let refused = ["AccessDeniedException", "InvalidParameterException", "ClusterNotFoundException"];
                    if response.status < 500 && refused.contains(&code.as_str()) {
                        return Err(failed(problem, Outcome::Refused));
                    }
                }
                Ok(Err(_)) => problem = "the connection was cut".to_owned(),
                Err(_) => problem = "timed out".to_owned(),
            }
            tokio::time::sleep(Duration::from_millis(200 << attempt)).await;
        }
        Err(failed(problem, Outcome::Retry))
    }

    async fn describe(&self, of: &Registration) -> Result<Option<Value>, ClusterError> {
        let parameters = json!({"cluster": of.cluster, "containerInstances": [of.instance]});
        let answer = self.ecs("DescribeContainerInstances", &of.instance, parameters).await?;
        Ok(answer["containerInstances"].as_array().and_then(|all| all.first()).cloned())
    }

    async fn list_tasks(&self, of: &Registration, desired: &str) -> Result<Vec<String>, ClusterError> {
        let parameters = json!({"cluster": of.cluster, "containerInstance": of.instance, "desiredStatus": desired});
        let answer = self.ecs("ListTasks", &of.instance, parameters).await?;
        Ok(texts(&answer["taskArns"]))
    }

    /// As the adapter looks: the instance first, then the lists, then each task.
    async fn look(&self, of: &Registration, asked: &[String]) -> Result<Survey, ClusterError> {
        let Some(instance) = self.describe(of).await? else {
            let gone = asked.iter().map(|task| (task.clone(), true)).collect();
            return Ok(Survey { instance: of.instance.clone(), status: InstanceStatus::Gone, pending: 0, tasks: gone });
        };
        let running = self.list_tasks(of, "RUNNING").await?;
        let stopping = self.list_tasks(of, "STOPPED").await?;
        let all: BTreeSet<&String> = asked.iter().chain(&running).chain(&stopping).collect();
        let mut tasks: BTreeMap<String, bool> =
            all.into_iter().map(|task| (task.clone(), !running.contains(task))).collect();
        let names: Vec<String> = tasks.keys().cloned().collect();
        for names in names.chunks(100) {
            let parameters = json!({"cluster": of.cluster, "tasks": names});
            let answer = self.ecs("DescribeTasks", &of.instance, parameters).await?;
            for task in answer["tasks"].as_array().into_iter().flatten() {
                if let Some(arn) = task["taskArn"].as_str() {
                    tasks.insert(arn.to_owned(), task["lastStatus"] == "STOPPED");
                }
            }
        }
        let pending = instance["pendingTasksCount"].as_u64().and_then(|count| count.try_into().ok());
        let status = status_of(&instance);
        Ok(Survey { instance: of.instance.clone(), status, pending: pending.unwrap_or_default(), tasks })
    }

    /// What every command on the host goes through.
    async fn command(&self, what: &str) -> Result<(), HostError> {
        self.process.before().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.process.before().await;
        if self.suffers(Ill::Commands) {
            return Err(HostError { what: what.to_owned(), problem: "exit status: 1".to_owned() });
        }
        Ok(())
    }

    fn introspected<T>(
        &self,
        path: &'static str,
        read: impl FnOnce(&host::Host) -> T,
    ) -> Result<T, IntrospectionError> {
        let failing = self.suffers(Ill::Introspection);
        self.host(|host| {
            if failing || matches!(host.ecs, host::EcsAgent::Stopped(_)) {
                return Err(IntrospectionError { path, problem: "refused".to_owned() });
            }
            Ok(read(host))
        })
    }

    fn written(&self, instance: &str, phase: String, text: String) {
        let now = self.world.now();
        let mut state = self.world.state();
        let told = state.notes.iter().rev().find(|(_, note)| note.starts_with(instance));
        if told.is_none_or(|(_, note)| *note != phase) {
            state.notes.push((now, phase));
        }
        state.hosts[self.number].disk = Some(text);
    }

    fn start(&self) {
        let (mut state, now) = (self.world.state(), self.world.now());
        let boot = SignedDuration::from_millis(state.cloud.options.pace.ecs_start_ms.cast_signed());
        let host = &mut state.hosts[self.number];
        host.settings = self.known.get().map(|known| known.settings.clone());
        host.start_ecs(now, boot);
    }

    fn stop(&self) {
        let (mut state, now) = (self.world.state(), self.world.now());
        let crate::world::State { hosts, cloud, .. } = &mut *state;
        hosts[self.number].stop_ecs(cloud, now);
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

fn status_of(instance: &Value) -> InstanceStatus {
    match instance["status"].as_str() {
        Some("ACTIVE") => InstanceStatus::Active,
        Some("DRAINING") => InstanceStatus::Draining,
        Some("INACTIVE") => InstanceStatus::Gone,
        other => InstanceStatus::Other(other.unwrap_or_default().to_owned()),
    }
}

impl Metadata for Agent {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        Box::pin(self.imds("identity", |it, _| Identity {
            instance: it.id.clone(),
            region: "us-east-1".to_owned(),
            launched: it.launch_time,
            is_spot: it.market == ec2::Market::Spot,
        }))
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        Box::pin(
            self.imds("user-data", |it, _| it.user_data().map(|bytes| String::from_utf8_lossy(bytes).into_owned())),
        )
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(self.imds("spot/instance-action", |it, _| it.notice.as_ref().map(|notice| notice.taken_at)))
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(self.imds("signal", move |it, tags| match signal {
            Signal::TerminationTime => it.notice.as_ref().map(|notice| notice.taken_at),
            Signal::Rebalance => it.rebalance,
            Signal::Maintenance => None,
            Signal::EndTag => tags.get(tag::END).and_then(|text| text.parse().ok()),
        }))
    }
}

impl EcsAgent for Agent {
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>> {
        Box::pin(async {
            self.process.before().await;
            self.introspected("/v1/metadata", |host| {
                let (cluster, instance) = host.data.clone().filter(|_| host.ecs == host::EcsAgent::Registered)?;
                Some(Registration { instance, cluster })
            })
        })
    }

    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>> {
        Box::pin(async {
            self.process.before().await;
            self.introspected("/v1/tasks", |host| {
                let on_host = |stage| if stage == Stage::Stopped { OnHost::Stopped } else { OnHost::Live };
                host.containers.iter().map(|(arn, it)| (arn.clone(), on_host(it.stage))).collect()
            })
        })
    }
}

impl Cluster for Agent {
    fn drain<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let parameters = json!({"cluster": of.cluster, "containerInstances": [of.instance], "status": "DRAINING"});
            let answer = self.ecs("UpdateContainerInstancesState", &of.instance, parameters).await?;
            let changed = answer["containerInstances"].as_array().and_then(|all| all.first());
            changed.map(status_of).ok_or_else(|| ClusterError {
                operation: "UpdateContainerInstancesState",
                object: of.instance.clone(),
                problem: answer["failures"].to_string(),
                outcome: Outcome::Retry,
            })
        })
    }

    fn answer_extension<'a>(&'a self, answer: &'a ExtensionAnswer) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let of = &answer.of;
            let shown = |name: &str, value: Timestamp| json!({"name": name, "value": value.to_string(), "targetId": of.instance});
            let attributes = [shown(attribute::END, answer.end), shown(attribute::END_ASKED, answer.asked)];
            let parameters = json!({"cluster": of.cluster, "attributes": attributes});
            self.ecs("PutAttributes", &of.instance, parameters).await.map(drop)
        })
    }

    fn status<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let instance = self.describe(of).await?;
            Ok(instance.map_or(InstanceStatus::Gone, |instance| status_of(&instance)))
        })
    }

    fn survey<'a>(&'a self, of: &'a Registration, tasks: &'a [String]) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(self.look(of, tasks))
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let parameters = json!({"cluster": of.cluster, "task": task, "reason": reason});
            unless_forgotten(self.ecs("StopTask", task, parameters).await)
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(async {
            let Some(known) = self.known.get() else { return Ok(None) };
            let listed = json!({"cluster": known.cluster});
            let arns =
                texts(&self.ecs("ListContainerInstances", &known.cluster, listed).await?["containerInstanceArns"]);
            if arns.is_empty() {
                return Ok(None);
            }
            let parameters = json!({"cluster": known.cluster, "containerInstances": arns});
            let answer = self.ecs("DescribeContainerInstances", &known.cluster, parameters).await?;
            let all = answer["containerInstances"].as_array().cloned().unwrap_or_default();
            let own = all.iter().find(|it| it["ec2InstanceId"] == known.instance.as_str());
            Ok(own
                .and_then(|it| it["containerInstanceArn"].as_str())
                .map(|instance| Registration { instance: instance.to_owned(), cluster: known.cluster.clone() }))
        })
    }

    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            let parameters = json!({"cluster": of.cluster, "containerInstance": of.instance, "force": true});
            unless_forgotten(self.ecs("DeregisterContainerInstance", &of.instance, parameters).await)
        })
    }
}

fn unless_forgotten(answer: Result<Value, ClusterError>) -> Result<(), ClusterError> {
    match answer {
        Err(error) if !(error.outcome == Outcome::Refused && error.problem.contains("not found")) => Err(error),
        _ => Ok(()),
    }
}

impl Host for Agent {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("start-ecs").await?;
            self.start();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("repair-ecs").await?;
            self.stop();
            self.host(|host| host.data = None);
            self.start();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        Box::pin(async {
            self.command("show-ecs").await?;
            Ok(self.host(|host| match host.ecs {
                host::EcsAgent::Stopped(exit) => EcsUnit { runs: Some(false), exit },
                host::EcsAgent::Starting(_) | host::EcsAgent::Registered => EcsUnit { runs: Some(true), exit: None },
            }))
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("stop-ecs").await?;
            self.stop();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async move {
            self.command("stop-containers").await?;
            let now = self.world.now();
            // Whole seconds, as the command is given them.
            let grace = SignedDuration::from_secs(grace.as_secs().max(0));
            self.host(|host| host.containers.values_mut().for_each(|it| it.stop(now, grace)));
            self.world.poke();
            self.process.after().await;
            while self.host(|host| host.containers.values().any(crate::container::Container::lives)) {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        })
    }

    fn warn<'a>(&'a self, _: &'a Details) -> Answer<'a, Result<(), HostError>> {
        Box::pin(self.command("warn"))
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("power-off").await?;
            // What systemd takes until the host is off.
            let at = self.world.now() + SignedDuration::from_millis(1_200);
            self.host(|host| host.goes_off = Some(host.goes_off.map_or(at, |earlier| earlier.min(at))));
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }
}

impl Supervisor for Agent {
    fn ready(&self) {}

    fn status(&self, _: &str) {}

    fn alive(&self) {}

    fn expects_alive_every(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }
}

impl StateStore for Agent {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async {
            self.process.before().await;
            let text = self.host(|host| host.disk.clone());
            let read = |text: String| {
                serde_json::from_str(&text)
                    .map_err(|error| StoreError { what: "read state.json".into(), problem: error.to_string() })
            };
            text.map(read).transpose()
        })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.process.before().await;
            // The timer is told of the state whether the disk takes it or not.
            self.set_timer(timer::moment(&saved.state));
            let phase =
                format!("{}: {} ({})", saved.identity.instance, saved.state.phase.word(), saved.state.why.word());
            let problem = |problem: &str| StoreError { what: "write state.json".into(), problem: problem.into() };
            if self.suffers(Ill::Disk) {
                return Err(problem("no space left on device"));
            }
            let text = serde_json::to_string(saved).map_err(|error| problem(&error.to_string()))?;
            self.written(&saved.identity.instance, phase, text);
            self.process.after().await;
            Ok(())
        })
    }
}
