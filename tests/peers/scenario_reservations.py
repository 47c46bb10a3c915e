"""RunInstances, capacity reservations, and capacity blocks with their extensions."""

import base64
from datetime import UTC, datetime, timedelta

from cloud import Cloud
from ledger import Ledger, Service

IMAGE_WITHOUT_AGENT = "ami-000a9e4700000f00d"
PROFILE = "arn:aws:iam::123456789012:instance-profile/ecsInstanceRole"
OF_BLOCK = [{"Key": "spotblock:block", "Value": "sb-1f2c"}]


def run(cloud: Cloud, ledger: Ledger) -> None:
    ec2 = Service(cloud, "ec2", ledger)
    instances(ec2)
    reservations(ec2)
    blocks(cloud, ec2)


def launch(**changes: object) -> dict:
    plain = {"ImageId": IMAGE_WITHOUT_AGENT, "InstanceType": "c5.large", "SubnetId": "subnet-c8d30ae4"}
    return plain | {"MinCount": 1, "MaxCount": 1} | changes


def into(reservation: str) -> dict:
    return {"CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": reservation}}}


def instances(ec2: Service) -> None:
    """With every parameter that the project gives, and from a launch template."""
    whole = launch(
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "DeleteOnTermination": True}}],
        ClientToken="run-1",
        IamInstanceProfile={"Arn": PROFILE},
        InstanceInitiatedShutdownBehavior="terminate",
        KeyName="jewart",
        MaxCount=3,
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2, "InstanceMetadataTags": "enabled"},
        MinCount=2,
        Monitoring={"Enabled": False},
        Placement={"AvailabilityZone": "us-east-1c"},
        SecurityGroupIds=["sg-55964223"],
        TagSpecifications=[{"ResourceType": kind, "Tags": OF_BLOCK} for kind in ["instance", "volume"]],
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
    )
    made = ec2.call("RunInstances", **whole)
    ids = [one["InstanceId"] for one in made["Instances"]]
    again = [one["InstanceId"] for one in ec2.call("RunInstances", **whole)["Instances"]]
    ec2.check("RunInstances", len(ids) == 3 and again == ids, f"{ids}, and by the same token {again}")
    ec2.check("RunInstances", made["Instances"][0]["Tags"] == OF_BLOCK, f"tags {made['Instances'][0]['Tags']}")
    ec2.refused("RunInstances", "IdempotentParameterMismatch", **(whole | {"MaxCount": 4}))
    ec2.wait("instance_running", InstanceIds=ids)

    data = {"ImageId": IMAGE_WITHOUT_AGENT, "InstanceType": "c5.large"}
    name = "of-reservations"
    ec2.call("CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=data)
    template = {"LaunchTemplateName": name, "Version": "$Latest"}
    spot = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "1.0", "SpotInstanceType": "one-time"}}
    [one] = ec2.call(
        "RunInstances", MinCount=1, MaxCount=1, LaunchTemplate=template, InstanceType="m5.large",
        InstanceMarketOptions=spot,
    )["Instances"]
    kind = (one["InstanceType"], one["InstanceLifecycle"])
    ec2.check("RunInstances", kind == ("m5.large", "spot"), f"{kind} from a template with an override")
    ec2.call("TerminateInstances", InstanceIds=[*ids, one["InstanceId"]])

    ec2.refused("RunInstances", "InvalidParameterValue", **launch(MinCount=2))
    ec2.refused("RunInstances", "InvalidAMIID.NotFound", **launch(ImageId="ami-00000000"))
    ec2.refused("RunInstances", "InvalidCapacityReservationId.NotFound", **launch(), **into("cr-00000000000000000"))
    ec2.refused("RunInstances", "InvalidCapacityReservationId.Malformed", **launch(), **into("reservation"))
    ec2.refused("RunInstances", "DryRunOperation", **launch(DryRun=True))


