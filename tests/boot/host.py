"""One instance's host: a systemd of its own in nspawn, with its own network, on a root file system that only it writes to."""

import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import time

REBOOTS = 133
INSIDE = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """What a scenario found to be wrong."""


def enter_network(name):
    """Moves this thread, and with it what it starts from now on, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"enter {name}")
    finally:
        os.close(descriptor)


def run(*command, limit=60, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done


def until(what, limit, found):
    """What `found` gives, as soon as it is something."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(0.1)
    raise Failed(f"waited {limit} s in vain: {what}")


def control_groups(name):
    """The host's control groups, one in each hierarchy that systemd uses."""
    top = pathlib.Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return [top / name]
    return [top / kind / name for kind in ("systemd", "unified") if (top / kind).is_dir()]


class Host:
    def __init__(self, name, bridge, folder, layers, info, cloud_url, disk=None):
        self.name, self.folder, self.instance = name, folder, info["instance"]
        self.root, self.layers = folder / "root", layers
        self.console = folder / "console.log"
        self.nspawn = None
        self.boots = []
        self.ended = None
        self.resets = False
        self.is_forgotten = False
        folder.mkdir(parents=True)
        own = folder / "disk"
        own.mkdir()
        if disk:
            run("mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", own)
        for each in (own / "up", own / "work", self.root):
            each.mkdir()
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={own}/up,workdir={own}/work"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.root)
        self.plug_in(bridge, info["mac"])
        self.write("etc/boot-test-instance", self.instance)
        # What a host on EC2 needn't have: ECS is the local cloud; and a container has its own boot id in the /proc that
        # it was given, not in a new one, which ProtectProc= would bring (scenarios.shows_its_boot_id shows it).
        drop_in = f"[Service]\nEnvironment=AWS_ENDPOINT_URL={cloud_url}\nProtectProc=default\n"
        for unit in ("spotblock-agent", "spotblock-guard"):
            self.write(f"etc/systemd/system/{unit}.service.d/local-cloud.conf", drop_in)

    def plug_in(self, bridge, mac):
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        port = "p" + self.name[-8:]
        run("ip", "-n", self.name, "link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", port,
            "netns", bridge)
        run("ip", "-n", bridge, "link", "set", port, "master", "br0", "up")

    def write(self, path, text, mode=0o644):
        """A file on the host's disk."""
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        # A program that runs can't be written over.
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def boot(self):
        # A network card that was reset knows no address.
        run("ip", "-n", self.name, "address", "flush", "dev", "eth0")
        run("ip", "-n", self.name, "link", "set", "eth0", "down")
        groups = control_groups(self.name)
        join = "".join(f"mkdir -p {group} && echo $$ > {group}/cgroup.procs && " for group in groups)
        # DHCP needs CAP_NET_ADMIN, which nspawn takes away from a host with a network of somebody else's.
        nspawn = [
            "nsenter", f"--net=/run/netns/{self.name}", "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot",
            "--register=no", "--keep-unit", "--capability=CAP_NET_ADMIN", f"--machine={self.name}",
            f"--hostname={self.name}", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
        ]
        with open(self.console, "ab") as console:
            self.nspawn = subprocess.Popen(
                ["sh", "-c", f'{join}exec "$@"', "sh", *nspawn],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)
        self.resets = False
        self.boots.append(time.time())

    def leader(self):
        """The host's own process 1, as seen from outside."""
        pid = self.nspawn.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        found = children.read_text().split() if children.exists() else []
        return found[0] if found else None

    def inside(self, *command, limit=20, check=True):
        """Runs a command on the host."""
        leader = until(f"{self.name} to have a process", 5, self.leader)
        enter = ["nsenter", "-t", leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return run(*enter, *INSIDE, *command, limit=limit, check=check)

    def rpm(self, *words):
        """This machine's rpm, which the host doesn't have, on the host: its scripts find the host's systemd running."""
        leader = until(f"{self.name} to have a process", 5, self.leader)
        enter = ["nsenter", "-t", leader, "-u", "-i", "-n", "-p", "-C"]
        return run(*enter, "rpm", "--force-debian", "--nodeps", f"--root=/proc/{leader}/root", *words)

    def fill(self):
        """Leaves nothing of its disk."""
        with open(self.root / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                return

    def says(self, *command):
        """What a command says on the host; nothing where it can't be run."""
        try:
            return self.inside(*command, check=False).stdout.strip()
        except (Failed, subprocess.TimeoutExpired):
            return ""

    def ask(self, *command):
        """Has the host do something that ends it, from inside, without waiting."""
        leader = until(f"{self.name} to have a process", 5, self.leader)
        enter = ["nsenter", "-t", leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        subprocess.Popen([*enter, *INSIDE, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)

    def read(self, path):
        """A file as the host sees it, on disk or not."""
        leader = self.leader()
        path = pathlib.Path(f"/proc/{leader}/root" if leader else self.root) / path
        return path.read_text(errors="replace") if path.exists() else ""

    def has_ended(self):
        """`off` or `reboot`, once its systemd has ended."""
        code = self.nspawn.poll()
        if code is None:
            return None
        return "reboot" if code == REBOOTS or self.resets else "off"

    def reset(self):
        """Its power fails and comes back: nothing on it is told."""
        boots = len(self.boots)
        self.resets = True
        self.cut()
        until(f"{self.name} to boot again", 10, lambda: len(self.boots) > boots)

    def cut(self):
        """Takes its power away."""
        for group in control_groups(self.name):
            kill = group / "cgroup.kill"
            if kill.exists():
                kill.write_text("1")
        try:
            self.nspawn.wait(10)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()

    def status(self):
        """The agent's own word of its place in its life, once it gives one."""
        text = self.says("spotblock-agent", "status", "--output", "json")
        return (json.loads(text)["life"] if text.startswith("{") else None) or {}

    def journal(self):
        """All that was logged, in all boots, also after its end."""
        return run("journalctl", "--no-pager", "--output=short-precise", f"--directory={self.root}/var/log/journal",
                   check=False).stdout

    def keep_logs(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.console, folder / f"{self.name}.console.log")
        (folder / f"{self.name}.journal.log").write_text(self.journal())
        for name in ("cloud-init.log", "cloud-init-output.log"):
            log = self.root / "var/log" / name
            if log.exists():
                shutil.copy(log, folder / f"{self.name}.{name}")


def clean(prefix, folder):
    """Takes away all that hosts of this prefix can have left, however their scenario ended."""
    for group in [each for top in control_groups("x") for each in top.parent.glob(f"{prefix}*")]:
        kill = group / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
    mounted = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for place in mounted:
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
    for space in pathlib.Path("/run/netns").glob(f"{prefix}*"):
        subprocess.run(["ip", "netns", "del", space.name], check=False, capture_output=True)
    for top in control_groups("x"):
        for group in top.parent.glob(f"{prefix}*"):
            for each in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
                remove(each)
            remove(group)
    shutil.rmtree(folder, ignore_errors=True)


def remove(group):
    for _ in range(50):
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
