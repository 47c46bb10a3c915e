"""The agent's footprint and pace against its goals. `make bench` runs it; `--quick` takes fewer samples.

Everything runs on this machine's loopback. Times depend on the machine and on what else it does."""

import argparse
import lzma
import os
import re
import shutil
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

import cloud
import start

ROOT = Path(__file__).resolve().parents[2]
AGENT = ROOT / "target/agent/spotblock-agent"
FOLDER = ROOT / "target/bench"


def row(what: str, goal: str, measured: str, met: bool | None) -> bool:
    verdict = {True: "yes", False: "NO", None: ""}[met]
    print(f"{what:<46} {goal:>12}  {verdict:<4} {measured}", flush=True)
    return met is not False


def quantile(values: list[float], part: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def spread(values: list[float], unit: str, digits: int = 1) -> str:
    middle, low, high = statistics.median(values), quantile(values, 0.1), quantile(values, 0.9)
    return f"median {middle:.{digits}f} {unit}, 10 to 90 %: {low:.{digits}f} to {high:.{digits}f}; {len(values)} samples"


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def binary() -> list[bool]:
    size = AGENT.stat().st_size / 1e6
    packed = len(lzma.compress(AGENT.read_bytes(), preset=9)) / 1e6
    symbols = set(re.findall(r"GLIBC_([0-9.]+)", output("readelf", "--version-info", "--wide", str(AGENT))))
    newest = max(symbols, key=lambda version: [int(part) for part in version.split(".")])
    tree = output("cargo", "tree", "--locked", "--offline", "-p", "node-agent", "-e", "normal", "--prefix", "none")
    found = sorted(set(re.findall(r"^aws-sdk-\S+", tree, re.MULTILINE)))
    return [
        row("stripped binary", "<= 6 MB", f"{size:.2f} MB", size <= 6),
        row("the same, xz -9", "<= 2 MB", f"{packed:.2f} MB", packed <= 2),
        row("newest glibc symbol", "<= 2.34", newest, [int(part) for part in newest.split(".")] <= [2, 34]),
        row("no aws-sdk-ec2 in it", "none", ", ".join(found), "aws-sdk-ec2" not in found),
    ]


def beginning(count: int) -> list[bool]:
    took, log = start.starts(AGENT, FOLDER, count)
    met = statistics.median(took) <= 25
    kept = row("exec to ecs.config and ECS start, IMDS at 1 ms", "<= 25 ms", spread(took, "ms"), met)
    for at, said in log:
        print(f"    {at:6.1f} ms  {said[:90]}")
    return [kept]


def serving(instances: int, rounds: int, seconds: int) -> list[bool]:
    idle: list[dict[str, float]] = []
    waits: list[float] = []
    for number in range(rounds):
        there = cloud.Cloud(AGENT, FOLDER / f"serving-{number}", instances, "900s")
        try:
            if number == 0:
                idle = cloud.idle(FOLDER / f"serving-{number}", seconds)
            waits += cloud.notices(there)
        finally:
            there.close()
    worst = {key: max(agent[key] for agent in idle) for key in idle[0]}
    middle = statistics.median(agent["switches"] for agent in idle)
    about = f"worst of {len(idle)} agents, serving for {seconds} s"
    return [
        row("idle RSS", "<= 9 MB", f"{worst['rss']:.1f} MB, {about}", worst["rss"] <= 9),
        row("voluntary context switches", "<= 5/s", f"{worst['switches']:.1f}/s (median {middle:.1f}), {about}",
            worst["switches"] <= 5),
        row("CPU", "<= 0.1 %", f"{worst['cpu']:.2f} % of a core, {about}", worst["cpu"] <= 0.1),
        row("RSS grown meanwhile", "< 0.5 MB", f"{worst['grown']:.2f} MB", worst["grown"] < 0.5),
        row("descriptors opened meanwhile", "0", f"{worst['opened']:.0f}", worst["opened"] <= 0),
        row("notice to DRAINING, 99 %", "<= 1.2 s",
            f"{quantile(waits, 0.99):.2f} s, median {statistics.median(waits):.2f} s; {len(waits)} samples",
            quantile(waits, 0.99) <= 1.2),
    ]


def draining(instances: int) -> list[bool]:
    there = cloud.Cloud(AGENT, FOLDER / "draining", instances, "60s")
    try:
        late = [wait * 1000 for wait in cloud.drains(there)]
    finally:
        there.close()
    return [row("drain_at to DRAINING asked for", "", spread(late, "ms", 0), None)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    load = os.getloadavg()[0]
    print(f"{date.today()}, {os.cpu_count()} cores, load {load:.1f}, Linux {os.uname().release}, {os.uname().machine}\n")
    kept = binary() + beginning(10 if quick else 50)
    kept += serving(4, 1, 10) if quick else serving(12, 9, 30)
    kept += draining(4 if quick else 12)
    missed = kept.count(False)
    print("\nevery goal is met" if missed == 0 else f"\n{missed} of {len(kept)} goals are not met")
    return 0 if missed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
