//! The flags of commands beside a block's life.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `completions`.
#[derive(Clone, Debug, Args)]
pub struct Completions {
    /// The shell: bash, zsh or fish
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `man`.
#[derive(Clone, Debug, Default, Args)]
pub struct Man {
    /// The folder for all pages; left out, the main page goes to stdout
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// `jobs`.
#[derive(Clone, Debug, Default, Args)]
pub struct Jobs {
    /// Only jobs in this state, such as RUNNABLE or FAILED; can be repeated
    #[arg(
        long = "state",
        short = 's',
        value_name = "STATE",
        value_delimiter = ',',
        ignore_case = true
    )]
    #[arg(value_parser = crate::model::batch::JOB_STATES, hide_possible_values = true)]
    pub states: Vec<String>,
    /// Only jobs of this name; a `*` at its end stands for anything
    #[arg(long, short)]
    pub name: Option<String>,
    /// The children of this array job, by its id or name
    #[arg(long, value_name = "JOB", conflicts_with = "name")]
    pub array: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// `logs`.
#[derive(Clone, Debug, Default, Args)]
pub struct Logs {
    /// The job's id, or its name: then it is the newest of that name; an array's child is JOB:INDEX
    pub job: String,
    /// Print what comes, through retries, until the job has ended
    #[arg(long, short)]
    pub follow: bool,
    /// This attempt, counted from 1 [default: the last]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub attempt: Option<u32>,
}

/// `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct Doctor {
    /// An instance's id, or a job's id or name; left out, everything that waits or is wrong
    #[arg(value_name = "INSTANCE|JOB")]
    pub about: Option<String>,
}

/// `iam`.
#[derive(Clone, Debug, Default, Args)]
pub struct Iam {
    /// Whose: the caller's for environment or blocks (`up` wants both), instance, batch or
    /// scheduler; left out, all
    #[arg(value_enum, hide_possible_values = true)]
    pub who: Option<Who>,
    /// The account's number [default: the environment's, or * while there is none]
    #[arg(long, value_name = "NUMBER")]
    pub account: Option<String>,
}

/// Who needs a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Who {
    /// Whoever runs `spotblock env apply` and `down --all`.
    Environment,
    /// Whoever brings, uses and ends blocks.
    Blocks,
    /// The instances' role.
    Instance,
    /// Batch's service role.
    Batch,
    /// The role of EventBridge Scheduler.
    Scheduler,
}
