"""The provisioner on the local cloud and on moto, a cloud that others wrote: the same steps, held to the same.

    two_clouds.py [--spotblock PROGRAM] [--cloud PROGRAM]    exit code 0 only when everything holds on both

What is looked at is what each cloud tells boto3, and never what only one of them has. No agent joins on either: this
script registers the instances with ECS in their place. `moto_gaps` does in front of moto what AWS documents and moto lacks.
"""

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import moto_gaps
from cloud import ROOT, Cloud, running, running_moto

ENVIRONMENT = "two-clouds"
WANTED = 2
# Nothing here takes longer than a second or two on an idle machine.
LIMIT_S = 40

TOML = """\
region = "us-east-1"
[environment]
name = "{environment}"
queue = {{ name = "TwoClouds", priority = 7 }}
[[job-definition]]
name = "two-clouds"
image = "hello-world"
vcpus = 1
memory = "256MiB"
[block]
instances = {wanted}
duration = "60m"
instance-types = ["c5.large"]
sources = ["spot-block"]
max-price = 0.2
image = "{image}"
security-groups = ["{group}"]
subnets = ["{subnet}"]
"""


class Broken(Exception):
    """Something that must hold on both clouds doesn't."""


def must(holds: bool, otherwise: object) -> None:
    if not holds:
        raise Broken(str(otherwise))


