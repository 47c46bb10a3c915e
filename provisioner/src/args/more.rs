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
