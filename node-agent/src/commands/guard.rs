//! `spotblock-agent guard`: the host goes down for a reason of its own, such as a person's
//! `reboot`, and its tasks have to be stopped while the ECS agent and Docker still live. It is the
//! stop stage of [`crate::event_loop`], with a host that it only watches (`guard_ports.rs`):
//! whoever takes the host down does the rest.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::Notify;

use super::found_host::FoundHost;
use super::guard_ports::{GuardPorts, NoOp};
use crate::boot::setup::{self, StartError};
use crate::event_loop::{self, Node};
use crate::lifecycle::{Phase, Rules, State};
use crate::ports::{NoHooks, Ports, Saved};
use crate::settings::Settings;

/// Stops the host's tasks and waits until ECS knows it, for at most `within`. Where the agent
/// leaves or has left there is nothing to do, nor where it hasn't joined.
///
/// # Errors
/// [`StartError`], before anything has been done.
pub async fn stop(settings: Settings, within: SignedDuration) -> Result<(), StartError> {
    let Some(found) = FoundHost::find(&settings).await? else { return Ok(()) };
    let FoundHost { mut saved, clock, http, imds, introspection, registration } = found;
    saved.state.registration = registration;
    let Saved { identity, config, state, .. } = &saved;
    let host = setup::host(&settings, &clock, config, identity, state.timeline);
    let cluster = setup::ecs(&settings, http, &imds, &clock, config, identity);
    let rules = setup::rules(&settings, config, identity);
    let ports = Ports {
        clock,
        metadata: imds,
        ecs_agent: Arc::new(introspection),
        cluster: Arc::new(cluster),
        host: Arc::new(host),
        supervisor: Arc::new(NoOp),
        store: Arc::new(NoOp),
        hooks: Arc::new(NoHooks),
    };
    if !guarded(saved, rules, ports, within).await {
        tracing::warn!("the host goes down before all tasks have been stopped");
    }
    Ok(())
}

/// The same with what was found on the host: the agent's state, with the registration as it is now.
/// The agent's own state file, service manager and hooks are left alone. Returns whether nothing
/// was left to be done in time.
pub async fn guarded(saved: Saved, rules: Rules, ports: Ports, within: SignedDuration) -> bool {
    let Saved { identity, mut config, state, .. } = saved;
    if state.phase > Phase::Stopping || state.registration.is_none() {
        tracing::info!(phase = state.phase.word(), "there are no tasks to guard");
        return true;
    }
    let reason = format!("Host EC2 (instance {}) leaves: the host goes down", identity.instance);
    config.stop_reason.get_or_insert(reason);
    let ports = Ports {
        supervisor: Arc::new(NoOp),
        store: Arc::new(NoOp),
        hooks: Arc::new(NoHooks),
        ..ports
    };
    tracing::info!(
        block = config.block,
        instance = identity.instance,
        "the host goes down: its tasks are stopped"
    );
    stop_tasks(Node { identity, config, rules }, state, ports, within).await
}

/// Lives the stop stage until nothing is left to be done, or for `within`. Returns whether it came
/// to its end.
async fn stop_tasks(node: Node, mut state: State, ports: Ports, within: SignedDuration) -> bool {
    let now = ports.clock.now();
    state.timeline = state.timeline.interrupted(now, now.checked_add(within).unwrap_or(now));
    let left = Arc::new(Notify::new());
    let Ports { host, cluster, .. } = ports.clone();
    let guarding = Arc::new(GuardPorts { host, cluster, left: Arc::clone(&left) });
    let ports = Ports { host: Arc::<GuardPorts>::clone(&guarding), cluster: guarding, ..ports };
    let mut in_time = false;
    let over = async {
        in_time = tokio::time::timeout(within.unsigned_abs(), left.notified()).await.is_ok();
    };
    event_loop::run(node, state, ports, over).await;
    in_time
}
