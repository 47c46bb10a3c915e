//! What IMDS holds for an instance: leaves by their paths, and directories as lists of what is in
//! them.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::Service;
use crate::protocol::request::NODE_KEY_PREFIX;
use crate::services::ec2::{Instance, Market};

/// How long the role's credentials are good for.
const CREDENTIALS: SignedDuration = SignedDuration::from_hours(6);

/// The versions that clients may put first in a path.
const VERSIONS: [&str; 3] = ["latest", "2021-07-15", "2009-04-04"];

/// What time it is, and by how much the times that are told are off.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    pub(super) off: SignedDuration,
}

impl Times {
    fn told(self, at: Timestamp) -> String {
        (at + self.off).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// What is at a path.
pub(super) enum Found {
    Text(String),
    Json(String),
    Bytes(Vec<u8>),
}

/// Looks a path up, version included; directories may be asked for with and without a slash.
pub(super) fn look_up(
    service: &Service<'_>,
    instance: &Instance,
    times: Times,
    path: &str,
) -> Option<Found> {
    let path = path.trim_start_matches('/');
    let (version, rest) = path.split_once('/').unwrap_or((path, ""));
    if path.is_empty() {
        return Some(Found::Text(VERSIONS.join("\n")));
    }
    if !VERSIONS.contains(&version) {
        return None;
    }
    let rest = rest.trim_end_matches('/');
    if rest == "user-data" {
        return instance.user_data().map(|bytes| Found::Bytes(bytes.to_vec()));
    }
    let leaves = leaves(service, instance, times);
    match leaves.iter().find(|(name, _)| name == rest) {
        Some((_, text)) if text.starts_with(['{', '[']) => Some(Found::Json(text.clone())),
        Some((_, text)) => Some(Found::Text(text.clone())),
        None => listing(&leaves, rest, instance).map(Found::Text),
    }
}

/// What is directly in a directory; subdirectories have a slash behind their names.
fn listing(leaves: &[(String, String)], directory: &str, instance: &Instance) -> Option<String> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let mut entries = BTreeSet::new();
    for (path, _) in leaves {
        let Some(rest) = path.strip_prefix(&prefix) else { continue };
        entries.insert(match rest.split_once('/') {
            Some((below, _)) => format!("{below}/"),
            None => rest.to_owned(),
        });
    }
    if directory.is_empty() && instance.user_data().is_some() {
        entries.insert("user-data".to_owned());
    }
    let entries: Vec<String> = entries.into_iter().collect();
    // At the top IMDS leaves the slashes out.
    let text =
        if directory.is_empty() { entries.join("\n").replace('/', "") } else { entries.join("\n") };
    (!entries.is_empty()).then_some(text)
}

/// Everything but user data, by path below the version.
fn leaves(service: &Service<'_>, instance: &Instance, times: Times) -> Vec<(String, String)> {
    let mut leaves: Vec<(String, String)> = Vec::new();
    leaves.push((
        "dynamic/instance-identity/document".to_owned(),
        identity(service, instance, times),
    ));
    let mut add = |name: &str, text: String| leaves.push((format!("meta-data/{name}"), text));
    for (name, text) in plain(service, instance) {
        add(name, text);
    }
    for (name, text) in network(service, instance) {
        add(&format!("network/interfaces/macs/{}/{name}", instance.mac), text);
    }
    let tags = if instance.shows_tags() { service.ec2.tags_of(&instance.id) } else { Vec::new() };
    for (key, value) in tags {
        add(&format!("tags/instance/{key}"), value);
    }
    for (name, text) in signals(instance, times) {
        add(name, text);
    }
    if let Some(profile) = instance.profile() {
        let info = json!({
            "Code": "Success",
            "LastUpdated": times.told(times.now),
            "InstanceProfileArn": profile.arn,
            "InstanceProfileId": profile.id,
        });
        add("iam/info", info.to_string());
        if let Some(role) = &profile.role {
            add(&format!("iam/security-credentials/{role}"), credentials(instance, times));
        }
    }
    leaves
}

fn plain(service: &Service<'_>, instance: &Instance) -> Vec<(&'static str, String)> {
    let region = &service.options.region;
    let mut plain = vec![
        ("ami-id", instance.image().id.to_owned()),
        ("ami-launch-index", "0".to_owned()),
        ("hostname", instance.private_dns()),
        ("instance-action", "none".to_owned()),
        ("instance-id", instance.id.clone()),
        ("instance-life-cycle", instance.market.life_cycle().to_owned()),
        ("instance-type", instance.instance_type().name.to_owned()),
        ("local-hostname", instance.private_dns()),
        ("local-ipv4", instance.private_ip.clone()),
        ("mac", instance.mac.clone()),
        ("placement/availability-zone", format!("{region}{}", instance.zone())),
        ("placement/region", region.clone()),
        ("security-groups", instance.group_names().join("\n")),
        ("services/domain", "amazonaws.com".to_owned()),
        ("services/partition", "aws".to_owned()),
        ("events/maintenance/scheduled", "[]".to_owned()),
        ("events/maintenance/history", "[]".to_owned()),
    ];
    if let Some(key) = instance.key() {
        plain.push(("public-keys/0/openssh-key", format!("ssh-rsa AAAA {key}")));
    }
    plain
}

fn network(service: &Service<'_>, instance: &Instance) -> Vec<(&'static str, String)> {
    let placed = instance.placed();
    vec![
        ("device-number", "0".to_owned()),
        ("interface-id", placed.interface.to_owned()),
        ("local-hostname", instance.private_dns()),
        ("local-ipv4s", instance.private_ip.clone()),
        ("mac", instance.mac.clone()),
        ("owner-id", service.options.account.clone()),
        ("security-group-ids", placed.groups.join("\n")),
        ("security-groups", instance.group_names().join("\n")),
        ("subnet-id", placed.subnet.to_owned()),
        ("subnet-ipv4-cidr-block", placed.cidr.clone()),
        ("vpc-id", placed.vpc.to_owned()),
    ]
}

/// What is there only when AWS has something to say.
fn signals(instance: &Instance, times: Times) -> Vec<(&'static str, String)> {
    let mut signals = Vec::new();
    if let Some(notice) = instance.notice.as_ref().filter(|_| instance.market == Market::Spot) {
        let action = json!({ "action": notice.action, "time": times.told(notice.taken_at) });
        signals.push(("spot/instance-action", action.to_string()));
        if notice.action == "terminate" {
            signals.push(("spot/termination-time", times.told(notice.taken_at)));
        }
    }
    if let Some(since) = instance.rebalance {
        signals.push((
            "events/recommendations/rebalance",
            json!({ "noticeTime": times.told(since) }).to_string(),
        ));
    }
    signals
}

fn identity(service: &Service<'_>, instance: &Instance, times: Times) -> String {
    let document = json!({
        "accountId": service.options.account,
        "architecture": instance.image().architecture,
        "availabilityZone": format!("{}{}", service.options.region, instance.zone()),
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": instance.image().id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type().name,
        "kernelId": null,
        "pendingTime": times.told(instance.launch_time),
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": service.options.region,
        "version": "2017-09-30",
    });
    // AWS's has a line for each field.
    format!("{document:#}")
}

/// Keys that the cloud recognises as this instance's, as good as AWS's for whoever only signs with
/// them.
fn credentials(instance: &Instance, times: Times) -> String {
    let id = instance.id.trim_start_matches("i-").to_uppercase();
    let document = json!({
        "Code": "Success",
        "LastUpdated": times.told(times.now),
        "Type": "AWS-HMAC",
        "AccessKeyId": format!("{NODE_KEY_PREFIX}{id}"),
        "SecretAccessKey": format!("local-cloud-secret-of-{id}"),
        "Token": format!("local-cloud-session-of-{id}"),
        "Expiration": times.told(times.now + CREDENTIALS),
    });
    format!("{document:#}")
}
