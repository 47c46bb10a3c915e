"""Whether the bench still runs and judges, in a minute on an idle machine: part of `make test`. Its
figures mean nothing there."""

import json
import re
import subprocess
import sys
from pathlib import Path

from bench import SMALL, run, sections
from cloud import ROOT
from report import BUSY, Figure, Report, Row

HERE = Path(__file__).resolve().parent
# On a machine that others keep busy it takes many times as long.
LIMIT_S = 900
NUMBER = r"\d+(?:[.,]\d+)*"


def row(value: float, timed: bool, others: float) -> Row:
    return Row("a figure", Figure([value], "ms"), goal=25, timed=timed, others=others)


def judging() -> list[str]:
    """Whose verdict or exit code is wrong."""
    idle, busy = BUSY / 2, BUSY * 2
    cases = [
        ("a goal that is met", row(25, True, idle), "met", 0),
        ("one that is missed on an idle machine", row(26, True, idle), "MISSED", 1),
        ("one missed while others worked", row(26, True, busy), "busy", 0),
        ("a size missed while others worked", row(26, False, busy), "MISSED", 1),
        ("a peer that is quicker", Row("wall", Figure([2], "s"), peer=("aws", Figure([1], "s"))), "", 0),
    ]
    wrong = []
    for what, one, verdict, code in cases:
        report = Report([one], load=[0.0, 0.0])
        if (one.verdict, report.code) != (verdict, code):
            wrong.append(f"{what}: {one.verdict!r}, exit code {report.code}")
    return wrong


def counting() -> list[str]:
    """Which numbers don't stand in the table as they should."""
    many = [float(value) for value in range(1, 101)]
    lines = Report([
        Row("median", Figure(many, "ms", 0), goal=25, section="one"),
        Row("p99", Figure(many, "ms", 0, by="p99"), section="one"),
        Row("worst", Figure([3, 1, 2], "MB", 0, by="worst"), peer=("aws", Figure([6, 4, 2], "MB", 0)), section="two"),
    ], load=[1.0, 2.0]).lines()
    wanted = [
        "2.02 median 50 ms (11 to 91; n=100) goal: at most 25 ms MISSED",
        "p99 p99 100 ms (median 50; n=100)",
        "0.75 worst worst 3 MB (median 2; n=3) aws: 4 MB (2 to 6; n=3)",
        "0 of 1 goals met, 1 missed",
    ]
    shown = [" ".join(line.split()) for line in lines]
    return [f"not in the table: {line}" for line in wanted if line not in shown]


def failing() -> list[str]:
    """A section that fails is told, and takes no other's rows away."""
    def fails() -> list[Row]:
        raise RuntimeError("no cloud")

    report = run([("first", fails), ("second", lambda: [row(1, True, 0)])], ROOT / "agent")
    good = report.code == 1 and [it.section for it in report.rows] == ["second"] and "FAILED  first: RuntimeError: no cloud" in report.lines()
    return [] if good else [f"{report.failed} {report.rows} {report.code}"]


def quoting() -> list[str]:
    """Figures in README.md and docs/promises.md that the run in docs/bench.md didn't print."""
    printed = "\n".join(line for line in (ROOT / "docs/bench.md").read_text().splitlines() if line.startswith("    "))
    known = set(re.findall(NUMBER, printed))
    cells = []
    readme = (ROOT / "README.md").read_text().split("## The agent's footprint", 1)[1].split("\n## ", 1)[0]
    cells += [line.split("|")[3] for line in readme.splitlines() if line.startswith("| ")]
    promises = (ROOT / "docs/promises.md").read_text()
    cells += [line.split("|")[3] for line in promises.splitlines() if "| `make bench` |" in line]
    quoted = [(cell.strip(), number) for cell in cells for number in re.findall(NUMBER, cell)]
    if len(known) < 100 or len(quoted) < 20:
        return [f"{len(quoted)} figures quoted, {len(known)} printed: the pages are not what they were"]
    return [f"{number} of '{cell}' is not in docs/bench.md" for cell, number in quoted if number not in known]


def running() -> list[str]:
    """A small run: every section has its rows, in the table and in the file."""
    file = ROOT / "target/bench-small.json"
    command = [sys.executable, HERE / "bench.py", "--small", "--agent", ROOT / "target/debug/spotblock-agent", "--json", file]
    file.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return [f"not done within {LIMIT_S} s"]
    if not file.exists():
        return [f"exit code {done.returncode} and no {file}"]
    result = json.loads(file.read_text())
    wrong = [f"{failed['section']}: {failed['why']}" for failed in result["failed"]]
    # The agent of a development build is too large, which has to be seen.
    if done.returncode != 1 or result["code"] != 1:
        wrong.append(f"exit code {done.returncode}, and {result['code']} in the file")
    planned = {name for name, _ in sections(SMALL, Path(), Path(), [])}
    wrong += [f"no rows of: {name}" for name in planned - {one["section"] for one in result["rows"]}]
    wrong += [f"not in the table: {one['what']}" for one in result["rows"] if one["what"] not in done.stdout]
    wrong += [f"nothing measured: {one['what']}" for one in result["rows"] if not one["spotblock"]["values"]]
    return wrong


def main() -> int:
    failed = False
    for check in (judging, counting, failing, quoting, running):
        wrong = check()
        failed |= bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} bench: {check.__name__}", *(f"     {line}" for line in wrong), sep="\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
