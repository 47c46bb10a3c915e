//! What CreateFleet takes, and AWS's checks on it. Codes marked [A] are taken to be AWS's; no
//! source gives them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::instance::Market;
use super::spot;
use super::tags::{self, TagSpecification};
use crate::protocol::AwsError;
use crate::protocol::wire::query;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Parameters {
    pub(super) client_token: Option<String>,
    #[serde(default)]
    spot_options: SpotOptions,
    #[serde(default)]
    on_demand_options: OnDemandOptions,
    #[serde(default)]
    pub(super) launch_template_configs: Vec<Config>,
    target_capacity_specification: Option<TargetParameters>,
    r#type: Option<String>,
    #[serde(default)]
    pub(super) tag_specification: Vec<TagSpecification>,
    excess_capacity_termination_policy: Option<String>,
    #[serde(default, deserialize_with = "query::text")]
    terminate_instances_with_expiration: Option<bool>,
    #[serde(default, deserialize_with = "query::text")]
    replace_unhealthy_instances: Option<bool>,
    valid_from: Option<String>,
    valid_until: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct SpotOptions {
    allocation_strategy: Option<String>,
    instance_interruption_behavior: Option<String>,
    #[serde(deserialize_with = "query::text")]
    instance_pools_to_use_count: Option<u32>,
    #[serde(deserialize_with = "query::text")]
    single_instance_type: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    single_availability_zone: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    min_target_capacity: Option<u32>,
    max_total_price: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct OnDemandOptions {
    allocation_strategy: Option<String>,
    #[serde(deserialize_with = "query::text")]
    single_instance_type: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    single_availability_zone: Option<bool>,
    #[serde(deserialize_with = "query::text")]
    min_target_capacity: Option<u32>,
    max_total_price: Option<String>,
}

/// A template and the ways to launch from it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) launch_template_specification: TemplateReference,
    #[serde(default)]
    pub(super) overrides: Vec<Override>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct TemplateReference {
    pub(super) launch_template_id: Option<String>,
    pub(super) launch_template_name: Option<String>,
    pub(super) version: Option<String>,
}

/// One way to launch, laid over the template.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct Override {
    pub(super) instance_type: Option<String>,
    pub(super) max_price: Option<String>,
    pub(super) subnet_id: Option<String>,
    pub(super) availability_zone: Option<String>,
    #[serde(deserialize_with = "query::text")]
    pub(super) weighted_capacity: Option<f64>,
    #[serde(deserialize_with = "query::text")]
    pub(super) priority: Option<f64>,
    pub(super) image_id: Option<String>,
    instance_requirements: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TargetParameters {
    #[serde(default, deserialize_with = "query::text")]
    total_target_capacity: Option<u32>,
    #[serde(default, deserialize_with = "query::text")]
    on_demand_target_capacity: Option<u32>,
    #[serde(default, deserialize_with = "query::text")]
    spot_target_capacity: Option<u32>,
    default_target_capacity_type: Option<String>,
    target_capacity_unit_type: Option<String>,
}

/// In which order pools are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    LowestPrice,
    Prioritized,
    Diversified,
    CapacityOptimized,
    CapacityOptimizedPrioritized,
    PriceCapacityOptimized,
}

/// How the target of one market is to be met.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) strategy: Strategy,
    /// Across how many pools the lowest price is looked for.
    pub(super) pools: u32,
    pub(super) single_type: bool,
    pub(super) single_zone: bool,
    /// Less than this, and nothing is launched.
    pub(super) min: Option<u32>,
    /// In dollars an hour, for all instances of the market together.
    pub(super) max_total_price: Option<f64>,
}

/// How much of what is wanted, in units of capacity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) total: u32,
    pub(super) on_demand: u32,
    pub(super) spot: u32,
    pub(super) default: Market,
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("InvalidParameterValue", message)
}

fn missing(name: &str) -> AwsError {
    AwsError::new("MissingParameter", format!("The request must contain the parameter {name}"))
}

