"""A cloud of its own for a scenario: a network namespace in which the metadata address, AWS's endpoints and DHCP are, a
local cloud that serves them, and the hosts that it launches, each in a network namespace of its own.

Nothing of it has a way out: the namespaces have no route but to each other.
"""

import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from host import Failed, Host, enter_network, run, until

GATEWAY = "172.31.32.1"
METADATA = "169.254.169.254"
PORT = 5599
URL = f"http://{GATEWAY}:{PORT}"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ENDPOINT_URL": URL,
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIALOCALCLOUD",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "NO_COLOR": "1",
}
CONFIG = """\
region = "us-east-1"
[environment]
name = "boot-test"
service-role = "BatchServiceRole"
schedules = {schedules}
queue = {{ name = "boot-test", priority = 1 }}
[[job-definition]]
name = "sleeper"
image = "busybox"
vcpus = 1
memory = "64MiB"
attempts = 3
[block]
instances = {instances}
duration = "{duration}"
instance-types = ["t2.micro"]
sources = ["{source}"]
image = "ami-a7a242da"
security-groups = ["sg-55964223"]
subnets = ["subnet-c8d30ae4"]
zone = "us-east-1c"
instance-profile = "ecsInstanceRole"
[agent]
from = {agent}
drain-lead = "{drain_lead}"
stop-lead = "{stop_lead}"
{more}
"""


