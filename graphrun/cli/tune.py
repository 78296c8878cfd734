"""The command ``graphrun tune``: what a device does quickest, of a few ways to do it, kept in a file.

A kernel family's plans choose by an estimate.  For a short list of shapes, the ways with the best estimates
are compared with NumPy, then timed in turns; one that beats the default by more than noise, twice, is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphrun.cli.progress import Progress
from graphrun.cli.table import Column, number, render
from graphrun.cli.timing import alternate
from graphrun.cli.usage import UsageError, device_list
from graphrun.compiler.pipeline import compile_plan
from graphrun.compiler.placement import Target
from graphrun.device_names import NUMPY
from graphrun.dtypes import float32
from graphrun.graph.descriptor import Spec, Tuning
from graphrun.graph.graph import Graph
from graphrun.ops.linalg import matmul
from graphrun.ops.plans.gemm import ways_of_matmul
from graphrun.ops.state import placeholder
from graphrun.runtime.device_array import uploaded
from graphrun.runtime.devices import get_device
from graphrun.runtime.executor import BoundPlan
from graphrun.runtime.opencl import tuned
from graphrun.runtime.store import Store

DEFAULT_SECONDS = 60.0
# Of the ways to do a thing, so many are tried; more where there is time for a longer search.
WAYS, MORE_WAYS = 5, 12
LONG_SEARCH_S = 180.0
# A way has to take less than this share of the default's time to be worth a choice of its own.
MARGIN = 0.95


class Product(NamedTuple):
    """A product of an (m, k) and a (k, n) matrix, which may be stored transposed."""

    what: str
    m: int
    n: int
    k: int
    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        a, b = (self.m, self.k), (self.k, self.n)
        return a[::-1] if self.transpose_a else a, b[::-1] if self.transpose_b else b


PRODUCTS = (
    Product("square", 256, 256, 256), Product("square", 512, 512, 512), Product("square", 1024, 1024, 1024),
    Product("dense layer", 128, 512, 1024), Product("its weights' gradient", 1024, 512, 128, True),
    Product("its input's gradient", 128, 1024, 512, False, True),
    Product("wide batch", 4096, 256, 256), Product("one row", 1, 1024, 1024),
    Product("scores", 512, 512, 64, False, True),
)  # fmt: skip
MORE_PRODUCTS = (
    Product("square", 2048, 2048, 2048), Product("long sum", 256, 256, 8192),
    Product("wide batch's gradient", 256, 256, 4096, True), Product("vocabulary", 128, 8192, 512),
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    device: str = ""
    seconds: float = DEFAULT_SECONDS
    families: tuple[str, ...] = ()
    export_file: str | None = None
    import_file: str | None = None


class Bench(Protocol):
    """What measures: the class and ways of a case, and the seconds that each of some ways takes."""

    def ways(self, case: Product) -> tuple[str, list[str]]:
        """The class of shapes, and the names of the ways, the default first."""

    def measure(self, case: Product, shapes: str, ways: Sequence[str]) -> list[float | None]:
        """The median time of each way in seconds; None for one whose result is wrong."""


class DeviceBench:
    """Measures products on a device, operands and result staying there."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._rng = np.random.default_rng(0)

    def ways(self, case: Product) -> tuple[str, list[str]]:
        a, b = (Spec(s, float32) for s in case.shapes)
        attrs = {"transpose_a": case.transpose_a, "transpose_b": case.transpose_b}
        capabilities = replace(self._device.capabilities, tuning=Tuning())
        return ways_of_matmul([a, b], [Spec((case.m, case.n), float32)], attrs, capabilities)

    def measure(self, case: Product, shapes: str, ways: Sequence[str]) -> list[float | None]:
        a, b = (self._rng.standard_normal(s).astype(np.float32) for s in case.shapes)
        left, right = (x.T if t else x for x, t in ((a, case.transpose_a), (b, case.transpose_b)))
        want = left.astype(np.float64) @ right.astype(np.float64)
        placed = [uploaded(x, float32, self._device) for x in (a, b)]
        times: list[float | None] = [None] * len(ways)
        runs: dict[int, Callable[[], Any]] = {}
        for i, way in enumerate(ways):
            run = self._bound(case, shapes, way)
            error = np.abs(run(placed)[0].numpy() - want).max()
            if error <= 1e-4 * case.k**0.5:  # NaN is not

                def timed(run: Callable[[Any], Any] = run) -> None:
                    run(placed)
                    self._device.finish()

                runs[i] = timed
        for i, timing in zip(runs, alternate(list(runs.values()), budget_s=0.3), strict=True):
            times[i] = timing.median_s
        return times

    def _bound(self, case: Product, shapes: str, way: str) -> Callable[[Any], Any]:
        name = self._device.name
        with Graph().as_default():
            a, b = (placeholder(float32, s) for s in case.shapes)
            y = matmul(a, b, transpose_a=case.transpose_a, transpose_b=case.transpose_b)
        capabilities = replace(self._device.capabilities, tuning=Tuning((("gemm", shapes, way),)))
        plan = compile_plan(
            [y], [(t, t.spec) for t in (a, b)], lambda op: None, Target(name, {name: capabilities}, True),
            resident={a: name, b: name}, stay=True,
        )  # fmt: skip
        return BoundPlan(plan, Store(), lambda name: self._device).run