def reservations(ec2: Service) -> None:
    reservation = {
        "AvailabilityZone": "us-east-1c",
        "ClientToken": "reserve-1",
        "EbsOptimized": True,
        "EndDate": datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3),
        "EndDateType": "limited",
        "InstanceCount": 2,
        "InstanceMatchCriteria": "targeted",
        "InstancePlatform": "Linux/UNIX",
        "InstanceType": "c5.large",
        "TagSpecifications": [{"ResourceType": "capacity-reservation", "Tags": OF_BLOCK}],
        "Tenancy": "default",
    }
    made = ec2.call("CreateCapacityReservation", **reservation)["CapacityReservation"]
    for name in reservation.keys() - {"ClientToken", "InstanceCount", "TagSpecifications"}:
        ec2.check("CreateCapacityReservation", made[name] == reservation[name], f"{name} came back as {made[name]}")
    one = made["CapacityReservationId"]
    again = ec2.call("CreateCapacityReservation", **reservation)["CapacityReservation"]["CapacityReservationId"]
    ec2.check("CreateCapacityReservation", again == one, "the same client token made another reservation")
    ec2.refused("CreateCapacityReservation", "IdempotentParameterMismatch", **(reservation | {"InstanceCount": 3}))
    other = reservation | {"ClientToken": "reserve-2", "EndDateType": "unlimited"}
    ec2.refused("CreateCapacityReservation", "InvalidParameterCombination", **other)
    other.pop("EndDate")
    other = ec2.call("CreateCapacityReservation", **other)["CapacityReservation"]["CapacityReservationId"]

    active = lambda answer: {found["State"] for found in answer["CapacityReservations"]} == {"active"}  # noqa: E731
    ec2.until("DescribeCapacityReservations", active, CapacityReservationIds=[one, other])
    ec2.pages("DescribeCapacityReservations", 1, Filters=[{"Name": "tag:spotblock:block", "Values": ["sb-1f2c"]}])
    ids = [made["InstanceId"] for made in ec2.call("RunInstances", **launch(MaxCount=2), **into(one))["Instances"]]
    ec2.refused("RunInstances", "ReservationCapacityExceeded", **launch(), **into(one))
    ec2.refused("RunInstances", "InvalidParameterValue", **launch(InstanceType="m5.large"), **into(other))
    [full] = ec2.call("DescribeCapacityReservations", CapacityReservationIds=[one])["CapacityReservations"]
    left = full["AvailableInstanceCount"]
    ec2.check("DescribeCapacityReservations", left == 0, f"{left} of {full['TotalInstanceCount']} left when all are used")
    ec2.call("ModifyCapacityReservation", CapacityReservationId=one, InstanceCount=3, EndDateType="unlimited")
    ec2.refused("ModifyCapacityReservation", "InvalidParameterValue", CapacityReservationId=one, InstanceCount=1)
    for reservation in [one, other]:
        ec2.call("CancelCapacityReservation", CapacityReservationId=reservation)
    ec2.refused("CancelCapacityReservation", "InvalidCapacityReservationState", CapacityReservationId=one)
    ec2.wait("instance_running", InstanceIds=ids)
    ec2.call("TerminateInstances", InstanceIds=ids)
    not_found, unknown = "InvalidCapacityReservationId.NotFound", "cr-00000000000000000"
    ec2.refused("DescribeCapacityReservations", not_found, CapacityReservationIds=[unknown])
    ec2.refused("CancelCapacityReservation", not_found, CapacityReservationId=unknown)
    ec2.refused("ModifyCapacityReservation", not_found, CapacityReservationId=unknown, InstanceCount=1)


