"""Has the GitHub workflows judged: by GitHub's schema of them, by zizmor for what lets others into them, and the scripts in
them by the shell and shellcheck.

    workflows.py    a line for each; exit code 0 only when no tool complains

All of it without a network. What only GitHub can tell (whether a runner's label, an action's input exist), it doesn't see.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from artefacts import Judges, complaints_of
from cloud import ROOT, be_safe

TOOLS = Path(sys.executable).parent
SCHEMA = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
ZIZMOR = [TOOLS / "zizmor", "--offline", "--no-progress", "--quiet"]
# What GitHub puts in before the shell sees it.
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")

# Each must be noticed by the tool of its name: a judge that passes anything is none.
WRONG = {
    "schema": "on: push\njobs:\n  a:\n    runs-on: x\n    stepz: []\n",
    "zizmor": "on: push\npermissions: {}\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v4\n",
    "bash -n": "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: if true; then\n",
    "shellcheck": "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: rm -r $HOME/$1\n",
}


def judgements(path: Path, with_shellcheck: bool) -> Iterator[tuple[str, list[str]]]:
    """What each tool has to complain of in a workflow."""
    yield "schema", complaints_of([*SCHEMA, path])
    yield "zizmor", complaints_of([*ZIZMOR, path])
    scripts = list(steps(path))
    # GitHub runs them by bash, and by sh in a container.
    yield "bash -n", [one for script in scripts for one in complaints_of(["bash", "-n"], script)]
    if with_shellcheck:
        yield "shellcheck", [one for script in scripts for one in complaints_of(["shellcheck", "--shell=sh", "-"], script)]


def steps(path: Path) -> Iterator[str]:
    """The scripts of all steps."""
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job.get("steps", []):
            if "run" in step:
                yield EXPRESSION.sub("x", step["run"])


def self_test(judges: Judges, with_shellcheck: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="spotblock-workflows-") as name:
        # zizmor takes what is in a folder of this name alone for a workflow.
        folder = Path(name, ".github/workflows")
        folder.mkdir(parents=True)
        for number, (tool, text) in enumerate(WRONG.items()):
            path = folder / f"{number}.yml"
            path.write_text(text)
            noticed = {by for by, complaints in judgements(path, with_shellcheck) if complaints}
            if tool != "shellcheck" or with_shellcheck:
                judges.say(f"a workflow that is wrong for {tool}", "noticed", [] if tool in noticed else ["taken"])


def main() -> int:
    be_safe()
    judges = Judges()
    with_shellcheck = judges.has("shellcheck")
    self_test(judges, with_shellcheck)
    found = sorted((ROOT / ".github/workflows").glob("*.yml"))
    judges.say("workflows", "there are some", [] if found else ["none"])
    for path in found:
        for tool, complaints in judgements(path, with_shellcheck):
            judges.say(path.name, tool, complaints)
    print(f"{judges.failed} complaints")
    return 1 if judges.failed else 0


if __name__ == "__main__":
    sys.exit(main())
