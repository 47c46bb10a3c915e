//! The guard: the host goes down for a reason of its own, such as a person's `reboot`, and its tasks have to be stopped
//! while the ECS agent and Docker still live. It is the stop stage of [`crate::run`], with a host that it only
//! watches: whoever takes the host down does the rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use node_contract::names;
use tokio::sync::Notify;

use crate::adapters::host::CommandHost;
use crate::adapters::imds::Imds;
use crate::adapters::introspection::Introspection;
use crate::adapters::state_file::StateFile;
use crate::clock::BootClock;
use crate::lifecycle::{EcsUnit, Phase};
use crate::ports::{
    Answer, Clock as _, Details, EcsAgent as _, Host, HostError, NoHooks, Ports, Saved, StateStore, StoreError,
    Supervisor,
};
use crate::run::{self, Node};
use crate::settings::Settings;
use crate::{StartError, adapters};

/// How long the ECS agent has to tell whether it is registered.
const LOOK: Duration = Duration::from_secs(3);

/// Stops the host's tasks and waits until ECS knows it, for at most `within`. Where the agent leaves or has left there is
/// nothing to do, nor where it hasn't joined.
///
/// # Errors
/// [`StartError`], before anything has been done.
pub async fn stop(settings: Settings, within: SignedDuration) -> Result<(), StartError> {
    let Some(saved) = load(&settings).await else { return Ok(()) };
    let clock = Arc::new(BootClock::new());
    clock.resume(&saved.anchor);
    let http = adapters::http_client();
    let imds = Imds::new(settings.imds_endpoint.clone(), http.clone(), Arc::clone(&clock));
    let imds = Arc::new(imds.map_err(StartError::Metadata)?);
    let introspection = Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)?;
    let registered = tokio::time::timeout(LOOK, introspection.registration()).await;
    let registered = registered.ok().and_then(Result::ok).flatten();
    if saved.state.phase > Phase::Stopping || (saved.state.registration.is_none() && registered.is_none()) {
        tracing::info!(phase = saved.state.phase.word(), "there are no tasks to guard");
        return Ok(());
    }
    let Saved { identity, mut config, mut state, .. } = saved;
    let now = clock.now();
    state.timeline = state.timeline.interrupted(now, now.checked_add(within).unwrap_or(now));
    state.registration = registered.or(state.registration);
    let reason = format!("Host EC2 (instance {}) leaves: the host goes down", identity.instance);
    config.stop_reason.get_or_insert(reason);

    let host = crate::host(&settings, &clock, &config, &identity, state.timeline);
    let cluster = Arc::new(crate::ecs(&settings, http, &imds, &clock, &config, &identity));
    let left = Arc::new(Notify::new());
    let ports = Ports {
        clock,
        metadata: imds,
        ecs_agent: Arc::new(introspection),
        cluster,
        host: Arc::new(Bystander { host, left: Arc::clone(&left) }),
        supervisor: Arc::new(Nobody),
        store: Arc::new(Nobody),
        hooks: Arc::new(NoHooks),
    };
    let rules = crate::rules(&settings, &config, &identity);
    tracing::info!(block = config.block, instance = identity.instance, "the host goes down: its tasks are stopped");
    let over = async {
        if tokio::time::timeout(within.unsigned_abs(), left.notified()).await.is_err() {
            tracing::warn!("the host goes down before all tasks have been stopped");
        }
    };
    run::run(Node { identity, config, rules }, state, ports, over).await;
    Ok(())
}

async fn load(settings: &Settings) -> Option<Saved> {
    match StateFile::new(settings.root.join(names::path::STATE)).load().await {
        Ok(saved) => {
            if saved.is_none() {
                tracing::info!("there is no block to guard");
            }
            saved
        }
        Err(error) => {
            tracing::error!(%error, "without the agent's state there is nothing to go by");
            None
        }
    }
}

/// A host that is taken down by somebody else.
struct Bystander {
    host: CommandHost,
    left: Arc<Notify>,
}

impl Host for Bystander {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        // The first thing that leaving does: all tasks have been stopped, or there is no time left for them.
        self.left.notify_one();
        Box::pin(async { Ok(()) })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        self.host.show_ecs()
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        self.host.stop_containers(grace)
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        self.host.warn(details)
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        self.left.notify_one();
        Box::pin(async { Ok(()) })
    }
}

/// The agent has a service manager and a state file of its own, and may still be using both.
struct Nobody;

impl Supervisor for Nobody {
    fn ready(&self) {}

    fn status(&self, _: &str) {}

    fn alive(&self) {}

    fn expects_alive_every(&self) -> Option<Duration> {
        None
    }
}

impl StateStore for Nobody {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn save<'a>(&'a self, _: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
