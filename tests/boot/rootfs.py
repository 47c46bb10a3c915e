"""The hosts' root file systems: a small Debian with real systemd and cloud-init, made once and kept; and on top of it, as
a layer, the image that the bake script makes of it.

What stands in for what an ECS-optimised image has is in guest/: Docker and the ECS agent, under units of their names with
the real ones' ordering.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parent
TOP = HERE.parent.parent
SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,cloud-init,curl,ca-certificates,iproute2,ifupdown,isc-dhcp-client,netbase,udev,sudo,"
    "openssh-server"
)
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"]


def base(cache):
    """The system without an agent, as a folder: made when the recipe has changed, else what is there."""
    mine = [pathlib.Path(__file__), *sorted((HERE / "guest").iterdir())]
    folder = cache / f"base-{digest(mine)}"
    if not folder.is_dir():
        print("boot: making the root file system", flush=True)
        system = debian(cache)
        making = scratch(folder)
        run("tar", "--directory", making, "--numeric-owner", "--extract", "--file", system)
        dress(making)
        finish(making, folder, cache, "base-")
    return folder


def baked(cache, lower, package):
    """A layer over `lower`: what the bake script leaves of an instance of it."""
    bake = TOP / "ami/bake.sh"
    folder = cache / f"baked-{digest([bake, TOP / 'ami/check.sh', package], lower.name)}"
    if folder.is_dir():
        return folder
    making = scratch(folder)
    work, root = scratch(cache / "bake-work"), scratch(cache / "bake-root")
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={making},workdir={work}", root)
    try:
        # What an instance leaves that an image mustn't have: the bake script has to take it away.
        leave_traces(root)
        put(root / "root" / package.name, package.read_bytes())
        for script in (bake, TOP / "ami/check.sh"):
            put(root / "root" / script.name, script.read_bytes(), 0o755)
        inside = ["chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
        before = subprocess.run([*inside, "/root/check.sh"], capture_output=True, text=True)
        if before.returncode == 0:
            raise RuntimeError(f"ami/check.sh passes an image that was never baked:\n{before.stdout}")
        run(*inside, "/root/bake.sh", f"/root/{package.name}")
        run(*inside, "/root/check.sh")
        for name in (package.name, "bake.sh", "check.sh"):
            (root / "root" / name).unlink(missing_ok=True)
    finally:
        run("umount", root)
        for each in (work, root):
            shutil.rmtree(each, ignore_errors=True)
    finish(making, folder, cache, "baked-")
    return folder


def leave_traces(root):
    put(root / "etc/ecs/ecs.config", b"ECS_CLUSTER=of-another-instance\nECS_LOGLEVEL=info\n")
    put(root / "var/lib/ecs/data/agent.db", b'{"cluster": "of-another-instance"}')
    put(root / "var/lib/spotblock/state.json", b"{}")
    put(root / "var/lib/cloud/instances/i-0aaaaaaaaaaaaaaaa/user-data.txt", b"secret")
    put(root / "etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    put(root / "etc/ssh/ssh_host_ed25519_key", b"key\n", 0o600)
    put(root / "root/.bash_history", b"export TOKEN=...\n")
    run("chroot", root, "systemctl", "-q", "enable", "ecs.service")


def debian(cache):
    """The tar of the plain system, kept by what it is made of."""
    name = hashlib.sha256(" ".join([SUITE, PACKAGES, *LEFT_OUT]).encode()).hexdigest()[:12]
    tar = cache / f"debian-{name}.tar"
    if not tar.is_file():
        making = cache / f"debian-{name}.making.tar"
        without = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *without, SUITE, making)
        making.rename(tar)
    return tar


def dress(root):
    """What makes the plain system a host of the test."""
    put(root / "etc/machine-id", b"")
    # A resolver that never answers costs half a minute a boot.
    put(root / "etc/resolv.conf", b"")
    guest = HERE / "guest"
    put(root / "etc/cloud/cloud.cfg.d/99-boot-test.cfg", (guest / "cloud.cfg").read_bytes())
    for name in ("standin", "docker", "ec2-identity"):
        put(root / "usr/local/sbin" / name, (guest / name).read_bytes(), 0o755)
    (root / "var/log/journal").mkdir(exist_ok=True)
    for unit in guest.glob("*.service"):
        put(root / "etc/systemd/system" / unit.name, unit.read_bytes())
    # On Debian cloud-init's last part waits for multi-user.target, and ecs.service, which waits for it, would be part of a
    # circle. Amazon Linux has no such line.
    final = (root / "lib/systemd/system/cloud-final.service").read_text()
    lines = [line for line in final.splitlines(keepends=True) if line.strip() != "After=multi-user.target"]
    if len(lines) == len(final.splitlines()):
        raise RuntimeError("cloud-final.service is not as it was")
    put(root / "etc/systemd/system/cloud-final.service", "".join(lines).encode())
    # As on the ECS-optimised image: there, empty, and enabled.
    put(root / "etc/ecs/ecs.config", b"")
    (root / "var/lib/ecs/data").mkdir(parents=True, exist_ok=True)
    run("chroot", root, "systemctl", "-q", "enable", "ec2-identity.service", "docker.service", "ecs.service")
    # Of no use here, and each costs a second or more of a boot on two cores.
    run("chroot", root, "systemctl", "-q", "mask", "ssh.service", "apt-daily.timer", "apt-daily-upgrade.timer",
        "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer")


def put(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def scratch(folder):
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    return making


def finish(making, folder, cache, kind):
    """Puts it where it belongs, and takes older ones of its kind away."""
    for old in cache.glob(f"{kind}*"):
        if old != making:
            shutil.rmtree(old, ignore_errors=True)
    os.rename(making, folder)


def digest(files, more=""):
    found = hashlib.sha256(more.encode())
    for file in files:
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()[:12]


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
