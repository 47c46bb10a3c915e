"""Local clouds: with agents that run for real, of which it is seen how they idle, how soon they act on a notice and how punctually
they drain; or with light nodes, for what the provisioner costs."""

import json
import os
import random
import subprocess
import time
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests/e2e/fixtures/one-node.toml"
# Where the programs are that are measured.
PROGRAMS = ROOT / os.environ.get("SPOTBLOCK_BENCH_PROGRAMS", "target/debug")
SPOTBLOCK = PROGRAMS / "spotblock"
AWS = ROOT / "target/venv/bin/aws"
LIMIT_S = 20
# Whatever proxy the machine's settings name isn't asked.
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
DURATION, DRAIN_LEAD = timedelta(hours=1), timedelta(seconds=15)

# Nothing of the machine's own settings may decide whom these programs talk to.
SAFE = {
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "AKIALOCALCLOUD",
    "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "PATH": os.defpath,
    "NO_PROXY": "127.0.0.1", "SPOTBLOCK_CONFIG": str(CONFIG),
}


class Cloud:
    """A local cloud that lives as long as its `with`."""

    def __init__(self, folder: Path, agent: Path, *flags: str) -> None:
        folder.mkdir(parents=True)
        with open(folder / "localcloud.log", "w") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "localcloud", "serve", "--agent", agent, "--dir", folder, *flags, "--until-stdin-closes"],
                env=SAFE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=log,
            )
        said = self.process.stdout.readline().split()
        self.url = said[-1] if said else ""
        if not self.url.startswith("http://127.0.0.1:"):
            self.close()
            raise RuntimeError(f"the local cloud didn't start on loopback: {self.url or (folder / 'localcloud.log').read_text()}")

    @classmethod
    def light(cls, folder: Path) -> "Cloud":
        """One without any agent's process."""
        return cls(folder, Path("/bin/false"), "--light-nodes-above", "0")

    @classmethod
    def with_block(cls, folder: Path, agent: Path, instances: int, ends_in: str) -> "Cloud":
        """One with a block of so many instances, which have joined."""
        there = cls(folder, agent, "--block-ends-in", ends_in)
        up = [SPOTBLOCK, "up", "--yes", "--instances", str(instances)]
        done = subprocess.run(up, env=SAFE | {"AWS_ENDPOINT_URL": there.url}, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            there.close()
            raise RuntimeError(done.stderr)
        return there

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def get(self, what: str) -> list[dict]:
        with OPEN(f"{self.url}/_localcloud/{what}", timeout=30) as answer:
            return json.load(answer)

    def post(self, what: str, body: dict) -> None:
        request = urllib.request.Request(
            f"{self.url}/_localcloud/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        OPEN(request, timeout=30).close()

    def drained(self) -> dict[str, datetime]:
        """When each instance's own request for DRAINING arrived and was taken."""
        found: dict[str, datetime] = {}
        for call in self.get("calls"):
            if call["operation"] == "UpdateContainerInstancesState" and not call.get("error"):
                caller = call["caller"]
                instance = caller.get("instance") if isinstance(caller, dict) else None
                if instance:
                    found.setdefault(instance, datetime.fromisoformat(call["at"]))
        return found

    def drained_all(self, wanted: set[str]) -> dict[str, datetime]:
        """The same, once it is so of all these instances."""
        until = time.monotonic() + LIMIT_S
        while missing := wanted - (found := self.drained()).keys():
            if time.monotonic() > until:
                raise RuntimeError(f"no DRAINING within {LIMIT_S} s from {', '.join(sorted(missing))}")
            time.sleep(0.5)
        return found


def agents(folder: Path) -> dict[int, Path]:
    """The agents' processes, by the locks they hold."""
    return {int(lock.read_text()): lock for lock in folder.glob("i-*/run/spotblock/agent.lock")}


def switches(pid: int) -> dict[str, int]:
    """Voluntary context switches by thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "status").read_text()
        found[task.name] = next(
            int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt")
        )
    return found


def look(pid: int) -> dict[str, float]:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "rss": int(status["VmRSS"].split()[0]) / 1024,
        "cpu": (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def idle(folder: Path, seconds: int) -> list[dict[str, float]]:
    """What each agent took while it served and nothing happened."""
    time.sleep(5)
    before = {pid: (look(pid), switches(pid)) for pid in agents(folder)}
    time.sleep(seconds)
    taken = []
    for pid, (old, switched) in before.items():
        new = look(pid)
        # A thread that has ended meanwhile is missing: that of a write to the disk, which switches twice.
        more = sum(count - switched.get(thread, 0) for thread, count in switches(pid).items())
        taken.append({
            "rss": new["rss"], "grown": new["rss"] - old["rss"],
            "switches": more / seconds,
            "cpu": (new["cpu"] - old["cpu"]) / seconds * 100,
            "descriptors": new["descriptors"], "opened": new["descriptors"] - old["descriptors"],
        })
    return taken


def notices(cloud: Cloud) -> list[float]:
    """Seconds from each instance's notice to its DRAINING, the notices at any phase of the agents' polls."""
    for node in cloud.get("nodes"):
        cloud.post(f"nodes/{node['instance']}/interrupt", {"in-secs": 120})
        time.sleep(random.uniform(0, 0.3))
    noticed = {
        event["instance"]: datetime.fromisoformat(event["at"])
        for event in cloud.get("events") if event["what"] == "interruption-notice"
    }
    drained = cloud.drained_all(set(noticed))
    return [(drained[instance] - at).total_seconds() for instance, at in noticed.items()]


def drains(cloud: Cloud) -> list[float]:
    """Seconds between each instance's drain_at and its request for DRAINING."""
    launched = {
        event["instance"]: datetime.fromisoformat(event["launch-time"])
        for event in cloud.get("events") if event["what"] == "launched"
    }
    due = {instance: at + DURATION - DRAIN_LEAD for instance, at in launched.items()}
    last = max(due.values())
    time.sleep(max(0.0, (last - datetime.now(last.tzinfo)).total_seconds()))
    drained = cloud.drained_all(set(due))
    return [(drained[instance] - at).total_seconds() for instance, at in due.items()]
