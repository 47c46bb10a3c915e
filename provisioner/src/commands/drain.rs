//! `spotblock drain`: no further jobs for a block. Its agents see that their container instances
//! are DRAINING, let the running jobs finish, and leave.

use std::time::Duration;

use serde::Serialize;

use super::{chosen_of_seen, limit};
use crate::args;
use crate::block::drain::Members;
use crate::block::find;
use crate::model::error::Result;
use crate::runtime::failures::Failures;
use crate::session::Session;

/// How long `--wait` waits without `--limit`: the agents stop jobs at the block's end anyway, and
/// no block is longer.
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
/// When there is no such block; when a call failed, after what the others show was drained.
pub(crate) async fn run(session: &Session<'_>, args: &args::Drain) -> Result<u8> {
    let limit = limit("--limit", args.limit.as_deref(), LONGEST)?;
    let mut failures = Failures::default();
    let (seen, unread) = find::all_tolerant(session.aws, session.environment(), false).await?;
    failures.note_all(session.ui, find::left_by(unread))?;
    let blocks = chosen_of_seen(session, &seen, args.block.as_deref(), &failures)?;
    let members = Members::drain(session, &blocks).await;
    let members =
        failures.ok_or_note(session.ui, members, "instances that take jobs")?.unwrap_or_default();
    let draining = members.instances();
    session.ui.say(format_args!("{} instances take no further job", draining.len()));
    let mut stopped = 0;
    if args.wait || args.limit.is_some() {
        let empty = members.empty(session, limit, "the block is drained").await;
        stopped = failures
            .ok_or_note(session.ui, empty, "jobs on instances that drain")?
            .unwrap_or_default();
    }
    let blocks =
        blocks.iter().filter(|it| it.has_something_left()).map(|it| it.id.clone()).collect();
    session.ui.result(&Drained { blocks, draining, stopped }, text)?;
    failures.into_result(
        "put right what failed, then run `spotblock drain` again: it goes on where it stopped",
    )?;
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
