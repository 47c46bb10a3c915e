"""SSM, Scheduler and S3, and how each service says that calls come too fast."""

from datetime import UTC, datetime, timedelta

from cloud import Cloud
from ledger import Ledger, Service

IMAGES = "/aws/service/ecs/optimized-ami"
IMAGE = f"{IMAGES}/amazon-linux-2023/recommended/image_id"


def run(cloud: Cloud, ledger: Ledger) -> None:
    parameters(Service(cloud, "ssm", ledger))
    schedules(Service(cloud, "scheduler", ledger))
    objects(Service(cloud, "s3", ledger))
    throttling(cloud, ledger)


def parameters(ssm: Service) -> None:
    one = ssm.call("GetParameter", Name=IMAGE)["Parameter"]
    ssm.check("GetParameter", one["Value"].startswith("ami-"), f"{one}")
    several = ssm.call("GetParameters", Names=[IMAGE, "/x"])
    ssm.check("GetParameters", several["InvalidParameters"] == ["/x"], f"{several}")
    ssm.pages("GetParametersByPath", 2, Path=IMAGES, Recursive=True)
    ssm.refused("GetParameter", "ParameterNotFound", Name="/x")
    ssm.refused("GetParameters", "ValidationException", Names=[f"/{number}" for number in range(11)])
    ssm.refused("GetParametersByPath", "ValidationException", Path="x")
    ssm.refused("GetParametersByPath", "InvalidNextToken", Path="/x", NextToken="foreign")


def schedules(scheduler: Service) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    schedule = {
        "ActionAfterCompletion": "DELETE",
        "Description": "ends a block",
        "EndDate": end,
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
        "GroupName": "default",
        "ScheduleExpression": "at(2030-01-01T00:00:00)",
        "ScheduleExpressionTimezone": "UTC",
        "StartDate": end - timedelta(hours=1),
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "Input": '{"InstanceIds": ["i-1"]}',
            "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
            "RoleArn": "arn:aws:iam::123456789012:role/BatchServiceRole",
        },
    }
    for number in range(3):
        scheduler.call("CreateSchedule", Name=f"end-{number}", ClientToken=f"t-{number}", **schedule)
    scheduler.call("UpdateSchedule", Name="end-0", **schedule)
    got = scheduler.call("GetSchedule", Name="end-0")
    for name, value in schedule.items():
        scheduler.check("GetSchedule", got.get(name) == value, f"{name} came back as {got.get(name)}")
    scheduler.pages("ListSchedules", 1, at_least=3, NamePrefix="end-", State="ENABLED", GroupName="default")

    odd = schedule | {"ScheduleExpression": "tomorrow"}
    nowhere = schedule | {"GroupName": "nowhere"}
    scheduler.refused("CreateSchedule", "ConflictException", Name="end-0", **schedule)
    scheduler.refused("CreateSchedule", "ValidationException", Name="other", **odd)
    scheduler.refused("CreateSchedule", "ResourceNotFoundException", Name="other", **nowhere)
    scheduler.refused("UpdateSchedule", "ResourceNotFoundException", Name="nobody", **schedule)
    scheduler.refused("GetSchedule", "ResourceNotFoundException", Name="nobody")
    scheduler.refused("ListSchedules", "ResourceNotFoundException", GroupName="nowhere")
    scheduler.call("DeleteSchedule", Name="end-0")
    scheduler.refused("DeleteSchedule", "ResourceNotFoundException", Name="end-0")


def objects(s3: Service) -> None:
    where = {"Bucket": "artifacts", "Key": "v1/agent x+y"}
    s3.call("PutObject", Body=b"\x7fELF" * 1000, ContentType="application/octet-stream", **where)
    s3.wait("object_exists", **where)
    s3.wait("object_not_exists", Bucket="artifacts", Key="other")
    got = s3.call("GetObject", **where)
    s3.check("GetObject", got["Body"].read() == b"\x7fELF" * 1000, "other bytes than were put")
    s3.check("GetObject", got["ContentType"] == "application/octet-stream", f"{got['ContentType']}")
    part = s3.call("GetObject", Range="bytes=2-5", **where)
    bytes_of_part, range_of_part = part["Body"].read(), part.get("ContentRange")
    s3.check("GetObject", bytes_of_part == b"LF\x7fE", f"a range gives {len(bytes_of_part)} bytes")
    s3.check("GetObject", range_of_part == "bytes 2-5/4000", f"a range gives {range_of_part}")
    head = s3.call("HeadObject", **where)
    s3.check("HeadObject", head["ContentLength"] == 4000, f"{head['ContentLength']} bytes")
    s3.refused("GetObject", "InvalidRange", Range="bytes=4000-", **where)
    s3.refused("GetObject", "NoSuchKey", Bucket="artifacts", Key="other")
    s3.refused("GetObject", "NoSuchBucket", Bucket="nowhere", Key="other")
    # An answer to HEAD has no body, so botocore has nothing but the status.
    s3.refused("HeadObject", "404", Bucket="artifacts", Key="other")


def throttling(cloud: Cloud, ledger: Ledger) -> None:
    """botocore has to take each service's own way of saying it for a reason to try again."""
    for service, operation, code, parameters in [
        ("batch", "DescribeJobQueues", "TooManyRequestsException", {}),
        ("ec2", "DescribeVpcs", "RequestLimitExceeded", {}),
        ("ecs", "ListClusters", "ThrottlingException", {}),
        ("iam", "GetRole", "Throttling", {"RoleName": "ecsInstanceRole"}),
        ("s3", "GetObject", "SlowDown", {"Bucket": "artifacts", "Key": "v1/agent x+y"}),
        ("scheduler", "ListSchedules", "ThrottlingException", {}),
        ("ssm", "GetParameter", "ThrottlingException", {"Name": IMAGE}),
        ("sts", "GetCallerIdentity", "Throttling", {}),
    ]:
        cloud.control("POST", "faults", {"service": service, "count": 2, "effect": "throttle"})
        Service(cloud, service, ledger).refused(operation, code, **parameters)
        patient = Service(cloud, service, ledger, retries={"total_max_attempts": 2, "mode": "standard"})
        retries = patient.call(operation, **parameters)["ResponseMetadata"]["RetryAttempts"]
        patient.check(operation, retries == 1, f"a throttled call was tried again {retries} times")
