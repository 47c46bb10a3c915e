//! Tags, launch templates, and what the account has.

use super::launched;
use crate::cloud::testing::{World, all, between, contains};

#[test]
fn tags_are_set_found_and_deleted_by_aws_rules() {
    let mut world = World::new();
    let (request, id) = launched(&mut world, &[]);
    let tag = |id: &str, key: &str, value: &str| {
        format!("Action=CreateTags&ResourceId.1={id}&Tag.1.Key={key}&Tag.1.Value={value}")
    };
    world.query("ec2", &tag(&id, "spotblock%3Ablock", "sb-1"));
    world.query("ec2", &tag(&request, "a", ""));
    let found = "Action=DescribeInstances&Filter.1.Name=tag-key&Filter.1.Value.1=spotblock%3A*";
    assert_eq!(all(&world.query("ec2", found), "instanceId"), [id.as_str()]);
    let tags = world
        .query("ec2", "Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=instance");
    assert!(contains(
        &tags,
        &format!("<resourceId>{id}</resourceId><resourceType>instance</resourceType>")
    ));
    let long = "k".repeat(129);
    for (form, code) in [
        (tag(&id, "aws%3Ax", ""), "InvalidParameterValue"),
        (tag(&id, &long, ""), "InvalidParameterValue"),
        (tag(&id, "k", &"v".repeat(257)), "InvalidParameterValue"),
        (tag("i-0123456789abcdef0", "k", "v"), "InvalidInstanceID.NotFound"),
        (tag("sir-00000000", "k", "v"), "InvalidSpotInstanceRequestID.NotFound"),
        (tag("nonsense", "k", "v"), "InvalidID"),
    ] {
        let error = world.try_query("ec2", &form).expect_err(code);
        assert!(error.starts_with(&format!("400 {code}")), "{error}");
    }
    for number in 1..50 {
        world.query("ec2", &tag(&id, &format!("k{number}"), "v"));
    }
    let error = world.try_query("ec2", &tag(&id, "k50", "v")).expect_err("the 51st");
    assert!(error.starts_with("400 TagLimitExceeded"), "{error}");
    world.query(
        "ec2",
        &format!(
            "Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=spotblock%3Ablock&Tag.1.Value=other"
        ),
    );
    assert_eq!(
        all(&world.query("ec2", found), "instanceId").len(),
        1,
        "another value is left alone"
    );
    world.query("ec2", &format!("Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=spotblock%3Ablock"));
    assert_eq!(all(&world.query("ec2", found), "instanceId").len(), 0);
}

#[test]
fn a_launch_template_is_a_create_if_absent_that_keeps_what_it_holds() {
    let mut world = World::new();
    let form = "Action=CreateLaunchTemplate&LaunchTemplateName=spotblock-sb-1&ClientToken=c-1&LaunchTemplateData.UserData=eyJhIjoxfQ%3D%3D&LaunchTemplateData.SecurityGroupId.1=sg-55964223&LaunchTemplateData.NetworkInterface.1.DeviceIndex=0&LaunchTemplateData.NetworkInterface.1.SecurityGroupId.1=sg-1&LaunchTemplateData.TagSpecification.1.ResourceType=instance&LaunchTemplateData.TagSpecification.1.Tag.1.Key=k&LaunchTemplateData.TagSpecification.1.Tag.1.Value=v&TagSpecification.1.ResourceType=launch-template&TagSpecification.1.Tag.1.Key=own";
    let answer = world.query("ec2", form);
    assert!(contains(&answer, "<tagSet><item><key>own</key><value/></item></tagSet>"));
    assert_eq!(
        between(&world.query("ec2", form), "launchTemplateId"),
        between(&answer, "launchTemplateId")
    );
    let error = world
        .try_query("ec2", &form.replace("ClientToken=c-1", "ClientToken=c-2"))
        .expect_err("taken");
    assert!(error.starts_with("400 InvalidLaunchTemplateName.AlreadyExistsException"), "{error}");
    let versions = "Action=DescribeLaunchTemplateVersions&LaunchTemplateName=spotblock-sb-1&LaunchTemplateVersion.1=%24Latest";
    let answer = world.query("ec2", versions);
    for piece in [
        "<userData>eyJhIjoxfQ==</userData><securityGroupIdSet><item>sg-55964223</item></securityGroupIdSet>",
        "<networkInterfaceSet><item><deviceIndex>0</deviceIndex><groupSet><groupId>sg-1</groupId></groupSet></item>",
        "<tagSpecificationSet><item><resourceType>instance</resourceType><tagSet><item><key>k</key><value>v</value>",
    ] {
        assert!(contains(&answer, piece));
    }
    for (name, code) in [
        ("ab", "InvalidLaunchTemplateName.MalformedException"),
        ("a%20b", "InvalidLaunchTemplateName.MalformedException"),
    ] {
        let form = format!(
            "Action=CreateLaunchTemplate&LaunchTemplateName={name}&LaunchTemplateData.ImageId=ami-1"
        );
        let error = world.try_query("ec2", &form).expect_err(name);
        assert!(error.contains(code), "{error}");
    }
    world.query("ec2", "Action=DeleteLaunchTemplate&LaunchTemplateName=spotblock-sb-1");
    let error = world.try_query("ec2", versions).expect_err("deleted");
    assert!(error.contains("InvalidLaunchTemplateName.NotFoundException"), "{error}");
}

