//! A running `localcloud`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use localcloud_core::{Call, Event};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::binaries::Binaries;
use crate::guard;

/// How long the local cloud may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A local cloud of its own for one test or demo. It ends, with all its nodes, when this value
/// goes.
pub struct LocalCloud {
    /// Where it listens.
    pub url: String,
    /// The nodes' root folders are below it.
    pub folder: PathBuf,
    http: reqwest::Client,
    child: Child,
}

impl LocalCloud {
    /// Starts one with these further arguments of `localcloud serve`.
    ///
    /// # Errors
    /// When it can't be started or doesn't say within 20 s where it listens.
    pub async fn start(
        binaries: &Binaries,
        folder: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(&binaries.localcloud);
        // Its own environment is confined too, though it calls nobody: what it starts inherits
        // nothing else.
        guard::confine(&mut command, "http://127.0.0.1:1");
        guard::check(&command)?;
        command
            .args(["serve", "--port", "0", "--until-stdin-closes", "--dir"])
            .arg(folder)
            .arg("--agent")
            .arg(&binaries.agent)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("localcloud.log"))?)
            .kill_on_drop(false);
        let mut child =
            command.spawn().with_context(|| format!("start {}", binaries.localcloud.display()))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_LIMIT, lines.next_line())
            .await
            .context("localcloud did not say where it listens")??
            .context("localcloud ended at once: see localcloud.log in its folder")?;
        let url = line
            .strip_prefix("localcloud ")
            .context("its first line gives its address")?
            .trim()
            .to_owned();
        ensure!(
            url.starts_with("http://127.0.0.1:"),
            "localcloud listens on {url}, which is not loopback"
        );
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { url, folder: folder.to_owned(), http, child })
    }

    /// Every call so far.
    ///
    /// # Errors
    /// When the local cloud doesn't answer.
    pub async fn calls(&self) -> anyhow::Result<Vec<Call>> {
        self.get("calls").await
    }

    /// Everything that happened so far.
    ///
    /// # Errors
    /// When the local cloud doesn't answer.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        self.get("events").await
    }

    /// Changes options, as a JSON merge patch.
    ///
    /// # Errors
    /// When the local cloud refuses the patch.
    pub async fn set(&self, patch: &Value) -> anyhow::Result<()> {
        let answer = self.http.patch(self.control("options")).json(patch).send().await?;
        accepted("options", answer).await
    }

    /// Posts to a control, such as `nodes/i-.../vanish`.
    ///
    /// # Errors
    /// When the local cloud refuses it.
    pub async fn post(&self, what: &str, body: &Value) -> anyhow::Result<()> {
        accepted(what, self.http.post(self.control(what)).json(body).send().await?).await
    }

    /// Reads a control, such as `nodes`.
    ///
    /// # Errors
    /// When the local cloud doesn't answer or the answer has another shape.
    pub async fn get<T: DeserializeOwned>(&self, what: &str) -> anyhow::Result<T> {
        let answer = self.http.get(self.control(what)).send().await?;
        ensure!(answer.status().is_success(), "{what}: {}", answer.status());
        answer.json().await.with_context(|| format!("{what} in its expected shape"))
    }

    /// Waits until the events satisfy `done`, and gives them.
    ///
    /// # Errors
    /// After `limit`, with what was waited for.
    pub async fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        done: impl Fn(&[Event]) -> bool,
    ) -> anyhow::Result<Vec<Event>> {
        let wait = async {
            loop {
                let events = self.events().await?;
                if done(&events) {
                    return anyhow::Ok(events);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match tokio::time::timeout(limit, wait).await {
            Ok(events) => events,
            Err(_) => bail!("waited {} s in vain: {what}", limit.as_secs()),
        }
    }

    /// Ends it with all its nodes, and waits until it is gone.
    ///
    /// # Errors
    /// When it doesn't end within 20 s.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        tokio::time::timeout(START_LIMIT, self.child.wait())
            .await
            .context("localcloud did not end")??;
        Ok(())
    }

    fn control(&self, what: &str) -> String {
        format!("{}/_localcloud/{what}", self.url)
    }
}

async fn accepted(what: &str, answer: reqwest::Response) -> anyhow::Result<()> {
    let status = answer.status();
    ensure!(status.is_success(), "{what}: {status}: {}", answer.text().await?);
    Ok(())
}
