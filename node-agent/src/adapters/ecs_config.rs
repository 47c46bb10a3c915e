//! `ecs.config`: KEY=VALUE lines that the ECS agent and systemd read. The last line of a key wins,
//! and a user may have put anything there; so only the keys that this project owns are touched. The
//! ECS agent's start takes each line by itself, and strips no quotes; to systemd a value in quotes,
//! or before a backslash, goes on in the next line: see [`syntax`].

use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use node_contract::{NodeConfig, Timeline, names::attribute};
use serde_json::{Map, Value};

mod syntax;

use super::atomic_file;
use crate::lifecycle::reporting_margin;
use crate::ports::Identity;
use syntax::Open;

const CLUSTER: &str = "ECS_CLUSTER";
const ATTRIBUTES: &str = "ECS_INSTANCE_ATTRIBUTES";
const SPOT_DRAINING: &str = "ECS_ENABLE_SPOT_INSTANCE_DRAINING";
const STOP_TIMEOUT: &str = "ECS_CONTAINER_STOP_TIMEOUT";

/// The longest stop timeout where AWS takes the host at two minutes' notice: the rest is for
/// reporting and leaving.
const MAX_STOP_TIMEOUT_ON_SPOT: SignedDuration = SignedDuration::from_secs(90);

/// The longest file that is taken for ecs.config, in bytes.
const LONGEST: u64 = 1 << 20;

/// What the agent puts into ecs.config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EcsConfig {
    path: PathBuf,
    cluster: String,
    block: String,
    end: Timestamp,
    stop_timeout: SignedDuration,
}

impl EcsConfig {
    /// The settings of this instance's ECS agent.
    #[must_use]
    pub(crate) fn new(
        path: PathBuf,
        config: &NodeConfig,
        identity: &Identity,
        timeline: Timeline,
    ) -> Self {
        Self {
            path,
            cluster: config.cluster.clone(),
            block: config.block.clone(),
            end: timeline.end,
            stop_timeout: stop_timeout(
                SignedDuration::from_secs(config.stop_lead_secs.into()),
                identity.is_spot,
            ),
        }
    }

    /// Merges them into the file. Returns whether that changed anything.
    ///
    /// # Errors
    /// The file can't be read or replaced; it is then as it was.
    pub(crate) fn write(&self) -> io::Result<bool> {
        let old = match read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                None
            }
            read => Some(read?),
        };
        let new = self.merged(old.as_deref().unwrap_or_default());
        if old.as_deref() == Some(&new) {
            return Ok(false);
        }
        atomic_file::write(&self.path, &new, 0o644)?;
        Ok(true)
    }

    /// The old content without the owned keys, byte for byte, followed by them.
    fn merged(&self, old: &[u8]) -> Vec<u8> {
        let mut attributes = None;
        let mut new = Vec::with_capacity(old.len() + 512);
        for line in old.split_inclusive(|byte| *byte == b'\n') {
            match key_of(line) {
                // No variable can hold a NUL, and for one systemd refuses the whole file. A crash
                // can leave some.
                _ if line.contains(&0) => {
                    tracing::warn!("a line with NUL bytes in ecs.config is left out")
                }
                Some(key) if [CLUSTER, SPOT_DRAINING, STOP_TIMEOUT].contains(&key) => {}
                Some(ATTRIBUTES) => attributes = value_of(line),
                _ => {
                    new.extend_from_slice(line);
                    continue;
                }
            }
            // A line that goes on in one that is left out doesn't go on in the one after it.
            if new.ends_with(b"\\\n") && syntax::open_at_end(&new) == Open::Line {
                new.push(b'\n');
            }
        }
        if new.last().is_some_and(|byte| *byte != b'\n') {
            new.push(b'\n');
        }
        // What follows must not become part of it. The ECS agent's start passes over such a line.
        new.extend_from_slice(match syntax::open_at_end(&new) {
            Open::Nothing => b"",
            Open::Line => b"\n",
            Open::SingleQuote => b"'\n",
            Open::DoubleQuote => b"\"\n",
        });
        for (key, value) in [
            (CLUSTER, self.cluster.clone()),
            (ATTRIBUTES, self.attributes(attributes.as_deref())),
            (SPOT_DRAINING, "false".to_owned()),
            (STOP_TIMEOUT, format!("{}s", self.stop_timeout.as_secs())),
        ] {
            new.extend_from_slice(format!("{key}={}\n", single_line(&value)).as_bytes());
        }
        new
    }

    /// The user's attributes with the block's.
    fn attributes(&self, user: Option<&str>) -> String {
        let mut attributes: Map<String, Value> = match user.map(serde_json::from_str) {
            Some(Ok(attributes)) => attributes,
            Some(Err(error)) => {
                tracing::warn!(%error, "{ATTRIBUTES} in ecs.config is no JSON object and is \
                                        replaced");
                Map::new()
            }
            None => Map::new(),
        };
        for (name, value) in [
            (attribute::BLOCK, self.block.clone()),
            (attribute::END, self.end.to_string()),
            (attribute::AGENT_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ] {
            attributes.insert(name.to_owned(), Value::String(value));
        }
        Value::Object(attributes).to_string()
    }
}

