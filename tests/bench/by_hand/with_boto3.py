"""The same as seed.sh with boto3, as somebody writes it who knows it: from nothing to COUNT instances that have joined."""

import base64
import json
import os
import time
from collections.abc import Callable

import boto3
from botocore.exceptions import ClientError

COUNT = int(os.environ["COUNT"])
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"batch.amazonaws.com"},"Action":"sts:AssumeRole"}]}'


def until(look: Callable[[], bool]) -> None:
    while not look():
        time.sleep(1)


def main() -> None:
    batch, ec2, ecs, iam = (boto3.client(name) for name in ("batch", "ec2", "ecs", "iam"))
    role = iam.create_role(RoleName="by-hand", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="by-hand", PolicyArn="arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole")
    batch.create_compute_environment(computeEnvironmentName="by-hand", type="UNMANAGED", state="ENABLED", serviceRole=role)

    def environment() -> dict:
        return batch.describe_compute_environments(computeEnvironments=["by-hand"])["computeEnvironments"][0]

    until(lambda: environment()["status"] == "VALID")
    cluster = environment()["ecsClusterArn"]
    batch.create_job_queue(
        jobQueueName="by-hand", state="ENABLED", priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "by-hand"}],
    )
    until(lambda: batch.describe_job_queues(jobQueues=["by-hand"])["jobQueues"][0]["status"] == "VALID")
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}]
    batch.register_job_definition(
        jobDefinitionName="by-hand", type="container", containerProperties={"image": "busybox", "resourceRequirements": needs}
    )
    settings = {
        "version": 1, "block": "sb-0123456789", "environment": "by-hand", "region": "us-east-1", "cluster": cluster,
        "source": "spot-block", "end": {"after-launch-secs": 3600}, "drain_lead_secs": 900, "stop_lead_secs": 300,
    }
    between = f"# --- spotblock node settings: begin ---\n# {json.dumps(settings)}\n# --- spotblock node settings: end ---\n"
    launch = {
        "ImageId": "ami-a7a242da", "InstanceType": "t2.micro", "SubnetId": "subnet-c8d30ae4",
        "SecurityGroupIds": ["sg-55964223"], "IamInstanceProfile": {"Name": "ecsInstanceRole"},
        "UserData": base64.b64encode(f"#!/bin/sh\n{between}".encode()).decode(),
    }
    made = ec2.request_spot_instances(
        SpotPrice="0.03", InstanceCount=COUNT, Type="one-time", BlockDurationMinutes=60, LaunchSpecification=launch
    )["SpotInstanceRequests"]
    ids = [one["SpotInstanceRequestId"] for one in made]

    def fulfilled() -> bool:
        try:
            requests = ec2.describe_spot_instance_requests(SpotInstanceRequestIds=ids)["SpotInstanceRequests"]
        except ClientError as error:
            # What was asked for a moment ago needn't be known everywhere.
            if error.response["Error"]["Code"] != "InvalidSpotInstanceRequestID.NotFound":
                raise
            return False
        return sum(one["State"] == "active" for one in requests) == COUNT

    def joined() -> bool:
        pages = ecs.get_paginator("list_container_instances").paginate(cluster=cluster)
        return sum(len(page["containerInstanceArns"]) for page in pages) == COUNT

    until(fulfilled)
    until(joined)


main()
