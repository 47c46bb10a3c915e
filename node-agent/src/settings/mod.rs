//! The host's settings: defaults, then `agent.toml`, then the environment; validated once, here.
//! The block's settings are [`NodeConfig`] and come from user data, unless this file says
//! otherwise.

pub mod args;
mod lenient;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use node_contract::{ConfigError, NodeConfig, names};
use serde::Deserialize;

use crate::ports::error_chain;
use args::RunArgs;

/// The longest settle time: beyond it an idle instance would be paid for nothing.
const MAX_IDLE_SETTLE: SignedDuration = SignedDuration::from_mins(5);

/// The bounds of `power-off-grace` and `hook-limit`, in seconds.
const LENGTHS: (i64, i64) = (1, 300);

/// The bounds of `warn-lead` and `max-life`, in seconds: a capacity block lasts half a year at
/// most.
const LIVES: (i64, i64) = (1, 190 * 86_400);

/// The ECS agent labels every container it starts for a task; its own container has no such label.
/// `docker stop` sends the image's stop signal to all of them at once.
const STOP_CONTAINERS: &str = "ids=$(docker ps --quiet --filter \
                               label=com.amazonaws.ecs.task-arn) || exit; [ -z \"$ids\" ] || \
                               docker stop --time \"$1\" $ids";

/// What systemd knows of the ECS agent's unit.
const SHOW_ECS: [&str; 4] = ["systemctl", "show", "--property=ActiveState,ExecMainStatus", "ecs"];

/// The host's settings, valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder below which etc/ and var/ are found.
    pub(crate) root: PathBuf,
    /// Where the ECS agent's introspection listens, without a slash at the end.
    pub(crate) introspection_url: String,
    /// How the ECS agent is started and stopped and the host powered off.
    pub(crate) commands: Commands,
    /// How long each way to power off has before the next, harder one.
    pub(crate) power_off_grace: SignedDuration,
    /// How long a hook may run.
    pub(crate) hook_limit: SignedDuration,
    /// How long before they are stopped tasks are warned, if at all.
    pub(crate) warn_lead: Option<SignedDuration>,
    /// How long the instance lives at most after its launch, whatever the block says.
    pub(crate) max_life: Option<SignedDuration>,
    /// Where metrics are given out, if anywhere.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// How the log is written.
    pub log: LogFormat,
    /// Whether the log tells what the watchers see.
    pub verbose: bool,
    /// How long nothing must have run before the instance counts as idle.
    pub(crate) idle_settle: SignedDuration,
    /// The block's settings, if they don't come from user data.
    pub(crate) block: Option<NodeConfig>,
    /// Where IMDS listens, if not at its usual address.
    pub(crate) imds_endpoint: Option<String>,
    /// Where ECS listens, if not at AWS.
    pub(crate) ecs_endpoint: Option<String>,
    /// What is wrong in the file, in words. The defaults hold in its place.
    pub wrong: Vec<String>,
}

/// Commands, each a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Commands {
    /// Asks for the ECS agent to be started; must not wait for it, since its unit waits for
    /// cloud-init's end.
    pub(crate) start_ecs: Vec<String>,
    /// Stops the ECS agent.
    pub(crate) stop_ecs: Vec<String>,
    /// Stops the containers of ECS's tasks without ECS; gets the seconds between SIGTERM and
    /// SIGKILL as its last argument, and returns when they have stopped. Left out, it is docker's
    /// where the root folder is `/`, and nothing elsewhere: below another one the host's own
    /// containers are none of the agent's business.
    pub(crate) stop_containers: Option<Vec<String>>,
    /// Prints what systemd knows of the ECS agent's unit: `ActiveState=...` and
    /// `ExecMainStatus=...`, a line each. Left out, it is systemctl's where the root folder is `/`,
    /// and nothing elsewhere.
    pub(crate) show_ecs: Option<Vec<String>>,
    /// Powers the host off.
    pub(crate) power_off: Vec<String>,
    /// Further ways to power off, each harder than the one before, if the host lives on. Left out,
    /// they are systemctl's where `power_off` is, and none where it isn't.
    pub(crate) power_off_harder: Option<Vec<Vec<String>>>,
    /// Has systemd take up the power-off timer's units. Left out, it is systemctl where the root
    /// folder is `/`; below another one the host's own systemd has no business with them.
    pub(crate) arm_timer: Option<Vec<String>>,
    /// What a hook's program is given to as arguments, so that it runs outside the agent's sandbox.
    /// Left out, it is `systemd-run` where the root folder is `/`, and nothing elsewhere.
    pub(crate) run_hook: Option<Vec<String>>,
}

