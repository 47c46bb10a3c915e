"""From exec to the ECS agent's start: an IMDS of our own that takes a millisecond, and a start command that tells."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

IMDS_TAKES = 0.001

NODE_CONFIG = {
    "version": 1, "block": "sb-be4c", "environment": "bench", "region": "us-east-1", "cluster": "bench",
    "source": "spot-block", "end": {"after-launch-secs": 3600}, "drain_lead_secs": 600, "stop_lead_secs": 300,
}


def answers() -> dict[str, str]:
    identity = {
        "instanceId": "i-0be4c0be4c0be4c00", "region": "us-east-1",
        "pendingTime": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    user_data = "\n".join([
        "#!/bin/sh", "# --- spotblock node settings: begin ---", f"# {json.dumps(NODE_CONFIG)}",
        "# --- spotblock node settings: end ---", "",
    ])
    return {
        "/latest/api/token": "token",
        "/latest/dynamic/instance-identity/document": json.dumps(identity),
        "/latest/meta-data/instance-life-cycle": "spot",
        "/latest/user-data": user_data,
    }


class Imds(BaseHTTPRequestHandler):
    """Knows who the instance is and what its block is, and nothing else."""

    protocol_version = "HTTP/1.1"
    # Two segments and Nagle's algorithm would take 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1
    known = answers()

    def do_GET(self) -> None:
        time.sleep(IMDS_TAKES)
        body = self.known.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        data = (body or "").encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """An agent that has ended cuts its connection."""


def one_start(agent: Path, root: Path, imds: str) -> tuple[float, list[tuple[float, str]]]:
    """Milliseconds until the ECS agent's start command runs, and the log until then."""
    shutil.rmtree(root, ignore_errors=True)
    for folder in ["etc/ecs", "etc/spotblock", "run/spotblock", "var/lib/spotblock", "etc/systemd/system"]:
        (root / folder).mkdir(parents=True)
    (root / "etc/ecs/ecs.config").touch()
    told = root / "told"
    os.mkfifo(told)
    (root / "etc/spotblock/agent.toml").write_text(
        'introspection-url = "http://127.0.0.1:1"\n[commands]\n'
        f'start-ecs = ["sh", "-c", ": > {told}"]\nstop-ecs = ["true"]\npower-off = ["true"]\n'
    )
    environment = {
        "PATH": os.defpath, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds,
    }
    begin = time.time()
    process = subprocess.Popen(
        [agent, "run", "--root", root], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        with open(told, "rb"):  # Opens when the other side does.
            took = (time.time() - begin) * 1000
        if "ECS_CLUSTER=bench" not in (root / "etc/ecs/ecs.config").read_text():
            raise RuntimeError("the ECS agent was started before its ecs.config was there")
    finally:
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=10)[1]
    lines = []
    for line in log.splitlines():
        at, _, said = line.partition(" ")
        lines.append(((datetime.fromisoformat(at).timestamp() - begin) * 1000, said.strip()))
    return took, lines


def starts(agent: Path, folder: Path, count: int) -> tuple[list[float], list[tuple[float, str]]]:
    """All times, sorted, and the log of the median start."""
    server = Server(("127.0.0.1", 0), Imds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        imds = f"http://127.0.0.1:{server.server_address[1]}"
        runs = sorted(
            (one_start(agent, folder / "start", imds) for _ in range(count)), key=lambda run: run[0]
        )
    finally:
        server.shutdown()
    took, log = runs[len(runs) // 2]
    return [run[0] for run in runs], [line for line in log if line[0] <= took + 1]
