"""Kernels compiled by other processes while this one works; see `ahead_process`.

Nobody waits for these processes and nothing depends on them: where one cannot be started, or dies, kernels
are compiled here when they are launched, as they would have been.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from graphrun import environment
from graphrun.runtime.opencl import prober

# Each takes about 150 MB while a compiler is loaded in it.
_MOST_PROCESSES = 3
# PoCL makes another kernel for global sizes beyond this, which one work-group would not ask for.
_SMALL_GRID = 65535

# The first build loads the compiler.
_WARM_UP = "kernel void gr_warm_up(global int *a) { a[get_global_id(0)] = 1; }"

Launch = tuple[str, Sequence[tuple[str, Any]], Sequence[int], Sequence[int] | None]


def process_count() -> int:
    """How many processes would help: one core is this one's."""
    if not environment.flag("GRAPHRUN_COMPILE_AHEAD"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_PROCESSES, cores - 1) if prober.can_run() else 0


class _Helper:
    """A process, and the latest line that it is told: it may not read, and nobody waits until it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lock = threading.Lock()
        self._next: str | None = None
        self._writing = False

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def is_told(self) -> bool:
        """Whether nothing is left to be written."""
        with self._lock:
            return not self._writing

    def tell(self, line: str) -> None:
        """Write a line from a thread of its own: a pipe takes 64 KiB, and a program can be larger."""
        with self._lock:
            self._next = line  # of the lines that were not begun, only the latest is still wanted
            if self._writing:
                return
            self._writing = True
        try:
            threading.Thread(target=self._write, daemon=True).start()
        except RuntimeError:  # there are too many, or Python is about to end
            with self._lock:
                self._writing = False

    def _write(self) -> None:
        assert self.process.stdin is not None
        while True:
            with self._lock:
                line, self._next = self._next, None
                if line is None:
                    self._writing = False
                    return
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except (OSError, ValueError):  # it has ended
                pass


class CompileAhead:
    """The processes that compile for one device; none until `start` or `compile`."""

    def __init__(self, platform_index: int, device_index: int) -> None:
        self._device = [platform_index, device_index]
        self._helpers: list[_Helper] = []
        self._asked = ""  # what they are at
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the processes where they do not run: loading a compiler takes them half a second."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        self._helpers = [h for h in self._helpers if h.lives]
        if self._helpers:
            return
        count = process_count()
        staying = prober.take_over() if count else None
        if staying is not None:  # it has loaded a compiler
            self._helpers.append(_Helper(staying))
        while len(self._helpers) < count:
            try:
                process = subprocess.Popen(
                    prober.script("ahead_process"), env=prober.environment(),
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    text=True, encoding="utf-8",
                )  # fmt: skip
            except OSError:
                return
            atexit.register(prober.end, process)
            self._helpers.append(_Helper(process))
            self._tell(self._helpers[-1], {
                "source": _WARM_UP, "options": [], "buffers": {"0": 4},
                "launches": [["gr_warm_up", [["buffer", 0]], [1]]],
            })  # fmt: skip

    def compile(
        self, source: str, options: Sequence[str], buffers: dict[int, int], launches: Sequence[Launch]
    ) -> None:
        """Let the kernels of a program be compiled for these launches.

        Parameters
        ----------
        source, options
            As this process has built them.
        buffers : dict
            Number -> bytes.
        launches : sequence of (kernel, args, global size, local size)
            In the order in which this process needs them; an argument is ``("buffer", number)`` or the
            name of a NumPy dtype and a number.
        """
        distinct: dict[Any, Any] = {}
        for kernel, args, global_size, local_size in launches:
            if local_size is not None and 0 < min(global_size) and max(global_size) < _SMALL_GRID:
                distinct.setdefault((kernel, tuple(local_size)), [kernel, list(args), list(local_size)])
        wanted = list(distinct.values())
        asked = json.dumps([source, list(options), wanted])  # as text: a NaN is equal to itself
        with self._lock:
            if asked == self._asked and all(h.lives for h in self._helpers):
                return
            self._start()
            self._asked = asked
            count = len(self._helpers)
            for k, helper in enumerate(self._helpers):
                # Each begins at the end of a part of its own and works towards the start, as this process
                # works towards the end: two that meet have nothing left to compile twice.
                end = len(wanted) * (k + 2) // (count + 1)
                part = wanted[:end][::-1] + wanted[end:][::-1]
                self._tell(helper, {
                    "source": source, "options": list(options), "buffers": buffers, "launches": part,
                })  # fmt: skip

    def stop(self) -> None:
        """Let the processes end what they are at; they wait for more."""
        with self._lock:
            self._asked = ""
            for helper in self._helpers:
                self._tell(helper, {})

    def _tell(self, helper: _Helper, task: dict[str, Any]) -> None:
        helper.tell(json.dumps({"device": self._device, **task} if task else {}) + "\n")
