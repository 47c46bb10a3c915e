//! What the agent needs from outside, as small traits. Adapters implement them; tests put fakes
//! with state in their place.

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use node_contract::NodeConfig;
use serde::{Deserialize, Serialize};

use crate::lifecycle::{
    EcsUnit, ExtensionAnswer, InstanceStatus, OnHost, Outcome, Registration, State, Survey,
};

/// The answer of a port, still to come: a boxed future, so that ports can be trait objects.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time by which the block is measured.
pub trait Clock: Send + Sync {
    /// The block's time at this moment.
    fn now(&self) -> Timestamp;
    /// How far the host's wall clock is ahead of [`Clock::now`].
    fn skew(&self) -> SignedDuration;
    /// What the time rests on now: an anchor without a Date is anchored again when one comes.
    fn anchored(&self) -> Anchor;
}

/// Where a boot's time comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The boot it holds for; empty if the kernel doesn't tell.
    pub(crate) boot_id: String,
    /// The wall time of that boot.
    pub(crate) booted_at: Timestamp,
    /// Whose word it rests on.
    pub(crate) source: AnchorSource,
}

/// Whose word an [`Anchor`] rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorSource {
    /// A Date that AWS sent.
    Date,
    /// The host's wall clock: no Date was to be had.
    WallClock,
}

/// Who and where this instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The instance's id.
    pub instance: String,
    /// The AWS region that it runs in.
    pub region: String,
    /// When it was launched, as IMDS says (`pendingTime`).
    pub launched: Timestamp,
    /// Whether AWS may take it at two minutes' notice (`instance-life-cycle` is `spot`).
    pub is_spot: bool,
}

/// The instance metadata service didn't give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("IMDS {path}: {problem}")]
pub struct MetadataError {
    /// The path asked for.
    pub path: &'static str,
    /// What was wrong. Never holds the answer's body: it may be user data or credentials.
    pub problem: String,
}

/// The instance metadata service.
pub trait Metadata: Send + Sync {
    /// Who and where this instance is.
    fn identity(&self) -> Answer<'_, Result<Identity, MetadataError>>;
    /// The user data, if there is any.
    fn user_data(&self) -> Answer<'_, Result<Option<String>, MetadataError>>;
    /// When AWS takes the instance, once it has given notice.
    fn notice(&self) -> Answer<'_, Result<Option<Timestamp>, MetadataError>>;
    /// The moment of one of the slower signals, if it is given.
    fn signal(&self, signal: Signal) -> Answer<'_, Result<Option<Timestamp>, MetadataError>>;
}

/// What IMDS may say besides the notice. None of it is as urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// When AWS takes the instance, in the place where it said so before there was
    /// `spot/instance-action`.
    TerminationTime,
    /// Since when AWS recommends to leave.
    Rebalance,
    /// The next scheduled event that stops the instance or reboots it.
    Maintenance,
    /// Where a tag on the instance has moved the block's end.
    EndTag,
}

/// The ECS agent's introspection didn't give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("introspection {path}: {problem}")]
pub struct IntrospectionError {
    /// The path asked for.
    pub path: &'static str,
    /// What went wrong with it, in words.
    pub problem: String,
}

/// The ECS agent, as it shows itself on the host.
pub trait EcsAgent: Send + Sync {
    /// Its registration; `None` while it has none.
    fn registration(&self) -> Answer<'_, Result<Option<Registration>, IntrospectionError>>;
    /// The tasks on the host.
    fn tasks(&self) -> Answer<'_, Result<BTreeMap<String, OnHost>, IntrospectionError>>;
}

/// A request to ECS failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} for {object}: {problem}")]
pub struct ClusterError {
    /// The API's name of the operation.
    pub operation: &'static str,
    /// What it was about.
    pub object: String,
    /// AWS's code, message and request id, or why there was no answer.
    pub problem: String,
    /// Whether another attempt may succeed; never [`Outcome::Done`].
    pub outcome: Outcome,
}

/// The ECS API, as far as this instance's role is asked for it.
pub trait Cluster: Send + Sync {
    /// Sets the instance DRAINING and returns the status that ECS confirmed.
    fn drain<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>>;
    /// Shows, as attributes of the container instance, what became of a tag that moves the block's
    /// end.
    fn answer_extension<'a>(
        &'a self,
        answer: &'a ExtensionAnswer,
    ) -> Answer<'a, Result<(), ClusterError>>;
    /// Reads the instance's status.
    fn status<'a>(
        &'a self,
        of: &'a Registration,
    ) -> Answer<'a, Result<InstanceStatus, ClusterError>>;
    /// Reads the instance's status and what ECS knows of these tasks and of those it lists.
    fn survey<'a>(
        &'a self,
        of: &'a Registration,
        tasks: &'a [String],
    ) -> Answer<'a, Result<Survey, ClusterError>>;
    /// Stops a task. One that ECS doesn't know any more is stopped.
    fn stop_task<'a>(
        &'a self,
        of: &'a Registration,
        task: &'a str,
        reason: &'a str,
    ) -> Answer<'a, Result<(), ClusterError>>;
    /// Looks for this instance in its cluster.
    fn find(&self) -> Answer<'_, Result<Option<Registration>, ClusterError>>;
    /// Deregisters the instance, whatever runs on it. One that ECS doesn't know any more is
    /// deregistered.
    fn deregister<'a>(&'a self, of: &'a Registration) -> Answer<'a, Result<(), ClusterError>>;
}

