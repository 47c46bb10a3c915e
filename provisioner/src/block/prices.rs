//! Asks AWS for prices: spot prices now, and the on-demand price list.

use node_contract::Source;

use crate::aws::Aws;
use crate::model::cost::{Cost, Dollars, Known, is_bound_by_list, quotes, worst_case};
use crate::model::error::Result;
use crate::session::Session;
use crate::terminal::Ui;

/// Asks for the prices of a block of these types in these zones. A price that can't be had is
/// unknown, and no error.
pub(crate) async fn look(session: &Session<'_>, types: &[String], zones: &[String]) -> Cost {
    let (aws, ui, block) = (session.aws, session.ui, &session.settings.block);
    let max_price = block.max_price.as_deref().and_then(Dollars::parse);
    let listed = |source| block.sources.contains(&source);
    let mut known = Known::default();
    if listed(Source::Spot) {
        known.spot =
            aws.ec2.spot_prices(types, zones, session.now()).await.unwrap_or_else(|error| {
                ui.warn(format_args!("the spot prices are unknown: {error}"));
                Vec::new()
            });
    }
    if block.sources.iter().any(|source| is_bound_by_list(*source, max_price)) {
        known.on_demand = on_demand(aws, ui, types).await;
    }
    let prices = quotes(&block.sources, types, zones, max_price, &known);
    let max_cost = block.max_cost.and_then(|most| Dollars::parse(&most.to_string()));
    let worst = worst_case(&prices, block.instances, block.duration, max_cost);
    Cost { prices, worst_case_usd_estimate: worst, max_cost_usd: max_cost }
}

/// The on-demand prices of these types, as far as they can be had.
pub(crate) async fn on_demand(aws: &Aws, ui: &Ui, types: &[String]) -> Vec<(String, Dollars)> {
    list(aws, types).await.unwrap_or_else(|error| {
        ui.warn(format_args!("the on-demand prices are unknown: {error}"));
        Vec::new()
    })
}

/// The on-demand prices of these types that are in the price list.
///
/// # Errors
/// When the call fails.
pub(crate) async fn list(aws: &Aws, types: &[String]) -> Result<Vec<(String, Dollars)>> {
    // The price list of the other partitions is neither in dollars nor to be asked with these
    // credentials.
    if aws.partition.id != "aws" {
        return Ok(Vec::new());
    }
    aws.pricing.on_demand(types, &aws.region).await
}
