//! The agent's process on a host: the agent's own code from its boot on, on ports that reach into the simulated world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spotblock_agent::adapters::timer;
use spotblock_agent::boot::{Boot, Found};
use spotblock_agent::clock::{BootClock, HostClocks};
use spotblock_agent::lifecycle::{self, Rules};
use spotblock_agent::ports::{Identity, NoHooks, Ports};
use spotblock_agent::run::{self, Node};
use tokio::sync::Notify;

use crate::mutant;
use crate::ports::Agent;
use crate::world::World;

/// How long a host takes from its launch to its agent's start.
const BOOT: Duration = Duration::from_secs(3);

/// How long nothing must have run before an instance counts as idle: the agent's default.
const IDLE_SETTLE: SignedDuration = SignedDuration::from_secs(6);

/// One process. What it has begun may go on after its death and wait for ever, but reaches nothing any more.
#[derive(Debug, Default)]
pub struct Process {
    dead: AtomicBool,
    died: Notify,
    acts: AtomicU32,
    kill: Option<(u32, bool)>,
}

impl Process {
    /// SIGKILL.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
    }

    /// Whether it was killed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Before anything that it does to the outside; a dead process gets no further.
    pub async fn before(&self) {
        let nth = self.acts.fetch_add(1, Ordering::Relaxed) + 1;
        if self.kill == Some((nth, true)) {
            self.kill();
        }
        self.or_never().await;
    }

    /// After it was done, and before the process knows.
    pub async fn after(&self) {
        if let Some((nth, false)) = self.kill
            && self.acts.load(Ordering::Relaxed) >= nth
        {
            self.kill();
        }
        self.or_never().await;
    }

    async fn or_never(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}

/// What systemd does on this host: it starts the agent, and starts it again, as long as there is a host.
pub async fn supervise(world: Arc<World>, number: usize) {
    tokio::time::sleep(BOOT).await;
    loop {
        let process = {
            let mut state = world.state();
            let host = &mut state.hosts[number];
            if host.gone {
                return;
            }
            host.up.then(|| {
                let process = Arc::new(Process { kill: host.kills.pop(), ..Process::default() });
                host.process = Some(Arc::clone(&process));
                process
            })
        };
        let Some(process) = process else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let life = tokio::spawn(live(Arc::clone(&world), number, Arc::clone(&process)));
        process.died.notified().await;
        life.abort();
        let restart = {
            let (mut state, now) = (world.state(), world.now());
            let host = &mut state.hosts[number];
            if std::mem::take(&mut host.forgets) {
                host.disk = None;
            }
            let (gone, restart) = (host.gone, host.restart);
            let text = format!("{}: the agent is gone", host.instance);
            if !gone {
                state.notes.push((now, text));
            }
            restart
        };
        tokio::time::sleep(restart.unsigned_abs()).await;
    }
}

/// From the process's start to its end, as the agent's `lib.rs` puts it together.
async fn live(world: Arc<World>, number: usize, process: Arc<Process>) {
    let clock = Arc::new(BootClock::on(Box::new(Clocks { world: Arc::clone(&world), number })));
    let agent = Arc::new(Agent::new(Arc::clone(&world), number, process, Arc::clone(&clock)));
    let ports = Ports {
        clock: Arc::<BootClock>::clone(&clock),
        metadata: Arc::<Agent>::clone(&agent),
        ecs_agent: Arc::<Agent>::clone(&agent),
        cluster: Arc::<Agent>::clone(&agent),
        host: Arc::<Agent>::clone(&agent),
        supervisor: Arc::<Agent>::clone(&agent),
        store: Arc::<Agent>::clone(&agent),
        hooks: Arc::new(NoHooks),
    };
    let ports = mutant::agent(world.mutant, ports, &agent);
    let boot = Boot {
        metadata: ports.metadata.as_ref(),
        clock: &clock,
        store: ports.store.as_ref(),
        supervisor: ports.supervisor.as_ref(),
        given: None,
        max_life: None,
    };
    let Found { identity, config, state, .. } = boot.find_out().await;
    agent.knows(&identity, &config);
    agent.set_timer(timer::moment(&state));
    let rules = rules(&identity, &config);
    run::run(Node { identity, config, rules }, state, ports, std::future::pending()).await;
}

fn rules(identity: &Identity, config: &node_contract::NodeConfig) -> Rules {
    Rules {
        cluster: config.cluster.clone(),
        config: config.clone(),
        warn_lead: None,
        idle_settle: IDLE_SETTLE,
        spread: lifecycle::spread_of(&identity.instance),
    }
}

/// A simulated host's clocks.
struct Clocks {
    world: Arc<World>,
    number: usize,
}

impl HostClocks for Clocks {
    fn wall(&self) -> Timestamp {
        let ahead = self.world.state().hosts[self.number].wall_ahead;
        self.world.now() + ahead
    }

    fn up(&self) -> SignedDuration {
        let booted = self.world.state().hosts[self.number].booted.0;
        booted.duration_until(self.world.now())
    }

    fn boot_id(&self) -> String {
        let state = self.world.state();
        let host = &state.hosts[self.number];
        format!("{}-{}", host.instance, host.booted.1)
    }
}
