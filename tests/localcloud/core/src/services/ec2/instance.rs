//! One instance and its life: pending, running, shutting-down, terminated, forgotten after an hour.
//! One that powers itself off and isn't told to terminate by that is stopped instead, and stays.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::account::Image;
use super::launch::{LaunchSpec, Shutdown};
use super::tags::Tags;
use super::types::InstanceType;
use super::{Service, spot};
use crate::journal::record::What;
use crate::journal::{Effect, Event};
use crate::services::iam;

/// How long before AWS takes an instance it says so.
pub(super) const NOTICE: SignedDuration = SignedDuration::from_secs(120);

/// How long a terminated instance can still be described.
const MEMORY: SignedDuration = SignedDuration::from_hours(1);

/// A state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Launched, not yet running.
    Pending,
    /// Running.
    Running,
    /// On its way out; its host is dead already.
    ShuttingDown,
    /// Gone.
    Terminated,
    /// Powered off and kept; its host is dead already.
    Stopping,
    /// Powered off and kept.
    Stopped,
}

/// How an instance is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Market {
    /// By the hour, for as long as it runs.
    OnDemand,
    /// From what AWS has to spare, until it wants it back.
    Spot,
    /// Paid with a capacity block.
    CapacityBlock,
}

impl Market {
    /// Its name in IMDS and in a fleet's answers.
    #[must_use]
    pub fn life_cycle(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::CapacityBlock => "capacity-block",
        }
    }
}

/// An instance that is to be launched.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) spec: Arc<LaunchSpec>,
    pub(super) market: Market,
    /// What brings it, for the record of events: a spot request, a fleet, or a RunInstances call's
    /// reservation.
    pub(super) by: String,
    pub(super) spot_request: Option<String>,
    /// The reservation (`r-...`) of the instances that one call launches; left out, it has one of
    /// its own.
    pub(super) reservation: Option<String>,
    /// When it is a spot block: how long that is.
    pub(super) block: Option<SignedDuration>,
    /// When it is launched into a capacity block: when AWS takes that back.
    pub(super) taken_back: Option<Timestamp>,
    pub(super) tags: Tags,
}

/// That AWS takes an instance, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `terminate`, `stop` or `hibernate`.
    pub action: String,
    /// When the instance is taken.
    pub taken_at: Timestamp,
}

/// Where an instance is in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Its network interface.
    pub interface: &'a str,
    /// Its subnet.
    pub subnet: &'static str,
    /// Its VPC.
    pub vpc: &'static str,
    /// Its subnet's addresses.
    pub cidr: String,
    /// The ids of its security groups.
    pub groups: Vec<&'static str>,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The host powered itself off.
    PowerOff,
    /// By TerminateInstances.
    Terminated,
    /// By AWS, after a notice; `at_block_end` when it is the block's end and not an interruption.
    Taken { at_block_end: bool },
    /// The host died.
    Vanished,
}

/// An instance.
pub struct Instance {
    /// `i-` and 17 hexadecimal digits.
    pub id: String,
    /// Where it is in its life.
    pub state: State,
    /// What AWS says of its launch: `pendingTime` and LaunchTime, in whole seconds. `block_ends_in`
    /// dates it back.
    pub launch_time: Timestamp,
    /// Its address in its subnet.
    pub private_ip: String,
    /// Its network interface's address.
    pub mac: String,
    /// How it was bought.
    pub market: Market,
    /// The spot request that brought it.
    pub spot_request: Option<String>,
    /// That AWS takes it.
    pub notice: Option<Notice>,
    /// Since when AWS recommends to leave it.
    pub rebalance: Option<Timestamp>,
    pub(super) spec: Arc<LaunchSpec>,
    pub(super) interface: String,
    /// The reservation (`r-...`) that its launch made.
    pub(super) reservation: String,
    /// Until when it isn't shown yet.
    pub(super) shown_from: Timestamp,
    /// When its state changes by itself.
    pub(super) due: Option<Timestamp>,
    /// When AWS announces the end of its block.
    pub(super) block_end: Option<Timestamp>,
    /// Since when its host is down, and why; of a stopped one too.
    pub(super) ended: Option<(Timestamp, How)>,
    /// Whether its host is simulated, because so many instances lived at its launch.
    pub(crate) is_simulated: bool,
    /// Its place in the order of all launches, from 1.
    pub(super) number: usize,
}

/// What is next in an instance's life.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Settle,
    AnnounceBlockEnd,
    Take,
    Forget,
}

impl State {
    /// AWS's number and name for it.
    pub(super) fn answer(self) -> (u8, &'static str) {
        match self {
            Self::Pending => (0, "pending"),
            Self::Running => (16, "running"),
            Self::ShuttingDown => (32, "shutting-down"),
            Self::Terminated => (48, "terminated"),
            Self::Stopping => (64, "stopping"),
            Self::Stopped => (80, "stopped"),
        }
    }
}

