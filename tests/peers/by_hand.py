"""The eight steps with boto3, as its users take them without spotblock, on the local cloud with its nodes and real agents.

    by_hand.py [--cloud PROGRAM] [--agent PROGRAM]    exit code 0 only when the job succeeded and nothing was left

The AWS CLI's way is a test of its own (tests/e2e/tests/aws_cli.rs). Nothing of spotblock's but the agent takes part: the user
data is written here, by the contract that docs/on-the-instance.md tells.
"""

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import ClientError
from cloud import ROOT, Cloud, running

LIMIT_S = 60
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s.amazonaws.com"},"Action":"sts:AssumeRole"}]}'


def until(what: str, look: Callable[[], object]) -> object:
    end = time.monotonic() + LIMIT_S
    while not (seen := look()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)
    return seen


class Hand:
    """One user's clients, and what each step left for the next."""

    def __init__(self, cloud: Cloud) -> None:
        names = ["batch", "ec2", "ecs", "iam"]
        self.batch, self.ec2, self.ecs, self.iam = (cloud.client(name) for name in names)

    def roles(self) -> None:
        for name, service, policy in [
            ("ByHandBatch", "batch", "service-role/AWSBatchServiceRole"),
            ("ByHandInstance", "ec2", "service-role/AmazonEC2ContainerServiceforEC2Role"),
        ]:
            self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST % service)
            self.iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        self.service_role = self.iam.get_role(RoleName="ByHandBatch")["Role"]["Arn"]
        self.iam.create_instance_profile(InstanceProfileName="ByHandInstance")
        self.iam.add_role_to_instance_profile(InstanceProfileName="ByHandInstance", RoleName="ByHandInstance")
        self.iam.get_waiter("instance_profile_exists").wait(InstanceProfileName="ByHandInstance", WaiterConfig={"Delay": 1})

    def environment(self) -> None:
        name = "by-hand"
        self.batch.create_compute_environment(
            computeEnvironmentName=name, type="UNMANAGED", state="ENABLED", serviceRole=self.service_role
        )

        def valid() -> object:
            [made] = self.batch.describe_compute_environments(computeEnvironments=[name])["computeEnvironments"]
            return made["status"] == "VALID" and made

        self.cluster = until("a valid environment", valid)["ecsClusterArn"]

    def queue(self) -> None:
        order = [{"order": 1, "computeEnvironment": "by-hand"}]
        self.batch.create_job_queue(jobQueueName="by-hand", state="ENABLED", priority=1, computeEnvironmentOrder=order)
        look = self.batch.describe_job_queues
        until("a valid queue", lambda: look(jobQueues=["by-hand"])["jobQueues"][0]["status"] == "VALID")

    def definition(self) -> None:
        needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}]
        made = self.batch.register_job_definition(
            jobDefinitionName="by-hand", type="container", containerProperties={"image": "busybox", "resourceRequirements": needs}
        )
        assert made["revision"] == 1, made

    def user_data(self) -> None:
        settings = {
            "version": 1, "block": "sb-0123456789", "environment": "by-hand", "region": "us-east-1", "cluster": self.cluster,
            "source": "spot-block", "end": {"after-launch-secs": 3600}, "drain_lead_secs": 900, "stop_lead_secs": 300,
        }
        between = f"# --- spotblock node settings: begin ---\n# {json.dumps(settings)}\n# --- spotblock node settings: end ---\n"
        self.coded = base64.b64encode(f"#!/bin/sh\n{between}".encode()).decode()

    def job(self) -> None:
        overrides = {"command": ["sleep", "1"]}
        made = self.batch.submit_job(jobName="by-hand", jobQueue="by-hand", jobDefinition="by-hand", containerOverrides=overrides)
        self.id = made["jobId"]

    def block(self) -> None:
        [image] = self.ec2.describe_images(ImageIds=["ami-a7a242da"])["Images"]
        launch = {
            "ImageId": image["ImageId"], "InstanceType": "t2.micro", "SubnetId": "subnet-c8d30ae4",
            "SecurityGroupIds": ["sg-55964223"], "IamInstanceProfile": {"Name": "ByHandInstance"}, "UserData": self.coded,
        }
        made = self.ec2.request_spot_instances(
            BlockDurationMinutes=60, InstanceCount=1, LaunchSpecification=launch, SpotPrice="0.03", Type="one-time"
        )["SpotInstanceRequests"]
        ids = [one["SpotInstanceRequestId"] for one in made]

        def shown() -> bool:
            # What was asked for a moment ago needn't be known everywhere.
            try:
                return bool(self.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=ids))
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidSpotInstanceRequestID.NotFound":
                    raise
                return False

        until("the request to be shown", shown)
        self.ec2.get_waiter("spot_instance_request_fulfilled").wait(SpotInstanceRequestIds=ids, WaiterConfig={"Delay": 1})
        [request] = self.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=ids)["SpotInstanceRequests"]
        self.instance = request["InstanceId"]
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[self.instance], WaiterConfig={"Delay": 1})
        until("a container instance", lambda: self.ecs.list_container_instances(cluster=self.cluster)["containerInstanceArns"])

    def success(self) -> None:
        def ended() -> object:
            [job] = self.batch.describe_jobs(jobs=[self.id])["jobs"]
            return job["status"] in ("SUCCEEDED", "FAILED") and job

        job = until("the job's end", ended)
        assert job["status"] == "SUCCEEDED", job
        assert job["attempts"][0]["container"]["exitCode"] == 0, job["attempts"]

    def end(self) -> None:
        self.ec2.terminate_instances(InstanceIds=[self.instance])
        self.ec2.get_waiter("instance_terminated").wait(InstanceIds=[self.instance], WaiterConfig={"Delay": 1})
        self.batch.update_job_queue(jobQueue="by-hand", state="DISABLED")
        until("a queue at rest", lambda: self.batch.describe_job_queues(jobQueues=["by-hand"])["jobQueues"][0]["status"] == "VALID")
        self.batch.delete_job_queue(jobQueue="by-hand")
        until("no queue", lambda: not self.batch.describe_job_queues(jobQueues=["by-hand"])["jobQueues"])
        self.batch.update_compute_environment(computeEnvironment="by-hand", state="DISABLED")
        look = self.batch.describe_compute_environments
        until("an environment at rest", lambda: look(computeEnvironments=["by-hand"])["computeEnvironments"][0]["status"] == "VALID")
        self.batch.delete_compute_environment(computeEnvironment="by-hand")
        until("no environment", lambda: not look(computeEnvironments=["by-hand"])["computeEnvironments"])


STEPS = [
    ("4. roles and profile", Hand.roles),
    ("1. compute environment, and 5. its cluster", Hand.environment),
    ("2. queue", Hand.queue),
    ("3. job definition", Hand.definition),
    ("6. user data", Hand.user_data),
    ("7. a job", Hand.job),
    ("8. the block, joined", Hand.block),
    ("the job's success", Hand.success),
    ("the end of all", Hand.end),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cloud", type=Path, default=ROOT / "target/debug/localcloud")
    parser.add_argument("--agent", type=Path, default=ROOT / "target/debug/spotblock-agent")
    arguments = parser.parse_args()
    with running(arguments.cloud, arguments.agent) as cloud:
        hand = Hand(cloud)
        for what, step in STEPS:
            began = time.monotonic()
            try:
                step(hand)
            except Exception as error:
                print(f"FAIL {what}: {type(error).__name__}: {error}")
                return 1
            print(f"ok   {what} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
