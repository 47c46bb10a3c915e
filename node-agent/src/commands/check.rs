//! `spotblock-agent check`: whether the host has what the agent needs: a verdict for each thing,
//! none of which changes anything.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use nix::unistd::{AccessFlags, access};
use node_contract::{NodeConfig, Timeline, names};
use serde::Serialize;
use tokio::process::Command;

use crate::adapters;
use crate::adapters::state_file::StateFile;
use crate::adapters::timer;
use crate::boot::setup::{self, StartError};
use crate::boot::user_data::settings_in;
use crate::clock::BootClock;
use crate::ports::{
    AnchorSource, Clock, Cluster, EcsAgent, Identity, Metadata, Saved, StateStore as _, StoreError,
    error_chain,
};
use crate::settings::Settings;
use crate::status::socket;

/// How long one thing may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A wall clock that is off by more is worth a word.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// As it has to be.
    Ok,
    /// The agent can live with it.
    Warn,
    /// The agent can't do its work, or not as it was told to.
    Fail,
    /// Not looked at.
    Skipped,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The thing.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) verdict: Verdict,
    /// What that rests on.
    pub(crate) says: String,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Whether nothing failed.
    #[must_use]
    pub fn pass(&self) -> bool {
        self.0.iter().all(|finding| finding.verdict != Verdict::Fail)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { name, verdict, says } in &self.0 {
            let word = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::Skipped => "skipped",
            };
            writeln!(f, "{word:<8} {name:<14} {says}")?;
        }
        Ok(())
    }
}

/// Looks at everything; `offline` leaves out what needs an instance and its network.
///
/// # Errors
/// An adapter can't be set up.
pub async fn check(settings: &Settings, offline: bool) -> Result<Findings, StartError> {
    let http = adapters::http_client();
    let clock = Arc::new(BootClock::new());
    let imds = setup::imds(settings, &clock)?;
    let introspection = setup::introspection(settings)?;

    let mut findings = vec![settings_file(settings)];
    findings.extend(files(settings));
    findings.extend(ecs_unit(settings).await);
    findings.push(docker(settings));
    findings.push(agent(settings));
    let saved = StateFile::new(settings.root.join(names::path::STATE)).load().await;
    if offline {
        findings.push(state(
            saved.as_ref().ok().and_then(Option::as_ref),
            saved.as_ref().err(),
            None,
        ));
        return Ok(Findings(findings));
    }
    let (identity, config, found) = block(settings, imds.as_ref()).await;
    findings.extend(found);
    findings.push(clock_of(&clock));
    findings.push(state(
        saved.as_ref().ok().and_then(Option::as_ref),
        saved.as_ref().err(),
        identity.as_ref(),
    ));
    findings.push(power_off_timer(settings, saved.ok().flatten().as_ref(), clock.as_ref()));
    findings.push(match identity.zip(config) {
        Some((identity, config)) => {
            let cluster = setup::ecs(settings, http, &imds, &clock, &config, &identity);
            permissions(&introspection, &cluster).await
        }
        None => finding(
            "permissions",
            Verdict::Skipped,
            "without an identity and a block nothing can be asked",
        ),
    });
    Ok(Findings(findings))
}

fn finding(name: &'static str, verdict: Verdict, says: impl Into<String>) -> Finding {
    Finding { name, verdict, says: says.into() }
}

/// What was said in agent.toml holds. Where it doesn't the agent goes on by its defaults; but
/// somebody wanted something else.
fn settings_file(settings: &Settings) -> Finding {
    match settings.wrong.is_empty() {
        true => finding("settings", Verdict::Ok, "nothing wrong in agent.toml"),
        false => finding(
            "settings",
            Verdict::Fail,
            format!("wrong, defaults hold: {}", settings.wrong.join("; ")),
        ),
    }
}

