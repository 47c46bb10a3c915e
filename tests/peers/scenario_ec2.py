"""EC2: what there is to launch into, spot requests and their instances, tags, launch templates."""

import base64
from datetime import UTC, datetime, timedelta

from cloud import Cloud
from ledger import Ledger, Service

IMAGE_WITHOUT_AGENT = "ami-000a9e4700000f00d"
PROFILE = "arn:aws:iam::123456789012:instance-profile/ecsInstanceRole"


def run(cloud: Cloud, ledger: Ledger) -> None:
    ec2 = Service(cloud, "ec2", ledger)
    account(ec2)
    refused_requests(cloud, ec2)
    instances = block(ec2)
    console(ec2, instances)
    tags(ec2, instances)
    interruption(cloud, ec2, instances)
    termination(ec2, instances)
    waiting_requests(cloud, ec2)
    templates(ec2)


def account(ec2: Service) -> None:
    subnets = ec2.pages("DescribeSubnets", 5)
    images = ec2.pages("DescribeImages", 5)
    ec2.pages("DescribeInstanceTypes", 5, at_least=3)
    ec2.pages("DescribeSpotPriceHistory", 10, InstanceTypes=["t2.micro", "t3.micro"], StartTime=datetime.now(UTC))
    offered = ec2.pages(
        "DescribeInstanceTypeOfferings", 5, LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": ["c5.large", "c7g.large"]}],
    )
    where = {one["Location"] for one in offered if one["InstanceType"] == "c7g.large"}
    ec2.check("DescribeInstanceTypeOfferings", "us-east-1e" not in where and "us-east-1a" in where, f"{where}")
    ec2.refused("DescribeInstanceTypeOfferings", "InvalidParameterValue", LocationType="street")
    routes(ec2)
    # There are fewer than the smallest page holds.
    vpcs = ec2.pages("DescribeVpcs", 5, at_least=1)
    groups = ec2.pages("DescribeSecurityGroups", 5, at_least=1)
    zones = ec2.call("DescribeAvailabilityZones", ZoneNames=["us-east-1c"])["AvailabilityZones"]
    ec2.check("DescribeAvailabilityZones", [zone["ZoneName"] for zone in zones] == ["us-east-1c"], f"{zones}")
    keys = ec2.call("DescribeKeyPairs", KeyNames=["jewart"], IncludePublicKey=True)["KeyPairs"]
    gpus = ec2.call("DescribeInstanceTypes", InstanceTypes=["g4dn.xlarge"])["InstanceTypes"][0]["GpuInfo"]
    ec2.check("DescribeInstanceTypes", gpus["Gpus"][0]["Count"] == 1, f"{gpus}")
    default = ec2.call("DescribeVpcs", Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    ec2.check("DescribeVpcs", [vpc["IsDefault"] for vpc in default] == [True], f"{default} by the filter is-default")
    own = ec2.call("DescribeImages", Owners=["self"])["Images"]
    ec2.check("DescribeImages", 0 < len(own) < len(images), f"{len(own)} of {len(images)} images are one's own")

    ec2.wait("subnet_available", SubnetIds=[subnets[0]["SubnetId"]])
    ec2.wait("vpc_exists", VpcIds=[vpcs[0]["VpcId"]])
    ec2.wait("vpc_available", VpcIds=[vpcs[0]["VpcId"]])
    ec2.wait("security_group_exists", GroupIds=[groups[0]["GroupId"]])
    ec2.wait("key_pair_exists", KeyNames=[keys[0]["KeyName"]])
    ec2.wait("image_exists", ImageIds=[IMAGE_WITHOUT_AGENT])
    ec2.wait("image_available", ImageIds=[IMAGE_WITHOUT_AGENT])

    ec2.refused("DescribeSubnets", "InvalidSubnetID.NotFound", SubnetIds=["subnet-00000000"])
    ec2.refused("DescribeSubnets", "InvalidParameterValue", MaxResults=4)
    ec2.refused("DescribeSubnets", "InvalidParameterValue", Filters=[{"Name": "colour", "Values": ["red"]}])
    ec2.refused("DescribeSubnets", "InvalidNextToken", NextToken="foreign", MaxResults=5)
    ec2.refused("DescribeSubnets", "DryRunOperation", DryRun=True)
    ec2.refused("DescribeVpcs", "InvalidVpcID.NotFound", VpcIds=["vpc-00000000"])
    ec2.refused("DescribeSecurityGroups", "InvalidGroup.NotFound", GroupIds=["sg-00000000"])
    ec2.refused("DescribeKeyPairs", "InvalidKeyPair.NotFound", KeyNames=["nobody"])
    ec2.refused("DescribeImages", "InvalidAMIID.NotFound", ImageIds=["ami-00000000"])
    ec2.refused("DescribeInstanceTypes", "InvalidInstanceType", InstanceTypes=["t9.huge"])
    ec2.refused("DescribeAvailabilityZones", "InvalidParameterValue", ZoneNames=["us-east-1z"])


def specification(**changes: object) -> dict:
    return {
        "ImageId": IMAGE_WITHOUT_AGENT,
        "InstanceType": "t2.micro",
        "KeyName": "jewart",
        "SubnetId": "subnet-c8d30ae4",
        "SecurityGroupIds": ["sg-55964223"],
        "IamInstanceProfile": {"Arn": PROFILE},
        "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
    } | changes


def refused_requests(cloud: Cloud, ec2: Service) -> None:
    def refused(code: str, launch: dict | None = None, **parameters: object) -> str:
        launch = specification() if launch is None else launch
        return ec2.refused("RequestSpotInstances", code, LaunchSpecification=launch, **parameters)

    refused("InvalidParameterValue", BlockDurationMinutes=90)
    refused("InvalidParameterCombination", BlockDurationMinutes=60, LaunchGroup="together")
    refused("InvalidParameterValue", SpotPrice="cheap")
    refused("InvalidParameterValue", InstanceCount=0)
    refused("InvalidParameterCombination", InstanceInterruptionBehavior="stop")
    refused("InvalidTime", ValidUntil=datetime.now(UTC) - timedelta(hours=1))
    in_two_hours = datetime.now(UTC) + timedelta(hours=2)
    refused("InvalidTimeRange", ValidFrom=in_two_hours, ValidUntil=datetime.now(UTC) + timedelta(hours=1))
    refused("DryRunOperation", DryRun=True)
    refused("MissingParameter", {"InstanceType": "t2.micro"})
    for code, changes in [
        ("InvalidAMIID.NotFound", {"ImageId": "ami-00000000"}),
        ("InvalidAMIID.Malformed", {"ImageId": "image"}),
        ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000"}),
        ("InvalidGroup.NotFound", {"SecurityGroupIds": ["sg-00000000"]}),
        ("InvalidParameter", {"SecurityGroupIds": ["sg-82d5b718"]}),
        ("InvalidParameterCombination", {"SecurityGroups": ["batch-block"]}),
        ("InvalidKeyPair.NotFound", {"KeyName": "nobody"}),
        ("InvalidParameterValue", {"IamInstanceProfile": {"Name": "nobody"}}),
        ("InvalidParameterValue", {"InstanceType": "m6g.large"}),
        ("InvalidParameterValue", {"Placement": {"AvailabilityZone": "us-east-1a"}}),
        ("InvalidUserData.Malformed", {"UserData": "%"}),
        ("InvalidParameterValue", {"UserData": base64.b64encode(bytes(16 * 1024 + 1)).decode()}),
    ]:
        refused(code, specification(**changes))

    cloud.control("PATCH", "options", {"spot-block": "refuse"})
    message = refused("InvalidParameterValue", BlockDurationMinutes=60)
    ec2.check("RequestSpotInstances", "BlockDurationMinutes" in message, f"refused a block with {message!r}")
    cloud.control("PATCH", "options", {"spot-block": "grant"})


def routes(ec2: Service) -> None:
    tables = ec2.pages("DescribeRouteTables", 5, at_least=1)
    ec2.check("DescribeRouteTables", len(tables) == 4, f"{len(tables)} tables")
    own = ec2.call("DescribeRouteTables", Filters=[{"Name": "association.subnet-id", "Values": ["subnet-a4f7d93a"]}])
    targets = [route.get("NatGatewayId") for table in own["RouteTables"] for route in table["Routes"]]
    ec2.check("DescribeRouteTables", targets == [None, "nat-0a9b8c7d6e5f41230"], f"{targets} of a private subnet")
    main = [{"Name": "association.main", "Values": ["true"]}, {"Name": "vpc-id", "Values": ["vpc-0d3c7b51"]}]
    [table] = ec2.call("DescribeRouteTables", Filters=main)["RouteTables"]
    ec2.check("DescribeRouteTables", [route["GatewayId"] for route in table["Routes"]] == ["local"], f"{table}")
    ec2.refused("DescribeRouteTables", "InvalidRouteTableID.NotFound", RouteTableIds=["rtb-00000000"])


def console(ec2: Service, instances: list[str]) -> None:
    shown = ec2.call("GetConsoleOutput", InstanceId=instances[0])["Output"]
    ec2.check("GetConsoleOutput", "docker.service" in shown and "spotblock-agent" not in shown, f"{shown}")
    # A t2 is older than the Nitro system.
    ec2.refused("GetConsoleOutput", "UnsupportedOperation", InstanceId=instances[0], Latest=True)
    ec2.refused("GetConsoleOutput", "InvalidInstanceID.NotFound", InstanceId="i-0123456789abcdef0")


def block(ec2: Service) -> list[str]:
    """A block of six, so that there are two pages of everything."""
    request = {
        "BlockDurationMinutes": 60,
        "ClientToken": "block-1",
        "InstanceCount": 6,
        "LaunchSpecification": specification(),
        "SpotPrice": "0.03",
        "TagSpecifications": [{"ResourceType": "spot-instances-request", "Tags": [{"Key": "block", "Value": "b-1"}]}],
        "Type": "one-time",
        "ValidUntil": datetime.now(UTC) + timedelta(minutes=10),
    }
    made = ec2.call("RequestSpotInstances", **request)["SpotInstanceRequests"]
    ids = [one["SpotInstanceRequestId"] for one in made]
    again = ec2.call("RequestSpotInstances", **request)["SpotInstanceRequests"]
    same = [one["SpotInstanceRequestId"] for one in again] == ids
    ec2.check("RequestSpotInstances", same, "the same client token brought other requests")
    ec2.refused("RequestSpotInstances", "IdempotentParameterMismatch", **(request | {"InstanceCount": 1}))
    not_found = "InvalidSpotInstanceRequestID.NotFound"
    ec2.refused("DescribeSpotInstanceRequests", not_found, SpotInstanceRequestIds=ids)
    ec2.wait("spot_instance_request_fulfilled", SpotInstanceRequestIds=ids)

    of_block = [{"Name": "tag:block", "Values": ["b-1"]}]
    requests = ec2.pages("DescribeSpotInstanceRequests", 5, Filters=of_block)
    states = {(one["State"], one["Status"]["Code"], one["BlockDurationMinutes"]) for one in requests}
    ec2.check("DescribeSpotInstanceRequests", states == {("active", "fulfilled", 60)}, f"{states}")
    ec2.refused("DescribeSpotInstanceRequests", not_found, SpotInstanceRequestIds=["sir-00000000"])
    malformed = "InvalidSpotInstanceRequestID.Malformed"
    ec2.refused("DescribeSpotInstanceRequests", malformed, SpotInstanceRequestIds=["request"])

    instances = [one["InstanceId"] for one in requests]
    ec2.wait("instance_exists", InstanceIds=instances)
    ec2.wait("instance_running", InstanceIds=instances)
    ec2.wait("instance_status_ok", InstanceIds=instances)
    ec2.wait("system_status_ok", InstanceIds=instances)
    ec2.pages("DescribeInstances", 5, Filters=[{"Name": "instance-lifecycle", "Values": ["spot"]}])
    ec2.pages("DescribeInstanceStatus", 5)
    ec2.refused("DescribeInstances", "InvalidInstanceID.NotFound", InstanceIds=["i-00000000000000000"])
    ec2.refused("DescribeInstances", "InvalidInstanceID.Malformed", InstanceIds=["instance"])
    ec2.refused("DescribeInstances", "InvalidParameterCombination", InstanceIds=instances, MaxResults=5)
    ec2.refused("DescribeInstanceStatus", "InvalidInstanceID.NotFound", InstanceIds=["i-00000000000000000"])
    return instances


def tags(ec2: Service, instances: list[str]) -> None:
    both = [{"Key": "block", "Value": "b-1"}, {"Key": "Name", "Value": "<&>"}]
    ec2.call("CreateTags", Resources=instances, Tags=both)
    ec2.call("DeleteTags", Resources=instances[:1], Tags=[{"Key": "block"}])
    of_instances = [{"Name": "resource-type", "Values": ["instance"]}]
    found = ec2.pages("DescribeTags", 5, at_least=3, Filters=of_instances)
    values = sorted({tag["Value"] for tag in found})
    ec2.check("DescribeTags", (len(found), values) == (11, ["<&>", "b-1"]), f"{len(found)} tags with {values}")
    tag = [{"Key": "a", "Value": "b"}]
    for operation in ["CreateTags", "DeleteTags"]:
        ec2.refused(operation, "InvalidInstanceID.NotFound", Resources=["i-00000000000000000"], Tags=tag)
        ec2.refused(operation, "InvalidID", Resources=["nothing-1"], Tags=tag)
    ec2.refused("CreateTags", "InvalidParameterValue", Resources=instances[:1], Tags=[{"Key": "aws:a", "Value": "b"}])
    many = [{"Key": f"k{number}", "Value": ""} for number in range(51)]
    ec2.refused("CreateTags", "TagLimitExceeded", Resources=instances[:1], Tags=many)


def interruption(cloud: Cloud, ec2: Service, instances: list[str]) -> None:
    cloud.control("POST", f"nodes/{instances[0]}/interrupt", {"in-secs": 0})
    ec2.wait("instance_terminated", InstanceIds=instances[:1])
    [request] = ec2.call(
        "DescribeSpotInstanceRequests", Filters=[{"Name": "instance-id", "Values": instances[:1]}]
    )["SpotInstanceRequests"]
    status = (request["State"], request["Status"]["Code"])
    ec2.check("DescribeSpotInstanceRequests", status == ("closed", "instance-terminated-no-capacity"), f"{status}")


def termination(ec2: Service, instances: list[str]) -> None:
    unknown = [*instances, "i-00000000000000000"]
    ec2.refused("TerminateInstances", "InvalidInstanceID.NotFound", InstanceIds=unknown)
    ec2.refused("TerminateInstances", "InvalidInstanceID.Malformed", InstanceIds=["instance"])
    changes = ec2.call("TerminateInstances", InstanceIds=instances)["TerminatingInstances"]
    before = sorted(change["PreviousState"]["Name"] for change in changes)
    ec2.check("TerminateInstances", before == ["running"] * 5 + ["terminated"], f"{before}")
    ec2.wait("instance_terminated", InstanceIds=instances)
    found = ec2.call("DescribeInstances", InstanceIds=instances)["Reservations"]
    reasons = {one["Instances"][0]["StateReason"]["Code"] for one in found}
    wanted = {"Client.UserInitiatedShutdown", "Server.SpotInstanceTermination"}
    ec2.check("DescribeInstances", reasons == wanted, f"{reasons}")
    ec2.call("DescribeInstanceStatus", InstanceIds=instances, IncludeAllInstances=True)


def waiting_requests(cloud: Cloud, ec2: Service) -> None:
    """Requests that are not fulfilled, with every parameter that a launch specification has here."""
    launch = specification(
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "VolumeType": "gp3"}}],
        EbsOptimized=False,
        Monitoring={"Enabled": False},
        Placement={"AvailabilityZone": "us-east-1c", "Tenancy": "default"},
    )
    for name in ["SubnetId", "SecurityGroupIds"]:
        launch.pop(name)
    network = {"DeviceIndex": 0, "SubnetId": "subnet-c8d30ae4", "Groups": ["sg-55964223"]}
    launch["NetworkInterfaces"] = [network | {"AssociatePublicIpAddress": True, "DeleteOnTermination": True}]
    cheap = ec2.call("RequestSpotInstances", LaunchSpecification=launch, SpotPrice="0.0001")["SpotInstanceRequests"][0]
    given = cheap["LaunchSpecification"]
    for name in ["BlockDeviceMappings", "NetworkInterfaces", "Monitoring", "Placement"]:
        ec2.check("RequestSpotInstances", given.get(name) == launch[name], f"{name} came back as {given.get(name)}")
    later = ec2.call(
        "RequestSpotInstances", LaunchSpecification=specification(), ValidFrom=datetime.now(UTC) + timedelta(hours=1),
        Type="persistent", InstanceInterruptionBehavior="stop", LaunchGroup="g", AvailabilityZoneGroup="z",
    )["SpotInstanceRequests"][0]
    ids = [cheap["SpotInstanceRequestId"], later["SpotInstanceRequestId"]]
    cloud.control("PATCH", "options", {"pace": {"consistency-ms": 0}})
    found = ec2.call("DescribeSpotInstanceRequests", SpotInstanceRequestIds=ids)["SpotInstanceRequests"]
    ec2.check("DescribeSpotInstanceRequests", {one["State"] for one in found} == {"open"}, f"{found}")
    cancelled = ec2.call("CancelSpotInstanceRequests", SpotInstanceRequestIds=ids)["CancelledSpotInstanceRequests"]
    states = [one["State"] for one in cancelled]
    ec2.check("CancelSpotInstanceRequests", states == ["cancelled"] * 2, f"{states}")
    operation = "CancelSpotInstanceRequests"
    ec2.refused(operation, "InvalidSpotInstanceRequestID.NotFound", SpotInstanceRequestIds=["sir-00000000"])
    ec2.refused(operation, "InvalidSpotInstanceRequestID.Malformed", SpotInstanceRequestIds=["request"])


