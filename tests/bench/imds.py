"""A metadata service that knows one instance and takes a millisecond for each answer."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMDS_TAKES = 0.001

NODE_CONFIG = {
    "version": 1, "block": "sb-be4c", "environment": "bench", "region": "us-east-1", "cluster": "bench",
    "source": "spot-block", "end": {"after-launch-secs": 3600}, "drain_lead_secs": 600, "stop_lead_secs": 300,
}


def answers(instance: str) -> dict[str, str]:
    identity = {
        "instanceId": instance, "region": "us-east-1",
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


class Handler(BaseHTTPRequestHandler):
    """Knows who the instance is and what its block is, and nothing else."""

    protocol_version = "HTTP/1.1"
    # Two segments and Nagle's algorithm would take 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "Server"

    def do_GET(self) -> None:
        time.sleep(IMDS_TAKES)
        body = self.server.known.get(self.path)
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

    def __init__(self, instance: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = answers(instance)

    def handle_error(self, *_: object) -> None:
        """An agent that has ended cuts its connection."""


@contextmanager
def imds(instance: str) -> Iterator[str]:
    """Its address."""
    with Server(instance) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
