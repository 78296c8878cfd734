"""A process that trains a few steps and says what memory that took: ``python -m`` of `memory.py`."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

STEPS = 5


def status_bytes(field: str) -> int:
    """Return a figure of /proc/self/status: VmRSS is what is in memory now, VmHWM the most there was."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def give_back() -> None:
    """Return to the system what is free, such as a compiler's memory; what is left is the peak so far."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; others return memory themselves
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def main(key: str, name: str, *quick: str) -> None:
    """Print a JSON object of bytes."""
    from sidebyside.models import steps
    from sidebyside.process import find_step, opener

    system = opener(key)()
    # The library's own start: threads, allocators, the first kernel.  Not of the work that is measured.
    small = system.step(steps(True)[0])
    small.run()
    small.close()
    step = find_step(name, bool(quick))
    give_back()
    before_bytes = status_bytes("VmRSS")
    run = system.step(step)
    for _ in range(2):
        run.run()
    give_back()
    for _ in range(STEPS):
        run.run()
    result = {"peak_bytes": status_bytes("VmHWM") - before_bytes}
    if run.planned is not None:
        result |= run.planned()._asdict()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
