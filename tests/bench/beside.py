"""Beside the peers: from nothing to a block whose instances have joined, by hand with the AWS CLI, with boto3, and with
spotblock, on the same local cloud with light nodes; and how long each takes to say its version.

What the two by hand leave out, spotblock does as well: a record, tags, a least-privilege profile, schedules, the price beforehand."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from cloud import AWS, CONFIG, SAFE, SPOTBLOCK, Cloud
from measure import Took, measure
from report import Figure, Row

HERE = Path(__file__).resolve().parent
PEERS = ["AWS CLI, jq, base64", "boto3"]
OWN = "spotblock up"
HELP_MS = 15


class Run(NamedTuple):
    took: Took
    calls: int


def command(way: str, count: int) -> list[str | Path]:
    return {
        PEERS[0]: ["bash", HERE / "by_hand/seed.sh"],
        PEERS[1]: [sys.executable, HERE / "by_hand/with_boto3.py"],
        OWN: [SPOTBLOCK, "up", "--yes", "--source", "spot-block", "--instances", str(count)],
    }[way]


def one(way: str, count: int, folder: Path) -> Run:
    shutil.rmtree(folder, ignore_errors=True)
    with Cloud.light(folder) as there:
        config = folder / "spotblock.toml"
        shutil.copy(CONFIG, config)
        env = SAFE | {"AWS_ENDPOINT_URL": there.url, "SPOTBLOCK_CONFIG": str(config), "AWS": str(AWS), "COUNT": str(count)}
        took = measure(command(way, count), env)
        joined = sum(event["what"] == "joined" for event in there.get("events"))
        if joined != count:
            raise RuntimeError(f"{way}: {joined} of {count} instances have joined")
        return Run(took, sum(call["caller"] == "user" for call in there.get("calls")))


def block(count: int, times: int, folder: Path) -> list[Row]:
    """The ways in turn, so that what else the machine does disturbs them alike."""
    runs: dict[str, list[Run]] = {way: [] for way in [OWN, *PEERS]}
    for _ in range(times):
        for way, taken in runs.items():
            taken.append(one(way, count, folder / "beside"))

    def row(what: str, unit: str, digits: int, peer: str, of) -> Row:
        own, other = (Figure([of(run) for run in runs[way]], unit, digits) for way in (OWN, peer))
        return Row(what, own, peer=(peer, other))

    return [
        row(what, unit, digits, peer, of)
        for what, unit, digits, of in (
            ("wall", "s", 1, lambda run: run.took.wall),
            ("CPU", "s", 2, lambda run: run.took.cpu),
            ("memory, the largest process", "MB", 0, lambda run: run.took.memory),
            ("API calls", "", 0, lambda run: run.calls),
        )
        for peer in PEERS
    ]


def cold_start(times: int) -> list[Row]:
    lines = {"aws": [AWS, "--version"], OWN: [SPOTBLOCK, "--version"], "help": [SPOTBLOCK, "--help"]}
    taken = {name: [measure(line, SAFE) for _ in range(times)] for name, line in lines.items()}

    def wall(name: str) -> Figure:
        return Figure([took.wall * 1000 for took in taken[name]], "ms")

    return [
        Row("--version: wall", wall(OWN), peer=("aws --version", wall("aws"))),
        Row(
            "--version: memory", Figure([took.memory for took in taken[OWN]], "MB"),
            peer=("aws --version", Figure([took.memory for took in taken["aws"]], "MB")),
        ),
        Row("--help: wall", wall("help"), goal=HELP_MS, timed=True),
    ]
