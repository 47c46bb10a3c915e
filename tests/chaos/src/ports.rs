//! The agent's ports. They ask the world directly where the agent's adapters would speak HTTP: the
//! same questions to the same core, without the SDK's milliseconds. The adapters have tests of
//! their own, on the wire.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::NodeConfig;
use spotblock_agent::adapters::{ecs_config, timer};
use spotblock_agent::clock::BootClock;
use spotblock_agent::ports::{
    Answer, Clock as _, Identity, NoHooks, Ports, Saved, StateStore, StoreError, Supervisor,
};

use crate::host::{self, EcsSettings, Ill};
use crate::process::Process;
use crate::world::World;

mod ecs;
mod imds;
mod on_host;

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
    pub fn new(
        world: Arc<World>,
        number: usize,
        process: Arc<Process>,
        clock: Arc<BootClock>,
    ) -> Self {
        Self { world, number, process, clock, known: OnceLock::new() }
    }

    /// All of them.
    #[must_use]
    pub fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            clock: Arc::<BootClock>::clone(&self.clock),
            metadata: Arc::<Self>::clone(self),
            ecs_agent: Arc::<Self>::clone(self),
            cluster: Arc::<Self>::clone(self),
            host: Arc::<Self>::clone(self),
            supervisor: Arc::<Self>::clone(self),
            store: Arc::<Self>::clone(self),
            hooks: Arc::new(NoHooks),
        }
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
        // The timer counts by the wall clock and is moved with it; what comes of both is the
        // block's clock.
        let off = self.world.now().duration_until(self.clock_now());
        let at = at - off;
        self.host(|host| host.timer = Some(at).filter(|_| !host.stuck));
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
        self.clock.now()
    }

    fn host<T>(&self, see: impl FnOnce(&mut host::Host) -> T) -> T {
        see(&mut self.world.state().hosts[self.number])
    }

    fn suffers(&self, ill: Ill) -> bool {
        let now = self.world.now();
        self.host(|host| host.suffers(now, ill))
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
                serde_json::from_str(&text).map_err(|error| StoreError {
                    what: "read state.json".into(),
                    problem: error.to_string(),
                })
            };
            text.map(read).transpose()
        })
    }

    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.process.before().await;
            // The timer is told of the state whether the disk takes it or not.
            self.set_timer(timer::moment(&saved.state));
            let phase = format!(
                "{}: {} ({})",
                saved.identity.instance,
                saved.state.phase.word(),
                saved.state.why.word()
            );
            let problem = |problem: &str| StoreError {
                what: "write state.json".into(),
                problem: problem.into(),
            };
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
