//! RunInstances, and capacity that is reserved for it.

use jiff::Timestamp;

use crate::cloud::testing::{World, all, between, contains};
use crate::journal::record::What;
use crate::protocol::Options;

const RUN: &str =
    "Action=RunInstances&ImageId=ami-a7a242da&InstanceType=c5.large&SubnetId=subnet-c8d30ae4";
const RESERVE: &str = "Action=CreateCapacityReservation&InstanceType=c5.large&InstancePlatform=Linux%2FUNIX&AvailabilityZone=us-east-1c&InstanceMatchCriteria=targeted";

fn run(count: u32, more: &str) -> String {
    format!("{RUN}&MinCount={count}&MaxCount={count}{more}")
}

/// RunInstances' parameters for a target.
fn into(reservation: &str) -> String {
    format!(
        "&CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId={reservation}"
    )
}

/// A reservation for so many that is active; gives its id.
fn reserved(world: &mut World, count: u32, more: &str) -> String {
    let answer = world.query("ec2", &format!("{RESERVE}&InstanceCount={count}{more}"));
    assert!(contains(&answer, "<state>pending</state>"));
    world.wait_ms(400);
    between(&answer, "capacityReservationId").expect("an id").to_owned()
}

/// State and how many instances still fit in.
fn shown(world: &mut World, id: &str) -> (String, String) {
    let form = format!("Action=DescribeCapacityReservations&CapacityReservationId.1={id}");
    let answer = world.query("ec2", &form);
    let part = |name: &str| between(&answer, name).expect(name).to_owned();
    (part("state"), part("availableInstanceCount"))
}

fn shows(world: &mut World, id: &str, state: &str, available: &str) {
    assert_eq!(shown(world, id), (state.to_owned(), available.to_owned()));
}

fn instances(answer: &str) -> Vec<String> {
    all(answer, "instanceId").into_iter().map(str::to_owned).collect()
}

/// Codes of the calls that fail.
fn refused(world: &mut World, form: &str, code: &str) {
    let error = world.try_query("ec2", form).expect_err(code);
    assert!(
        error.split(' ').nth(1).is_some_and(|given| given == format!("{code}:")),
        "{form}: {error}"
    );
}

fn how_ended(world: &World) -> Vec<String> {
    let ends = world.cloud.events().iter().filter_map(|event| match &event.what {
        What::Gone { how, .. } => Some(how.clone()),
        _ => None,
    });
    ends.collect()
}

#[test]
fn instances_are_run_with_tags_metadata_options_and_a_token() {
    let mut world = World::new();
    let form = run(
        3,
        "&ClientToken=t-1&InstanceInitiatedShutdownBehavior=terminate&MetadataOptions.HttpTokens=required&MetadataOptions.InstanceMetadataTags=enabled&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=block&TagSpecification.1.Tag.1.Value=b",
    );
    let answer = world.query("ec2", &form);
    let ids = instances(&answer);
    assert_eq!(ids.len(), 3);
    assert!(contains(&answer, "<key>block</key><value>b</value>"));
    assert!(contains(&answer, "<instanceMetadataTags>enabled</instanceMetadataTags>"));
    assert_eq!(instances(&world.query("ec2", &form)), ids);
    refused(&mut world, &form.replace("MaxCount=3", "MaxCount=4"), "IdempotentParameterMismatch");
    world.wait_ms(60_000);
    let all_of_them = world.query(
        "ec2",
        "Action=DescribeInstances&Filter.1.Name=instance-state-name&Filter.1.Value.1=running",
    );
    assert_eq!(instances(&all_of_them), ids);
}

