//! The command line, as given.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

#[cfg(test)]
mod docs;

/// Joins an EC2 instance to an ECS cluster and drains it before its block ends.
#[derive(Debug, Parser)]
#[command(name = "spotblock-agent", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep this instance's block, from boot to power-off
    Run(RunArgs),
    /// Tell what the agent that runs is doing
    Status {
        /// Where the agent runs
        #[command(flatten)]
        place: RunArgs,
        /// How it is told
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Look whether the host has what the agent needs: a verdict a line
    Check {
        /// Where the agent runs
        #[command(flatten)]
        place: RunArgs,
        /// How it is told
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// Leave out all that needs an instance and its network, as when an image is baked
        #[arg(long)]
        offline: bool,
    },
    /// Stop this host's tasks when it goes down for a reason of its own
    Guard {
        /// Where the agent runs
        #[command(flatten)]
        place: RunArgs,
        /// Stop the tasks now; without this flag, nothing is done
        #[arg(long)]
        stop: bool,
        /// How long to wait at most until ECS knows that they have stopped
        #[arg(long, value_name = "TIME", default_value = "80s")]
        within: SignedDuration,
    },
    /// Take no further task, and leave when those that run have ended
    Drain(RunArgs),
    /// Tell by the exit code whether the block is over (0) or not (3); for the power-off timer
    #[command(hide = true)]
    Due(RunArgs),
}

/// How something is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// The flags of each command.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The folder below which etc/, run/ and var/ are found
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The host's settings [default: etc/spotblock/agent.toml below the root folder, if it is
    /// there]
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Log what the watchers see
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
