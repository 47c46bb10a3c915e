//! EC2: fleets of type instant, and the versions of launch templates that they launch from.

use aws_sdk_ec2::operation::RequestId as _;
use aws_sdk_ec2::types::{
    CreateFleetError, CreateFleetInstance, DefaultTargetCapacityType,
    FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
    FleetLaunchTemplateSpecificationRequest, FleetOnDemandAllocationStrategy, FleetType,
    InstanceType, OnDemandOptionsRequest, RequestLaunchTemplateData, ResourceType,
    SpotAllocationStrategy, SpotOptionsRequest, TargetCapacitySpecificationRequest,
};

use super::{Ec2, specification};
use crate::aws::classify::failed;
use crate::aws::text;
use crate::model::error::{Error, Result};
use crate::model::record::{BlockSpec, LaunchData, PurchaseAttempt, Record};

/// Spot or on-demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Market {
    /// At the spot price, while AWS can spare it.
    Spot,
    /// At the list price.
    OnDemand,
}

/// A fleet to be launched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// The block's record, whose template is launched.
    pub record: &'a Record,
    /// The template's version.
    pub version: i64,
    /// Which types in which subnets.
    pub attempt: &'a PurchaseAttempt,
    /// How many instances.
    pub asked: u32,
    /// In which market.
    pub market: Market,
    /// The token: the same one brings the same fleet.
    pub token: &'a str,
}

/// What came of a fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet {
    /// Its instances' ids.
    pub instances: Vec<String>,
    /// What its pools refused: code and message.
    pub errors: Vec<(String, String)>,
    /// The id of the request that AWS answered so.
    pub request_id: Option<String>,
}

impl Ec2 {
    /// Launches a fleet of type instant: what it launches at all is launched when AWS answers.
    /// Everything in the request follows from the record.
    ///
    /// # Errors
    /// When AWS refuses the whole request. What its pools refuse is in the answer.
    pub(crate) async fn create_fleet(&self, order: Order<'_>) -> Result<Fleet> {
        let Order { record, attempt, asked, market, token, .. } = order;
        let spec = &record.spec;
        let count = i32::try_from(asked).unwrap_or(i32::MAX);
        let kind = match market {
            Market::Spot => DefaultTargetCapacityType::Spot,
            Market::OnDemand => DefaultTargetCapacityType::OnDemand,
        };
        let target = TargetCapacitySpecificationRequest::builder()
            .total_target_capacity(count)
            .default_target_capacity_type(kind)
            .build();
        let mut call = self
            .client
            .create_fleet()
            .client_token(token)
            .r#type(FleetType::Instant)
            .target_capacity_specification(target)
            .launch_template_configs(ways(order));
        // All or none, of one zone: AWS asks for that [V].
        let all = (!spec.fills_gaps()).then_some(count);
        call = match market {
            Market::Spot => call.spot_options(spot_options(all)),
            Market::OnDemand => call.on_demand_options(on_demand_options(spec, all, asked)),
        };
        for kind in [ResourceType::Fleet, ResourceType::Instance, ResourceType::Volume] {
            call = call.tag_specifications(specification(kind, &spec.tags_of(attempt.number)));
        }
        let answer = call
            .send()
            .await
            .map_err(failed("ec2:CreateFleet", format!("block {}", spec.block)))?;
        let instances = answer
            .instances()
            .iter()
            .flat_map(CreateFleetInstance::instance_ids)
            .cloned()
            .collect();
        let error = |it: &CreateFleetError| (text(it.error_code()), text(it.error_message()));
        let request_id = answer.request_id().map(str::to_owned);
        Ok(Fleet { instances, errors: answer.errors().iter().map(error).collect(), request_id })
    }

    /// The version of a record's template whose user data is this. It is made if it isn't there:
    /// under the same token and description the same one is found again.
    ///
    /// # Errors
    /// When a call fails.
    pub(crate) async fn version_for(
        &self,
        record: &Record,
        source: &str,
        launch: &LaunchData,
    ) -> Result<i64> {
        let id = record.template.id();
        let mut pages = self
            .client
            .describe_launch_template_versions()
            .launch_template_id(id)
            .into_paginator()
            .send();
        let mut known: Option<i64> = None;
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("ec2:DescribeLaunchTemplateVersions", &record.name))?;
            for version in page.launch_template_versions() {
                let data = version.launch_template_data().and_then(|data| data.user_data());
                let number =
                    version.version_number().filter(|_| data == Some(launch.user_data.as_str()));
                known = [known, number].into_iter().flatten().min();
            }
        }
        if let Some(number) = known {
            return Ok(number);
        }
        let made = self
            .client
            .create_launch_template_version()
            .launch_template_id(id)
            .client_token(format!("{}-{source}", record.spec.block))
            .version_description(source)
            .source_version("1")
            .launch_template_data(
                RequestLaunchTemplateData::builder().user_data(&launch.user_data).build(),
            )
            .send()
            .await
            .map_err(failed("ec2:CreateLaunchTemplateVersion", &record.name))?;
        let number = made.launch_template_version().and_then(|version| version.version_number());
        number.ok_or_else(|| {
            Error::state(
                format!("launch template {} got a version without a number", record.name),
                "run the same command again",
            )
        })
    }
}

/// Each type in each subnet, the preferred types first.
fn ways(order: Order<'_>) -> FleetLaunchTemplateConfigRequest {
    let Order { record, version, attempt, market, .. } = order;
    let template = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(record.template.id())
        .version(version.to_string())
        .build();
    let mut config =
        FleetLaunchTemplateConfigRequest::builder().launch_template_specification(template);
    for (rank, kind) in (0_u32..).zip(&attempt.pool.types) {
        for subnet in &attempt.pool.subnets {
            let mut way = FleetLaunchTemplateOverridesRequest::builder()
                .instance_type(InstanceType::from(kind.as_str()))
                .subnet_id(subnet);
            way = match market {
                Market::Spot => way.set_max_price(record.spec.max_price.clone()),
                Market::OnDemand => way.priority(f64::from(rank)),
            };
            config = config.overrides(way.build());
        }
    }
    config.build()
}

/// Cheap, but not from pools that are about to run dry: AWS's own advice `[V]`.
fn spot_options(all: Option<i32>) -> SpotOptionsRequest {
    SpotOptionsRequest::builder()
        .allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized)
        .set_single_availability_zone(all.map(|_| true))
        .set_min_target_capacity(all)
        .build()
}

/// The user's order of types; and not above the user's price, as far as AWS keeps to it in fleets
/// of this type `[A]`.
fn on_demand_options(spec: &BlockSpec, all: Option<i32>, asked: u32) -> OnDemandOptionsRequest {
    let price = spec.max_price.as_ref().and_then(|price| price.parse::<f64>().ok());
    OnDemandOptionsRequest::builder()
        .allocation_strategy(FleetOnDemandAllocationStrategy::Prioritized)
        .set_single_availability_zone(all.map(|_| true))
        .set_min_target_capacity(all)
        .set_max_total_price(price.map(|price| (price * f64::from(asked)).to_string()))
        .build()
}
