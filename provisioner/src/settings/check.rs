//! The rules of spotblock.toml. All problems are collected, each with its line or flag.

use std::path::Path;

use jiff::SignedDuration;
use node_contract::{MIN_STOP_LEAD_SECS, Source};
use toml::Spanned;

use super::raw::{Raw, RawAgent, RawArtifact, RawEnvironment, RawFrom, Scalar};
use super::{
    AgentFrom, AgentSettings, BlockSettings, EnvironmentSettings, Settings, jobs, line_of, units,
};
use crate::args::BlockFlags;
use crate::model::error::{Error, Result};
use crate::model::job_definition::JobDefinition;
use crate::model::names;
use crate::model::text::cloud_init_type;

/// The drain lead when no job definition has a timeout to derive it from.
const DRAIN_LEAD: SignedDuration = SignedDuration::from_mins(15);

/// A value and where it stands.
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) place: String,
}

/// The checker: where things stand, and what was found so far.
pub(super) struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Check<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: Vec::new(), warnings: Vec::new() }
    }

    /// A value of the file with its line.
    pub(super) fn here<T>(&self, key: &str, value: Spanned<T>) -> Given<T> {
        let line = line_of(self.text, value.span().start);
        Given { value: value.into_inner(), place: format!("{}:{line}: {key}", self.path.display()) }
    }

    /// The flag (or its variable) before the file.
    pub(super) fn pick<T>(
        &self,
        flag: Option<T>,
        name: &str,
        key: &str,
        file: Option<Spanned<T>>,
    ) -> Option<Given<T>> {
        match flag {
            Some(value) => Some(Given { value, place: format!("{name} (or its variable)") }),
            None => file.map(|value| self.here(key, value)),
        }
    }

    /// The file, for what has no line.
    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn problem(&mut self, place: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("{place}: {problem}"));
    }

    /// How many problems were found so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    /// The value, or a problem at its place.
    pub(super) fn take<T>(
        &mut self,
        place: &str,
        result: std::result::Result<T, String>,
    ) -> Option<T> {
        result.map_err(|problem| self.problem(place, problem)).ok()
    }

    pub(super) fn missing<T>(&mut self, key: &str, flag: &str) -> Option<T> {
        let place = self.path();
        self.problem(&place, format!("{key} is missing: set it in the file or with {flag}"));
        None
    }

    pub(super) fn settings(
        mut self,
        raw: Raw,
        flags: &BlockFlags,
        region: Option<&str>,
    ) -> Result<Settings> {
        let tags: Vec<_> =
            raw.environment.tags.iter().map(|(key, at)| (key.clone(), at.clone())).collect();
        let environment = self.environment(raw.environment);
        let definitions = jobs::definitions(&mut self, raw.job_definition);
        let gpus = definitions.iter().any(|job| job.value.gpus > 0);
        let region = region.map(str::to_owned).or(raw.region.map(|region| region.into_inner()));
        let block = self.block(raw.block, flags, gpus, region.as_deref());
        if block
            .as_ref()
            .is_some_and(|block| block.sources.iter().any(|source| *source != Source::SpotBlock))
        {
            self.tags_in_metadata(tags);
        }
        let agent = self.agent(raw.agent, block.as_ref(), &definitions);
        if let (Some(block), Some(agent)) = (&block, &agent) {
            jobs::fit(&mut self, &definitions, block, agent);
        }
        let job_definitions: Vec<JobDefinition> =
            definitions.into_iter().map(|job| job.value).collect();
        match (environment, block, agent) {
            (Some(environment), Some(block), Some(agent)) if self.problems.is_empty() => {
                let warnings = self.warnings;
                let settings =
                    Settings { region, environment, job_definitions, block, agent, warnings };
                Ok(settings)
            }
            _ => Err(Error::settings(&self.problems)),
        }
    }

    fn environment(&mut self, raw: RawEnvironment) -> Option<EnvironmentSettings> {
        let name = self.here("[environment] name", raw.name);
        let schedules = raw.schedules.is_none_or(Spanned::into_inner);
        let longest = match (&raw.service_role, schedules, &raw.scheduler_role) {
            (None, ..) | (_, true, None) => names::LONGEST_WITH_ROLES,
            (Some(_), true, Some(_)) => names::LONGEST_WITH_SCHEDULES,
            (Some(_), false, _) => names::LONGEST,
        };
        let name_ok = jobs::is_batch_name(&name.value) && name.value.len() <= longest;
        if !name_ok {
            let rule = "letters, digits, `-` and `_`, and begins with a letter or digit";
            self.problem(&name.place, format!("{:?} must be 1 to {longest} {rule}", name.value));
        }
        let queue = self.here("[environment] queue name", raw.queue.name);
        if !jobs::is_batch_name(&queue.value) {
            self.problem(&queue.place, jobs::name_rule(&queue.value));
        }
        let priority = raw.queue.priority.map_or_else(
            || Given { value: 1, place: String::new() },
            |priority| self.here("[environment] queue priority", priority),
        );
        let queue_priority = i32::try_from(priority.value).ok().filter(|priority| *priority >= 0);
        if queue_priority.is_none() {
            self.problem(&priority.place, format!("{} is not a number from 0 up", priority.value));
        }
        let tags = raw.tags.into_iter().map(|(key, value)| self.tag(key, value)).collect();
        Some(EnvironmentSettings {
            name: name.value,
            service_role: raw.service_role.map(Spanned::into_inner),
            schedules,
            scheduler_role: raw.scheduler_role.map(Spanned::into_inner),
            queue: queue.value,
            queue_priority: queue_priority?,
            tags,
        })
    }

    fn tag(&mut self, key: String, value: Spanned<String>) -> (String, String) {
        let value = self.here("[environment] tags", value);
        if ["aws:", "spotblock:"].iter().any(|prefix| key.to_lowercase().starts_with(prefix)) {
            self.problem(
                &value.place,
                format!("{key:?}: tags that begin with `aws:` or `spotblock:` are not yours"),
            );
        }
        if key.is_empty() || key.chars().count() > 128 || value.value.chars().count() > 256 {
            self.problem(
                &value.place,
                format!("{key:?}: a key has 1 to 128 characters, a value up to 256"),
            );
        }
        (key, value.value)
    }

    /// Every source but spot blocks shows an instance its tags in its metadata, and EC2 launches
    /// none whose keys don't fit into a path there `[A]`.
    fn tags_in_metadata(&mut self, tags: Vec<(String, Spanned<String>)>) {
        let fits =
            |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-=.,_:@".contains(&b));
        for (key, at) in tags
            .into_iter()
            .filter(|(key, _)| !fits(key) || [".", "..", "_index"].contains(&key.as_str()))
        {
            let place = self.here("[environment] tags", at).place;
            let rule = "letters without accents, digits, and + - = . , _ : @, and is not `.`, \
                        `..` or `_index`";
            self.problem(
                &place,
                format!("{key:?}: a tag that instances read in their metadata has a key of {rule}"),
            );
        }
    }

    fn agent(
        &mut self,
        raw: RawAgent,
        block: Option<&BlockSettings>,
        jobs: &[Given<JobDefinition>],
    ) -> Option<AgentSettings> {
        let from = self.from(raw.from);
        let stop = raw.stop_lead.map(|lead| self.here("[agent] stop-lead", lead));
        let stop_place = stop.as_ref().map(|lead| lead.place.clone()).unwrap_or_default();
        let stop_lead = match stop {
            None => Some(SignedDuration::from_mins(5)),
            Some(lead) => self.take(&lead.place, units::duration(&lead.value)),
        };
        let drain = raw.drain_lead.map(|lead| self.here("[agent] drain-lead", lead));
        let extra_user_data = raw.extra_user_data.and_then(|file| self.extra_user_data(file));
        let (stop_lead, block) = (stop_lead?, block?);
        let floor = SignedDuration::from_secs(MIN_STOP_LEAD_SECS.into());
        if stop_lead < floor {
            self.problem(
                &stop_place,
                format!("{stop_lead:#} is under {floor:#}: ECS could not report the stopped jobs"),
            );
        }
        let drain_lead_auto = drain
            .as_ref()
            .is_some_and(|lead| matches!(&lead.value, Scalar::Text(it) if it == "auto"));
        let drain_lead = match drain.filter(|_| !drain_lead_auto) {
            None => default_drain_lead(block.duration, stop_lead, jobs),
            Some(lead) => {
                let given = self.take(&lead.place, units::duration(&lead.value))?;
                if given < stop_lead {
                    self.problem(
                        &lead.place,
                        format!("{given:#} is under stop-lead, {stop_lead:#}"),
                    );
                }
                if given >= block.duration {
                    let whole = block.duration;
                    self.problem(
                        &lead.place,
                        format!("{given:#} leaves no time in a block of {whole:#}"),
                    );
                }
                given
            }
        };
        if stop_lead >= block.duration {
            let whole = block.duration;
            self.problem(
                &stop_place,
                format!("{stop_lead:#} leaves no time in a block of {whole:#}"),
            );
        }
        Some(AgentSettings { from: from?, drain_lead, drain_lead_auto, stop_lead, extra_user_data })
    }

    fn from(&mut self, raw: Option<Spanned<RawFrom>>) -> Option<AgentFrom> {
        let Some(raw) = raw else { return Some(AgentFrom::Ami) };
        let given = self.here("[agent] from", raw);
        match given.value {
            RawFrom::Text(text) if text == "ami" => Some(AgentFrom::Ami),
            RawFrom::Text(text) => {
                self.problem(
                    &given.place,
                    format!("{text:?} is neither \"ami\" nor {{ url = ..., sha256 = ... }}"),
                );
                None
            }
            RawFrom::Artifact(artifact) => Some(self.artifact(&given.place, artifact)),
        }
    }

    fn artifact(&mut self, place: &str, artifact: RawArtifact) -> AgentFrom {
        let RawArtifact { url, s3, endpoint, sha256 } = artifact;
        let sha256 = sha256.unwrap_or_default().to_lowercase();
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.problem(
                place,
                "sha256 must be the file's 64 hexadecimal digits (`sha256sum FILE`)",
            );
        }
        if s3.is_some() == url.is_some() {
            self.problem(place, "the agent comes from either a `url` or `s3`");
        }
        if endpoint.is_some() && s3.is_none() {
            self.problem(place, "an `endpoint` belongs to `s3`");
        }
        for url in url.iter().chain(&endpoint).filter(|url| !is_plain_url(url)) {
            self.problem(place, format!("{url:?} is not an http or https URL of plain characters"));
        }
        let Some(s3) = s3 else { return AgentFrom::Url { url: url.unwrap_or_default(), sha256 } };
        let object = s3.strip_prefix("s3://").unwrap_or_default();
        if !is_plain_object(object) {
            self.problem(
                place,
                format!("{s3:?} is not s3://BUCKET/KEY of letters, digits, and - . _ /"),
            );
        }
        AgentFrom::S3 { object: object.to_owned(), endpoint, sha256 }
    }

    fn extra_user_data(&mut self, file: Spanned<String>) -> Option<String> {
        let given = self.here("[agent] extra-user-data", file);
        let path = self.path.parent().unwrap_or(Path::new("")).join(&given.value);
        match std::fs::read_to_string(&path) {
            Ok(text) if cloud_init_type(&text).is_some() => Some(text),
            Ok(_) => {
                let kinds = "`#!`, `#cloud-config` or `#cloud-boothook`";
                self.problem(
                    &given.place,
                    format!("{} does not begin with {kinds}", path.display()),
                );
                None
            }
            Err(error) => {
                self.problem(&given.place, format!("{} can't be read: {error}", path.display()));
                None
            }
        }
    }
}

/// The longest job that is known should still finish; at most the block less ten minutes.
fn default_drain_lead(
    block: SignedDuration,
    stop_lead: SignedDuration,
    jobs: &[Given<JobDefinition>],
) -> SignedDuration {
    let longest = jobs.iter().filter_map(|job| job.value.timeout_secs).max();
    let wanted = longest.map_or(DRAIN_LEAD, |secs| {
        SignedDuration::from_secs(secs.into()).saturating_add(stop_lead)
    });
    wanted.min(block.saturating_sub(SignedDuration::from_mins(10))).max(stop_lead)
}

/// Whether a bucket and a key are signed as they are written: all else would have to be escaped in
/// S3's own way.
fn is_plain_object(object: &str) -> bool {
    let is_plain = object.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b));
    let named =
        object.split_once('/').is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty());
    is_plain
        && named
        && !object.contains("//")
        && !object.split('/').any(|part| part == "." || part == "..")
}

/// Whether a URL needs no quoting inside single quotes in a shell script.
fn is_plain_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~:/?&=%+@,;!*()#[]$".contains(&b))
    })
}
