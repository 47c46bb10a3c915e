//! What the ECS agent keeps between its starts (`agent.db`, a bbolt file; older ones
//! `ecs_agent_data.json`), as far as it must not be another instance's: an image made from an
//! instance that had joined carries that one's identity, and the ECS agent would go on with it
//! (amazon-ecs-agent#2738).
//!
//! The file's format is the ECS agent's own business. What is looked for in it is an EC2 instance
//! id, which both formats hold as plain text once the agent has registered [A].

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The files, below the data folder.
const FILES: [&str; 2] = ["agent.db", "ecs_agent_data.json"];

/// A file this large is none that an agent has just begun to write, and is not read.
const MAX_BYTES: u64 = 256 << 20;

/// The shortest id that EC2 ever gave an instance has this many hexadecimal digits.
const SHORTEST_ID: usize = 8;

/// The ECS agent's data folder on this instance.
#[derive(Clone, Debug)]
pub(crate) struct EcsData {
    folder: PathBuf,
    instance: String,
    launched: Timestamp,
}

impl EcsData {
    /// The data in this folder, on the instance of this id that was launched at this time.
    #[must_use]
    pub(crate) fn new(folder: PathBuf, instance: String, launched: Timestamp) -> Self {
        Self { folder, instance, launched }
    }

    /// The files that are another instance's:
    /// - one that names this instance is its own, whatever else is in it: bbolt doesn't wipe what
    ///   it has freed;
    /// - one that names another and not this one is that one's;
    /// - one that names none was written by an ECS agent that had not registered. Last written
    ///   before this instance was launched, it came with the image; later, this instance's own
    ///   agent has just begun it.
    #[must_use]
    pub(crate) fn foreign(&self) -> Vec<PathBuf> {
        self.files().filter(|path| self.is_foreign(path).unwrap_or(false)).collect()
    }

    /// Removes these files.
    ///
    /// # Errors
    /// One of them is there and can't be removed.
    pub(crate) fn remove(&self, files: &[PathBuf]) -> io::Result<()> {
        for path in files {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// All files there may be.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        FILES.iter().map(|file| self.folder.join(file))
    }

    /// What can't be read is left alone: an error here must not cost a registration.
    fn is_foreign(&self, path: &Path) -> io::Result<bool> {
        let metadata = std::fs::metadata(path)?;
        if metadata.len() > MAX_BYTES {
            return Ok(false);
        }
        let content = std::fs::read(path)?;
        if ids(&content).any(|id| id == self.instance.as_bytes()) {
            return Ok(false);
        }
        let written = Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
        Ok(ids(&content).next().is_some() || written < self.launched)
    }
}

/// Every instance id in these bytes.
fn ids(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let begins = content.windows(2).enumerate().filter(|(_, pair)| pair == b"i-").map(|(at, _)| at);
    let id = |at: usize| {
        let digits = content[at + 2..]
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            .count();
        (digits >= SHORTEST_ID).then(|| &content[at..at + 2 + digits])
    };
    // A letter before it makes it the end of another word.
    let is_word = |at: &usize| *at == 0 || !content[at - 1].is_ascii_alphanumeric();
    begins.filter(is_word).filter_map(id)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const OWN: &str = "i-0a1b2c3d4e5f60718";
    const OTHER: &str = "i-0fffffffffffffff1";

    /// A folder whose agent.db holds this, on an instance that was launched so long before it was
    /// written.
    fn data(content: &[u8], age: SignedDuration) -> (tempfile::TempDir, EcsData) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("agent.db");
        std::fs::write(&path, content).expect("agent.db");
        let written =
            std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("its time");
        let launched = Timestamp::try_from(written).expect("a time") - age;
        let data = EcsData::new(dir.path().to_owned(), OWN.into(), launched);
        (dir, data)
    }

    /// Catches: state of a baked image that is taken up, and an instance's own state that is thrown
    /// away.
    #[test]
    fn a_file_is_foreign_by_the_ids_in_it_or_else_by_its_age() {
        let after = SignedDuration::from_secs(30);
        let before = SignedDuration::from_secs(-30);
        let own = format!("\0{{\"{OWN}\"}}");
        let other = format!("\0\"{OTHER}\"");
        let cases = [
            (own.clone(), after, false),
            (own.clone(), before, false),
            (other.clone(), after, true),
            (other.clone(), before, true),
            (other + &own, before, false),
            ("\0no id at all".to_owned(), after, false),
            ("\0no id at all".to_owned(), before, true),
            (String::new(), before, true),
            ("anti-0123456789abcdef and i-0123".to_owned(), after, false),
        ];
        for (content, age, wanted) in cases {
            let (_dir, data) = data(content.as_bytes(), age);
            assert_eq!(!data.foreign().is_empty(), wanted, "{content:?} {age}");
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_what_is_not_there_is_no_error() {
        let (dir, data) = data(OTHER.as_bytes(), SignedDuration::ZERO);
        let foreign = data.foreign();
        assert_eq!(foreign, [dir.path().join("agent.db")]);
        data.remove(&foreign).expect("removed");
        assert!(data.foreign().is_empty() && !foreign[0].exists());
        data.remove(&foreign).expect("nothing to remove");
    }
}
