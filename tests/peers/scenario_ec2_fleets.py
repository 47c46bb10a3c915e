"""EC2's fleets of type instant: what they launch, what refuses, how they end."""

import base64

from cloud import Cloud
from ledger import Ledger, Service
from scenario_ec2 import IMAGE_WITHOUT_AGENT, PROFILE

# One in each of the zones a and b.
SUBNETS = ["subnet-1b6e40a1", "subnet-2c7f51b2"]
DATA = {
    "ImageId": IMAGE_WITHOUT_AGENT,
    "InstanceType": "c5.large",
    "KeyName": "jewart",
    "IamInstanceProfile": {"Arn": PROFILE},
    "InstanceInitiatedShutdownBehavior": "terminate",
    "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "DeleteOnTermination": True}}],
    "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
    "SecurityGroupIds": ["sg-55964223"],
    "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "of", "Value": "template"}]}],
    "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
}


def run(cloud: Cloud, ledger: Ledger) -> None:
    ec2 = Service(cloud, "ec2", ledger)
    ec2.call("CreateLaunchTemplate", LaunchTemplateName="fleet-block", LaunchTemplateData=DATA)
    versions(ec2)
    on_demand(ec2)
    spot(cloud, ec2)
    partial(cloud, ec2)
    refused(ec2)


def versions(ec2: Service) -> None:
    data = {"UserData": base64.b64encode(b"#!/bin/sh\ntrue\n").decode()}
    request = {"LaunchTemplateName": "fleet-block", "SourceVersion": "1", "VersionDescription": "second"}
    for _ in range(2):
        made = ec2.call("CreateLaunchTemplateVersion", ClientToken="v-2", LaunchTemplateData=data, **request)
        number = made["LaunchTemplateVersion"]["VersionNumber"]
        ec2.check("CreateLaunchTemplateVersion", number == 2, f"version {number}")


def fleet(count: int, kind: str = "on-demand", overrides: list[dict] | None = None, **changes: object) -> dict:
    overrides = [{"InstanceType": "c5.large", "SubnetId": SUBNETS[0]}] if overrides is None else overrides
    template = {"LaunchTemplateName": "fleet-block", "Version": "$Latest"}
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": overrides}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": kind},
    } | changes


def ids(answer: dict) -> list[str]:
    return [instance for group in answer["Instances"] for instance in group["InstanceIds"]]


def codes(answer: dict) -> list[str]:
    return [error["ErrorCode"] for error in answer["Errors"]]


def on_demand(ec2: Service) -> None:
    tags = [{"Key": "block", "Value": "b-1"}]
    request = fleet(
        3, ClientToken="fleet-1",
        OnDemandOptions={"AllocationStrategy": "lowest-price", "SingleAvailabilityZone": True, "MinTargetCapacity": 3},
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ["fleet", "instance"]],
    )
    made = ec2.call("CreateFleet", **request)
    ec2.check("CreateFleet", len(ids(made)) == 3 and not made["Errors"], f"{made}")
    again = ec2.call("CreateFleet", **request)
    ec2.check("CreateFleet", again["FleetId"] == made["FleetId"], f"{again} for the token of {made}")
    ec2.refused("CreateFleet", "IdempotentParameterMismatch", **fleet(4, ClientToken="fleet-1"))
    ec2.wait("instance_running", InstanceIds=ids(made))
    found = ec2.call("DescribeInstances", InstanceIds=ids(made))["Reservations"]
    instance = found[0]["Instances"][0]
    tagged = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    ec2.check("DescribeInstances", tagged.get("aws:ec2:fleet-id") == made["FleetId"], f"{tagged}")
    ec2.check("DescribeInstances", (tagged["of"], tagged["block"]) == ("template", "b-1"), f"{tagged}")
    ec2.check("DescribeInstances", instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1, f"{instance}")
    ec2.check("DescribeInstances", "InstanceLifecycle" not in instance, f"{instance}")
    other = ec2.call("CreateFleet", **fleet(1))
    both = [made["FleetId"], other["FleetId"]]
    shown = ec2.pages("DescribeFleets", 1, FleetIds=both, Filters=[{"Name": "fleet-state", "Values": ["active"]}])
    ec2.check("DescribeFleets", shown[0]["Instances"] == made["Instances"], f"{shown[0]} instead of {made}")
    ec2.check("DescribeFleets", shown[0]["Tags"] == tags, f"{shown[0]}")
    ec2.check("DescribeFleets", not ec2.call("DescribeFleets")["Fleets"], "instant fleets shown without their ids")
    ec2.refused("DescribeFleetInstances", "UnsupportedOperation", FleetId=both[0])
    ec2.refused("DeleteFleets", "NoTerminateInstancesNotSupported", FleetIds=both, TerminateInstances=False)
    unknown = "fleet-00000000-0000-0000-0000-000000000000"
    deleted = ec2.call("DeleteFleets", FleetIds=[*both, unknown], TerminateInstances=True)
    states = [one["CurrentFleetState"] for one in deleted["SuccessfulFleetDeletions"]]
    ec2.check("DeleteFleets", states == ["deleted_terminating"] * 2, f"{deleted}")
    failed = [one["Error"]["Code"] for one in deleted["UnsuccessfulFleetDeletions"]]
    ec2.check("DeleteFleets", failed == ["fleetIdDoesNotExist"], f"{deleted}")
    ec2.wait("instance_terminated", InstanceIds=ids(made))


