"""Has the tools judge that read them on a host what `spotblock user-data` prints, the scripts, and the units.

    artefacts.py [--spotblock PROGRAM]    a line for each; exit code 0 only when no tool complains

A tool that isn't there is said to be left out, and fails the run where CI is set. cloud-init is asked in its own Python, for
its parser of user data, and its schema of cloud-config.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from cloud import ROOT, be_safe

IS_CI = bool(os.environ.get("CI"))
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/a_Batch_b"
SHA = "0" * 64
FROM = {
    "ami": '"ami"',
    "url": f'{{ url = "https://example.com/spotblock-agent.tar.gz", sha256 = "{SHA}" }}',
    "s3": f'{{ s3 = "s3://a-bucket/spotblock-agent.tar.gz", sha256 = "{SHA}" }}',
}
EXTRA = {
    "nothing": "",
    "a script": "#!/bin/sh\nmkdir -p /scratch\n",
    "cloud-config": "#cloud-config\npackages: [htop]\nruncmd:\n  - [mkdir, -p, /scratch]\n",
}
# What cloud-init has its handlers for, of what is used here.
KINDS = {"text/x-shellscript", "text/cloud-config"}
# Where EC2 ends: raw, before base64.
LONGEST = 16 * 1024

# Run by the Python that cloud-init was made for.
PARSER = """
import json, sys
from cloudinit import helpers, user_data
paths = helpers.Paths({"cloud_dir": sys.argv[1], "run_dir": sys.argv[1]})
message = user_data.UserDataProcessor(paths).process(sys.stdin.buffer.read())
parts = [part for part in message.walk() if part.get_content_maintype() != "multipart"]
print(json.dumps([[part.get_content_type(), part.get_payload(decode=True).decode()] for part in parts]))
"""


class Judges:
    """Prints a line for each judgement, and counts those that went wrong."""

    def __init__(self) -> None:
        self.failed = 0

    def say(self, what: str, tool: str, complaints: list[str]) -> None:
        self.failed += bool(complaints)
        print(f"{'FAIL' if complaints else 'ok  '} {what}: {tool}" + "".join(f"\n       {one}" for one in complaints))

    def has(self, tool: str) -> bool:
        if shutil.which(tool):
            return True
        if IS_CI:
            self.say(tool, "missing", ["CI must have it"])
        else:
            print(f"LEFT OUT: what {tool} judges; it isn't here")
        return False


def complaints_of(command: list[str | Path], text: str = "") -> list[str]:
    run = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    return [] if run.returncode == 0 else [*(run.stdout + run.stderr).splitlines(), f"exit code {run.returncode}"]


class Printed:
    """What `spotblock user-data` prints for one way of delivery and one kind of the user's own."""

    def __init__(self, spotblock: Path, folder: Path, way: str, extra: str) -> None:
        self.name = f"user data, from {way}, with {extra}"
        self.spotblock = spotblock
        self.config = folder / "spotblock.toml"
        text = (ROOT / "tests/e2e/fixtures/spot-block-test.toml").read_text()
        more = ""
        if EXTRA[extra]:
            (folder / "extra").write_text(EXTRA[extra])
            more = f'extra-user-data = "{folder / "extra"}"\n'
        self.config.write_text(f"{text}\n[agent]\nfrom = {FROM[way]}\n{more}")
        self.text = self.printed()
        self.kinds = ["text/x-shellscript"]
        if EXTRA[extra]:
            self.kinds.append("text/cloud-config" if extra == "cloud-config" else "text/x-shellscript")

    def printed(self, *more: str) -> str:
        words = [self.spotblock, "user-data", "--config", self.config, "--cluster", CLUSTER, "--block", "sb-0123456789", *more]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def user_data(judges: Judges, spotblock: Path) -> None:
    with_cloud_init, with_shellcheck = judges.has("cloud-init"), judges.has("shellcheck")
    for way, extra in product(FROM, EXTRA):
        with tempfile.TemporaryDirectory(prefix="spotblock-artefacts-") as name:
            printed = Printed(spotblock, Path(name), way, extra)
            script = printed.printed("--format", "script")
            if with_cloud_init:
                for form, text in forms(printed):
                    judges.say(f"{printed.name}, {form}", "cloud-init's parser", list(parsed(printed, script, text)))
                if extra == "cloud-config":
                    schema = ["cloud-init", "schema", "--config-file", Path(name, "extra")]
                    judges.say(f"{printed.name}, its part", "cloud-init schema", complaints_of(schema))
            if with_shellcheck and extra == "nothing":
                judges.say(printed.name, "shellcheck", complaints_of(["shellcheck", "--shell=sh", "-"], script))


def forms(printed: Printed) -> Iterator[tuple[str, str]]:
    yield "as it is", printed.text
    yield "base64", base64.b64decode(printed.printed("--format", "base64").strip(), validate=True).decode()
    yield "MIME", printed.printed("--format", "mime")


def parsed(printed: Printed, script: str, text: str) -> Iterator[str]:
    """What cloud-init makes of it: the script as it is, then the user's part, and nothing that it has no handler for."""
    if len(text.encode()) > LONGEST:
        yield f"{len(text)} bytes are more than EC2 takes"
    parts = by_cloud_init(text)
    kinds = [kind for kind, _ in parts]
    if kinds != printed.kinds:
        yield f"parts of the kinds {kinds} instead of {printed.kinds}"
    if not parts or parts[0][1].rstrip("\n") != script.rstrip("\n"):
        yield "the script isn't what was put in"


