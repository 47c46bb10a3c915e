"""Runs a program and writes to a file what it and all that it waited for took: seconds, seconds of processor, and the largest
process's peak memory in MB.

    took.py FILE PROGRAM [ARGUMENT...]

A process of its own, as small as Python gets: Linux counts a program's peak from that of the process which it replaced."""

import json
import os
import sys
import time

began = time.monotonic()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
with open(sys.argv[1], "w") as result:
    json.dump([time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], result)
sys.exit(min(255, abs(os.waitstatus_to_exitcode(status))))
