//! What the block can cost once it is extended, held to `max-cost`.

use jiff::{SignedDuration, Timestamp};
use node_contract::Source;

use super::is_ours_to_end;
use crate::block::bounds::Bounds;
use crate::model::block::Block;
use crate::model::cost::Dollars;
use crate::model::error::{Error, Result};
use crate::model::instance::Instance;
use crate::session::Session;

/// Asks for the prices and gives the worst case of the whole block, with what it has used; none
/// where a price is unknown.
///
/// # Errors
/// [`Error::capacity`] when it is above `max-cost`, or nobody knows.
pub(super) async fn within_limit(
    session: &Session<'_>,
    block: &Block,
    end: Timestamp,
) -> Result<Option<Dollars>> {
    let mut bounds = Bounds::default();
    if let Err(error) = bounds.learn(session.aws, std::slice::from_ref(block)).await {
        session.ui.warn(format_args!("the on-demand prices are unknown: {error}"));
    }
    let bound = |it: &Instance| bounds.of(block, it);
    let worst = worst_case(block, session.now(), end, bound);
    let limit = session.settings.block.max_cost.and_then(|most| Dollars::parse(&most.to_string()));
    let what = match (worst, limit) {
        (_, None) => return Ok(worst),
        (Some(worst), Some(limit)) if worst <= limit => return Ok(Some(worst)),
        (Some(worst), Some(limit)) => {
            format!(
                "block {} could cost up to {worst} in all (estimate) until {end}, and max-cost \
                 is {limit}",
                block.id
            )
        }
        (None, Some(limit)) => {
            let which = block.instances.iter().find(|it| bound(it).is_none());
            let which = which.map_or_else(String::new, |it| {
                format!(": the price of {} is unknown", it.instance_type)
            });
            format!("block {} could cost more than max-cost, {limit}{which}", block.id)
        }
    };
    Err(Error::capacity(
        what,
        None,
        "nothing was changed. To go on, raise [block] max-cost or extend it by less",
    ))
}

/// Every instance from its launch to its end, at its bound: those that are up to the new one, also
/// where it isn't sure that they take it. A capacity block is paid, and not counted.
fn worst_case(
    block: &Block,
    now: Timestamp,
    end: Timestamp,
    bound: impl Fn(&Instance) -> Option<Dollars>,
) -> Option<Dollars> {
    let is_ours =
        |it: &Instance| block.source_of(it).is_some_and(|source| source != Source::CapacityBlock);
    let moves = |it: &Instance| block.source_of(it).is_some_and(is_ours_to_end);
    let until = |it: &Instance| match (it.is_up(), block.end_of(it)) {
        (true, Some(old)) if !moves(it) => old,
        (true, old) => old.map_or(end, |old| old.max(end)),
        (false, old) => old.map_or(now, |old| old.min(now)),
    };
    let costs = block.instances.iter().filter(|it| is_ours(it)).map(|it| {
        let length = it.launched.duration_until(until(it)).max(SignedDuration::ZERO);
        Some(bound(it)?.for_block(1, length))
    });
    costs.collect::<Option<Vec<Dollars>>>().map(|costs| costs.into_iter().sum())
}
