//! `spotblock drain`: no further jobs for a block. Its agents see that their container instances are DRAINING, let the
//! running jobs finish, and leave.

use std::time::Duration;

use serde::Serialize;

use super::{chosen, limit};
use crate::args;
use crate::block;
use crate::drain::Members;
use crate::error::Result;
use crate::session::Session;

/// How long `--wait` waits without `--limit`: the agents stop jobs at the block's end anyway, and no block is longer.
const LONGEST: Duration = Duration::from_secs(182 * 24 * 3600);

#[derive(Debug, Serialize)]
struct Drained {
    blocks: Vec<String>,
    /// The instances that take no further job.
    draining: Vec<String>,
    /// How many jobs were stopped at the limit.
    stopped: usize,
}

/// Runs it.
///
/// # Errors
/// When a call fails, or there is no such block.
pub async fn run(session: &Session<'_>, args: &args::Drain) -> Result<u8> {
    let limit = limit("--limit", args.limit.as_deref(), LONGEST)?;
    let blocks = block::all(session.aws, session.environment()).await?;
    let blocks = chosen(session, &blocks, args.block.as_deref())?;
    let members = Members::drain(session, &blocks).await?;
    let draining = members.instances();
    session.ui.say(format_args!("{} instances take no further job", draining.len()));
    let wait = args.wait || args.limit.is_some();
    let stopped = if wait { members.empty(session, limit, "the block is drained").await? } else { 0 };
    let blocks = blocks.iter().filter(|it| it.has_something_left()).map(|it| it.id.clone()).collect();
    session.ui.result(&Drained { blocks, draining, stopped }, text)?;
    Ok(0)
}

fn text(drained: &Drained) -> String {
    let draining = match drained.draining.as_slice() {
        [] => "draining: no instance".to_owned(),
        some => format!("draining: {}", some.join(", ")),
    };
    match drained.stopped {
        0 => draining,
        stopped => format!("{draining}\nstopped: {stopped} jobs"),
    }
}
