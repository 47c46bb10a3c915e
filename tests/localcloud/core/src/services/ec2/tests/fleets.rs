//! Fleets of type instant.

use std::fmt::Write as _;

use crate::cloud::ec2;
use crate::cloud::testing::{World, all, between, contains};
use crate::journal::record::What;
use crate::protocol::options::Options;

/// A template that launches c5.large for one hour and tags its instances.
const TEMPLATE: &str = "Action=CreateLaunchTemplate&LaunchTemplateName=block-1&LaunchTemplateData.ImageId=ami-a7a242da&LaunchTemplateData.InstanceType=c5.large&LaunchTemplateData.SecurityGroupId.1=sg-55964223&LaunchTemplateData.MetadataOptions.InstanceMetadataTags=enabled&LaunchTemplateData.MetadataOptions.HttpTokens=required&LaunchTemplateData.InstanceInitiatedShutdownBehavior=terminate&LaunchTemplateData.TagSpecification.1.ResourceType=instance&LaunchTemplateData.TagSpecification.1.Tag.1.Key=of&LaunchTemplateData.TagSpecification.1.Tag.1.Value=template";

/// The subnets of the zones a, b and c.
const SUBNETS: [&str; 3] = ["subnet-1b6e40a1", "subnet-2c7f51b2", "subnet-c8d30ae4"];

fn world(options: Options) -> World {
    let mut world = World::with(options);
    world.query("ec2", TEMPLATE);
    world
}

/// A fleet of `count` in these pools (type and subnet), with whatever else `more` says.
fn form(kind: &str, count: u32, pools: &[(&str, &str)], more: &str) -> String {
    let mut form = format!(
        "Action=CreateFleet&Type=instant&TargetCapacitySpecification.TotalTargetCapacity={count}\
         &TargetCapacitySpecification.DefaultTargetCapacityType={kind}\
         &LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName=block-1\
         &LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version=1{more}"
    );
    for (number, (name, subnet)) in pools.iter().enumerate() {
        let key = format!("LaunchTemplateConfigs.1.Overrides.{}", number + 1);
        write!(form, "&{key}.InstanceType={name}&{key}.SubnetId={subnet}").expect("a string");
    }
    form
}

/// What was launched: each instance's type and zone.
fn launched(world: &mut World, answer: &str) -> Vec<String> {
    let ids = between(answer, "fleetInstanceSet").unwrap_or_default();
    let ids: Vec<&str> = all(ids, "item").into_iter().flat_map(|set| all(set, "item")).collect();
    let ids = if ids.is_empty() {
        answer.split('<').filter_map(|part| part.strip_prefix("item>i-")).collect()
    } else {
        ids
    };
    let found = ids.iter().map(|id| {
        let id = if id.starts_with("i-") { (*id).to_owned() } else { format!("i-{id}") };
        let instance = ec2::instance(&world.cloud, &id).expect("an instance");
        format!("{}/{}", instance.instance_type().name, instance.zone())
    });
    found.collect()
}

fn capacity(limits: &[(&str, u32)]) -> Options {
    let capacity = limits.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect();
    Options { capacity, ..Options::default() }
}

#[test]
fn a_fleet_launches_at_once_and_its_instances_say_whose_they_are() {
    let mut world = world(Options::default());
    let more = "&TagSpecification.1.ResourceType=fleet&TagSpecification.1.Tag.1.Key=f&TagSpecification.1.Tag.1.Value=1&TagSpecification.2.ResourceType=instance&TagSpecification.2.Tag.1.Key=of&TagSpecification.2.Tag.1.Value=fleet";
    let answer = world.query("ec2", &form("on-demand", 2, &[("c5.large", SUBNETS[0])], more));
    assert_eq!(launched(&mut world, &answer), ["c5.large/a", "c5.large/a"]);
    let fleet = between(&answer, "fleetId").expect("an id").to_owned();
    assert!(contains(&answer, "<lifecycle>on-demand</lifecycle>"));
    assert!(contains(&answer, "<errorSet/>"));
    let by_tag = format!(
        "Action=DescribeInstances&Filter.1.Name=tag%3Aaws%3Aec2%3Afleet-id&Filter.1.Value.1={fleet}"
    );
    let described = world.query("ec2", &by_tag);
    assert_eq!(all(&described, "instanceId").len(), 2);
    for piece in [
        "<key>aws:ec2launchtemplate:version</key><value>1</value>",
        "<key>of</key><value>fleet</value>",
        "<instanceMetadataTags>enabled</instanceMetadataTags>",
    ] {
        assert!(contains(&described, piece));
    }
    assert!(!described.contains("instanceLifecycle"), "on-demand instances have none: {described}");
    let shown = world.query("ec2", &format!("Action=DescribeFleets&FleetId.1={fleet}"));
    assert!(contains(&shown, "<fleetState>active</fleetState>"));
    assert!(contains(&shown, "<tagSet><item><key>f</key><value>1</value></item></tagSet>"));
}