def by_cloud_init(text: str) -> list[list[str]]:
    with tempfile.TemporaryDirectory(prefix="spotblock-cloud-init-") as folder:
        command = ["/usr/bin/python3", "-c", PARSER, folder]
        run = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(run.stdout)


def self_test(judges: Judges) -> None:
    """Whether the judges notice anything at all."""
    if shutil.which("cloud-init"):
        kinds = {kind for kind, _ in by_cloud_init("nothing that anybody knows\n")}
        judges.say("user data of no kind", "noticed by cloud-init's parser", [f"{kinds}"] if kinds <= KINDS else [])
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as wrong:
            wrong.write("#cloud-config\nruncmd: 7\n")
            wrong.flush()
            taken = not complaints_of(["cloud-init", "schema", "--config-file", wrong.name])
        judges.say("cloud-config with a number for commands", "noticed by cloud-init schema", ["taken"] if taken else [])
    if shutil.which("shellcheck"):
        taken = not complaints_of(["shellcheck", "--shell=sh", "-"], "#!/bin/sh\nrm -r $1\n")
        judges.say("a variable without quotes", "noticed by shellcheck", ["taken"] if taken else [])


def scripts(judges: Judges) -> None:
    """Every shell script there is, but for the pieces of user data, which are judged as a whole."""
    if not judges.has("shellcheck"):
        return
    for path in sorted(files()):
        name = str(path.relative_to(ROOT))
        if name.startswith("provisioner/"):
            continue
        with path.open("rb") as file:
            first = file.readline(80)
        if first.startswith(b"#!") and (b"/sh" in first or b"bash" in first):
            judges.say(name, "shellcheck", complaints_of(["shellcheck", path]))


def files() -> Iterator[Path]:
    """What a checkout has; it needn't be one that git knows."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in (".git", "target")]
        yield from (Path(folder, name) for name in names if Path(folder, name).is_file())


def units_of_user_data(judges: Judges, spotblock: Path) -> None:
    """The power-off timer that user data writes. The packaged units, and the agent's own, are held by tests of the agent."""
    if not judges.has("systemd-analyze"):
        return
    with tempfile.TemporaryDirectory(prefix="spotblock-units-") as name:
        folder = Path(name)
        (folder / "systemctl").write_text("#!/bin/sh\nexit 0\n")
        (folder / "systemctl").chmod(0o755)
        script = Printed(spotblock, folder, "ami", "nothing").text.replace("/etc/systemd/system/", f"{folder}/")
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
        subprocess.run(["sh"], input=script, env=environment, text=True, check=True, timeout=30, stdout=subprocess.DEVNULL)
        for unit in sorted(folder.glob("spotblock-poweroff.*")):
            run = subprocess.run(
                ["systemd-analyze", "verify", "--recursive-errors=no", unit], capture_output=True, text=True, timeout=60
            )
            # It exits with 0 on keys that it doesn't know: silence is what counts.
            judges.say(f"{unit.name} of user data", "systemd-analyze verify", run.stderr.splitlines())
        written = {unit.suffix for unit in folder.glob("spotblock-poweroff.*")}
        judges.say("user data's units", "written", [] if written == {".service", ".timer"} else [f"{written}"])


def other_architectures(judges: Judges) -> None:
    """Where Rust's std for an architecture isn't installed, `make dist` says so, and leaves what is there."""
    def is_absent(arch: str) -> bool:
        command = ["rustc", "--print", "target-libdir", "--target", f"{arch}-unknown-linux-gnu"]
        return not Path(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()).is_dir()

    arch = next(filter(is_absent, ("s390x", "riscv64gc", "powerpc64le")))
    with tempfile.TemporaryDirectory(prefix="spotblock-dist-") as name:
        environment = os.environ | {"DIST_DIR": name}
        command = [ROOT / "packaging/dist.sh", arch]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        is_right = run.returncode == 1 and run.stderr.endswith(f"rustup target add {arch}-unknown-linux-gnu\n") and Path(name).is_dir()
        judges.say(f"packages for {arch}, for which there is no std", "refused with what to do", [] if is_right else [run.stderr])


def packages(judges: Judges) -> None:
    """Where `make dist` has made some; it ends with the same. lintian, rpm and shellcheck are asked in it."""
    if not (ROOT / "target/dist/SHA256SUMS").exists():
        print("LEFT OUT: packages; `make dist` makes them, and has them judged by lintian, rpm and shellcheck")
        return
    judges.say("packages", "packaging/check.sh", complaints_of([ROOT / "packaging/check.sh"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spotblock", type=Path, default=ROOT / "target/debug/spotblock")
    arguments = parser.parse_args()
    be_safe()
    judges = Judges()
    self_test(judges)
    user_data(judges, arguments.spotblock)
    scripts(judges)
    units_of_user_data(judges, arguments.spotblock)
    other_architectures(judges)
    packages(judges)
    print(f"{judges.failed} complaints")
    return 1 if judges.failed else 0


if __name__ == "__main__":
    sys.exit(main())
