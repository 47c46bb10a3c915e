//! The tasks on the host, as introspection lists them. It is on the host and free, so it is asked
//! often; ECS is asked only when this shows nothing.

use std::sync::Arc;
use std::time::Duration;

use super::{FailureLog, WatchContext, answer};
use crate::lifecycle::{Event, Phase};
use crate::ports::EcsAgent;

/// How often the tasks are listed while they come and go.
const RELAXED: Duration = Duration::from_secs(5);

/// How often they are listed while their end is waited for.
const CLOSE: Duration = Duration::from_secs(1);

/// Lists the tasks as long as there is an ECS agent to ask.
pub(crate) async fn watch(ecs_agent: Arc<dyn EcsAgent>, mut context: WatchContext) {
    let mut failures = FailureLog::default();
    while !context.events.is_closed() {
        let phase = context.phase();
        let pause = match phase {
            Phase::Joining | Phase::Serving => RELAXED,
            Phase::Draining | Phase::Stopping => CLOSE,
            Phase::Leaving | Phase::Gone => {
                context.pause(RELAXED).await;
                continue;
            }
        };
        let tasks = match answer(ecs_agent.tasks()).await {
            Ok(tasks) => {
                failures.over("listing the tasks on the host");
                Some(tasks)
            }
            Err(error) => {
                // Before the registration nobody listens there.
                if phase != Phase::Joining {
                    failures.failed("listing the tasks on the host", &error);
                }
                None
            }
        };
        context.emit(Event::OnHost(tasks)).await;
        context.pause(pause).await;
    }
}