/// Catches: a `reap` that looks for instant fleets without knowing their ids, which AWS does not
/// show.
#[test]
fn an_instant_fleet_is_shown_only_to_who_knows_its_id() {
    let mut world = world(Options::default());
    world.query("ec2", &form("on-demand", 1, &[("c5.large", SUBNETS[0])], ""));
    assert!(contains(&world.query("ec2", "Action=DescribeFleets"), "<fleetSet/>"));
    for (id, code) in [("fleet-1", "InvalidFleetId.NotFound"), ("x", "InvalidFleetId.Malformed")] {
        let error = world
            .try_query("ec2", &format!("Action=DescribeFleets&FleetId.1={id}"))
            .expect_err(code);
        assert!(error.contains(code), "{error}");
    }
}

#[test]
fn spot_instances_of_a_fleet_have_requests_and_can_be_taken_back() {
    let mut world = world(Options::default());
    let more = "&TagSpecification.1.ResourceType=spot-instances-request&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v";
    let answer = world.query("ec2", &form("spot", 1, &[("c5.large", SUBNETS[0])], more));
    let id = all(&answer, "instanceIds")[0].replace("<item>", "").replace("</item>", "");
    let described = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
    assert!(contains(&described, "<instanceLifecycle>spot</instanceLifecycle>"));
    let request = between(&described, "spotInstanceRequestId").expect("a request").to_owned();
    let by_id = format!("Action=DescribeSpotInstanceRequests&SpotInstanceRequestId.1={request}");
    world.wait_ms(1_000);
    let shown = world.query("ec2", &by_id);
    for piece in
        ["<type>one-time</type><state>active</state><status><code>fulfilled</code>", "<key>k</key>"]
    {
        assert!(contains(&shown, piece));
    }
    let (now, seconds) = (world.now, jiff::SignedDuration::from_secs(120));
    ec2::interrupt(&mut world.cloud, now, &id, "terminate", now + seconds);
    world.wait_ms(121_000);
    assert!(contains(&world.query("ec2", &by_id), "<code>instance-terminated-no-capacity</code>"));
    let on_demand = world.query("ec2", &form("on-demand", 1, &[("c5.large", SUBNETS[0])], ""));
    let id = all(&on_demand, "instanceIds")[0].replace("<item>", "").replace("</item>", "");
    ec2::interrupt(&mut world.cloud, now, &id, "terminate", now + seconds);
    world.wait_ms(121_000);
    assert!(
        ec2::instance(&world.cloud, &id).expect("it").alive(),
        "on-demand instances are not taken back"
    );
}

#[test]
fn a_fleet_takes_what_there_is_and_says_what_refused() {
    let mut world =
        world(capacity(&[("c5.large/us-east-1a", 2), ("c5.large/us-east-1b/on-demand", 1)]));
    let pools = [("c5.large", SUBNETS[0]), ("c5.large", SUBNETS[1])];
    let answer = world.query("ec2", &form("on-demand", 5, &pools, ""));
    assert_eq!(launched(&mut world, &answer), ["c5.large/a", "c5.large/a", "c5.large/b"]);
    assert_eq!(all(&answer, "errorCode"), ["InsufficientInstanceCapacity"; 2]);
    let answer = world.query(
        "ec2",
        &form("spot", 1, &pools, "&SpotOptions.AllocationStrategy=capacity-optimized"),
    );
    assert_eq!(
        launched(&mut world, &answer),
        ["c5.large/b"],
        "zone b's limit is for on-demand instances"
    );
    let again = world.query("ec2", &form("on-demand", 1, &pools[..1], ""));
    assert_eq!(launched(&mut world, &again).len(), 0);
    world.wait_ms(1_000);
    for id in all(&world.query("ec2", "Action=DescribeInstances"), "instanceId") {
        world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={id}"));
    }
    let again = world.query("ec2", &form("on-demand", 1, &pools[..1], ""));
    assert_eq!(
        launched(&mut world, &again).len(),
        1,
        "capacity comes back with the end of its instances"
    );
}