class World:
    def __init__(self, prefix, folder, programs, options=()):
        self.prefix, self.folder, self.programs = prefix, folder, programs
        self.hosts = {}
        self.layers = None
        # How big a host's own disk is; left out, as big as this machine's.
        self.disk = None
        self.processes = []
        self.watcher = None
        self.closed = threading.Event()
        self.troubles = []
        folder.mkdir(parents=True)
        self.network()
        self.serve(options)

    # --- what it is made of ---

    def network(self):
        space = self.prefix
        run("ip", "netns", "add", space)
        ip = ["ip", "-n", space]
        run(*ip, "link", "set", "lo", "up")
        run(*ip, "link", "add", "br0", "type", "bridge")
        run(*ip, "address", "add", f"{GATEWAY}/20", "dev", "br0")
        run(*ip, "address", "add", f"{METADATA}/32", "dev", "br0")
        run(*ip, "link", "set", "br0", "up")
        # From here on this process is in the cloud, and so is all that it starts.
        enter_network(space)
        routes = run("ip", "route").stdout
        if "default" in routes or "dev br0" not in routes:
            raise Failed(f"this namespace is not the test's own: {routes}")
        leases = self.folder / "leases"
        leases.mkdir()
        self.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0",
                   "--bind-interfaces", "--dhcp-range=172.31.32.2,static,255.255.240.0,1h", f"--dhcp-hostsdir={leases}",
                   f"--dhcp-option=3,{GATEWAY}", "--dhcp-option=6", "--user=root", "--dhcp-leasefile=/dev/null",
                   "--log-facility=-", "--pid-file=")

    def serve(self, options):
        self.start(self.programs / "localcloud", "serve", "--address", GATEWAY, "--port", PORT, "--metadata-at",
                   f"{METADATA}:80", *options)
        until("the local cloud", 10, lambda: self.get("options", quiet=True))

    def start(self, *command):
        words = [str(word) for word in command]
        log = open(self.folder / f"{pathlib.Path(words[0]).name}.log", "ab")
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)
        self.processes.append(process)
        return process

    def close(self):
        self.closed.set()
        if self.watcher:
            self.watcher.join(10)
        for host in self.hosts.values():
            if host.has_ended() is None:
                host.cut()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    # --- the local cloud ---

    def get(self, what, quiet=False):
        try:
            with urllib.request.urlopen(f"{URL}/_localcloud/{what}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            if quiet:
                return None
            raise

    def post(self, what, body=b"", method="POST", path="_localcloud/"):
        request = urllib.request.Request(f"{URL}/{path}{what}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def events(self, what, **fields):
        found = [event for event in self.get("events") if event["what"] == what]
        return [event for event in found if all(event.get(key) == value for key, value in fields.items())]

    def put_artifact(self, file):
        """Where an instance can fetch a file."""
        run("curl", "-fsS", "-X", "PUT", "-T", file, "-H", f"Authorization: {SIGNED}", f"{URL}/artifacts/{file.name}")
        return f"{URL}/artifacts/{file.name}"

    # --- the two programs ---

    def configure(self, agent, **changes):
        values = {"instances": 1, "duration": "60m", "source": "spot-block", "drain_lead": "25s", "stop_lead": "10s",
                  "schedules": "false", "more": ""}
        (self.folder / "spotblock.toml").write_text(CONFIG.format(agent=agent, **{**values, **changes}))

    def spotblock(self, *words, limit=60, check=True):
        command = [str(self.programs / "spotblock"), "--config", str(self.folder / "spotblock.toml"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=ENVIRONMENT)
        if check and done.returncode != 0:
            raise Failed(f"spotblock {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def up(self, layers, ends_in, limit=90):
        """Brings a block on hosts with these root file systems, and waits until they have joined."""
        process = self.bring(layers, ends_in)
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise Failed(f"`spotblock up` did not end within {limit} s") from error
        if process.returncode != 0:
            raise Failed(f"spotblock up: exit {process.returncode}: {said.decode()}")
        return list(self.hosts.values())

    def bring(self, layers, ends_in):
        """The same without waiting."""
        self.layers = layers
        if ends_in:
            self.post("options", json.dumps({"block-ends-in": f"PT{ends_in}S"}).encode(), method="PATCH")
        if not self.watcher:
            self.watcher = threading.Thread(target=self.watch, daemon=True)
            self.watcher.start()
        command = [str(self.programs / "spotblock"), "--config", str(self.folder / "spotblock.toml"), "up", "--yes"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=ENVIRONMENT)
        self.processes.append(process)
        return process

    def tag(self, instance, key, value):
        """As CreateTags does for anybody who may."""
        form = {"Action": "CreateTags", "Version": "2016-11-15", "ResourceId.1": instance, "Tag.1.Key": key,
                "Tag.1.Value": value}
        request = urllib.request.Request(URL, data=urllib.parse.urlencode(form).encode(), method="POST", headers={
            "Authorization": SIGNED.replace("/s3/", "/ec2/"), "Content-Type": "application/x-www-form-urlencoded"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def submit(self, name, seconds):
        self.spotblock("submit", "--job-definition", "sleeper", "--name", name, "--", "sleep", str(seconds))

    def job(self, name, status, limit=30):
        """The event of a job's change to a status."""
        def found():
            seen = self.events("job", name=name, status=status)
            return seen[-1] if seen else None
        return until(f"job {name} to be {status}", limit, found)

    # --- what EC2 does with hosts ---

    def watch(self):
        """Boots what is launched, boots again what reboots, and notices what is off."""
        while not self.closed.wait(0.1):
            try:
                self.look()
            except Exception as error:
                self.troubles.append(error)
                return

    def look(self):
        for info in self.get("hosts"):
            if info["instance"] not in self.hosts:
                self.launch(info)
            host = self.hosts[info["instance"]]
            ended = host.has_ended()
            if ended is None and not info["alive"] and not host.is_forgotten:
                host.cut()
                host.ended = host.ended or time.time()
            elif ended == "reboot":
                host.boot()
            elif ended == "off" and not host.ended:
                host.ended = time.time()
                if info["alive"]:
                    self.post(f"hosts/{host.instance}/power-off")

    def launch(self, info):
        lease = f"{info['mac']},{info['address']}\n"
        (self.folder / "leases" / info["instance"]).write_text(lease)
        name = f"{self.prefix}h{len(self.hosts) + 1}"
        host = Host(name, self.prefix, self.folder / name, self.layers, info, URL, self.disk)
        host.boot()
        self.hosts[info["instance"]] = host

    def off(self, host, limit):
        """Waits until the host has powered itself off."""
        until(f"{host.name} to be off", limit, lambda: host.ended)
        gone = until("EC2 to know it", 5, lambda: self.events("gone", instance=host.instance))
        if gone[0]["how"] != "power-off":
            raise Failed(f"{host.name} did not power itself off: {gone[0]}")
        return host.ended


SIGNED = "AWS4-HMAC-SHA256 Credential=AKIALOCALCLOUD/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
