//! The lock that one agent holds: two of them would act against each other.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Another agent keeps the instance.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("another spotblock-agent (process {pid}) keeps this instance already: it holds {path}")]
pub struct Taken {
    /// The other's process id, as it wrote it down.
    pub(crate) pid: String,
    /// The lock's file.
    pub(crate) path: String,
}

/// The lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Option<Flock<File>>,
}

impl Lock {
    /// Takes the lock. Where there is no way to have one, the agent goes on without: a host without
    /// an agent is worse.
    ///
    /// # Errors
    /// Another agent holds it.
    pub(crate) fn take(path: &Path) -> Result<Self, Taken> {
        let file = match open(path) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the lock can't be had; going on \
                    without it");
                return Ok(Self { _held: None });
            }
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                let pid = std::process::id();
                let written = held
                    .set_len(0)
                    .and_then(|()| held.rewind())
                    .and_then(|()| writeln!(held, "{pid}"));
                if let Err(error) = written {
                    tracing::debug!(%error, "the process id can't be written into the lock");
                }
                Ok(Self { _held: Some(held) })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let pid = read.ok().map_or("unknown", |_| pid.trim()).to_owned();
                Err(Taken { pid, path: path.display().to_string() })
            }
            Err((_, error)) => {
                tracing::error!(path = %path.display(), %error, "the lock can't be had; going on \
                    without it");
                Ok(Self { _held: None })
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_by_the_firsts_process_id_until_the_first_ends() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run/spotblock/agent.lock");
        let first = Lock::take(&path).expect("free");
        let error = Lock::take(&path).expect_err("taken");
        assert_eq!(error.pid, std::process::id().to_string());
        drop(first);
        Lock::take(&path).expect("free again");
    }

    #[test]
    fn a_host_that_has_no_place_for_a_lock_still_gets_its_agent() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("run"), "no folder").expect("a file");
        Lock::take(&dir.path().join("run/agent.lock")).expect("without a lock");
    }
}