/// Catches: instances that are launched for a block that then isn't one.
#[test]
fn below_its_minimum_a_fleet_launches_nothing() {
    let mut world = world(capacity(&[("*/us-east-1a", 2)]));
    let pool = [("c5.large", SUBNETS[0])];
    let min = |count: u32| {
        format!(
            "&OnDemandOptions.MinTargetCapacity={count}&OnDemandOptions.SingleAvailabilityZone=true"
        )
    };
    let answer = world.query("ec2", &form("on-demand", 3, &pool, &min(3)));
    assert_eq!(launched(&mut world, &answer).len(), 0);
    assert_eq!(all(&answer, "errorCode"), ["InsufficientInstanceCapacity"]);
    let launches =
        world.cloud.events().iter().filter(|it| matches!(it.what, What::Launched { .. })).count();
    assert_eq!(launches, 0);
    let answer = world.query("ec2", &form("on-demand", 3, &pool, &min(2)));
    assert_eq!(launched(&mut world, &answer).len(), 2);
    let error = world
        .try_query("ec2", &form("on-demand", 3, &pool, "&OnDemandOptions.MinTargetCapacity=3"));
    assert!(
        error.expect_err("without a single zone or type").contains("InvalidParameterCombination")
    );
}

#[test]
fn quotas_prices_and_zones_refuse_as_aws_does() {
    let options = Options { on_demand_vcpus: Some(4), spot_vcpus: Some(2), ..Options::default() };
    let mut world = world(options);
    let pool = [("c5.large", SUBNETS[0])];
    let answer = world.query("ec2", &form("on-demand", 3, &pool, ""));
    assert_eq!(
        (launched(&mut world, &answer).len(), all(&answer, "errorCode")),
        (2, vec!["VcpuLimitExceeded"])
    );
    let answer = world.query("ec2", &form("spot", 2, &pool, ""));
    assert_eq!(all(&answer, "errorCode"), ["MaxSpotInstanceCountExceeded"]);
    let cheap = "&LaunchTemplateConfigs.1.Overrides.1.MaxPrice=0.002";
    let answer = world.query("ec2", &form("spot", 1, &pool, cheap));
    assert_eq!(all(&answer, "errorCode"), ["SpotMaxPriceTooLow"]);
    for (pool, code) in [
        (("p4d.24xlarge", "subnet-5fa284e5"), "InvalidFleetConfiguration"),
        (("c5.large", "subnet-00000000"), "InvalidSubnetID.NotFound"),
        (("c7g.large", SUBNETS[0]), "InvalidParameterValue"),
    ] {
        let answer = world.query("ec2", &form("on-demand", 1, &[pool], ""));
        assert_eq!(all(&answer, "errorCode"), [code]);
    }
}

/// Catches: callers that take UnfulfillableCapacity for what a pool answered.
#[test]
fn the_fourth_pool_that_refuses_is_not_tried() {
    let mut world = world(capacity(&[("c5.*/*", 0)]));
    let pools = [
        ("c5.large", SUBNETS[0]),
        ("c5.large", SUBNETS[1]),
        ("c5.large", SUBNETS[2]),
        ("c5.xlarge", SUBNETS[0]),
    ];
    let answer = world.query("ec2", &form("on-demand", 1, &pools, ""));
    let codes = all(&answer, "errorCode");
    assert_eq!(codes[..3], ["InsufficientInstanceCapacity"; 3]);
    assert_eq!(codes[3..], ["UnfulfillableCapacity"]);
}

#[test]
fn strategies_choose_among_pools() {
    let mut world = world(capacity(&[("m5.large/us-east-1a", 1), ("c5.large/us-east-1a", 9)]));
    let pools = [("m5.large", SUBNETS[0]), ("c5.large", SUBNETS[0]), ("c5.xlarge", SUBNETS[1])];
    for (kind, count, more, wanted) in [
        ("on-demand", 1, "&OnDemandOptions.AllocationStrategy=lowest-price", vec!["c5.large/a"]),
        (
            "on-demand",
            2,
            "&OnDemandOptions.AllocationStrategy=prioritized&LaunchTemplateConfigs.1.Overrides.1.Priority=0&LaunchTemplateConfigs.1.Overrides.3.Priority=1",
            vec!["m5.large/a", "c5.xlarge/b"],
        ),
        ("spot", 1, "&SpotOptions.AllocationStrategy=capacity-optimized", vec!["c5.xlarge/b"]),
        ("spot", 1, "&SpotOptions.AllocationStrategy=price-capacity-optimized", vec!["c5.large/a"]),
        (
            "spot",
            2,
            "&SpotOptions.AllocationStrategy=lowest-price&SpotOptions.InstancePoolsToUseCount=2",
            vec!["c5.large/a", "c5.xlarge/b"],
        ),
        (
            "spot",
            2,
            "&SpotOptions.AllocationStrategy=diversified",
            vec!["c5.large/a", "c5.xlarge/b"],
        ),
    ] {
        let answer = world.query("ec2", &form(kind, count, &pools, more));
        let mut found = launched(&mut world, &answer);
        found.sort();
        let mut wanted = wanted;
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{more}");
    }
}

