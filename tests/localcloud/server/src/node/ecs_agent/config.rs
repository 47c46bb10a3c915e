//! `ecs.config`, as the real ECS agent reads it: `KEY=VALUE` lines, split at the first `=`, the
//! last of equal keys wins, no quotes stripped.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The ECS agent's default between SIGTERM and SIGKILL.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The ECS agent takes no shorter time between SIGTERM and SIGKILL.
const MIN_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings that the stand-in knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// `ECS_CLUSTER`: the cluster to register with.
    pub(super) cluster: String,
    /// `ECS_INSTANCE_ATTRIBUTES`: what the container instance carries.
    pub(super) attributes: BTreeMap<String, String>,
    /// `ECS_CONTAINER_STOP_TIMEOUT`: how long a container has between SIGTERM and SIGKILL.
    pub(super) stop_timeout: Duration,
}

impl Config {
    /// Reads the file; one that isn't there is an empty one.
    pub(super) fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let values: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let cluster = values
            .get("ECS_CLUSTER")
            .copied()
            .filter(|cluster| !cluster.is_empty())
            .unwrap_or("default");
        let attributes = values.get("ECS_INSTANCE_ATTRIBUTES").and_then(|json| {
            serde_json::from_str(json)
                .inspect_err(|error| tracing::warn!("ECS_INSTANCE_ATTRIBUTES: {error}"))
                .ok()
        });
        let stop_timeout =
            values.get("ECS_CONTAINER_STOP_TIMEOUT").and_then(|text| go_duration(text));
        Self {
            cluster: cluster.to_owned(),
            attributes: attributes.unwrap_or_default(),
            stop_timeout: stop_timeout
                .filter(|time| *time >= MIN_STOP_TIMEOUT)
                .unwrap_or(DEFAULT_STOP_TIMEOUT),
        }
    }
}

/// A duration in Go's notation, such as `90s` or `1m30s`; nothing for what Go would refuse.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_default_cluster_and_thirty_seconds() {
        let config = Config::parse("");
        assert_eq!(config.cluster, "default");
        assert_eq!(config.stop_timeout, Duration::from_secs(30));
        assert_eq!(Config::parse("ECS_CLUSTER=\n").cluster, "default");
    }

    #[test]
    fn lines_split_at_the_first_equals_sign_and_the_last_key_wins() {
        let config = Config::parse("ECS_CLUSTER=a\nECS_CLUSTER=b=c\nnonsense\n");
        assert_eq!(config.cluster, "b=c");
    }

    /// Catches: a parser kinder than the real one, under which a quoted value would seem to work.
    #[test]
    fn quotes_stay_part_of_the_value() {
        assert_eq!(Config::parse("ECS_CLUSTER=\"a\"\n").cluster, "\"a\"");
    }

    #[test]
    fn attributes_are_json_and_broken_ones_are_none() {
        let config = Config::parse("ECS_INSTANCE_ATTRIBUTES={\"spotblock.block\":\"sb-1f2c\"}\n");
        assert_eq!(config.attributes["spotblock.block"], "sb-1f2c");
        assert!(Config::parse("ECS_INSTANCE_ATTRIBUTES={'a':1}\n").attributes.is_empty());
    }

    #[test]
    fn stop_timeouts_are_go_durations_of_at_least_a_second() {
        let cases = [
            ("90s", Some(90.0)),
            ("1m30s", Some(90.0)),
            ("1.5h", Some(5400.0)),
            ("2500ms", Some(2.5)),
            ("90", None),
            ("", None),
            ("1m30", None),
            ("ten", None),
            ("-5s", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(go_duration(text).map(|time| time.as_secs_f64()), seconds, "{text}");
        }
        let timeout = |text: &str| {
            Config::parse(&format!("ECS_CONTAINER_STOP_TIMEOUT={text}\n")).stop_timeout
        };
        assert_eq!(timeout("12s"), Duration::from_secs(12));
        assert_eq!(timeout("100ms"), DEFAULT_STOP_TIMEOUT);
        assert_eq!(timeout("soon"), DEFAULT_STOP_TIMEOUT);
    }
}
