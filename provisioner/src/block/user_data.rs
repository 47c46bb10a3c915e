//! The user data of a block's instances: a script that cloud-init runs, which carries the agent's
//! settings as comments ([`node_contract::user_data`]), alone or as the first part of a MIME
//! message.
//!
//! Both ways have one envelope: the settings, then `user_data/common.sh`, which arms the power-off
//! timer before anything else, then
//!
//! - baked: `baked.sh`; the agent is on the image and reads the settings through IMDS. Without it
//!   the host is powered off
//! - fetched: `fetch.sh`, which brings the tarball that `make dist` makes by `get-url.sh` or
//!   `get-s3.sh`
//!
//! `tests/boot` shows both on real systems.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use node_contract::timeline::POWER_OFF_GRACE;
use node_contract::{End, NodeConfig, Source, VERSION};

use crate::model::error::{Error, Result};
use crate::model::record::{BlockSpec, LaunchData};
use crate::model::source;
use crate::model::text::cloud_init_type;
use crate::settings::{AgentFrom, Settings};

const COMMON: &str = include_str!("user_data/common.sh");
const BAKED: &str = include_str!("user_data/baked.sh");
const FETCH: &str = include_str!("user_data/fetch.sh");
const GET_URL: &str = include_str!("user_data/get-url.sh");
const GET_S3: &str = include_str!("user_data/get-s3.sh");

const BOUNDARY: &str = "spotblock-user-data-part";

/// What tells one block's user data from another's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockIdentity<'a> {
    /// The block's id.
    pub id: &'a str,
    /// The region.
    pub region: &'a str,
    /// What the names of AWS's services end with there.
    pub dns_suffix: &'a str,
    /// The ECS cluster's ARN.
    pub cluster: &'a str,
    /// Where it is bought.
    pub source: Source,
}

/// The agent's settings on the instances of this block.
///
/// # Errors
/// [`Error::settings`] when a rule of the agent's is broken.
pub(crate) fn node_config(settings: &Settings, block: BlockIdentity<'_>) -> Result<NodeConfig> {
    let config = NodeConfig {
        version: VERSION,
        block: block.id.to_owned(),
        environment: settings.environment.name.clone(),
        region: block.region.to_owned(),
        cluster: block.cluster.to_owned(),
        source: block.source,
        end: End::AfterLaunchSecs(secs(settings.block.duration)),
        early_reclaim_secs: 0,
        drain_lead_secs: secs(settings.agent.drain_lead),
        stop_lead_secs: secs(settings.agent.stop_lead),
        stop_reason: None,
        options: node_contract::Options {
            longest_timeout_secs: settings.agent.drain_lead_auto.then(|| longest_timeout(settings)),
            release_when_idle_secs: settings.block.release_when_idle.map(secs),
            ..node_contract::Options::default()
        },
    };
    config.check().map_err(|error| Error::settings(&[error.to_string()]))?;
    Ok(config)
}

/// Zero where no job has a timeout: then an instance goes by what it has seen alone.
fn longest_timeout(settings: &Settings) -> u32 {
    settings.job_definitions.iter().filter_map(|job| job.timeout_secs).max().unwrap_or_default()
}

/// Settings hold their durations to what fits.
fn secs(duration: SignedDuration) -> u32 {
    duration.as_secs().try_into().unwrap_or(u32::MAX)
}

/// The script alone, for a region where the names of AWS's services end with this suffix.
#[must_use]
pub(crate) fn script(config: &NodeConfig, from: &AgentFrom, dns_suffix: &str) -> String {
    let settings = node_contract::user_data::embed(config);
    let mut script = format!("#!/bin/sh\n{settings}");
    let common = COMMON.replace("@AT@", &power_off_at(config));
    let body = match from {
        AgentFrom::Ami => BAKED.to_owned(),
        AgentFrom::Url { url, sha256 } => {
            FETCH.replace("@GET@", GET_URL).replace("@SHA256@", sha256).replace("@URL@", url)
        }
        AgentFrom::S3 { object, endpoint, sha256 } => {
            // By hand, since aws-sdk-s3 would come for this address alone.
            let public = || format!("https://s3.{}.{}", config.region, dns_suffix);
            let url = format!(
                "{}/{object}",
                endpoint.clone().unwrap_or_else(public).trim_end_matches('/')
            );
            let script = FETCH.replace("@GET@", GET_S3).replace("@SHA256@", sha256);
            script.replace("@REGION@", &config.region).replace("@URL@", &url)
        }
    };
    for line in common.lines().chain(body.lines()).filter(|line| is_code(line)) {
        script.push_str(line.trim_start());
        script.push('\n');
    }
    script
}

