"""The memory of a process at its highest, as the kernel counts it for the program that runs in it.

`ru_maxrss` will not do: it begins with what the parent held when it started the process.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

# For a program given to `python -c`: peak() is the most memory so far, in bytes.
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


def watch(process: subprocess.Popen[bytes]) -> int:
    """Wait for `process` and return the most memory it was seen to have, in bytes."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak = max([peak, *(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.05)
    process.wait()
    return peak
