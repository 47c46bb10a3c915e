//! What the guard only pretends to do, since whoever takes the host down does it: stop the ECS
//! agent, deregister, power off. `systemctl stop ecs` would even wait for the guard's own end.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Notify;

use crate::lifecycle::{EcsUnit, ExtensionAnswer, InstanceStatus, Registration, Survey};
use crate::ports::{
    Answer, Cluster, ClusterError, Details, Host, HostError, Saved, StateStore, StoreError,
    Supervisor,
};

/// The host and its place in ECS, while somebody else takes the host down.
pub(super) struct GuardPorts {
    pub(super) host: Arc<dyn Host>,
    pub(super) cluster: Arc<dyn Cluster>,
    /// Told when all that the guard can do is done.
    pub(super) left: Arc<Notify>,
}

impl Host for GuardPorts {
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        // Not the last thing: where ECS took no stop, the containers are stopped next.
        Box::pin(async { Ok(()) })
    }

    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>> {
        Box::pin(async { Ok(()) })
    }

    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>> {
        self.host.show_ecs()
    }

    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>> {
        self.host.stop_containers(grace)
    }

    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>> {
        self.host.warn(details)
    }

    fn power_off(&self) -> Answer<'_, Result<(), HostError>> {
        self.left.notify_one();
        Box::pin(async { Ok(()) })
    }
}

impl Cluster for GuardPorts {
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        self.cluster.drain(of)
    }

    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>> {
        self.cluster.answer_extension(answer)
    }

    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>> {
        self.cluster.status(of)
    }

    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>> {
        self.cluster.survey(of, tasks)
    }

    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>> {
        self.cluster.stop_task(of, task, reason)
    }

    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>> {
        self.cluster.find()
    }

    fn deregister<'a>(&'a self, _: &'a Registration) -> Answer<'a, Result<(), ClusterError>> {
        self.left.notify_one();
        Box::pin(async { Ok(()) })
    }
}

/// The agent has a service manager and a state file of its own, and may still be using both.
pub(super) struct NoOp;

impl Supervisor for NoOp {
    fn ready(&self) {}

    fn status(&self, _: &str) {}

    fn alive(&self) {}

    fn expects_alive_every(&self) -> Option<Duration> {
        None
    }
}

impl StateStore for NoOp {
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn save<'a>(&'a self, _: &'a Saved) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
