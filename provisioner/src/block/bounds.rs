//! What the instances of blocks that are there can cost at most, by the hour.

use std::collections::{BTreeMap, BTreeSet};

use super::prices::list;
use crate::aws::Aws;
use crate::model::block::Block;
use crate::model::cost::{Dollars, at_most, is_bound_by_list};
use crate::model::error::Result;
use crate::model::instance::Instance;
use crate::session::Session;

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// The on-demand price of the types that were asked for; none where it can't be had.
    list: BTreeMap<String, Option<Dollars>>,
}

impl Bounds {
    /// What is known of these blocks' prices. A price list that can't be read, for lack of a right
    /// for instance, leaves them unknown, which shows.
    pub(crate) async fn of_blocks(session: &Session<'_>, blocks: &[Block]) -> Self {
        let mut bounds = Self::default();
        let _ = bounds.learn(session.aws, blocks).await;
        bounds
    }

    /// Asks for the prices of these blocks' types that were not asked for before; where that fails
    /// they are unknown from then on.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn learn(&mut self, aws: &Aws, blocks: &[Block]) -> Result<()> {
        let mut types = BTreeSet::new();
        for block in blocks {
            let max_price = max_price(block);
            let counts = |it: &&Instance| {
                block.source_of(it).is_some_and(|source| is_bound_by_list(source, max_price))
            };
            types.extend(block.instances.iter().filter(counts).map(|it| it.instance_type.clone()));
        }
        types.retain(|kind| !self.list.contains_key(kind));
        if types.is_empty() {
            return Ok(());
        }
        let types: Vec<String> = types.into_iter().collect();
        self.list.extend(types.iter().map(|kind| (kind.clone(), None)));
        let known = list(aws, &types).await?;
        self.list.extend(known.into_iter().map(|(kind, price)| (kind, Some(price))));
        Ok(())
    }

    /// What an hour of this instance can cost at most; none where nothing bounds it, or it is paid
    /// already.
    #[must_use]
    pub(crate) fn of(&self, block: &Block, it: &Instance) -> Option<Dollars> {
        at_most(
            block.source_of(it)?,
            max_price(block),
            self.list.get(&it.instance_type).copied().flatten(),
        )
    }
}

fn max_price(block: &Block) -> Option<Dollars> {
    block.record.as_ref()?.spec.max_price.as_deref().and_then(Dollars::parse)
}
