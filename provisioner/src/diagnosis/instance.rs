//! Why an instance takes no jobs.

use super::{Cause, Finding, Looked, Rights, Surroundings};
use crate::aws::ecs::Host;
use crate::model::instance::Instance;
use crate::model::text::human;
use crate::settings::BOOT;

/// What `user_data/common.sh` begins its lines with on the console.
const OURS: &str = "spotblock: ";
/// What it ends the line with that says why it gives up.
const GIVES_UP: &str = ": powering off";
/// What cloud-init says when a script of the user data failed `[A]`.
const SCRIPT_FAILED: [&str; 2] =
    ["Failed to run module scripts-user", "Failed to run module scripts_user"];

/// Why an instance takes no jobs; nothing, if it does.
#[must_use]
pub(crate) fn instance(facts: &Surroundings, instance: &Instance) -> Option<Finding> {
    let about = format!("instance {}", instance.id);
    let looked = facts.missing.get(&instance.id);
    let host = facts.hosts.iter().find(|host| host.instance == instance.id);
    if let (Some(host), true) = (host, instance.is_up()) {
        return of_host(&about, instance, host);
    }
    let console = looked.and_then(|it| it.console.as_deref());
    if let Some(found) = console.and_then(|text| on_console(&about, text)) {
        return Some(found);
    }
    if !instance.is_up() {
        let why = if instance.reason.is_empty() { "EC2 gives no reason" } else { &instance.reason };
        let next = "spotblock up --new, if its block should have gone on";
        return Some(Cause::InstanceGone.found(
            about,
            format!("it is {}: {why}", instance.state),
            next,
        ));
    }
    if facts.in_default.iter().any(|host| host.instance == instance.id) {
        let next = "bake the image without /etc/ecs/ecs.config and /var/lib/ecs/data \
                    (ami/check.sh), then spotblock up --new";
        return Some(Cause::WrongCluster.found(
            about,
            "it is registered in the cluster default",
            next,
        ));
    }
    looked
        .and_then(|looked| rights(&about, looked).or_else(|| network(&about, instance, looked)))
        .or_else(|| Some(silent(facts, about, instance, console)))
}

fn of_host(about: &str, instance: &Instance, host: &Host) -> Option<Finding> {
    if !host.connected {
        let evidence = format!("container instance {}, agentConnected false", host.status);
        let next = format!(
            "on the instance: spotblock-agent check, and journalctl -u ecs; from here: {}",
            log(instance)
        );
        return Some(Cause::AgentDisconnected.found(about, evidence, next));
    }
    (host.status == "DRAINING").then(|| {
        let evidence = format!("container instance DRAINING, with {} tasks", host.tasks);
        Cause::Draining.found(about, evidence, "spotblock up --new")
    })
}

fn log(instance: &Instance) -> String {
    format!("aws ec2 get-console-output --latest --instance-id {}", instance.id)
}

/// What the user data's script, or cloud-init, says for itself.
fn on_console(about: &str, text: &str) -> Option<Finding> {
    let line = |part: &str| text.lines().rev().find(|line| line.contains(part)).map(str::trim);
    let gave_up = text.lines().rev().find(|line| line.contains(OURS) && line.contains(GIVES_UP));
    if let Some(said) = gave_up {
        let said = said.find(OURS).and_then(|at| said.get(at..)).unwrap_or(said).trim();
        let evidence = format!("on its console: \"{said}\"");
        if said.contains("no spotblock-agent") {
            let next = "bake an image with it (ami/README.md), or [agent] from = { url = ... }, \
                        then spotblock up --new";
            return Some(Cause::NoAgent.found(about, evidence, next));
        }
        let next =
            "check [agent] from: the address, its SHA-256, the way there; then spotblock up --new";
        return Some(Cause::UserDataFailed.found(about, evidence, next));
    }
    let failed = SCRIPT_FAILED.iter().find_map(|part| line(part))?;
    let next = "repair the script of [agent] extra-user-data; then spotblock up --new";
    Some(Cause::UserDataFailed.found(about, format!("on its console: \"{failed}\""), next))
}

fn rights(about: &str, looked: &Looked) -> Option<Finding> {
    let apply = "spotblock env apply, then spotblock up --new";
    match looked.rights.as_ref()? {
        Rights::NoProfile(None) => {
            Some(Cause::NoProfile.found(about, "EC2 shows no instance profile for it", apply))
        }
        Rights::NoProfile(Some(name)) => Some(Cause::NoProfile.found(
            about,
            format!("instance profile {name} is not there any more"),
            apply,
        )),
        Rights::NoRole(name) => Some(Cause::NoRole.found(
            about,
            format!("instance profile {name} has no role"),
            "spotblock env apply",
        )),
        Rights::NoPolicy(role) => {
            let evidence = format!("role {role} has neither an inline nor an attached policy");
            Some(Cause::NoPolicy.found(about, evidence, "spotblock env apply"))
        }
        Rights::Some => None,
    }
}

fn network(about: &str, instance: &Instance, looked: &Looked) -> Option<Finding> {
    let place = looked.place.as_ref()?;
    let out = "a NAT gateway's route, or VPC endpoints for ecs, ecs-agent, ecs-telemetry, ecr \
               and logs; or another subnet in [block] subnets";
    let Some(way) = looked.way.as_ref()? else {
        let evidence = format!("{} has no route to 0.0.0.0/0", place.subnet);
        return Some(Cause::NoRoute.found(
            about,
            evidence,
            format!("without VPC endpoints it needs {out}"),
        ));
    };
    if way.blackhole {
        let evidence = format!("{} in {} leads nowhere (blackhole)", way.target, way.table);
        return Some(Cause::NoRoute.found(
            about,
            evidence,
            format!("without VPC endpoints it needs {out}"),
        ));
    }
    (way.target.starts_with("igw-") && !place.public).then(|| {
        let evidence = format!(
            "{} is routed to {} ({}), and {} has no public address",
            place.subnet, way.target, way.table, instance.id
        );
        let next = format!(
            "aws ec2 modify-subnet-attribute --subnet-id {} --map-public-ip-on-launch, then \
             spotblock up --new; or {out}",
            place.subnet
        );
        Cause::NoPublicAddress.found(about, evidence, next)
    })
}

/// It is up and says nothing to ECS, and nothing shows why.
fn silent(
    facts: &Surroundings,
    about: String,
    instance: &Instance,
    console: Option<&str>,
) -> Finding {
    let up = instance.launched.duration_until(facts.now);
    let since =
        format!("{} since {}, and never registered", instance.state, human(up.unsigned_abs()));
    if up < BOOT {
        return Cause::Booting.found(about, since, "wait: an instance is given 5 min");
    }
    let (saw, next) = match console {
        None | Some("") => ("its console shows nothing yet", log(instance)),
        Some(text) if !text.contains("spotblock-agent") && facts.baked => {
            let next = "the image starts no spotblock-agent: hold it against ami/check.sh";
            ("its console has no line of spotblock-agent", next.to_owned())
        }
        Some(_) => {
            let next = format!(
                "on it: spotblock-agent check, and journalctl -u spotblock-agent; from here: {}",
                log(instance)
            );
            ("its console shows no failure", next)
        }
    };
    Cause::NeverJoined.found(about, format!("{since}; {saw}"), next)
}
