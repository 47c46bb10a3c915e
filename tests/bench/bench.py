"""spotblock beside its goals and beside its peers, in one run on one local cloud, ending in one table. `make bench` runs it.

    bench.py [--small] [--agent FILE] [--json FILE]

Everything runs on this machine's loopback, on local clouds. Exit code 1 when a goal was missed or something couldn't be measured; a
goal that hangs on time isn't judged while others use the machine. The table's figures go to a JSON file too."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import beside
import boot
import footprint
import scale
from cloud import ROOT
from others import Others
from report import Report, Row


class Sizes(NamedTuple):
    """How much is measured."""

    xz: int  # how hard the binary is packed
    starts: int
    script_starts: int
    agents: int
    rounds: int
    idle_s: int
    ends_in: str
    blocks: dict[int, int]  # how often for how many instances
    scale: dict[str, int]  # instances by source
    cold_starts: int


FULL = Sizes(9, 50, 15, 12, 9, 30, "60s", {1: 3, 10: 3, 100: 3, 1000: 1}, {"on-demand": 1000, "spot-block": 1000}, 15)
# Enough to see that it all still runs; no figure of it means anything.
SMALL = Sizes(0, 3, 1, 2, 1, 2, "25s", {1: 1}, {"on-demand": 40}, 1)

Section = tuple[str, Callable[[], list[Row]]]


def sections(sizes: Sizes, agent: Path, folder: Path, notes: list[str]) -> list[Section]:
    def booting() -> list[Row]:
        rows, where = boot.rows(agent, folder / "boot", sizes.starts, sizes.script_starts)
        notes.extend(["where the agent's median start went:", *where])
        return rows

    def joined(count: int, times: int) -> Section:
        return f"from nothing to {count:,} joined", lambda: beside.block(count, times, folder)

    def scaled(source: str, count: int) -> Section:
        return f"{count:,} instances, {source}", lambda: scale.rows(folder, source, count)

    return [
        ("the agent's binary", lambda: footprint.binary(agent, sizes.xz)),
        ("a node's boot, IMDS at 1 ms", booting),
        (f"{sizes.agents} agents that serve", lambda: footprint.serving(agent, folder, sizes.agents, sizes.rounds, sizes.idle_s)),
        (f"{sizes.agents} agents at drain_at", lambda: footprint.draining(agent, folder, sizes.agents, sizes.ends_in)),
        ("cold start", lambda: beside.cold_start(sizes.cold_starts)),
        *(joined(count, times) for count, times in sizes.blocks.items()),
        *(scaled(source, count) for source, count in sizes.scale.items()),
    ]


def run(planned: list[Section], agent: Path) -> Report:
    """All sections in their order. One that fails takes no other's figures away."""
    report = Report(agent=os.path.relpath(agent, ROOT), load=[os.getloadavg()[0]])
    whole = Others()
    for name, measured in planned:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        others = Others()
        try:
            rows = measured()
        except (RuntimeError, OSError, subprocess.SubprocessError, LookupError, ValueError) as error:
            report.failed.append((name, f"{type(error).__name__}: {error}"))
            continue
        used, there_were = others.seconds()
        for row in rows:
            row.section, row.others = name, used / there_were
        report.rows += rows
    used, there_were = whole.seconds()
    report.others = used / there_were
    report.load.append(os.getloadavg()[0])
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="little of it: shows that it runs, and no figure that means anything")
    parser.add_argument("--agent", type=Path, default=ROOT / "target/agent/spotblock-agent", help="the agent to measure")
    parser.add_argument("--json", type=Path, default=ROOT / "target/bench.json", help="where the figures go")
    given = parser.parse_args()
    folder = ROOT / "target" / ("bench-small" if given.small else "bench")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notes: list[str] = []
    agent = given.agent.resolve()
    report = run(sections(SMALL if given.small else FULL, agent, folder, notes), agent)
    given.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print("\n".join([*notes, "", *report.lines()]))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