#[test]
fn what_an_account_has_is_described_and_what_it_hasnt_is_not_found() {
    let mut world = World::new();
    let answer = world.query(
        "ec2",
        "Action=DescribeSubnets&Filter.1.Name=availability-zone&Filter.1.Value.1=us-east-1c",
    );
    let public = ["subnet-c8d30ae4", "subnet-3d8062c3", "subnet-71c4a607"];
    let private = ["subnet-93e6c829", "subnet-a4f7d93a", "subnet-b508ea4b"];
    assert_eq!(all(&answer, "subnetId"), [public, private].concat());
    // The one has a table of its own, the others go by the VPC's.
    let of = |subnet: &str| {
        format!(
            "Action=DescribeRouteTables&Filter.1.Name=association.subnet-id&Filter.1.Value.1={subnet}"
        )
    };
    assert_eq!(all(&world.query("ec2", &of(private[1])), "natGatewayId").len(), 1);
    assert_eq!(all(&world.query("ec2", &of(private[0])), "destinationCidrBlock").len(), 0);
    assert_eq!(all(&world.query("ec2", "Action=DescribeVpcs"), "vpcId").len(), 2);
    let types = world.query("ec2", "Action=DescribeInstanceTypes&InstanceType.1=p2.xlarge");
    assert!(contains(&types, "<vCpuInfo><defaultVCpus>4</defaultVCpus></vCpuInfo>"));
    assert!(contains(&types, "<count>1</count>"));
    assert_eq!(all(&world.query("ec2", "Action=DescribeAvailabilityZones"), "zoneName").len(), 6);
    let history = "Action=DescribeSpotPriceHistory&InstanceType.1=t2.micro&AvailabilityZone=us-east-1c&StartTime=2026-11-24T12:00:00Z";
    assert_eq!(all(&world.query("ec2", history), "spotPrice"), ["0.004500"]);
    world.cloud.options.spot_price = Some(0.02);
    assert_eq!(all(&world.query("ec2", history), "spotPrice"), ["0.020000"]);
    assert_eq!(all(&world.query("ec2", "Action=DescribeImages&Owner.1=self"), "imageId").len(), 2);
    for (form, code) in [
        ("Action=DescribeSubnets&SubnetId.1=subnet-0", "InvalidSubnetID.NotFound"),
        ("Action=DescribeVpcs&VpcId.1=vpc-0", "InvalidVpcID.NotFound"),
        ("Action=DescribeSecurityGroups&GroupId.1=sg-0", "InvalidGroup.NotFound"),
        ("Action=DescribeKeyPairs&KeyName.1=nobody", "InvalidKeyPair.NotFound"),
        ("Action=DescribeImages&ImageId.1=ami-0", "InvalidAMIID.NotFound"),
        ("Action=DescribeInstanceTypes&InstanceType.1=x1.y", "InvalidInstanceType"),
        ("Action=DescribeMoonPhases", "InvalidAction"),
        ("Action=DescribeVpcs&Filter.1.Name=colour&Filter.1.Value.1=red", "InvalidParameterValue"),
    ] {
        let error = world.try_query("ec2", form).expect_err(form);
        assert!(error.starts_with(&format!("400 {code}")), "{error}");
    }
    let error = world.try_query("ec2", "Action=DescribeVpcs&DryRun=true").expect_err("a dry run");
    assert!(error.starts_with("412 DryRunOperation"), "{error}");
}