def spot(cloud: Cloud, ec2: Service) -> None:
    overrides = [{"InstanceType": "c5.large", "SubnetId": subnet, "MaxPrice": "0.08"} for subnet in SUBNETS]
    made = ec2.call("CreateFleet", **fleet(
        2, "spot", overrides, SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
        TagSpecifications=[{"ResourceType": "spot-instances-request", "Tags": [{"Key": "k", "Value": "v"}]}],
    ))
    found = ec2.call("DescribeInstances", InstanceIds=ids(made))["Reservations"]
    instances = [instance for reservation in found for instance in reservation["Instances"]]
    ec2.check("CreateFleet", {one["InstanceLifecycle"] for one in instances} == {"spot"}, f"{instances}")
    cloud.control("PATCH", "options", {"pace": {"consistency-ms": 0}})
    requests = [instance["SpotInstanceRequestId"] for instance in instances]
    shown = ec2.call("DescribeSpotInstanceRequests", SpotInstanceRequestIds=requests)["SpotInstanceRequests"]
    ec2.check("CreateFleet", {one["Status"]["Code"] for one in shown} == {"fulfilled"}, f"{shown}")
    ec2.call("TerminateInstances", InstanceIds=ids(made))


def partial(cloud: Cloud, ec2: Service) -> None:
    """What there is of capacity and quota, and what a pool refuses with."""
    cloud.control("PATCH", "options", {"capacity": {"c5.large/us-east-1a": 2}})
    made = ec2.call("CreateFleet", **fleet(3))
    ec2.check("CreateFleet", len(ids(made)) == 2 and codes(made) == ["InsufficientInstanceCapacity"], f"{made}")
    at_least = {"MinTargetCapacity": 1, "SingleInstanceType": True}
    none = ec2.call("CreateFleet", **fleet(1, OnDemandOptions=at_least))
    ec2.check("CreateFleet", not none["Instances"] and codes(none) == ["InsufficientInstanceCapacity"], f"{none}")
    ec2.call("DeleteFleets", FleetIds=[made["FleetId"], none["FleetId"]], TerminateInstances=True)
    cloud.control("PATCH", "options", {"capacity": None, "on-demand-vcpus": 0, "spot-vcpus": 0})
    for kind, code in [("on-demand", "VcpuLimitExceeded"), ("spot", "MaxSpotInstanceCountExceeded")]:
        made = ec2.call("CreateFleet", **fleet(1, kind))
        ec2.check("CreateFleet", codes(made) == [code], f"{made} instead of {code}")
    cloud.control("PATCH", "options", {"on-demand-vcpus": None, "spot-vcpus": None})
    for code, changes in [
        ("SpotMaxPriceTooLow", {"MaxPrice": "0.002"}),
        ("InvalidFleetConfiguration", {"InstanceType": "p4d.24xlarge", "SubnetId": "subnet-5fa284e5"}),
        ("InvalidSubnetID.NotFound", {"SubnetId": "subnet-00000000"}),
        ("InvalidParameterValue", {"InstanceType": "c7g.large"}),
    ]:
        override = {"InstanceType": "c5.large", "SubnetId": SUBNETS[0]} | changes
        made = ec2.call("CreateFleet", **fleet(1, "spot", [override]))
        ec2.check("CreateFleet", codes(made) == [code], f"{made} instead of {code}")


def refused(ec2: Service) -> None:
    """What the whole request is refused with."""
    for code, changes in [
        ("UnsupportedOperation", {"Type": "maintain"}),
        ("InvalidParameterCombination", {"OnDemandOptions": {"MinTargetCapacity": 1}}),
        ("InvalidParameterCombination", {"ExcessCapacityTerminationPolicy": "termination"}),
        ("InvalidParameterValue", {"SpotOptions": {"InstanceInterruptionBehavior": "stop"}}),
        ("InvalidParameterValue", {"OnDemandOptions": {"AllocationStrategy": "diversified"}}),
        ("InvalidParameterValue", {"TargetCapacitySpecification": {"TotalTargetCapacity": 0}}),
        ("MissingParameter", {"LaunchTemplateConfigs": []}),
        ("DryRunOperation", {"DryRun": True}),
    ]:
        ec2.refused("CreateFleet", code, **(fleet(1) | changes))
    for code, template in [
        ("InvalidLaunchTemplateName.NotFoundException", {"LaunchTemplateName": "nobody", "Version": "1"}),
        ("InvalidLaunchTemplateId.NotFound", {"LaunchTemplateId": "lt-00000000000000000", "Version": "1"}),
        ("InvalidLaunchTemplateId.VersionNotFound", {"LaunchTemplateName": "fleet-block", "Version": "7"}),
        ("MissingParameter", {"LaunchTemplateName": "fleet-block"}),
    ]:
        ec2.refused("CreateFleet", code, **fleet(1, LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template}]))
    requirements = {"InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}}}
    ec2.refused("CreateFleet", "UnsupportedOperation", **fleet(1, overrides=[requirements]))
    ec2.refused("DescribeFleets", "InvalidFleetId.NotFound", FleetIds=["fleet-0"])
    ec2.refused("DescribeFleets", "InvalidFleetId.Malformed", FleetIds=["x"])
    ec2.refused("DeleteFleets", "MissingParameter", FleetIds=["fleet-0"])
