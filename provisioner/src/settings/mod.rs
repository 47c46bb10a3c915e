//! What the user wants: spotblock.toml, flags and variables, merged and held against every rule at
//! once, before any call to AWS.
//!
//! - `settings/raw.rs`: the file's shape
//! - `settings/units.rs`: durations, sizes, prices
//! - `settings/check.rs`: the rules, each with the line it is broken on; those of `[block]` in
//!   `settings/block.rs` and `settings/instance_requirements.rs`
//! - `settings/jobs.rs`: the rules of job definitions

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use node_contract::Source;

use crate::args::{BlockFlags, Global};
use crate::model::error::{Error, Result};
use crate::model::instance_type::InstanceRequirements;
use crate::model::job_definition::JobDefinition;

mod block;
mod check;
mod instance_requirements;
mod jobs;
mod raw;
mod units;

pub(crate) use jobs::is_batch_name;
pub(crate) use units::{parse_duration, parse_mebibytes};

/// What the user wants, after all rules.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The region, where it was given here.
    pub region: Option<String>,
    /// Batch's side.
    pub environment: EnvironmentSettings,
    /// The job definitions.
    pub job_definitions: Vec<JobDefinition>,
    /// The block.
    pub block: BlockSettings,
    /// The agent on its instances.
    pub agent: AgentSettings,
    /// What is allowed but may surprise.
    pub warnings: Vec<String>,
}

/// Batch's side.
#[derive(Clone, Debug)]
pub(crate) struct EnvironmentSettings {
    /// The compute environment's name.
    pub name: String,
    /// Batch's service role, by name or ARN; left out, one is made.
    pub service_role: Option<String>,
    /// Whether schedules at AWS end a block's instances when all else has failed.
    pub schedules: bool,
    /// The role as which they do, by name or ARN; left out, one is made.
    pub scheduler_role: Option<String>,
    /// The queue's name.
    pub queue: String,
    /// The queue's priority.
    pub queue_priority: i32,
    /// Tags for everything that is made.
    pub tags: BTreeMap<String, String>,
}

/// The block.
#[derive(Clone, Debug)]
pub(crate) struct BlockSettings {
    /// How many instances.
    pub instances: u32,
    /// How long.
    pub duration: SignedDuration,
    /// The instance types, the preferred first; none where they follow from `needs`.
    pub instance_types: Vec<String>,
    /// What an instance needs, where no types were given.
    pub requirements: Option<InstanceRequirements>,
    /// Where to buy it: the first that has it.
    pub sources: Vec<Source>,
    /// So many instances are enough; left out, all of them are needed.
    pub partial: Option<u32>,
    /// Whether one source may fill what another left open.
    pub mix: bool,
    /// The capacity reservation to launch into; left out, the source `reservation` makes one.
    pub reservation: Option<String>,
    /// Dollars per instance-hour, as EC2 wants them; left out, EC2's default (the on-demand price).
    pub max_price: Option<String>,
    /// Dollars that the whole block may cost at worst; without it no capacity block is bought.
    pub max_cost: Option<f64>,
    /// A capacity block that is there already, by its reservation's id; left out, one is bought.
    pub capacity_block: Option<String>,
    /// How soon a capacity block that is bought begins.
    pub start_within: SignedDuration,
    /// The subnets.
    pub subnets: Vec<String>,
    /// The security groups.
    pub security_groups: Vec<String>,
    /// The Availability Zone, where it was given.
    pub zone: Option<String>,
    /// The key pair.
    pub key_name: Option<String>,
    /// An existing instance profile; left out, one is made.
    pub instance_profile: Option<String>,
    /// The root volume's size in GiB; left out, the image's.
    pub root_volume_gib: Option<u32>,
    /// An instance on which no job has run for this long leaves early; left out, it stays until the
    /// block's end.
    pub release_when_idle: Option<SignedDuration>,
    /// The image.
    pub image: Image,
}