/// How long a container has between SIGTERM and SIGKILL: the stop lead less what reporting and
/// leaving take. The ECS agent reads it once, at its start.
#[must_use]
pub fn stop_timeout(stop_lead: SignedDuration, is_spot: bool) -> SignedDuration {
    let timeout = stop_lead - reporting_margin(stop_lead);
    let longest = if is_spot { MAX_STOP_TIMEOUT_ON_SPOT } else { SignedDuration::MAX };
    timeout.clamp(SignedDuration::from_secs(1), longest)
}

/// The file's content. It is a file of lines: what isn't would be read without an end, or replaced
/// for all who use it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::metadata(path)?;
    if !file.is_file() {
        return Err(io::Error::other(format!("{} is no regular file", path.display())));
    }
    if file.len() > LONGEST {
        return Err(io::Error::other(format!("{} is longer than {LONGEST} bytes", path.display())));
    }
    std::fs::read(path)
}

/// A line's key. systemd passes over white space around it, so it is passed over here too.
fn key_of(line: &[u8]) -> Option<&str> {
    let end = line.iter().position(|byte| *byte == b'=')?;
    std::str::from_utf8(&line[..end]).ok().map(str::trim)
}

fn value_of(line: &[u8]) -> Option<String> {
    let start = line.iter().position(|byte| *byte == b'=')? + 1;
    Some(String::from_utf8_lossy(&line[start..]).trim().to_owned())
}

