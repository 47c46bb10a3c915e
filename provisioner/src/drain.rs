//! Emptying a block's instances: no further job, then time for those that run, then StopTask with a reason that the retry
//! rules of job definitions know. An instance that is ended with a job on it costs Batch 14 to 17 minutes until it notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::aws::ec2::Instance;
use crate::aws::ecs::Task;
use crate::block::Block;
use crate::error::{Error, Result};
use crate::ownership::{Marks, Ours};
use crate::session::Session;
use crate::wait::{Bound, Seen};

/// How long a task may take from StopTask until ECS knows it STOPPED. A host that has lost its ECS agent never says so.
const STOP_LIMIT: Duration = Duration::from_secs(180);

/// The container instances of blocks.
#[derive(Debug, Default)]
pub struct Members {
    cluster: String,
    /// By their ARN: their EC2 instance.
    members: BTreeMap<String, Ours>,
}

impl Members {
    /// Sets the container instances of these blocks DRAINING, and gives them. Without a cluster there are none.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn drain(session: &Session<'_>, blocks: &[&Block]) -> Result<Self> {
        let instances: Vec<(Ours, &Instance)> = blocks.iter().flat_map(|block| up(session, block)).collect();
        if instances.is_empty() {
            return Ok(Self::default());
        }
        let environment = session.aws.batch.environment(session.environment()).await?;
        let Some(cluster) = environment.map(|it| it.cluster).filter(|cluster| !cluster.is_empty()) else {
            return Ok(Self::default());
        };
        let known = session.aws.ecs.members(&cluster).await?;
        let (mut members, mut active) = (BTreeMap::new(), Vec::new());
        for (ours, instance) in instances {
            let Some(member) = known.get(&instance.id) else { continue };
            if member.status == "ACTIVE" {
                active.push(ours.part(&member.arn));
            }
            members.insert(member.arn.clone(), ours);
        }
        session.aws.ecs.drain(&cluster, &active).await?;
        Ok(Self { cluster, members })
    }

    /// Their EC2 instances.
    #[must_use]
    pub fn instances(&self) -> Vec<String> {
        self.members.values().map(|it| it.id().to_owned()).collect()
    }

    /// The EC2 instances that still have tasks.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn busy(&self, session: &Session<'_>) -> Result<BTreeSet<String>> {
        if self.members.is_empty() {
            return Ok(BTreeSet::new());
        }
        let tasks = self.tasks(session).await?;
        Ok(tasks.iter().filter_map(|task| self.members.get(&task.member)).map(|it| it.id().to_owned()).collect())
    }

    /// Waits until no task is left on them; those that still run at the limit are stopped. Gives how many were.
    ///
    /// # Errors
    /// When a call fails. A task that doesn't stop is warned about, for the instance has to go.
    pub async fn empty(&self, session: &Session<'_>, limit: Duration, why: &str) -> Result<usize> {
        if self.members.is_empty() {
            return Ok(0);
        }
        match self.until_empty(session, limit, "jobs to finish").await {
            Err(Error::TimedOut { .. }) => {}
            result => return result.map(|()| 0),
        }
        let running: Vec<Task> = self.tasks(session).await?.into_iter().filter(|task| !task.stopping).collect();
        if !running.is_empty() {
            session
                .ui
                .say(format_args!("stopping {} jobs; their retry rules start them again elsewhere", running.len()));
        }
        for task in &running {
            if let Some(instance) = self.members.get(&task.member) {
                let reason = format!("Host EC2 (instance {}) leaves: {why}", instance.id());
                session.aws.ecs.stop(&self.cluster, &instance.part(&task.arn), &reason).await?;
            }
        }
        match self.until_empty(session, STOP_LIMIT, "stopped jobs to end").await {
            Err(Error::TimedOut { last, .. }) => {
                let late = "Batch learns of their end when their instances are gone, some 15 min later";
                session.ui.warn(format_args!("{last} after {} min; {late}", STOP_LIMIT.as_secs() / 60));
                Ok(running.len())
            }
            result => result.map(|()| running.len()),
        }
    }

    async fn until_empty(&self, session: &Session<'_>, limit: Duration, what: &str) -> Result<()> {
        let bound = Bound { what: what.to_owned(), limit, next: String::new() };
        let look = async || match self.tasks(session).await?.len() {
            0 => Ok(Seen::Done(())),
            some => Ok(Seen::NotYet(format!("{some} jobs still run"))),
        };
        session.waits.until(session.ui, bound, look).await
    }

    /// Other people's tasks in the cluster are not looked at.
    async fn tasks(&self, session: &Session<'_>) -> Result<Vec<Task>> {
        let live = session.aws.ecs.live_tasks(&self.cluster).await?;
        Ok(live.into_iter().filter(|task| self.members.contains_key(&task.member)).collect())
    }
}

/// The block's instances that are up, each with the leave to change it.
fn up<'a>(session: &Session<'_>, block: &'a Block) -> Vec<(Ours, &'a Instance)> {
    let marks = Marks::of_block(session.environment(), &block.id);
    let claim = |it: &'a Instance| Some((marks.claim_instance(it, &block.requests)?, it));
    block.instances.iter().filter(|it| it.is_up()).filter_map(claim).collect()
}
