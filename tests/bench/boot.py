"""What a node's boot costs: from exec to ecs.config on disk and the ECS agent's start asked for, by spotblock-agent and by a
script that asks curl and the AWS CLI (by_hand/boot.sh). Both ask the same metadata service."""

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cloud import AWS, SAFE, Cloud
from imds import imds
from report import Figure, Row

HERE = Path(__file__).resolve().parent
GOAL_MS = 25
LIMIT_S = 30
SCRIPT = "curl, jq, AWS CLI"


class Start(NamedTuple):
    """Milliseconds until the ECS agent's start command ran, the processors' milliseconds until the program's end, and what it said."""

    wall: float
    cpu: float
    log: str
    began: float


def root_folder(root: Path) -> str:
    """A host's root, and the command that starts its ECS agent: it tells through a pipe."""
    shutil.rmtree(root, ignore_errors=True)
    for folder in ["etc/ecs", "etc/spotblock", "run/spotblock", "var/lib/spotblock", "etc/systemd/system"]:
        (root / folder).mkdir(parents=True)
    (root / "etc/ecs/ecs.config").touch()
    os.mkfifo(root / "told")
    start = f": > {root}/told"
    (root / "etc/spotblock/agent.toml").write_text(
        'introspection-url = "http://127.0.0.1:1"\n[commands]\n'
        f'start-ecs = ["sh", "-c", "{start}"]\nstop-ecs = ["true"]\npower-off = ["true"]\n'
    )
    return start


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def one_start(command: list[str | Path], root: Path, env: dict[str, str]) -> Start:
    start = root_folder(root)
    told = os.open(root / "told", os.O_RDONLY | os.O_NONBLOCK)
    used, began = children(), time.time()
    process = subprocess.Popen(
        command, env=env | {"START": start}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        # Ready once the other side was opened, and closed.
        ready = select.select([told], [], [], LIMIT_S)[0]
        took = (time.time() - began) * 1000
        config = (root / "etc/ecs/ecs.config").read_text()
    finally:
        os.close(told)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=10)[1]
    if not ready or "ECS_CLUSTER=bench" not in config:
        raise RuntimeError(f"{command[0]}: no ECS agent was started, or before its ecs.config was there: {log[-2000:]}")
    return Start(took, (children() - used) * 1000, log, began)


def agent_start(agent: Path, root: Path, imds_url: str) -> Start:
    env = {"PATH": os.defpath, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds_url}
    return one_start([agent, "run", "--root", root], root, env)


def script_start(root: Path, imds_url: str, there: Cloud) -> Start:
    env = SAFE | {"AWS_ENDPOINT_URL": there.url, "AWS": str(AWS), "IMDS": imds_url, "ROOT": str(root), "NO_PROXY": "127.0.0.1"}
    return one_start(["bash", HERE / "by_hand/boot.sh"], root, env)


def tagged_instance(there: Cloud) -> str:
    """An instance that carries its cluster's name as a tag, as the script wants it."""
    command = [
        AWS, "ec2", "run-instances", "--image-id", "ami-a7a242da", "--instance-type", "t2.micro", "--subnet-id", "subnet-c8d30ae4",
        "--tag-specifications", "ResourceType=instance,Tags=[{Key=cluster,Value=bench}]", "--output", "json",
    ]
    done = subprocess.run(command, env=SAFE | {"AWS_ENDPOINT_URL": there.url}, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)["Instances"][0]["InstanceId"]


def where_it_goes(starts: list[Start]) -> list[str]:
    """The log of the median start, each line with its millisecond."""
    middle = sorted(starts)[len(starts) // 2]
    lines = []
    for line in middle.log.splitlines():
        at, _, said = line.partition(" ")
        passed = (datetime.fromisoformat(at).timestamp() - middle.began) * 1000
        if passed <= middle.wall + 1:
            lines.append(f"{passed:6.1f} ms  {said.strip()[:90]}")
    return lines


def rows(agent: Path, folder: Path, starts: int, script_starts: int) -> tuple[list[Row], list[str]]:
    """The rows, and where the milliseconds of the agent's median start went."""
    folder.mkdir(parents=True)
    with Cloud.light(folder / "cloud") as there, imds(tagged_instance(there)) as url:
        scripts = [script_start(folder / "script", url, there) for _ in range(script_starts)]
        agents = [agent_start(agent, folder / "agent", url) for _ in range(starts)]
    wall, cpu = (Figure([getattr(one, what) for one in agents], "ms") for what in ("wall", "cpu"))
    by_script = [(SCRIPT, Figure([getattr(one, what) for one in scripts], "ms", 0)) for what in ("wall", "cpu")]
    return [
        Row("exec to ecs.config and ECS start", wall, goal=GOAL_MS, timed=True),
        Row("the same beside a script", wall, peer=by_script[0]),
        Row("CPU, the agent's until its end too", cpu, peer=by_script[1]),
    ], where_it_goes(agents)
