//! `spotblock-agent run`: keeps this instance's block, from boot to power-off. All that the agent
//! consists of is put together here, and its loop is started.

use std::path::Path;
use std::sync::Arc;

use node_contract::names;
use tokio::task::JoinSet;

use crate::adapters;
use crate::adapters::hooks::HookFolder;
use crate::adapters::lock::Lock;
use crate::adapters::state_file::StateFile;
use crate::adapters::systemd::Systemd;
use crate::adapters::timer::{self, PowerOffTimer};
use crate::boot::setup::{self, StartError};
use crate::boot::{Boot, Found};
use crate::clock::BootClock;
use crate::event_loop::{self, Node};
use crate::ports::{Ports, SAVED_VERSION, Saved, Supervisor as _};
use crate::settings::Settings;
use crate::status::problems::Problems;
use crate::status::published_state::{PublishedState, PublishingStore, PublishingSupervisor};
use crate::status::record::Record;
use crate::status::{metrics, socket};

/// Keeps this instance's block until `stop` comes to its end. The status tells of `problems`.
///
/// # Errors
/// [`StartError`], before anything has been done. Later failures are retried, or worked around
/// until the block's end.
pub async fn run(
    settings: Settings,
    problems: Problems,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let _lock = Lock::take(&settings.root.join(names::path::LOCK))?;
    sweep(&settings.root);
    let http = adapters::http_client();
    let clock = Arc::new(BootClock::new());
    problems.goes_by(Arc::<BootClock>::clone(&clock));
    note_boot(&settings.root, &clock);
    let imds = setup::imds(&settings, &clock)?;
    let introspection = setup::introspection(&settings)?;
    let store = Arc::new(StateFile::new(settings.root.join(names::path::STATE)));
    let record = Record::in_file(settings.root.join(names::path::RECORD));
    let published = PublishedState::new(Arc::<BootClock>::clone(&clock), problems, record);
    let published = Arc::new(published.with_wrong_settings(settings.wrong.clone()));
    let supervisor =
        Arc::new(PublishingSupervisor { inner: Systemd, published: Arc::clone(&published) });
    supervisor.ready();
    // All that runs beside the loop ends with it.
    let mut beside = JoinSet::new();
    show(&settings, &published, &mut beside).await;

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
    published.publish(&saved);
    arm(setup::power_off_timer(&settings, &saved.identity), &clock, &published, &mut beside).await;
    let Saved { identity, config, state, .. } = saved;

    let cluster = Arc::new(setup::ecs(&settings, http, &imds, &clock, &config, &identity));
    let host = Arc::new(setup::host(&settings, &clock, &config, &identity, state.timeline));
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
        store: Arc::new(PublishingStore { inner: store, published }),
        hooks: Arc::new(hooks),
    };
    let rules = setup::rules(&settings, &config, &identity);
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
    event_loop::run(Node { identity, config, rules }, state, ports, stop).await;
    Ok(())
}

/// Removes what an agent that was killed has left of the files it was writing.
fn sweep(root: &Path) {
    let units = Path::new(names::path::UNITS);
    let timer =
        [names::unit::POWER_OFF_TIMER, names::unit::POWER_OFF_SERVICE].map(|unit| units.join(unit));
    let others = [names::path::STATE, names::path::ECS_CONFIG, names::path::NOTICE].map(Path::new);
    others
        .into_iter()
        .chain(timer.iter().map(AsRef::as_ref))
        .for_each(|path| adapters::atomic_file::sweep(&root.join(path)));
}

/// Lets the status be asked for. Where that can't be, the agent goes on without.
async fn show(settings: &Settings, published: &Arc<PublishedState>, beside: &mut JoinSet<()>) {
    let socket = settings.root.join(names::path::SOCKET);
    match socket::listen(&socket) {
        Ok(listener) => drop(beside.spawn(socket::serve(listener, Arc::clone(published)))),
        Err(error) => {
            tracing::error!(socket = %socket.display(), %error, "the status can't be asked for")
        }
    }
    let Some(address) = settings.metrics_listen else { return };
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => drop(beside.spawn(metrics::serve(listener, Arc::clone(published)))),
        Err(error) => tracing::error!(%address, %error, "metrics can't be given out"),
    }
}

/// Writes the power-off timer, and keeps it where the end is from now on.
async fn arm(
    timer: PowerOffTimer,
    clock: &Arc<BootClock>,
    published: &PublishedState,
    beside: &mut JoinSet<()>,
) {
    let wanted = published.power_off();
    let at = timer::by_wall_clock(*wanted.borrow(), clock.as_ref());
    // On disk before anything is started. What systemd takes to read it needn't be waited for.
    if let Err(error) = timer.write(at).await {
        tracing::error!(%error, "the power-off timer can't be written");
    }
    beside.spawn(timer::keep(timer, Arc::<BootClock>::clone(clock), wanted));
}

/// Writes down by which id this boot is known here.
fn note_boot(root: &Path, clock: &BootClock) {
    let path = root.join(names::path::BOOT_ID);
    let known = std::fs::read(&path).is_ok_and(|known| known == clock.boot_id().as_bytes());
    if !known && let Err(error) = std::fs::write(&path, clock.boot_id()) {
        tracing::warn!(path = %path.display(), %error, "the boot's id can't be written down");
    }
}