def templates(ec2: Service) -> None:
    """What a template holds has to come back as it was, however differently requests and answers write it."""
    data = {
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "DeleteOnTermination": True}}],
        "IamInstanceProfile": {"Arn": PROFILE},
        "ImageId": IMAGE_WITHOUT_AGENT,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.03"}},
        "InstanceType": "t2.micro",
        "KeyName": "jewart",
        "LicenseSpecifications": [{"LicenseConfigurationArn": "arn:aws:license-manager:us-east-1:1:l"}],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "InstanceMetadataTags": "enabled"},
        "NetworkInterfaces": [
            {"DeviceIndex": 0, "Groups": ["sg-55964223"], "SubnetId": "subnet-c8d30ae4"},
        ],
        "SecurityGroupIds": ["sg-55964223"],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "block", "Value": "b-1"}]}],
        "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
    }
    for number in range(6):
        made = ec2.call(
            "CreateLaunchTemplate", LaunchTemplateName=f"block-{number}", LaunchTemplateData=data,
            VersionDescription="as bought", ClientToken=f"t-{number}",
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": [{"Key": "k", "Value": "v"}]}],
        )["LaunchTemplate"]
    found = ec2.pages("DescribeLaunchTemplates", 5, Filters=[{"Name": "tag:k", "Values": ["v"]}])
    ec2.check("DescribeLaunchTemplates", found[-1] == made, f"{found[-1]} instead of {made}")
    by_id = {"LaunchTemplateId": made["LaunchTemplateId"]}
    [version] = ec2.pages("DescribeLaunchTemplateVersions", 5, at_least=1, Versions=["$Latest"], **by_id)
    for name, value in data.items():
        given = version["LaunchTemplateData"].get(name)
        ec2.check("DescribeLaunchTemplateVersions", given == value, f"{name} came back as {given}")

    name = {"LaunchTemplateName": "block-0"}
    taken = "InvalidLaunchTemplateName.AlreadyExistsException"
    ec2.refused("CreateLaunchTemplate", taken, LaunchTemplateData=data, **name)
    mismatch = {"LaunchTemplateData": data, "ClientToken": "t-0", "LaunchTemplateName": "other"}
    ec2.refused("CreateLaunchTemplate", "IdempotentParameterMismatch", **mismatch)
    malformed = "InvalidLaunchTemplateName.MalformedException"
    ec2.refused("CreateLaunchTemplate", malformed, LaunchTemplateData=data, LaunchTemplateName="a b c")
    operation = "DescribeLaunchTemplateVersions"
    ec2.refused(operation, "InvalidLaunchTemplateId.VersionNotFound", Versions=["7"], **by_id)
    for operation in ["DeleteLaunchTemplate", "DescribeLaunchTemplateVersions"]:
        ec2.refused(operation, "InvalidLaunchTemplateId.NotFound", LaunchTemplateId="lt-00000000000000000")
        ec2.refused(operation, "InvalidLaunchTemplateName.NotFoundException", LaunchTemplateName="nobody")
    unknown = "InvalidLaunchTemplateName.NotFoundException"
    ec2.refused("DescribeLaunchTemplates", unknown, LaunchTemplateNames=["nobody"])
    deleted = ec2.call("DeleteLaunchTemplate", **name)["LaunchTemplate"]
    ec2.check("DeleteLaunchTemplate", deleted["LaunchTemplateName"] == "block-0", f"{deleted}")
