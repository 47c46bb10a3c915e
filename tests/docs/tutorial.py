#!/usr/bin/env python3
"""Runs docs/tutorial.md: each block marked `sh run`, in order, in one shell, and looks for what it shows as output.

    tutorial.py [FILE]    exit code 0 only when every command succeeded and every line shown was printed

A line of a `text output` block stands for a line of what the block before it printed, in the same order, other lines
between them allowed; `...` stands for anything, and white space for any other.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# How long all of it may take. The block in it lasts a minute.
LIMIT_S = 150
PORT = "5599"
BEGIN, END = "@@ begin", "@@ all done"


def main() -> int:
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/tutorial.md"
    blocks = read(page.read_text())
    if len(blocks) < 5 or not any(shown for _, shown in blocks):
        print(f"FAIL {page} has hardly anything to run: {len(blocks)} blocks")
        return 1
    printed, ended = run([commands for commands, _ in blocks])
    failed = 0
    for number, (commands, shown) in enumerate(blocks):
        output = printed.get(number)
        what = commands.splitlines()[0]
        missing = None if output is None else first_missing(shown, output)
        good = output is not None and missing is None and (ended or number + 1 in printed)
        print(f"{'ok  ' if good else 'FAIL'} {what}")
        if not good:
            failed += 1
            print(f"     not printed: {missing}" if missing else "     it failed, or took too long")
            print("\n".join(f"     | {line}" for line in output or []))
            break
    return 1 if failed else 0


def read(text: str) -> list[tuple[str, list[str]]]:
    """The blocks to run, each with the lines that it shows."""
    blocks: list[tuple[str, list[str]]] = []
    for info, body in re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        if info == "sh run":
            blocks.append((body, []))
        elif info == "text output":
            blocks[-1][1].extend(line for line in body.splitlines() if line.strip())
    return blocks


def run(blocks: list[str]) -> tuple[dict[int, list[str]], bool]:
    """What each block printed, and whether all of them came to their end."""
    script = "set -e\n" + "".join(f"echo '{BEGIN} {number}'\n{block}" for number, block in enumerate(blocks))
    script += f"echo '{END}'\n"
    # Another program may have the port that the page names.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        script = script.replace(PORT, str(probe.getsockname()[1]))
    # Nothing of the machine's own settings may decide whom these commands talk to.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    with tempfile.TemporaryFile("w+") as out:
        shell = subprocess.Popen(
            [shutil.which("bash") or "bash"], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=out,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )
        try:
            shell.communicate(script, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Of this shell's own session: what a failed page left behind.
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            shell.wait(timeout=15)
        out.seek(0)
        text = out.read()
    parts = re.split(rf"^{BEGIN} (\d+)$", text, flags=re.MULTILINE)
    printed = {int(number): body.splitlines() for number, body in zip(parts[1::2], parts[2::2], strict=True)}
    return printed, END in text


def first_missing(shown: list[str], output: list[str]) -> str | None:
    lines = iter(" ".join(line.split()) for line in output)
    for wanted in shown:
        parts = (re.escape(" ".join(part.split())) for part in wanted.split("..."))
        pattern = re.compile(" ?.* ?".join(parts))
        if not any(pattern.fullmatch(line) for line in lines):
            return wanted
    return None


if __name__ == "__main__":
    sys.exit(main())