class World:
    """A cloud, and spotblock pointed at it."""

    def __init__(self, cloud: Cloud, spotblock: Path, folder: Path) -> None:
        self.spotblock, self.config = spotblock, folder / "spotblock.toml"
        services = ["batch", "ec2", "ecs", "iam", "scheduler"]
        self.batch, self.ec2, self.ecs, self.iam, self.scheduler = (cloud.client(name, read_timeout=60) for name in services)
        # `running` left nothing in the environment that could lead elsewhere.
        self.environment = os.environ | {"AWS_ENDPOINT_URL": cloud.url, "NO_COLOR": "1"}
        self.config.write_text(TOML.format(environment=ENVIRONMENT, wanted=WANTED, **self._place()))

    def _place(self) -> dict[str, str]:
        zone = [{"Name": "availability-zone", "Values": ["us-east-1c"]}]
        subnet = next(one for one in self.ec2.describe_subnets(Filters=zone)["Subnets"] if one["DefaultForAz"])
        vpc = [{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
        images = self.ec2.describe_images()["Images"]
        return {
            "subnet": subnet["SubnetId"],
            "group": self.ec2.describe_security_groups(Filters=vpc)["SecurityGroups"][0]["GroupId"],
            "image": next(one["ImageId"] for one in images if one["Architecture"] == "x86_64"),
        }

    def start(self, *words: str) -> subprocess.Popen:
        command = [self.spotblock, *words, "--config", self.config]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **pipes)

    def run(self, *words: str, code: int = 0) -> str:
        return self.end(self.start(*words), code)

    def end(self, process: subprocess.Popen, code: int = 0) -> str:
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Broken(f"{process.args[1:3]}: not ended within {LIMIT_S} s: {err}") from None
        must(process.returncode == code, f"{process.args[1:3]}: exit code {process.returncode} instead of {code}: {err}")
        return out

    def alive(self) -> list[dict]:
        """The environment's instances that AWS would bill."""
        mark = [{"Name": "tag:spotblock:environment", "Values": [ENVIRONMENT]}]
        found = self.ec2.describe_instances(Filters=mark)["Reservations"]
        instances = [one for reservation in found for one in reservation["Instances"]]
        return [one for one in instances if one["State"]["Name"] in ("pending", "running")]

    def bought(self) -> set[str]:
        """Every instance that ever was, whosesoever."""
        found = self.ec2.describe_instances()["Reservations"]
        return {one["InstanceId"] for reservation in found for one in reservation["Instances"]}

    def until(self, what: str, look: Callable[[], object]) -> object:
        end = time.monotonic() + LIMIT_S
        while not (seen := look()):
            must(time.monotonic() < end, f"never: {what}")
            time.sleep(0.1)
        return seen

    def cluster(self) -> str:
        [environment] = self.batch.describe_compute_environments(computeEnvironments=[ENVIRONMENT])["computeEnvironments"]
        return environment["ecsClusterArn"]

    def join(self, instances: list[dict]) -> None:
        """What the ECS agents would do."""
        for one in instances:
            document = json.dumps({"instanceId": one["InstanceId"], "region": "us-east-1", "accountId": "123456789012"})
            self.ecs.register_container_instance(cluster=self.cluster(), instanceIdentityDocument=document)


def environment_is_made(world: World) -> None:
    world.run("env", "apply")
    [made] = world.batch.describe_compute_environments(computeEnvironments=[ENVIRONMENT])["computeEnvironments"]
    state = (made["type"], made["state"], made["status"])
    must(state == ("UNMANAGED", "ENABLED", "VALID"), f"compute environment {state}")
    [queue] = world.batch.describe_job_queues(jobQueues=["TwoClouds"])["jobQueues"]
    # Batch's model says that these are ARNs; moto gives back what it was given, a name.
    bound = [one["computeEnvironment"].rpartition("/")[2] for one in queue["computeEnvironmentOrder"]]
    must((queue["state"], queue["priority"]) == ("ENABLED", 7), f"queue {queue}")
    must(bound == [ENVIRONMENT], f"the queue is bound to {bound}")
    must(made["ecsClusterArn"] in world.ecs.list_clusters()["clusterArns"], "ECS knows no such cluster")


def job_definition_fits_blocks(world: World) -> None:
    [made] = world.batch.describe_job_definitions(jobDefinitionName="two-clouds")["jobDefinitions"]
    rules = [(rule["action"].upper(), rule.get("onStatusReason"), rule.get("onExitCode")) for rule in made["retryStrategy"]["evaluateOnExit"]]
    must(("RETRY", "Host EC2*", None) in rules, rules)
    must(rules[-1][0] == "EXIT" and {("RETRY", None, "143"), ("RETRY", None, "255")} <= set(rules), rules)
    needs = {one["type"]: one["value"] for one in made["containerProperties"]["resourceRequirements"]}
    must(needs == {"VCPU": "1", "MEMORY": "256"}, needs)


def roles_are_least(world: World) -> None:
    """An instance's role is of this environment alone, and Batch's is what AWS made for it."""
    profile = world.iam.get_instance_profile(InstanceProfileName=f"spotblock-{ENVIRONMENT}-instance")["InstanceProfile"]
    [role] = profile["Roles"]
    must(role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}, role)
    names = world.iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
    documents = [world.iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"] for name in names]
    must(world.cluster() in json.dumps(documents), "the policy isn't held to the cluster")
    service = world.iam.list_attached_role_policies(RoleName=f"spotblock-{ENVIRONMENT}-batch")["AttachedPolicies"]
    must([one["PolicyName"] for one in service] == ["AWSBatchServiceRole"], service)


def applying_again_changes_nothing(world: World) -> None:
    definitions = world.batch.describe_job_definitions(jobDefinitionName="two-clouds")["jobDefinitions"]
    world.run("env", "apply")
    again = world.batch.describe_job_definitions(jobDefinitionName="two-clouds")["jobDefinitions"]
    must(again == definitions, "another revision of the same job definition")
    steps = json.loads(world.run("plan", "--output", "json"))["steps"]
    others = {step["verdict"] for step in steps if step["resource"] != "block"}
    must(others == {"keep"}, f"a second plan has {others}")


def user_data_has_the_cluster(world: World) -> None:
    script = world.run("user-data", "--block", "sb-0123456789")
    [line] = [line for line in script.splitlines() if line.startswith('# {"version"')]
    settings = json.loads(line.removeprefix("# "))
    must(settings["cluster"] == world.cluster(), settings)
    coded = world.run("user-data", "--block", "sb-0123456789", "--format", "base64")
    must(base64.b64decode(coded).decode() == script, "base64 is of another script")


def block_lives(world: World, source: str) -> None:
    """Bought once, though the first run is stopped; joined; shown; ended."""
    before = world.bought()
    first = world.start("request", "--source", source)
    try:
        instances = world.until(f"{WANTED} instances from {source}", lambda: len(world.alive()) == WANTED and world.alive())
        first.send_signal(signal.SIGINT)
        world.end(first, code=130)
    finally:
        first.kill()
    shown = json.loads(world.run("status", "--output", "json"))["blocks"]
    live = [one for one in shown if one["life"] == "live"]
    must(len(live) == 1 and live[0]["source"] == source, f"status shows {shown}")
    must({one["id"] for one in live[0]["instances"]} == {one["InstanceId"] for one in instances}, live)
    as_launched(instances, live[0]["id"], source)

    second = world.start("request", "--source", source, "--output", "json")
    try:
        world.join(instances)
        result = json.loads(world.end(second))
    finally:
        second.kill()
    must(result["block"]["id"] == live[0]["id"], "the second run started another block")
    must(world.bought() - before == {one["InstanceId"] for one in instances}, "bought twice")
    [live] = [one for one in json.loads(world.run("status", "--output", "json"))["blocks"] if one["life"] == "live"]
    must(all(one["joined"] for one in live["instances"]), live["instances"])

    world.run("down")
    must(world.alive() == [], "instances outlived `down`")
    templates = [{"Name": "tag:spotblock:environment", "Values": [ENVIRONMENT]}]
    must(world.ec2.describe_launch_templates(Filters=templates)["LaunchTemplates"] == [], "the record outlived `down`")
    must(world.scheduler.list_schedules(GroupName=f"spotblock-{ENVIRONMENT}")["Schedules"] == [], "schedules outlived it")
    world.run("down")


def as_launched(instances: list[dict], block: str, source: str) -> None:
    for one in instances:
        tags = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        must((tags["spotblock:block"], tags["spotblock:environment"]) == (block, ENVIRONMENT), tags)
        must(one["InstanceType"] == "c5.large", one["InstanceType"])
        is_spot = one.get("InstanceLifecycle") == "spot"
        must(is_spot == (source != "on-demand"), f"{source}: lifecycle {one.get('InstanceLifecycle')}")


def everything_is_removed(world: World) -> None:
    world.run("down", "--all")
    left = world.batch.describe_compute_environments(computeEnvironments=[ENVIRONMENT])["computeEnvironments"]
    must([one for one in left if one["status"] not in ("DELETING", "DELETED")] == [], left)
    must(world.batch.describe_job_queues(jobQueues=["TwoClouds"])["jobQueues"] == [], "the queue is left")
    for part in ["batch", "instance", "scheduler"]:
        try:
            role = world.iam.get_role(RoleName=f"spotblock-{ENVIRONMENT}-{part}")
        except world.iam.exceptions.NoSuchEntityException:
            continue
        raise Broken(f"{role} is left")


STEPS: list[tuple[str, Callable[[World], None]]] = [
    ("env apply makes what it says", environment_is_made),
    ("the job definition fits blocks", job_definition_fits_blocks),
    ("the roles are least", roles_are_least),
    ("applied again, nothing changes", applying_again_changes_nothing),
    ("user data has the cluster", user_data_has_the_cluster),
    *[(f"a block from {source}", lambda world, source=source: block_lives(world, source)) for source in ("spot-block", "spot", "on-demand")],
    ("down --all removes everything", everything_is_removed),
]


def lived_through(name: str, cloud: Cloud, spotblock: Path) -> int:
    """Gives how many steps failed."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="spotblock-two-clouds-") as folder:
        world = World(cloud, spotblock, Path(folder))
        for what, step in STEPS:
            began = time.monotonic()
            try:
                step(world)
            except Exception as error:
                failed += 1
                print(f"FAIL {name}: {what}\n       {type(error).__name__}: {error}")
            else:
                print(f"ok   {name}: {what} ({time.monotonic() - began:.1f} s)")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spotblock", type=Path, default=ROOT / "target/debug/spotblock")
    parser.add_argument("--cloud", type=Path, default=ROOT / "target/debug/localcloud")
    arguments = parser.parse_args()
    # At the same time, since most of it is waiting.
    with running(arguments.cloud) as ours, running_moto() as moto, ThreadPoolExecutor() as at_once:
        by_us = at_once.submit(lived_through, "localcloud", ours, arguments.spotblock)
        failed = look_for_gaps(moto)
        with moto_gaps.mended(moto) as mended:
            failed += lived_through("moto", mended, arguments.spotblock)
        failed += by_us.result()
    print(f"{2 * len(STEPS)} steps, {failed} failures")
    return 1 if failed else 0


def look_for_gaps(moto: Cloud) -> int:
    failed = 0
    for gap, is_there in moto_gaps.still_needed(moto):
        print(f"ok   moto: {gap}: mended" if is_there else f"FAIL moto: {gap}: moto has it now, take the mend out")
        failed += not is_there
    return failed


if __name__ == "__main__":
    sys.exit(main())