impl How {
    fn event(self) -> &'static str {
        match self {
            Self::PowerOff => "power-off",
            Self::Terminated => "terminated",
            Self::Taken { .. } => "taken-by-aws",
            Self::Vanished => "vanished",
        }
    }
}

impl Instance {
    /// Its type: vCPUs, memory, GPUs.
    #[must_use]
    pub fn instance_type(&self) -> &'static InstanceType {
        self.spec.instance_type
    }

    /// Its image, which says whether it carries the agent.
    #[must_use]
    pub fn image(&self) -> &'static Image {
        self.spec.image
    }

    /// Its user data, decoded.
    #[must_use]
    pub fn user_data(&self) -> Option<&[u8]> {
        self.spec.user_data.as_deref()
    }

    /// The letter of its zone.
    #[must_use]
    pub fn zone(&self) -> char {
        self.spec.subnet.zone
    }

    /// Its DNS name inside the VPC.
    #[must_use]
    pub fn private_dns(&self) -> String {
        format!("ip-{}.ec2.internal", self.private_ip.replace('.', "-"))
    }

    /// Its instance profile.
    pub(crate) fn profile(&self) -> Option<&iam::UsableProfile> {
        self.spec.profile.as_ref()
    }

    /// Its place in the order of all launches, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The name of its key pair.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.spec.key.as_deref()
    }

    /// The names of its security groups.
    #[must_use]
    pub fn group_names(&self) -> Vec<&'static str> {
        self.spec.groups.iter().map(|group| group.name).collect()
    }

    /// Where it is in the network.
    #[must_use]
    pub fn placed(&self) -> Placed<'_> {
        Placed {
            interface: &self.interface,
            subnet: self.spec.subnet.id,
            vpc: self.spec.subnet.vpc,
            cidr: format!("{}.0/24", self.spec.subnet.network),
            groups: self.spec.groups.iter().map(|group| group.id).collect(),
        }
    }

    /// Whether its host lives.
    #[must_use]
    pub fn alive(&self) -> bool {
        matches!(self.state, State::Pending | State::Running)
    }

    /// Whether its metadata can be reached at all.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        self.spec.metadata.enabled
    }

    /// Whether its tags can be read from its metadata.
    #[must_use]
    pub fn shows_tags(&self) -> bool {
        self.spec.metadata.tags
    }

    /// A one-time spot instance that shuts itself down is terminated, whatever it was launched
    /// with.
    fn stops_when_powered_off(&self) -> bool {
        self.market == Market::OnDemand && self.spec.shutdown == Shutdown::Stop
    }

    pub(super) fn next(&self) -> Option<(Timestamp, Change)> {
        if let Some((ended, _)) = self.ended
            && self.state == State::Terminated
        {
            return Some((ended + MEMORY, Change::Forget));
        }
        let taken = self.notice.as_ref().map(|notice| (notice.taken_at, Change::Take));
        let announced =
            self.block_end.filter(|_| taken.is_none()).map(|at| (at, Change::AnnounceBlockEnd));
        let ends = [taken, announced].into_iter().flatten().filter(|_| self.alive());
        self.due.map(|at| (at, Change::Settle)).into_iter().chain(ends).min_by_key(|(at, _)| *at)
    }
}

/// Launches an instance; gives its id.
pub(super) fn launch(service: &mut Service<'_>, now: Timestamp, order: Order) -> String {
    let id = service.ids.resource("i");
    let is_simulated = next_is_simulated(service);
    let Order { spec, market, by, spot_request, reservation, block, taken_back, tags } = order;
    let launch_time = launch_time(service, now, block.or_else(|| told_length(&spec)));
    let block_end = block.map(|length| launch_time + length);
    let number = service.state.launched;
    service.state.launched += 1;
    if !tags.is_empty() {
        service.state.tags.insert(id.clone(), tags);
    }
    service.state.instances.push(Instance {
        id: id.clone(),
        state: State::Pending,
        launch_time,
        // The first four and the last address of a subnet are AWS's.
        private_ip: format!("{}.{}", spec.subnet.network, 4 + number % 251),
        mac: mac(&service.ids.hex(10)),
        market,
        spot_request,
        notice: None,
        rebalance: None,
        interface: service.ids.resource("eni"),
        reservation: reservation.unwrap_or_else(|| format!("r-{}", id.trim_start_matches("i-"))),
        shown_from: now + super::millis(service.options.pace.instance_shown_ms),
        due: Some(now + pace(service)),
        block_end,
        ended: None,
        is_simulated,
        number: service.state.launched as usize,
        spec,
    });
    let ends_at = taken_back.or_else(|| block_end.map(|end| end + NOTICE));
    service.journal.event(Event {
        at: now,
        what: What::Launched { instance: id.clone(), launch_time, by, ends_at },
    });
    service.journal.effect(now, Effect::StartNode { instance: id.clone() });
    id
}

