//! The status over a unix socket that only root can use: a line in, a JSON document out.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Asking;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::connection_limit::{ConnectionLimit, PATIENCE};
use super::published_state::PublishedState;
use super::report::Report;

/// What is asked.
const STATUS: &[u8] = b"status\n";

/// The longest path that a unix socket's address holds, in bytes (unix(7)).
const LONGEST: usize = 107;

/// Listens. A socket that an earlier agent left is replaced: whoever calls this holds the lock.
///
/// # Errors
/// The folder or the socket can't be made.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Under another name until nobody but root can use it.
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = reached(&new, |path| UnixListener::bind(path))?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Reaches a socket at its path, or by way of its folder where the path is too long: a root folder
/// may be anywhere.
fn reached<T>(path: &Path, reach: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (true, Some(folder), Some(name)) =
        (path.as_os_str().len() > LONGEST, path.parent(), path.file_name())
    else {
        return reach(path);
    };
    let folder = File::open(folder)?;
    reach(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// Answers until nobody polls it any more.
pub(crate) async fn serve(listener: UnixListener, published: Arc<PublishedState>) {
    let connections = ConnectionLimit::new();
    loop {
        let accepted = async { listener.accept().await.map(|(stream, _)| stream) };
        connections
            .serve_one("the status socket", accepted, |stream| {
                answer(stream, Arc::clone(&published))
            })
            .await;
    }
}

async fn answer(mut stream: UnixStream, published: Arc<PublishedState>) -> io::Result<()> {
    let mut asked = [0; STATUS.len()];
    stream.read_exact(&mut asked).await?;
    let json =
        if asked == STATUS { serde_json::to_vec(&published.report())? } else { b"{}".to_vec() };
    stream.write_all(&json).await?;
    stream.shutdown().await
}

/// Asks the agent that listens here.
///
/// # Errors
/// Nobody listens, or the answer takes too long or can't be read.
pub(crate) fn ask(path: &Path) -> io::Result<Report> {
    let mut stream = reached(path, |path| Asking::connect(path))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(STATUS)?;
    let mut json = Vec::new();
    stream.read_to_end(&mut json)?;
    serde_json::from_slice(&json).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::super::connection_limit::AT_ONCE;
    use super::*;
    use crate::ports::{StateStore as _, Supervisor as _};
    use crate::status::problems::Problems;
    use crate::status::published_state::{PublishingStore, PublishingSupervisor};
    use crate::testing::{World, saved};

    #[tokio::test]
    async fn the_socket_tells_what_passed_to_the_disk_and_to_the_service_manager() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run/spotblock/agent.sock");
        let world = World::at(crate::testing::at("2026-11-24T10:00:00Z"));
        let published = Arc::new(PublishedState::new(
            world.ports().clock,
            Problems::default(),
            crate::status::record::Record::nowhere(),
        ));
        // A socket left over by an agent that was killed.
        drop(listen(&path).expect("the first"));
        let served = tokio::spawn(serve(listen(&path).expect("a socket"), Arc::clone(&published)));
        assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);

        let asked = path.clone();
        let ask_it = move || {
            let path = asked.clone();
            async move { tokio::task::spawn_blocking(move || ask(&path)).await.expect("no panic") }
        };
        assert_eq!(ask_it().await.expect("an answer").life, None);
        let store =
            PublishingStore { inner: Arc::clone(&world), published: Arc::clone(&published) };
        store.save(&saved()).await.expect("saved");
        PublishingSupervisor {
            inner: crate::adapters::systemd::Systemd,
            published: Arc::clone(&published),
        }
        .status("joining");
        let report = ask_it().await.expect("an answer");
        assert_eq!(report.text, "joining");
        assert_eq!(report.life.expect("a life").block, "sb-1f2c");
        assert!(world.facts().saved.is_some(), "and it went on to the disk");
        served.abort();
    }

    /// Catches: a status that can't be asked for below a root folder which lies deep.
    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_is_no_hindrance() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x".repeat(LONGEST)).join("agent.sock");
        let world = World::at(crate::testing::at("2026-11-24T10:00:00Z"));
        let published = Arc::new(PublishedState::new(
            world.ports().clock,
            Problems::default(),
            crate::status::record::Record::nowhere(),
        ));
        let served = tokio::spawn(serve(listen(&path).expect("a socket"), published));
        assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        tokio::task::spawn_blocking(move || ask(&path))
            .await
            .expect("no panic")
            .expect("an answer");
        served.abort();
    }

    /// Catches: settings that are passed over, with nobody told.
    #[test]
    fn wrong_settings_are_in_the_status_line_and_in_the_report() {
        let world = World::at(crate::testing::at("2026-11-24T10:00:00Z"));
        let published = PublishedState::new(
            world.ports().clock,
            Problems::default(),
            crate::status::record::Record::nowhere(),
        );
        let published =
            Arc::new(published.with_wrong_settings(vec!["log is no log".into(), "more".into()]));
        PublishingSupervisor {
            inner: crate::adapters::systemd::Systemd,
            published: Arc::clone(&published),
        }
        .status("joining");
        assert_eq!(
            published.report().text,
            "joining; settings are wrong, defaults hold: log is no log"
        );
        assert_eq!(published.report().wrong_settings, ["log is no log", "more"]);
    }

    /// Catches: a client that says nothing and keeps everybody else from an answer.
    #[tokio::test]
    async fn silent_clients_are_sent_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("agent.sock");
        let world = World::at(crate::testing::at("2026-11-24T10:00:00Z"));
        let published = Arc::new(PublishedState::new(
            world.ports().clock,
            Problems::default(),
            crate::status::record::Record::nowhere(),
        ));
        tokio::spawn(serve(listen(&path).expect("a socket"), published));
        let silent: Vec<Asking> =
            (0..AT_ONCE).map(|_| Asking::connect(&path).expect("connected")).collect();
        let again = path.clone();
        let answers = tokio::task::spawn_blocking(move || {
            (0..2).map(|_| ask(&again).is_ok()).collect::<Vec<bool>>()
        });
        let answers = answers.await.expect("no panic");
        assert!(answers.contains(&true), "{answers:?}");
        drop(silent);
    }
}
