//! The price list: what instances cost on demand. AWS serves it in few regions, us-east-1 among
//! them, for all regions.

use std::time::Duration;

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_pricing::Client;
use aws_sdk_pricing::types::{Filter, FilterType};
use serde_json::Value;

use crate::aws::classify::failed;
use crate::model::cost::Dollars;
use crate::model::error::Result;

/// A region that has the price list `[V]`.
const REGION: &str = "us-east-1";
/// A price is worth a short wait only: without it the block is brought all the same.
const LIMIT: Duration = Duration::from_secs(10);

/// The client.
pub(crate) struct Pricing {
    client: Client,
}

impl Pricing {
    pub(super) fn new(base: &super::calls::Base) -> Self {
        let config = aws_sdk_pricing::config::Builder::from(&base.sdk)
            .region(Region::new(REGION))
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_timeout(LIMIT)
                    .build(),
            )
            .interceptor(base.calls.clone());
        Self { client: Client::from_conf(config.build()) }
    }

    /// What these types cost by the hour in a region: Linux, nothing installed, on shared hosts.
    /// Types that the list doesn't have are left out; of several prices it is the highest.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn on_demand(
        &self,
        types: &[String],
        region: &str,
    ) -> Result<Vec<(String, Dollars)>> {
        let mut filters = vec![filter(FilterType::AnyOf, "instanceType", &types.join(","))];
        filters.extend(
            [
                ("regionCode", region),
                ("operatingSystem", "Linux"),
                ("preInstalledSw", "NA"),
                ("tenancy", "Shared"),
                ("capacitystatus", "Used"),
            ]
            .map(|(field, value)| filter(FilterType::TermMatch, field, value)),
        );
        let call = self
            .client
            .get_products()
            .service_code("AmazonEC2")
            .set_filters(Some(filters.into_iter().flatten().collect()));
        let mut items = call.into_paginator().items().send();
        let mut prices: Vec<(String, Dollars)> = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("pricing:GetProducts", types.join(", ")))?;
            let Some((kind, price)) = price_of(&item) else { continue };
            match prices.iter_mut().find(|(name, _)| *name == kind) {
                Some((_, known)) => *known = price.max(*known),
                None => prices.push((kind, price)),
            }
        }
        Ok(prices)
    }
}

/// None is never built without its three fields.
fn filter(kind: FilterType, field: &str, value: &str) -> Option<Filter> {
    Filter::builder().r#type(kind).field(field).value(value).build().ok()
}

/// The type and the price of a product: its only dimension by the hour that costs something.
fn price_of(product: &str) -> Option<(String, Dollars)> {
    let product: Value = serde_json::from_str(product).ok()?;
    let kind = product.pointer("/product/attributes/instanceType")?.as_str()?;
    let terms = product.pointer("/terms/OnDemand")?.as_object()?;
    let dimensions = terms
        .values()
        .filter_map(|term| term["priceDimensions"].as_object())
        .flat_map(|it| it.values());
    let hourly = dimensions.filter(|it| it["unit"] == "Hrs");
    let price =
        hourly.filter_map(|it| Dollars::parse(it["pricePerUnit"]["USD"].as_str()?)).max()?;
    (price > Dollars::parse("0")?).then(|| (kind.to_owned(), price))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_out_of_a_product_and_nothing_else_is() {
        let product = |unit: &str, price: &str| {
            serde_json::json!({
                "product": {"attributes": {"instanceType": "c5.large"}},
                "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": {
                    "unit": unit, "pricePerUnit": {"USD": price},
                }}}}},
            })
            .to_string()
        };
        let price = Dollars::parse("0.085").expect("a price");
        assert_eq!(price_of(&product("Hrs", "0.0850000000")), Some(("c5.large".into(), price)));
        for other in [
            product("Hrs", "0.0000000000"),
            product("Quantity", "9.00"),
            product("Hrs", "?"),
            "{}".into(),
        ] {
            assert_eq!(price_of(&other), None, "{other}");
        }
    }
}
