//! `spotblock status`: the blocks, their instances, and the queue.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::aws::batch::JOB_STATES;
use crate::block;
use crate::error::Result;
use crate::session::Session;
use crate::ui::view::{self, BlockView};

/// What `status` prints.
#[derive(Debug, Serialize)]
struct Status {
    environment: String,
    status: String,
    cluster: Option<String>,
    queue: Queue,
    /// The newest first.
    blocks: Vec<BlockView>,
}

#[derive(Debug, Serialize)]
struct Queue {
    name: String,
    status: String,
    /// Jobs by state. Batch forgets ended ones after some days.
    jobs: BTreeMap<&'static str, usize>,
}

/// Runs it.
///
/// # Errors
/// When a call fails.
pub async fn run(session: &Session<'_>) -> Result<u8> {
    let settings = &session.settings.environment;
    let environment = session.aws.batch.environment(&settings.name).await?;
    let queue = session.aws.batch.queue(&settings.queue).await?;
    let mut jobs = BTreeMap::new();
    if queue.is_some() {
        for state in JOB_STATES {
            jobs.insert(state, session.aws.batch.count_jobs(&settings.queue, state).await?);
        }
    }
    let cluster = environment.as_ref().map(|it| it.cluster.clone()).filter(|cluster| !cluster.is_empty());
    let members = match &cluster {
        Some(cluster) => session.aws.ecs.members(cluster).await?,
        None => BTreeMap::new(),
    };
    let mut blocks = Vec::new();
    for block in block::all(session.aws, &settings.name).await?.iter().rev() {
        blocks.push(view::of(session, block, &members).await?);
    }
    let not_there = || "not there".to_owned();
    let status = Status {
        environment: settings.name.clone(),
        status: environment.map_or_else(not_there, |it| it.status),
        cluster,
        queue: Queue { name: settings.queue.clone(), status: queue.map_or_else(not_there, |it| it.status), jobs },
        blocks,
    };
    session.ui.result(&status, |status| text(status, session.now()))?;
    Ok(0)
}

fn text(status: &Status, now: Timestamp) -> String {
    let jobs: Vec<String> = JOB_STATES
        .iter()
        .filter_map(|state| {
            status.queue.jobs.get(state).filter(|count| **count > 0).map(|count| format!("{count} {state}"))
        })
        .collect();
    let mut lines = vec![
        format!("environment {}: {}", status.environment, status.status),
        format!("queue {}: {}", status.queue.name, status.queue.status),
    ];
    if !status.queue.jobs.is_empty() {
        lines.push(format!("  {}", if jobs.is_empty() { "no jobs".to_owned() } else { jobs.join(", ") }));
    }
    lines.extend(status.blocks.iter().map(|block| view::text(block, now)));
    if status.blocks.is_empty() {
        lines.push("no block".to_owned());
    }
    lines.join("\n")
}