#[test]
fn types_are_found_by_what_they_have_and_where_they_are() {
    let mut world = World::new();
    let found = world.query(
        "ec2",
        "Action=DescribeInstanceTypes&Filter.1.Name=vcpu-info.default-vcpus&Filter.1.Value.1=16\
         &Filter.2.Name=processor-info.supported-architecture&Filter.2.Value.1=arm64\
         &Filter.3.Name=memory-info.size-in-mib&Filter.3.Value.1=32768",
    );
    let mut names = all(&found, "instanceType");
    names.sort_unstable();
    assert_eq!(names, ["c6g.4xlarge", "c7g.4xlarge"]);
    let blocks = "Action=DescribeInstanceTypes&Filter.1.Name=supported-usage-class&Filter.1.Value.1=capacity-block";
    let blocks = world.query("ec2", blocks);
    assert!(all(&blocks, "instanceType").contains(&"p5.48xlarge"), "{blocks}");
    let offered = "Action=DescribeInstanceTypeOfferings&LocationType=availability-zone\
                   &Filter.1.Name=instance-type&Filter.1.Value.1=c7g.large";
    let zones = world.query("ec2", offered);
    assert_eq!(
        all(&zones, "location"),
        ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d", "us-east-1f"]
    );
}

/// Catches: taking the first price of a history for the price of now, when its start was not given.
#[test]
fn the_price_of_now_is_asked_for_by_a_start_and_older_ones_follow() {
    let mut world = World::new();
    let of = "Action=DescribeSpotPriceHistory&InstanceType.1=c5.large&AvailabilityZone=us-east-1a\
              &ProductDescription.1=Linux%2FUNIX";
    let now = world.query("ec2", &format!("{of}&StartTime=2026-11-24T12:00:00Z"));
    assert_eq!(all(&now, "timestamp"), ["2026-11-24T00:00:00.000Z"]);
    let week = world.query("ec2", &format!("{of}&StartTime=2026-11-22T12:00:00Z"));
    assert_eq!(all(&week, "spotPrice").len(), 3, "{week}");
    assert_eq!(all(&week, "spotPrice")[0], all(&now, "spotPrice")[0]);
    let windows = of.replace("Linux%2FUNIX", "Windows");
    assert_eq!(all(&world.query("ec2", &windows), "spotPrice").len(), 0);
}

#[test]
fn spot_requests_beyond_the_quota_and_in_zones_without_the_type_are_refused_at_once() {
    let mut world = World::new();
    world.cloud.options.spot_vcpus = Some(2);
    let two = super::example(&[("InstanceCount", "2")]);
    world.query("ec2", &two);
    let error = world.try_query("ec2", &two).expect_err("four vCPUs");
    assert!(error.contains("MaxSpotInstanceCountExceeded"), "{error}");
    world.cloud.options.spot_vcpus = None;
    let changes = [
        ("LaunchSpecification.InstanceType", "p4d.24xlarge"),
        ("LaunchSpecification.SubnetId", "subnet-5fa284e5"),
        ("LaunchSpecification.Placement.AvailabilityZone", ""),
    ];
    let error = world.try_query("ec2", &super::example(&changes)).expect_err("not there");
    assert!(error.starts_with("400 Unsupported"), "{error}");
}
