//! The agent on an instance: it joins the instance to its block's ECS cluster, and sees to it that no job dies
//! unannounced and that the instance doesn't outlive its block.
//!
//! # From boot to power-off
//! 1. [`args`] reads the flags; [`settings`] reads `/etc/spotblock/agent.toml`, if there is one: how the ECS agent is
//!    started and stopped and the host powered off. What is wrong in it gives way to its default, and is told. A lock sees to it that no other agent keeps this instance
//!    ([`adapters::lock`]). systemd is told that the agent is ready, so that a boot never waits for it
//!    ([`adapters::systemd`]). From here on the status can be asked for ([`status::socket`], [`metrics`]).
//! 2. [`boot`] loads the saved state, `/var/lib/spotblock/state.json` ([`adapters::state_file`]). Saved in this very
//!    boot, it holds all that follows up to step 5.
//! 3. IMDS tells who the instance is, when it was launched and whether it is a spot instance ([`adapters::imds`]).
//!    While IMDS is down it is asked again, for ever.
//! 4. [`clock`] is anchored to the Date of that answer and counts on CLOCK_BOOTTIME from there.
//! 5. The block's settings ([`node_contract::NodeConfig`]) are read from the user data. Without any, the agent says so
//!    in the log and in its status, and starts nothing. They and the launch make the block's moments:
//!    [`node_contract::Timeline`].
//! 6. The power-off timer is written, which ends the host after its block whatever becomes of the agent; it is moved
//!    when the end moves ([`adapters::timer`]).
//! 7. [`mod@run`] is the loop from here on: an event comes in, [`lifecycle`] takes a step, the new state is saved, the
//!    actions are begun. The lifecycle's transitions are listed at [`lifecycle::Rules::step`].
//! 8. *Joining*: `/etc/ecs/ecs.config` gets the cluster, the block's attributes and the stop timeout, whatever else is
//!    in it stays ([`adapters::ecs_config`]); then the ECS agent is asked to start ([`adapters::host`]).
//! 9. *Serving*: once introspection names a registration in the right cluster ([`adapters::introspection`],
//!    [`watch::registration`]). Meanwhile [`watch::interruption`] looks for AWS's notice, [`watch::tasks`] lists the
//!    tasks, and every 15 s ECS is asked whether somebody else set DRAINING.
//! 10. *Draining*, from `drain_at`: the instance is set DRAINING until ECS confirms it ([`adapters::ecs`]). When nothing
//!     lives on the host any more and ECS knows every task as STOPPED, twice over the settle time, the agent leaves.
//! 11. *Stopping*, from `stop_at` or a notice: each task that still lives is stopped with a reason that retry rules
//!     recognise, and ECS's word that it stopped is waited for. What outlives its stop is killed.
//! 12. *Leaving*: the ECS agent is stopped, the instance deregistered. Where ECS took no stop the containers are stopped
//!     through the container runtime in between, and the instance is left for ECS to miss; so too where the agent knows
//!     of no registration and ECS doesn't say whether there is one.
//! 13. *Gone*: the host is powered off, at `end` at the latest whatever has failed, and told again every ten seconds if
//!     it lives on.
//!
//! What is done is told in the [`log`]. A restart in any of these finds its place again. SIGTERM ends the agent and touches
//! nothing. What happens is written down in the [`record`], and [`hooks`] are told of it. When the host goes down for a
//! reason of its own, [`guard`] stops its tasks while there is still an ECS agent to report that.

pub mod adapters;
pub mod args;
pub mod boot;
pub mod chain;
pub mod check;
pub mod clock;
pub mod guard;
pub mod hooks;
pub mod lifecycle;
pub mod log;
pub mod metrics;
pub mod ports;
pub mod record;
pub mod run;
pub mod settings;
pub mod status;
pub mod watch;

#[cfg(test)]
mod testing;

use std::path::Path;
use std::sync::Arc;

use aws_sdk_ecs::config::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use node_contract::{NodeConfig, Timeline, names};
use tokio::task::JoinSet;

use adapters::ecs::{Ecs, Parts};
use adapters::ecs_config::EcsConfig;
use adapters::ecs_data::EcsData;
use adapters::host::CommandHost;
use adapters::imds::{Imds, RoleCredentials};
use adapters::introspection::Introspection;
use adapters::lock::{Lock, Taken};
use adapters::power::Power;
use adapters::state_file::StateFile;
use adapters::systemd::Systemd;
use adapters::timer::{self, PowerOffTimer};
use boot::{Boot, Found};
use clock::BootClock;
use hooks::HookFolder;
use lifecycle::Rules;
use ports::{Identity, IntrospectionError, MetadataError, Ports, SAVED_VERSION, Saved, Supervisor as _};
use record::Record;
use run::Node;
use settings::Settings;
use status::outside::{Outside, ShownStatus, ShownStore};
use status::problems::Problems;

