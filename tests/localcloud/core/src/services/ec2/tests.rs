//! EC2 as its callers see it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::SignedDuration;

use super::State;
use crate::cloud::ec2::{self, instance};
use crate::cloud::testing::{World, all, between, contains};
use crate::journal::Effect;
use crate::journal::record::What;
use crate::protocol::Options;
use crate::protocol::options::{SpotBlock, SpotFailure};

mod fleets;
mod reservations;
mod resources;

/// The request of the example this project began with.
const EXAMPLE: &[(&str, &str)] = &[
    ("SpotPrice", "0.03"),
    ("InstanceCount", "1"),
    ("Type", "one-time"),
    ("BlockDurationMinutes", "60"),
    ("LaunchSpecification.ImageId", "ami-a7a242da"),
    ("LaunchSpecification.InstanceType", "t2.micro"),
    ("LaunchSpecification.KeyName", "jewart"),
    ("LaunchSpecification.SubnetId", "subnet-c8d30ae4"),
    ("LaunchSpecification.SecurityGroupId.1", "sg-55964223"),
    ("LaunchSpecification.Placement.AvailabilityZone", "us-east-1c"),
    ("LaunchSpecification.IamInstanceProfile.Name", "ecsInstanceRole"),
    ("LaunchSpecification.UserData", "IyEvYmluL3NoCg=="),
];

/// The example with some parameters changed or added, or left out when their value is empty.
fn example(changes: &[(&str, &str)]) -> String {
    let mut form = "Action=RequestSpotInstances&Version=2016-11-15".to_owned();
    let kept =
        EXAMPLE.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    for (name, value) in kept.chain(changes).filter(|(_, value)| !value.is_empty()) {
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        write!(form, "&{name}={value}").expect("a string");
    }
    form
}

fn describe(world: &mut World, id: &str) -> String {
    world.query("ec2", &format!("Action=DescribeSpotInstanceRequests&SpotInstanceRequestId.1={id}"))
}

/// Requests the example; gives the request's id.
fn request(world: &mut World, changes: &[(&str, &str)]) -> String {
    let answer = world.query("ec2", &example(changes));
    between(&answer, "spotInstanceRequestId").expect("an id").to_owned()
}

/// Requests the example and waits until its instance runs; gives the ids of both.
fn launched(world: &mut World, changes: &[(&str, &str)]) -> (String, String) {
    let request = request(world, changes);
    world.wait_ms(2_000);
    let answer = describe(world, &request);
    (request, between(&answer, "instanceId").expect("an instance").to_owned())
}

#[test]
fn the_example_goes_from_open_to_an_instance_that_runs() {
    let mut world = World::new();
    let answer = world.query("ec2", &example(&[]));
    assert!(contains(&answer, "<state>open</state><status><code>pending-evaluation</code>"));
    assert!(contains(&answer, "<blockDurationMinutes>60</blockDurationMinutes>"));
    let id = between(&answer, "spotInstanceRequestId").expect("an id").to_owned();
    world.wait_ms(700);
    assert!(contains(&describe(&mut world, &id), "<code>pending-fulfillment</code>"));
    world.wait_ms(500);
    let answer = describe(&mut world, &id);
    assert!(contains(&answer, "<state>active</state><status><code>fulfilled</code>"));
    let instance = between(&answer, "instanceId").expect("an instance").to_owned();
    assert_eq!(world.cloud.take_effects(), [Effect::StartNode { instance: instance.clone() }]);
    let form = format!("Action=DescribeInstances&InstanceId.1={instance}");
    assert!(contains(&world.query("ec2", &form), "<code>0</code><name>pending</name>"));
    world.wait_ms(700);
    let answer = world.query("ec2", &form);
    for piece in [
        "<code>16</code><name>running</name>",
        "<instanceLifecycle>spot</instanceLifecycle>",
        "<launchTime>2026-11-24T12:00:01.000Z</launchTime>",
        "<subnetId>subnet-c8d30ae4</subnetId>",
        "<keyName>jewart</keyName>",
        "<arn>arn:aws:iam::123456789012:instance-profile/ecsInstanceRole</arn>",
        "<groupSet><item><groupId>sg-55964223</groupId><groupName>batch-block</groupName></item></groupSet>",
    ] {
        assert!(contains(&answer, piece));
    }
    assert!(contains(&answer, &format!("<spotInstanceRequestId>{id}</spotInstanceRequestId>")));
}

