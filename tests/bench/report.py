"""What was measured, as one table and as JSON: ratios first, then the figures with their spread, then a verdict per goal."""

import os
import statistics
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cloud import PROGRAMS, ROOT

# Above this part of the machine's processors others disturb what takes time.
BUSY = 0.10


def quantile(values: list[float], part: float) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


@dataclass
class Figure:
    """Measurements of one thing, and which number of them counts: the median, the worst or the 99th percentile."""

    values: list[float]
    unit: str
    digits: int = 1
    by: str = "median"

    @property
    def value(self) -> float:
        if self.by == "median":
            return statistics.median(self.values)
        return max(self.values) if self.by == "worst" else quantile(self.values, 0.99)

    def spread(self) -> tuple[float, float]:
        """10 to 90 %; of fewer than ten measurements the least and the most."""
        part = 0.1 if len(self.values) >= 10 else 0.0
        return quantile(self.values, part), quantile(self.values, 1 - part)

    def __str__(self) -> str:
        def told(value: float) -> str:
            return f"{value:.{self.digits}f}"

        one = f"{told(self.value)} {self.unit}".strip()
        if len(self.values) == 1:
            return one
        if self.by != "median":
            return f"{self.by} {one} (median {told(statistics.median(self.values))}; n={len(self.values)})"
        low, high = self.spread()
        return f"{one} ({told(low)} to {told(high)}; n={len(self.values)})"

    def as_json(self) -> dict[str, Any]:
        low, high = self.spread()
        return {
            "value": self.value, "by": self.by, "unit": self.unit, "median": statistics.median(self.values),
            "low": low, "high": high, "values": self.values,
        }


@dataclass
class Row:
    """A figure of spotblock's beside its goal (at most), a peer's figure, or nothing."""

    what: str
    own: Figure
    goal: float | None = None
    peer: tuple[str, Figure] | None = None
    # Whether it gets worse when others use the machine; sizes and counts don't.
    timed: bool = False
    # Filled in by the run: of which section it is, and the part of the processors that others used meanwhile.
    section: str = ""
    others: float = 0.0

    @property
    def ratio(self) -> float | None:
        other = self.peer[1].value if self.peer else self.goal
        return self.own.value / other if other else None

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        if self.own.value <= self.goal:
            return "met"
        return "busy" if self.timed and self.others > BUSY else "MISSED"

    def beside(self) -> str:
        if self.peer:
            return f"{self.peer[0]}: {self.peer[1]}"
        return "" if self.goal is None else f"goal: at most {self.goal:g} {self.own.unit}".rstrip()

    def as_json(self) -> dict[str, Any]:
        peer = {"name": self.peer[0]} | self.peer[1].as_json() if self.peer else None
        return {
            "section": self.section, "what": self.what, "ratio": self.ratio, "spotblock": self.own.as_json(),
            "goal": self.goal, "peer": peer, "timed": self.timed, "others": self.others, "verdict": self.verdict,
        }


@dataclass
class Report:
    """One run."""

    rows: list[Row] = field(default_factory=list)
    # Sections that came to no end, and why.
    failed: list[tuple[str, str]] = field(default_factory=list)
    agent: str = ""
    load: list[float] = field(default_factory=list)
    others: float = 0.0

    def having(self, verdict: str) -> list[Row]:
        return [row for row in self.rows if row.verdict == verdict]

    @property
    def code(self) -> int:
        """The exit code: a goal missed while others used the machine is told, and not judged."""
        return 1 if self.failed or self.having("MISSED") else 0

    def machine(self) -> str:
        load = " and ".join(f"{value:.1f}" for value in self.load)
        # Without what a distribution or a cloud puts after it.
        kernel = os.uname().release.split("-")[0]
        return (
            f"{date.today()}, {os.cpu_count()} cores, {os.uname().machine}, Linux {kernel}; load before and after {load}; "
            f"others used {100 * self.others:.0f} % of the cores"
        )

    def lines(self) -> list[str]:
        programs = f"on the local cloud, over loopback; spotblock and the local cloud: {PROGRAMS.relative_to(ROOT)}; agent: {self.agent}"
        lines = [self.machine(), programs, ""]
        lines.append(f"{'ratio':>5}  {'what':<44} {'spotblock':<36} {'goal or peer':<44} verdict")
        section = ""
        for row in self.rows:
            if row.section != section:
                section = row.section
                lines += ["", f"       {section}"]
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            lines.append(f"{ratio:>5}    {row.what:<42} {row.own!s:<36} {row.beside():<44} {row.verdict}".rstrip())
        lines += ["", *(f"FAILED  {section}: {why}" for section, why in self.failed), *self.conclusion()]
        return lines

    def conclusion(self) -> list[str]:
        met, busy, missed = (len(self.having(verdict)) for verdict in ("met", "busy", "MISSED"))
        said = [
            "ratio: spotblock's figure beside the goal or the peer's; below 1 is less. Figures: the median, with 10 to 90 % of the n",
            "measurements (of fewer than ten the least and the most), or what is named.",
            f"{met} of {met + busy + missed} goals met, {missed} missed",
        ]
        if busy:
            said[-1] += f", {busy} not judged"
            said.append(f"busy: missed while others used more than {100 * BUSY:.0f} % of the cores; run it again on an idle machine.")
        return said

    def as_json(self) -> dict[str, Any]:
        return {
            "date": str(date.today()), "cores": os.cpu_count(), "machine": os.uname().machine, "kernel": os.uname().release,
            "load": self.load, "others": self.others, "agent": self.agent, "rows": [row.as_json() for row in self.rows],
            "failed": [{"section": section, "why": why} for section, why in self.failed], "code": self.code,
        }
