//! The host and its ECS agent.

use std::collections::BTreeMap;
use std::sync::MutexGuard;
use std::time::Duration;

use jiff::SignedDuration;

use super::facts::Said;
use super::{Facts, FakeTask, World, own};
use crate::lifecycle::{EcsUnit, OnHost, Registration};
use crate::ports::{Answer, Clock as _, Details, EcsAgent, Host, HostError, IntrospectionError};

impl World {
    /// What every command goes through; `None` when it has no effect and says that it has.
    async fn command(&self, what: &str) -> Result<Option<MutexGuard<'_, Facts>>, HostError> {
        let answer = self.act(what).await;
        let facts = self.facts();
        if facts.host_fails || answer == Said::Failure {
            return Err(HostError { what: what.into(), problem: "exit status: 1".into() });
        }
        Ok((answer == Said::True).then_some(facts))
    }
}

impl EcsAgent for World {
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>> {
        Box::pin(async {
            let answer = self.act("").await;
            let facts = self.facts();
            if !facts.ecs_agent_runs || facts.introspection_blind || answer == Said::Failure {
                return Err(IntrospectionError { path: "metadata", problem: "refused".into() });
            }
            if answer == Said::Lie {
                return Ok(Some(Registration {
                    instance: "arn:foreign".into(),
                    cluster: "default".into(),
                }));
            }
            let cluster = facts.joins.clone().unwrap_or_else(|| own().cluster);
            Ok(facts.registered.then(|| Registration { cluster, ..own() }))
        })
    }

    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>> {
        Box::pin(async {
            let answer = self.act("").await;
            let now = self.now();
            let facts = self.facts();
            if !facts.ecs_agent_runs
                || answer == Said::Failure
                || facts.ecs_agent_dies_at.is_some_and(|at| at <= now)
            {
                return Err(IntrospectionError { path: "tasks", problem: "refused".into() });
            }
            if facts.introspection_lies || answer == Said::Lie {
                return Ok(BTreeMap::new());
            }
            let on_host = |task: &FakeTask| {
                if task.ended_at() <= now { OnHost::Stopped } else { OnHost::Live }
            };
            Ok(facts.tasks.iter().map(|(arn, task)| (arn.clone(), on_host(task))).collect())
        })
    }
}

impl Host for World {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            let exits = {
                let Some(mut facts) = self.command("start-ecs").await? else { return Ok(()) };
                facts.ecs_agent_runs = facts.ecs_exit.is_none();
                !facts.ecs_agent_runs
            };
            tokio::time::sleep(Duration::from_secs(3)).await;
            let mut facts = self.facts();
            facts.registered |= !exits && !facts.never_registers && facts.ecs_agent_runs;
            Ok(())
        })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            {
                let Some(mut facts) = self.command("repair-ecs").await? else { return Ok(()) };
                facts.ecs_agent_runs = true;
                (facts.joins, facts.ecs_exit) = (None, None);
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.facts().registered = true;
            Ok(())
        })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        Box::pin(async {
            let Some(facts) = self.command("show-ecs").await? else {
                return Ok(EcsUnit { runs: Some(false), exit: Some(5) });
            };
            Ok(EcsUnit { runs: Some(facts.ecs_agent_runs), exit: facts.ecs_exit })
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            match self.command("stop-ecs").await? {
                Some(mut facts) => facts.ecs_agent_runs = false,
                None => return Ok(()),
            }
            if self.facts().stop_ecs_hangs {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async move {
            let now = self.now();
            let ended = {
                let Some(mut facts) = self.command("stop-containers").await? else { return Ok(()) };
                if facts.docker_fails {
                    return Err(HostError {
                        what: "docker stop".into(),
                        problem: "no daemon".into(),
                    });
                }
                for task in facts.tasks.values_mut().filter(|task| now < task.ended_at()) {
                    task.local.get_or_insert((now, now + grace));
                }
                facts.tasks.values().map(FakeTask::ended_at).max().unwrap_or(now)
            };
            tokio::time::sleep(now.duration_until(ended).max(SignedDuration::ZERO).unsigned_abs())
                .await;
            Ok(())
        })
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        Box::pin(async move {
            let stop_at = details.stop_at.strftime("%H:%M:%S");
            self.command(&format!("warn {stop_at} {}", details.why)).await.map(drop)
        })
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            if self.command("power-off").await?.is_some() {
                self.off.notify_one();
            }
            Ok(())
        })
    }
}
