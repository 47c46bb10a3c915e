//! The flags of what brings a block: `up`, `plan` and `request`; and of its instances' user data.

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

/// `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct Up {
    /// Start another block even if one is live; one that an interrupted run began is brought to its
    /// end first
    #[arg(long)]
    pub new: bool,
    /// Show what would be done, and do nothing: the same as `plan`
    #[arg(long)]
    pub dry_run: bool,
    /// Do what the plan says without asking; without a terminal `up` does nothing else
    #[arg(long, short, env = "SPOTBLOCK_YES", value_parser = BoolishValueParser::new())]
    pub yes: bool,
    /// Buy a capacity block if one is needed, up to [block] max-cost: it is paid at once, and can't
    /// be given back
    #[arg(long)]
    pub yes_purchase: bool,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
    /// The block.
    #[command(flatten)]
    pub block: BlockFlags,
}

/// `plan`.
#[derive(Clone, Debug, Default, Args)]
pub struct Plan {
    /// Plan another block even if one is live
    #[arg(long)]
    pub new: bool,
    /// Exit with 10 when there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// The block.
    #[command(flatten)]
    pub block: BlockFlags,
}

/// `request`.
#[derive(Clone, Debug, Default, Args)]
pub struct Request {
    /// Start another block even if one is live; one that an interrupted run began is brought to its
    /// end first
    #[arg(long)]
    pub new: bool,
    /// Buy a capacity block if one is needed, up to [block] max-cost: it is paid at once, and can't
    /// be given back
    #[arg(long)]
    pub yes_purchase: bool,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
    /// The block.
    #[command(flatten)]
    pub block: BlockFlags,
}

/// How long to wait for a block.
#[derive(Clone, Debug, Default, Args)]
pub struct Waiting {
    /// How long instances may take from launch to a connected container instance [default: 15m]
    #[arg(long, env = "SPOTBLOCK_TIMEOUT", value_name = "DURATION")]
    pub timeout: Option<String>,
    /// How long the request may stay open without being fulfilled [default: 10m]
    #[arg(long, env = "SPOTBLOCK_VALID_FOR", value_name = "DURATION")]
    pub valid_for: Option<String>,
}

/// The main keys of `[block]`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The block (each beats its key in spotblock.toml)")]
pub struct BlockFlags {
    /// How many instances
    #[arg(long, env = "SPOTBLOCK_INSTANCES", value_name = "N", allow_negative_numbers = true)]
    pub instances: Option<u32>,
    /// How long, such as 3h
    #[arg(long, env = "SPOTBLOCK_DURATION")]
    pub duration: Option<String>,
    /// An instance type, the preferred first; can be repeated
    #[arg(
        long = "instance-type",
        env = "SPOTBLOCK_INSTANCE_TYPES",
        value_name = "TYPE",
        value_delimiter = ','
    )]
    pub instance_types: Option<Vec<String>>,
    /// vCPUs that an instance has at least, instead of instance types
    #[arg(long, env = "SPOTBLOCK_VCPUS", value_name = "N", allow_negative_numbers = true)]
    pub vcpus: Option<u32>,
    /// Memory that an instance has at least, such as 16GiB, instead of instance types
    #[arg(long, env = "SPOTBLOCK_MEMORY", value_name = "SIZE")]
    pub memory: Option<String>,
    /// GPUs that an instance has at least, instead of instance types
    #[arg(long, env = "SPOTBLOCK_GPUS", value_name = "N", allow_negative_numbers = true)]
    pub gpus: Option<u32>,
    /// x86_64 or arm64, with vCPUs, memory or GPUs [default: x86_64]
    #[arg(long, env = "SPOTBLOCK_ARCH")]
    pub arch: Option<String>,
    /// Where to buy, such as spot-block; can be repeated: the next is asked for what the one before
    /// lacks
    #[arg(
        long = "source",
        env = "SPOTBLOCK_SOURCES",
        value_name = "SOURCE",
        value_delimiter = ','
    )]
    pub sources: Option<Vec<String>>,
    /// So many instances are enough; left out, it is all or nothing
    #[arg(long, env = "SPOTBLOCK_PARTIAL", value_name = "K", allow_negative_numbers = true)]
    pub partial: Option<u32>,
    /// Let a source fill what the one before it left open
    #[arg(long, env = "SPOTBLOCK_MIX", value_parser = BoolishValueParser::new())]
    pub mix: bool,
    /// An existing capacity reservation that the source reservation launches into; left out, it
    /// makes one
    #[arg(long, env = "SPOTBLOCK_RESERVATION", value_name = "RESERVATION")]
    pub reservation: Option<String>,
    /// Dollars per instance-hour
    #[arg(
        long,
        env = "SPOTBLOCK_MAX_PRICE",
        value_name = "DOLLARS",
        allow_negative_numbers = true
    )]
    pub max_price: Option<f64>,
    /// Dollars that the whole block may cost at worst, by the estimate; above it nothing is bought
    #[arg(long, env = "SPOTBLOCK_MAX_COST", value_name = "DOLLARS", allow_negative_numbers = true)]
    pub max_cost: Option<f64>,
    /// A capacity block that is there already, by its reservation's id
    #[arg(long, env = "SPOTBLOCK_CAPACITY_BLOCK", value_name = "ID")]
    pub capacity_block: Option<String>,
    /// How soon a capacity block that is bought begins [default: 24h]
    #[arg(long, env = "SPOTBLOCK_START_WITHIN", value_name = "DURATION")]
    pub start_within: Option<String>,
    /// A subnet; can be repeated
    #[arg(
        long = "subnet",
        env = "SPOTBLOCK_SUBNETS",
        value_name = "SUBNET",
        value_delimiter = ','
    )]
    pub subnets: Option<Vec<String>>,
    /// A security group; can be repeated
    #[arg(
        long = "security-group",
        env = "SPOTBLOCK_SECURITY_GROUPS",
        value_name = "GROUP",
        value_delimiter = ','
    )]
    pub security_groups: Option<Vec<String>>,
    /// The Availability Zone
    #[arg(long, env = "SPOTBLOCK_ZONE")]
    pub zone: Option<String>,
    /// ami-... or ssm:/parameter
    #[arg(long, env = "SPOTBLOCK_IMAGE")]
    pub image: Option<String>,
    /// The key pair
    #[arg(long, env = "SPOTBLOCK_KEY_NAME", value_name = "NAME")]
    pub key_name: Option<String>,
    /// An existing instance profile
    #[arg(long, env = "SPOTBLOCK_INSTANCE_PROFILE", value_name = "NAME")]
    pub instance_profile: Option<String>,
}

/// `user-data`.
#[derive(Clone, Debug, Default, Args)]
pub struct UserData {
    /// The form: script (alone), base64 (whole, for the API) or mime (whole)
    #[arg(long, value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// The ECS cluster's ARN or name; left out, AWS is asked for the environment's
    #[arg(long, value_name = "ARN")]
    pub cluster: Option<String>,
    /// The block's id [default: a new one]
    #[arg(long = "block", value_name = "ID")]
    pub block_id: Option<String>,
    /// The block.
    #[command(flatten)]
    pub block: BlockFlags,
}

/// The form of user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// spotblock's script.
    Script,
    /// Everything, as the API takes it.
    Base64,
    /// Everything, as a MIME multipart message.
    Mime,
}
