//! The agent on an instance: it joins the instance to its block's ECS cluster, and sees to it that no job dies
//! unannounced and that the instance doesn't outlive its block.
//!
//! # From boot to power-off
//! 1. [`args`] reads the flags; [`settings`] reads `/etc/spotblock/agent.toml`, if there is one: how the ECS agent is
//!    started and stopped and the host powered off. systemd is told that the agent is ready, so that a boot never waits
//!    for it ([`adapters::systemd`]).
//! 2. [`boot`] loads the saved state, `/var/lib/spotblock/state.json` ([`adapters::state_file`]). Saved in this very
//!    boot, it holds all that follows up to step 5.
//! 3. IMDS tells who the instance is, when it was launched and whether it is a spot instance ([`adapters::imds`]).
//!    While IMDS is down it is asked again, for ever.
//! 4. [`clock`] is anchored to the Date of that answer and counts on CLOCK_BOOTTIME from there.
//! 5. The block's settings ([`node_contract::NodeConfig`]) are read from the user data. Without any, the agent says so
//!    in the log and in its status, and starts nothing. They and the launch make the block's moments:
//!    [`node_contract::Timeline`].
//! 6. [`run`] is the loop from here on: an event comes in, [`lifecycle`] takes a step, the new state is saved, the
//!    actions are begun. The lifecycle's transitions are listed at [`lifecycle::Rules::step`].
//! 7. *Joining*: `/etc/ecs/ecs.config` gets the cluster, the block's attributes and the stop timeout, whatever else is
//!    in it stays ([`adapters::ecs_config`]); then the ECS agent is asked to start ([`adapters::host`]).
//! 8. *Serving*: once introspection names a registration in the right cluster ([`adapters::introspection`],
//!    [`watch::registration`]). Meanwhile [`watch::interruption`] looks for AWS's notice, [`watch::tasks`] lists the
//!    tasks, and every 15 s ECS is asked whether somebody else set DRAINING.
//! 9. *Draining*, from `drain_at`: the instance is set DRAINING until ECS confirms it ([`adapters::ecs`]). When nothing
//!    lives on the host any more and ECS knows every task as STOPPED, twice over the settle time, the agent leaves.
//! 10. *Stopping*, from `stop_at` or a notice: each task that still lives is stopped with a reason that retry rules
//!     recognise, and ECS's word that it stopped is waited for.
//! 11. *Leaving*: the ECS agent is stopped, the instance deregistered.
//! 12. *Gone*: the host is powered off, at `end` at the latest whatever has failed, and told again every ten seconds if
//!     it lives on.
//!
//! A restart in any of these finds its place again. SIGTERM ends the agent and touches nothing.

pub mod adapters;
pub mod args;
pub mod boot;
pub mod chain;
pub mod clock;
pub mod lifecycle;
pub mod ports;
pub mod run;
pub mod settings;
pub mod status;
pub mod watch;

#[cfg(test)]
mod testing;

use std::sync::Arc;

use aws_sdk_ecs::config::SharedCredentialsProvider;
use node_contract::names;

use adapters::ecs::{Ecs, Parts};
use adapters::ecs_config::EcsConfig;
use adapters::host::CommandHost;
use adapters::imds::{Imds, RoleCredentials};
use adapters::introspection::Introspection;
use adapters::state_file::StateFile;
use adapters::systemd::Systemd;
use boot::{Boot, Found};
use clock::BootClock;
use lifecycle::Rules;
use ports::{IntrospectionError, MetadataError, NoHooks, Ports, Supervisor as _};
use run::Node;
use settings::Settings;

/// Why the agent can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// IMDS can't be addressed.
    #[error("set up the IMDS client")]
    Metadata(#[source] MetadataError),
    /// Introspection can't be addressed.
    #[error("set up the client for introspection")]
    Introspection(#[source] IntrospectionError),
}

/// Keeps this instance's block until `stop` comes to its end.
///
/// # Errors
/// [`StartError`], before anything has been done. Later failures are retried, or worked around until the block's end.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let http = adapters::http_client();
    let clock = Arc::new(BootClock::new());
    let imds = Imds::new(settings.imds_endpoint.clone(), http.clone(), Arc::clone(&clock));
    let imds = Arc::new(imds.map_err(StartError::Metadata)?);
    let introspection = Introspection::new(settings.introspection_url.clone()).map_err(StartError::Introspection)?;
    let store = Arc::new(StateFile::new(settings.root.join(names::path::STATE)));
    let supervisor = Arc::new(Systemd);
    supervisor.ready();

    let mut stop = std::pin::pin!(stop);
    let boot = Boot {
        metadata: imds.as_ref(),
        clock: &clock,
        store: store.as_ref(),
        supervisor: supervisor.as_ref(),
        given: settings.block.clone(),
    };
    let found = tokio::select! {
        found = boot.find_out() => found,
        () = &mut stop => return Ok(()),
    };
    let Found { identity, config, anchor, state } = found;

    let parts = Parts {
        region: identity.region.clone(),
        endpoint: settings.ecs_endpoint.clone(),
        http,
        credentials: SharedCredentialsProvider::new(RoleCredentials(Arc::clone(&imds))),
        time: clock::sdk_time(&clock),
    };
    let ecs_config = settings.root.join(names::path::ECS_CONFIG);
    let ecs_config = EcsConfig::new(ecs_config, &config, &identity, state.timeline);
    let ports = Ports {
        clock,
        metadata: imds,
        ecs_agent: Arc::new(introspection),
        cluster: Arc::new(Ecs::new(parts, config.cluster.clone(), identity.instance.clone())),
        host: Arc::new(CommandHost::new(settings.commands, ecs_config)),
        supervisor,
        store,
        hooks: Arc::new(NoHooks),
    };
    let rules = Rules {
        cluster: config.cluster.clone(),
        idle_settle: settings.idle_settle,
        spread: lifecycle::spread_of(&identity.instance),
    };
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
    run::run(Node { identity, config, anchor, rules }, state, ports, stop).await;
    Ok(())
}
