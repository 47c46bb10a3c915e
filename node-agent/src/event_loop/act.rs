//! One action, from its beginning to the event that tells its outcome. Each has a time limit.

use std::fmt::Display;
use std::time::Duration;

use jiff::SignedDuration;

use super::Node;
use crate::lifecycle::{Action, Event, InstanceStatus, Outcome};
use crate::ports::{ClusterError, HostError, Moment, Ports};

/// The limit of an action that doesn't bring its own; below the time after which the lifecycle asks
/// again.
const LIMIT: SignedDuration = SignedDuration::from_secs(25);

pub(super) async fn act(node: &Node, ports: &Ports, action: Action) -> Event {
    match action {
        Action::StartEcsAgent => Event::EcsAgentStarted(
            host("starting the ECS agent", LIMIT, ports.host.start_ecs()).await,
        ),
        Action::RepairEcsAgent(limit) => {
            tracing::warn!("the ECS agent belongs to another cluster: it is given a new beginning");
            Event::EcsAgentRepaired(
                host("repairing the ECS agent", limit, ports.host.repair_ecs()).await,
            )
        }
        Action::Warn { why, stop_at, end } => {
            let details = node.details(why, stop_at, end);
            ports.hooks.fire(Moment::Warn, &details);
            let outcome = host("warning the tasks", LIMIT, ports.host.warn(&details)).await;
            Event::Warned { stop_at, outcome }
        }
        Action::AnswerExtension(answer) => {
            let told = ports.cluster.answer_extension(&answer);
            let outcome = ecs("telling ECS of the extension", LIMIT, told)
                .await
                .err()
                .unwrap_or(Outcome::Done);
            Event::ExtensionAnswered { answer, outcome }
        }
        Action::SetDraining(of) => {
            let outcome = match ecs("setting DRAINING", LIMIT, ports.cluster.drain(&of)).await {
                Ok(InstanceStatus::Draining) => {
                    tracing::info!(container_instance = of.instance, "ECS confirmed DRAINING");
                    Outcome::Done
                }
                Ok(status) => {
                    tracing::warn!(?status, "ECS did not confirm DRAINING");
                    Outcome::Retry
                }
                Err(outcome) => outcome,
            };
            Event::DrainingSet { instance: of.instance, outcome }
        }
        Action::Survey { of, tasks } => Event::Surveyed(
            ecs("asking ECS about the tasks", LIMIT, ports.cluster.survey(&of, &tasks)).await,
        ),
        Action::StopTask { of, task, limit } => {
            let reason = node.stop_reason();
            let asked =
                ecs("stopping a task", limit, ports.cluster.stop_task(&of, &task, &reason)).await;
            if asked.is_ok() {
                tracing::info!(task, "ECS was asked to stop the task");
            }
            Event::TaskStopAsked { task, outcome: asked.err().unwrap_or(Outcome::Done) }
        }
        Action::StopEcsAgent(limit) => Event::EcsAgentStopped(
            host("stopping the ECS agent", limit, ports.host.stop_ecs()).await,
        ),
        Action::StopContainers { grace, limit } => {
            tracing::warn!(%grace, "stopping the containers through the container runtime");
            Event::ContainersStopped(
                host("stopping the containers", limit, ports.host.stop_containers(grace)).await,
            )
        }
        Action::FindRegistration(limit) => {
            Event::Found(ecs("looking for a registration", limit, ports.cluster.find()).await)
        }
        Action::Deregister(of, limit) => {
            let asked = ecs("deregistering", limit, ports.cluster.deregister(&of)).await;
            Event::Deregistered(asked.err().unwrap_or(Outcome::Done))
        }
        Action::PowerOff => {
            tracing::info!(
                block = node.config.block,
                instance = node.identity.instance,
                "powering off"
            );
            Event::PoweredOff(host("powering off", LIMIT, ports.host.power_off()).await)
        }
    }
}

async fn host(
    what: &str,
    limit: SignedDuration,
    answer: impl Future<Output = Result<(), HostError>>,
) -> Outcome {
    match tokio::time::timeout(limit.unsigned_abs(), answer).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(error)) => failed(what, &error, Outcome::Retry),
        Err(_) => failed(what, &"it took too long", Outcome::Retry),
    }
}

async fn ecs<T>(
    what: &str,
    limit: SignedDuration,
    answer: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, Outcome> {
    let limit: Duration = limit.unsigned_abs();
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(what, &error, error.outcome)),
        Err(_) => Err(failed(what, &"it took too long", Outcome::Retry)),
    }
}

fn failed(what: &str, error: &dyn Display, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused => tracing::error!(%error, "{what} was refused"),
        Outcome::Retry | Outcome::Done => tracing::warn!(%error, "{what} failed"),
    }
    outcome
}