/// Folders that the agent writes in.
fn files(settings: &Settings) -> Vec<Finding> {
    let folder_of = |path: &str| {
        Path::new(path).parent().map_or_else(|| settings.root.clone(), |p| settings.root.join(p))
    };
    let one = |name, folder: &Path, missing: Verdict| match access(folder, AccessFlags::W_OK) {
        Ok(()) => finding(name, Verdict::Ok, format!("{} can be written", folder.display())),
        Err(nix::errno::Errno::ENOENT) => {
            finding(name, missing, format!("{} isn't there", folder.display()))
        }
        Err(error) => finding(
            name,
            Verdict::Fail,
            format!("{} can't be written: {}", folder.display(), error.desc()),
        ),
    };
    vec![
        // The ECS agent's package makes this one; the agent makes the other if it is missing.
        one("ecs-config", &folder_of(names::path::ECS_CONFIG), Verdict::Fail),
        one("state-folder", &folder_of(names::path::STATE), Verdict::Warn),
    ]
}

/// The ECS agent's unit: there, and not started by anybody else before ecs.config is written.
async fn ecs_unit(settings: &Settings) -> Vec<Finding> {
    if settings.root != Path::new("/") {
        return vec![finding("ecs-unit", Verdict::Skipped, "the root folder isn't this host's")];
    }
    let there = match systemctl(&["cat", "ecs.service"]).await {
        Ok((true, _)) => finding("ecs-unit", Verdict::Ok, "ecs.service is there"),
        Ok((false, _)) => finding(
            "ecs-unit",
            Verdict::Fail,
            "there is no ecs.service: the ECS agent isn't installed",
        ),
        Err(error) => finding("ecs-unit", Verdict::Fail, format!("systemctl: {error}")),
    };
    let enabled = match systemctl(&["is-enabled", "ecs.service"]).await {
        Ok((_, said)) if said.starts_with("enabled") => finding(
            "ecs-enabled",
            Verdict::Warn,
            "ecs.service is enabled: it may start before ecs.config is written; disable it, the \
             agent starts it",
        ),
        Ok((_, said)) => finding(
            "ecs-enabled",
            Verdict::Ok,
            format!("ecs.service is {said}: the agent starts it"),
        ),
        Err(error) => finding("ecs-enabled", Verdict::Warn, format!("systemctl: {error}")),
    };
    vec![there, enabled]
}

async fn systemctl(arguments: &[&str]) -> Result<(bool, String), String> {
    let output = Command::new("systemctl").args(arguments).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(PATIENCE, output).await.map_err(|_| "took too long".to_owned())?;
    let output = output.map_err(|error| error.to_string())?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// Docker answers on its socket.
fn docker(settings: &Settings) -> Finding {
    let socket = settings.root.join("run/docker.sock");
    let ping = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
        let mut answer = [0; 256];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned())
    };
    match ping() {
        Ok(line) if line.contains(" 200 ") => finding("docker", Verdict::Ok, "Docker answers"),
        Ok(line) => finding("docker", Verdict::Fail, format!("Docker answers {line:?}")),
        Err(error)
            if settings.root != Path::new("/") && error.kind() == std::io::ErrorKind::NotFound =>
        {
            finding("docker", Verdict::Skipped, "there is no Docker socket below the root folder")
        }
        Err(error) => finding("docker", Verdict::Fail, format!("{}: {error}", socket.display())),
    }
}

/// The agent that runs.
fn agent(settings: &Settings) -> Finding {
    match socket::ask(&settings.root.join(names::path::SOCKET)) {
        Ok(report) => finding("agent", Verdict::Ok, report.text),
        Err(error) => finding("agent", Verdict::Warn, format!("no agent answers: {error}")),
    }
}

