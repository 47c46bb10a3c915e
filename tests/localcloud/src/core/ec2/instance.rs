//! One instance and its life: pending, running, shutting-down, terminated, forgotten after an hour.

use jiff::{SignedDuration, Timestamp};

use super::super::record::What;
use super::super::{Cloud, Effect, Event, ecs, iam, imds};
use super::account::{Image, InstanceType};
use super::launch::LaunchSpec;
use super::spot;

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
    /// What AWS says of its launch: `pendingTime` and LaunchTime, in whole seconds. `block_ends_in` dates it back.
    pub launch_time: Timestamp,
    /// Its address in its subnet.
    pub private_ip: String,
    /// Its network interface's address.
    pub mac: String,
    /// The spot request that brought it.
    pub spot_request: Option<String>,
    /// That AWS takes it.
    pub notice: Option<Notice>,
    /// Since when AWS recommends to leave it.
    pub rebalance: Option<Timestamp>,
    pub(super) spec: LaunchSpec,
    pub(super) interface: String,
    /// When its state changes by itself.
    pub(super) due: Option<Timestamp>,
    /// When AWS announces the end of its block.
    pub(super) block_end: Option<Timestamp>,
    pub(super) ended: Option<(Timestamp, How)>,
    pub(crate) imds: imds::Host,
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

    pub(super) fn next(&self) -> Option<(Timestamp, Change)> {
        if let Some((ended, _)) = self.ended
            && self.due.is_none()
        {
            return Some((ended + MEMORY, Change::Forget));
        }
        let taken = self.notice.as_ref().map(|notice| (notice.taken_at, Change::Take));
        let announced = self.block_end.filter(|_| taken.is_none()).map(|at| (at, Change::AnnounceBlockEnd));
        let ends = [taken, announced].into_iter().flatten().filter(|_| self.alive());
        self.due.map(|at| (at, Change::Settle)).into_iter().chain(ends).min_by_key(|(at, _)| *at)
    }
}

/// Launches an instance for a spot request; `block` is its length, if it is one.
pub(super) fn launch(
    cloud: &mut Cloud,
    now: Timestamp,
    spec: LaunchSpec,
    request: &str,
    block: Option<SignedDuration>,
) -> String {
    let id = cloud.ids.resource("i");
    let dated_back = match (block, cloud.options.block_ends_in) {
        (Some(length), Some(ends_in)) => now + ends_in - length,
        _ => now,
    };
    // Whole seconds, as AWS gives them: everybody computes the same end from it.
    let launch_time = Timestamp::from_second(dated_back.as_second()).unwrap_or(dated_back);
    let block_end = block.map(|length| launch_time + length);
    let number = cloud.ec2.launched;
    cloud.ec2.launched += 1;
    let instance = Instance {
        id: id.clone(),
        state: State::Pending,
        launch_time,
        // The first four and the last address of a subnet are AWS's.
        private_ip: format!("{}.{}", spec.subnet.network, 4 + number % 251),
        mac: mac(&cloud.ids.hex(10)),
        spot_request: Some(request.to_owned()),
        notice: None,
        rebalance: None,
        interface: cloud.ids.resource("eni"),
        due: Some(now + pace(cloud)),
        block_end,
        ended: None,
        imds: imds::Host::default(),
        number: cloud.ec2.launched as usize,
        spec,
    };
    cloud.ec2.instances.push(instance);
    cloud.event(Event {
        at: now,
        what: What::Launched {
            instance: id.clone(),
            launch_time,
            by: request.to_owned(),
            ends_at: block_end.map(|end| end + NOTICE),
        },
    });
    cloud.effect(Effect::StartNode { instance: id.clone() });
    id
}

fn mac(digits: &str) -> String {
    let pairs: Vec<&str> = (0..5).filter_map(|pair| digits.get(2 * pair..2 * pair + 2)).collect();
    format!("0a:{}", pairs.join(":"))
}

fn pace(cloud: &Cloud) -> SignedDuration {
    super::millis(cloud.options.pace.instance_ms)
}

/// Lets happen what is next for the instance at this place.
pub(super) fn apply(cloud: &mut Cloud, at: Timestamp, index: usize, change: Change) {
    let instance = &mut cloud.ec2.instances[index];
    let id = instance.id.clone();
    match change {
        Change::Settle => {
            instance.due = None;
            instance.state = if instance.ended.is_some() { State::Terminated } else { State::Running };
        }
        Change::AnnounceBlockEnd => {
            announce(cloud, at, &id, "terminate", at + NOTICE);
            spot::marked_for_termination(cloud, at, &id);
        }
        Change::Take => {
            let at_block_end = instance.block_end.is_some_and(|end| end <= at);
            end(cloud, at, &id, How::Taken { at_block_end });
        }
        Change::Forget => {
            cloud.ec2.instances.remove(index);
            cloud.ec2.tags.remove(&id);
        }
    }
}

/// Tells a living instance that it is taken. An earlier notice stays when it is the nearer one.
pub(super) fn announce(cloud: &mut Cloud, now: Timestamp, id: &str, action: &str, taken_at: Timestamp) {
    let Some(instance) = cloud.ec2.find_mut(id) else { return };
    if !instance.alive() || instance.notice.as_ref().is_some_and(|notice| notice.taken_at <= taken_at) {
        return;
    }
    instance.notice = Some(Notice { action: action.to_owned(), taken_at });
    cloud.event(Event { at: now, what: What::InterruptionNotice { instance: id.to_owned(), taken_at } });
}

/// Ends an instance that lives. Its host is dead from this moment, although the state goes through shutting-down: the
/// local cloud gives a host that is ended from outside no time.
pub(super) fn end(cloud: &mut Cloud, now: Timestamp, id: &str, how: How) {
    let due = now + pace(cloud);
    let Some(instance) = cloud.ec2.find_mut(id).filter(|instance| instance.alive()) else { return };
    instance.state = State::ShuttingDown;
    instance.due = Some(due);
    instance.ended = Some((now, how));
    cloud.effect(Effect::EndNode { instance: id.to_owned() });
    cloud.event(Event { at: now, what: What::Gone { instance: id.to_owned(), how: how.event().to_owned() } });
    spot::instance_ended(cloud, now, id, how);
    ecs::host_gone(cloud, now, id);
}