impl BlockSettings {
    /// The source that is tried first.
    #[must_use]
    pub(crate) fn first_source(&self) -> Source {
        self.sources.first().copied().unwrap_or(Source::SpotBlock)
    }
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// This one.
    Id(String),
    /// The one that this public or own parameter names.
    Parameter(String),
}

/// The agent.
#[derive(Clone, Debug)]
pub(crate) struct AgentSettings {
    /// How it gets onto the instance.
    pub from: AgentFrom,
    /// How long before the end no new job is taken.
    pub drain_lead: SignedDuration,
    /// Whether each instance makes it longer where it has seen jobs that take longer (`"auto"`).
    pub drain_lead_auto: bool,
    /// How long before the end running jobs are stopped.
    pub stop_lead: SignedDuration,
    /// The user's own user data.
    pub extra_user_data: Option<String>,
}

/// How the agent gets onto an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentFrom {
    /// It is on the image.
    Ami,
    /// The instance fetches it at boot.
    Url {
        /// Where.
        url: String,
        /// The file's SHA-256 in hexadecimal digits.
        sha256: String,
    },
    /// The instance fetches it from S3 at boot, as its role.
    S3 {
        /// The bucket and the key, with a slash between them. The bucket is in the block's region.
        object: String,
        /// S3's address, if it isn't AWS's public one: an interface endpoint, or another's S3.
        endpoint: Option<String>,
        /// The file's SHA-256 in hexadecimal digits.
        sha256: String,
    },
}

/// How long an instance is given from its launch until it can take a job, when judging what fits
/// into a block.
pub(crate) const BOOT: SignedDuration = SignedDuration::from_mins(5);

impl Settings {
    /// The longest that a job can take in a fresh block without being stopped.
    #[must_use]
    pub(crate) fn longest_job(&self) -> SignedDuration {
        longest_job(self.block.duration, self.agent.stop_lead)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error::usage`] or [`Error::file`] without a file; [`Error::settings`] with every problem
    /// there is.
    pub(crate) fn load(global: &Global, flags: &BlockFlags) -> Result<Self> {
        let path = global.config.clone().unwrap_or_else(|| PathBuf::from("spotblock.toml"));
        let text = std::fs::read_to_string(&path).map_err(|source| no_file(&path, source))?;
        Self::parse(&path, &text, flags, global.region.as_deref())
    }

    /// Checks a file's text together with the flags; `region` beats the file's.
    ///
    /// # Errors
    /// [`Error::settings`] with every problem there is.
    pub(crate) fn parse(
        path: &Path,
        text: &str,
        flags: &BlockFlags,
        region: Option<&str>,
    ) -> Result<Self> {
        let raw =
            toml::from_str(text).map_err(|error| Error::settings(&[syntax(path, text, &error)]))?;
        check::Check::new(path, text).settings(raw, flags, region)
    }
}

fn longest_job(block: SignedDuration, stop_lead: SignedDuration) -> SignedDuration {
    block.saturating_sub(BOOT).saturating_sub(stop_lead)
}

fn no_file(path: &Path, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        let what = format!("there is no {}", path.display());
        let next = "write one with `spotblock init`, or name one with --config (SPOTBLOCK_CONFIG)"
            .to_owned();
        return Error::usage(what, next);
    }
    Error::file(format!("reading {}", path.display()), source)
}

/// The number of the line at this byte.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The file's first error of shape, with its line and, for an unknown key, the nearest one that
/// exists.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = error.message().lines().collect::<Vec<_>>().join(": ");
    let hint = match unknown_key(&message) {
        Some((unknown, known)) => match nearest(unknown, known.iter().copied()) {
            Some(near) => {
                return format!(
                    "{}:{line}: unknown key `{unknown}`: did you mean `{near}`?",
                    path.display()
                );
            }
            None => format!("unknown key `{unknown}`: the keys here are {}", known.join(", ")),
        },
        None => message.clone(),
    };
    format!("{}:{line}: {hint}", path.display())
}

/// serde names the unknown field and all known ones in backticks.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    message.strip_prefix("unknown field ")?;
    let mut quoted = message.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// The candidate that looks most like `word`, if one does.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