/// Who the instance is and what its block is.
async fn block(
    settings: &Settings,
    metadata: &dyn Metadata,
) -> (Option<Identity>, Option<NodeConfig>, Vec<Finding>) {
    let identity = tokio::time::timeout(PATIENCE, metadata.identity()).await;
    let (identity, imds) = match identity {
        Ok(Ok(identity)) => {
            let life = if identity.is_spot { "spot" } else { "not spot" };
            let says = format!(
                "{} in {}, launched {}, {life}",
                identity.instance, identity.region, identity.launched
            );
            (Some(identity), finding("imds", Verdict::Ok, says))
        }
        Ok(Err(error)) => (None, finding("imds", Verdict::Fail, error.to_string())),
        Err(_) => (None, finding("imds", Verdict::Fail, "no answer")),
    };
    let config = match &settings.block {
        Some(given) => Ok(given.clone()),
        None => match tokio::time::timeout(PATIENCE, metadata.user_data()).await {
            Ok(Ok(Some(text))) => settings_in(&text).map_err(|error| error_chain(&error)),
            Ok(Ok(None)) => Err("the instance has no user data".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        },
    };
    let block = match (&config, &identity) {
        (Ok(config), Some(identity)) => {
            let end = Timeline::new(config, identity.launched).end;
            finding(
                "block",
                Verdict::Ok,
                format!("{} in cluster {}, until {end}", config.block, config.cluster),
            )
        }
        (Ok(config), None) => finding("block", Verdict::Ok, config.block.clone()),
        (Err(problem), _) => finding("block", Verdict::Fail, problem.clone()),
    };
    (identity, config.ok(), vec![imds, block])
}

/// The wall clock against AWS's.
fn clock_of(clock: &BootClock) -> Finding {
    let anchor = clock.anchor();
    let skew = clock.skew();
    match anchor.source {
        AnchorSource::WallClock => {
            finding("clock", Verdict::Warn, "IMDS sent no date to hold the wall clock against")
        }
        AnchorSource::Date if skew.abs() > SKEW => finding(
            "clock",
            Verdict::Warn,
            format!("the wall clock is off by {} s", skew.as_secs()),
        ),
        AnchorSource::Date => {
            finding("clock", Verdict::Ok, "the wall clock agrees with AWS's date")
        }
    }
}

/// The saved state: of this instance, and readable.
fn state(
    saved: Option<&Saved>,
    error: Option<&StoreError>,
    identity: Option<&Identity>,
) -> Finding {
    match (saved, error) {
        (_, Some(error)) => {
            finding("state", Verdict::Warn, format!("not readable, and not used then: {error}"))
        }
        (None, None) => finding("state", Verdict::Ok, "none yet"),
        (Some(saved), _)
            if identity.is_some_and(|identity| identity.instance != saved.identity.instance) =>
        {
            finding(
                "state",
                Verdict::Warn,
                format!(
                    "stale, of instance {}, and not used: was this image made of a host in a \
                     block?",
                    saved.identity.instance
                ),
            )
        }
        (Some(saved), _) => {
            let (state, block) = (&saved.state, &saved.config.block);
            finding(
                "state",
                Verdict::Ok,
                format!("block {block}, {} since {}", state.phase.word(), state.since),
            )
        }
    }
}

/// The power-off timer on disk, at the moment that the state asks for.
fn power_off_timer(settings: &Settings, saved: Option<&Saved>, clock: &dyn Clock) -> Finding {
    let path = settings.root.join(names::path::UNITS).join(names::unit::POWER_OFF_TIMER);
    let unit = std::fs::read_to_string(&path);
    let Some(saved) = saved else {
        return finding(
            "timer",
            Verdict::Skipped,
            "without a block there is nothing to power off for",
        );
    };
    match unit.as_deref().ok().and_then(timer::moment_of) {
        None => finding(
            "timer",
            Verdict::Fail,
            format!("{} isn't there or names no moment", path.display()),
        ),
        Some(at) => {
            let wanted = timer::by_wall_clock(timer::moment(&saved.state), clock);
            let off = wanted.duration_until(at);
            // By as much as the wall clock may be off without the timer being moved.
            let verdict = if off.abs() <= SKEW * 2 { Verdict::Ok } else { Verdict::Fail };
            finding("timer", verdict, format!("powers off at {at}; the block asks for {wanted}"))
        }
    }
}

/// What ECS allows this instance's role to ask.
async fn permissions(ecs_agent: &dyn EcsAgent, cluster: &dyn Cluster) -> Finding {
    let registered = tokio::time::timeout(PATIENCE, ecs_agent.registration()).await;
    let registration = registered.ok().and_then(Result::ok).flatten();
    let asked = async {
        match &registration {
            Some(of) => cluster
                .status(of)
                .await
                .map(|status| format!("{} is {status:?} at ECS", of.instance)),
            None => cluster.find().await.map(|found| match found {
                Some(of) => format!("registered as {}", of.instance),
                None => "ECS answers; the instance isn't registered".to_owned(),
            }),
        }
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(says)) => finding("permissions", Verdict::Ok, says),
        Ok(Err(error)) => finding("permissions", Verdict::Fail, error.to_string()),
        Err(_) => finding("permissions", Verdict::Fail, "ECS doesn't answer"),
    }
}

#[cfg(test)]
mod tests;