/// Comments and indents stay in the source: user data is small.
fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// When the timer of the script powers the host off, in the words of `date`. Poll from there the
/// launch is now: it was less than a minute ago. The agent sets it to the second later.
fn power_off_at(config: &NodeConfig) -> String {
    match config.end {
        End::AfterLaunchSecs(secs) => {
            format!("+{}sec", i64::from(secs) + POWER_OFF_GRACE.as_secs())
        }
        End::At(end) => format!("@{}", end.as_second() + POWER_OFF_GRACE.as_secs()),
    }
}

/// The same user data with other settings for the agent; none where the text has none to replace.
#[must_use]
pub(crate) fn with_node_config(text: &str, config: &NodeConfig) -> Option<String> {
    let begin = text.find(node_contract::user_data::BEGIN)?;
    let end = begin
        + text.get(begin..)?.find(node_contract::user_data::END)?
        + node_contract::user_data::END.len();
    let settings = node_contract::user_data::embed(config);
    Some(format!("{}{}{}", text.get(..begin)?, settings.trim_end(), text.get(end..)?))
}

/// Everything as a MIME message.
#[must_use]
pub(crate) fn mime(script: &str, extra: Option<&str>) -> String {
    let mut message =
        format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\n\n");
    for text in std::iter::once(script).chain(extra) {
        let kind = cloud_init_type(text).unwrap_or("text/x-shellscript");
        message.push_str(&format!(
            "--{BOUNDARY}\nContent-Type: {kind}; charset=\"utf-8\"\n\n{}\n",
            text.trim_end()
        ));
    }
    message.push_str(&format!("--{BOUNDARY}--\n"));
    message
}

/// The user data as it is sent, before base64: the script, or a MIME message where the user has
/// some too.
///
/// # Errors
/// [`Error::usage`] when it is over EC2's 16 KiB.
pub(crate) fn whole(settings: &Settings, block: BlockIdentity<'_>) -> Result<String> {
    let script = script(&node_config(settings, block)?, &settings.agent.from, block.dns_suffix);
    let text = match &settings.agent.extra_user_data {
        None => script,
        Some(extra) => mime(&script, Some(extra)),
    };
    let (size, limit) = (text.len(), node_contract::user_data::MAX_BYTES);
    if size > limit {
        return Err(Error::usage(
            format!("the user data has {size} bytes, and EC2 takes {limit}"),
            "make the file of [agent] extra-user-data smaller: let it fetch what it needs",
        ));
    }
    Ok(text)
}

/// Renders with names as long as they get, to find what can't work before any call is made.
///
/// # Errors
/// As [`whole`].
pub(crate) fn preview(settings: &Settings) -> Result<()> {
    let cluster = "c".repeat(400);
    let block = BlockIdentity {
        id: "sb-0123456789",
        region: "ap-northeast-1",
        dns_suffix: "amazonaws.com",
        cluster: &cluster,
        source: Source::SpotBlock,
    };
    whole(settings, block).map(|_| ())
}

