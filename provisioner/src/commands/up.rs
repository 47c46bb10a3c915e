//! `spotblock up`: the eight steps, whatever of them is still to do.

use serde::Serialize;

use super::{launch_options, plan as planning};
use crate::args;
use crate::block::bounds::Bounds;
use crate::block::find;
use crate::block::launch::{self, Foreseen, LaunchError, Launched, launch};
use crate::commands::view::{self, BlockView};
use crate::diagnosis::why_not_joined;
use crate::environment::apply::apply;
use crate::environment::desired::Desired;
use crate::model::batch::ComputeEnvironment;
use crate::model::cost::Cost;
use crate::model::error::{Error, Result};
use crate::session::Session;

/// The exit code when the user's answer is not yes.
const NOT_CONFIRMED: u8 = 1;

/// What `up` and `request` print.
#[derive(Debug, Serialize)]
struct Outcome {
    environment: String,
    cluster: String,
    queue: String,
    block: BlockView,
    /// What the block could cost, as it was shown before it was bought; none where it had been
    /// bought before.
    cost: Option<Cost>,
}

/// Runs it.
///
/// # Errors
/// Whatever stops it; run again, it goes on there.
pub(crate) async fn run(session: &Session<'_>, args: &args::Up) -> Result<u8> {
    if args.dry_run {
        return planning::show(session, args.new, false).await;
    }
    let options = launch_options(args.new, args.yes_purchase, &args.waiting)?;
    let desired = Desired::new(session.settings);
    let outlook = planning::look(session, &desired, args.new).await?;
    outlook.warn(session);
    if outlook.changes_anything() {
        session.ui.say(format_args!("{}\n", outlook.text(session, session.ui.look_of_progress())));
    }
    let plan = outlook.environment.clone().possible()?;
    if let Some(foreseen) = &outlook.foreseen {
        foreseen.cost.within_limit()?;
    }
    if outlook.changes_anything() && !args.yes && !confirmed(session).await? {
        session.ui.say("nothing was made, changed or bought");
        return Ok(NOT_CONFIRMED);
    }
    if !plan.has_changes() {
        session.ui.say(format_args!("environment {} is as it should be", desired.environment));
    }
    let environment = apply(session, &desired, &plan).await?;
    finish(session, &desired, &environment, options, outlook.foreseen).await
}

/// Asks, where somebody can answer.
async fn confirmed(session: &Session<'_>) -> Result<bool> {
    let asked = session.ui.ask("Do all this? Only `yes` or `y` is taken for a yes: ");
    let Some(asked) = session.waits.clock().until_stopped(asked).await else {
        session.ui.after_ctrl_c();
        return Err(Error::interrupted("nothing was made, changed or bought"));
    };
    match asked? {
        Some(answer) => Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")),
        None => Err(Error::usage(
            "`up` asks before it makes, changes or buys anything, and there is no terminal to \
             ask on",
            "nothing was changed: give --yes (SPOTBLOCK_YES=true) to do what the plan above says",
        )),
    }
}

/// Launches the block and shows it.
///
/// # Errors
/// As [`launch`].
pub(crate) async fn finish(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    options: launch::Options,
    foreseen: Option<Foreseen>,
) -> Result<u8> {
    let Launched { record, cost } =
        match Box::pin(launch(session, desired, environment, options, foreseen)).await {
            Ok(launched) => launched,
            Err(LaunchError::Failed(error)) => return Err(error),
            Err(LaunchError::NotJoined(not_joined)) => {
                // Before anything is given back: what has ended can't be looked into.
                let advice = Box::pin(why_not_joined(session, &not_joined)).await;
                Box::pin(launch::settle(session, desired, *not_joined, advice)).await?
            }
        };
    show(session, desired, environment, &record.spec.block, cost).await?;
    launch::report(session, &record, "joined").await;
    Ok(0)
}

async fn show(
    session: &Session<'_>,
    desired: &Desired,
    environment: &ComputeEnvironment,
    id: &str,
    cost: Option<Cost>,
) -> Result<()> {
    let blocks = find::all(session.aws, session.environment()).await?;
    let block = blocks.iter().find(|block| block.id == id).ok_or_else(|| {
        Error::state(
            format!("block {id} was brought, and is gone"),
            "look whether `spotblock down` was run at the same time",
        )
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
    session
        .ui
        .result(&outcome, |outcome| view::text(&outcome.block, session.now(), session.ui.look()))
}
