//! spotblock.toml as it is written, before any rule but its shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) region: Option<Spanned<String>>,
    pub(super) environment: RawEnvironment,
    #[serde(default)]
    pub(super) job_definition: Vec<RawJob>,
    pub(super) block: RawBlock,
    #[serde(default)]
    pub(super) agent: RawAgent,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawEnvironment {
    pub(super) name: Spanned<String>,
    pub(super) service_role: Option<Spanned<String>>,
    pub(super) schedules: Option<Spanned<bool>>,
    pub(super) scheduler_role: Option<Spanned<String>>,
    pub(super) queue: RawQueue,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawQueue {
    pub(super) name: Spanned<String>,
    pub(super) priority: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawJob {
    pub(super) name: Spanned<String>,
    pub(super) image: Spanned<String>,
    pub(super) vcpus: Spanned<i64>,
    pub(super) memory: Spanned<Scalar>,
    pub(super) timeout: Option<Spanned<Scalar>>,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, Spanned<String>>,
    pub(super) gpus: Option<Spanned<i64>>,
    pub(super) job_role: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) mounts: Vec<Spanned<String>>,
    pub(super) log: Option<RawLog>,
    #[serde(default)]
    pub(super) privileged: bool,
    pub(super) attempts: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) driver: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawBlock {
    pub(super) instances: Option<Spanned<i64>>,
    pub(super) duration: Option<Spanned<Scalar>>,
    pub(super) instance_types: Option<Spanned<Vec<String>>>,
    pub(super) vcpus: Option<Spanned<i64>>,
    pub(super) memory: Option<Spanned<Scalar>>,
    pub(super) gpus: Option<Spanned<i64>>,
    pub(super) arch: Option<Spanned<String>>,
    pub(super) sources: Option<Spanned<Vec<String>>>,
    pub(super) partial: Option<Spanned<i64>>,
    pub(super) mix: Option<Spanned<bool>>,
    pub(super) reservation: Option<Spanned<String>>,
    pub(super) max_price: Option<Spanned<Scalar>>,
    pub(super) max_cost: Option<Spanned<Scalar>>,
    pub(super) capacity_block: Option<Spanned<String>>,
    pub(super) start_within: Option<Spanned<Scalar>>,
    pub(super) subnets: Option<Spanned<Vec<String>>>,
    pub(super) security_groups: Option<Spanned<Vec<String>>>,
    pub(super) zone: Option<Spanned<String>>,
    pub(super) key_name: Option<Spanned<String>>,
    pub(super) instance_profile: Option<Spanned<String>>,
    pub(super) root_volume: Option<Spanned<Scalar>>,
    pub(super) release_when_idle: Option<Spanned<Scalar>>,
    pub(super) image: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawAgent {
    pub(super) from: Option<Spanned<RawFrom>>,
    pub(super) drain_lead: Option<Spanned<Scalar>>,
    pub(super) stop_lead: Option<Spanned<Scalar>>,
    pub(super) extra_user_data: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the agent comes from \"ami\", { url, sha256 } or { s3, sha256 }")]
pub(super) enum RawFrom {
    Text(String),
    Artifact(RawArtifact),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawArtifact {
    pub(super) url: Option<String>,
    pub(super) s3: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) sha256: Option<String>,
}

/// A quantity: a text with its unit, or a bare number, which is refused with a better word than
/// "invalid type" where a unit belongs to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a number or a quantity in quotes is expected")]
pub(super) enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
}
