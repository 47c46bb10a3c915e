//! What crosses from the provisioner to the agent on an instance.
//!
//! The provisioner renders a [`NodeConfig`] into user data ([`user_data::embed`]); the agent reads
//! it back through IMDS ([`user_data::extract`]). Both compute the block's moments with
//! [`Timeline`], so what `spotblock` shows is what the agent acts on. There is no I/O here and no
//! clock.
//!
//! - `lib.rs`: the settings and their rules
//! - [`timeline`]: start, drain, stop and end of a block; the one place that computes them
//! - [`user_data`]: how the settings are wrapped in user data
//! - [`names`]: tag keys, ECS attribute names and file paths that both sides use

pub mod names;
pub mod timeline;
pub mod user_data;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use timeline::Timeline;

/// The version of [`NodeConfig`] that this build writes and reads.
pub const VERSION: u32 = 1;

/// The shortest time between asking tasks to stop and the end of the block, in seconds. Below it
/// the ECS agent has no time to report that they stopped, and Batch would run them again.
pub const MIN_STOP_LEAD_SECS: u32 = 5;

/// The shortest time without a task after which an instance may be released, in seconds: Batch
/// takes about this long to place a job on an instance that has just joined.
pub const MIN_RELEASE_SECS: u32 = 60;

/// ECS keeps at most this many characters of a StopTask reason.
const MAX_STOP_REASON: usize = 255;

/// The settings of one instance of a block. Unknown fields are refused: a newer provisioner must
/// not believe that an older agent honours what it has never heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The version of this format; see [`VERSION`].
    pub version: u32,
    /// The block's id, `sb-` and lower-case hexadecimal digits.
    pub block: String,
    /// The name of the Batch compute environment.
    pub environment: String,
    /// The AWS region, such as `us-east-1`.
    pub region: String,
    /// The ECS cluster behind the environment: its name or its ARN, as DescribeComputeEnvironments
    /// gave it.
    pub cluster: String,
    /// Where the capacity was bought.
    pub source: Source,
    /// When the block ends.
    pub end: End,
    /// How long before `end` AWS takes the instances back, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub early_reclaim_secs: u32,
    /// How long before the block's end no further task is taken, in seconds.
    pub drain_lead_secs: u32,
    /// How long before the block's end tasks that still run are stopped, in seconds.
    pub stop_lead_secs: u32,
    /// The reason given to StopTask. Left out, the agent says `Host EC2 (instance i-...) ...`,
    /// which the retry rules of the job definitions look for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// What can be left out altogether.
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
}

/// Settings that a block can do without; left out, each is as its default says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The longest timeout of the jobs that may come, in seconds. Given, the drain lead is found
    /// automatically: at least `drain_lead_secs`, and long enough for a job of that length, or as
    /// long as any that the instance has seen, to end before `stop_lead_secs` (see
    /// [`Timeline::with_longest_task`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_timeout_secs: Option<u32>,
    /// Drain and leave early when no task has run on the instance for this long, in seconds. An
    /// instance sees only itself: that the queue has nothing for it shows in that nothing comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_when_idle_secs: Option<u32>,
    /// What a rebalance recommendation means.
    #[serde(skip_serializing_if = "OnRebalance::is_default")]
    pub on_rebalance: OnRebalance,
}

impl Options {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rebalance recommendation means: EC2's word that a spot instance is likelier than others
/// to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRebalance {
    /// Nothing: many of them are followed by no interruption.
    #[default]
    Ignore,
    /// No further task is taken; those that run may finish.
    Drain,
}

impl OnRebalance {
    // serde hands `skip_serializing_if` a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

// serde hands `skip_serializing_if` a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(secs: &u32) -> bool {
    *secs == 0
}

/// When a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum End {
    /// This many seconds after the instance was launched (`pendingTime` of its identity document).
    AfterLaunchSecs(u32),
    /// At this moment, whenever the instance was launched.
    At(Timestamp),
}

/// Where the capacity was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// EC2's spot instances with a defined duration.
    SpotBlock,
    /// Spot instances.
    Spot,
    /// On-demand instances.
    OnDemand,
    /// An on-demand capacity reservation.
    Reservation,
    /// A capacity block for machine learning.
    CapacityBlock,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SpotBlock => "spot-block",
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
            Self::Reservation => "reservation",
            Self::CapacityBlock => "capacity-block",
        })
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or a field is missing, unknown or of the wrong type.
    #[error("the node settings can't be read")]
    Syntax(#[source] serde_json::Error),
    /// Written by another version of the provisioner.
    #[error(
        "the node settings are of version {found}, this agent reads version {VERSION}: use the \
         agent that belongs to the provisioner"
    )]
    Version {
        /// The version in the settings.
        found: u32,
    },
    /// A field breaks a rule.
    #[error("node settings: {field} {problem}")]
    Rule {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The user data has no settings in it.
    #[error("the user data holds no spotblock settings (no line {:?})", user_data::BEGIN)]
    NoSettings,
    /// The settings in the user data have no end: they were cut.
    #[error("the spotblock settings in the user data are cut off (no line {:?})", user_data::END)]
    CutOff,
}

