"""Holds the local cloud's wire protocols against AWS's service models, as botocore ships them.

That our own cloud and our own programs agree says little: both can be wrong alike. Here botocore's clients drive every
operation that the cloud implements, and every answer's raw bytes are held against the model's shapes.

    wire.py [--cloud PROGRAM]    drives everything, the self-test included; exit code 0 only when nothing was found
    wire.py --self-test          whether spoiled answers are noticed, alone

1. `selftest` spoils answers and expects findings.
2. `probe` asks a cloud of its own for every operation that AWS has: what is known has to be driven.
3. `scenario_*` drive a second cloud through `ledger`, which has `validate` look at every answer.
4. What has pages or a waiter in botocore has to be read in pages, and waited for.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

import probe
import scenario_batch
import scenario_ec2
import scenario_ec2_fleets
import scenario_iam
import scenario_reservations
import scenario_scheduler
import scenario_small
import selftest
from botocore import xform_name
from cloud import ROOT, Cloud, running
from ledger import Ledger

SERVICES = ["batch", "ec2", "ecs", "iam", "logs", "pricing", "s3", "scheduler", "ssm", "sts"]
SCENARIOS = [
    scenario_iam, scenario_ec2, scenario_ec2_fleets, scenario_reservations, scenario_batch,
    scenario_scheduler, scenario_small,
]

# Waiters for what can't be reached here, though their operation is known.
NEVER_REACHED = {"ec2.instance_stopped": "spot instances that are one-time can't be stopped"}


# Operations that the cloud knows and refuses whatever is asked, as AWS does for all that the cloud can hold.
NEVER_ANSWERED = {"ec2.DescribeFleetInstances": "AWS has it for fleets of the types that the cloud doesn't have"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    program = ROOT / "target/debug/localcloud"
    parser.add_argument("--cloud", type=Path, default=program, help="the local cloud's program")
    parser.add_argument("--self-test", action="store_true", help="the self-test alone")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcomes = [say(f"self-test {name}", "", [] if holds else ["not noticed"]) for name, holds in selftest.run()]
    if not arguments.self_test:
        outcomes += drive(arguments.cloud)
    failed = outcomes.count(False)
    print(f"{len(outcomes)} checks in {time.monotonic() - began:.0f} s")
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def drive(program: Path) -> list[bool]:
    """Gives what came of each scenario and each operation: whether it is as it should be."""
    ledger = Ledger()
    with running(program) as cloud:
        known = {f"{service}.{name}" for service in SERVICES for name in probe.known_operations(cloud, service, ledger)}
    outcomes = []
    with running(program) as cloud:
        for scenario in SCENARIOS:
            try:
                scenario.run(cloud, ledger)
            except Exception:
                outcomes.append(say(scenario.__name__, "", ["broke off", *traceback.format_exc().splitlines()[-8:]]))
        look_for_gaps(cloud, known, ledger)
    for name in sorted(known | ledger.findings.keys()):
        findings = [f"{what} ({times} times)" for what, times in ledger.findings[name].items()]
        codes = ", ".join(sorted(ledger.refusals[name])) or "nothing"
        outcomes.append(say(name, f": {ledger.answers[name]} answers; refused with {codes}", findings))
    return outcomes


def look_for_gaps(cloud: Cloud, known: set[str], ledger: Ledger) -> None:
    """What a scenario should have driven and didn't."""
    for service in SERVICES:
        client = cloud.client(service)
        for name in client.meta.service_model.operation_names:
            operation = f"{service}.{name}"
            if operation not in known or operation in NEVER_ANSWERED:
                continue
            if not ledger.answers[operation]:
                ledger.find(operation, "never driven to a good answer")
            if client.can_paginate(xform_name(name)) and operation not in ledger.paged:
                ledger.find(operation, "has pages, and was never read in pages")
        for name in client.waiter_names:
            operation, waiter = f"{service}.{client.get_waiter(name).config.operation}", f"{service}.{name}"
            if operation in known and waiter not in ledger.waited | NEVER_REACHED.keys():
                ledger.find(operation, f"never waited for with {name}")


def say(name: str, more: str, findings: list[str]) -> bool:
    print(f"{'FAIL' if findings else 'ok  '} {name}{more}")
    for finding in findings:
        print(f"       {finding}")
    return not findings


if __name__ == "__main__":
    sys.exit(main())
