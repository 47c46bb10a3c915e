//! How the cloud behaves.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How the cloud behaves. All of it can be changed while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Identifiers and delays follow from it.
    pub seed: u64,
    /// The account.
    pub account: String,
    /// The region of everything.
    pub region: String,
    /// Whether spot requests with a duration are granted, as AWS did, or refused, as AWS does.
    pub spot_block: SpotBlock,
    /// Start blocks this near to their end, by dating the launch back: spot blocks, and instances
    /// whose user data tells an agent how long their block is. Capacity blocks on offer have begun
    /// already, and their instances are taken back this soon.
    pub block_ends_in: Option<SignedDuration>,
    /// Date launches back by so much, where `block_ends_in` doesn't say by how much.
    pub launched_ago: Option<SignedDuration>,
    /// How soon the first capacity block on offer starts; left out, they all start at 11:30 UTC, as
    /// most of AWS's do.
    pub capacity_block_starts_in: Option<SignedDuration>,
    /// How long state changes take.
    pub pace: Pace,
    /// The spot price in dollars per hour of every type; left out, each type has its own in each
    /// zone.
    pub spot_price: Option<f64>,
    /// How many further spot instances can be had.
    pub spot_capacity: Option<u32>,
    /// Spot requests are accepted, and fail when they are evaluated.
    pub spot_failure: Option<SpotFailure>,
    /// The account's default of `InstanceMetadataTags`, for instances of whose metadata nothing is
    /// said: a spot request can't say it. AWS's own default is no.
    pub instance_metadata_tags: bool,
    /// How many instances can run at once: `{"c5.large/us-east-1a": 3}`. A key is a type, a zone,
    /// and if wanted a market (`spot`, `on-demand`), with `*` for any; all that fit count. What no
    /// key fits is without limit.
    pub capacity: BTreeMap<String, u32>,
    /// The account's quota of vCPUs of running on-demand instances.
    pub on_demand_vcpus: Option<u32>,
    /// The account's quota of vCPUs of running spot instances.
    pub spot_vcpus: Option<u32>,
    /// While so many instances live, the next ones are light nodes: without sockets and processes.
    pub light_nodes_above: u32,
}

/// How a spot request fails that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpotFailure {
    /// Something in it can't be launched.
    BadParameters,
    /// EC2 has an error of its own.
    SystemError,
    /// The account's limit is reached.
    LimitExceeded,
}

/// What happens to a spot request with a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpotBlock {
    /// As it was until the end of 2022.
    Grant,
    /// As it is now.
    Refuse,
}

/// How long things take, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pace {
    /// A compute environment or a queue, from CREATING to VALID, UPDATING to VALID, DELETING to
    /// gone.
    pub batch_ms: u64,
    /// A spot request, from open to active.
    pub spot_ms: u64,
    /// After creation, how long a describe can still answer NotFound.
    pub consistency_ms: u64,
    /// After its creation, how long a launch template is not shown; its name is taken at once.
    pub template_ms: u64,
    /// After its launch, how long an instance is not shown.
    pub instance_shown_ms: u64,
    /// An instance, from pending to running, and from shutting-down to terminated.
    pub instance_ms: u64,
    /// From SUBMITTED to PENDING or RUNNABLE: Batch looks at what a job depends on.
    pub submitted_ms: u64,
    /// From RUNNABLE to a task on an instance: the scheduler's round.
    pub placement_ms: u64,
    /// From a task placed to the ECS agent hearing of it.
    pub delivery_ms: u64,
    /// From a container's change of state to ECS knowing it.
    pub report_ms: u64,
    /// From a host gone to ECS noticing.
    pub host_loss_ms: u64,
    /// How long a new instance profile is not usable yet.
    pub profile_ms: u64,
    /// From the ECS agent's start to its registration.
    pub ecs_start_ms: u64,
    /// From a capacity reservation's creation to its being active.
    pub reservation_ms: u64,
    /// From the purchase of a capacity block or an extension to its being paid.
    pub payment_ms: u64,
    /// From a schedule's time to its call.
    pub schedule_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch_ms: 800,
            spot_ms: 1_200,
            consistency_ms: 300,
            template_ms: 0,
            instance_shown_ms: 0,
            instance_ms: 700,
            submitted_ms: 0,
            placement_ms: 500,
            delivery_ms: 200,
            report_ms: 400,
            host_loss_ms: 3_000,
            profile_ms: 1_500,
            ecs_start_ms: 400,
            reservation_ms: 300,
            payment_ms: 800,
            schedule_ms: 500,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            spot_block: SpotBlock::Grant,
            block_ends_in: None,
            launched_ago: None,
            capacity_block_starts_in: None,
            pace: Pace::default(),
            spot_price: None,
            spot_capacity: None,
            spot_failure: None,
            instance_metadata_tags: false,
            capacity: BTreeMap::new(),
            on_demand_vcpus: None,
            spot_vcpus: None,
            light_nodes_above: 30,
        }
    }
}

/// A moment some milliseconds later.
pub(crate) fn later(at: Timestamp, millis: u64) -> Timestamp {
    let delay = SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}
