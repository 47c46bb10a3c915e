//! What brings instances. Whoever makes a fleet must be allowed what its launches need as well [A].

use serde_json::Value;

use super::ec2_calls::{Call, tags_for};
use super::{entries, text, texts};
use crate::services::iam::{self, Ask};

/// RunInstances, whose parameters lie over those of a template.
pub(super) fn run(call: &Call<'_>, parameters: &Value) -> Vec<Ask> {
    let template =
        parameters.get("LaunchTemplate").and_then(|it| call.facts.ec2.template_asked(it));
    launched(call, template.as_ref(), &[parameters])
}

/// CreateFleet, and the launches that it comes to.
pub(super) fn fleet(call: &Call<'_>, parameters: &Value) -> Vec<Ask> {
    let mut asks = vec![call.made("CreateFleet", "fleet"), call.made("CreateFleet", "instance")];
    asks.extend(call.tags_set());
    for config in entries(parameters, "LaunchTemplateConfigs") {
        let named = config.get("LaunchTemplateSpecification");
        let template = named.and_then(|it| call.facts.ec2.template_asked(it));
        asks.extend(template.iter().map(|(id, _)| call.on("CreateFleet", "launch-template", id)));
        let overrides: Vec<&Value> = entries(config, "Overrides").iter().collect();
        asks.extend(launched(call, template.as_ref(), &overrides));
    }
    asks
}

/// RequestSpotInstances: what is launched later is asked for now.
pub(super) fn requested(call: &Call<'_>, parameters: &Value) -> Vec<Ask> {
    const ACTION: &str = "RequestSpotInstances";
    let mut asks = vec![call.made(ACTION, "spot-instances-request")];
    asks.extend(call.tags_set());
    if let Some(launch) = parameters.get("LaunchSpecification") {
        asks.extend(used(call, ACTION, &[launch]));
        asks.extend(passed(call, &[launch]));
    }
    asks
}

/// A launch from a template, and what lies over it.
fn launched(call: &Call<'_>, template: Option<&(String, Value)>, over: &[&Value]) -> Vec<Ask> {
    const ACTION: &str = "RunInstances";
    let all: Vec<&Value> =
        template.map(|(_, data)| data).into_iter().chain(over.iter().copied()).collect();
    let specified = |kind: &str| -> Vec<(String, String)> {
        all.iter().flat_map(|it| tags_for(entries(it, "TagSpecification"), kind)).collect()
    };
    let mut instance =
        call.made(ACTION, "instance").tagged("aws:RequestTag", &specified("instance"));
    instance
        .keys
        .extend(profile(call, &all).map(|(arn, _)| ("ec2:InstanceProfile".to_owned(), arn)));
    let mut asks =
        vec![instance, call.made(ACTION, "network-interface"), call.made(ACTION, "volume")];
    asks.extend(template.map(|(id, _)| call.on(ACTION, "launch-template", id)));
    asks.extend(used(call, ACTION, &all));
    asks.extend(passed(call, &all));
    asks.extend(all.iter().flat_map(|it| call.tags_in(entries(it, "TagSpecification"))));
    asks
}

/// What a launch takes: image, subnets, security groups, key pair, reserved capacity.
fn used(call: &Call<'_>, action: &str, all: &[&Value]) -> Vec<Ask> {
    let interfaces = all.iter().flat_map(|it| entries(it, "NetworkInterface"));
    let places: Vec<&Value> = all.iter().copied().chain(interfaces).collect();
    let named = |name: &'static str, kind: &'static str| {
        let ids = places.iter().flat_map(move |it| texts(it, name));
        ids.map(move |id| call.on(action, kind, id)).collect::<Vec<_>>()
    };
    let reserved = all.iter().filter_map(|it| {
        let target =
            it.get("CapacityReservationSpecification")?.get("CapacityReservationTarget")?;
        Some(call.on(action, "capacity-reservation", text(target, "CapacityReservationId")?))
    });
    [
        named("ImageId", "image"),
        named("SubnetId", "subnet"),
        named("SecurityGroupId", "security-group"),
        named("KeyName", "key-pair"),
        reserved.collect(),
    ]
    .concat()
}

fn passed(call: &Call<'_>, all: &[&Value]) -> Option<Ask> {
    let (_, role) = profile(call, all)?;
    Some(Ask::pass(role?, "ec2.amazonaws.com"))
}

/// The ARNs of the profile that is named last, and of its role.
fn profile(call: &Call<'_>, all: &[&Value]) -> Option<(String, Option<String>)> {
    let given = all.iter().rev().find_map(|it| it.get("IamInstanceProfile"))?;
    iam::profile_of(call.facts.iam, text(given, "Arn").or_else(|| text(given, "Name"))?)
}