/// Enough of the settings to tell their version, whatever else they hold.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl NodeConfig {
    /// Reads settings from JSON and holds them against the rules.
    ///
    /// # Errors
    /// [`ConfigError::Version`] before anything else, so that a newer format is named as such and
    /// not as an unknown field; then [`ConfigError::Syntax`] or [`ConfigError::Rule`].
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let Versioned { version } = serde_json::from_str(json).map_err(ConfigError::Syntax)?;
        if version != VERSION {
            return Err(ConfigError::Version { found: version });
        }
        let config: Self = serde_json::from_str(json).map_err(ConfigError::Syntax)?;
        config.check()?;
        Ok(config)
    }

    /// The settings as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings and numbers has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Holds the settings against the rules that a single field's type can't express.
    ///
    /// # Errors
    /// [`ConfigError::Rule`] with the first field that breaks one.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !is_block_id(&self.block) {
            return rule(
                "block",
                format!("{:?} is not `sb-` and 4 to 32 hexadecimal digits", self.block),
            );
        }
        for (field, value) in [
            ("environment", &self.environment),
            ("region", &self.region),
            ("cluster", &self.cluster),
        ] {
            if value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return rule(field, format!("{value:?} is empty or holds white space"));
            }
        }
        if self.stop_lead_secs < MIN_STOP_LEAD_SECS {
            return rule(
                "stop_lead_secs",
                format!(
                    "{} is under {MIN_STOP_LEAD_SECS}: ECS could not report the stopped tasks",
                    self.stop_lead_secs
                ),
            );
        }
        if self.drain_lead_secs < self.stop_lead_secs {
            return rule(
                "drain_lead_secs",
                format!(
                    "{} is under stop_lead_secs, {}",
                    self.drain_lead_secs, self.stop_lead_secs
                ),
            );
        }
        if let End::AfterLaunchSecs(length) = self.end
            && u64::from(self.drain_lead_secs) + u64::from(self.early_reclaim_secs)
                >= u64::from(length)
        {
            return rule(
                "drain_lead_secs",
                format!("{} leaves no time in a block of {length}", self.drain_lead_secs),
            );
        }
        if self.options.release_when_idle_secs.is_some_and(|secs| secs < MIN_RELEASE_SECS) {
            return rule("options.release_when_idle_secs", format!("is under {MIN_RELEASE_SECS}"));
        }
        match &self.stop_reason {
            Some(reason) if reason.is_empty() || reason.chars().count() > MAX_STOP_REASON => {
                rule("stop_reason", format!("is empty or over {MAX_STOP_REASON} characters"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether `id` looks like a block's id.
#[must_use]
pub fn is_block_id(id: &str) -> bool {
    id.strip_prefix("sb-").is_some_and(|hex| {
        (4..=32).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn rule<T>(field: &'static str, problem: String) -> Result<T, ConfigError> {
    Err(ConfigError::Rule { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = include_str!("../fixtures/node-config-v1.json");
    const V1_FULL: &str = include_str!("../fixtures/node-config-v1-full.json");

    fn v1() -> NodeConfig {
        NodeConfig::from_json(V1).expect("the fixture of version 1")
    }

    /// Catches: a change that stops this build from reading what a released provisioner wrote.
    #[test]
    fn the_fixture_of_version_1_reads_as_ever() {
        let config = v1();
        assert_eq!(config.block, "sb-1f2c3d4e");
        assert_eq!(config.source, Source::SpotBlock);
        assert_eq!(config.end, End::AfterLaunchSecs(3600));
        assert_eq!((config.drain_lead_secs, config.stop_lead_secs), (2700, 300));
        assert_eq!(NodeConfig::from_json(&config.to_json()).expect("its own output"), config);
    }

    #[test]
    fn a_fixture_with_every_field_reads_and_is_written_back_whole() {
        let config = NodeConfig::from_json(V1_FULL).expect("the full fixture");
        let options = Options {
            longest_timeout_secs: Some(2400),
            release_when_idle_secs: Some(600),
            on_rebalance: OnRebalance::Drain,
        };
        assert_eq!(config.options, options);
        let (written, given): (serde_json::Value, serde_json::Value) = (
            serde_json::from_str(&config.to_json()).expect("JSON"),
            serde_json::from_str(V1_FULL).expect("JSON"),
        );
        assert_eq!(written, given);
    }

    #[test]
    fn a_given_end_is_a_moment() {
        let json =
            V1.replace(r#"{"after-launch-secs": 3600}"#, r#"{"at": "2026-11-24T11:30:00Z"}"#);
        assert_eq!(
            NodeConfig::from_json(&json).expect("a given end").end,
            End::At("2026-11-24T11:30:00Z".parse().expect("a time"))
        );
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let json = V1.replacen('{', r#"{"drain_leed_secs": 1,"#, 1);
        let error = NodeConfig::from_json(&json).expect_err("an unknown field");
        let ConfigError::Syntax(source) = error else { panic!("{error}") };
        assert!(source.to_string().contains("drain_leed_secs"), "{source}");
    }

    #[test]
    fn another_version_is_named_before_its_unknown_fields() {
        let json = r#"{"version": 2, "something-new": true}"#;
        assert!(matches!(NodeConfig::from_json(json), Err(ConfigError::Version { found: 2 })));
    }

    #[test]
    fn each_rule_names_its_field() {
        type Break = fn(&mut NodeConfig);
        let cases: [(&str, Break); 10] = [
            ("block", |c| c.block = "block-1".into()),
            ("block", |c| c.block = "sb-XYZW".into()),
            ("environment", |c| c.environment.clear()),
            ("cluster", |c| c.cluster = "two words".into()),
            ("region", |c| c.region = "us-east-1\nECS_CLUSTER=other".into()),
            ("stop_lead_secs", |c| c.stop_lead_secs = 4),
            ("drain_lead_secs", |c| c.drain_lead_secs = 299),
            ("drain_lead_secs", |c| c.drain_lead_secs = 3600),
            ("stop_reason", |c| c.stop_reason = Some("x".repeat(256))),
            ("options.release_when_idle_secs", |c| c.options.release_when_idle_secs = Some(59)),
        ];
        for (field, spoil) in cases {
            let mut config = v1();
            spoil(&mut config);
            match config.check() {
                Err(ConfigError::Rule { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
