//! The container instance: whether the ECS agent has registered, and what status ECS gives it.

use std::sync::Arc;
use std::time::Duration;

use super::{Line, Trouble, answer};
use crate::lifecycle::{Event, Phase};
use crate::ports::{Cluster, EcsAgent};

/// How often the registration is looked for while joining.
const JOINING: Duration = Duration::from_secs(1);

/// How often it is looked at later: the ECS agent registers again when its data is lost.
const SERVING: Duration = Duration::from_secs(10);

/// How often from the drain on, when what is asked of ECS has to name the right one.
const JOINED: Duration = Duration::from_secs(5);

/// How often ECS is asked for the status: somebody else may have set it.
pub const STATUS: Duration = Duration::from_secs(15);

/// Looks for the registration at introspection.
pub async fn watch(ecs_agent: Arc<dyn EcsAgent>, mut line: Line) {
    while !line.events.is_closed() {
        let pause = match line.phase() {
            Phase::Joining => JOINING,
            Phase::Serving => SERVING,
            Phase::Draining | Phase::Stopping => JOINED,
            Phase::Leaving | Phase::Gone => {
                line.pause(JOINED).await;
                continue;
            }
        };
        match answer(ecs_agent.registration()).await {
            Ok(Some(registration)) => {
                line.emit(Event::Registered(registration)).await;
            }
            Ok(None) => tracing::debug!("the ECS agent has not registered yet"),
            Err(error) => tracing::debug!(%error, "the ECS agent doesn't answer"),
        }
        line.pause(pause).await;
    }
}

/// Reads the status at ECS, first after the registration and then at its pace.
pub async fn watch_status(cluster: Arc<dyn Cluster>, mut line: Line) {
    let mut trouble = Trouble::default();
    while !line.events.is_closed() {
        let view = line.view.borrow().clone();
        let registration = view.registration.filter(|_| (Phase::Serving..=Phase::Stopping).contains(&view.phase));
        let Some(registration) = registration else {
            line.pause(STATUS).await;
            continue;
        };
        match answer(cluster.status(&registration)).await {
            Ok(status) => {
                trouble.over("reading the container instance's status");
                line.emit(Event::StatusRead { instance: registration.instance, status }).await;
            }
            Err(error) => trouble.failed("reading the container instance's status", &error),
        }
        line.beat(STATUS).await;
    }
}
