//! `spotblock up`: the eight steps, whatever of them is still to do.

use serde::Serialize;

use super::{bring_options, plan as planning, warn};
use crate::apply::apply;
use crate::args;
use crate::aws::batch::ComputeEnvironment;
use crate::block;
use crate::bring::{self, bring};
use crate::desired::Desired;
use crate::error::{Error, Result};
use crate::prices::{Bounds, Cost};
use crate::session::Session;
use crate::ui::view::{self, BlockView};

/// What `up` and `request` print.
#[derive(Debug, Serialize)]
struct Outcome {
    environment: String,
    cluster: String,
    queue: String,
    block: BlockView,
    /// What the block could cost, as it was shown before it was bought; none where it had been bought before.
    cost: Option<Cost>,
}

/// Runs it.
///
/// # Errors
/// Whatever stops it; run again, it goes on there.
pub async fn run(session: &Session<'_>, args: &args::Up) -> Result<u8> {
    if args.dry_run {
        return planning::show(session, args.new, false).await;
    }
    let options = bring_options(args.new, args.yes_purchase, &args.waiting)?;
    warn(session);
    let desired = Desired::new(session.settings);
    let plan = planning::of_environment(session, &desired).await?.possible()?;
    if !plan.has_changes() {
        session.ui.say(format_args!("environment {} is as it should be", desired.environment));
    }
    let environment = apply(session, &desired, &plan).await?;
    finish(session, &desired, &environment, options).await
}

/// Brings the block and shows it.
///
/// # Errors
/// As [`bring`].
pub async fn finish(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: bring::Options,
) -> Result<u8> {
    let (record, cost) = bring(session, desired, environment, options).await?;
    show(session, desired, environment, &record.terms.block, cost).await?;
    bring::report(session, &record, "joined").await;
    Ok(0)
}

async fn show(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    id: &str,
    cost: Option<Cost>,
) -> Result<()> {
    let blocks = block::all(session.aws, session.environment()).await?;
    let block = blocks.iter().find(|block| block.id == id).ok_or_else(|| Error::State {
        what: format!("block {id} was brought, and is gone"),
        next: "look whether `spotblock down` was run at the same time".to_owned(),
    })?;
    let members = session.aws.ecs.members(&environment.cluster).await?;
    let bounds = Bounds::of_blocks(session, std::slice::from_ref(block)).await;
    let outcome = Outcome {
        environment: desired.environment.clone(),
        cluster: environment.cluster.clone(),
        queue: desired.queue.clone(),
        block: view::of(session, block, &members, &bounds).await?,
        cost,
    };
    session.ui.result(&outcome, |outcome| view::text(&outcome.block, session.now(), session.ui.look()))
}
