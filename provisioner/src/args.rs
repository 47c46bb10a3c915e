//! The command line, raw. `settings.rs` merges it with spotblock.toml: a flag beats its SPOTBLOCK_* variable, which
//! beats the file, which beats the default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(test)]
mod docs;
pub mod help;
mod more;

pub use help::{command, parse};
pub use more::{Completions, Doctor, Iam, Jobs, Logs, Man, Shell, Who};

/// Brings fixed-length blocks of EC2 capacity to AWS Batch, and ends them.
#[derive(Clone, Debug, Parser)]
#[command(name = "spotblock", version, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// The configuration [default: ./spotblock.toml]
    #[arg(long, short, global = true, env = "SPOTBLOCK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The AWS region; left out, the file's `region`, then AWS_REGION and the profile
    #[arg(long, global = true, env = "SPOTBLOCK_REGION")]
    pub region: Option<String>,
    /// The profile in the AWS configuration
    #[arg(long, global = true, env = "SPOTBLOCK_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// Another endpoint for all AWS services, such as a local cloud's; left out, AWS_ENDPOINT_URL
    #[arg(long, global = true, env = "SPOTBLOCK_ENDPOINT_URL", value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// How results are written to stdout: table or json
    #[arg(long, short, global = true, env = "SPOTBLOCK_OUTPUT", value_enum, default_value = "table")]
    #[arg(hide_possible_values = true)]
    pub output: Output,
    /// No colours and no progress bars, as NO_COLOR asks for
    // With its value behind `=` only: it would take the command for one.
    #[arg(long, global = true, env = "NO_COLOR", hide_env = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub no_color: Option<OsString>,
    /// Show each call to AWS with its request id; -vv also where it goes, and each attempt as it begins
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make the environment, bring a block, and wait until its instances have joined the cluster
    Up(Up),
    /// Show what `up` would do
    Plan(Plan),
    /// The environment alone: steps 1 to 5
    #[command(subcommand)]
    Env(Env),
    /// Print the user data of a block's instances
    UserData(UserData),
    /// Put jobs into the queue
    Submit(Submit),
    /// List the queue's jobs, and why they are as they are
    Jobs(Jobs),
    /// Print what a job wrote, out of CloudWatch Logs
    Logs(Logs),
    /// Say why an instance has not joined, or why a job waits
    Doctor(Doctor),
    /// Bring a block to an environment that is there already (step 8 alone)
    Request(Request),
    /// Show the blocks, their instances and the queue
    Status(Status),
    /// End the blocks; with --all, remove the environment too
    Down(Down),
    /// Move a block's end further away, on sources where its agents and schedules end it and not AWS
    Extend(Extend),
    /// Give a block no further jobs; its instances leave when the running ones have finished
    Drain(Drain),
    /// End what has outlived its block: the last line of defence, for a cron job or by hand
    Reap(Reap),
    /// Write a commented spotblock.toml to start from
    Init(Init),
    /// Print the policies that the caller, the instances and AWS's services need
    Iam(Iam),
    /// Print what `env apply` makes as a CloudFormation template
    Template,
    /// Print the JSON schema of spotblock.toml, for editors
    Schema,
    /// Print what a shell needs to complete spotblock's command line
    Completions(Completions),
    /// Print the man page, or write those of all commands into a folder
    Man(Man),
}

/// `status`.
#[derive(Clone, Debug, Default, Args)]
pub struct Status {
    /// Look every 5 seconds, and draw over what was drawn; with -o json print a line each time
    #[arg(long, short)]
    pub watch: bool,
}

/// `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct Up {
    /// Start another block even if one is live; one that an interrupted run began is brought to its end first
    #[arg(long)]
    pub new: bool,
    /// Show what would be done, and do nothing: the same as `plan`
    #[arg(long)]
    pub dry_run: bool,
    /// Do what the plan says without asking; without a terminal `up` does nothing else
    #[arg(long, short, env = "SPOTBLOCK_YES", value_parser = BoolishValueParser::new())]
    pub yes: bool,
    /// Buy a capacity block if one is needed, up to [block] max-cost: it is paid at once, and can't be given back
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
    #[arg(long = "instance-type", env = "SPOTBLOCK_INSTANCE_TYPES", value_name = "TYPE", value_delimiter = ',')]
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
    /// Where to buy, such as spot-block; can be repeated: the next is asked for what the one before lacks
    #[arg(long = "source", env = "SPOTBLOCK_SOURCES", value_name = "SOURCE", value_delimiter = ',')]
    pub sources: Option<Vec<String>>,
    /// So many instances are enough; left out, it is all or nothing
    #[arg(long, env = "SPOTBLOCK_PARTIAL", value_name = "K", allow_negative_numbers = true)]
    pub partial: Option<u32>,
    /// Let a source fill what the one before it left open
    #[arg(long, env = "SPOTBLOCK_MIX", value_parser = BoolishValueParser::new())]
    pub mix: bool,
    /// An existing capacity reservation that the source reservation launches into; left out, it makes one
    #[arg(long, env = "SPOTBLOCK_RESERVATION", value_name = "RESERVATION")]
    pub reservation: Option<String>,
    /// Dollars per instance-hour
    #[arg(long, env = "SPOTBLOCK_MAX_PRICE", value_name = "DOLLARS", allow_negative_numbers = true)]
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
    #[arg(long = "subnet", env = "SPOTBLOCK_SUBNETS", value_name = "SUBNET", value_delimiter = ',')]
    pub subnets: Option<Vec<String>>,
    /// A security group; can be repeated
    #[arg(long = "security-group", env = "SPOTBLOCK_SECURITY_GROUPS", value_name = "GROUP", value_delimiter = ',')]
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

