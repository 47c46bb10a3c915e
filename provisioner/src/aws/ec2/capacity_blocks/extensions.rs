//! EC2: what extends a capacity block, the purchase, and what was bought.

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{CapacityBlockExtension, CapacityBlockExtensionOffering};
use jiff::{SignedDuration, Timestamp};

use super::super::Ec2;
use crate::aws::classify::failed;
use crate::aws::{text, time};
use crate::model::error::Result;

/// An extension on offer.
#[derive(Clone, Debug)]
pub(crate) struct ExtensionOffering {
    /// Its id.
    pub id: String,
    /// The end of the capacity block with it.
    pub end: Timestamp,
    /// What has to be paid at once for all of it, in its currency.
    pub fee: f64,
    /// The currency.
    pub currency: String,
}

/// An extension that was bought.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BoughtExtension {
    /// The offering's id.
    pub offering: String,
    /// The end of the capacity block with it.
    pub end: Timestamp,
    /// What it cost.
    pub fee: f64,
    /// `payment-pending`, `payment-succeeded`, `payment-failed` `[V]`.
    pub status: String,
}

impl Ec2 {
    /// The extensions on offer for a capacity block.
    ///
    /// # Errors
    /// When the call fails, as it does when it ends in less than an hour.
    pub(crate) async fn extension_offerings(
        &self,
        reservation: &str,
        by: SignedDuration,
    ) -> Result<Vec<ExtensionOffering>> {
        let mut pages = self
            .client
            .describe_capacity_block_extension_offerings()
            .capacity_reservation_id(reservation)
            .capacity_block_extension_duration_hours(
                i32::try_from(by.as_hours()).unwrap_or(i32::MAX),
            )
            .into_paginator()
            .send();
        let mut offerings = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(failed("ec2:DescribeCapacityBlockExtensionOfferings", reservation))?;
            offerings.extend(page.capacity_block_extension_offerings().iter().filter_map(offering));
        }
        Ok(offerings)
    }

    /// Buys an extension. It is paid at once and for good, and has no client token: the SDK repeats
    /// nothing here.
    ///
    /// # Errors
    /// AWS's refusal among others; after an answer that was lost it may have been bought.
    pub(crate) async fn purchase_extension(
        &self,
        reservation: &str,
        offering: &str,
    ) -> Result<Vec<BoughtExtension>> {
        let answer = self
            .client
            .purchase_capacity_block_extension()
            .capacity_reservation_id(reservation)
            .capacity_block_extension_offering_id(offering)
            .customize()
            .config_override(
                aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled()),
            )
            .send()
            .await
            .map_err(failed(
                "ec2:PurchaseCapacityBlockExtension",
                format!("{reservation}, offering {offering}"),
            ))?;
        Ok(answer.capacity_block_extensions().iter().map(bought).collect())
    }

    /// All extensions of a capacity block that were bought.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn extensions(&self, reservation: &str) -> Result<Vec<BoughtExtension>> {
        let mut pages = self
            .client
            .describe_capacity_block_extension_history()
            .capacity_reservation_ids(reservation)
            .into_paginator()
            .send();
        let mut extensions = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(failed("ec2:DescribeCapacityBlockExtensionHistory", reservation))?;
            extensions.extend(page.capacity_block_extensions().iter().map(bought));
        }
        Ok(extensions)
    }
}

/// None where AWS leaves out what it costs or what it is.
fn offering(it: &CapacityBlockExtensionOffering) -> Option<ExtensionOffering> {
    Some(ExtensionOffering {
        id: it.capacity_block_extension_offering_id()?.to_owned(),
        end: time(it.capacity_block_extension_end_date()),
        fee: it.upfront_fee()?.parse().ok()?,
        currency: text(it.currency_code()),
    })
}

fn bought(it: &CapacityBlockExtension) -> BoughtExtension {
    BoughtExtension {
        offering: text(it.capacity_block_extension_offering_id()),
        end: time(it.capacity_block_extension_end_date()),
        fee: it.upfront_fee().and_then(|fee| fee.parse().ok()).unwrap_or_default(),
        status: text(it.capacity_block_extension_status().map(|status| status.as_str())),
    }
}
