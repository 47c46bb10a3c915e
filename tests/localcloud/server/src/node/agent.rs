//! The real agent's process on a node, kept running as systemd does with `Restart=always`.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::process::Command;

use super::Node;
use crate::process::Leader;

/// How long after its end it is started again (systemd's `RestartSec=1`).
const RESTART: Duration = Duration::from_secs(1);

/// How long it has between SIGTERM and SIGKILL when the host goes down.
const GRACE: Duration = Duration::from_secs(1);

/// Runs the agent until the host is off.
pub(super) async fn supervise(node: Arc<Node>, settings: AgentSettings, imds_port: u16) {
    let mut phase = node.phase();
    while phase.borrow_and_update().is_up() {
        match start(&node, &settings, imds_port) {
            Ok(mut leader) => {
                node.set_agent(Some(leader.group()));
                let status = run(&node, &mut leader).await;
                node.set_agent(None);
                tracing::info!(instance = %node.instance, ?status, "the agent ended");
            }
            Err(error) => {
                tracing::error!(instance = %node.instance, "the agent can't be started: {error:#}")
            }
        }
        let _ = tokio::time::timeout(RESTART, phase.wait_for(|phase| !phase.is_up())).await;
    }
}

/// Waits for the process's end, and brings it about when the host goes down.
async fn run(node: &Node, leader: &mut Leader) -> std::io::Result<std::process::ExitStatus> {
    let mut phase = node.phase();
    tokio::select! {
        status = leader.wait() => return status,
        _ = phase.wait_for(|phase| !phase.is_up()) => {}
    }
    if phase.borrow().is_going_down() {
        leader.group().signal(Signal::SIGTERM);
        if let Ok(status) = tokio::time::timeout(GRACE, leader.wait()).await {
            return status;
        }
    }
    leader.group().signal(Signal::SIGKILL);
    leader.wait().await
}

/// What the agent's process needs to know.
pub(crate) struct AgentSettings {
    pub(crate) program: PathBuf,
    /// The search path.
    pub(crate) path: OsString,
    pub(crate) rust_log: Option<String>,
    pub(crate) cloud_url: String,
}

fn start(node: &Node, settings: &AgentSettings, imds_port: u16) -> anyhow::Result<Leader> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(node.root.join("agent.log"))
        .context("open agent.log")?;
    let mut command = Command::new(&settings.program);
    command
        .args(["run", "--root"])
        .arg(&node.root)
        .current_dir(&node.root)
        .env_clear()
        .env("PATH", &settings.path)
        .env("AWS_ENDPOINT_URL", &settings.cloud_url)
        // AWS_EC2_METADATA_DISABLED stays unset, for this program alone: the role's credentials
        // come from the node's own IMDS, which is on loopback. The region comes from there too.
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://127.0.0.1:{}/", imds_port))
        .stdout(log.try_clone().context("agent.log for two")?)
        .stderr(log);
    if let Some(filter) = &settings.rust_log {
        command.env("RUST_LOG", filter);
    }
    Leader::start(&mut command).with_context(|| format!("start {}", settings.program.display()))
}