#[test]
fn what_a_request_says_is_laid_over_its_launch_template() {
    let mut world = World::new();
    let create = "Action=CreateLaunchTemplate&LaunchTemplateName=block&LaunchTemplateData.ImageId=ami-a7a242da&LaunchTemplateData.InstanceType=c5.large&LaunchTemplateData.KeyName=jewart";
    let template = world.query("ec2", create);
    let id = between(&template, "launchTemplateId").expect("an id");
    let form = format!(
        "Action=RunInstances&MinCount=1&MaxCount=1&LaunchTemplate.LaunchTemplateId={id}&LaunchTemplate.Version=1&InstanceType=m5.large"
    );
    let answer = world.query("ec2", &form);
    assert!(contains(&answer, "<instanceType>m5.large</instanceType>"));
    assert!(contains(&answer, "<keyName>jewart</keyName>"));
    assert!(contains(&answer, &format!("<key>aws:ec2launchtemplate:id</key><value>{id}</value>")));
    refused(
        &mut world,
        &form.replace("Version=1", "Version=7"),
        "InvalidLaunchTemplateId.VersionNotFound",
    );
}

#[test]
fn fewer_than_the_minimum_is_none_at_all() {
    let options = Options { capacity: [("c5.large/*".to_owned(), 3)].into(), ..Options::default() };
    let mut world = World::with(options);
    let some = format!("{RUN}&MinCount=2&MaxCount=5");
    assert_eq!(instances(&world.query("ec2", &some)).len(), 3);
    refused(&mut world, &run(1, ""), "InsufficientInstanceCapacity");
    assert_eq!(instances(&world.query("ec2", "Action=DescribeInstances")).len(), 3);
}

#[test]
fn wrong_runs_are_refused() {
    let mut world = World::new();
    for (more, code) in [
        ("&MinCount=0&MaxCount=1", "InvalidParameterValue"),
        ("&MinCount=2&MaxCount=1", "InvalidParameterValue"),
        ("&MinCount=1&MaxCount=1&Colour=red", "UnknownParameter"),
        ("&MinCount=1&MaxCount=1&InstanceMarketOptions.MarketType=cheap", "InvalidParameterValue"),
        (
            "&MinCount=1&MaxCount=1&InstanceMarketOptions.MarketType=capacity-block",
            "InvalidParameterCombination",
        ),
        (
            "&MinCount=1&MaxCount=1&InstanceMarketOptions.MarketType=spot\
             &InstanceMarketOptions.SpotOptions.BlockDurationMinutes=60",
            "InvalidParameterValue",
        ),
        (
            "&MinCount=1&MaxCount=1&InstanceMarketOptions.MarketType=spot\
             &InstanceMarketOptions.SpotOptions.MaxPrice=0.0001",
            "SpotMaxPriceTooLow",
        ),
        (
            "&MinCount=1&MaxCount=1&CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId=cr-0",
            "InvalidCapacityReservationId.NotFound",
        ),
    ] {
        refused(&mut world, &format!("{RUN}{more}"), code);
    }
    let spot = run(1, "&InstanceMarketOptions.MarketType=spot");
    assert!(contains(&world.query("ec2", &spot), "<instanceLifecycle>spot</instanceLifecycle>"));
}

#[test]
fn a_reservation_is_filled_and_refuses_what_does_not_fit() {
    let mut world = World::new();
    let id = reserved(&mut world, 3, "");
    shows(&mut world, &id, "active", "3");
    let two = world.query("ec2", &run(2, &into(&id)));
    assert!(contains(&two, &format!("<capacityReservationId>{id}</capacityReservationId>")));
    shows(&mut world, &id, "active", "1");
    refused(&mut world, &run(2, &into(&id)), "ReservationCapacityExceeded");
    let other_zone = run(1, &into(&id)).replace("subnet-c8d30ae4", "subnet-1b6e40a1");
    refused(&mut world, &other_zone, "InvalidParameterValue");
    let other_type = run(1, &into(&id)).replace("c5.large", "m5.large");
    refused(&mut world, &other_type, "InvalidParameterValue");
    world.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={}", instances(&two)[0]));
    shows(&mut world, &id, "active", "2");
    let in_it = format!(
        "Action=DescribeInstances&Filter.1.Name=capacity-reservation-id&Filter.1.Value.1={id}"
    );
    assert_eq!(instances(&world.query("ec2", &in_it)).len(), 2);
}

