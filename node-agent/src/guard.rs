//! The guard: the host goes down for a reason of its own, such as a person's `reboot`, and its tasks have to be stopped
//! while the ECS agent and Docker still live. It is the stop stage of [`mod@crate::run`], with a host that it only
//! watches ([`bystander`]): whoever takes the host down does the rest.

mod bystander;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::SignedDuration;
use node_contract::names;
use tokio::sync::Notify;

use crate::adapters::imds::Imds;
use crate::adapters::introspection::Introspection;
use crate::adapters::state_file::StateFile;
use crate::boot::{Boot, Found};
use crate::clock::BootClock;
use crate::lifecycle::{InstanceStatus, Phase, Registration, Rules, State};
use crate::ports::{Cluster as _, ClusterError, EcsAgent as _, NoHooks, Ports, SAVED_VERSION, Saved, StateStore as _};
use crate::run::{self, Node};
use crate::settings::Settings;
use crate::{StartError, adapters};
use bystander::{Bystander, Nobody};

/// How long the ECS agent has to tell whether it is registered.
const LOOK: Duration = Duration::from_secs(3);

/// How long IMDS has to tell what the agent couldn't save.
const FIND_OUT: Duration = Duration::from_secs(10);

/// Stops the host's tasks and waits until ECS knows it, for at most `within`. Where the agent leaves or has left there is
/// nothing to do, nor where it hasn't joined.
///
/// # Errors
/// [`StartError`], before anything has been done.
pub async fn stop(settings: Settings, within: SignedDuration) -> Result<(), StartError> {
    let Some(here) = Here::find(&settings).await? else { return Ok(()) };
    let Here { mut saved, clock, http, imds, introspection, registration } = here;
    saved.state.registration = registration;
    let Saved { identity, config, state, .. } = &saved;
    let host = crate::host(&settings, &clock, config, identity, state.timeline);
    let cluster = crate::ecs(&settings, http, &imds, &clock, config, identity);
    let rules = crate::rules(&settings, config, identity);
    let ports = Ports {
        clock,
        metadata: imds,
        ecs_agent: Arc::new(introspection),
        cluster: Arc::new(cluster),
        host: Arc::new(host),
        supervisor: Arc::new(Nobody),
        store: Arc::new(Nobody),
        hooks: Arc::new(NoHooks),
    };
    if !guarded(saved, rules, ports, within).await {
        tracing::warn!("the host goes down before all tasks have been stopped");
    }
    Ok(())
}

/// The same with what was found on the host: the agent's state, with the registration as it is now. The agent's own state
/// file, service manager and hooks are left alone. Returns whether nothing was left to be done in time.
pub async fn guarded(saved: Saved, rules: Rules, ports: Ports, within: SignedDuration) -> bool {
    let Saved { identity, mut config, state, .. } = saved;
    if state.phase > Phase::Stopping || state.registration.is_none() {
        tracing::info!(phase = state.phase.word(), "there are no tasks to guard");
        return true;
    }
    let reason = format!("Host EC2 (instance {}) leaves: the host goes down", identity.instance);
    config.stop_reason.get_or_insert(reason);
    let ports = Ports { supervisor: Arc::new(Nobody), store: Arc::new(Nobody), hooks: Arc::new(NoHooks), ..ports };
    tracing::info!(block = config.block, instance = identity.instance, "the host goes down: its tasks are stopped");
    stop_tasks(Node { identity, config, rules }, state, ports, within).await
}

/// Lives the stop stage until nothing is left to be done, or for `within`. Returns whether it came to its end.
async fn stop_tasks(node: Node, mut state: State, ports: Ports, within: SignedDuration) -> bool {
    let now = ports.clock.now();
    state.timeline = state.timeline.interrupted(now, now.checked_add(within).unwrap_or(now));
    let left = Arc::new(Notify::new());
    let Ports { host, cluster, .. } = ports.clone();
    let bystander = Arc::new(Bystander { host, cluster, left: Arc::clone(&left) });
    let ports = Ports { host: Arc::<Bystander>::clone(&bystander), cluster: bystander, ..ports };
    let mut in_time = false;
    let over = async {
        in_time = tokio::time::timeout(within.unsigned_abs(), left.notified()).await.is_ok();
    };
    run::run(node, state, ports, over).await;
    in_time
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
    /// `None` where there is no block.
    async fn find(settings: &Settings) -> Result<Option<Self>, StartError> {
        let clock = Arc::new(BootClock::new());
        let http = adapters::http_client();
        let imds = Imds::new(settings.imds_endpoint.clone(), adapters::plain_http_client(), Arc::clone(&clock));
        let imds = Arc::new(imds.map_err(StartError::Metadata)?);
        let introspection =
            Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)?;
        let answer = tokio::time::timeout(LOOK, introspection.registration()).await;
        let registered = answer.ok().and_then(Result::ok).flatten();

        let loaded = StateFile::new(settings.root.join(names::path::STATE)).load().await;
        let saved = loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "the agent's state can't be read");
            None
        });
        let saved = match saved {
            Some(saved) => {
                clock.resume(&saved.anchor);
                Some(saved)
            }
            // A disk that was full: the instance is in a cluster all the same.
            None if registered.is_some() => found_anew(settings, &clock, &imds).await,
            None => None,
        };
        let Some(saved) = saved else {
            tracing::info!("there is no block on this host");
            return Ok(None);
        };
        let registration = registered.or_else(|| saved.state.registration.clone());
        Ok(Some(Self { saved, clock, http, imds, introspection, registration }))
    }
}

/// What the agent would have saved, as its beginning.
async fn found_anew(settings: &Settings, clock: &Arc<BootClock>, imds: &Arc<Imds>) -> Option<Saved> {
    let boot = Boot {
        metadata: imds.as_ref(),
        clock,
        store: &Nobody,
        supervisor: &Nobody,
        given: settings.block.clone(),
        max_life: settings.max_life,
    };
    let Found { identity, config, anchor, state } = tokio::time::timeout(FIND_OUT, boot.find_out()).await.ok()?;
    Some(Saved { version: SAVED_VERSION, identity, config, anchor, state })
}
