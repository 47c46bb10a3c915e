//! The agent's process on a host: the agent's own code from its boot on, on ports that reach into
//! the simulated world.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use localcloud_core::ec2;
use spotblock_agent::adapters::timer;
use spotblock_agent::boot::{Boot, Found};
use spotblock_agent::clock::{BootClock, HostClocks};
use spotblock_agent::event_loop::{self, Node};
use spotblock_agent::lifecycle::{self, Rules};
use spotblock_agent::ports::{Identity, Ports, SAVED_VERSION, Saved};
use tokio::sync::Notify;

use crate::mutant;
use crate::ports::Agent;
use crate::world::{State, World};

/// How long a host takes from its launch to its agent's start.
const BOOT: Duration = Duration::from_secs(3);

/// How long nothing must have run before an instance counts as idle: the agent's default.
const IDLE_SETTLE: SignedDuration = SignedDuration::from_secs(6);

/// How long the guard is given, what it takes for its work, and what for finding out how things
/// are: as in its unit and in the agent's `commands/found_host.rs`.
const GUARD: Duration = Duration::from_secs(90);
const WITHIN: SignedDuration = SignedDuration::from_secs(80);
const LOOK: Duration = Duration::from_secs(3);
const FIND_OUT: Duration = Duration::from_secs(10);

/// One process. What it has begun may go on after its death and wait for ever, but reaches nothing
/// any more.
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

/// What systemd does on this host: it starts the agent, and starts it again, as long as there is a
/// host.
pub async fn supervise(world: Arc<World>, number: usize) {
    tokio::time::sleep(BOOT).await;
    loop {
        let process = {
            let mut state = world.state();
            let host = &mut state.hosts[number];
            if host.gone || host.stuck {
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

/// Somebody shuts the host down: systemd lets the guard do its work, then everything ends.
pub async fn goes_down(world: Arc<World>, number: usize, back: Option<i64>) {
    let process = Arc::new(Process::default());
    world.state().hosts[number].guard = Some(Arc::clone(&process));
    // What systemd gives it, as in packaging/systemd/spotblock-guard.service.
    let _ = tokio::time::timeout(GUARD, guard(Arc::clone(&world), number, process)).await;
    let (mut state, now) = (world.state(), world.now());
    let State { hosts, cloud, .. } = &mut *state;
    let host = &mut hosts[number];
    // It may have crashed meanwhile, or be gone.
    if host.guard.is_none() {
        return;
    }
    match back {
        Some(secs) => host.restarts(cloud, now, SignedDuration::from_secs(secs)),
        None => {
            host.ends(now);
            ec2::power_off(cloud, now, &host.instance);
        }
    }
    drop(state);
    world.poke();
}

/// What `spotblock-agent guard --stop` does, as the agent's `commands/guard.rs` puts it together.
async fn guard(world: Arc<World>, number: usize, process: Arc<Process>) {
    if world.mutant == Some(mutant::Mutant::Unguarded) {
        return;
    }
    let clock = Arc::new(BootClock::on(Box::new(Clocks { world: Arc::clone(&world), number })));
    let agent = Arc::new(Agent::new(Arc::clone(&world), number, process, Arc::clone(&clock)));
    let ports = agent.ports();
    let registered = tokio::time::timeout(LOOK, ports.ecs_agent.registration()).await;
    let registered = registered.ok().and_then(Result::ok).flatten();
    let mut saved = match ports.store.load().await.ok().flatten() {
        Some(saved) => {
            clock.resume(&saved.anchor);
            saved
        }
        None if registered.is_some() => {
            let Ok(Found { identity, config, anchor, state }) =
                tokio::time::timeout(FIND_OUT, boot(&ports, &clock).find_out()).await
            else {
                return;
            };
            Saved { version: SAVED_VERSION, identity, config, anchor, state }
        }
        None => return,
    };
    saved.state.registration = registered.or(saved.state.registration);
    agent.knows(&saved.identity, &saved.config);
    let rules = rules(&saved.identity, &saved.config);
    spotblock_agent::commands::guard::guarded(saved, rules, ports, WITHIN).await;
}

/// From the process's start to its end, as the agent's `commands/run.rs` puts it together.
async fn live(world: Arc<World>, number: usize, process: Arc<Process>) {
    let clock = Arc::new(BootClock::on(Box::new(Clocks { world: Arc::clone(&world), number })));
    let agent = Arc::new(Agent::new(Arc::clone(&world), number, process, Arc::clone(&clock)));
    let ports = mutant::agent(world.mutant, agent.ports(), &agent);
    let Found { identity, config, state, .. } = boot(&ports, &clock).find_out().await;
    agent.knows(&identity, &config);
    agent.set_timer(timer::moment(&state));
    let rules = rules(&identity, &config);
    event_loop::run(Node { identity, config, rules }, state, ports, std::future::pending()).await;
}

fn boot<'a>(ports: &'a Ports, clock: &'a BootClock) -> Boot<'a> {
    Boot {
        metadata: ports.metadata.as_ref(),
        clock,
        store: ports.store.as_ref(),
        supervisor: ports.supervisor.as_ref(),
        given: None,
        max_life: None,
    }
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
