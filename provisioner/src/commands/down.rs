//! `spotblock down`: ends blocks, and with --all removes what was made for them.
//!
//! A block's spot requests are cancelled first, then described again, since a fulfilment can race a cancellation; what
//! came up is terminated if it is ours; its record goes last. Killed anywhere, a second run finds what is left.

use std::time::Duration;

use node_contract::names::tag;
use serde::Serialize;

use crate::args;
use crate::aws::ec2::Instance;
use crate::block::{self, Block, is_ours};
use crate::capacity::{self, Standing};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::wait::{Bound, Seen};

mod environment;

/// Instances take seconds to minutes to be terminated.
const END_LIMIT: Duration = Duration::from_secs(600);
/// After a purchase whose answer was lost, its requests may not be shown yet `[V]`.
const SETTLE: Duration = Duration::from_secs(3);

/// What `down` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ended {
    blocks: Vec<String>,
    instances: Vec<String>,
    cancelled: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) kept: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When a call fails, something doesn't end in time, or jobs would be lost.
pub async fn run(session: &Session<'_>, args: &args::Down) -> Result<u8> {
    if args.all {
        environment::refuse_to_lose_jobs(session, args.discard_jobs).await?;
    }
    let mut ended = Ended::default();
    let blocks = block::all(session.aws, session.environment()).await?;
    let chosen: Vec<&Block> = blocks.iter().filter(|it| args.block.as_ref().is_none_or(|id| *id == it.id)).collect();
    if let (Some(id), true) = (&args.block, chosen.is_empty()) {
        return Err(Error::Usage {
            what: format!("environment {} has no block {id}", session.environment()),
            next: "see `spotblock status` for those it has".to_owned(),
        });
    }
    for block in chosen {
        end(session, block, &mut ended).await?;
    }
    if args.all {
        environment::remove(session, &mut ended).await?;
    } else if session.aws.batch.environment(session.environment()).await?.is_some() {
        let what = "with its queue, job definitions and roles (remove them with `spotblock down --all`)";
        ended.kept.push(format!("compute environment {} {what}", session.environment()));
    }
    session.ui.result(&ended, text)?;
    Ok(0)
}

/// Ends one block.
async fn end(session: &Session<'_>, block: &Block, ended: &mut Ended) -> Result<()> {
    session.ui.say(format_args!("ending block {}", block.id));
    let maybe_bought = block.requests.is_empty() && block.record.as_ref().is_some_and(|it| it.outcome.is_none());
    if maybe_bought && block.life(session.now()).goes_on() {
        session.waits.clock().sleep(SETTLE).await;
    }
    let requests = session.aws.ec2.spot_requests(tag::BLOCK, &block.id).await?;
    let open = |it: &&crate::aws::ec2::SpotRequest| matches!(it.state.as_str(), "open" | "active" | "disabled");
    let cancel: Vec<String> = requests
        .iter()
        .filter(|it| block::carries_marks(&it.tags, session.environment(), &block.id))
        .filter(open)
        .map(|it| it.id.clone())
        .collect();
    session.aws.ec2.cancel_spot_requests(&cancel).await?;
    ended.cancelled.extend(cancel);
    instances_ended(session, block, ended).await?;
    if let Some(record) = &block.record {
        session.aws.ec2.delete_record(record).await?;
    }
    ended.blocks.push(block.id.clone());
    Ok(())
}

/// Terminates the block's instances, also those that come up late, and waits until all are gone.
async fn instances_ended(session: &Session<'_>, block: &Block, ended: &mut Ended) -> Result<()> {
    let bound = Bound {
        what: format!("the instances of block {} to end", block.id),
        limit: END_LIMIT,
        next: "run the same command again".to_owned(),
    };
    let mut asked: Vec<String> = Vec::new();
    session
        .waits
        .until(session.ui, bound, async || {
            let requests = session.aws.ec2.spot_requests(tag::BLOCK, &block.id).await?;
            let mut instances = session.aws.ec2.instances_of_requests(&requests).await?;
            for tagged in session.aws.ec2.instances_tagged(tag::BLOCK, &block.id).await? {
                if instances.iter().all(|it| it.id != tagged.id) {
                    instances.push(tagged);
                }
            }
            instances.retain(|it| is_ours(it, session.environment(), &block.id, &requests));
            let up: Vec<String> = instances.iter().filter(|it| it.is_up()).map(|it| it.id.clone()).collect();
            let new: Vec<String> = up.iter().filter(|id| !asked.contains(id)).cloned().collect();
            if !new.is_empty() {
                session.ui.say(format_args!("terminating {}", new.join(", ")));
                session.aws.ec2.terminate(&new).await?;
                asked.extend(new);
            }
            let holding = requests.iter().filter(|it| capacity::standing(it) == Standing::Holding).count();
            let shown = |it: &&crate::aws::ec2::SpotRequest| {
                it.instance.as_ref().is_none_or(|id| instances.iter().any(|instance| instance.id == *id))
            };
            let coming = requests.iter().filter(|it| capacity::standing(it) == Standing::Live && !shown(it)).count();
            let alive: Vec<&Instance> = instances.iter().filter(|it| it.state != "terminated").collect();
            if alive.is_empty() && holding + coming == 0 {
                return Ok(Seen::Done(()));
            }
            Ok(Seen::NotYet(format!("{} instances and {} requests are left", alive.len(), holding + coming)))
        })
        .await?;
    ended.instances.extend(asked);
    Ok(())
}

fn text(ended: &Ended) -> String {
    let line = |name: &str, list: &[String], none: &str| match list {
        [] => format!("{name}: {none}"),
        list => format!("{name}: {}", list.join(", ")),
    };
    let mut lines = vec![
        line("ended blocks", &ended.blocks, "none"),
        line("terminated instances", &ended.instances, "none"),
        line("removed", &ended.removed, "nothing"),
    ];
    lines.extend(ended.kept.iter().map(|kept| format!("kept: {kept}")));
    lines.join("\n")
}
