//! The rules of job definitions.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::check::{Check, Given};
use super::raw::RawJob;
use super::{AgentSettings, BlockSettings, longest_job, units};
use crate::model::job_definition::{JobDefinition, Log, Mount, retry_rules};

/// Batch refuses shorter timeouts `[V]`.
const SHORTEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// Batch's rule for the names of jobs, definitions, queues and environments `[V]`.
pub(crate) fn is_batch_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

pub(super) fn name_rule(name: &str) -> String {
    format!(
        "{name:?} must be 1 to 128 letters, digits, `-` and `_`, and begin with a letter or digit"
    )
}

pub(super) fn definitions(check: &mut Check<'_>, raw: Vec<RawJob>) -> Vec<Given<JobDefinition>> {
    let mut names = BTreeSet::new();
    raw.into_iter().filter_map(|job| definition(check, job, &mut names)).collect()
}

fn definition(
    check: &mut Check<'_>,
    raw: RawJob,
    names: &mut BTreeSet<String>,
) -> Option<Given<JobDefinition>> {
    let name = check.here("[[job-definition]] name", raw.name);
    if !is_batch_name(&name.value) {
        check.problem(&name.place, name_rule(&name.value));
    } else if !names.insert(name.value.clone()) {
        check.problem(&name.place, format!("{:?} is there twice", name.value));
    }
    let title = format!("[[job-definition]] {}", name.value);
    let image = check.here(&format!("{title} image"), raw.image);
    if image.value.trim().is_empty() || image.value.contains(char::is_whitespace) {
        check.problem(&image.place, format!("{:?} is not the name of an image", image.value));
    }
    let vcpus = check.here(&format!("{title} vcpus"), raw.vcpus);
    let vcpus = whole(check, &vcpus, 1, 1024);
    let memory = check.here(&format!("{title} memory"), raw.memory);
    let memory_mib = check.take(&memory.place, units::mebibytes(&memory.value));
    if memory_mib.is_some_and(|size| size < 4) {
        check.problem(&memory.place, "Batch gives a job at least 4MiB");
    }
    let timeout = raw.timeout.map(|timeout| check.here(&format!("{title} timeout"), timeout));
    let place =
        timeout.as_ref().map_or_else(|| name.place.clone(), |timeout| timeout.place.clone());
    let timeout =
        timeout.and_then(|timeout| check.take(&timeout.place, units::duration(&timeout.value)));
    if let Some(timeout) = timeout
        && timeout < SHORTEST_TIMEOUT
    {
        check.problem(
            &place,
            format!("{timeout:#} is under {SHORTEST_TIMEOUT:#}, the shortest that Batch takes"),
        );
    }
    let gpus = raw.gpus.map(|gpus| check.here(&format!("{title} gpus"), gpus));
    let gpus = gpus.map_or(Some(0), |gpus| whole(check, &gpus, 0, 64));
    let attempts = raw.attempts.map(|attempts| check.here(&format!("{title} attempts"), attempts));
    let attempts = attempts.map_or(Some(3), |attempts| whole(check, &attempts, 1, 10));
    let mounts = raw.mounts.into_iter().filter_map(|mount| {
        let mount = check.here(&format!("{title} mounts"), mount);
        check.take(&mount.place, parse_mount(&mount.value))
    });
    let mounts = mounts.collect();
    let environment = raw.environment.into_iter().map(|(key, value)| {
        let value = check.here(&format!("{title} environment"), value);
        if key.is_empty() || key.starts_with("AWS_BATCH") {
            check.problem(
                &value.place,
                format!("{key:?}: Batch keeps the names that begin with AWS_BATCH to itself"),
            );
        }
        (key, value.value)
    });
    let environment = environment.collect();
    let value = JobDefinition {
        name: name.value,
        image: image.value,
        vcpus: vcpus?,
        memory_mib: memory_mib?,
        gpus: gpus?,
        timeout_secs: timeout.and_then(|timeout| timeout.as_secs().try_into().ok()),
        command: raw.command,
        environment,
        job_role: raw.job_role.map(toml::Spanned::into_inner),
        mounts,
        log: raw.log.map(|log| Log { driver: log.driver, options: log.options }),
        privileged: raw.privileged,
        init_process: true,
        attempts: attempts?,
        retry: retry_rules(),
    };
    Some(Given { value, place })
}

fn whole(check: &mut Check<'_>, given: &Given<i64>, low: u32, high: u32) -> Option<u32> {
    let value = u32::try_from(given.value).ok().filter(|value| (low..=high).contains(value));
    if value.is_none() {
        check
            .problem(&given.place, format!("{} is not a number from {low} to {high}", given.value));
    }
    value
}

/// `HOST:CONTAINER` or `HOST:CONTAINER:ro`.
fn parse_mount(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, read_only) = match parts.as_slice() {
        [host, container] => (host, container, false),
        [host, container, "ro"] => (host, container, true),
        _ => {
            return Err(format!(
                "{text:?} is not \"/on/the/host:/in/the/container\", with \":ro\" for read-only"
            ));
        }
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(format!("{text:?}: both paths begin with `/`"));
    }
    Ok(Mount { host: (*host).to_owned(), container: (*container).to_owned(), read_only })
}

/// A timeout that fits no fresh block is refused; one that outlasts the drain is warned about.
pub(super) fn fit(
    check: &mut Check<'_>,
    jobs: &[Given<JobDefinition>],
    block: &BlockSettings,
    agent: &AgentSettings,
) {
    for job in jobs {
        let Some(secs) = job.value.timeout_secs else { continue };
        let timeout = SignedDuration::from_secs(secs.into());
        let longest = longest_job(block.duration, agent.stop_lead);
        if timeout > longest {
            let why = format!(
                "the block lasts {:#}, less 5m to boot and stop-lead {:#}",
                block.duration, agent.stop_lead
            );
            check.problem(
                &job.place,
                format!("{timeout:#} fits no fresh block: at most {longest:#} ({why})"),
            );
        } else if timeout > agent.drain_lead.saturating_sub(agent.stop_lead) {
            let lead =
                format!("drain-lead {:#} less stop-lead {:#}", agent.drain_lead, agent.stop_lead);
            check.warnings.push(format!(
                "{}: {timeout:#} is longer than {lead}: a job that starts late may be stopped \
                 and retried",
                job.place
            ));
        }
    }
}
