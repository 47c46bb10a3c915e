//! Many instances in one local cloud, each with a fault of its own: one life shows what the agent
//! does about all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::lives::{self, Terms};
use e2e::promises;
use localcloud_core::Event;
use localcloud_core::journal::record::What;
use serde_json::{Value, json};

use crate::host::Host;
use crate::world::World;

/// What the fleet's jobs exit with on SIGTERM. Whoever is killed without it exits with another.
const WARNED: i32 = 42;

/// Instances, by their faults' names.
pub(crate) struct Fleet {
    pub(crate) world: World,
    names: Vec<&'static str>,
    pub(crate) hosts: Vec<Host>,
}

impl Fleet {
    /// Starts an instance for each of these faults, and a job on each. A fault is a line of the
    /// fault script or several, in which the instance is filled in.
    pub(crate) async fn start(world: World, faults: &[(&'static str, Value)], jobs: usize) -> Self {
        let numbered = (1..).zip(faults).map(|(number, (_, lines))| (number, lines));
        add(&world, numbered).await;
        let count = faults.len().to_string();
        world.spotblock(&["up", "--instances", &count]).await.success().expect("up");
        let fleet = Self {
            hosts: Host::all(&world).await,
            names: faults.iter().map(|(name, _)| *name).collect(),
            world,
        };
        assert_eq!(fleet.hosts.len(), faults.len());
        if jobs > 0 {
            fleet.submit("held", jobs).await;
        }
        fleet
            .world
            .until("the jobs run", |events| {
                lives::jobs(events).values().filter(|job| job.status == "RUNNING").count() == jobs
            })
            .await;
        fleet
    }

    /// Submits jobs that are longer than any block here, and that write a checkpoint when they are
    /// told to stop.
    pub(crate) async fn submit(&self, name: &str, count: usize) {
        let (term, count) = (format!("LOCALCLOUD_ON_TERM=exit:{WARNED}"), count.to_string());
        let job = ["submit", "--job-definition", "hello-world", "--name", name, "--count", &count];
        let arguments = [&job[..], &["--env", &term, "--", "sleep", "600"]].concat();
        self.world.spotblock(&arguments).await.success().expect("the jobs are taken");
    }

    /// Adds faults in the middle of a life, by their names.
    pub(crate) async fn add(&self, faults: &[(&'static str, Value)]) {
        add(&self.world, faults.iter().map(|(name, lines)| (self.place(name) + 1, lines))).await;
    }

    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub(crate) fn host(&self, name: &str) -> &Host {
        &self.hosts[self.place(name)]
    }

    /// Each agent's status, by its fault's name.
    pub(crate) async fn statuses(&self) -> BTreeMap<&'static str, Value> {
        let mut statuses = BTreeMap::new();
        for (name, host) in self.names.iter().zip(&self.hosts) {
            statuses.insert(*name, host.status().await);
        }
        statuses
    }

    /// Each agent's statuses, one after the other until it is gone.
    pub(crate) async fn watch(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let mut seen: BTreeMap<_, Vec<_>> = BTreeMap::new();
        loop {
            let mut all_gone = true;
            for (name, host) in self.names.iter().zip(&self.hosts) {
                if let Some(status) = host.try_status().await {
                    seen.entry(*name).or_default().push(status);
                    all_gone = false;
                }
            }
            if all_gone {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until all instances are gone.
    pub(crate) async fn end(&self) -> Vec<Event> {
        let gone = |events: &[Event]| {
            events.iter().filter(|event| matches!(event.what, What::Gone { .. })).count()
        };
        self.world.until("the instances' end", |events| gone(events) == self.hosts.len()).await
    }

    /// Holds the records against what has to be true whatever fails: no instance outlives its
    /// block, no job dies without its warning, and none is lost. `undrained` are faults under which
    /// ECS can't be told DRAINING.
    pub(crate) async fn kept_its_promises(
        &self,
        events: &[Event],
        terms: &Terms,
        undrained: &[&str],
    ) {
        let calls = self.world.calls().await;
        for verdict in promises::verdicts(&calls, events, terms, 1) {
            if verdict.promise.contains("job SUCCEEDED") {
                continue;
            }
            let excused = |broken: &&String| {
                let of = |name: &&&str| broken.starts_with(&self.host(name).node.instance);
                verdict.promise.contains("DRAINING") && undrained.iter().any(|name| of(&name))
            };
            let broken: Vec<_> = verdict.broken.iter().filter(|broken| !excused(broken)).collect();
            assert!(broken.is_empty(), "{}: {broken:?}\n{}", verdict.promise, self.names());
        }
        self.each_process_was_warned(events);
        for node in lives::nodes(&calls, events, terms) {
            let (at, how) = node.gone.as_ref().expect("it is gone");
            assert_eq!(how, "power-off", "{} left by itself\n{}", node.instance, self.names());
            assert!(
                node.last_task_ended.is_none_or(|ended| ended <= *at),
                "{node:?}\n{}",
                self.names()
            );
        }
        self.each_job_was_accounted_for(events);
    }

    fn each_process_was_warned(&self, events: &[Event]) {
        let mut started = 0;
        let mut ended = 0;
        for event in events {
            let What::Process { instance, change, exit_code, .. } = &event.what else { continue };
            if change == "started" {
                started += 1;
                continue;
            }
            ended += 1;
            let warned = [Some(WARNED), Some(0)].contains(exit_code);
            assert!(warned, "a job on {instance} ended with {exit_code:?}\n{}", self.names());
        }
        assert!(started > 0 && started == ended, "{started} started, {ended} ended");
    }

    fn each_job_was_accounted_for(&self, events: &[Event]) {
        for job in lives::jobs(events).values() {
            assert_ne!(job.status, "FAILED", "{job:?} is lost\n{}", self.names());
            for attempt in &job.attempts {
                let told = attempt
                    .reason
                    .as_deref()
                    .is_some_and(|reason| reason.starts_with("Host EC2 (instance i-"));
                assert!(
                    told || attempt.exit_code == Some(0),
                    "{}: {attempt:?}\n{}",
                    job.name,
                    self.names()
                );
            }
        }
    }

    /// Which instance had which fault, for whoever reads a failure.
    fn names(&self) -> String {
        let lines = self
            .names
            .iter()
            .zip(&self.hosts)
            .map(|(name, host)| format!("{}: {name}\n", host.node.instance));
        lines.collect()
    }
}

/// Adds instances' faults to the script, by their numbers. `null` is no fault.
async fn add(world: &World, faults: impl Iterator<Item = (usize, &Value)>) {
    let mut script = Vec::new();
    for (number, lines) in faults {
        let lines = match lines {
            Value::Array(lines) => lines.clone(),
            Value::Null => Vec::new(),
            line => vec![line.clone()],
        };
        script.extend(lines.into_iter().map(|line| on(number, line)));
    }
    world.cloud.post("faults", &Value::Array(script)).await.expect("faults");
}

fn on(number: usize, mut line: Value) -> Value {
    if matches!(line["service"].as_str(), Some("imds" | "introspection")) {
        line["node"] = json!(number);
    } else {
        line["caller"] = json!({ "node": number });
    }
    line
}