#[test]
fn weights_count_and_the_total_price_limits() {
    let mut world = world(Options::default());
    let pool = [("c5.xlarge", SUBNETS[0])];
    let weighted = "&LaunchTemplateConfigs.1.Overrides.1.WeightedCapacity=2";
    let answer = world.query("ec2", &form("on-demand", 5, &pool, weighted));
    assert_eq!(launched(&mut world, &answer).len(), 3);
    let answer =
        world.query("ec2", &form("on-demand", 5, &pool, "&OnDemandOptions.MaxTotalPrice=0.34"));
    assert_eq!(launched(&mut world, &answer).len(), 2);
    assert_eq!(all(&answer, "errorCode"), ["UnfulfillableCapacity"]);
}

/// Catches: a second purchase by a caller that asks again after a lost answer.
#[test]
fn the_same_token_brings_the_same_fleet_even_after_its_end() {
    let mut world = world(Options::default());
    let pool = [("c5.large", SUBNETS[0])];
    let first = world.query("ec2", &form("on-demand", 1, &pool, "&ClientToken=t"));
    let fleet = between(&first, "fleetId").expect("an id").to_owned();
    world.query("ec2", &format!("Action=DeleteFleets&FleetId.1={fleet}&TerminateInstances=true"));
    world.wait_ms(5_000);
    let second = world.query("ec2", &form("on-demand", 1, &pool, "&ClientToken=t"));
    assert_eq!(between(&second, "fleetInstanceSet"), between(&first, "fleetInstanceSet"));
    let error =
        world.try_query("ec2", &form("on-demand", 2, &pool, "&ClientToken=t")).expect_err("others");
    assert!(error.contains("IdempotentParameterMismatch"), "{error}");
    let launches =
        world.cloud.events().iter().filter(|it| matches!(it.what, What::Launched { .. })).count();
    assert_eq!(launches, 1);
}

#[test]
fn a_deleted_fleet_takes_its_instances_along() {
    let mut world = world(Options::default());
    let answer = world.query("ec2", &form("on-demand", 2, &[("c5.large", SUBNETS[0])], ""));
    let fleet = between(&answer, "fleetId").expect("an id").to_owned();
    let delete = |more: &str| {
        format!("Action=DeleteFleets&FleetId.1={fleet}&FleetId.2=fleet-0&FleetId.3=x{more}")
    };
    let error = world
        .try_query("ec2", &delete("&TerminateInstances=false"))
        .expect_err("they would live on");
    assert!(error.contains("NoTerminateInstancesNotSupported"), "{error}");
    let answer = world.query("ec2", &delete("&TerminateInstances=true"));
    assert!(contains(&answer, "<currentFleetState>deleted_terminating</currentFleetState>"));
    assert_eq!(all(&answer, "code"), ["fleetIdDoesNotExist", "fleetIdMalformed"]);
    world.wait_ms(1_000);
    let shown = world.query("ec2", &format!("Action=DescribeFleets&FleetId.1={fleet}"));
    assert!(contains(&shown, "<fleetState>deleted</fleetState>"));
    let states = world.query("ec2", "Action=DescribeInstances");
    assert_eq!(states.matches("<name>terminated</name>").count(), 2, "{states}");
    let again = world.query("ec2", &delete("&TerminateInstances=true"));
    assert!(contains(&again, "<code>fleetNotInDeletableState</code>"));
}

/// Catches: an instance that is believed gone and is only stopped, with its volumes paid for.
#[test]
fn an_on_demand_host_that_powers_off_is_stopped_unless_it_is_to_terminate() {
    let mut world = world(Options::default());
    world.query(
        "ec2",
        &TEMPLATE.replace("block-1", "kept").replace("Behavior=terminate", "Behavior=stop"),
    );
    for (name, state) in [("block-1", "terminated"), ("kept", "stopped")] {
        let form = form("on-demand", 1, &[("c5.large", SUBNETS[0])], "").replace("block-1", name);
        let answer = world.query("ec2", &form);
        let id = all(&answer, "instanceIds")[0].replace("<item>", "").replace("</item>", "");
        let now = world.now;
        ec2::power_off(&mut world.cloud, now, &id);
        world.wait_ms(1_000);
        let described = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
        assert!(contains(&described, &format!("<name>{state}</name>")));
        world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={id}"));
        world.wait_ms(1_000);
        let described = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
        assert!(contains(&described, "<name>terminated</name>"));
    }
}