/// A value that can't begin another line, whatever it holds.
fn single_line(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> EcsConfig {
        EcsConfig {
            path: PathBuf::new(),
            cluster: "arn:aws:ecs:us-east-1:1:cluster/c".into(),
            block: "sb-1f2c".into(),
            end: "2026-11-24T11:00:00Z".parse().expect("a time"),
            stop_timeout: SignedDuration::from_secs(240),
        }
    }

    fn ours(user_attributes: &str) -> String {
        format!(
            "ECS_CLUSTER=arn:aws:ecs:us-east-1:1:cluster/c\nECS_INSTANCE_ATTRIBUTES={{{user_attributes}\"spotblock.block\":\"sb-1f2c\",\"spotblock.end\":\"2026-11-24T11:00:00Z\",\"spotblock.agent-version\":\"{}\"}}\nECS_ENABLE_SPOT_INSTANCE_DRAINING=false\nECS_CONTAINER_STOP_TIMEOUT=240s\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Each case: what a user may have left, what of it has to stay, and their attributes.
    #[test]
    fn a_users_file_is_merged() {
        let cases: [(&[u8], &[u8], &str); 20] = [
            (b"", b"", ""),
            (b"ECS_CLUSTER=default\n", b"", ""),
            (b"ECS_LOGLEVEL=debug\n", b"ECS_LOGLEVEL=debug\n", ""),
            (b"ECS_LOGLEVEL=debug", b"ECS_LOGLEVEL=debug\n", ""),
            (b"A=1\nECS_CLUSTER=x\nB=2\nECS_CLUSTER=y\nC=3\n", b"A=1\nB=2\nC=3\n", ""),
            (
                b"# a comment\n\n#ECS_CLUSTER=x\nnonsense\n",
                b"# a comment\n\n#ECS_CLUSTER=x\nnonsense\n",
                "",
            ),
            (b"A=\"quoted # = value\"\r\nECS_CLUSTER=x\r\n", b"A=\"quoted # = value\"\r\n", ""),
            (b"A=\xff\xfe\n\xff=1\n", b"A=\xff\xfe\n\xff=1\n", ""),
            (b" ECS_CLUSTER = x\nECS_CLUSTER_B=1\n", b"ECS_CLUSTER_B=1\n", ""),
            (b"ECS_CONTAINER_STOP_TIMEOUT=30s\nECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n", b"", ""),
            (b"ECS_INSTANCE_ATTRIBUTES={\"rack\":\"r1\"}\n", b"", "\"rack\":\"r1\","),
            (
                b"ECS_INSTANCE_ATTRIBUTES={\"a\":\"1\"}\nECS_INSTANCE_ATTRIBUTES={\"b\":\"2\"}\n",
                b"",
                "\"b\":\"2\",",
            ),
            (b"ECS_INSTANCE_ATTRIBUTES=broken\n", b"", ""),
            (b"A=1\\\n", b"A=1\\\n\n", ""),
            (b"A=1\\", b"A=1\\\n\n", ""),
            (b"A=1\\\nECS_CLUSTER=x\nB=2\n", b"A=1\\\n\nB=2\n", ""),
            (
                b"export ECS_CLUSTER=x\n\xef\xbb\xbfECS_CLUSTER=x\n",
                b"export ECS_CLUSTER=x\n\xef\xbb\xbfECS_CLUSTER=x\n",
                "",
            ),
            (
                b"\tECS_CLUSTER=\nECS_CLUSTER=\"x y\"\n=x\n===\nECS_CLUSTER",
                b"=x\n===\nECS_CLUSTER\n",
                "",
            ),
            (b"ECS_INSTANCE_ATTRIBUTES = {\"a\":\"1\"} \r\n", b"", "\"a\":\"1\","),
            (b"ECS_INSTANCE_ATTRIBUTES=[1]\nA=\0\n", b"", ""),
        ];
        for (old, kept, attributes) in cases {
            let merged = config().merged(old);
            let wanted = [kept, ours(attributes).as_bytes()].concat();
            assert_eq!(
                String::from_utf8_lossy(&merged),
                String::from_utf8_lossy(&wanted),
                "from {old:?}"
            );
        }
    }

    /// Catches: a merge that grows the file, or swaps the keys, with each restart.
    #[test]
    fn merging_again_changes_nothing() {
        for old in [
            "",
            "A=1",
            "A=1\\\nECS_CLUSTER=x\n",
            "ECS_INSTANCE_ATTRIBUTES={\"rack\":\"r1\"}\nB=2\n",
        ] {
            let once = config().merged(old.as_bytes());
            assert_eq!(config().merged(&once), once, "from {old:?}");
        }
    }

    /// Each odd file of the corpus, and what comes of it. tests/peers/ecs_config.py has what comes
    /// of it read by systemd's own parser, and by the ECS agent's rules. `make snapshots` writes it
    /// anew.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "whether to write them is said to the test, not to the program"
    )]
    fn odd_files_are_merged_as_the_corpus_has_it() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ecs-config");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the corpus") {
            let path = entry.expect("a file").path();
            if path.extension().is_none_or(|extension| extension != "config") {
                continue;
            }
            let old = std::fs::read(&path).expect("an odd file");
            let merged = config().merged(&old);
            let snapshot = path.with_extension("merged");
            if std::env::var_os("SPOTBLOCK_WRITE_SNAPSHOTS").is_some() {
                std::fs::write(&snapshot, &merged).expect("written");
            }
            let wanted = std::fs::read(snapshot).expect("what comes of it");
            assert!(merged == wanted, "{}: {}", path.display(), String::from_utf8_lossy(&merged));
            let again = config().merged(&merged);
            assert_eq!(again, merged, "merged again: {}", path.display());
            seen += 1;
        }
        assert!(seen >= 20, "{seen} files in the corpus");
    }

    #[test]
    fn no_value_can_begin_a_line_of_its_own() {
        let evil = EcsConfig { cluster: "c\nECS_PRIVILEGED=1".into(), ..config() };
        let merged = String::from_utf8(evil.merged(b"")).expect("text");
        assert!(merged.starts_with("ECS_CLUSTER=cECS_PRIVILEGED=1\n"), "{merged}");
    }

    #[test]
    fn the_file_is_written_once_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("etc/ecs/ecs.config");
        let config = EcsConfig { path: path.clone(), ..config() };
        assert!(config.write().expect("created"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        assert!(!config.write().expect("unchanged"));
        std::fs::write(&path, "A=1\n").expect("overwritten");
        assert!(config.write().expect("merged"));
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&path).expect("read").starts_with("A=1\nECS_CLUSTER="));
    }

    /// Catches: a link to /dev/null that is replaced for the whole host, and a pipe that is read
    /// for ever.
    #[test]
    fn only_a_file_of_a_sane_length_is_merged_and_a_link_to_one_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = |name: &str| EcsConfig { path: dir.path().join(name), ..config() };
        let link = |to: &Path, name: &str| {
            std::os::unix::fs::symlink(to, dir.path().join(name)).expect("a link")
        };
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a pipe");
        link(Path::new("/dev/null"), "nothing");
        std::fs::create_dir(dir.path().join("folder")).expect("a folder");
        for (name, wanted) in [
            ("pipe", "no regular file"),
            ("nothing", "no regular file"),
            ("folder", "no regular file"),
        ] {
            let error = config(name).write().expect_err(name).to_string();
            assert!(error.contains(name) && error.contains(wanted), "{error}");
        }
        assert!(!std::fs::metadata("/dev/null").expect("it is there").is_file());
        let line = b"# a comment\n";
        std::fs::write(dir.path().join("long"), line.repeat(50_000)).expect("a long file");
        link(&dir.path().join("long"), "link");
        assert!(config("link").write().expect("merged"));
        assert!(dir.path().join("link").is_symlink());
        assert!(std::fs::read(dir.path().join("long")).expect("read").len() > line.len() * 50_000);
        std::fs::write(dir.path().join("long"), line.repeat(100_000)).expect("a longer file");
        assert!(config("link").write().expect_err("too long").to_string().contains("longer than"));
    }

    #[test]
    fn the_stop_timeout_leaves_time_to_report_and_to_leave() {
        let cases = [
            (5, false, 3),
            (10, false, 7),
            (60, false, 45),
            (300, false, 240),
            (3600, false, 3540),
            (60, true, 45),
            (300, true, 90),
        ];
        for (lead, is_spot, wanted) in cases {
            let timeout = stop_timeout(SignedDuration::from_secs(lead), is_spot);
            assert_eq!(timeout.as_secs(), wanted, "{lead} s, spot: {is_spot}");
        }
    }
}
