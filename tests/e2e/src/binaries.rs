//! Where the three programs are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// The programs under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `spotblock`.
    pub spotblock: PathBuf,
    /// `spotblock-agent`.
    pub agent: PathBuf,
    /// `localcloud`.
    pub localcloud: PathBuf,
}

impl Binaries {
    /// The programs that stand beside this one, as one build leaves them.
    ///
    /// # Errors
    /// When one is missing: it names it, and the command that builds it.
    pub fn beside(spotblock: &Path) -> anyhow::Result<Self> {
        let folder = spotblock.parent().context("a program has a folder")?;
        let found = |name: &str| {
            let path = folder.join(name);
            ensure!(
                path.is_file(),
                "{} is not built: run `cargo build --workspace`",
                path.display()
            );
            Ok(path)
        };
        Ok(Self {
            spotblock: found("spotblock")?,
            agent: found("spotblock-agent")?,
            localcloud: found("localcloud")?,
        })
    }

    /// The programs beside the running one.
    ///
    /// # Errors
    /// As [`Binaries::beside`].
    pub fn of_this_build() -> anyhow::Result<Self> {
        Self::beside(&std::env::current_exe()?)
    }
}
