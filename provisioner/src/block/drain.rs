//! Emptying a block's instances: no further job, then time for those that run, then StopTask with a
//! reason that the retry rules of job definitions know. An instance that is ended with a job on it
//! costs Batch 14 to 17 minutes until it notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::aws::ecs::Task;
use crate::model::block::Block;
use crate::model::error::{ErrorKind, Result};
use crate::model::instance::Instance;
use crate::model::ownership::Owned;
use crate::runtime::wait::{Poll, WaitSpec};
use crate::session::Session;

/// How long a task may take from StopTask until ECS knows it STOPPED. A host that has lost its ECS
/// agent never says so.
const STOP_LIMIT: Duration = Duration::from_secs(180);

/// The container instances of blocks.
#[derive(Debug, Default)]
pub(crate) struct Members {
    cluster: String,
    /// By their ARN: their EC2 instance.
    members: BTreeMap<String, Owned>,
}

impl Members {
    /// Sets the container instances of these blocks DRAINING, and gives them. Without a cluster
    /// there are none.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn drain(session: &Session<'_>, blocks: &[&Block]) -> Result<Self> {
        let instances: Vec<(Owned, &Instance)> =
            blocks.iter().flat_map(|block| up(session, block)).collect();
        if instances.is_empty() {
            return Ok(Self::default());
        }
        let environment = session.aws.batch.environment(session.environment()).await?;
        let Some(cluster) = environment.map(|it| it.cluster).filter(|cluster| !cluster.is_empty())
        else {
            return Ok(Self::default());
        };
        let known = session.aws.ecs.members(&cluster).await?;
        let (mut members, mut active) = (BTreeMap::new(), Vec::new());
        for (owned, instance) in instances {
            let Some(member) = known.get(&instance.id) else { continue };
            if member.status == "ACTIVE" {
                active.push(owned.owned_child(&member.arn));
            }
            // Of the others nobody knows how they are.
            active.extend(member.others.iter().map(|arn| owned.owned_child(arn)));
            members.extend(member.arns().map(|arn| (arn.clone(), owned.clone())));
        }
        session.aws.ecs.drain(&cluster, &active).await?;
        Ok(Self { cluster, members })
    }

    /// Their EC2 instances.
    #[must_use]
    pub(crate) fn instances(&self) -> Vec<String> {
        self.members.values().map(|it| it.id().to_owned()).collect()
    }

    /// The EC2 instances that still have tasks.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn busy(&self, session: &Session<'_>) -> Result<BTreeSet<String>> {
        if self.members.is_empty() {
            return Ok(BTreeSet::new());
        }
        let tasks = self.tasks(session).await?;
        Ok(tasks
            .iter()
            .filter_map(|task| self.members.get(&task.member))
            .map(|it| it.id().to_owned())
            .collect())
    }

    /// Waits until no task is left on them; those that still run at the limit are stopped. Gives
    /// how many were.
    ///
    /// # Errors
    /// When a call fails. A task that doesn't stop is warned about, for the instance has to go.
    pub(crate) async fn empty(
        &self,
        session: &Session<'_>,
        limit: Duration,
        why: &str,
    ) -> Result<usize> {
        if self.members.is_empty() {
            return Ok(0);
        }
        match self.until_empty(session, limit, "jobs to finish").await {
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            result => return result.map(|()| 0),
        }
        let mut stopped = BTreeSet::new();
        match self.until_stopped(session, why, &mut stopped).await {
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let last = error.last_seen().unwrap_or_default();
                let late =
                    "Batch learns of their end when their instances are gone, some 15 min later";
                session
                    .ui
                    .warn(format_args!("{last} after {} min; {late}", STOP_LIMIT.as_secs() / 60));
                Ok(stopped.len())
            }
            result => result.map(|()| stopped.len()),
        }
    }

    /// Stops what runs until nothing does: ECS can place a task just across the DRAINING, above all
    /// one that was stopped on another of these instances and is tried again.
    async fn until_stopped(
        &self,
        session: &Session<'_>,
        why: &str,
        stopped: &mut BTreeSet<String>,
    ) -> Result<()> {
        let bound = WaitSpec {
            what: "stopped jobs to end".to_owned(),
            limit: STOP_LIMIT,
            next: String::new(),
        };
        let look = async || {
            let live = self.tasks(session).await?;
            let running = live.iter().filter(|task| !task.stopping && !stopped.contains(&task.arn));
            let running: Vec<(&Task, &Owned)> =
                running.filter_map(|task| Some((task, self.members.get(&task.member)?))).collect();
            if !running.is_empty() {
                let count = running.len();
                session.ui.say(format_args!(
                    "stopping {count} jobs; their retry rules start them again elsewhere"
                ));
            }
            for (task, instance) in running {
                let reason = format!("Host EC2 (instance {}) leaves: {why}", instance.id());
                session
                    .aws
                    .ecs
                    .stop(&self.cluster, &instance.owned_child(&task.arn), &reason)
                    .await?;
                stopped.insert(task.arn.clone());
            }
            Ok(still_run(live.len()))
        };
        session.waits.until(session.ui, bound, look).await
    }

    async fn until_empty(&self, session: &Session<'_>, limit: Duration, what: &str) -> Result<()> {
        let bound = WaitSpec { what: what.to_owned(), limit, next: String::new() };
        let look = async || Ok(still_run(self.tasks(session).await?.len()));
        session.waits.until(session.ui, bound, look).await
    }

    /// Other people's tasks in the cluster are not looked at.
    async fn tasks(&self, session: &Session<'_>) -> Result<Vec<Task>> {
        let live = session.aws.ecs.live_tasks(&self.cluster).await?;
        Ok(live.into_iter().filter(|task| self.members.contains_key(&task.member)).collect())
    }
}

fn still_run(tasks: usize) -> Poll<()> {
    match tasks {
        0 => Poll::Done(()),
        some => Poll::NotYet(format!("{some} jobs still run")),
    }
}

/// The block's instances that are up, each with the leave to change it.
fn up<'a>(session: &Session<'_>, block: &'a Block) -> Vec<(Owned, &'a Instance)> {
    let marks = block.marks(session.environment());
    let claim = |it: &'a Instance| Some((marks.claim_instance(it, &block.requests)?, it));
    block.instances.iter().filter(|it| it.is_up()).filter_map(claim).collect()
}
