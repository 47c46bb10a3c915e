"""EventBridge Scheduler: schedules and their groups, and that a one-time schedule ends what it is to end."""

import json
import time
from datetime import UTC, datetime, timedelta

from cloud import Cloud
from ledger import Ledger, Service

IMAGE_WITHOUT_AGENT = "ami-000a9e4700000f00d"
ROLE = "arn:aws:iam::123456789012:role/ends-blocks"
TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"


def run(cloud: Cloud, ledger: Ledger) -> None:
    role(Service(cloud, "iam", ledger))
    scheduler = Service(cloud, "scheduler", ledger)
    schedules(scheduler)
    groups(scheduler)
    firing(cloud, scheduler, Service(cloud, "ec2", ledger))


def role(iam: Service) -> None:
    """One that Scheduler can take, and that may end what carries the environment's tag."""
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    right = {
        "Effect": "Allow",
        "Action": "ec2:TerminateInstances",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/spotblock:environment": "e"}},
    }
    version = {"Version": "2012-10-17"}
    document = json.dumps(version | {"Statement": trust})
    iam.call("CreateRole", RoleName="ends-blocks", AssumeRolePolicyDocument=document)
    policy = json.dumps(version | {"Statement": right})
    iam.call("PutRolePolicy", RoleName="ends-blocks", PolicyName="end", PolicyDocument=policy)
    time.sleep(0.2)  # A new role is not known everywhere at once.


def one_time(at: datetime, ids: list[str]) -> dict:
    return {
        "ActionAfterCompletion": "DELETE",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
        "Target": {"Arn": TERMINATE, "Input": json.dumps({"InstanceIds": ids}), "RoleArn": ROLE},
    }


def schedules(scheduler: Service) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    schedule = {
        "ActionAfterCompletion": "DELETE",
        "Description": "ends a block",
        "EndDate": end,
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
        "GroupName": "default",
        "ScheduleExpression": "at(2040-01-01T00:00:00)",
        "ScheduleExpressionTimezone": "UTC",
        "StartDate": end - timedelta(hours=1),
        "State": "ENABLED",
        "Target": {
            "Arn": TERMINATE,
            "Input": '{"InstanceIds": ["i-1"]}',
            "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
            "RoleArn": ROLE,
        },
    }
    for number in range(3):
        scheduler.call("CreateSchedule", Name=f"end-{number}", ClientToken=f"t-{number}", **schedule)
    scheduler.call("CreateSchedule", Name="end-0", ClientToken="t-0", **schedule)
    scheduler.call("UpdateSchedule", Name="end-0", **schedule)
    got = scheduler.call("GetSchedule", Name="end-0")
    for name, value in schedule.items():
        scheduler.check("GetSchedule", got.get(name) == value, f"{name} came back as {got.get(name)}")
    scheduler.pages("ListSchedules", 1, at_least=3, NamePrefix="end-", State="ENABLED", GroupName="default")

    odd = schedule | {"ScheduleExpression": "tomorrow"}
    past = schedule | {"ScheduleExpression": "at(2020-01-01T00:00:00)"}
    nowhere = schedule | {"GroupName": "nowhere"}
    untrusted = schedule | {"Target": schedule["Target"] | {"RoleArn": ROLE.replace("ends-blocks", "ecsInstanceRole")}}
    inputless = schedule | {"Target": schedule["Target"] | {"Input": "{}"}}
    scheduler.refused("CreateSchedule", "ConflictException", Name="end-0", **schedule)
    for wrong in [odd, past, untrusted, inputless]:
        scheduler.refused("CreateSchedule", "ValidationException", Name="other", **wrong)
    scheduler.refused("CreateSchedule", "ValidationException", Name="x" * 65, **schedule)
    scheduler.refused("CreateSchedule", "ResourceNotFoundException", Name="other", **nowhere)
    scheduler.refused("UpdateSchedule", "ResourceNotFoundException", Name="nobody", **schedule)
    scheduler.refused("GetSchedule", "ResourceNotFoundException", Name="nobody")
    scheduler.refused("ListSchedules", "ResourceNotFoundException", GroupName="nowhere")
    scheduler.call("DeleteSchedule", Name="end-0")
    scheduler.refused("DeleteSchedule", "ResourceNotFoundException", Name="end-0")