impl Parameters {
    /// What can be judged before anything is looked up.
    pub(super) fn check(&self) -> Result<(), AwsError> {
        match self.r#type.as_deref() {
            Some("instant") => {}
            None | Some("maintain" | "request") => {
                let message =
                    "The local cloud has fleets of type instant only; AWS's default is maintain";
                return Err(AwsError::new("UnsupportedOperation", message));
            }
            Some(other) => {
                return Err(invalid(format!("Value ({other}) for parameter Type is invalid.")));
            }
        }
        self.check_other_types()?;
        if self.launch_template_configs.is_empty() {
            return Err(missing("LaunchTemplateConfigs"));
        }
        for config in &self.launch_template_configs {
            config.check()?;
        }
        let overrides = || self.launch_template_configs.iter().flat_map(|config| &config.overrides);
        // [A]: that weights are for all or for none.
        let weighted = overrides().filter(|it| it.weighted_capacity.is_some()).count();
        if weighted > 0 && weighted < overrides().count() {
            return Err(invalid("WeightedCapacity has to be given for every override or for none"));
        }
        tags::check_kinds(
            &self.tag_specification,
            &["fleet", "instance", "volume", "spot-instances-request"],
        )
    }

    /// Parameters that AWS takes for fleets of the other types only.
    fn check_other_types(&self) -> Result<(), AwsError> {
        let given = [
            (self.excess_capacity_termination_policy.is_some(), "ExcessCapacityTerminationPolicy"),
            (
                self.terminate_instances_with_expiration == Some(true),
                "TerminateInstancesWithExpiration",
            ),
            (self.replace_unhealthy_instances == Some(true), "ReplaceUnhealthyInstances"),
            (self.valid_from.is_some(), "ValidFrom"),
            (self.valid_until.is_some(), "ValidUntil"),
        ];
        match given.iter().find(|(given, _)| *given) {
            None => Ok(()),
            Some((_, name)) => Err(AwsError::new(
                "InvalidParameterCombination",
                format!("Parameter: {name} and FleetType:instant can not be specified together."),
            )),
        }
    }

    pub(super) fn target(&self) -> Result<Target, AwsError> {
        let target = self.target_capacity_specification.as_ref();
        let target = target.ok_or_else(|| missing("TargetCapacitySpecification"))?;
        let total = target.total_target_capacity.ok_or_else(|| missing("TotalTargetCapacity"))?;
        if target.target_capacity_unit_type.as_deref().is_some_and(|unit| unit != "units") {
            return Err(invalid(
                "TargetCapacityUnitType is supported with InstanceRequirements only",
            ));
        }
        let default = match target.default_target_capacity_type.as_deref() {
            None | Some("on-demand") => Market::OnDemand,
            Some("spot") => Market::Spot,
            Some(other) => {
                let message =
                    format!("The local cloud has no fleets of DefaultTargetCapacityType {other}");
                return Err(AwsError::new("UnsupportedOperation", message));
            }
        };
        let (on_demand, spot) = (target.on_demand_target_capacity, target.spot_target_capacity);
        let named = on_demand.unwrap_or_default() + spot.unwrap_or_default();
        if total == 0 || named > total {
            return Err(invalid(format!(
                "TotalTargetCapacity {total} does not go with its parts, which come to {named}"
            )));
        }
        let rest = total - named;
        let part = |named: Option<u32>, market| {
            named.unwrap_or_default() + if default == market { rest } else { 0 }
        };
        Ok(Target {
            total,
            on_demand: part(on_demand, Market::OnDemand),
            spot: part(spot, Market::Spot),
            default,
        })
    }

    /// The rules for spot and for on-demand instances.
    pub(super) fn rules(&self) -> Result<(Rules, Rules), AwsError> {
        Ok((self.spot_options.rules()?, self.on_demand_options.rules()?))
    }

    pub(super) fn spot_options(&self) -> Value {
        let options = &self.spot_options;
        json!({
            "allocationStrategy": options.allocation_strategy.as_deref().unwrap_or("lowest-price"),
            "instanceInterruptionBehavior": "terminate",
            "instancePoolsToUseCount": options.instance_pools_to_use_count,
            "singleInstanceType": options.single_instance_type,
            "singleAvailabilityZone": options.single_availability_zone,
            "minTargetCapacity": options.min_target_capacity,
            "maxTotalPrice": options.max_total_price,
        })
    }

    pub(super) fn on_demand_options(&self) -> Value {
        let options = &self.on_demand_options;
        json!({
            "allocationStrategy": options.allocation_strategy.as_deref().unwrap_or("lowest-price"),
            "singleInstanceType": options.single_instance_type,
            "singleAvailabilityZone": options.single_availability_zone,
            "minTargetCapacity": options.min_target_capacity,
            "maxTotalPrice": options.max_total_price,
        })
    }
}

