//! The flags of what stands around blocks: the file, the environment.

use clap::{Args, Subcommand};

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

/// `env`.
#[derive(Clone, Debug, Subcommand)]
pub enum Env {
    /// Make the compute environment, queue, job definitions and roles
    Apply,
    /// Show the environment and the ECS cluster behind it
    Show,
}
