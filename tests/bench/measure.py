"""What a command takes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TOOK = Path(__file__).resolve().parent / "took.py"
LIMIT_S = 300


class Took(NamedTuple):
    """Seconds, seconds of processor of a program and all it started, and its largest process's peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure(line: list[str | Path], env: dict[str, str]) -> Took:
    with tempfile.NamedTemporaryFile("r") as result:
        # Without site packages Python has 9 MB, which is the least that can be told.
        command = [sys.executable, "-I", "-S", TOOK, result.name, "timeout", str(LIMIT_S), *line]
        done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, line))}: exit code {done.returncode}: {done.stderr[-2000:]}")
        return Took(*json.load(result))