/// What a source launches of a record's launch template of this name.
///
/// # Errors
/// When the template holds no user data of spotblock's.
pub(crate) fn launch_for_source(
    launch: &LaunchData,
    source: Source,
    spec: &BlockSpec,
    name: &str,
) -> Result<LaunchData> {
    let spoiled = || {
        Error::state(
            format!("launch template {name} holds no user data of spotblock's"),
            "end the block with `spotblock down`",
        )
    };
    let bytes = BASE64_STANDARD.decode(&launch.user_data).map_err(|_| spoiled())?;
    let text = String::from_utf8(bytes).map_err(|_| spoiled())?;
    let mut config = node_contract::user_data::extract(&text).map_err(|_| spoiled())?;
    source::rules(source).configure(&mut config, spec);
    let text = with_node_config(&text, &config).ok_or_else(spoiled)?;
    Ok(LaunchData { user_data: BASE64_STANDARD.encode(text), ..launch.clone() })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::settings;

    const FETCHED: AgentFrom = AgentFrom::Url { url: String::new(), sha256: String::new() };

    fn block() -> BlockIdentity<'static> {
        let cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/spot-block-test_Batch_1f2c";
        BlockIdentity {
            id: "sb-0123456789",
            region: "us-east-1",
            dns_suffix: "amazonaws.com",
            cluster,
            source: Source::SpotBlock,
        }
    }

    fn script(config: &NodeConfig, from: &AgentFrom) -> String {
        super::script(config, from, "amazonaws.com")
    }

    #[test]
    fn the_agent_reads_back_what_was_rendered() {
        let settings = settings("");
        let config = node_config(&settings, block()).expect("settings");
        assert_eq!(config.end, End::AfterLaunchSecs(3600));
        assert_eq!((config.drain_lead_secs, config.stop_lead_secs), (900, 300));
        for text in [
            script(&config, &AgentFrom::Ami),
            script(&config, &FETCHED),
            mime(&script(&config, &AgentFrom::Ami), Some("#cloud-config\npackages: [htop]\n")),
        ] {
            assert_eq!(
                node_contract::user_data::extract(&text).expect("the agent reads it"),
                config
            );
        }
    }

    /// Catches: a source whose instances are told that they came from another, and a script damaged
    /// on the way.
    #[test]
    fn another_source_changes_the_settings_and_nothing_else() {
        let mut settings = settings("");
        settings.agent.extra_user_data = Some("#cloud-config\npackages: [htop]\n".to_owned());
        let text = whole(&settings, block()).expect("user data");
        let mut config = node_config(&settings, block()).expect("settings");
        assert_eq!(
            with_node_config(&text, &config).as_deref(),
            Some(text.as_str()),
            "the same settings change nothing"
        );
        config.source = Source::OnDemand;
        let other = with_node_config(&text, &config).expect("settings to replace");
        assert_eq!(other, text.replace("\"spot-block\"", "\"on-demand\""));
        assert!(with_node_config("#!/bin/sh\n", &config).is_none());
    }

    /// Catches: a key of spotblock.toml that is read and then forgotten on its way to the agent.
    #[test]
    fn what_an_agent_can_do_without_travels_only_when_it_is_asked_for() {
        let plain = node_config(&settings(""), block()).expect("settings");
        assert_eq!(plain.options, node_contract::Options::default());
        let asked = settings("release-when-idle = \"10m\"\n[agent]\ndrain-lead = \"auto\"");
        let config = node_config(&asked, block()).expect("settings");
        assert_eq!(config.options.release_when_idle_secs, Some(600));
        assert_eq!(config.options.longest_timeout_secs, Some(0), "no job has a timeout");
        assert_eq!(
            config.drain_lead_secs, plain.drain_lead_secs,
            "what holds until the instance has seen longer jobs"
        );
    }

    /// Catches: a change of the user data that nobody meant. `spotblock user-data` with this
    /// cluster and --block writes it anew.
    #[test]
    fn the_baked_user_data_is_the_fixture() {
        let text = whole(&settings(""), block()).expect("user data");
        assert_eq!(text, include_str!("../../fixtures/user-data-baked.sh"));
    }

    #[test]
    fn mime_parts_are_of_types_that_cloud_init_knows() {
        let message = mime("#!/bin/sh\ntrue\n", Some("#cloud-config\n{}\n"));
        let expected = "MIME-Version: 1.0\nContent-Type: multipart/mixed; \
                        boundary=\"spotblock-user-data-part\"\n\n--spotblock-user-data-part\nContent-Type: \
                        text/x-shellscript; \
                        charset=\"utf-8\"\n\n#!/bin/sh\ntrue\n--spotblock-user-data-part\nContent-Type: \
                        text/cloud-config; \
                        charset=\"utf-8\"\n\n#cloud-config\n{}\n--spotblock-user-data-part--\n";
        assert_eq!(message, expected);
        assert_eq!(cloud_init_type("plain text"), None);
    }

    #[test]
    fn user_data_over_16_kib_is_refused() {
        let mut settings = settings("");
        settings.agent.extra_user_data = Some(format!("#!/bin/sh\n#{}\n", "x".repeat(16 * 1024)));
        let error = whole(&settings, block()).expect_err("too long");
        assert!(error.to_string().contains("EC2 takes 16384"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    fn fetched() -> AgentFrom {
        let url =
            "https://artifacts.example.org/spotblock/spotblock-agent-0.1.0-x86_64.tar.gz?b=c&d"
                .into();
        AgentFrom::Url { url, sha256: "0".repeat(64) }
    }

    fn from_s3(endpoint: Option<&str>) -> AgentFrom {
        let object = "artifacts/spotblock/spotblock-agent-0.1.0-x86_64.tar.gz".to_owned();
        AgentFrom::S3 { object, endpoint: endpoint.map(str::to_owned), sha256: "0".repeat(64) }
    }

    #[test]
    fn s3_is_asked_in_the_blocks_region_or_at_the_endpoint() {
        let mut config = node_config(&settings(""), block()).expect("settings");
        let object = "artifacts/spotblock/spotblock-agent-0.1.0-x86_64.tar.gz";
        let text = script(&config, &from_s3(None));
        assert!(
            text.contains(&format!("u='https://s3.us-east-1.amazonaws.com/{object}'")),
            "{text}"
        );
        assert!(text.contains("--aws-sigv4 aws:amz:us-east-1:s3"), "{text}");
        config.region = "cn-north-1".into();
        let text = super::script(&config, &from_s3(None), "amazonaws.com.cn");
        assert!(text.contains("u='https://s3.cn-north-1.amazonaws.com.cn/"), "{text}");
        let text = script(&config, &from_s3(Some("http://minio.example.org:9000/")));
        assert!(text.contains(&format!("u='http://minio.example.org:9000/{object}'")), "{text}");
    }

    /// Catches: a script that a shell can't read at all, or that works by luck. shellcheck looks
    /// where it is.
    #[test]
    fn all_scripts_are_clean_posix_shell() {
        let config = node_config(&settings(""), block()).expect("settings");
        for text in [AgentFrom::Ami, fetched(), from_s3(None)].map(|from| script(&config, &from)) {
            assert!(!text.contains('@'), "a place was left open: {text}");
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &text).expect("written");
            for checker in [&["sh", "-n"][..], &["shellcheck", "--shell=sh"]] {
                match Command::new(checker[0]).args(&checker[1..]).arg(file.path()).output() {
                    Ok(output) => assert!(
                        output.status.success(),
                        "{}",
                        String::from_utf8_lossy(&output.stdout)
                    ),
                    Err(error) => assert_eq!(checker[0], "shellcheck", "{error}"),
                }
            }
        }
    }

    /// EC2 takes 16 KiB, and what the user merges in needs room too.
    #[test]
    fn a_fetched_agents_user_data_is_under_2_kib() {
        let config = node_config(&settings(""), block()).expect("settings");
        for from in [fetched(), from_s3(None)] {
            let text = script(&config, &from);
            assert!(text.len() < 2048, "{} bytes: {text}", text.len());
        }
    }

    /// Catches: an empty unit, as a full disk leaves it, that is taken for a timer; and one of the
    /// agent's that is written over.
    #[test]
    fn the_script_arms_a_timer_where_there_is_none_or_an_empty_one() {
        let config = node_config(&settings(""), block()).expect("settings");
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        let units = format!("t={}", place("unit").display());
        let text = script(&config, &AgentFrom::Ami)
            .replace("t=/etc/systemd/system/spotblock-poweroff", &units);
        assert!(text.contains(&units), "{text}");
        std::fs::write(place("script"), text).expect("written");
        // It succeeds at everything, and tells what it was asked for.
        let asked = place("asked");
        std::fs::write(
            place("systemctl"),
            format!("#!/bin/sh\necho \"$*\" >>{}\n", asked.display()),
        )
        .expect("written");
        std::fs::set_permissions(
            place("systemctl"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .expect("mode");
        let run = |timer: &str| {
            std::fs::write(place("unit.timer"), timer).expect("written");
            std::fs::write(&asked, "").expect("written");
            let path = format!("{}:/usr/bin:/bin", folder.path().display());
            let ran = Command::new("sh")
                .arg(place("script"))
                .env("PATH", path)
                .status()
                .expect("a shell");
            assert!(ran.success(), "{ran}");
            let read = |file: &std::path::Path| std::fs::read_to_string(file).expect("read");
            (
                read(&place("unit.timer")),
                read(&asked).contains("enable --now --no-block spotblock-poweroff.timer"),
            )
        };
        let (timer, armed) = run("");
        assert!(timer.contains("OnCalendar=20") && armed, "{timer}");
        assert_eq!(run("the agent's\n"), ("the agent's\n".to_owned(), false));
    }

    #[test]
    fn the_scripts_timer_goes_off_after_the_end() {
        let mut config = node_config(&settings(""), block()).expect("settings");
        assert!(script(&config, &AgentFrom::Ami).contains("date -ud '+3720sec'"));
        config.end = End::At("2026-11-24T11:00:00Z".parse().expect("a time"));
        assert!(script(&config, &AgentFrom::Ami).contains("date -ud '@1795518120'"));
    }
}
