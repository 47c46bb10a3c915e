//! Job definitions and their revisions.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::retry::Strategy;
use super::{Service, Tags, arn, client, container, is_name, name_of, refused, view};
use crate::protocol::page::page;
use crate::protocol::{AwsError, Context};

/// Batch takes no shorter timeout, in seconds.
const MIN_TIMEOUT: i64 = 60;

/// One revision of a job definition.
#[derive(Clone)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) revision: u32,
    pub(super) active: bool,
    pub(super) properties: Value,
    pub(super) parameters: Map<String, Value>,
    pub(super) retry: Option<Strategy>,
    /// Seconds.
    pub(super) timeout: Option<i64>,
    pub(super) propagate_tags: bool,
    pub(super) scheduling_priority: Option<i32>,
    pub(super) tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Register {
    job_definition_name: String,
    r#type: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    scheduling_priority: Option<i32>,
    #[serde(default)]
    container_properties: Value,
    retry_strategy: Option<Strategy>,
    #[serde(default)]
    propagate_tags: bool,
    timeout: Option<Timeout>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    platform_capabilities: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Timeout {
    attempt_duration_seconds: Option<i64>,
}

impl Timeout {
    /// The seconds.
    ///
    /// # Errors
    /// Under Batch's minimum.
    pub(super) fn check(&self) -> Result<Option<i64>, String> {
        match self.attempt_duration_seconds {
            Some(seconds) if seconds < MIN_TIMEOUT => {
                Err(format!("attemptDurationSeconds {seconds} must be at least {MIN_TIMEOUT}"))
            }
            seconds => Ok(seconds),
        }
    }
}

pub(super) fn register(
    service: &mut Service<'_>,
    context: &Context,
    register: Register,
) -> Result<Value, AwsError> {
    let name = register.job_definition_name;
    if !is_name(&name) {
        return Err(refused(
            context,
            "jobDefinitionName should match valid pattern [A-Za-z0-9][A-Za-z0-9_-]*",
        ));
    }
    if register.r#type != "container" {
        return Err(refused(
            context,
            "the local cloud's Batch knows job definitions of type container alone",
        ));
    }
    if register.platform_capabilities.iter().any(|capability| capability != "EC2") {
        return Err(refused(context, "the local cloud's Batch has no platform but EC2"));
    }
    let properties =
        container::check(&register.container_properties).map_err(|text| refused(context, text))?;
    if let Some(strategy) = &register.retry_strategy {
        strategy.check().map_err(|text| refused(context, text))?;
    }
    let timeout = register
        .timeout
        .as_ref()
        .map(Timeout::check)
        .transpose()
        .map_err(|text| refused(context, text))?;
    let revisions = service.state.definitions.get(&name).map_or(0, Vec::len);
    let revision = u32::try_from(revisions).unwrap_or(u32::MAX).saturating_add(1);
    let definition = Definition {
        arn: arn(service, "job-definition", &format!("{name}:{revision}")),
        revision,
        active: true,
        properties,
        parameters: register.parameters,
        retry: register.retry_strategy,
        timeout: timeout.flatten(),
        propagate_tags: register.propagate_tags,
        scheduling_priority: register.scheduling_priority,
        tags: register.tags,
        name: name.clone(),
    };
    let answer = json!({"jobDefinitionName": name, "jobDefinitionArn": definition.arn, "revision": revision});
    service.state.definitions.entry(name).or_default().push(definition);
    Ok(answer)
}

/// The definition that `name`, `name:revision` or an ARN means; without a revision the latest
/// active one.
pub(super) fn find<'a>(service: &'a Service<'_>, reference: &str) -> Option<&'a Definition> {
    let (name, revision) = split(reference);
    let mut revisions = service.state.definitions.get(name)?.iter().rev();
    match revision {
        None => revisions.find(|definition| definition.active),
        Some(revision) => revisions
            .find(|definition| definition.active && definition.revision.to_string() == revision),
    }
}

fn split(reference: &str) -> (&str, Option<&str>) {
    let last = name_of(reference);
    last.split_once(':').map_or((last, None), |(name, revision)| (name, Some(revision)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    job_definitions: Option<Vec<String>>,
    job_definition_name: Option<String>,
    status: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

pub(super) fn describe(service: &Service<'_>, describe: &Describe) -> Result<Value, AwsError> {
    let listed = describe.job_definitions.as_ref().filter(|references| !references.is_empty());
    let wanted = |definition: &&Definition| {
        let by_reference = listed.is_none_or(|references| {
            references.iter().map(|reference| split(reference)).any(|(name, revision)| {
                name == definition.name
                    && revision.is_none_or(|revision| revision == definition.revision.to_string())
            })
        });
        by_reference
            && describe.job_definition_name.as_ref().is_none_or(|name| name == &definition.name)
            && describe.status.as_ref().is_none_or(|status| status == view::activity(definition))
    };
    let definitions = service.state.definitions.values().flatten().filter(wanted);
    let views = definitions
        .map(|definition| {
            (
                format!("{}:{:08}", definition.name, definition.revision),
                view::definition(definition),
            )
        })
        .collect();
    let page = page(
        views,
        describe.next_token.as_deref(),
        describe.max_results.unwrap_or(100).clamp(1, 100),
    )
    .map_err(|_| client("Invalid nextToken"))?;
    Ok(view::with_token(json!({"jobDefinitions": page.items}), page.next_token))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deregister {
    job_definition: String,
}

/// A revision becomes INACTIVE. One that isn't there is no error.
pub(super) fn deregister(
    service: &mut Service<'_>,
    deregister: &Deregister,
) -> Result<Value, AwsError> {
    let (name, Some(revision)) = split(&deregister.job_definition) else {
        return Err(client("jobDefinition must be an ARN or name:revision"));
    };
    for definition in service.state.definitions.get_mut(name).into_iter().flatten() {
        definition.active &= definition.revision.to_string() != revision;
    }
    Ok(json!({}))
}

/// The revision of exactly this ARN.
pub(super) fn by_arn<'a>(service: &'a mut Service<'_>, arn: &str) -> Option<&'a mut Definition> {
    let revisions = service.state.definitions.get_mut(split(arn).0)?;
    revisions.iter_mut().find(|definition| definition.arn == arn)
}
