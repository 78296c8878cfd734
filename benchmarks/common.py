"""What the benchmarks share: timing a call, naming the machine, and saying whether a limit is kept."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import graphrun as gr
from graphrun.cli.usage import device_list


class Time(NamedTuple):
    """Seconds of one call."""

    median_s: float
    min_s: float


def time_calls(call: Callable[[], object], calls: int, batches: int = 15, warm_up: int = 20) -> Time:
    """Return the time of one call, from batches of `calls` so that the clock itself costs nothing."""
    for _ in range(warm_up):
        call()
    samples_s = []
    for _ in range(batches):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        samples_s.append((time.perf_counter() - begin) / calls)
    return Time(statistics.median(samples_s), min(samples_s))


def time_once(call: Callable[[], object]) -> tuple[object, float]:
    """Return a call's result and its seconds, garbage of earlier work collected beforehand."""
    gc.collect()
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def verdict(value: float, limit: float) -> str:
    """Return ``ok`` or ``over``."""
    return "ok" if value <= limit else "over"


def machine() -> str:
    """Return one line about software; times of two machines are not compared."""
    return (
        f"graphrun {gr.__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}"
    )


def devices_of(description: str, argv: list[str] | None = None) -> tuple[str, ...]:
    """Parse a benchmark's command line, which has one option: ``--devices cpu,opencl:0``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--devices", help="as cpu,opencl:0; NumPy and every working OpenCL device by default")
    return device_list(parser.parse_args(argv).devices)
