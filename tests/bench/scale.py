"""What a block of a thousand instances costs the provisioner: time, memory, calls. `make bench` runs it.

`localcloud serve` with light nodes, and the real `spotblock`; everything on this machine's loopback."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from cloud import CONFIG, ROOT, SAFE, Cloud

GOALS = {"up": 150, "status": 40, "down": 200}
MOST_MB = 60


class LightCloud(Cloud):
    """A local cloud without any agent's process."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [ROOT / "target/debug/localcloud", "serve", "--agent", "/bin/false", "--dir", folder,
             "--light-nodes-above", "0", "--until-stdin-closes"],
            env=SAFE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=open(folder / "localcloud.log", "w"),
        )
        self.url = self.process.stdout.readline().split()[-1]
        if not self.url.startswith("http://127.0.0.1:"):
            raise RuntimeError(f"{self.url} is not on loopback")


def run(program: Path, url: str, config: Path, command: list[str]) -> tuple[float, float]:
    """Seconds and peak RSS in MB of one run."""
    env = SAFE | {"AWS_ENDPOINT_URL": url, "SPOTBLOCK_CONFIG": str(config)}
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([program, *command], env=env, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(said.read().decode())
    return time.monotonic() - began, usage.ru_maxrss / 1024


def main() -> int:
    count, sources = int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:] or ["on-demand", "spot-block"]
    program = ROOT / "target/debug/spotblock"
    missed = 0
    for source in sources:
        folder = Path(tempfile.mkdtemp(prefix="scale-", dir=ROOT / "target"))
        config = folder / "spotblock.toml"
        text = CONFIG.read_text()
        config.write_text(text)
        there = LightCloud(folder)
        try:
            for command, flags in (
                ("up", ["--yes", "--instances", str(count), "--source", source]), ("status", []), ("down", []),
            ):
                before = len(there.get("calls"))
                seconds, rss = run(program, there.url, config, [command, *flags])
                calls = [it for it in there.get("calls")[before:] if it["caller"] == "user"]
                met = len(calls) <= GOALS[command] and rss < MOST_MB
                missed += not met
                print(f"{source:<12} {count} instances, {command:<7} {'yes' if met else 'NO':<4} {len(calls)} calls "
                      f"(at most {GOALS[command]}), {rss:.1f} MB peak RSS (under {MOST_MB}), {seconds:.1f} s", flush=True)
                if not met:
                    print(f"    {dict(Counter(it['operation'] for it in calls).most_common(6))}")
        finally:
            there.close()
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
