"""The first run of a plan whose kernels the driver has not compiled yet.

Some drivers compile a kernel when it is launched for the first time.  Other processes then launch the
plan's kernels too, on zeros, and what they have compiled is found by this one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphrun.compiler.plan import Plan
from graphrun.runtime.kernel_set import KernelSet, launches_of

_SAID_AFTER_S = 2.0
# What took less was found on disk, and does not count.
_COMPILED_S = 0.3
_said = threading.Event()
_waited_s = 0.0


@contextlib.contextmanager
def said_when_long() -> Iterator[None]:
    """Context of a compilation; where they take long together, a terminal is told, once in a process."""
    if _said.is_set() or not _is_terminal():
        yield
        return
    global _waited_s
    # A program starts with several compilations, none of which need take long.
    timer = threading.Timer(max(_SAID_AFTER_S - _waited_s, _COMPILED_S), _say)
    timer.daemon = True
    start_s = time.monotonic()
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        taken_s = time.monotonic() - start_s
        if taken_s >= _COMPILED_S:
            _waited_s += taken_s


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # it is closed
        return False


def _say() -> None:
    if not _said.is_set():
        _said.set()
        sys.stderr.write(
            "graphrun: compiling kernels for the first time; the next run finds them (graphrun cache)\n"
        )
        sys.stderr.flush()


@contextlib.contextmanager
def compiled_ahead(
    plan: Plan, devices: Callable[[str], Any], programs: Mapping[str, KernelSet]
) -> Iterator[None]:
    """Context of a plan's first run, in which its kernels are compiled by other processes too."""
    cold = {name: kernels.cold for name, kernels in programs.items() if kernels.cold}
    for name, found in cold.items():
        for program, kernels in found.items():
            devices(name).compile_ahead(program.source, *launches_of(plan, name, kernels))
    try:
        with said_when_long() if cold else contextlib.nullcontext():
            yield
    finally:
        for name in cold:
            devices(name).stop_ahead()
    for name, found in cold.items():
        devices(name).finish()
        for program, kernels in found.items():
            program.compiled(sorted(kernels))
