"""Holds what `spotblock template` prints against cfn-lint, and what a stack of it makes against what `env apply` makes.

    template.py [--spotblock PROGRAM]    exit code 0 only when nothing was found

Both are made on moto, one after the other, and described over its API. Where CloudFormation or moto can't do what
`env apply` does, that is listed below with the reason; a difference that isn't listed is a finding, and so is one that is
listed and isn't there.
"""

import argparse
import ast
import copy
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cloud import ROOT, Cloud, be_safe

be_safe()
# Read when moto is imported: AWS's own policies are there to be attached.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from moto.batch.models import ComputeEnvironment, batch_backends
from moto.server import ThreadedMotoServer

FIXTURES = ROOT / "tests/e2e/fixtures"
STACK = "everything-stack"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What a stack can't make as `env apply` does, by the place where it shows.
CLOUDFORMATION = {
    "profile.Tags": "instance profiles take no tags in CloudFormation",
    "roles.spotblock-everything-instance.policies.spotblock": "CloudFormation doesn't know the cluster, so its pattern",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spotblock", type=Path, default=ROOT / "target/debug/spotblock")
    arguments = parser.parse_args()
    findings = Findings()
    mend_moto()
    # In this process and not in one of its own, since some of moto has to be mended.
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    # A line for each request, and what moto has no answer to: `plan` asks for prices.
    logging.getLogger("werkzeug").disabled = True
    server.start()
    try:
        host, port = server.get_host_and_port()
        with tempfile.TemporaryDirectory(prefix="spotblock-template-") as folder:
            world = World(Cloud(f"http://{host}:{port}"), arguments.spotblock, Path(folder))
            lint(world, findings)
            compare(world, findings)
    finally:
        server.stop()
    print(f"{findings.count} findings")
    return 1 if findings.count else 0


class Findings:
    """Prints each check, and counts those that failed."""

    def __init__(self) -> None:
        self.count = 0

    def check(self, good: bool, what: str, detail: object = "") -> None:
        print(f"{'ok  ' if good else 'FAIL'} {what}")
        if not good:
            self.count += 1
            print(f"       {detail}")


class World:
    """A moto, and a spotblock.toml that fits what moto has."""

    def __init__(self, cloud: Cloud, program: Path, folder: Path) -> None:
        self.cloud = cloud
        self._program = program
        self.folder = folder
        self.config = folder / "everything.toml"
        self._fit()

    def _fit(self) -> None:
        ec2 = self.cloud.client("ec2")
        subnet = ec2.describe_subnets()["Subnets"][0]
        of_vpc = [{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
        group = ec2.describe_security_groups(Filters=of_vpc)["SecurityGroups"][0]["GroupId"]
        there = {
            "subnet-c8d30ae4": subnet["SubnetId"],
            "sg-55964223": group,
            "ami-a7a242da": ec2.describe_images()["Images"][0]["ImageId"],
        }
        text = (FIXTURES / "everything.toml").read_text()
        for ours, theirs in there.items():
            text = text.replace(ours, theirs)
        self.config.write_text(text)

    def spotblock(self, *words: str, config: Path | None = None) -> str:
        environment = os.environ | {"AWS_ENDPOINT_URL": self.cloud.url, "NO_COLOR": "1"}
        command = [self._program, *words, "--config", config or self.config]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        if run.returncode:
            raise RuntimeError(f"spotblock {' '.join(words)} ended with {run.returncode}: {run.stderr}")
        return run.stdout

    def reset(self) -> None:
        """An account with nothing in it, as at the start."""
        request = urllib.request.Request(f"{self.cloud.url}/moto-api/reset", method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=30).close()
        self._fit()


def mend_moto() -> None:
    """What can't be made up for from outside."""
    given = ComputeEnvironment.set_ecs

    # moto gives every cluster the same prefix, AWS the environment's name: what the instance role's pattern is for.
    def named(self: ComputeEnvironment, arn: str, name: str) -> None:
        given(self, *(it.replace("OnDemand_Batch_", f"{self.name}_Batch_") for it in (arn, name)))

    # In a stack moto demands the compute resources that an unmanaged environment hasn't.
    def unmanaged(resource_name: str, cloudformation_json: dict, account_id: str, region_name: str, **_: Any) -> Any:
        asked = cloudformation_json["Properties"]
        batch = batch_backends[account_id][region_name]
        return batch.create_compute_environment(resource_name, asked["Type"], asked["State"], None, asked["ServiceRole"])

    ComputeEnvironment.set_ecs = named
    ComputeEnvironment.create_from_cloudformation_json = staticmethod(unmanaged)


def lint(world: World, findings: Findings) -> None:
    wrong = world.folder / "wrong.json"
    wrong.write_text('{"Resources": {"Q": {"Type": "AWS::Batch::JobQueue", "Properties": {"Prioritty": 1}}}}')
    findings.check(lint_says(wrong) != "", "cfn-lint notices a property that doesn't exist")
    given = world.folder / "given.toml"
    by_name = (FIXTURES / "spot-block-test.toml").read_text()
    given.write_text(by_name.replace('"BatchServiceRole"', '"arn:aws:iam::123456789012:role/BatchServiceRole"'))
    templates = [config.with_suffix(".json") for config in (world.config, given)]
    for template in templates:
        template.write_text(world.spotblock("template", config=template.with_suffix(".toml")))
    said = lint_says(*templates)
    findings.check(said == "", "cfn-lint has nothing to say of what `spotblock template` prints", said)


def lint_says(*templates: Path) -> str:
    # Informational rules, too.
    command = [Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--", *templates]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=templates[0].parent)
    return (run.stdout + run.stderr).strip()


def compare(world: World, findings: Findings) -> None:
    world.spotblock("env", "apply")
    applied = look(world.cloud)
    findings.check(set(verdicts(world)) == {"keep"}, "`env apply` leaves nothing to do", verdicts(world))
    world.reset()
    findings.check(set(verdicts(world)) == {"create"}, "a fresh account has nothing", verdicts(world))
    template = json.loads(world.spotblock("template"))
    deploy(world.cloud, template)
    mend(world.cloud, template, findings)
    stacked = look(world.cloud)
    findings.check(set(verdicts(world)) == {"keep"}, "`plan` keeps all that the stack made", verdicts(world))
    one, other = flat(applied), flat(stacked)
    findings.check(len(one) > 60, f"{len(one)} fields are compared")
    differing = {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    meant = {key for key in differing if any(key.startswith(place) for place in CLOUDFORMATION)}
    for key in sorted(differing.keys() - meant):
        findings.check(False, f"{key} differs", "env apply: {!r}, stack: {!r}".format(*differing[key]))
    for place, why in CLOUDFORMATION.items():
        findings.check(any(key.startswith(place) for key in meant), f"{place} differs: {why}", "it doesn't any more")
    covers_the_cluster(applied, stacked, findings)


def verdicts(world: World) -> list[str]:
    steps = json.loads(world.spotblock("plan", "--output", "json"))["steps"]
    return [it["verdict"] for it in steps if it["resource"] != "block"]


def covers_the_cluster(applied: dict, stacked: dict, findings: Findings) -> None:
    """The stack's policy is `env apply`'s, with patterns that cover the cluster in the cluster's place."""
    held = []

    def with_the_cluster(value: Any) -> Any:
        if isinstance(value, list) and all(str(it).endswith("-" + "?" * 12) for it in value):
            held.append(any(fnmatchcase(stacked["cluster"], pattern) for pattern in value))
            return stacked["cluster"]
        if isinstance(value, dict):
            return {key: with_the_cluster(it) for key, it in value.items()}
        return [with_the_cluster(it) for it in value] if isinstance(value, list) else value

    exact, pattern = (it["roles"]["spotblock-everything-instance"]["policies"]["spotblock"] for it in (applied, stacked))
    same = flat(with_the_cluster(pattern)) == flat(exact)
    findings.check(same and held == [True, True], "the stack's instance role is held to the cluster alone", (exact, pattern))


def deploy(cloud: Cloud, template: dict) -> None:
    fitted = copy.deepcopy(template)
    for properties in [it["Properties"] for it in fitted["Resources"].values() if "Timeout" in it["Properties"]]:
        # moto looks for `timeout`, which AWS doesn't know.
        properties["timeout"] = properties["Timeout"]
    client = cloud.client("cloudformation", read_timeout=60)
    body = json.dumps(fitted)
    client.create_stack(StackName=STACK, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
    status = client.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    if status != "CREATE_COMPLETE":
        raise RuntimeError(f"the stack is {status}")


def mend(cloud: Cloud, template: dict, findings: Findings) -> None:
    """Makes up for what moto leaves out of a stack, with the template's own values. Each is looked for first."""
    resources = template["Resources"].values()
    batch = cloud.client("batch")

    def tags_of(kind: str) -> dict:
        return next(it["Properties"]["Tags"] for it in resources if it["Type"] == kind)

    environment = batch.describe_compute_environments()["computeEnvironments"][0]
    queue = batch.describe_job_queues()["jobQueues"][0]
    for has, arn, kind in [
        (environment, environment["computeEnvironmentArn"], "AWS::Batch::ComputeEnvironment"),
        (queue, queue["jobQueueArn"], "AWS::Batch::JobQueue"),
    ]:
        findings.check(not has.get("tags"), f"moto leaves out the tags of {kind}", "no more: take this out")
        batch.tag_resource(resourceArn=arn, tags=tags_of(kind))
    wanted = tags_of("AWS::Batch::JobDefinition")
    for definition in batch.describe_job_definitions()["jobDefinitions"]:
        wrong = definition["tags"].keys() - wanted.keys()
        findings.check(wrong == {"project"}, "moto writes the keys of a job definition's tags small", wrong)
        batch.untag_resource(resourceArn=definition["jobDefinitionArn"], tagKeys=list(wrong))
        batch.tag_resource(resourceArn=definition["jobDefinitionArn"], tags=wanted)
    mend_roles(cloud.client("iam"), [it["Properties"] for it in resources if it["Type"] == "AWS::IAM::Role"], findings)
    scheduler = cloud.client("scheduler")
    group = next(it["Properties"] for it in resources if it["Type"] == "AWS::Scheduler::ScheduleGroup")
    there = [it["Name"] for it in scheduler.list_schedule_groups()["ScheduleGroups"]]
    findings.check(group["Name"] not in there, "moto makes no schedule groups in stacks", "no more: take this out")
    scheduler.create_schedule_group(**group)


def mend_roles(iam: Any, roles: list[dict], findings: Findings) -> None:
    for wanted in roles:
        name = wanted["RoleName"]
        for policy in wanted.get("ManagedPolicyArns", []):
            attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
            findings.check(not attached, "moto attaches no policies in stacks", "no more: take this out")
            iam.attach_role_policy(RoleName=name, PolicyArn=policy["Fn::Sub"].replace("${AWS::Partition}", "aws"))
        for policy in wanted.get("Policies", []):
            named = {"RoleName": name, "PolicyName": policy["PolicyName"]}
            has = iam.get_role_policy(**named)["PolicyDocument"]
            findings.check(isinstance(has, str), "moto keeps a stack's policies as Python's text", "no more: take this out")
            iam.put_role_policy(**named, PolicyDocument=json.dumps(ast.literal_eval(has)))


def look(cloud: Cloud) -> dict:
    """All that is there, without ids and times."""
    batch, iam, scheduler = cloud.client("batch"), cloud.client("iam"), cloud.client("scheduler")
    [environment] = batch.describe_compute_environments()["computeEnvironments"]
    [queue] = batch.describe_job_queues()["jobQueues"]
    for order in queue["computeEnvironmentOrder"]:
        # AWS answers with the ARN, moto with whatever it was given.
        order["computeEnvironment"] = order["computeEnvironment"].split("/")[-1]
    definitions = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    names = [it["RoleName"] for it in iam.list_roles()["Roles"] if it["RoleName"].startswith("spotblock-")]
    [profile] = iam.list_instance_profiles()["InstanceProfiles"]
    profile = iam.get_instance_profile(InstanceProfileName=profile["InstanceProfileName"])["InstanceProfile"]
    [group] = [it for it in scheduler.list_schedule_groups()["ScheduleGroups"] if it["Name"] != "default"]
    return {
        "cluster": environment["ecsClusterArn"],
        "environment": environment,
        "queue": queue,
        "definitions": {it["jobDefinitionName"]: it for it in definitions},
        "roles": {name: role(iam, name) for name in names},
        "profile": profile | {"Roles": [it["RoleName"] for it in profile["Roles"]], "Tags": plain(profile.get("Tags", []))},
        "group": group | {"Tags": plain(scheduler.list_tags_for_resource(ResourceArn=group["Arn"])["Tags"])},
    }


def role(iam: Any, name: str) -> dict:
    policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
    has = iam.get_role(RoleName=name)["Role"]
    return has | {
        "Tags": plain(has.get("Tags", [])),
        "attached": iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"],
        "policies": {it: iam.get_role_policy(RoleName=name, PolicyName=it)["PolicyDocument"] for it in policies},
    }


def plain(tags: list[dict]) -> dict:
    return {it["Key"]: it["Value"] for it in tags}


def flat(value: Any, path: str = "") -> dict[str, object]:
    """Each field by its path. Ids and times differ by chance, and so does the UUID in a cluster's name."""
    if isinstance(value, dict) and value:
        fields = {key: it for key, it in value.items() if not re.search(r"Id$|Date$|^uuid$", key)}
        return {at: it for key, below in fields.items() for at, it in flat(below, f"{path}.{key}".strip(".")).items()}
    if isinstance(value, list) and value:
        return {at: it for n, below in enumerate(value) for at, it in flat(below, f"{path}.{n}").items()}
    return {path: UUID.sub("UUID", value) if isinstance(value, str) else value}


if __name__ == "__main__":
    sys.exit(main())
