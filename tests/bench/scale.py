"""What a block of a thousand instances costs the provisioner: calls and memory, on light nodes."""

import shutil
from pathlib import Path

from cloud import CONFIG, SAFE, SPOTBLOCK, Cloud
from measure import measure
from report import Figure, Row

GOALS = {"up": 150, "status": 40, "down": 200}
MOST_MB = 60


def rows(folder: Path, source: str, count: int) -> list[Row]:
    config = folder / f"{source}.toml"
    shutil.copy(CONFIG, config)
    found = []
    with Cloud.light(folder / source) as there:
        for command, flags in (
            ("up", ["--yes", "--instances", str(count), "--source", source]), ("status", []), ("down", []),
        ):
            before = len(there.get("calls"))
            env = SAFE | {"AWS_ENDPOINT_URL": there.url, "SPOTBLOCK_CONFIG": str(config)}
            took = measure([SPOTBLOCK, command, *flags], env)
            calls = sum(call["caller"] == "user" for call in there.get("calls")[before:])
            found += [
                # Whoever waits for a slow cloud asks it more often.
                Row(f"{command}: API calls", Figure([calls], "", 0), goal=GOALS[command], timed=True),
                Row(f"{command}: memory", Figure([took.memory], "MB"), goal=MOST_MB),
            ]
    return found
