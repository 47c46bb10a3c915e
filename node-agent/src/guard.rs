//! The guard: the host goes down for a reason of its own, such as a person's `reboot`, and its tasks have to be stopped
//! while the ECS agent and Docker still live. It is the stop stage of [`mod@crate::run`], with a host that it only
//! watches: whoever takes the host down does the rest.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::SignedDuration;
use node_contract::names;
use tokio::sync::Notify;

use crate::adapters::host::CommandHost;
use crate::adapters::imds::Imds;
use crate::adapters::introspection::Introspection;
use crate::adapters::state_file::StateFile;
use crate::clock::BootClock;
use crate::lifecycle::{EcsUnit, InstanceStatus, Phase, Registration};
use crate::ports::{
    Answer, Clock as _, Cluster as _, ClusterError, Details, EcsAgent as _, Host, HostError, NoHooks, Ports, Saved,
    StateStore, StoreError, Supervisor,
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
    let Some(here) = Here::find(&settings).await? else { return Ok(()) };
    let Here { saved, clock, http, imds, introspection, registration } = here;
    if saved.state.phase > Phase::Stopping || registration.is_none() {
        tracing::info!(phase = saved.state.phase.word(), "there are no tasks to guard");
        return Ok(());
    }
    let Saved { identity, mut config, mut state, .. } = saved;
    let now = clock.now();
    state.timeline = state.timeline.interrupted(now, now.checked_add(within).unwrap_or(now));
    state.registration = registration;
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

/// Sets this instance DRAINING, as anybody could from outside; the agent that runs sees it and leaves when the tasks have
/// ended. Returns what was done, in words.
///
/// # Errors
/// Nothing was done: there is no block here, or ECS refused.
pub async fn drain(settings: &Settings) -> Result<String, DrainError> {
    let here = Here::find(settings).await?.ok_or(DrainError::NoBlock)?;
    let of = here.registration.ok_or(DrainError::NotRegistered)?;
    let Saved { identity, config, .. } = here.saved;
    let cluster = crate::ecs(settings, here.http, &here.imds, &here.clock, &config, &identity);
    match cluster.drain(&of).await? {
        InstanceStatus::Draining => Ok(format!("{} is DRAINING; it leaves when its tasks have ended", of.instance)),
        status => Err(DrainError::NotConfirmed(status)),
    }
}

/// Why this instance isn't DRAINING.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// An adapter can't be set up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The agent has saved no state.
    #[error("there is no block on this host: the agent has saved no state that can be read")]
    NoBlock,
    /// There is nothing to be set DRAINING.
    #[error("this instance isn't registered in a cluster")]
    NotRegistered,
    /// ECS failed or refused.
    #[error(transparent)]
    Ecs(#[from] ClusterError),
    /// ECS answered, and the status is another one.
    #[error("ECS took the request and says {0:?}")]
    NotConfirmed(InstanceStatus),
}

/// What a process beside the agent finds on the host.
struct Here {
    saved: Saved,
    clock: Arc<BootClock>,
    http: SharedHttpClient,
    imds: Arc<Imds>,
    introspection: Introspection,
    registration: Option<Registration>,
}

impl Here {
    /// `None` without a state that the agent has saved.
    async fn find(settings: &Settings) -> Result<Option<Self>, StartError> {
        let saved = match StateFile::new(settings.root.join(names::path::STATE)).load().await {
            Ok(Some(saved)) => saved,
            Ok(None) => {
                tracing::info!("there is no block on this host");
                return Ok(None);
            }
            Err(error) => {
                tracing::error!(%error, "without the agent's state there is nothing to go by");
                return Ok(None);
            }
        };
        let clock = Arc::new(BootClock::new());
        clock.resume(&saved.anchor);
        let http = adapters::http_client();
        let imds = Imds::new(settings.imds_endpoint.clone(), adapters::plain_http_client(), Arc::clone(&clock));
        let imds = Arc::new(imds.map_err(StartError::Metadata)?);
        let introspection =
            Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)?;
        let answer = tokio::time::timeout(LOOK, introspection.registration()).await;
        let registration = answer.ok().and_then(Result::ok).flatten().or_else(|| saved.state.registration.clone());
        Ok(Some(Self { saved, clock, http, imds, introspection, registration }))
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
