#!/usr/bin/env python3
"""Boots real systems on this machine: systemd and cloud-init in containers, each with a network of its own, which install
what `make dist` built as the user data of `spotblock` says.

    boot.py [--keep] [--no-build] [NAME...]      all scenarios, or those whose names contain one of these words

It needs root and the tools listed below. Without them it says SKIPPED and why, and ends well; where CI is set, it fails. Times are printed. What the hosts logged stays below target/boot/logs.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import host as hosts
import rootfs
import scenarios
from world import World

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = TOP / "target/boot"
TOOLS = {
    "systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "dnsmasq": "dnsmasq-base", "ip": "iproute2",
    "nsenter": "util-linux", "curl": "curl", "journalctl": "systemd", "dpkg-deb": "dpkg", "rpmbuild": "rpm",
    "readelf": "binutils",
}
# Hosts mostly wait; on two cores five clouds at once keep their deadlines.
AT_ONCE = 5
# Of one scenario, and of all of them, in seconds, once the root file systems are there.
LIMIT = 230
LIMIT_OF_ALL = 240
# Not by fork: a child would hold what tells of its siblings' ends.
PROCESSES = multiprocessing.get_context("spawn")


@dataclasses.dataclass
class Artifacts:
    """What hosts are made of."""

    base: pathlib.Path
    baked: pathlib.Path
    tarball: pathlib.Path
    package: pathlib.Path
    rpms: list  # what `make dist` made, and the same as a later version


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true", help="leave the hosts' root file systems behind")
    parser.add_argument("--no-build", action="store_true", help="take the programs and packages that are there")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    missing = what_is_missing()
    if missing:
        print(f"boot: SKIPPED: {missing}")
        return 1 if os.environ.get("CI") else 0

    if not given.no_build:
        # The build that `make test` has made already: of the two programs alone it would be another one, by other features.
        subprocess.run(["make", "--no-print-directory", "dist", "build"], cwd=TOP, check=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    dist = TOP / "target/dist"
    # Debian takes the .deb; it holds what the tarball and the .rpm hold.
    [tarball], [package] = list(dist.glob("*.tar.gz")), list(dist.glob("spotblock-agent_*.deb"))
    base = rootfs.base(CACHE)
    artifacts = Artifacts(base, rootfs.baked(CACHE, base, package), tarball, package, rpms(dist, tarball))
    shutil.rmtree(CACHE / "logs", ignore_errors=True)
    # What an earlier run of this folder left, if it was killed.
    for left in (CACHE / "run").glob("*"):
        hosts.clean(left.name, left)

    wanted = [name for name in scenarios.ALL if not given.names or any(word in name for word in given.names)]
    start = time.time()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {pool.submit(supervise, number, name, artifacts, given.keep): name for number, name in enumerate(wanted)}
        for done in concurrent.futures.as_completed(runs):
            verdict, took, said = done.result()
            failed += verdict != "ok"
            text = scenarios.ALL[runs[done]].__doc__.strip().splitlines()[0]
            print(f"  {verdict:6} {took:5.1f} s  {text}{': ' + said if said else ''}", flush=True)
    took = time.time() - start
    print(f"boot: {took:.0f} s of {LIMIT_OF_ALL}; logs in {CACHE}/logs")
    if took > LIMIT_OF_ALL:
        print("boot: too slow")
        failed = failed or 1
    ran = f"{len(wanted)} tests run: {len(wanted) - failed} passed"
    print(ran + (f", {failed} failed" if failed else ""))
    return 1 if failed else 0


def rpms(dist, tarball):
    """The .rpm, and one of a later version with the same content."""
    [first] = dist.glob("*.rpm")
    name, arch = "99.0.0", first.name.split(".")[-2]
    later = CACHE / f"spotblock-agent-{name}-1.{arch}.rpm"
    if not later.exists() or later.stat().st_mtime < first.stat().st_mtime:
        tree = rootfs.scratch(CACHE / "rpm-tree")
        rootfs.run("tar", "--extract", "--file", tarball, "--directory", tree)
        rootfs.run("env", f"SOURCE_DATE_EPOCH={int(first.stat().st_mtime)}", TOP / "packaging/rpm.sh", tree, name, arch, CACHE)
        shutil.rmtree(tree)
    return [first, later]


def what_is_missing():
    if os.geteuid() != 0:
        return "hosts can be booted by root alone"
    absent = {package for tool, package in TOOLS.items() if not shutil.which(tool)}
    if absent:
        return f"apt-get install {' '.join(sorted(absent))}"
    if not any(group.parent.is_dir() for group in hosts.control_groups("x")):
        return "this machine shows no control groups for systemd"
    return None


def supervise(number, name, artifacts, keep):
    """Runs a scenario in a process of its own, and takes away what it leaves."""
    prefix = f"sb{os.getpid() % 100_000}x{number}"
    folder = CACHE / "run" / prefix
    ours, theirs = PROCESSES.Pipe(duplex=False)
    start = time.time()
    process = PROCESSES.Process(target=perform, args=(name, prefix, folder, artifacts, theirs))
    try:
        process.start()
        theirs.close()
        process.join(LIMIT)
        if process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
            process.join(20)
        said = ours.recv() if ours.poll() else ("FAILED", "it was ended after its time, or died")
    except EOFError:
        said = ("FAILED", "it died")
    finally:
        if process.is_alive():
            process.kill()
        if not keep:
            hosts.clean(prefix, folder)
    return said[0], time.time() - start, said[1]


def perform(name, prefix, folder, artifacts, pipe):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    world = None
    try:
        world = World(prefix, folder, TOP / "target/debug")
        said = scenarios.ALL[name](world, artifacts)
        if world.troubles:
            raise world.troubles[0]
        scenarios.asked_with_tokens(world)
        joined = ", ".join(f"{took:.1f}" for took in scenarios.times(world))
        said = [said, f"from start to registered {joined} s" if joined else None]
        pipe.send(("ok", "; ".join(filter(None, said))))
    except BaseException as error:
        known = isinstance(error, (hosts.Failed, SystemExit, subprocess.TimeoutExpired))
        pipe.send(("FAILED", str(error) if known else traceback.format_exc()))
    finally:
        if world:
            world.close()
            for host in world.hosts.values():
                host.keep_logs(CACHE / "logs" / name)
            if world.hosts:
                for log in folder.glob("*.log"):
                    shutil.copy(log, CACHE / "logs" / name)


if __name__ == "__main__":
    sys.exit(main())