impl Commands {
    /// Fills in what was left out.
    fn for_root(mut self, root: &Path, hook_limit: SignedDuration) -> Self {
        let command = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        let is_host = root == Path::new("/");
        let is_usual = is_host && self.power_off == Self::default().power_off;
        let harder = self.power_off_harder.take().unwrap_or_else(|| match is_usual {
            // By way of PID 1 alone, then by the kernel alone, then without even waiting for the
            // disks.
            true => vec![
                command(&["systemctl", "poweroff", "--force"]),
                command(&["systemctl", "poweroff", "--force", "--force"]),
                command(&["sh", "-c", "echo o >/proc/sysrq-trigger"]),
            ],
            false => Vec::new(),
        });
        let on_host = |words: &[&str]| if is_host { command(words) } else { Vec::new() };
        let arm = format!(
            "systemctl daemon-reload && systemctl --no-block start {}",
            names::unit::POWER_OFF_TIMER
        );
        let limit = format!("--property=RuntimeMaxSec={}", hook_limit.as_secs());
        let outside = [
            "systemd-run",
            "--quiet",
            "--collect",
            "--wait",
            "--pipe",
            "--service-type=exec",
            &limit,
        ];
        self.power_off_harder = Some(harder);
        self.stop_containers.get_or_insert_with(|| on_host(&["sh", "-c", STOP_CONTAINERS, "sh"]));
        self.show_ecs.get_or_insert_with(|| on_host(&SHOW_ECS));
        self.arm_timer.get_or_insert_with(|| on_host(&["sh", "-c", &arm]));
        self.run_hook.get_or_insert_with(|| on_host(&outside));
        self
    }

    /// All ways to power off, from the gentlest on.
    #[must_use]
    pub(crate) fn power_off_commands(&self) -> Vec<Vec<String>> {
        let harder = self.power_off_harder.iter().flatten();
        std::iter::once(&self.power_off).chain(harder).cloned().collect()
    }
}

impl Default for Commands {
    fn default() -> Self {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            // A blocking start from within the boot deadlocks (amazon-ecs-agent#1707).
            start_ecs: command(&["systemctl", "--no-block", "start", "ecs"]),
            stop_ecs: command(&["systemctl", "stop", "ecs"]),
            stop_containers: None,
            show_ecs: None,
            power_off: command(&["systemctl", "poweroff"]),
            power_off_harder: None,
            arm_timer: None,
            run_hook: None,
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines that people read.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The path of the settings file.
        path: PathBuf,
        /// Why it can't be read.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, or its value of the wrong type.
    #[error("{}: {key}: {problem}", path.display())]
    Syntax {
        /// The path of the settings file.
        path: PathBuf,
        /// The key in the settings file.
        key: String,
        /// What is wrong with its value, in words.
        problem: String,
    },
    /// Some of it is wrong, in a file of which nothing is passed over.
    #[error("{0}")]
    Wrong(String),
    /// A value breaks a rule.
    #[error("{}: {key} {problem}", path.display())]
    Rule {
        /// The path of the settings file.
        path: PathBuf,
        /// The key in the settings file.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The block's settings are refused.
    #[error("{}: the block's settings", path.display())]
    Block {
        /// The path of the settings file.
        path: PathBuf,
        /// Which rule of the block's settings is broken.
        #[source]
        source: ConfigError,
    },
    /// IMDS is switched off, and nothing says where else to ask.
    #[error(
        "AWS_EC2_METADATA_DISABLED is set: the agent can do nothing without the instance \
         metadata service; unset it, or name the service with AWS_EC2_METADATA_SERVICE_ENDPOINT"
    )]
    MetadataDisabled,
}