/// Whether so many instances live that the next one's host is simulated.
fn next_is_simulated(service: &Service<'_>) -> bool {
    let alive = service.state.instances.iter().filter(|instance| instance.alive()).count();
    u32::try_from(alive).unwrap_or(u32::MAX) >= service.options.light_nodes_above
}

/// How long the block is of which the agent on an instance is told: AWS knows nothing of it, where
/// it doesn't end it.
fn told_length(spec: &LaunchSpec) -> Option<SignedDuration> {
    let text = std::str::from_utf8(spec.user_data.as_deref()?).ok()?;
    match node_contract::user_data::extract(text).ok()?.end {
        node_contract::End::AfterLaunchSecs(secs) => Some(SignedDuration::from_secs(secs.into())),
        node_contract::End::At(_) => None,
    }
}

/// Whole seconds, as AWS gives them: everybody computes the same end from it. Options can date a
/// block back.
fn launch_time(service: &Service<'_>, now: Timestamp, block: Option<SignedDuration>) -> Timestamp {
    let dated_back = match (block, service.options.block_ends_in) {
        (Some(length), Some(ends_in)) => now + ends_in - length,
        _ => now - service.options.launched_ago.unwrap_or_default(),
    };
    Timestamp::from_second(dated_back.as_second()).unwrap_or(dated_back)
}

fn mac(digits: &str) -> String {
    let pairs: Vec<&str> = (0..5).filter_map(|pair| digits.get(2 * pair..2 * pair + 2)).collect();
    format!("0a:{}", pairs.join(":"))
}

fn pace(service: &Service<'_>) -> SignedDuration {
    super::millis(service.options.pace.instance_ms)
}

/// Lets happen what is next for the instance at this place.
pub(super) fn apply(service: &mut Service<'_>, at: Timestamp, index: usize, change: Change) {
    let instance = &mut service.state.instances[index];
    let id = instance.id.clone();
    match change {
        Change::Settle => {
            instance.due = None;
            instance.state = match instance.state {
                State::Pending | State::Running => State::Running,
                State::ShuttingDown | State::Terminated => State::Terminated,
                State::Stopping | State::Stopped => State::Stopped,
            };
        }
        Change::AnnounceBlockEnd => {
            announce(service, at, &id, "terminate", at + NOTICE);
            spot::marked_for_termination(service, at, &id);
        }
        Change::Take => {
            let at_block_end = instance.block_end.is_some_and(|end| end <= at);
            end(service, at, &id, How::Taken { at_block_end });
        }
        Change::Forget => {
            service.state.instances.remove(index);
            service.state.tags.remove(&id);
        }
    }
}

/// Tells a living instance that it is taken. An earlier notice stays when it is the nearer one.
pub(super) fn announce(
    service: &mut Service<'_>,
    now: Timestamp,
    id: &str,
    action: &str,
    taken_at: Timestamp,
) {
    let Some(instance) = service.state.instance_mut(id) else { return };
    if !instance.alive()
        || instance.notice.as_ref().is_some_and(|notice| notice.taken_at <= taken_at)
    {
        return;
    }
    instance.notice = Some(Notice { action: action.to_owned(), taken_at });
    service.journal.event(Event {
        at: now,
        what: What::InterruptionNotice { instance: id.to_owned(), taken_at },
    });
}

/// Ends an instance. Its host is dead from this moment, although the state goes through
/// shutting-down or stopping: the local cloud gives a host that is ended from outside no time.
pub(super) fn end(service: &mut Service<'_>, now: Timestamp, id: &str, how: How) {
    let due = now + pace(service);
    let Some(instance) = service.state.instance_mut(id) else { return };
    let alive = instance.alive();
    let stopped = matches!(instance.state, State::Stopping | State::Stopped);
    // A stopped one has nothing left but its record, and TerminateInstances ends that too.
    let can_end = alive || (stopped && how == How::Terminated);
    if !can_end {
        return;
    }
    let stops = how == How::PowerOff && instance.stops_when_powered_off();
    instance.state = if stops { State::Stopping } else { State::ShuttingDown };
    instance.due = Some(due);
    instance.ended = Some((now, how));
    let what = if stops { "stopped" } else { how.event() };
    service.journal.event(Event {
        at: now,
        what: What::Gone { instance: id.to_owned(), how: what.to_owned() },
    });
    if alive {
        service.journal.effect(now, Effect::EndNode { instance: id.to_owned() });
        spot::instance_ended(service, now, id, how);
    }
}
