"""The first run of a plan whose kernels the driver has not compiled yet.

Some drivers compile a kernel when it is launched for the first time.  Other processes then launch the
plan's kernels too, on zeros, and what they have compiled is found by this one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphrun.compiler.plan import Plan
from graphrun.runtime.kernel_set import KernelSet, launches_of

_SAID_AFTER_S = 2.0
_said = threading.Event()


@contextlib.contextmanager
def said_when_long() -> Iterator[None]:
    """Context of a compilation: one that takes long is told on a terminal, once in a process."""
    if _said.is_set() or not _is_terminal():
        yield
        return
    timer = threading.Timer(_SAID_AFTER_S, _say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
