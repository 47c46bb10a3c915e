//! The container instance: whether the ECS agent has registered, and what status ECS gives it.

use std::sync::Arc;
use std::time::Duration;

use super::{FailureLog, WatchContext, answer};
use crate::lifecycle::{Event, Phase};
use crate::ports::{Cluster, EcsAgent};

/// How often the registration is looked for while joining.
const JOINING: Duration = Duration::from_secs(1);

/// How often it is looked at later: the ECS agent registers again when its data is lost.
const SERVING: Duration = Duration::from_secs(10);

/// How often from the drain on, when what is asked of ECS has to name the right one.
const JOINED: Duration = Duration::from_secs(5);

/// How often ECS is asked for the status: somebody else may have set it.
pub(crate) const STATUS: Duration = Duration::from_secs(15);

/// Looks for the registration at introspection.
pub(crate) async fn watch(ecs_agent: Arc<dyn EcsAgent>, mut context: WatchContext) {
    while !context.events.is_closed() {
        let pause = match context.phase() {
            Phase::Joining => JOINING,
            Phase::Serving => SERVING,
            Phase::Draining | Phase::Stopping => JOINED,
            Phase::Leaving | Phase::Gone => {
                context.pause(JOINED).await;
                continue;
            }
        };
        match answer(ecs_agent.registration()).await {
            Ok(Some(registration)) => {
                context.emit(Event::Registered(registration)).await;
            }
            Ok(None) => tracing::debug!("the ECS agent has not registered yet"),
            Err(error) => tracing::debug!(%error, "the ECS agent doesn't answer"),
        }
        context.pause(pause).await;
    }
}

/// Reads the status at ECS, first after the registration and then at its pace.
pub(crate) async fn watch_status(cluster: Arc<dyn Cluster>, mut context: WatchContext) {
    let mut failures = FailureLog::default();
    while !context.events.is_closed() {
        let view = context.view.borrow().clone();
        let registration =
            view.registration.filter(|_| (Phase::Serving..=Phase::Stopping).contains(&view.phase));
        let Some(registration) = registration else {
            context.pause(STATUS).await;
            continue;
        };
        match answer(cluster.status(&registration)).await {
            Ok(status) => {
                failures.over("reading the container instance's status");
                context.emit(Event::StatusRead { instance: registration.instance, status }).await;
            }
            Err(error) => failures.failed("reading the container instance's status", &error),
        }
        context.beat(STATUS).await;
    }
}
