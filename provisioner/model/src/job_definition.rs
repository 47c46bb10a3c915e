//! A job definition as far as this program sets it: the same shape for what is wanted and for what
//! AWS has, so that both can be compared.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::change::Change;

/// The job definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobDefinition {
    /// Its name.
    pub name: String,
    /// The container's image.
    pub image: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// GPUs.
    pub gpus: u32,
    /// How long an attempt may take, in seconds from its start.
    pub timeout_secs: Option<u32>,
    /// The command; empty: the image's.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// The job's role: wanted, a name or an ARN; in AWS, an ARN.
    pub job_role: Option<String>,
    /// Folders of the host.
    pub mounts: Vec<Mount>,
    /// Where logs go; left out, where Batch sends them.
    pub log: Option<Log>,
    /// Whether the container is privileged.
    pub privileged: bool,
    /// Whether an init process runs in the container: without it SIGTERM doesn't reach a shell's
    /// child.
    pub init_process: bool,
    /// How often the job may be started.
    pub attempts: u32,
    /// The rules after a failed attempt, in order.
    pub retry: Vec<RetryRule>,
}

/// A folder of the host inside the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mount {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// A log driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Its name.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// What happens after a failed attempt: the first rule that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryRule {
    /// `RETRY` or `EXIT`.
    pub action: String,
    /// A pattern for the attempt's status reason.
    pub on_status_reason: Option<String>,
    /// A pattern for the container's exit code.
    pub on_exit_code: Option<String>,
    /// A pattern for the container's reason.
    pub on_reason: Option<String>,
}

/// The rules that fit a block, in this order:
///
/// 1. Run again what was stopped because its host ends: the agent's StopTask reason and Batch's own
///    both begin with `Host EC2`.
/// 2. Run again what SIGTERM ended (exit code 143): whether Batch copies StopTask's reason into the
///    status reason is not documented `[A]`.
/// 3. Run again what its host's crash or power failure cut off: when the host is back, Docker gives
///    such a container exit code 255, ECS reports that, and Batch shows it as an exit code like any
///    other `[A]`. A program's own 255 can't be told from it, and is run again too, as often as
///    `attempts` says.
/// 4. Nothing else: a job that fails by itself would fail again.
#[must_use]
pub fn retry_rules() -> Vec<RetryRule> {
    let rule = |action: &str| RetryRule {
        action: action.to_owned(),
        on_status_reason: None,
        on_exit_code: None,
        on_reason: None,
    };
    vec![
        RetryRule { on_status_reason: Some("Host EC2*".to_owned()), ..rule("RETRY") },
        RetryRule { on_exit_code: Some("143".to_owned()), ..rule("RETRY") },
        RetryRule { on_exit_code: Some("255".to_owned()), ..rule("RETRY") },
        RetryRule { on_reason: Some("*".to_owned()), ..rule("EXIT") },
    ]
}

impl JobDefinition {
    /// What differs between what AWS has and what is wanted, field by field.
    #[must_use]
    pub fn changes_to(&self, wanted: &Self) -> Vec<Change> {
        let (Ok(serde_json::Value::Object(has)), Ok(serde_json::Value::Object(wanted))) =
            (serde_json::to_value(self.in_order()), serde_json::to_value(wanted.in_order()))
        else {
            return Vec::new();
        };
        has.into_iter()
            .filter_map(|(field, from)| {
                let to = wanted.get(&field)?;
                (*to != from).then(|| Change { field, from: from.to_string(), to: to.to_string() })
            })
            .collect()
    }

    /// Mounts have no order of their own.
    fn in_order(&self) -> Self {
        let mut same = self.clone();
        same.mounts.sort();
        same
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hello_world() -> JobDefinition {
        JobDefinition {
            name: "hello-world".into(),
            image: "hello-world".into(),
            vcpus: 1,
            memory_mib: 256,
            gpus: 0,
            timeout_secs: None,
            command: Vec::new(),
            environment: BTreeMap::new(),
            job_role: None,
            mounts: Vec::new(),
            log: None,
            privileged: false,
            init_process: true,
            attempts: 3,
            retry: retry_rules(),
        }
    }

    #[test]
    fn equal_definitions_have_no_changes_whatever_the_order_of_mounts() {
        let mount =
            |host: &str| Mount { host: host.into(), container: "/c".into(), read_only: false };
        let one = JobDefinition { mounts: vec![mount("/a"), mount("/b")], ..hello_world() };
        let other = JobDefinition { mounts: vec![mount("/b"), mount("/a")], ..hello_world() };
        assert_eq!(one.changes_to(&other), []);
    }

    /// Catches: a field that is set but not compared, so that its change is never registered.
    #[test]
    fn every_field_that_differs_is_named() {
        let has = hello_world();
        let wanted = JobDefinition {
            name: has.name.clone(),
            image: "other".into(),
            vcpus: 2,
            memory_mib: 512,
            gpus: 1,
            timeout_secs: Some(60),
            command: vec!["x".into()],
            environment: BTreeMap::from([("A".into(), "b".into())]),
            job_role: Some("arn:aws:iam::1:role/r".into()),
            mounts: vec![Mount { host: "/a".into(), container: "/a".into(), read_only: true }],
            log: Some(Log { driver: "awslogs".into(), options: BTreeMap::new() }),
            privileged: true,
            init_process: false,
            attempts: 5,
            retry: Vec::new(),
        };
        let fields: Vec<String> =
            has.changes_to(&wanted).into_iter().map(|change| change.field).collect();
        assert_eq!(fields.len(), 14, "{fields:?}");
        let vcpus = &has.changes_to(&wanted)[1];
        assert_eq!((vcpus.from.as_str(), vcpus.to.as_str()), ("1", "2"));
    }
}
