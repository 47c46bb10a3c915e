//! EC2: instance types, where they are offered, and their spot prices.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{self, Filter, InstanceTypeInfo, LocationType};
use jiff::Timestamp;

use super::Ec2;
use crate::aws::classify::failed;
use crate::aws::{text, time, to_sdk_time};
use crate::model::cost::Dollars;
use crate::model::error::Result;
use crate::model::instance_type::{Arch, InstanceType};

fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    Filter::builder()
        .name(name)
        .set_values(Some(values.into_iter().map(Into::into).collect()))
        .build()
}

/// An instance type, as far as needs go. GPUs are NVIDIA's alone: the ECS image for GPUs drives no
/// others `[V]`.
fn kind(info: &InstanceTypeInfo) -> Option<InstanceType> {
    let number = |it: i64| u32::try_from(it).ok();
    let gpus = info.gpu_info().map(|it| it.gpus()).unwrap_or_default();
    let nvidia = gpus
        .iter()
        .filter(|it| it.manufacturer() == Some("NVIDIA"))
        .filter_map(|it| it.count())
        .sum::<i32>();
    Some(InstanceType {
        name: info.instance_type()?.as_str().to_owned(),
        vcpus: number(info.v_cpu_info()?.default_v_cpus()?.into())?,
        memory_mib: number(info.memory_info()?.size_in_mib()?)?,
        gpus: number(nvidia.into())?,
        accelerated: !gpus.is_empty() || info.neuron_info().is_some() || info.fpga_info().is_some(),
        usage_classes: info
            .supported_usage_classes()
            .iter()
            .map(|it| it.as_str().to_owned())
            .collect(),
    })
}

impl Ec2 {
    /// The types of today of one architecture, in some of these usage classes: no burstable ones,
    /// whose CPU credits have their own price, and no bare metal, which boots too slowly for a
    /// block.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn types(
        &self,
        arch: Arch,
        usage_classes: &[&str],
    ) -> Result<Vec<InstanceType>> {
        let call = self
            .client
            .describe_instance_types()
            .filters(filter("current-generation", ["true"]))
            .filters(filter("supported-usage-class", usage_classes.iter().copied()))
            .filters(filter("processor-info.supported-architecture", [arch.name()]))
            .filters(filter("burstable-performance-supported", ["false"]))
            .filters(filter("bare-metal", ["false"]));
        let mut items = call.into_paginator().items().send();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            all.extend(kind(&item.map_err(failed("ec2:DescribeInstanceTypes", arch.name()))?));
        }
        Ok(all)
    }

    /// Which types these zones have, of these or of all where none are named: pairs of type and
    /// zone.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn offered(
        &self,
        zones: &[String],
        types: &[String],
    ) -> Result<BTreeSet<(String, String)>> {
        let call = self
            .client
            .describe_instance_type_offerings()
            .location_type(LocationType::AvailabilityZone)
            .filters(filter("location", zones));
        let call =
            if types.is_empty() { call } else { call.filters(filter("instance-type", types)) };
        let mut items = call.into_paginator().items().send();
        let mut all = BTreeSet::new();
        while let Some(item) = items.next().await {
            let item =
                item.map_err(failed("ec2:DescribeInstanceTypeOfferings", zones.join(", ")))?;
            if let Some(kind) = item.instance_type() {
                all.insert((kind.as_str().to_owned(), text(item.location())));
            }
        }
        Ok(all)
    }

    /// What these types cost on the spot market of these zones now: of each type and zone the
    /// latest price.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn spot_prices(
        &self,
        types: &[String],
        zones: &[String],
        now: Timestamp,
    ) -> Result<Vec<(String, String, Dollars)>> {
        let call = self
            .client
            .describe_spot_price_history()
            .set_instance_types(Some(
                types.iter().map(|it| types::InstanceType::from(it.as_str())).collect(),
            ))
            .product_descriptions("Linux/UNIX")
            .filters(filter("availability-zone", zones))
            // From now on is the price of now `[V]`.
            .start_time(to_sdk_time(now));
        let mut items = call.into_paginator().items().send();
        let mut found: Vec<(String, String, Timestamp, Dollars)> = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(failed("ec2:DescribeSpotPriceHistory", types.join(", ")))?;
            let Some(price) = item.spot_price().and_then(Dollars::parse) else { continue };
            let kind = item.instance_type().map(|it| it.as_str().to_owned()).unwrap_or_default();
            let (zone, at) = (text(item.availability_zone()), time(item.timestamp()));
            match found.iter_mut().find(|it| it.0 == kind && it.1 == zone) {
                Some(it) if at > it.2 => (it.2, it.3) = (at, price),
                Some(_) => {}
                None => found.push((kind, zone, at, price)),
            }
        }
        Ok(found.into_iter().map(|(kind, zone, _, price)| (kind, zone, price)).collect())
    }
}