#[test]
fn a_new_request_is_unknown_for_a_moment_to_whoever_asks_by_its_id() {
    let mut world = World::new();
    let id = request(&mut world, &[]);
    let by_id = format!("Action=DescribeSpotInstanceRequests&SpotInstanceRequestId.1={id}");
    let error = world.try_query("ec2", &by_id).expect_err("too early");
    assert!(error.starts_with("400 InvalidSpotInstanceRequestID.NotFound"), "{error}");
    let by_filter = "Action=DescribeSpotInstanceRequests&Filter.1.Name=state&Filter.1.Value.1=open";
    assert!(contains(&world.query("ec2", by_filter), "<spotInstanceRequestSet/>"));
    world.wait_ms(300);
    assert!(contains(&world.query("ec2", by_filter), &id));
    world.query("ec2", &by_id);
}

#[test]
fn wrong_requests_are_refused_with_aws_codes() {
    let long = BASE64.encode(vec![b'x'; 16 * 1024 + 1]);
    let longest = BASE64.encode(vec![b'x'; 16 * 1024]);
    let spec = |name: &str| format!("LaunchSpecification.{name}");
    let cases: Vec<(Vec<(String, &str)>, &str)> = vec![
        (vec![("BlockDurationMinutes".into(), "61")], "InvalidParameterValue"),
        (vec![("BlockDurationMinutes".into(), "0")], "InvalidParameterValue"),
        (vec![("BlockDurationMinutes".into(), "420")], "InvalidParameterValue"),
        (vec![("BlockDurationMinutes".into(), "an hour")], "InvalidParameterValue"),
        (vec![("LaunchGroup".into(), "g")], "InvalidParameterCombination"),
        (vec![("AvailabilityZoneGroup".into(), "g")], "InvalidParameterCombination"),
        (vec![("InstanceInterruptionBehavior".into(), "stop")], "InvalidParameterCombination"),
        (vec![("SpotPrice".into(), "-1")], "InvalidParameterValue"),
        (vec![("SpotPrice".into(), "0.00")], "InvalidParameterValue"),
        (vec![("SpotPrice".into(), "1e-3")], "InvalidParameterValue"),
        (vec![("InstanceCount".into(), "0")], "InvalidParameterValue"),
        (vec![("Type".into(), "twice")], "InvalidParameterValue"),
        (vec![("ValidUntil".into(), "2026-11-24T11:59:59Z")], "InvalidTime"),
        (vec![("ClientToken".into(), "ü")], "InvalidClientToken"),
        (vec![("Colour".into(), "red")], "UnknownParameter"),
        (vec![(spec("UserData"), "not base64!")], "InvalidUserData.Malformed"),
        (
            vec![(spec("UserData"), &long)],
            "InvalidParameterValue: User data is limited to 16384 bytes",
        ),
        (vec![(spec("ImageId"), "")], "MissingParameter"),
        (vec![(spec("ImageId"), "ami-00000000")], "InvalidAMIID.NotFound"),
        (vec![(spec("ImageId"), "image")], "InvalidAMIID.Malformed"),
        (vec![(spec("InstanceType"), "t2.gigantic")], "InvalidParameterValue"),
        (
            vec![(spec("InstanceType"), "m6g.large")],
            "InvalidParameterValue: The architecture 'arm64'",
        ),
        (vec![(spec("SubnetId"), "subnet-00000000")], "InvalidSubnetID.NotFound"),
        (
            vec![(spec("SubnetId"), "subnet-71c4a607")],
            "InvalidParameter: Security group sg-55964223 and subnet",
        ),
        (vec![(spec("SecurityGroupId.1"), "sg-00000000")], "InvalidGroup.NotFound"),
        (vec![(spec("SecurityGroup.1"), "batch-block")], "InvalidParameterCombination"),
        (vec![(spec("KeyName"), "nobody")], "InvalidKeyPair.NotFound"),
        (vec![(spec("Placement.AvailabilityZone"), "us-east-1a")], "InvalidParameterValue"),
        (
            vec![(spec("Placement.AvailabilityZone"), "us-east-1z")],
            "InvalidParameterValue: Invalid availability zone",
        ),
        (
            vec![(spec("IamInstanceProfile.Name"), "nobody")],
            "InvalidParameterValue: Value (nobody) for parameter iamInstanceProfile.name is \
             invalid. Invalid IAM Instance Profile name",
        ),
        (
            vec![
                ("TagSpecification.1.ResourceType".into(), "instance"),
                ("TagSpecification.1.Tag.1.Key".into(), "a"),
            ],
            "InvalidParameterValue: 'instance' is not a valid taggable resource type",
        ),
    ];
    let mut world = World::new();
    for (changes, expected) in &cases {
        let changes: Vec<(&str, &str)> =
            changes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let error = world.try_query("ec2", &example(&changes)).expect_err(expected);
        assert!(error.starts_with(&format!("400 {expected}")), "{changes:?}: {error}");
    }
    assert!(contains(
        &world.query("ec2", "Action=DescribeSpotInstanceRequests"),
        "<spotInstanceRequestSet/>"
    ));
    world.query("ec2", &example(&[("LaunchSpecification.UserData", &longest)]));
}

