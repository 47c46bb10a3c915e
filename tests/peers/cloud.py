"""Runs a local cloud of one's own, or moto's, and makes botocore clients that can talk to nothing else."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.client import BaseClient
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"

# Quick enough for a test, and not so quick that nobody would see an intermediate state.
PACE = {
    "batch-ms": 400, "spot-ms": 300, "consistency-ms": 500, "instance-ms": 150, "placement-ms": 50,
    "delivery-ms": 50, "report-ms": 50, "host-loss-ms": 300, "profile-ms": 100, "ecs-start-ms": 100,
    "schedule-ms": 100, "reservation-ms": 100, "payment-ms": 200,
}

# Nothing of the machine's own settings may decide whom these clients talk to.
SAFE_ENVIRONMENT = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "AKIALOCALCLOUD",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "PATH": os.environ.get("PATH", os.defpath),
}


class NotLoopback(Exception):
    """Something was about to leave this machine."""


def require_loopback(url: str) -> None:
    host = urlsplit(url).hostname or ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise NotLoopback(f"{url} is not on this machine's loopback")


def _guard(request: AWSPreparedRequest, **_: object) -> None:
    require_loopback(request.url)


class Cloud:
    """A running local cloud."""

    def __init__(self, url: str) -> None:
        require_loopback(url)
        self.url = url
        self._session = botocore.session.Session()

    def client(self, service: str, **options: Any) -> BaseClient:
        """A client of a service. It tries each call once: a fault is to be seen, not healed."""
        settings = {
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "connect_timeout": 5,
            "read_timeout": 10,
            "inject_host_prefix": False,
            "s3": {"addressing_style": "path"},
        }
        config = Config(**(settings | options))
        client = self._session.create_client(service, region_name=REGION, endpoint_url=self.url, config=config)
        client.meta.events.register_first("before-send", _guard)
        return client

    def control(self, method: str, path: str, body: object = None) -> Any:
        """One of the cloud's controls; the header of tests/localcloud/server/src/lib.rs lists them."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_localcloud/{path}", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def be_safe() -> None:
    """Leaves nothing in this process's environment that could lead elsewhere."""
    os.environ.clear()
    os.environ.update(SAFE_ENVIRONMENT)


@contextmanager
def running(program: Path, agent: Path = Path("/bin/true")) -> Iterator[Cloud]:
    """A local cloud, with an agent that does nothing unless one is given; it is gone afterwards, whatever happened."""
    be_safe()
    with tempfile.TemporaryDirectory(prefix="spotblock-wire-") as folder:
        arguments = [program, "serve", "--until-stdin-closes", "--agent", agent, "--dir", folder]
        for key, millis in PACE.items():
            arguments += ["--pace", f"{key}={millis}"]
        log = Path(folder, "localcloud.log")
        with (
            log.open("wb") as stderr,
            subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True) as it,
        ):
            try:
                line = it.stdout.readline()
                if not line.startswith("localcloud "):
                    raise RuntimeError(f"the local cloud didn't start: {log.read_text()}")
                yield Cloud(line.removeprefix("localcloud ").strip())
            finally:
                it.stdin.close()
                try:
                    it.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    it.kill()


@contextmanager
def running_moto(within_s: float = 30) -> Iterator[Cloud]:
    """moto's server, a cloud that we didn't write. Its instances are entries alone: none boots, none joins a cluster.

    It listens on loopback and is gone afterwards, whatever happened. AWS's managed policies are loaded.
    """
    be_safe()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("moto_server")
    environment = os.environ | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
    with tempfile.TemporaryFile() as log:
        command = [program, "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as it:
            try:
                url = f"http://127.0.0.1:{port}"
                if not _answers(f"{url}/moto-api/", it, within_s):
                    log.seek(0)
                    raise RuntimeError(f"moto didn't start: {log.read().decode(errors='replace')}")
                yield Cloud(url)
            finally:
                it.terminate()
                try:
                    it.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    it.kill()


def _answers(url: str, process: subprocess.Popen, within_s: float) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False