/// Catches: capacity that is counted twice, for the reservation and for what runs in it, or not at
/// all.
#[test]
fn a_reservation_holds_capacity_and_quota_against_everybody_else() {
    let capacity = [("c5.large/us-east-1c".to_owned(), 5)].into();
    let mut world =
        World::with(Options { capacity, on_demand_vcpus: Some(12), ..Options::default() });
    let id = reserved(&mut world, 4, "");
    refused(&mut world, &run(2, ""), "InsufficientInstanceCapacity");
    assert_eq!(instances(&world.query("ec2", &run(4, &into(&id)))).len(), 4);
    world.query("ec2", &run(1, ""));
    refused(&mut world, &format!("{RESERVE}&InstanceCount=1"), "InsufficientInstanceCapacity");
    refused(&mut world, &format!("{RESERVE}&InstanceCount=7"), "InstanceLimitExceeded");
}

#[test]
fn instances_live_on_when_their_reservation_is_cancelled_or_expires() {
    let mut world = World::new();
    let cancelled = reserved(&mut world, 1, "");
    let expiring = reserved(&mut world, 1, "&EndDateType=limited&EndDate=2026-11-24T13:00:00Z");
    for id in [&cancelled, &expiring] {
        world.query("ec2", &run(1, &into(id)));
    }
    let cancel = format!("Action=CancelCapacityReservation&CapacityReservationId={cancelled}");
    world.query("ec2", &cancel);
    refused(&mut world, &cancel, "InvalidCapacityReservationState");
    refused(&mut world, &run(1, &into(&cancelled)), "InvalidCapacityReservationState");
    world.wait_ms(3_700_000);
    shows(&mut world, &cancelled, "cancelled", "0");
    shows(&mut world, &expiring, "expired", "0");
    assert_eq!(how_ended(&world), Vec::<String>::new());
}

#[test]
fn an_open_reservation_takes_what_fits_and_is_modified() {
    let mut world = World::new();
    let id = reserved(&mut world, 1, "").clone();
    let modify =
        |more: &str| format!("Action=ModifyCapacityReservation&CapacityReservationId={id}{more}");
    world.query("ec2", &modify("&InstanceCount=2&InstanceMatchCriteria=open"));
    world.query("ec2", &run(1, ""));
    shows(&mut world, &id, "active", "1");
    world.query(
        "ec2",
        &run(1, "&CapacityReservationSpecification.CapacityReservationPreference=none"),
    );
    shows(&mut world, &id, "active", "1");
    refused(&mut world, &modify("&EndDateType=limited"), "MissingParameter");
    world.query("ec2", &modify("&EndDateType=limited&EndDate=2026-11-24T14:00:00Z"));
    world.wait_ms(7_300_000);
    shows(&mut world, &id, "expired", "0");
}

#[test]
fn a_reservation_is_created_once_for_a_token_and_by_aws_rules() {
    let mut world = World::new();
    let form = format!(
        "{RESERVE}&InstanceCount=1&ClientToken=t-1&TagSpecifications.1.ResourceType=capacity-reservation&TagSpecifications.1.Tag.1.Key=block&TagSpecifications.1.Tag.1.Value=b"
    );
    let first = world.query("ec2", &form);
    let id = |answer: &str| between(answer, "capacityReservationId").expect("an id").to_owned();
    assert_eq!(id(&world.query("ec2", &form)), id(&first));
    refused(
        &mut world,
        &form.replace("InstanceCount=1", "InstanceCount=2"),
        "IdempotentParameterMismatch",
    );
    let tagged = "Action=DescribeCapacityReservations&Filter.1.Name=tag%3Ablock&Filter.1.Value.1=b";
    assert!(contains(&world.query("ec2", tagged), &id(&first)));
    for (from, to, code) in [
        ("InstanceCount=1", "InstanceCount=0", "InvalidParameterValue"),
        ("us-east-1c", "us-east-1z", "InvalidParameterValue"),
        ("c5.large", "t9.huge", "InvalidParameterValue"),
        ("Linux%2FUNIX", "Windows", "InvalidParameterValue"),
        (
            "InstanceCount=1",
            "InstanceCount=1&EndDate=2026-11-25T00:00:00Z",
            "InvalidParameterCombination",
        ),
        (
            "InstanceCount=1",
            "InstanceCount=1&EndDateType=limited&EndDate=2026-11-24T00:00:00Z",
            "InvalidParameterValue",
        ),
        ("=capacity-reservation", "=instance", "InvalidParameterValue"),
    ] {
        refused(
            &mut world,
            &form.replace("ClientToken=t-1", "ClientToken=t-2").replace(from, to),
            code,
        );
    }
}

