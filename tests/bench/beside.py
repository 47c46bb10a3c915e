"""Beside the peers: from nothing to a block whose instances have joined, by hand with the AWS CLI, with boto3, and with
spotblock, on the same local cloud with light nodes; and how long each takes to say its version.

    beside.py [COUNT...]    default: 1 10 100 1000

What the two by hand leave out, spotblock does as well: a record, tags, a least-privilege profile, schedules, the price beforehand."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cloud import CONFIG, ROOT, SAFE
from scale import LightCloud

HERE = Path(__file__).resolve().parent
PYTHON = ROOT / "target/venv/bin/python"
AWS = ROOT / "target/venv/bin/aws"
SPOTBLOCK = ROOT / "target/debug/spotblock"
WAYS = ["AWS CLI, jq, base64", "boto3", "spotblock up"]
LIMIT_S = 300


def command(way: str, count: int) -> list[str | Path]:
    return {
        WAYS[0]: ["bash", HERE / "by_hand/seed.sh"],
        WAYS[1]: [PYTHON, HERE / "by_hand/with_boto3.py"],
        WAYS[2]: [SPOTBLOCK, "up", "--yes", "--source", "spot-block", "--instances", str(count)],
    }[way]


def measure(line: list[str | Path], env: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor and peak RSS in MB of a program and all it started."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(["timeout", str(LIMIT_S), *line], env=env, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{line}: exit code {process.returncode}: {said.read().decode()[-2000:]}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def one(way: str, count: int) -> tuple[float, float, float, int]:
    """The same, and the calls that were made."""
    folder = Path(tempfile.mkdtemp(prefix="beside-", dir=ROOT / "target"))
    try:
        there = LightCloud(folder)
        try:
            config = folder / "spotblock.toml"
            config.write_text(CONFIG.read_text())
            env = SAFE | {
                "AWS_ENDPOINT_URL": there.url, "AWS_DEFAULT_REGION": "us-east-1", "SPOTBLOCK_CONFIG": str(config),
                "AWS": str(AWS), "COUNT": str(count), "NO_PROXY": "127.0.0.1",
            }
            took = measure(command(way, count), env)
            joined = sum(event["what"] == "joined" for event in there.get("events"))
            if joined != count:
                raise RuntimeError(f"{way}: {joined} of {count} instances have joined")
            return *took, sum(call["caller"] == "user" for call in there.get("calls"))
        finally:
            there.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def block(count: int) -> None:
    times = 3 if count <= 100 else 1
    taken = {way: [one(way, count) for _ in range(times)] for way in WAYS}
    own = statistics.median(run[0] for run in taken[WAYS[2]])
    for way, runs in taken.items():
        wall, cpu, rss, calls = (statistics.median(values) for values in zip(*runs))
        spread = f"{min(run[0] for run in runs):.1f} to {max(run[0] for run in runs):.1f} s" if times > 1 else "one run"
        print(f"{count:>5}  {way:<20} {wall / own:>6.2f} {wall:>7.1f} s  {spread:<14} {cpu:>6.1f} s {rss:>6.0f} MB {calls:>6.0f}",
              flush=True)


def cold_start() -> None:
    for name, line in (("aws --version", [AWS, "--version"]), ("spotblock --version", [SPOTBLOCK, "--version"])):
        runs = [measure(line, SAFE) for _ in range(9)]
        wall, rss = statistics.median(run[0] for run in runs), max(run[2] for run in runs)
        print(f"{name:<20} median {wall * 1000:.0f} ms of {len(runs)}, {rss:.0f} MB")


def main() -> int:
    counts = [int(count) for count in sys.argv[1:]] or [1, 10, 100, 1000]
    print(f"beside the peers; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; development build of spotblock\n")
    cold_start()
    print(f"\n{'':>5}  {'':<20} {'ratio':>6} {'wall':>9}  {'least to most':<14} {'CPU':>8} {'memory':>9} {'calls':>6}")
    for count in counts:
        block(count)
    print("\nMedians. ratio: wall beside spotblock's. CPU and memory are the program's and its children's.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
