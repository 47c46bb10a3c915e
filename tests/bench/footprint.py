"""What the agent is and takes: its binary, how it idles, how soon it acts on a notice, how punctually it drains."""

import lzma
import re
import statistics
import subprocess
from pathlib import Path

import cloud
from cloud import ROOT, Cloud
from report import Figure, Row


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def binary(agent: Path, xz: int) -> list[Row]:
    packed = len(lzma.compress(agent.read_bytes(), preset=xz)) / 1e6
    symbols = re.findall(r"GLIBC_2\.([0-9]+)", output("readelf", "--version-info", "--wide", str(agent)))
    tree = output("cargo", "tree", "--locked", "--offline", "-p", "node-agent", "-e", "normal", "--prefix", "none")
    return [
        Row("stripped binary", Figure([agent.stat().st_size / 1e6], "MB", 2), goal=6),
        Row(f"the same, xz -{xz}", Figure([packed], "MB", 2), goal=2),
        Row("newest glibc 2.x symbol: x", Figure([max(int(minor) for minor in symbols)], "", 0), goal=34),
        Row("aws-sdk-ec2 in it: versions", Figure([len(set(re.findall(r"^aws-sdk-ec2 \S+", tree, re.M)))], "", 0), goal=0),
    ]


def serving(agent: Path, folder: Path, instances: int, rounds: int, seconds: int) -> list[Row]:
    """Idle agents in the first round's block, then notices in every round's."""
    idle: list[dict[str, float]] = []
    waits: list[float] = []
    for number in range(rounds):
        place = folder / f"serving-{number}"
        with Cloud.with_block(place, agent, instances, "900s") as there:
            if number == 0:
                idle = cloud.idle(place, seconds)
            waits += cloud.notices(there)

    def worst(what: str, unit: str, digits: int) -> Figure:
        return Figure([one[what] for one in idle], unit, digits, by="worst")

    return [
        Row("idle RSS", worst("rss", "MB", 1), goal=9),
        Row("idle wake-ups: voluntary switches", worst("switches", "/s", 1), goal=5),
        Row("idle CPU, of a core", worst("cpu", "%", 2), goal=0.1, timed=True),
        Row(f"RSS grown within {seconds} s", worst("grown", "MB", 2), goal=0.5),
        Row(f"descriptors opened within {seconds} s", worst("opened", "", 0), goal=0),
        Row("notice to DRAINING, half of them", Figure([statistics.median(waits)], "s", 2)),
        Row("notice to DRAINING, 99 %", Figure(waits, "s", 2, by="p99"), goal=1.2, timed=True),
    ]


def draining(agent: Path, folder: Path, instances: int, ends_in: str) -> list[Row]:
    with Cloud.with_block(folder / "draining", agent, instances, ends_in) as there:
        late = [wait * 1000 for wait in cloud.drains(there)]
    return [
        Row("drain_at to DRAINING asked for", Figure(late, "ms", 0)),
        Row("agents that drained before drain_at", Figure([sum(wait < 0 for wait in late)], "", 0), goal=0),
    ]