const OFFERINGS: &str = "Action=DescribeCapacityBlockOfferings&InstanceType=p5.4xlarge&InstanceCount=2&CapacityDurationHours=24";
const RUN_IN_BLOCK: &str = "Action=RunInstances&ImageId=ami-a7a242da&InstanceType=p5.4xlarge&MinCount=2&MaxCount=2&InstanceMarketOptions.MarketType=capacity-block";

/// Buys the first of the offerings; gives the answer.
fn bought(world: &mut World, offerings: &str) -> String {
    let offering = between(offerings, "capacityBlockOfferingId").expect("an offering");
    let form = format!(
        "Action=PurchaseCapacityBlock&InstancePlatform=Linux%2FUNIX&CapacityBlockOfferingId={offering}"
    );
    world.query("ec2", &form)
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn a_capacity_block_is_offered_bought_used_and_taken_back_half_an_hour_early() {
    let mut world = World::new();
    let offerings = world.query("ec2", OFFERINGS);
    assert!(contains(&offerings, "<startDate>2026-11-25T11:30:00.000Z</startDate>"));
    assert!(contains(&offerings, "<endDate>2026-11-26T11:30:00.000Z</endDate>"));
    assert!(contains(
        &offerings,
        "<upfrontFee>330.2400</upfrontFee><currencyCode>USD</currencyCode>"
    ));
    let answer = bought(&mut world, &offerings);
    let id = between(&answer, "capacityReservationId").expect("an id").to_owned();
    let zone = between(&answer, "availabilityZone").expect("a zone").to_owned();
    shows(&mut world, &id, "payment-pending", "0");
    world.wait_ms(1_000);
    shows(&mut world, &id, "scheduled", "0");
    let run = format!("{RUN_IN_BLOCK}&Placement.AvailabilityZone={zone}{}", into(&id));
    refused(&mut world, &run, "InvalidCapacityReservationState");
    world.now = at("2026-11-25T11:30:00Z");
    world.wait_ms(0);
    shows(&mut world, &id, "active", "2");
    let plain = run.replace("&InstanceMarketOptions.MarketType=capacity-block", "");
    refused(&mut world, &plain, "InvalidParameterValue");
    let launched = world.query("ec2", &run);
    assert!(contains(&launched, "<instanceLifecycle>capacity-block</instanceLifecycle>"));
    world.now = at("2026-11-26T10:59:59Z");
    world.wait_ms(0);
    assert_eq!(how_ended(&world), Vec::<String>::new());
    world.wait_ms(1_000);
    assert_eq!(how_ended(&world), ["taken-by-aws", "taken-by-aws"]);
    refused(&mut world, &run, "InvalidCapacityReservationState");
    world.now = at("2026-11-26T11:30:00Z");
    world.wait_ms(0);
    shows(&mut world, &id, "expired", "0");
    let blocks = world.query("ec2", "Action=DescribeCapacityBlocks");
    assert!(contains(&blocks, &format!("<capacityReservationIdSet><item>{id}</item>")));
}

#[test]
fn a_block_is_extended_until_an_hour_before_its_end() {
    let mut world = World::new();
    let offerings = world.query("ec2", OFFERINGS);
    let answer = bought(&mut world, &offerings);
    let id = between(&answer, "capacityReservationId").expect("an id").to_owned();
    let search = format!(
        "Action=DescribeCapacityBlockExtensionOfferings&CapacityReservationId={id}&CapacityBlockExtensionDurationHours=24"
    );
    refused(&mut world, &search, "InvalidCapacityReservationState");
    world.now = at("2026-11-26T10:30:00Z");
    let offered = world.query("ec2", &search);
    let offering = between(&offered, "capacityBlockExtensionOfferingId").expect("an offering");
    let buy = format!(
        "Action=PurchaseCapacityBlockExtension&CapacityReservationId={id}&CapacityBlockExtensionOfferingId={offering}"
    );
    assert!(contains(&world.query("ec2", &buy), "<capacityBlockExtensionStatus>payment-pending<"));
    world.wait_ms(1_000);
    let history = world.query("ec2", "Action=DescribeCapacityBlockExtensionHistory");
    assert!(contains(&history, "<capacityBlockExtensionStatus>payment-succeeded<"));
    world.now = at("2026-11-26T12:00:00Z");
    world.wait_ms(0);
    shows(&mut world, &id, "active", "2");
    world.now = at("2026-11-27T10:30:01Z");
    refused(&mut world, &search, "InvalidCapacityReservationState");
}

/// Catches: a purchase that is safe to repeat here and not at AWS.
#[test]
fn what_is_bought_twice_is_paid_twice_and_an_offering_is_sold_once() {
    let mut world = World::new();
    let offerings = world.query("ec2", OFFERINGS);
    assert_eq!(
        world.query("ec2", OFFERINGS).len(),
        offerings.len(),
        "the same question has the same answer"
    );
    bought(&mut world, &offerings);
    let offering = between(&offerings, "capacityBlockOfferingId").expect("an offering");
    let again = format!(
        "Action=PurchaseCapacityBlock&InstancePlatform=Linux%2FUNIX&CapacityBlockOfferingId={offering}"
    );
    refused(&mut world, &again, "InvalidCapacityBlockOfferingId.NotFound");
    let offerings = world.query("ec2", OFFERINGS);
    bought(&mut world, &offerings);
    assert_eq!(
        all(&world.query("ec2", "Action=DescribeCapacityBlocks"), "capacityBlockId").len(),
        2
    );
}

#[test]
fn a_block_can_start_at_once_or_be_near_its_end() {
    let mut world = World::new();
    world.cloud.options.capacity_block_starts_in = Some(jiff::SignedDuration::from_secs(60));
    let offerings = world.query("ec2", OFFERINGS);
    assert!(contains(&offerings, "<startDate>2026-11-24T12:01:00.000Z</startDate>"));
    world.cloud.options.block_ends_in = Some(jiff::SignedDuration::from_secs(90));
    let offerings = world.query("ec2", OFFERINGS);
    let answer = bought(&mut world, &offerings);
    let id = between(&answer, "capacityReservationId").expect("an id").to_owned();
    let zone = between(&answer, "availabilityZone").expect("a zone").to_owned();
    world.wait_ms(1_000);
    world.query("ec2", &format!("{RUN_IN_BLOCK}&Placement.AvailabilityZone={zone}{}", into(&id)));
    world.wait_ms(90_000);
    assert_eq!(how_ended(&world), ["taken-by-aws", "taken-by-aws"]);
}

#[test]
fn offerings_follow_the_window_the_capacity_and_aws_rules() {
    let mut world = World::new();
    let window = "&StartDateRange=2026-11-27T00:00:00Z&EndDateRange=2026-11-29T12:00:00Z";
    let answer = world.query("ec2", &format!("{OFFERINGS}{window}"));
    let mut starts = all(&answer, "startDate");
    starts.dedup();
    assert_eq!(starts[..2], ["2026-11-27T11:30:00.000Z", "2026-11-28T11:30:00.000Z"]);
    assert_eq!(starts.len(), 4, "two days in two zones");
    for (from, to, code) in [
        ("CapacityDurationHours=24", "CapacityDurationHours=25", "InvalidParameterValue"),
        ("CapacityDurationHours=24", "CapacityDurationHours=360", "InvalidParameterValue"),
        ("InstanceCount=2", "InstanceCount=65", "InvalidParameterValue"),
        ("p5.4xlarge", "c5.large", "InvalidParameterValue"),
        ("InstanceType=p5.4xlarge", "UltraserverType=u-p6e-gb200x36", "UnsupportedOperation"),
    ] {
        refused(&mut world, &OFFERINGS.replace(from, to), code);
    }
    world.cloud.options.capacity = [("p5.*/*/capacity-block".to_owned(), 1)].into();
    assert!(contains(&world.query("ec2", OFFERINGS), "<capacityBlockOfferingSet/>"));
}