def tune(request: Request, bench: Bench | None = None, clock: Callable[[], float] = time.monotonic) -> int:
    """Run the command; return the exit status.

    Parameters
    ----------
    request : Request
    bench, clock
        What measures, and tells the time; the device and the system by default.
    """
    if request.import_file is not None:
        count = tuned.take(request.import_file)
        print(f"graphrun tune: {_choices(count)} from {request.import_file}")
    if request.export_file is not None:
        count = tuned.export(request.export_file)
        print(f"graphrun tune: {_choices(count)} written to {request.export_file}")
    if request.import_file is not None or request.export_file is not None:
        return 0
    device = get_device(_device_name(request.device))
    bench = DeviceBench(device) if bench is None else bench
    long = request.seconds >= LONG_SEARCH_S
    cases = PRODUCTS + MORE_PRODUCTS if long else PRODUCTS
    where = f"{device.name} ({device.report.device_name})"
    print(f"graphrun tune: gemm on {where}, up to {request.seconds:g} s\n")
    end = clock() + request.seconds
    found: list[tuned.Found] = []
    rows: list[list[str]] = []
    left = 0
    with Progress(len(cases)) as progress:
        for case in cases:
            sizes = f"{case.m} x {case.n} x {case.k}"
            if clock() >= end:
                left += 1
                continue
            progress.label(f"{case.what} {sizes}")
            row, result = _compared(bench, case, MORE_WAYS if long else WAYS)
            rows.append([case.what, sizes, *row])
            found += [] if result is None else [result]
            progress.advance()
    columns = [
        Column("product", right=False), Column("m x n x k"), Column("default", right=False), Column("ms"),
        Column("quickest", right=False), Column("ms"), Column("times as fast"),
    ]  # fmt: skip
    print(render(columns, rows))
    return _kept(device, found, left)


def _device_name(text: str) -> str:
    names = device_list(text or None)
    chosen = next((n for n in names if n != NUMPY), None)
    if chosen is None or (text and len(names) > 1):
        asked = f"--device {text}" if text else "no OpenCL device works here"
        raise UsageError(f"{asked}: one OpenCL device is tuned; `graphrun doctor` lists them")
    return chosen


def _compared(bench: Bench, case: Product, count: int) -> tuple[list[str], tuned.Found | None]:
    """The cells of a row, and what was found; None where the default cannot be measured."""
    shapes, ways = bench.ways(case)
    ways = ways[:count]
    if not ways:
        return ["no kernel takes it"], None
    times = bench.measure(case, shapes, ways)
    default_s = times[0]
    if default_s is None:
        return [ways[0], "its result differs from NumPy's"], None
    right = [(t, w) for t, w in zip(times, ways, strict=True) if t is not None]
    best_s, best = min(right)
    if best != ways[0] and best_s < MARGIN * default_s:
        # The best of several is partly luck, so that it has to win once more, against the default alone.
        again = bench.measure(case, shapes, [ways[0], best])
        if again[0] is not None and again[1] is not None and again[1] < MARGIN * again[0]:
            gain = again[0] / again[1]
            cells = [ways[0], _ms(again[0]), best, _ms(again[1]), f"{gain:.2f}"]
            return cells, tuned.Found("gemm", shapes, best, gain)
    return [ways[0], _ms(default_s), "the default"], tuned.Found("gemm", shapes, "", 1.0)


def _kept(device: Any, found: Sequence[tuned.Found], left: int) -> int:
    better = [f for f in found if f.choice]
    lines = [""]
    if found:
        path = tuned.remember(device.report, found)
        if path is None:
            sys.stderr.write("graphrun tune: the cache cannot be written, so nothing is kept\n")
            return 1
        lines.append(f"{_choices(len(better))} kept in {path}; new sessions use them")
    if left:
        lines.append(f"time is up before {left} of the shapes; --seconds gives it more")
    print("\n".join(lines))
    return 0 if found else 1


def _choices(count: int) -> str:
    return f"{count} choice{'' if count == 1 else 's'}"


def _ms(seconds: float) -> str:
    return number(seconds * 1e3)
