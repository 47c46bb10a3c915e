//! The command line, raw. `settings/` merges it with spotblock.toml: a flag beats its SPOTBLOCK_*
//! variable, which beats the file, which beats the default.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod block;
#[cfg(test)]
mod docs;
pub(crate) mod help;
mod jobs;
mod life;
mod more;
mod setup;

pub(crate) use block::{BlockFlags, Format, Plan, Request, Up, UserData, Waiting};
pub use help::{command, parse};
pub(crate) use jobs::Submit;
pub(crate) use life::{Down, Drain, Extend, Reap, Status};
pub(crate) use more::{Completions, Doctor, Iam, Jobs, Logs, Man, Shell, Who};
pub(crate) use setup::{Env, Init};

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
    #[arg(
        long,
        short,
        global = true,
        env = "SPOTBLOCK_OUTPUT",
        value_enum,
        default_value = "table"
    )]
    #[arg(hide_possible_values = true)]
    pub output: Output,
    /// No colours and no progress bars, as NO_COLOR asks for
    // With its value behind `=` only: it would take the command for one.
    #[arg(long, global = true, env = "NO_COLOR", hide_env = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    pub no_color: Option<OsString>,
    /// Show each call to AWS with its request id; -vv also where it goes, and each attempt as it
    /// begins
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
    /// Write a commented spotblock.toml to start from
    Init(Init),
    /// Show what `up` would do
    Plan(Plan),
    /// Make the environment, bring a block, and wait until its instances have joined the cluster
    Up(Up),
    /// Show the blocks, their instances and the queue
    Status(Status),
    /// Put jobs into the queue
    Submit(Submit),
    /// List the queue's jobs, and why they are as they are
    Jobs(Jobs),
    /// Print what a job wrote, out of CloudWatch Logs
    Logs(Logs),
    /// Say why an instance has not joined, or why a job waits
    Doctor(Doctor),
    /// Move a block's end further away, on sources where its agents and schedules end it and not
    /// AWS
    Extend(Extend),
    /// Give a block no further jobs; its instances leave when the running ones have finished
    Drain(Drain),
    /// End the blocks; with --all, remove the environment too
    Down(Down),
    /// End what has outlived its block: the last line of defence, for a cron job or by hand
    Reap(Reap),
    /// The environment alone: steps 1 to 5
    #[command(subcommand)]
    Env(Env),
    /// Bring a block to an environment that is there already (step 8 alone)
    Request(Request),
    /// Print the user data of a block's instances
    UserData(UserData),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Catches: a key of the block that a script or CI can't set without changing its command line.
    #[test]
    fn every_flag_of_a_block_and_of_every_command_has_a_variable() {
        let command = Cli::command();
        let up = command.find_subcommand("up").expect("a command");
        let without = |arg: &&clap::Arg| arg.get_env().is_none();
        let block = up.get_arguments().filter(without).filter_map(clap::Arg::get_long);
        assert_eq!(
            block.collect::<Vec<_>>(),
            ["new", "dry-run", "yes-purchase"],
            "which are said each time"
        );
        let global = command.get_arguments().filter(without).filter_map(clap::Arg::get_long);
        assert_eq!(global.collect::<Vec<_>>(), ["verbose"]);
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
        let cli = Cli::parse_from([
            "spotblock",
            "submit",
            "-j",
            "hello-world",
            "--",
            "sleep",
            "--config",
            "10",
        ]);
        let Command::Submit(submit) = cli.command else { panic!("submit") };
        assert_eq!(submit.command, ["sleep", "--config", "10"]);
        assert!(cli.global.config.is_none());
    }
}