#[test]
fn a_block_is_refused_as_aws_does_today() {
    let mut world = World::with(Options { spot_block: SpotBlock::Refuse, ..Options::default() });
    let error = world.try_query("ec2", &example(&[])).expect_err("refused");
    assert_eq!(error, "400 InvalidParameterValue: BlockDurationMinutes is not a valid parameter");
    world.query("ec2", &example(&[("BlockDurationMinutes", "")]));
}

#[test]
fn a_client_token_buys_once() {
    let mut world = World::new();
    let first = request(&mut world, &[("ClientToken", "t-1")]);
    world.wait_ms(60_000);
    assert_eq!(request(&mut world, &[("ClientToken", "t-1")]), first);
    let error = world.try_query("ec2", &example(&[("ClientToken", "t-1"), ("SpotPrice", "0.04")]));
    assert!(error.expect_err("other parameters").starts_with("400 IdempotentParameterMismatch"));
    assert_ne!(request(&mut world, &[("ClientToken", "t-2")]), first);
}

#[test]
fn a_count_of_three_is_three_requests_with_the_same_tags() {
    let mut world = World::new();
    let tags = [
        ("InstanceCount", "3"),
        ("TagSpecification.1.ResourceType", "spot-instances-request"),
        ("TagSpecification.1.Tag.1.Key", "spotblock:block"),
        ("TagSpecification.1.Tag.1.Value", "sb-1f2c"),
    ];
    let answer = world.query("ec2", &example(&tags));
    assert_eq!(all(&answer, "spotInstanceRequestId").len(), 3);
    world.wait_ms(2_000);
    let filter = "Filter.1.Name=tag%3Aspotblock%3Ablock&Filter.1.Value.1=sb-1f2c";
    let answer = world.query("ec2", &format!("Action=DescribeSpotInstanceRequests&{filter}"));
    assert_eq!(all(&answer, "instanceId").len(), 3);
    let instances = world.query("ec2", &format!("Action=DescribeInstances&{filter}"));
    assert!(
        contains(&instances, "<reservationSet/>"),
        "instances don't inherit the request's tags"
    );
}

#[test]
fn price_and_capacity_hold_a_request_until_they_allow_it() {
    let mut world = World::with(Options { spot_capacity: Some(1), ..Options::default() });
    let cheap = request(&mut world, &[("SpotPrice", "0.001")]);
    world.wait_ms(60_000);
    assert!(contains(
        &describe(&mut world, &cheap),
        "<state>open</state><status><code>price-too-low</code>"
    ));
    launched(&mut world, &[]);
    let late = request(&mut world, &[]);
    world.wait_ms(60_000);
    assert!(contains(&describe(&mut world, &late), "<code>capacity-not-available</code>"));
    world.cloud.options.spot_capacity = Some(5);
    world.cloud.options.spot_price = Some(0.0005);
    world.wait_ms(1);
    world.wait_ms(2_000);
    for id in [cheap, late] {
        assert!(contains(&describe(&mut world, &id), "<code>fulfilled</code>"));
    }
}

#[test]
fn a_request_that_isnt_fulfilled_in_time_expires_by_the_second() {
    let mut world = World::with(Options { spot_capacity: Some(0), ..Options::default() });
    let id = request(&mut world, &[("ValidUntil", "2026-11-24T12:01:00Z")]);
    world.wait_ms(59_000);
    assert!(contains(&describe(&mut world, &id), "<state>open</state>"));
    world.wait_ms(1_000);
    world.cloud.options.spot_capacity = None;
    let answer = describe(&mut world, &id);
    assert!(contains(&answer, "<state>cancelled</state><status><code>schedule-expired</code>"));
    assert!(contains(&answer, "<updateTime>2026-11-24T12:01:00.000Z</updateTime>"));
}

