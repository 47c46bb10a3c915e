//! IMDS and ECS.

use std::time::Duration;

use jiff::Timestamp;

use super::facts::Said;
use super::{REPORT, World, own};
use crate::lifecycle::{ExtensionAnswer, InstanceStatus, Outcome, Registration, Survey};
use crate::ports::{
    Answer, Clock as _, Cluster, ClusterError, Identity, Metadata, MetadataError, Signal,
};

impl World {
    /// What every request to ECS goes through.
    async fn ecs(&self, what: &str) -> Result<Said, ClusterError> {
        let answer = self.act(what).await;
        let (fails, hangs) = {
            let facts = self.facts();
            (facts.ecs_fails || answer == Said::Failure, facts.ecs_hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        if fails {
            return Err(ClusterError {
                operation: "Any",
                object: "arn:own".into(),
                problem: "ServerException".into(),
                outcome: Outcome::Retry,
            });
        }
        Ok(answer)
    }
}

impl Metadata for World {
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>> {
        Box::pin(async {
            let answer = self.act("").await;
            let mut facts = self.facts();
            if facts.imds_fails > 0 || answer == Said::Failure {
                facts.imds_fails = facts.imds_fails.saturating_sub(1);
                return Err(MetadataError { path: "identity", problem: "HTTP 503".into() });
            }
            facts
                .identity
                .clone()
                .ok_or(MetadataError { path: "identity", problem: "HTTP 404".into() })
        })
    }

    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>> {
        Box::pin(async { Ok(self.note("user-data").user_data.clone()) })
    }

    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async move {
            let answer = self.act(&format!("signal {signal:?}")).await;
            if answer == Said::Failure {
                return Err(MetadataError { path: "signal", problem: "HTTP 500".into() });
            }
            let facts = self.facts();
            if answer == Said::Lie {
                return Ok(None);
            }
            Ok(match signal {
                Signal::TerminationTime => facts.termination_time,
                Signal::Rebalance => facts.rebalance,
                Signal::Maintenance => facts.maintenance,
                Signal::EndTag => facts.end_tag,
            })
        })
    }

    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>> {
        Box::pin(async {
            let answer = self.act("").await;
            let notice = self.facts().notice.filter(|_| answer != Said::Lie);
            // What isn't a notice is garbage half the time.
            let garbage = || MetadataError { path: "action", problem: "expected value".into() };
            if answer == Said::Failure {
                return Err(garbage());
            }
            if notice.is_none() && self.now().as_second() % 2 == 0 {
                Err(garbage())
            } else {
                Ok(notice)
            }
        })
    }
}

impl Cluster for World {
    fn drain<'a>(
        &'a self,
        _: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            if self.ecs("drain").await? == Said::Lie {
                return Ok(InstanceStatus::Draining);
            }
            let now = self.now();
            let mut facts = self.facts();
            facts.drained = true;
            facts.drained_at.get_or_insert(now);
            self.draining.notify_one();
            Ok(InstanceStatus::Draining)
        })
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            if self.ecs("answer").await? != Said::Lie {
                self.facts().answers.push(answer.clone());
            }
            Ok(())
        })
    }

    fn status<'a>(
        &'a self,
        _: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        Box::pin(async {
            let lies = self.ecs("status").await? == Said::Lie;
            Ok(if self.facts().drained != lies {
                InstanceStatus::Draining
            } else {
                InstanceStatus::Active
            })
        })
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        asked: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        Box::pin(async move {
            let lies = self.ecs("survey").await? == Said::Lie;
            let now = self.now();
            let facts = self.facts();
            let known = |arn: &String| {
                lies || facts.ecs_lies
                    || facts.tasks.get(arn).is_none_or(|task| task.ended_at() + REPORT <= now)
            };
            let tasks =
                facts.tasks.keys().chain(asked).map(|arn| (arn.clone(), known(arn))).collect();
            let status = if facts.drained || lies {
                InstanceStatus::Draining
            } else {
                InstanceStatus::Active
            };
            Ok(Survey { instance: of.instance.clone(), status, pending: 0, tasks })
        })
    }

    fn stop_task<'a>(
        &'a self,
        _: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let lies = self.ecs(&format!("stop {task}")).await? == Said::Lie;
            let now = self.now();
            let refused = self.facts().stop_task_is;
            if let Some(outcome) = refused {
                let problem = "AccessDeniedException".to_owned();
                return Err(ClusterError {
                    operation: "StopTask",
                    object: task.into(),
                    problem,
                    outcome,
                });
            }
            self.facts().stops_taken.insert(task.to_owned());
            if lies || self.facts().ecs_agent_dies_at.is_some_and(|at| at <= now) {
                // ECS takes it, and nobody on the host carries it out.
                return Ok(());
            }
            if let Some(task) = self.facts().tasks.get_mut(task) {
                task.stop.get_or_insert((now, reason.to_owned()));
            }
            Ok(())
        })
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        Box::pin(async {
            let lies = self.ecs("find").await? == Said::Lie;
            Ok((self.facts().registered && !lies).then(own))
        })
    }

    fn deregister<'a>(&'a self, _: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        Box::pin(async {
            if self.ecs("deregister").await? == Said::Lie {
                return Ok(());
            }
            let now = self.now();
            let mut facts = self.facts();
            facts.deregistered = true;
            // What ECS takes for running ends with a reason that no retry rule knows.
            let running = facts.tasks.iter().filter(|(_, task)| now < task.ended_at() + REPORT);
            let lost = running
                .map(|(arn, _)| arn.clone())
                .filter(|arn| !facts.stops_taken.contains(arn))
                .collect();
            facts.lost = lost;
            Ok(())
        })
    }
}
