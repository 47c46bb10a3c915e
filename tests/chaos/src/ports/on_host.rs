//! The host and its ECS agent, as the agent's adapters reach them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use spotblock_agent::lifecycle::{EcsUnit, OnHost, Registration};
use spotblock_agent::ports::{Answer, Details, EcsAgent, Host, HostError, IntrospectionError};

use super::Agent;
use crate::container::Stage;
use crate::host::{self, Ill};

impl Agent {
    /// What every command on the host goes through.
    async fn command(&self, what: &str) -> Result<(), HostError> {
        self.process.before().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.process.before().await;
        while self.suffers(Ill::CommandsHang) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.process.before().await;
        }
        if self.suffers(Ill::Commands) {
            return Err(HostError { what: what.to_owned(), problem: "exit status: 1".to_owned() });
        }
        Ok(())
    }

    fn introspected<T>(
        &self,
        path: &'static str,
        read: impl FnOnce(&host::Host) -> T,
    ) -> Result<T, IntrospectionError> {
        let failing = self.suffers(Ill::Introspection);
        self.host(|host| {
            if failing || matches!(host.ecs, host::EcsAgent::Stopped(_)) {
                return Err(IntrospectionError { path, problem: "refused".to_owned() });
            }
            Ok(read(host))
        })
    }

    fn start(&self) {
        let (mut state, now) = (self.world.state(), self.world.now());
        let boot = SignedDuration::from_millis(state.cloud.options.pace.ecs_start_ms.cast_signed());
        let host = &mut state.hosts[self.number];
        host.settings = self.known.get().map(|known| known.settings.clone());
        host.start_ecs(now, boot);
    }

    fn stop(&self) {
        let (mut state, now) = (self.world.state(), self.world.now());
        let crate::world::State { hosts, cloud, .. } = &mut *state;
        hosts[self.number].stop_ecs(cloud, now);
    }
}

impl EcsAgent for Agent {
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>> {
        Box::pin(async {
            self.process.before().await;
            self.introspected("/v1/metadata", |host| {
                let (cluster, instance) =
                    host.data.clone().filter(|_| host.ecs == host::EcsAgent::Registered)?;
                Some(Registration { instance, cluster })
            })
        })
    }

    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>> {
        Box::pin(async {
            self.process.before().await;
            self.introspected("/v1/tasks", |host| {
                let on_host =
                    |stage| if stage == Stage::Stopped { OnHost::Stopped } else { OnHost::Live };
                host.containers.iter().map(|(arn, it)| (arn.clone(), on_host(it.stage))).collect()
            })
        })
    }
}
impl Host for Agent {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("start-ecs").await?;
            self.start();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("repair-ecs").await?;
            self.stop();
            self.host(|host| host.data = None);
            self.start();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        Box::pin(async {
            self.command("show-ecs").await?;
            Ok(self.host(|host| match host.ecs {
                host::EcsAgent::Stopped(exit) => EcsUnit { runs: Some(false), exit },
                host::EcsAgent::Starting(_) | host::EcsAgent::Registered => {
                    EcsUnit { runs: Some(true), exit: None }
                }
            }))
        })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("stop-ecs").await?;
            self.stop();
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async move {
            self.command("stop-containers").await?;
            let now = self.world.now();
            // Whole seconds, as the command is given them.
            let grace = SignedDuration::from_secs(grace.as_secs().max(0));
            self.host(|host| host.containers.values_mut().for_each(|it| it.stop(now, grace)));
            self.world.poke();
            self.process.after().await;
            while self.host(|host| host.containers.values().any(crate::container::Container::lives))
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        })
    }

    fn warn<'a>(&'a self, _: &'a Details) -> Answer<'a, Result<(), HostError>> {
        Box::pin(self.command("warn"))
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async {
            self.command("power-off").await?;
            // What systemd takes until the host is off.
            let at = self.world.now() + SignedDuration::from_millis(1_200);
            self.host(|host| {
                host.goes_off = Some(host.goes_off.map_or(at, |earlier| earlier.min(at)))
            });
            self.world.poke();
            self.process.after().await;
            Ok(())
        })
    }
}