#[test]
fn a_request_fails_at_its_evaluation_when_told_to() {
    let mut world = World::with(Options {
        spot_failure: Some(SpotFailure::BadParameters),
        ..Options::default()
    });
    let id = request(&mut world, &[]);
    world.wait_ms(350);
    assert!(contains(&describe(&mut world, &id), "<state>open</state>"));
    world.wait_ms(60_000);
    assert!(contains(
        &describe(&mut world, &id),
        "<state>failed</state><status><code>bad-parameters</code>"
    ));
    world.cloud.options.spot_failure = None;
    world.wait_ms(60_000);
    assert!(contains(&describe(&mut world, &id), "<state>failed</state>"));
}

#[test]
fn cancelling_ends_an_open_request_and_leaves_an_instance_alone() {
    let mut world = World::new();
    let open = request(&mut world, &[]);
    let cancel =
        |id: &str| format!("Action=CancelSpotInstanceRequests&SpotInstanceRequestId.1={id}");
    assert!(contains(&world.query("ec2", &cancel(&open)), "<state>cancelled</state>"));
    world.wait_ms(60_000);
    assert!(contains(&describe(&mut world, &open), "<code>canceled-before-fulfillment</code>"));
    let (active, id) = launched(&mut world, &[]);
    world.query("ec2", &cancel(&active));
    world.wait_ms(60_000);
    assert!(contains(
        &describe(&mut world, &active),
        "<code>request-canceled-and-instance-running</code>"
    ));
    assert_eq!(instance(&world.cloud, &id).map(|it| it.state), Some(State::Running));
}

/// What happened to instances, without the times.
fn happened(world: &World) -> Vec<String> {
    let told = |what: &What| match what {
        What::Launched { .. } => Some("launched".to_owned()),
        What::InterruptionNotice { .. } => Some("notice".to_owned()),
        What::Gone { how, .. } => Some(how.clone()),
        _ => None,
    };
    world.cloud.events().iter().filter_map(|event| told(&event.what)).collect()
}

#[test]
fn a_block_that_nobody_ends_is_taken_two_minutes_after_its_end() {
    let mut world = World::new();
    let (request, id) = launched(&mut world, &[]);
    let start = instance(&world.cloud, &id).expect("it").launch_time;
    let end = start + SignedDuration::from_mins(60);
    world.now = end - SignedDuration::from_millis(1);
    world.wait_ms(0);
    assert_eq!(happened(&world), ["launched"]);
    world.wait_ms(1);
    assert_eq!(happened(&world), ["launched", "notice"]);
    assert!(contains(&describe(&mut world, &request), "<code>marked-for-termination</code>"));
    world.wait_ms(120_000);
    assert_eq!(happened(&world), ["launched", "notice", "taken-by-aws"]);
    assert!(world.cloud.take_effects().contains(&Effect::EndNode { instance: id.clone() }));
    world.wait_ms(1_000);
    let answer = describe(&mut world, &request);
    assert!(contains(
        &answer,
        "<state>closed</state><status><code>instance-terminated-by-schedule</code>"
    ));
    let answer = world.query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
    assert!(
        contains(&answer, "<name>terminated</name>")
            && contains(&answer, "Server.SpotInstanceTermination")
    );
}

/// Catches: things that are due together happening at the time of the call instead of their own.
#[test]
fn a_long_pause_changes_nothing_about_when_things_happened() {
    let mut world = World::new();
    request(&mut world, &[]);
    let before = world.now;
    world.wait_ms(3 * 3_600_000);
    let gone = world
        .cloud
        .events()
        .iter()
        .find(|event| matches!(event.what, What::Gone { .. }))
        .expect("gone");
    let since = gone.at.duration_since(before);
    assert_eq!(since.as_mins(), 62, "{since:?}");
}

#[test]
fn block_ends_in_dates_the_launch_back() {
    let ends_in = SignedDuration::from_secs(40);
    let mut world = World::with(Options { block_ends_in: Some(ends_in), ..Options::default() });
    let (_, id) = launched(&mut world, &[]);
    let launch_time = instance(&world.cloud, &id).expect("it").launch_time;
    let Some(What::Launched { ends_at, .. }) =
        world.cloud.events().first().map(|event| event.what.clone())
    else {
        panic!("no launch")
    };
    let end = launch_time + SignedDuration::from_mins(60);
    assert_eq!(ends_at, Some(end + SignedDuration::from_mins(2)));
    let left = end.duration_since(world.cloud.events()[0].at);
    assert!(left <= ends_in && left > ends_in - SignedDuration::from_secs(1), "{left:?}");
}

