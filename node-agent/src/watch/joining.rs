//! Why the ECS agent has not registered: looked into while the agent is joining, and told in words
//! that people can act on.

use std::sync::Arc;
use std::time::Duration;

use super::{WatchContext, answer};
use crate::lifecycle::{EcsUnit, Event, Outcome, Phase};
use crate::ports::{Cluster, EcsAgent, Host, Metadata};

/// How often the service manager is asked about the ECS agent.
const UNIT: Duration = Duration::from_secs(10);

/// After how many of these looks its registration is late, a minute or a little more: the first one
/// comes with the next beat. From then on after how many the reason is looked for.
const LATE: u32 = 7;
const AGAIN: u32 = 3;

/// How long ECS has to answer: without a network it may take its time.
const ECS: Duration = Duration::from_secs(20);

/// Looks into it until the instance has joined, or never will.
pub(crate) async fn watch(
    host: Arc<dyn Host>,
    metadata: Arc<dyn Metadata>,
    ecs_agent: Arc<dyn EcsAgent>,
    cluster: Arc<dyn Cluster>,
    context: WatchContext,
) {
    let mut told = String::new();
    for look in 1_u32.. {
        context.beat(UNIT).await;
        if context.phase() != Phase::Joining || context.events.is_closed() {
            return;
        }
        let unit = answer(host.show_ecs()).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "what the service manager knows of the ECS agent can't be \
                                     read");
            EcsUnit::default()
        });
        context.emit(Event::EcsUnitSeen(unit)).await;
        if look >= LATE && (look - LATE).is_multiple_of(AGAIN) {
            let why = why(unit, metadata.as_ref(), ecs_agent.as_ref(), cluster.as_ref()).await;
            let Some(why) = why else { continue };
            if why != told {
                tracing::warn!(why, "the ECS agent has not registered");
                told.clone_from(&why);
            }
            context.emit(Event::Hindered(why)).await;
        }
    }
}

/// Why, by the first thing that is not as it should be; `None` when it has registered.
async fn why(
    unit: EcsUnit,
    metadata: &dyn Metadata,
    ecs_agent: &dyn EcsAgent,
    cluster: &dyn Cluster,
) -> Option<String> {
    if unit.runs == Some(false) {
        let exit =
            unit.exit.map_or_else(String::new, |code| format!(", its last exit code was {code}"));
        return Some(format!("the ECS agent doesn't run{exit} (see journalctl -u ecs)"));
    }
    let registration = answer(ecs_agent.registration()).await;
    if !matches!(registration, Ok(Some(_)))
        && let Err(error) = answer(metadata.identity()).await
    {
        return Some(format!(
            "IMDS doesn't answer, so the ECS agent has neither identity nor credentials: {error}"
        ));
    }
    match registration {
        Ok(Some(_)) => None,
        // Before it has registered the real one listens to nobody; so this alone tells nothing.
        Ok(None) | Err(_) => Some(match tokio::time::timeout(ECS, cluster.find()).await {
            Err(_) => "ECS doesn't answer: is there a way from the subnet to it?".to_owned(),
            Ok(Err(error)) if error.outcome != Outcome::Refused => format!(
                "ECS can't be \
                reached: {error}"
            ),
            Ok(Err(error)) => format!("ECS refuses this instance's role: {error}"),
            Ok(Ok(_)) => "ECS can be reached, the ECS agent has not registered (see \
                          /var/log/ecs/ecs-agent.log): its role may lack \
                          ecs:RegisterContainerInstance, or the network is closed to the agent"
                .to_owned(),
        }),
    }
}
