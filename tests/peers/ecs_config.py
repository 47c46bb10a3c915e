"""Reads what the agent makes of odd ecs.config files as its two readers do.

    ecs_config.py [--generator PROGRAM]    exit code 0 only when every file reads as the corpus has it

The corpus is node-agent/fixtures/ecs-config: an odd file (.config), what the agent makes of it (.merged, held by a test of
the agent), and in expected.json how both readers then read what is the user's.

- The ECS agent's start (ecs-init) reads the file itself. Its rules are repeated here from its source: white space around the
  file and each line goes; a line is split at the first `=`; the last of equal keys wins; nothing else is stripped.
- systemd reads it as the unit's EnvironmentFile=. Its own parser is asked, in the generator of user environments
  (environment.d(5)), which any user can run. That one also replaces $VARIABLES, so the corpus has no `$`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cloud import ROOT

CORPUS = ROOT / "node-agent/fixtures/ecs-config"
GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
OURS = {
    "ECS_CLUSTER": "arn:aws:ecs:us-east-1:1:cluster/c",
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "false",
    "ECS_CONTAINER_STOP_TIMEOUT": "240s",
}
ATTRIBUTES = "ECS_INSTANCE_ATTRIBUTES"
OUR_ATTRIBUTES = {"spotblock.block": "sb-1f2c", "spotblock.end": "2026-11-24T11:00:00Z"}
# What is no UTF-8, systemd leaves out with a warning; version 252's generator then breaks off, and its parser doesn't.
NOT_ASKED_OF_SYSTEMD = {"not-utf-8"}


def read_as_ecs_init(raw: bytes) -> dict[str, str]:
    found = {}
    for line in raw.decode(errors="surrogateescape").strip().split("\n"):
        key, sign, value = line.strip().partition("=")
        if sign:
            found[key] = value
    return found


def read_as_systemd(raw: bytes, generator: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="spotblock-ecs-config-") as folder:
        Path(folder, "environment.d").mkdir()
        # One of this name comes after the machine's own.
        Path(folder, "environment.d/zz.conf").write_bytes(raw)
        environment = {"XDG_CONFIG_HOME": folder, "HOME": folder, "LC_ALL": "C.UTF-8"}
        run = subprocess.run([generator], env=environment, capture_output=True, check=True, timeout=20)
    return dict(unquoted(line) for line in run.stdout.decode().splitlines())


def unquoted(line: str) -> tuple[str, str]:
    """Undoes how the generator prints what a shell would not take as it is: in quotes, and escaped as in C."""
    key, _, value = line.partition("=")
    if value.startswith("$'"):
        value = value[2:-1]
    elif value.startswith('"'):
        value = value[1:-1]
    else:
        return key, value
    plain = {"n": "\n", "t": "\t", "r": "\r"}
    return key, re.sub(r"\\(.)", lambda escaped: plain.get(escaped[1], escaped[1]), value)


def findings(name: str, expected: dict, generator: Path | None) -> list[str]:
    raw = (CORPUS / f"{name}.merged").read_bytes()
    readings = {"ecs-init": read_as_ecs_init(raw)}
    if generator and name not in NOT_ASKED_OF_SYSTEMD:
        # What the machine's own environment.d has is no part of it.
        machines = read_as_systemd(b"", generator)
        read = read_as_systemd(raw, generator)
        readings["systemd"] = {key: value for key, value in read.items() if machines.get(key) != value}
    found = []
    for reader, reading in readings.items():
        found += [f"{reader}: {key} is {reading.get(key)!r}" for key, value in OURS.items() if reading.get(key) != value]
        try:
            attributes = json.loads(reading.get(ATTRIBUTES, ""))
        except ValueError:
            attributes = {}
        theirs = {key: value for key, value in attributes.items() if key not in {*OUR_ATTRIBUTES, "spotblock.agent-version"}}
        if not OUR_ATTRIBUTES.items() <= attributes.items() or theirs != expected.get("attributes", {}):
            found.append(f"{reader}: {ATTRIBUTES} is {reading.get(ATTRIBUTES)!r}")
        users = {key: value for key, value in reading.items() if key not in {*OURS, ATTRIBUTES}}
        wanted = expected.get(reader, expected.get("both", {}))
        if users != wanted:
            found.append(f"{reader}: the user's keys read as {users} instead of {wanted}")
    return found + untouched(name, raw)


def untouched(name: str, merged: bytes) -> list[str]:
    """What the user had in the file, and is not ours, stays, line for line."""
    odd = (CORPUS / f"{name}.config").read_bytes()
    before, after = read_as_ecs_init(odd), read_as_ecs_init(merged)
    owned = {*OURS, ATTRIBUTES}
    lost = [key for key, value in before.items() if key.strip() not in owned and "\0" not in key + value and after.get(key) != value]
    return [f"{key} is lost" for key in lost]


def self_test(generator: Path | None) -> list[str]:
    """Whether a fault would be seen: the odd files as they are, without the agent's hand, read otherwise."""
    missed = []
    open_quote = b'A="open\nECS_CLUSTER=c\n'
    if generator and "ECS_CLUSTER" in read_as_systemd(open_quote, generator):
        missed.append("systemd reads on in an open quote, and this isn't seen")
    if generator and read_as_systemd(b"A=1\\\nECS_CLUSTER=c\n", generator).get("A") != "1ECS_CLUSTER=c":
        missed.append("systemd reads on behind a backslash, and this isn't seen")
    if read_as_ecs_init(b" ECS_CLUSTER = x \n") != {"ECS_CLUSTER ": " x"}:
        missed.append("ecs-init keeps the white space around the sign")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--generator", type=Path, default=GENERATOR, help="systemd's generator of user environments")
    arguments = parser.parse_args()
    generator = arguments.generator if arguments.generator.exists() else None
    if not generator:
        print(f"SKIPPED systemd's reading: no {arguments.generator}, which systemd's package has")
        if os.environ.get("CI"):
            return 1
    expected = json.loads((CORPUS / "expected.json").read_text())
    names = sorted(path.stem for path in CORPUS.glob("*.config"))
    failed = self_test(generator)
    print("\n".join(f"FAIL {one}" for one in failed) or "ok   a wrong reading is noticed")
    if names != sorted(expected):
        failed.append("names")
        print(f"FAIL the corpus and expected.json differ: {set(names) ^ expected.keys()}")
    for name in names:
        found = findings(name, expected.get(name, {}), generator)
        failed += found
        print(f"{'FAIL' if found else 'ok  '} {name}" + "".join(f"\n       {one}" for one in found))
    print(f"{len(names)} files, {len(failed)} findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