#[test]
fn each_end_of_an_instance_closes_its_request() {
    type End = fn(&mut World, &str);
    let cases: [(End, &str, &str); 3] = [
        (
            |world, id| ec2::power_off(&mut world.cloud, world.now, id),
            "power-off",
            "instance-terminated-by-user",
        ),
        (
            |world, id| ec2::vanish(&mut world.cloud, world.now, id),
            "vanished",
            "instance-terminated-by-service",
        ),
        (
            |world, id| {
                let taken_at = world.now + SignedDuration::from_secs(5);
                ec2::interrupt(&mut world.cloud, world.now, id, "terminate", taken_at);
                world.wait_ms(5_000);
            },
            "taken-by-aws",
            "instance-terminated-no-capacity",
        ),
    ];
    for (end, how, code) in cases {
        let mut world = World::new();
        let (request, id) = launched(&mut world, &[]);
        end(&mut world, &id);
        assert_eq!(happened(&world).last().map(String::as_str), Some(how));
        assert!(contains(&describe(&mut world, &request), &format!("<code>{code}</code>")));
        // A second end of the same instance is no event.
        ec2::power_off(&mut world.cloud, world.now, &id);
        assert_eq!(
            happened(&world).iter().filter(|what| *what != "launched" && *what != "notice").count(),
            1
        );
    }
}

#[test]
fn one_unknown_id_and_none_is_terminated() {
    let mut world = World::new();
    let (_, id) = launched(&mut world, &[]);
    let both =
        format!("Action=TerminateInstances&InstanceId.1={id}&InstanceId.2=i-0123456789abcdef0");
    let error = world.try_query("ec2", &both).expect_err("one is unknown");
    assert_eq!(
        error,
        "400 InvalidInstanceID.NotFound: The instance ID 'i-0123456789abcdef0' does not exist"
    );
    assert!(instance(&world.cloud, &id).is_some_and(super::Instance::alive));
    let answer = world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={id}"));
    assert!(contains(
        &answer,
        "<previousState><code>16</code><name>running</name></previousState>"
    ));
    assert!(contains(
        &answer,
        "<currentState><code>32</code><name>shutting-down</name></currentState>"
    ));
    world.wait_ms(1_000);
    let again = world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={id}"));
    assert!(contains(
        &again,
        "<previousState><code>48</code><name>terminated</name></previousState>"
    ));
    world.wait_ms(3_600_000);
    let error = world.try_query("ec2", &format!("Action=DescribeInstances&InstanceId.1={id}"));
    assert!(error.expect_err("forgotten after an hour").contains("InvalidInstanceID.NotFound"));
}

#[test]
fn instances_are_filtered_by_state_and_status_shows_running_ones() {
    let mut world = World::new();
    let (_, ended) = launched(&mut world, &[]);
    let (_, running) = launched(&mut world, &[]);
    world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={ended}"));
    let filter = "Action=DescribeInstances&Filter.1.Name=instance-state-name&Filter.1.Value.1=pending&Filter.1.Value.2=running";
    assert_eq!(all(&world.query("ec2", filter), "instanceId"), [running.as_str()]);
    let status = world.query("ec2", "Action=DescribeInstanceStatus");
    assert_eq!(all(&status, "instanceId"), [running.as_str()]);
    let status = world.query("ec2", "Action=DescribeInstanceStatus&IncludeAllInstances=true");
    assert_eq!(all(&status, "instanceId").len(), 2);
    let error = world
        .try_query("ec2", &format!("Action=DescribeInstances&InstanceId.1={running}&MaxResults=5"));
    assert!(error.expect_err("ids and a page").contains("InvalidParameterCombination"));
}

#[test]
fn calls_are_recorded_with_nested_parameters() {
    let mut world = World::new();
    request(&mut world, &[("ClientToken", "t-1")]);
    let call = world.cloud.calls().last().expect("a call");
    assert_eq!((call.service.as_str(), call.operation.as_str()), ("ec2", "RequestSpotInstances"));
    assert_eq!(call.parameters["ClientToken"], "t-1");
    assert_eq!(call.parameters["LaunchSpecification"]["SecurityGroupId"][0], "sg-55964223");
}
