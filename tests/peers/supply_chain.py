"""Has cargo-deny judge what the programs are made of, by deny.toml: licences, where crates come from, what is banned.

    supply_chain.py    a line for each; exit code 0 only when it doesn't complain

Advisories are left to the release workflow: their database can't be had from a package registry.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from artefacts import IS_CI, Judges, complaints_of
from cloud import ROOT, be_safe

DENY = Path(sys.executable).parent / "cargo-deny"
KINDS = ("licenses", "bans", "sources")
# What each kind must notice: a judge that passes anything is none.
WRONG = """
[licenses]
allow = ["Zlib"]
[bans]
deny = [{ name = "tokio" }]
[sources]
unknown-registry = "deny"
allow-registry = ["https://example.com/index"]
"""


def complaints(config: Path) -> list[str]:
    words = ["--color", "never", "--locked", "--manifest-path", ROOT / "Cargo.toml", "--config", config, "check"]
    return complaints_of([DENY, *words, *KINDS])


def is_fetched() -> bool:
    """It looks at the crates of all systems that cargo knows: those that none of ours needs aren't here yet."""
    command = ["cargo", "fetch", "--locked", "--manifest-path", ROOT / "Cargo.toml"]
    return subprocess.run(command, capture_output=True, timeout=240).returncode == 0


def main() -> int:
    be_safe()
    judges = Judges()
    if not is_fetched():
        if IS_CI:
            judges.say("crates", "cargo fetch", ["CI must be able to"])
        else:
            print("LEFT OUT: licences, bans and sources; `cargo fetch` can't get all crates")
        return 1 if judges.failed else 0
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as wrong:
        wrong.write(WRONG)
        wrong.flush()
        verdict = next((line for line in complaints(Path(wrong.name)) if "FAILED" in line), "it passed")
    judges.say("what is wrong in each", "noticed", [verdict for kind in KINDS if f"{kind} FAILED" not in verdict])
    judges.say(", ".join(KINDS), "cargo-deny", complaints(ROOT / "deny.toml"))
    print(f"{judges.failed} complaints")
    return 1 if judges.failed else 0


if __name__ == "__main__":
    sys.exit(main())