/// Catches: an operation whose work grows with the square of a block. How long it takes is in
/// nextest's report.
#[test]
fn a_thousand_instances_are_launched_described_in_one_page_and_ended_in_one_call() {
    let mut world = world(Options::default());
    let mut fleets = Vec::new();
    for _ in 0..2 {
        let answer = world.query("ec2", &form("spot", 1_000, &[("c5.large", SUBNETS[0])], ""));
        fleets.push(between(&answer, "fleetId").expect("an id").to_owned());
        world.wait_ms(1_000);
        let by_tag = format!(
            "Action=DescribeInstances&MaxResults=1000&Filter.1.Name=tag%3Aaws%3Aec2%3Afleet-id\
             &Filter.1.Value.1={}&Filter.2.Name=instance-state-name&Filter.2.Value.1=running",
            fleets[fleets.len() - 1]
        );
        let page = world.query("ec2", &by_tag);
        assert_eq!(all(&page, "privateDnsName").len(), 1_000);
        assert!(
            between(&page, "nextToken").is_none_or(str::is_empty),
            "a second page of a thousand"
        );
    }
    let ids: Vec<String> = world.cloud.ec2.fleets[1].instances().cloned().collect();
    let listed: Vec<String> =
        ids.iter().enumerate().map(|(n, id)| format!("&InstanceId.{}={id}", n + 1)).collect();
    world.query("ec2", &format!("Action=TerminateInstances{}", listed.concat()));
    let answer = world.query(
        "ec2",
        &format!("Action=DeleteFleets&FleetId.1={}&TerminateInstances=true", fleets[0]),
    );
    assert!(contains(&answer, "<unsuccessfulFleetDeletionSet/>"));
    assert!(ec2::all(&world.cloud).iter().all(|instance| !instance.alive()));
}

/// Catches: a caller that takes an instance it was just given for one that is gone.
#[test]
fn a_new_instance_can_be_unknown_for_a_moment() {
    let mut options = Options::default();
    options.pace.instance_shown_ms = 500;
    let mut world = world(options);
    let answer = world.query("ec2", &form("on-demand", 1, &[("c5.large", SUBNETS[0])], ""));
    let id = all(&answer, "instanceIds")[0].replace("<item>", "").replace("</item>", "");
    let by_id = format!("Action=DescribeInstances&InstanceId.1={id}");
    let error = world.try_query("ec2", &by_id).expect_err("too early");
    assert!(error.contains("InvalidInstanceID.NotFound"), "{error}");
    assert_eq!(all(&world.query("ec2", "Action=DescribeInstances"), "instanceId").len(), 0);
    world.wait_ms(500);
    assert!(contains(&world.query("ec2", &by_id), &id));
}

/// Catches: a version that is made anew each time its token is said, and a launch from another
/// version than the named.
#[test]
fn a_fleet_launches_from_the_version_that_it_names() {
    let mut world = world(Options::default());
    let version = "Action=CreateLaunchTemplateVersion&LaunchTemplateName=block-1&SourceVersion=1&ClientToken=v&VersionDescription=second&LaunchTemplateData.UserData=c2Vjb25k";
    for _ in 0..2 {
        let made = world.query("ec2", version);
        assert!(contains(&made, "<versionNumber>2</versionNumber>"), "{made}");
        assert!(
            contains(&made, "<imageId>ami-a7a242da</imageId>"),
            "the rest is the source's: {made}"
        );
    }
    let refused = |world: &mut World, form: &str, code: &str| {
        let error = world.try_query("ec2", form).expect_err(code);
        assert!(error.to_string().contains(code), "{error}");
    };
    refused(&mut world, &version.replace("c2Vjb25k", "dGhpcmQ="), "IdempotentParameterMismatch");
    let all =
        world.query("ec2", "Action=DescribeLaunchTemplateVersions&LaunchTemplateName=block-1");
    assert_eq!(all.matches("<versionNumber>").count(), 2, "{all}");
    let of_second =
        form("on-demand", 1, &[("c5.large", SUBNETS[0])], "").replace("Version=1", "Version=2");
    let answer = world.query("ec2", &of_second);
    assert_eq!(launched(&mut world, &answer), ["c5.large/a"]);
    let id = world.cloud.events().iter().find_map(|event| match &event.what {
        What::Launched { instance, .. } => Some(instance.clone()),
        _ => None,
    });
    let instance = ec2::instance(&world.cloud, &id.expect("an instance")).expect("an instance");
    assert_eq!(instance.user_data(), Some(&b"second"[..]));
    refused(&mut world, &of_second.replace("Version=2", "Version=3"), "VersionNotFound");
}