/// Why the agent can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// IMDS can't be addressed.
    #[error("set up the IMDS client")]
    Metadata(#[source] MetadataError),
    /// Introspection can't be addressed.
    #[error("set up the client for introspection")]
    Introspection(#[source] IntrospectionError),
    /// Another agent is there.
    #[error(transparent)]
    Taken(#[from] Taken),
}

/// Keeps this instance's block until `stop` comes to its end. The status tells of `problems`.
///
/// # Errors
/// [`StartError`], before anything has been done. Later failures are retried, or worked around until the block's end.
pub async fn run(settings: Settings, problems: Problems, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let _lock = Lock::take(&settings.root.join(names::path::LOCK))?;
    sweep(&settings.root);
    let http = adapters::http_client();
    let clock = Arc::new(BootClock::new());
    problems.goes_by(Arc::<BootClock>::clone(&clock));
    note_boot(&settings.root, &clock);
    let imds = Imds::new(settings.imds_endpoint.clone(), adapters::plain_http_client(), Arc::clone(&clock));
    let imds = Arc::new(imds.map_err(StartError::Metadata)?);
    let introspection = Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)?;
    let store = Arc::new(StateFile::new(settings.root.join(names::path::STATE)));
    let record = Record::in_file(settings.root.join(names::path::RECORD));
    let outside = Outside::new(Arc::<BootClock>::clone(&clock), problems, record);
    let outside = Arc::new(outside.with_wrong_settings(settings.wrong.clone()));
    let supervisor = Arc::new(ShownStatus { inner: Systemd, outside: Arc::clone(&outside) });
    supervisor.ready();
    // All that runs beside the loop ends with it.
    let mut beside = JoinSet::new();
    show(&settings, &outside, &mut beside).await;

    let mut stop = std::pin::pin!(stop);
    let boot = Boot {
        metadata: imds.as_ref(),
        clock: &clock,
        store: store.as_ref(),
        supervisor: supervisor.as_ref(),
        given: settings.block.clone(),
        max_life: settings.max_life,
    };
    let found = tokio::select! {
        found = boot.find_out() => found,
        () = &mut stop => return Ok(()),
    };
    let Found { identity, config, anchor, state } = found;

    let saved = Saved { version: SAVED_VERSION, identity, config, anchor, state };
    outside.saw(&saved);
    arm(timer_of(&settings, &saved.identity), &clock, &outside, &mut beside).await;
    let Saved { identity, config, state, .. } = saved;

    let cluster = Arc::new(ecs(&settings, http, &imds, &clock, &config, &identity));
    let host = Arc::new(host(&settings, &clock, &config, &identity, state.timeline));
    let hooks = HookFolder::new(
        settings.root.join(names::path::HOOKS),
        settings.commands.run_hook.clone().unwrap_or_default(),
        settings.hook_limit.unsigned_abs(),
    );
    let ports = Ports {
        clock,
        metadata: imds,
        ecs_agent: Arc::new(introspection),
        cluster,
        host,
        supervisor,
        store: Arc::new(ShownStore { inner: store, outside }),
        hooks: Arc::new(hooks),
    };
    let rules = rules(&settings, &config, &identity);
    let timeline = state.timeline;
    tracing::info!(
        block = config.block,
        instance = identity.instance,
        cluster = config.cluster,
        source = %config.source,
        is_spot = identity.is_spot,
        launched = %identity.launched,
        drain_at = %timeline.drain_at,
        stop_at = %timeline.stop_at,
        end = %timeline.end,
        "the block"
    );
    run::run(Node { identity, config, rules }, state, ports, stop).await;
    Ok(())
}

/// Removes what an agent that was killed has left of the files it was writing.
fn sweep(root: &Path) {
    let units = Path::new(names::path::UNITS);
    let timer = [names::unit::POWER_OFF_TIMER, names::unit::POWER_OFF_SERVICE].map(|unit| units.join(unit));
    let others = [names::path::STATE, names::path::ECS_CONFIG, names::path::NOTICE].map(Path::new);
    others
        .into_iter()
        .chain(timer.iter().map(AsRef::as_ref))
        .for_each(|path| adapters::atomic_file::sweep(&root.join(path)));
}

/// Lets the status be asked for. Where that can't be, the agent goes on without.
async fn show(settings: &Settings, outside: &Arc<Outside>, beside: &mut JoinSet<()>) {
    let socket = settings.root.join(names::path::SOCKET);
    match status::socket::listen(&socket) {
        Ok(listener) => drop(beside.spawn(status::socket::serve(listener, Arc::clone(outside)))),
        Err(error) => tracing::error!(socket = %socket.display(), %error, "the status can't be asked for"),
    }
    let Some(address) = settings.metrics_listen else { return };
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => drop(beside.spawn(metrics::serve(listener, Arc::clone(outside)))),
        Err(error) => tracing::error!(%address, %error, "metrics can't be given out"),
    }
}

