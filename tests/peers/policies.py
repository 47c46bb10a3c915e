"""Holds the policies that `spotblock iam` prints against parliament, which knows each action's resources and conditions.

    policies.py [--spotblock PROGRAM] [--cloud PROGRAM]    exit code 0 only when nothing was found
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import parliament
from cloud import ROOT, running

# A managed policy holds so many characters, white space not counted.
LONGEST = 6144

# What parliament finds and what is meant so: the issue, what its actions begin with, and why.
MEANT = [
    ("RESOURCE_MISMATCH", ["ec2:RunInstances"], "two statements: instances under the profile, and what they are made of"),
    ("RESOURCE_STAR", ["ecs:"], "the condition holds them to the cluster"),
    ("RESOURCE_STAR", ["ecr:", "logs:"], "jobs' images and logs can be in any repository and group"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spotblock", type=Path, default=ROOT / "target/debug/spotblock")
    parser.add_argument("--cloud", type=Path, default=ROOT / "target/debug/localcloud")
    arguments = parser.parse_args()
    failed = look_at_itself()
    with running(arguments.cloud) as cloud:
        # `running` left nothing in the environment that could lead elsewhere.
        environment = os.environ | {"AWS_ENDPOINT_URL": cloud.url, "NO_COLOR": "1"}
        for name in ["spot-block-test.toml", "gpu.toml"]:
            config = ROOT / "tests/e2e/fixtures" / name

            def spotblock(*words: str) -> str:
                command = [arguments.spotblock, *words, "--config", config]
                return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

            spotblock("env", "apply")
            for who, documents in json.loads(spotblock("iam")).items():
                if "ManagedPolicyArn" in documents["policy"]:
                    continue
                found = judge(documents["policy"])
                print(f"{'FAIL' if found else 'ok  '} {name} {who}: {len(json.dumps(documents['policy'], separators=(',', ':')))} characters")
                for one in found:
                    print(f"       {one}")
                failed += len(found)
    print(f"{failed} findings")
    return 1 if failed else 0


def look_at_itself() -> int:
    """Whether parliament notices what is wrong at all."""
    statement = {"Effect": "Allow", "Action": ["ec2:RunInstance"], "Resource": "*"}
    noticed = judge({"Version": "2012-10-17", "Statement": [statement]})
    print(f"{'ok  ' if noticed else 'FAIL'} an action that doesn't exist is noticed")
    return 0 if noticed else 1


def judge(policy: dict) -> list[str]:
    text = json.dumps(policy, separators=(",", ":"))
    findings = [one for one in parliament.analyze_policy_string(text).findings if not is_meant(one)]
    said = [f"{one.issue}: {one.detail}" for one in findings]
    return said + ([f"{len(text)} characters are more than IAM takes"] if len(text) > LONGEST else [])


def is_meant(finding: Any) -> bool:
    named = [one["action"] if isinstance(one, dict) else one for one in finding.detail]
    return any(
        finding.issue == issue and all(action.startswith(tuple(starts)) for action in named)
        for issue, starts, _ in MEANT
    )


if __name__ == "__main__":
    sys.exit(main())