/// `agent.toml`, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct RawSettings {
    introspection_url: Option<String>,
    commands: Commands,
    log: LogFormat,
    idle_settle: Option<String>,
    power_off_grace: Option<String>,
    hook_limit: Option<String>,
    warn_lead: Option<String>,
    max_life: Option<String>,
    metrics_listen: Option<String>,
    node_config: Option<PathBuf>,
    block: Option<serde_json::Value>,
}

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub(crate) imds_endpoint: Option<String>,
    /// Whether `AWS_EC2_METADATA_DISABLED` is `true`.
    pub(crate) imds_disabled: bool,
    /// `AWS_ENDPOINT_URL_ECS`, or else `AWS_ENDPOINT_URL`.
    pub(crate) ecs_endpoint: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place where the environment is read"
        )]
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            imds_endpoint: var("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            imds_disabled: var("AWS_EC2_METADATA_DISABLED")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            ecs_endpoint: var("AWS_ENDPOINT_URL_ECS").or_else(|| var("AWS_ENDPOINT_URL")),
        }
    }
}

impl Settings {
    /// Puts the settings together and validates them. What is wrong in the host's own file is
    /// passed over, and told in [`Settings::wrong`]. Below another root folder than `/`, or in a
    /// file that was asked for by name, it is refused: there the defaults would start services and
    /// power off a machine that is none of the agent's business.
    ///
    /// # Errors
    /// [`SettingsError`] names the file and the key. A settings file that was not asked for may be
    /// missing.
    pub fn load(args: &RunArgs, environment: Environment) -> Result<Self, SettingsError> {
        if environment.imds_disabled && environment.imds_endpoint.is_none() {
            return Err(SettingsError::MetadataDisabled);
        }
        let path =
            args.settings.clone().unwrap_or_else(|| args.root.join(names::path::AGENT_SETTINGS));
        Self::read(std::fs::read_to_string(&path), &path, args, environment)
    }

    fn read(
        text: std::io::Result<String>,
        path: &Path,
        args: &RunArgs,
        environment: Environment,
    ) -> Result<Self, SettingsError> {
        let is_hosts_own = args.settings.is_none() && args.root == Path::new("/");
        let settings = match text {
            Ok(text) => lenient::settings(&text, path, args, &environment)?,
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && args.settings.is_none() =>
            {
                validate(RawSettings::default(), path, args, environment)?
            }
            Err(source) => {
                let error = SettingsError::Read { path: path.to_owned(), source };
                if !is_hosts_own {
                    return Err(error);
                }
                let wrong = vec![error_chain(&error)];
                Self { wrong, ..validate(RawSettings::default(), path, args, environment)? }
            }
        };
        if settings.wrong.is_empty() || is_hosts_own {
            Ok(settings)
        } else {
            Err(SettingsError::Wrong(settings.wrong.join("; ")))
        }
    }
}