/// Writes the power-off timer, and keeps it where the end is from now on.
async fn arm(timer: PowerOffTimer, clock: &Arc<BootClock>, outside: &Outside, beside: &mut JoinSet<()>) {
    let wanted = outside.power_off();
    let at = timer::by_wall_clock(*wanted.borrow(), clock.as_ref());
    // On disk before anything is started. What systemd takes to read it needn't be waited for.
    if let Err(error) = timer.write(at).await {
        tracing::error!(%error, "the power-off timer can't be written");
    }
    beside.spawn(timer::keep(timer, Arc::<BootClock>::clone(clock), wanted));
}

fn timer_of(settings: &Settings, identity: &Identity) -> PowerOffTimer {
    let agent = std::env::current_exe().unwrap_or_else(|_| "/usr/bin/spotblock-agent".into());
    let root = settings.root.to_string_lossy().into_owned();
    PowerOffTimer {
        folder: settings.root.join(names::path::UNITS),
        arm: settings.commands.arm_timer.clone().unwrap_or_default(),
        ladder: settings.commands.ways_off(),
        instance: identity.instance.clone(),
        due: vec![agent.to_string_lossy().into_owned(), "due".to_owned(), "--root".to_owned(), root],
    }
}

/// ECS, as this instance's role.
fn ecs(
    settings: &Settings,
    http: SharedHttpClient,
    imds: &Arc<Imds>,
    clock: &Arc<BootClock>,
    config: &NodeConfig,
    identity: &Identity,
) -> Ecs {
    let parts = Parts {
        region: identity.region.clone(),
        endpoint: settings.ecs_endpoint.clone(),
        http,
        credentials: SharedCredentialsProvider::new(RoleCredentials(Arc::clone(imds))),
        time: clock::sdk_time(clock),
    };
    Ecs::new(parts, config.cluster.clone(), identity.instance.clone())
}

/// The host, by its settings.
fn host(
    settings: &Settings,
    clock: &Arc<BootClock>,
    config: &NodeConfig,
    identity: &Identity,
    timeline: Timeline,
) -> CommandHost {
    let ecs_config = settings.root.join(names::path::ECS_CONFIG);
    let ecs_config = EcsConfig::new(ecs_config, config, identity, timeline);
    let ecs_data = settings.root.join(names::path::ECS_DATA);
    let ecs_data = EcsData::new(ecs_data, identity.instance.clone(), identity.launched);
    let power = Power::new(settings.commands.ways_off(), settings.power_off_grace, Arc::<BootClock>::clone(clock));
    let notice = settings.root.join(names::path::NOTICE);
    CommandHost::new(settings.commands.clone(), ecs_config, ecs_data, notice, power)
}

fn rules(settings: &Settings, config: &NodeConfig, identity: &Identity) -> Rules {
    Rules {
        cluster: config.cluster.clone(),
        config: config.clone(),
        warn_lead: settings.warn_lead,
        idle_settle: settings.idle_settle,
        spread: lifecycle::spread_of(&identity.instance),
    }
}

/// Writes down by which id this boot is known here.
fn note_boot(root: &Path, clock: &BootClock) {
    let path = root.join(names::path::BOOT_ID);
    let known = std::fs::read(&path).is_ok_and(|known| known == clock.boot_id().as_bytes());
    if !known && let Err(error) = std::fs::write(&path, clock.boot_id()) {
        tracing::warn!(path = %path.display(), %error, "the boot's id can't be written down");
    }
}

/// Whether the block of this host is over ([`timer::is_due`]).
pub async fn is_due(root: &Path) -> bool {
    let agent_saw = std::fs::read_to_string(root.join(names::path::BOOT_ID)).ok();
    let state = StateFile::new(root.join(names::path::STATE));
    timer::is_due(&state, &BootClock::new(), agent_saw.as_deref()).await
}
