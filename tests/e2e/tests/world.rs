//! A local cloud with both programs, as one test has it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::binaries::Binaries;
use e2e::cli::{self, Run};
use e2e::cloud::LocalCloud;
use localcloud_core::journal::record::What;
use localcloud_core::{Call, Event};
use serde_json::json;
use tempfile::TempDir;

/// More than any single command may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) cloud: LocalCloud,
    /// Holds the nodes' root folders until the test is over.
    _folder: TempDir,
    binaries: Binaries,
    config: PathBuf,
}

impl World {
    /// A local cloud with these arguments, and `spotblock` with one of the fixtures as its
    /// configuration.
    pub(crate) async fn new(config: &str, arguments: &[&str]) -> Self {
        Self::with_agent(config, arguments, |_| binaries().agent).await
    }

    /// The same with another program in the agent's place; it can be made in the cloud's folder.
    pub(crate) async fn with_agent(
        config: &str,
        arguments: &[&str],
        agent: impl FnOnce(&Path) -> PathBuf,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binaries = Binaries { agent: agent(folder.path()), ..binaries() };
        let cloud =
            LocalCloud::start(&binaries, folder.path(), arguments).await.expect("a local cloud");
        Self { cloud, _folder: folder, binaries, config: fixture(config) }
    }

    /// Runs `spotblock`.
    pub(crate) async fn spotblock(&self, arguments: &[&str]) -> Run {
        self.spotblock_with(&self.cloud.url, &[], arguments).await
    }

    /// Runs `spotblock` with another endpoint than the cloud's, and more in its environment.
    pub(crate) async fn spotblock_with(
        &self,
        endpoint: &str,
        more: &[(&str, &str)],
        arguments: &[&str],
    ) -> Run {
        let mut command = cli::command(&self.binaries.spotblock, endpoint, &[]);
        command.envs(more.iter().copied()).arg("--config").arg(&self.config).args(arguments);
        cli::run(command, LIMIT).await.expect("a run of spotblock")
    }

    /// Submits a job that works for this many seconds, with these variables in its environment.
    pub(crate) async fn submit(&self, name: &str, seconds: u32, environment: &[&str]) {
        let seconds = seconds.to_string();
        let mut arguments = vec!["submit", "--job-definition", "hello-world", "--name", name];
        for pair in environment {
            arguments.extend(["--env", pair]);
        }
        arguments.extend(["--", "sleep", &seconds]);
        self.spotblock(&arguments).await.success().expect("the job is taken");
    }

    /// Runs any program, confined to this cloud.
    pub(crate) async fn run(&self, program: &Path, arguments: &[&str]) -> Run {
        cli::run(cli::command(program, &self.cloud.url, arguments), LIMIT).await.expect("a run")
    }

    pub(crate) async fn calls(&self) -> Vec<Call> {
        self.cloud.calls().await.expect("the recorded calls")
    }

    pub(crate) async fn until(&self, what: &str, done: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        self.cloud.wait_until(what, LIMIT, done).await.expect(what)
    }

    /// The only instance there is.
    pub(crate) async fn instance(&self) -> String {
        let events = self.cloud.events().await.expect("the events");
        let mut launched = events.iter().filter_map(|event| match &event.what {
            What::Launched { instance, .. } => Some(instance.clone()),
            _ => None,
        });
        let instance = launched.next().expect("an instance was launched");
        assert_eq!(launched.next(), None, "only one instance was launched");
        instance
    }

    pub(crate) async fn control(&self, instance: &str, what: &str) {
        self.cloud.post(&format!("nodes/{instance}/{what}"), &json!({})).await.expect(what);
    }
}

pub(crate) fn binaries() -> Binaries {
    Binaries::beside(Path::new(env!("CARGO_BIN_EXE_spotblock"))).expect("all three programs")
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/fixtures").join(name)
}

/// Whether a job took this status.
pub(crate) fn job_is(events: &[Event], job: &str, wanted: &str) -> bool {
    events.iter().any(|event| matches!(&event.what, What::Job { name, status, .. } if name == job && status == wanted))
}

/// The calls of one operation that AWS accepted.
pub(crate) fn accepted<'a>(calls: &'a [Call], operation: &str) -> Vec<&'a Call> {
    calls.iter().filter(|call| call.operation == operation && call.error.is_none()).collect()
}

pub(crate) fn any_gone(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event.what, What::Gone { .. }))
}
