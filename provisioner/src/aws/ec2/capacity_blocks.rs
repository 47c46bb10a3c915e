//! EC2: capacity blocks: what is on offer, the purchase, and the launch into what was bought.

use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    CapacityBlockOffering, CapacityReservation, CapacityReservationInstancePlatform, Filter,
    InstanceMarketOptionsRequest, InstanceType, MarketType, ResourceType,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

use super::{Ec2, filter, our_tags, specification};
use crate::aws::classify::failed;
use crate::aws::{text, time, to_sdk_time};
use crate::model::error::Result;
use crate::model::record::{PurchaseAttempt, Record};

mod extensions;

pub(crate) use extensions::{BoughtExtension, ExtensionOffering};

/// A capacity block on offer.
#[derive(Clone, Debug)]
pub(crate) struct Offering {
    /// Its id.
    pub id: String,
    /// Its instance type.
    pub instance_type: String,
    /// Its Availability Zone.
    pub zone: String,
    /// How many instances.
    pub instances: u32,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// What has to be paid at once for all of it, in its currency.
    pub fee: f64,
    /// The currency.
    pub currency: String,
}

/// A capacity block's reservation.
#[derive(Clone, Debug)]
pub(crate) struct CapacityBlockReservation {
    /// Its id.
    pub id: String,
    /// Its instance type.
    pub instance_type: String,
    /// Its Availability Zone.
    pub zone: String,
    /// How many instances it is for.
    pub total: u32,
    /// Its state, such as `active`.
    pub state: String,
    /// When it begins.
    pub start: Timestamp,
    /// When it ends, where it does.
    pub end: Option<Timestamp>,
    /// Whether it is a capacity block's.
    pub is_block: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    /// The instance type.
    pub instance_type: &'a str,
    /// How many instances.
    pub instances: u32,
    /// How long.
    pub duration: SignedDuration,
    /// It begins by then.
    pub start_by: Timestamp,
}

impl Ec2 {
    /// The capacity blocks on offer.
    ///
    /// # Errors
    /// When the call fails, as it does for a type that is not sold so.
    pub(crate) async fn capacity_block_offerings(
        &self,
        search: Search<'_>,
    ) -> Result<Vec<Offering>> {
        let Search { instance_type, instances, duration, start_by } = search;
        let last = start_by.checked_add(duration).unwrap_or(start_by);
        let mut pages = self
            .client
            .describe_capacity_block_offerings()
            .instance_type(instance_type)
            .instance_count(i32::try_from(instances).unwrap_or(i32::MAX))
            .capacity_duration_hours(i32::try_from(duration.as_hours()).unwrap_or(i32::MAX))
            .end_date_range(to_sdk_time(last))
            .into_paginator()
            .send();
        let mut offerings = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeCapacityBlockOfferings", instance_type))?;
            offerings.extend(page.capacity_block_offerings().iter().filter_map(offering));
        }
        Ok(offerings)
    }

    /// Buys a capacity block. It is paid at once and for good, and asked for twice it is bought
    /// twice: the SDK repeats nothing here.
    ///
    /// # Errors
    /// AWS's refusal among others; after an answer that was lost it may have been bought.
    pub(crate) async fn purchase_capacity_block(
        &self,
        offering: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Option<CapacityBlockReservation>> {
        let answer = self
            .client
            .purchase_capacity_block()
            .capacity_block_offering_id(offering)
            .instance_platform(CapacityReservationInstancePlatform::LinuxUnix)
            .tag_specifications(specification(ResourceType::CapacityReservation, tags))
            .customize()
            .config_override(
                aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled()),
            )
            .send()
            .await
            .map_err(failed("ec2:PurchaseCapacityBlock", format!("offering {offering}")))?;
        Ok(answer.capacity_reservation().map(reservation))
    }

    /// The capacity reservations with this tag.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn capacity_blocks_tagged(
        &self,
        tag: &str,
        value: &str,
    ) -> Result<Vec<CapacityBlockReservation>> {
        let found =
            self.capacity_blocks_by(filter(&format!("tag:{tag}"), [value.to_owned()])).await?;
        Ok(found.into_iter().filter(|it| it.is_block).collect())
    }

    async fn capacity_blocks_by(&self, by: Filter) -> Result<Vec<CapacityBlockReservation>> {
        Ok(self.described_reservations(by).await?.iter().map(reservation).collect())
    }

    /// One capacity reservation.
    ///
    /// # Errors
    /// When it isn't there.
    pub(crate) async fn capacity_block(&self, id: &str) -> Result<CapacityBlockReservation> {
        self.described_reservation(id).await.map(|it| reservation(&it))
    }

    /// Launches all of an attempt's instances into a capacity block, or none. Everything in the
    /// request follows from the record: asked again, AWS gives the same instances. Gives their ids.
    ///
    /// # Errors
    /// AWS's refusal among others.
    pub(crate) async fn run_in_capacity_block(
        &self,
        record: &Record,
        attempt: &PurchaseAttempt,
        reservation: &str,
        version: i64,
        asked: u32,
    ) -> Result<Vec<String>> {
        let market =
            InstanceMarketOptionsRequest::builder().market_type(MarketType::CapacityBlock).build();
        let call = self
            .run_into(record, attempt, asked, reservation, &version.to_string())
            .set_instance_type(attempt.pool.types.first().map(|it| InstanceType::from(it.as_str())))
            .set_subnet_id(attempt.pool.subnets.first().cloned())
            .instance_market_options(market);
        let answer = call
            .send()
            .await
            .map_err(failed("ec2:RunInstances", format!("block {}", record.spec.block)))?;
        Ok(answer.instances().iter().map(|instance| text(instance.instance_id())).collect())
    }

    /// How many GPUs instances of this type have; none where AWS doesn't say.
    ///
    /// # Errors
    /// When the call fails.
    pub(crate) async fn gpus(&self, instance_type: &str) -> Result<u32> {
        let call =
            self.client.describe_instance_types().instance_types(InstanceType::from(instance_type));
        let answer =
            call.send().await.map_err(failed("ec2:DescribeInstanceTypes", instance_type))?;
        let infos = answer.instance_types().iter().filter_map(|it| it.gpu_info());
        let counts =
            infos.flat_map(|it| it.gpus()).filter_map(|it| u32::try_from(it.count()?).ok());
        Ok(counts.sum())
    }
}

/// None where AWS leaves out what it costs or what it is.
fn offering(it: &CapacityBlockOffering) -> Option<Offering> {
    Some(Offering {
        id: it.capacity_block_offering_id()?.to_owned(),
        instance_type: text(it.instance_type()),
        zone: text(it.availability_zone()),
        instances: u32::try_from(it.instance_count()?).ok()?,
        start: time(it.start_date()),
        end: time(it.end_date()),
        fee: it.upfront_fee()?.parse().ok()?,
        currency: text(it.currency_code()),
    })
}

fn reservation(it: &CapacityReservation) -> CapacityBlockReservation {
    CapacityBlockReservation {
        id: text(it.capacity_reservation_id()),
        instance_type: text(it.instance_type()),
        zone: text(it.availability_zone()),
        total: it
            .total_instance_count()
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or_default(),
        state: text(it.state().map(|state| state.as_str())),
        start: time(it.start_date()),
        end: it.end_date().map(|end| time(Some(end))),
        is_block: it.reservation_type().is_some_and(|kind| kind.as_str() == "capacity-block"),
        tags: our_tags(it.tags()),
    }
}
