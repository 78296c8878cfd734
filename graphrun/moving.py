"""When a session without a device leaves NumPy for an OpenCL device, and when it comes back.

A plan starts on NumPy, where its first run is quick.  Once its runs there have cost about as much as it
costs to make a plan for a device, one is made, unless it would not be much quicker; so nobody waits for
kernels that a program of a second would not use.  After how many runs that is follows from the plan alone,
and is the same in each process, unless runs take several times what they are expected to: once they have
taken five seconds, the plan does not wait any longer, and what they took counts instead of what was expected.
(Threads of a BLAS that share their cores with other programs may take twenty times as long.)  The first runs
on the device are timed, and the plan returns to NumPy if it was clearly quicker there, which may differ from
process to process, where the two are close.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from graphrun.compiler.cost import plan_ns
from graphrun.compiler.plan import Plan
from graphrun.config import ConfigProto
from graphrun.device_names import NUMPY, parse_device
from graphrun.errors import DeviceError, GraphrunError, MemoryLimitError
from graphrun.runtime.devices import get_device, list_devices

# Plans whose runs take less stay where they are,
MIN_RUN_NS = 500_000.0
# and those that are expected to take less than this are not even watched: it would cost a hundredth.
WATCHED_NS = 100_000.0
# What a plan may cost on NumPy before another is made.
BUDGET_NS = 2_000_000_000.0
# What its runs may take there, where the estimate is far too low: on a busy or a slow machine.
MAX_SPENT_NS = 5_000_000_000
# Runs whose mean is so many times the least are on a busy machine, where the least is no measure.
_SCATTERED = 3
# How much of NumPy's time a device may be expected to take.
MAX_SHARE = 0.6
# Timed runs on the device, and how much slower than on NumPy the quickest may be.
_TRIALS = 3
_MAX_SLOWER = 1.3


def chosen_device(device: str | None) -> str:
    """The device that the caller or ``GRAPHRUN_DEVICE`` names; empty for none."""
    if device:
        return parse_device(device) or NUMPY
    wish = os.environ.get("GRAPHRUN_DEVICE", "").strip()
    if not wish or wish.lower() == "auto":
        return ""
    try:
        return parse_device(wish)
    except DeviceError as fault:
        raise DeviceError(f"GRAPHRUN_DEVICE: {fault}") from None


def may_move(device: str, strict: bool, config: ConfigProto | None) -> bool:
    """Whether a session chooses by itself where its plans run."""
    no_gpu = config is not None and config.device_count.get("GPU", 1) == 0
    return not device and not strict and not no_gpu


class Watch:
    """Counts the runs of a plan on NumPy until it is due for a device.

    Attributes
    ----------
    run_ns : float
        What a run is expected to take.
    fastest_ns : int
        The least time that a run took.
    """

    __slots__ = ("run_ns", "left", "fastest_ns", "_spent_ns", "_runs")

    def __init__(self, run_ns: float) -> None:
        self.run_ns = run_ns
        self.left = int(BUDGET_NS / run_ns) + 1 if run_ns >= MIN_RUN_NS else 1 << 62
        self.fastest_ns = 1 << 62
        self._spent_ns = 0
        self._runs = 0

    def run(self, run: Callable[[Sequence[Any]], Any], arrays: Sequence[Any]) -> Any:
        """A run on NumPy, counted."""
        start = time.perf_counter_ns()
        values = run(arrays)
        taken_ns = time.perf_counter_ns() - start
        self.fastest_ns = min(self.fastest_ns, taken_ns)
        self._spent_ns += taken_ns
        self._runs += 1
        self.left = self.left - 1 if self._spent_ns < MAX_SPENT_NS else 0
        return values

    @property
    def cost_ns(self) -> float:
        """What a run costs: as expected, or as measured where that was far too little."""
        return max(self.run_ns, self._measured_ns)

    @property
    def typical_ns(self) -> int:
        """What the runs on a device are compared with."""
        return self.fastest_ns if self._mean_ns < _SCATTERED * self.fastest_ns else int(self._mean_ns)

    @property
    def _mean_ns(self) -> float:
        return self._spent_ns / max(self._runs, 1)

    @property
    def _measured_ns(self) -> float:
        return self._mean_ns if self._spent_ns >= MAX_SPENT_NS else 0.0


class Trial:
    """Times the first runs on a device.

    Attributes
    ----------
    before
        The entry on NumPy, to return to.
    """

    __slots__ = ("before", "_numpy_ns", "_left", "_fastest_ns")

    def __init__(self, before: Any, numpy_ns: int) -> None:
        self.before = before
        self._numpy_ns = numpy_ns
        self._left = _TRIALS + 1
        self._fastest_ns = 1 << 62

    def run(self, run: Callable[[Sequence[Any]], Any], arrays: Sequence[Any]) -> Any:
        """A run on the device; the first one compiles kernels, and does not count."""
        start = time.perf_counter_ns()
        values = run(arrays)
        if self._left <= _TRIALS:
            self._fastest_ns = min(self._fastest_ns, time.perf_counter_ns() - start)
        self._left -= 1
        return values

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    @property
    def was_slower(self) -> bool:
        """Whether NumPy was clearly quicker."""
        return self._fastest_ns > _MAX_SLOWER * self._numpy_ns


def watch_of(plan: Plan) -> Watch | None:
    """A watch for a plan that may be worth moving."""
    return Watch(plan.host_ns) if not plan.devices and plan.host_ns >= WATCHED_NS else None


def best_device() -> str:
    """The first OpenCL device; empty where there is none."""
    found = list_devices()
    return found[1] if len(found) > 1 else ""


def moved(compile: Callable[[str], Any], watch: Watch) -> Any:
    """What `compile` makes for the best device; None where the plan had better stay.

    `compile` returns an object whose ``bound.plan`` is the plan.
    """
    if watch.cost_ns < MIN_RUN_NS:
        return None
    try:
        device = best_device()
        if not device:
            return None
        made = compile(device)
        expected_ns = plan_ns(made.bound.plan, {device: get_device(device).capabilities})
    except MemoryLimitError:
        return None  # it keeps to the session's limit where it is
    except GraphrunError as fault:  # no memory, a kernel that does not build: the plan that works is there
        from graphrun.runtime.opencl.discover import DeviceWarning

        warnings.warn(f"a plan stays on NumPy: {fault}", DeviceWarning, stacklevel=2)
        return None
    return made if expected_ns <= MAX_SHARE * watch.cost_ns else None