def groups(scheduler: Service) -> None:
    tags = [{"Key": "spotblock:environment", "Value": "e"}]
    arn = scheduler.call("CreateScheduleGroup", Name="blocks", Tags=tags)["ScheduleGroupArn"]
    got = scheduler.call("GetScheduleGroup", Name="blocks")
    scheduler.check("GetScheduleGroup", (got["Arn"], got["State"]) == (arn, "ACTIVE"), f"{got}")
    found = scheduler.pages("ListScheduleGroups", 1)
    names = [group["Name"] for group in found]
    scheduler.check("ListScheduleGroups", names == ["blocks", "default"], f"{names}")
    more = [{"Key": "more", "Value": "v"}]
    scheduler.call("TagResource", ResourceArn=arn, Tags=more)
    scheduler.call("UntagResource", ResourceArn=arn, TagKeys=["spotblock:environment", "none"])
    left = scheduler.call("ListTagsForResource", ResourceArn=arn)["Tags"]
    scheduler.check("ListTagsForResource", left == more, f"{left} instead of {more}")
    scheduler.call("CreateSchedule", Name="end-9", GroupName="blocks", **one_time(datetime(2040, 1, 1), ["i-1"]))

    foreign = arn.replace("blocks", "nowhere")
    scheduler.refused("CreateScheduleGroup", "ConflictException", Name="blocks")
    scheduler.refused("CreateScheduleGroup", "ValidationException", Name="a b")
    scheduler.refused("GetScheduleGroup", "ResourceNotFoundException", Name="nowhere")
    scheduler.refused("TagResource", "ResourceNotFoundException", ResourceArn=foreign, Tags=tags)
    scheduler.refused("UntagResource", "ResourceNotFoundException", ResourceArn=foreign, TagKeys=["a"])
    scheduler.refused("ListTagsForResource", "ResourceNotFoundException", ResourceArn=foreign)
    scheduler.call("DeleteScheduleGroup", Name="blocks")
    scheduler.refused("DeleteScheduleGroup", "ResourceNotFoundException", Name="blocks")
    scheduler.refused("DeleteScheduleGroup", "ValidationException", Name="default")


def firing(cloud: Cloud, scheduler: Service, ec2: Service) -> None:
    """Of two schedules only the one whose role may end its instance ends it."""
    launch = {"ImageId": IMAGE_WITHOUT_AGENT, "InstanceType": "t2.micro"}
    made = ec2.call("RequestSpotInstances", InstanceCount=2, LaunchSpecification=launch)["SpotInstanceRequests"]
    requests = [one["SpotInstanceRequestId"] for one in made]
    time.sleep(0.6)
    ec2.wait("spot_instance_request_fulfilled", SpotInstanceRequestIds=requests)
    found = ec2.call("DescribeSpotInstanceRequests", SpotInstanceRequestIds=requests)["SpotInstanceRequests"]
    ours, other = (one["InstanceId"] for one in found)
    ec2.call("CreateTags", Resources=[ours], Tags=[{"Key": "spotblock:environment", "Value": "e"}])
    soon = datetime.now(UTC) + timedelta(seconds=2)
    for instance in [ours, other]:
        scheduler.call("CreateSchedule", Name=f"end-{instance}", **one_time(soon, [instance]))
    ec2.wait("instance_terminated", InstanceIds=[ours])
    scheduler.until("ListSchedules", lambda answer: not answer["Schedules"], NamePrefix="end-i-")
    [left] = ec2.call("DescribeInstances", InstanceIds=[other])["Reservations"][0]["Instances"]
    scheduler.check("CreateSchedule", left["State"]["Name"] == "running", "ended what its role may not end")
    calls = [call for call in cloud.control("GET", "calls") if call["caller"] == "scheduler"]
    outcomes = sorted(call.get("error", "") for call in calls)
    scheduler.check("CreateSchedule", outcomes == ["", "UnauthorizedOperation"], f"{outcomes}")
    ec2.call("TerminateInstances", InstanceIds=[other])
