//! The command line, as given.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
}

/// The flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The folder below which etc/ and var/ are found
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The host's settings [default: etc/spotblock/agent.toml below the root folder, if it is there]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Log what the watchers see
    #[arg(short, long)]
    pub verbose: bool,
}