impl Config {
    fn check(&self) -> Result<(), AwsError> {
        let template = &self.launch_template_specification;
        if template.version.is_none() {
            return Err(missing("LaunchTemplateConfigs.LaunchTemplateSpecification.Version"));
        }
        for way in &self.overrides {
            if way.instance_requirements.is_some() {
                let message = "The local cloud has no InstanceRequirements; name the types with \
                     InstanceType";
                return Err(AwsError::new("UnsupportedOperation", message));
            }
            if way.subnet_id.as_ref().is_some_and(|ids| ids.contains(',')) {
                return Err(invalid(
                    "A fleet of type instant can have only one subnet ID in each override.",
                ));
            }
            if way.weighted_capacity.is_some_and(|weight| !(weight.is_finite() && weight > 0.0)) {
                return Err(invalid("WeightedCapacity has to be more than 0"));
            }
            // AWS: it must be more than 0.001 dollars.
            if let Some(text) = &way.max_price
                && spot::price(text)?.dollars < 0.001
            {
                return Err(invalid(format!(
                    "Value ({text}) for parameter MaxPrice is invalid. It must be more than 0.001"
                )));
            }
        }
        Ok(())
    }
}

impl SpotOptions {
    fn rules(&self) -> Result<Rules, AwsError> {
        let strategy = match self.allocation_strategy.as_deref() {
            None | Some("lowest-price" | "lowestPrice") => Strategy::LowestPrice,
            Some("diversified") => Strategy::Diversified,
            Some("capacity-optimized") => Strategy::CapacityOptimized,
            Some("capacity-optimized-prioritized") => Strategy::CapacityOptimizedPrioritized,
            Some("price-capacity-optimized") => Strategy::PriceCapacityOptimized,
            Some(other) => return Err(unknown_strategy("SpotOptions", other)),
        };
        if self
            .instance_interruption_behavior
            .as_deref()
            .is_some_and(|behavior| behavior != "terminate")
        {
            let message = "SpotOptions.InstanceInterruptionBehavior must be null or \
                           \"terminate\" for given fleet type.";
            return Err(invalid(message));
        }
        if self.instance_pools_to_use_count.is_some() && strategy != Strategy::LowestPrice {
            let message = "InstancePoolsToUseCount is supported with the allocation strategy \
                           lowest-price only";
            return Err(AwsError::new("InvalidParameterCombination", message));
        }
        Rules {
            strategy,
            pools: self.instance_pools_to_use_count.unwrap_or(1).max(1),
            single_type: self.single_instance_type.unwrap_or(false),
            single_zone: self.single_availability_zone.unwrap_or(false),
            min: self.min_target_capacity,
            max_total_price: total_price(self.max_total_price.as_deref())?,
        }
        .checked("SpotOptions")
    }
}

impl OnDemandOptions {
    fn rules(&self) -> Result<Rules, AwsError> {
        let strategy = match self.allocation_strategy.as_deref() {
            None | Some("lowest-price" | "lowestPrice") => Strategy::LowestPrice,
            Some("prioritized") => Strategy::Prioritized,
            Some(other) => return Err(unknown_strategy("OnDemandOptions", other)),
        };
        Rules {
            strategy,
            pools: 1,
            single_type: self.single_instance_type.unwrap_or(false),
            single_zone: self.single_availability_zone.unwrap_or(false),
            min: self.min_target_capacity,
            max_total_price: total_price(self.max_total_price.as_deref())?,
        }
        .checked("OnDemandOptions")
    }
}

impl Rules {
    /// AWS demands one of the two with a minimum; the error's code is [A].
    fn checked(self, of: &str) -> Result<Self, AwsError> {
        let Some(min) = self.min else { return Ok(self) };
        if !(1..=1000).contains(&min) {
            return Err(invalid(format!(
                "Value ({min}) for parameter {of}.MinTargetCapacity is invalid."
            )));
        }
        if self.single_type || self.single_zone {
            return Ok(self);
        }
        let message = format!(
            "{of}.MinTargetCapacity can be specified only with SingleInstanceType or \
             SingleAvailabilityZone set to true"
        );
        Err(AwsError::new("InvalidParameterCombination", message))
    }
}

fn unknown_strategy(of: &str, name: &str) -> AwsError {
    invalid(format!("Value ({name}) for parameter {of}.AllocationStrategy is invalid."))
}

fn total_price(text: Option<&str>) -> Result<Option<f64>, AwsError> {
    Ok(text.map(spot::price).transpose()?.map(|price| price.dollars))
}

impl Override {
    pub(super) fn answer(&self) -> Value {
        json!({
            "instanceType": self.instance_type,
            "maxPrice": self.max_price,
            "subnetId": self.subnet_id,
            "availabilityZone": self.availability_zone,
            "weightedCapacity": self.weighted_capacity,
            "priority": self.priority,
            "imageId": self.image_id,
        })
    }
}