fn validate(
    raw: RawSettings,
    path: &Path,
    args: &RunArgs,
    environment: Environment,
) -> Result<Settings, SettingsError> {
    let rule = |key, problem: String| SettingsError::Rule { path: path.to_owned(), key, problem };
    for (key, command) in [
        ("commands.start-ecs", &raw.commands.start_ecs),
        ("commands.stop-ecs", &raw.commands.stop_ecs),
        ("commands.power-off", &raw.commands.power_off),
    ] {
        if command.first().is_none_or(String::is_empty) {
            return Err(rule(key, "names no program".to_owned()));
        }
    }
    let harder = raw.commands.power_off_harder.as_deref().unwrap_or_default();
    if harder.iter().any(|command| command.first().is_none_or(String::is_empty)) {
        return Err(rule(
            "commands.power-off-harder",
            "has a command that names no program".to_owned(),
        ));
    }
    let length = |key, text: Option<String>, default| match text {
        None => Ok(SignedDuration::from_secs(default)),
        Some(text) => length_within(&text, LENGTHS).map_err(|problem| rule(key, problem)),
    };
    let power_off_grace = length("power-off-grace", raw.power_off_grace, 30)?;
    let hook_limit = length("hook-limit", raw.hook_limit, 30)?;
    let optional = |key, text: Option<String>| {
        text.map(|text| length_within(&text, LIVES).map_err(|problem| rule(key, problem)))
            .transpose()
    };
    let warn_lead = optional("warn-lead", raw.warn_lead)?;
    let max_life = optional("max-life", raw.max_life)?;
    let metrics_listen = match raw.metrics_listen.as_deref().map(str::parse) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => {
            return Err(rule(
                "metrics-listen",
                "is not of the form \"ADDRESS:PORT\", such as \"127.0.0.1:9464\"".to_owned(),
            ));
        }
    };
    let introspection_url = match raw.introspection_url {
        None => "http://localhost:51678".to_owned(),
        Some(url) => http_url(&url).map_err(|problem| rule("introspection-url", problem))?,
    };
    let idle_settle = match raw.idle_settle {
        None => SignedDuration::from_secs(6),
        Some(text) => idle_settle(&text).map_err(|problem| rule("idle-settle", problem))?,
    };
    let block = match (raw.block, raw.node_config) {
        (Some(_), Some(_)) => {
            return Err(rule("node-config", "can't be given beside [block]".to_owned()));
        }
        (Some(block), None) => Some(block_of(path, &block.to_string())?),
        (None, Some(file)) => {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let json = std::fs::read_to_string(&file)
                .map_err(|source| SettingsError::Read { path: file.clone(), source })?;
            Some(block_of(&file, &json)?)
        }
        (None, None) => None,
    };
    Ok(Settings {
        root: args.root.clone(),
        introspection_url,
        commands: raw.commands.for_root(&args.root, hook_limit),
        power_off_grace,
        hook_limit,
        warn_lead,
        max_life,
        metrics_listen,
        log: raw.log,
        verbose: args.verbose,
        idle_settle,
        block,
        imds_endpoint: environment.imds_endpoint,
        ecs_endpoint: environment.ecs_endpoint,
        wrong: Vec::new(),
    })
}

fn block_of(path: &Path, json: &str) -> Result<NodeConfig, SettingsError> {
    NodeConfig::from_json(json)
        .map_err(|source| SettingsError::Block { path: path.to_owned(), source })
}

/// The URL without a slash at its end. The ECS agent speaks plain HTTP.
fn http_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if url.scheme() != "http" || url.query().is_some() {
        return Err(format!("{text:?} is not of the form http://HOST:PORT"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// A length of time within these bounds.
fn length_within(text: &str, (least, most): (i64, i64)) -> Result<SignedDuration, String> {
    let length: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is no length of time, such as \"30s\" or \"1m 30s\""))?;
    if (least..=most).contains(&length.as_secs()) {
        Ok(length)
    } else {
        Err(format!("{text:?} is not between {least} and {most} seconds"))
    }
}

fn idle_settle(text: &str) -> Result<SignedDuration, String> {
    let settle: SignedDuration = text
        .parse()
        .map_err(|_| format!("{text:?} is no length of time, such as \"6s\" or \"1m 30s\""))?;
    if settle < SignedDuration::ZERO || settle > MAX_IDLE_SETTLE {
        return Err(format!("{text:?} is not between 0 and 5 minutes"));
    }
    Ok(settle)
}

#[cfg(test)]
mod tests;
