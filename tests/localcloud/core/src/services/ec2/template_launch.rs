//! What a launch from a template comes to. RunInstances takes the same parameters as a template's
//! data holds.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Service;
use super::launch::{LaunchParameters, LaunchSpec, Metadata, Shutdown};
use super::tags::TagSpecification;
use crate::protocol::AwsError;
use crate::protocol::wire::query;

/// What is kept with an instance and not acted out here.
const WITHOUT_EFFECT: [&str; 9] = [
    "CreditSpecification",
    "CpuOptions",
    "DisableApiStop",
    "DisableApiTermination",
    "EnclaveOptions",
    "HibernationOptions",
    "LicenseSpecification",
    "MaintenanceOptions",
    "PrivateDnsNameOptions",
];

/// A launch as a template's data describes it.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) parameters: LaunchParameters,
    metadata: MetadataParameters,
    shutdown: Option<String>,
    pub(super) tags: Vec<TagSpecification>,
    pub(super) market: Option<MarketParameters>,
    /// Where capacity was reserved for it, as it was requested.
    reservation: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct MetadataParameters {
    http_tokens: Option<String>,
    #[serde(deserialize_with = "query::text")]
    http_put_response_hop_limit: Option<u32>,
    http_endpoint: Option<String>,
    http_protocol_ipv6: Option<String>,
    instance_metadata_tags: Option<String>,
}

/// `InstanceMarketOptions`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct MarketParameters {
    pub(super) market_type: Option<String>,
    pub(super) spot_options: SpotParameters,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct SpotParameters {
    pub(super) max_price: Option<String>,
    pub(super) spot_instance_type: Option<String>,
    pub(super) block_duration_minutes: Option<String>,
    pub(super) valid_until: Option<String>,
    pub(super) instance_interruption_behavior: Option<String>,
}

impl Launch {
    /// Reads a template's data, or what is left of RunInstances' parameters once its own are taken
    /// out.
    pub(super) fn read(mut data: Value) -> Result<Self, AwsError> {
        for name in WITHOUT_EFFECT {
            query::take(&mut data, name);
        }
        let metadata = query::take(&mut data, "MetadataOptions")
            .map_or_else(|| Ok(Default::default()), query::parse)?;
        let shutdown = query::take(&mut data, "InstanceInitiatedShutdownBehavior")
            .map(query::parse)
            .transpose()?;
        let tags = query::take(&mut data, "TagSpecification")
            .map_or_else(|| Ok(Vec::new()), query::parse)?;
        let market =
            query::take(&mut data, "InstanceMarketOptions").map(query::parse).transpose()?;
        let reservation = query::take(&mut data, "CapacityReservationSpecification");
        Ok(Self { parameters: query::parse(data)?, metadata, shutdown, tags, market, reservation })
    }

    /// The id of the capacity reservation that it is to be launched into.
    pub(super) fn reservation(&self) -> Option<&str> {
        self.reservation
            .as_ref()?
            .get("CapacityReservationTarget")?
            .get("CapacityReservationId")?
            .as_str()
    }

    /// Holds the launch against the account and AWS's rules.
    pub(super) fn resolve(
        self,
        service: &Service<'_>,
        now: Timestamp,
    ) -> Result<LaunchSpec, AwsError> {
        let metadata = self.metadata.resolve(service)?;
        let shutdown = match self.shutdown.as_deref() {
            None | Some("stop") => Shutdown::Stop,
            Some("terminate") => Shutdown::Terminate,
            Some(other) => return Err(invalid(other, "instanceInitiatedShutdownBehavior")),
        };
        let mut spec = self.parameters.resolve(service, now)?;
        spec.metadata = metadata;
        spec.shutdown = shutdown;
        Ok(spec)
    }
}

impl MetadataParameters {
    fn resolve(self, service: &Service<'_>) -> Result<Metadata, AwsError> {
        let flag =
            |text: Option<String>, yes: &str, no: &str, name: &str, otherwise: bool| match text
                .as_deref()
            {
                None => Ok(otherwise),
                Some(text) if text == yes => Ok(true),
                Some(text) if text == no => Ok(false),
                Some(other) => Err(invalid(other, name)),
            };
        let default = Metadata::default_of(service);
        flag(self.http_protocol_ipv6, "enabled", "disabled", "HttpProtocolIpv6", false)?;
        let hop_limit = self.http_put_response_hop_limit.unwrap_or(default.hop_limit);
        if !(1..=64).contains(&hop_limit) {
            return Err(invalid(&hop_limit.to_string(), "HttpPutResponseHopLimit"));
        }
        Ok(Metadata {
            enabled: flag(
                self.http_endpoint,
                "enabled",
                "disabled",
                "HttpEndpoint",
                default.enabled,
            )?,
            token_required: flag(
                self.http_tokens,
                "required",
                "optional",
                "HttpTokens",
                default.token_required,
            )?,
            hop_limit,
            tags: flag(
                self.instance_metadata_tags,
                "enabled",
                "disabled",
                "InstanceMetadataTags",
                default.tags,
            )?,
        })
    }
}

fn invalid(value: &str, name: &str) -> AwsError {
    AwsError::new(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter {name} is invalid."),
    )
}
