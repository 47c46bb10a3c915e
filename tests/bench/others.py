"""How much of the machine others use while something is measured."""

import os
import resource
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Which of /proc/stat's columns are time in which a processor was not to be had: user, nice, system, irq, softirq, steal.
TAKEN = (0, 1, 2, 5, 6, 7)


class Others:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self.began = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """The time, all processors' time taken by anybody, and that of this program and of those it has waited for."""
        columns = [int(column) for column in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        own = sum(
            usage.ru_utime + usage.ru_stime
            for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        )
        return time.monotonic(), sum(columns[at] for at in TAKEN) / TICKS, own

    def seconds(self) -> tuple[float, float]:
        """Seconds of processors that others took so far, and that there were. Programs that we started and that still run count
        as others, so that it is asked when all of them have ended."""
        (began, taken, own), (now, taken_now, own_now) = self.began, self._now()
        return max(0.0, taken_now - taken - (own_now - own)), (now - began) * (os.cpu_count() or 1)