/// `env`.
#[derive(Clone, Debug, Subcommand)]
pub enum Env {
    /// Make the compute environment, queue, job definitions and roles
    Apply,
    /// Show the environment and the ECS cluster behind it
    Show,
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

/// `submit`.
#[derive(Clone, Debug, Default, Args)]
pub struct Submit {
    /// The job definition's name
    #[arg(long, short = 'j', value_name = "NAME")]
    pub job_definition: String,
    /// The job's name [default: the job definition's]
    #[arg(long)]
    pub name: Option<String>,
    /// How many jobs, each by itself; above 1 their names end in -1, -2, ...
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// One array job of so many children, which find their number in AWS_BATCH_JOB_ARRAY_INDEX
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000), conflicts_with = "count")]
    pub array: Option<u32>,
    /// The id of a job that has to succeed first; can be repeated
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub depends_on: Vec<String>,
    /// A variable of the job's environment; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// A value for Ref::KEY in the job definition's command; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub parameter: Vec<String>,
    /// Virtual CPUs, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub vcpus: Option<u32>,
    /// Memory, such as 2GiB, instead of the job definition's
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// GPUs, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gpus: Option<u32>,
    /// How long an attempt may take, instead of the job definition's
    #[arg(long = "job-timeout", value_name = "DURATION")]
    pub timeout: Option<String>,
    /// How often it may be tried, instead of the job definition's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub attempts: Option<u32>,
    /// Wait until the jobs have ended, and exit with 5 when one failed
    #[arg(long, short)]
    pub watch: bool,
    /// The command, instead of the job definition's
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// `request`.
#[derive(Clone, Debug, Default, Args)]
pub struct Request {
    /// Start another block even if one is live; one that an interrupted run began is brought to its end first
    #[arg(long)]
    pub new: bool,
    /// Buy a capacity block if one is needed, up to [block] max-cost: it is paid at once, and can't be given back
    #[arg(long)]
    pub yes_purchase: bool,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
    /// The block.
    #[command(flatten)]
    pub block: BlockFlags,
}

/// `down`.
#[derive(Clone, Debug, Default, Args)]
pub struct Down {
    /// This block only
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub block: Option<String>,
    /// The queue, the compute environment, the job definitions and the roles that spotblock made, too
    #[arg(long, visible_alias = "environment-too")]
    pub all: bool,
    /// With --all: delete the queue although jobs wait or run in it; they are lost
    #[arg(long, requires = "all")]
    pub discard_jobs: bool,
    /// How long running jobs may go on before they are stopped, to be retried [default: not at all]
    #[arg(long, value_name = "DURATION", conflicts_with = "now")]
    pub limit: Option<String>,
    /// End the instances at once: no job is stopped first, and Batch learns of their end only later
    #[arg(long)]
    pub now: bool,
}

/// `drain`.
#[derive(Clone, Debug, Default, Args)]
pub struct Drain {
    /// This block only
    #[arg(long, value_name = "ID")]
    pub block: Option<String>,
    /// Wait until the running jobs have ended
    #[arg(long)]
    pub wait: bool,
    /// Wait so long, then stop those that still run, to be retried
    #[arg(long, value_name = "DURATION")]
    pub limit: Option<String>,
}

/// `extend`.
#[derive(Clone, Debug, Default, Args)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub struct Extend {
    /// The block; it can be left out where only one goes on
    #[arg(long, value_name = "ID")]
    pub block: Option<String>,
    /// By how much, such as 1h, counted from its latest instance's end
    #[arg(long, value_name = "DURATION", group = "end")]
    pub by: Option<String>,
    /// To which moment, such as 2026-11-24T18:00:00Z; said again it changes nothing
    #[arg(long, value_name = "TIME", group = "end")]
    pub to: Option<String>,
    /// Buy the extension of a capacity block if one is needed, up to [block] max-cost: it is paid at once, and can't be
    /// given back
    #[arg(long)]
    pub yes_purchase: bool,
}

/// `reap`.
#[derive(Clone, Debug, Default, Args)]
pub struct Reap {
    /// Show what would be ended, and end nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also end instances of ours that have no record, and so no known end, if they were launched so long ago
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// This environment, instead of the file's
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// All environments of the account in this region
    #[arg(long, conflicts_with = "environment")]
    pub all: bool,
}

/// `init`.
#[derive(Clone, Debug, Default, Args)]
pub struct Init {
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
    /// Ask nothing on the terminal: the defaults stand
    #[arg(long)]
    pub non_interactive: bool,
    /// Don't ask AWS what the account has
    #[arg(long)]
    pub offline: bool,
    /// The instance type; the image follows its architecture
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Catches: a flag without a value that takes the command for it.
    #[test]
    fn no_color_leaves_the_command_alone() {
        let cli = Cli::parse_from(["spotblock", "--no-color", "status"]);
        assert!(matches!(cli.command, Command::Status(_)));
        assert!(cli.global.no_color.is_some());
    }

    /// Catches: a job's own flags taken for spotblock's.
    #[test]
    fn what_follows_two_dashes_is_the_jobs_command() {
        let cli = Cli::parse_from(["spotblock", "submit", "-j", "hello-world", "--", "sleep", "--config", "10"]);
        let Command::Submit(submit) = cli.command else { panic!("submit") };
        assert_eq!(submit.command, ["sleep", "--config", "10"]);
        assert!(cli.global.config.is_none());
    }
}