def blocks(cloud: Cloud, ec2: Service) -> None:
    search = {
        "CapacityDurationHours": 48,
        "EndDateRange": datetime.now(UTC) + timedelta(days=30),
        "InstanceCount": 2,
        "InstanceType": "p5.4xlarge",
        "StartDateRange": datetime.now(UTC),
    }
    cloud.control("PATCH", "options", {"capacity-block-starts-in": "PT0S"})
    offerings = ec2.pages("DescribeCapacityBlockOfferings", 2, **search)
    lengths = {one["EndDate"] - one["StartDate"] for one in offerings}
    ec2.check("DescribeCapacityBlockOfferings", lengths == {timedelta(hours=48)}, f"they last {lengths}")
    bought = []
    for offering in [offerings[0], offerings[-1]]:
        answer = ec2.call(
            "PurchaseCapacityBlock", CapacityBlockOfferingId=offering["CapacityBlockOfferingId"],
            InstancePlatform="Linux/UNIX",
            TagSpecifications=[{"ResourceType": "capacity-reservation", "Tags": OF_BLOCK}],
        )
        bought.append(answer["CapacityReservation"]["CapacityReservationId"])
    now, later = bought
    for reservation, state in [(now, "active"), (later, "scheduled")]:
        wanted = lambda answer, state=state: answer["CapacityReservations"][0]["State"] == state  # noqa: E731
        ec2.until("DescribeCapacityReservations", wanted, CapacityReservationIds=[reservation])
    found = ec2.pages("DescribeCapacityBlocks", 1)
    states = sorted(one["State"] for one in found)
    ec2.check("DescribeCapacityBlocks", states == ["active", "scheduled"], f"{states}")

    zone = {"Placement": {"AvailabilityZone": offerings[0]["AvailabilityZone"]}}
    request = launch(InstanceType="p5.4xlarge", **zone, **into(now))
    request.pop("SubnetId")
    market = {"InstanceMarketOptions": {"MarketType": "capacity-block"}}
    ec2.refused("RunInstances", "InvalidParameterValue", **request)
    [one] = ec2.call("RunInstances", **request, **market)["Instances"]
    ec2.check("RunInstances", one["InstanceLifecycle"] == "capacity-block", f"{one['InstanceLifecycle']}")
    early = request | into(later) | {"Placement": {"AvailabilityZone": offerings[-1]["AvailabilityZone"]}}
    ec2.refused("RunInstances", "InvalidCapacityReservationState", **early, **market)
    ec2.refused("CancelCapacityReservation", "OperationNotPermitted", CapacityReservationId=now)
    extensions(ec2, now)
    ec2.call("TerminateInstances", InstanceIds=[one["InstanceId"]])
    cloud.control("PATCH", "options", {"capacity-block-starts-in": None})

    ec2.refused("DescribeCapacityBlockOfferings", "InvalidParameterValue", **(search | {"CapacityDurationHours": 25}))
    ec2.refused("DescribeCapacityBlocks", "InvalidCapacityBlockId.NotFound", CapacityBlockIds=["cb-00000000000000000"])
    sold = {"CapacityBlockOfferingId": offerings[0]["CapacityBlockOfferingId"], "InstancePlatform": "Linux/UNIX"}
    ec2.refused("PurchaseCapacityBlock", "InvalidCapacityBlockOfferingId.NotFound", **sold)


def extensions(ec2: Service, reservation: str) -> None:
    search = {"CapacityReservationId": reservation, "CapacityBlockExtensionDurationHours": 24}
    [offering] = ec2.pages("DescribeCapacityBlockExtensionOfferings", 1, at_least=1, **search)
    purchase = {
        "CapacityBlockExtensionOfferingId": offering["CapacityBlockExtensionOfferingId"],
        "CapacityReservationId": reservation,
    }
    ec2.call("PurchaseCapacityBlockExtension", **purchase)
    end = offering["CapacityBlockExtensionEndDate"]
    moved = lambda answer: answer["CapacityReservations"][0]["EndDate"] == end  # noqa: E731
    ec2.until("DescribeCapacityReservations", moved, CapacityReservationIds=[reservation])
    [paid] = ec2.pages("DescribeCapacityBlockExtensionHistory", 1, at_least=1, CapacityReservationIds=[reservation])
    status = paid["CapacityBlockExtensionStatus"]
    ec2.check("DescribeCapacityBlockExtensionHistory", status == "payment-succeeded", f"{status}")
    ec2.refused("PurchaseCapacityBlockExtension", "InvalidCapacityBlockOfferingId.NotFound", **purchase)
    unknown = search | {"CapacityReservationId": "cr-00000000000000000"}
    not_found = "InvalidCapacityReservationId.NotFound"
    ec2.refused("DescribeCapacityBlockExtensionOfferings", not_found, **unknown)
    ec2.refused("DescribeCapacityBlockExtensionHistory", not_found, CapacityReservationIds=["cr-00000000000000000"])