/// Something on the host could not be done.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct HostError {
    /// What was to be done.
    pub what: String,
    /// What went wrong with it, in words.
    pub problem: String,
}

/// The host that the agent runs on: the ECS agent's service, the containers, the power.
pub trait Host: Send + Sync {
    /// Writes ecs.config and asks for the ECS agent to be started, without waiting until it runs.
    fn start_ecs(&self) -> Answer<'_, Result<(), HostError>>;
    /// Stops the ECS agent, throws away what it has kept, and starts it with ecs.config as it
    /// should be.
    fn repair_ecs(&self) -> Answer<'_, Result<(), HostError>>;
    /// What the service manager knows of the ECS agent.
    fn show_ecs(&self) -> Answer<'_, Result<EcsUnit, HostError>>;
    /// Stops the ECS agent.
    fn stop_ecs(&self) -> Answer<'_, Result<(), HostError>>;
    /// Stops the containers of all tasks through the container runtime: SIGTERM, and SIGKILL to
    /// those that live on after `grace`.
    fn stop_containers(&self, grace: SignedDuration) -> Answer<'_, Result<(), HostError>>;
    /// Tells the tasks, by a file that they can look at, that they will be stopped.
    fn warn<'a>(&'a self, details: &'a Details) -> Answer<'a, Result<(), HostError>>;
    /// Asks for the host to be powered off.
    fn power_off(&self) -> Answer<'_, Result<(), HostError>>;
}

/// The service manager that started the agent, which is systemd on a real host.
pub trait Supervisor: Send + Sync {
    /// The agent has started.
    fn ready(&self);
    /// What the agent is doing, for people.
    fn status(&self, text: &str);
    /// The agent is alive.
    fn alive(&self);
    /// How often it has to say so, if at all.
    fn expects_alive_every(&self) -> Option<Duration>;
}

/// The version of [`Saved`] that this build writes and reads.
pub const SAVED_VERSION: u32 = 1;

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The version of this format.
    pub version: u32,
    /// The instance it belongs to: a baked image may carry the state of another.
    pub identity: Identity,
    /// The block's settings.
    pub config: NodeConfig,
    /// What the block's time rests on in this boot.
    pub anchor: Anchor,
    /// The agent's life so far.
    pub state: State,
}

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct StoreError {
    /// The file and what was to be done with it.
    pub what: String,
    /// What went wrong with it, in words.
    pub problem: String,
}

/// The place where the state is kept.
pub trait StateStore: Send + Sync {
    /// The saved state; `None` when there is none.
    fn load(&self) -> Answer<'_, Result<Option<Saved>, StoreError>>;
    /// Saves the state: afterwards either the old or the new one is there, whole.
    fn save<'a>(&'a self, saved: &'a Saved) -> Answer<'a, Result<(), StoreError>>;
}

/// A moment that hooks are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// No further task is taken from now on.
    Drain,
    /// Tasks will be stopped soon.
    Warn,
    /// Tasks are being stopped.
    Stop,
    /// The instance leaves its cluster and powers off.
    Leave,
}

impl Moment {
    /// The word for it, as in the names of hooks.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Warn => "warn",
            Self::Stop => "stop",
            Self::Leave => "leave",
        }
    }
}

/// What a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub(crate) block: String,
    pub(crate) instance: String,
    /// Why it comes to this ([`crate::lifecycle::Why::word`]).
    pub(crate) why: &'static str,
    /// When tasks that still run are stopped.
    pub(crate) stop_at: Timestamp,
    /// When the instance is gone.
    pub(crate) end: Timestamp,
}

/// What the host's owner wants to be run at certain moments.
pub trait Hooks: Send + Sync {
    /// Sets the moment's hooks off and returns at once: nothing waits for them.
    fn fire(&self, moment: Moment, details: &Details);
}

/// A host without hooks.
#[derive(Clone, Copy, Debug)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn fire(&self, _: Moment, _: &Details) {}
}

/// One implementation of each port: all that the loop can reach.
#[derive(Clone)]
pub struct Ports {
    /// The block's time.
    pub clock: Arc<dyn Clock>,
    /// The instance metadata service (IMDS).
    pub metadata: Arc<dyn Metadata>,
    /// The ECS agent's introspection.
    pub ecs_agent: Arc<dyn EcsAgent>,
    /// The cluster at ECS that the instance is a part of.
    pub cluster: Arc<dyn Cluster>,
    /// The host that the agent runs on.
    pub host: Arc<dyn Host>,
    /// The service manager that watches the agent.
    pub supervisor: Arc<dyn Supervisor>,
    /// The file that the state is saved in.
    pub store: Arc<dyn StateStore>,
    /// The hooks that the host's owner has put there.
    pub hooks: Arc<dyn Hooks>,
}

/// An error's text and those of its causes, in one line: what stands as the `problem` of the errors
/// here.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
