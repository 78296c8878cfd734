"""Runs loops that are not unrolled: the plan of one iteration is compiled once and replayed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.ir import Program
from graphrun.compiler.loops import Repeated
from graphrun.compiler.pipeline import compile_program
from graphrun.compiler.placement import Target
from graphrun.compiler.plan import Plan
from graphrun.compiler.repeat import COUNT, LoopKey, first_test, iteration
from graphrun.compiler.specialize import Found
from graphrun.device_names import runs_kernels
from graphrun.dtypes import as_dtype, int32
from graphrun.errors import ExecutionError, message
from graphrun.graph.descriptor import Spec
from graphrun.runtime.stages import Stage, compiled, remember, run_stages
from graphrun.runtime.store import Store
from graphrun.shapes import format_shape, is_static

# Plans of one loop, for shapes that change from one iteration to the next.
MAX_PLANS = 64
FIRST_CAPACITY = 16


class LoopRunner:
    """What a step that is a loop calls.

    Parameters
    ----------
    repeated : Repeated
    target : Target
        The session's devices; the iterations run there, and only what comes in and goes out passes the host.
    devices : function
        From a device's name to the device.
    where, site
        Of the user's operation, for messages.
    """

    def __init__(
        self, repeated: Repeated, target: Target, devices: Callable[[str], Any], where: str, site: Any
    ) -> None:
        self._repeated = repeated
        self._target = target
        self._devices = devices
        self._where, self._site = where, site
        self._stages: OrderedDict[Any, Stage] = OrderedDict()
        self._store = Store()
        self._lock = threading.Lock()
        self._thread: int | None = None  # that holds the lock
        self._inner: LoopRunner | None = None
        asked = [r for r, a in zip(repeated.rows, repeated.saved, strict=True) if a]
        # On the host a list of saved values is as good as an array that they are copied into.
        self._stacked = (
            bool(asked) and runs_kernels(target.default) and all(is_static(r.shape) for r in asked)
        )
        self._capacity = repeated.count or FIRST_CAPACITY

    def plans(self, specs: Sequence[Spec]) -> tuple[tuple[str, Plan], ...]:
        """The plans for inputs of these shapes, each with what it does."""
        found = []
        if self._repeated.count is None:
            found.append(("before the first iteration", self._staged(specs, True).bound.plan))
            title = "each iteration, until the last value is false"
        else:
            title = f"each of {self._repeated.count} iterations"
        return (*found, (title, self._staged(specs, False).bound.plan))

    def __call__(self, *inputs: Any) -> Any:
        if self._thread == threading.get_ident():
            # A Python function in the body runs the loop that it is in: with states of its own.
            if self._inner is None:
                self._inner = LoopRunner(self._repeated, self._target, self._devices, self._where, self._site)
            return self._inner(*inputs)
        with self._lock:
            self._thread = threading.get_ident()
            try:
                return self._run([np.asarray(v) for v in inputs])
            finally:
                self._thread = None

    def _run(self, inputs: Sequence[np.ndarray]) -> Any:
        repeated, store = self._repeated, self._store
        loop = repeated.loop
        specs = [Spec(v.shape, as_dtype(v.dtype)) for v in inputs]
        for i, value in enumerate(inputs):
            if i not in repeated.constants:
                # A view, so that nothing is written into the caller's array.
                store.set_host(store.cell(LoopKey("input", i)), value[...], specs[i])
        rows: list[list[Any]] = [[] for asked in repeated.saved if asked]
        if self._stacked:
            store.set_host(store.cell(COUNT), np.int32(0), Spec((), int32))
            self._open_stacks(self._capacity)
        count = 0
        goes_on = repeated.count is None and bool(self._stage(specs, True)[0])
        while goes_on or (repeated.count is not None and count < repeated.count):
            if self._stacked and count == self._capacity:
                self._grow()
            fetched = self._stage(specs, False)
            if repeated.count is None:
                goes_on = bool(fetched[0])
                fetched = fetched[1:]
            for kept, value in zip(rows, fetched, strict=False):
                kept.append(value)
            count += 1
            for i in repeated.alive:
                specs[i] = store.cell(LoopKey("input", i)).spec  # type: ignore[assignment]
        results: list[Any] = []
        saved = iter(self._saved(rows, count))
        for i, source in enumerate(loop.results):
            if source is not None:
                results.append(self._value(source, inputs))
            elif i == loop.count:
                results.append(np.int32(count))
            else:
                asked = repeated.saved[i - loop.count - 1]
                results.append(
                    next(saved) if asked else np.zeros((0,), repeated.rows[i - loop.count - 1].dtype.numpy)
                )
        return tuple(results) if len(results) > 1 else results[0]

    def _value(self, source: int, inputs: Sequence[np.ndarray]) -> Any:
        if source not in self._repeated.alive:
            return inputs[source]
        return self._store.host_value(self._store.cell(LoopKey("input", source)), self._devices)

    # -- plans ------------------------------------------------------------------------------------

    def _stage(self, specs: Sequence[Spec], test: bool) -> tuple[Any, ...]:
        """Run the test, or an iteration."""
        stage = self._staged(specs, test)
        if not stage.is_first:
            return stage.bound.run(())
        with self._store.lock:
            return run_stages(stage, (), lambda found: self._compiled(specs, test, found), MAX_PLANS)

    def _staged(self, specs: Sequence[Spec], test: bool) -> Stage:
        key = (test, tuple(s.shape for s in specs), self._capacity if self._stacked else None)
        stage = self._stages.get(key)
        if stage is None:
            stage = self._compiled(specs, test, Found())
            remember(self._stages, key, stage, MAX_PLANS)
        return stage

    def _compiled(self, specs: Sequence[Spec], test: bool, found: Found) -> Stage:
        def compile(found: Found) -> Plan:
            return compile_program(self._program(specs, test), self._target, found)

        return compiled(compile, found, self._store, self._devices)

    def _program(self, specs: Sequence[Spec], test: bool) -> Program:
        if test:
            return first_test(self._repeated, specs)
        return iteration(self._repeated, specs, self._capacity if self._stacked else None)

    # -- saved values -----------------------------------------------------------------------------

    def _stack_cells(self) -> list[tuple[Any, Spec]]:
        r = self._repeated
        return [
            (self._store.cell(LoopKey("stack", j)), r.rows[j]) for j, asked in enumerate(r.saved) if asked
        ]

    def _open_stacks(self, capacity: int) -> None:
        for cell, row in self._stack_cells():
            spec = Spec((capacity, *row.dims), row.dtype)
            if cell.spec != spec or not cell.valid:
                self._store.set_host(cell, np.zeros(spec.dims, row.dtype.numpy), spec)

    def _grow(self) -> None:
        """Double the stacks, whose values pass through the host."""
        old, self._capacity = self._capacity, 2 * self._capacity
        for cell, row in self._stack_cells():
            value: Any = self._store.host_value(cell, self._devices)
            spec = Spec((self._capacity, *row.dims), row.dtype)
            grown = np.zeros(spec.dims, row.dtype.numpy)
            grown[:old] = value
            self._store.set_host(cell, grown, spec)

    def _saved(self, rows: list[list[Any]], count: int) -> list[Any]:
        if self._stacked:
            return [self._store.host_value(cell, self._devices)[:count] for cell, _ in self._stack_cells()]  # type: ignore[index]
        specs = [r for r, a in zip(self._repeated.rows, self._repeated.saved, strict=True) if a]
        stacks = []
        for values, row in zip(rows, specs, strict=True):
            shapes = {np.shape(v) for v in values}
            if len(shapes) > 1:
                raise ExecutionError(
                    message(
                        "a value that its gradient needs changes its shape from one iteration to the next",
                        where=self._where,
                        site=self._site,
                        got=", ".join(format_shape(s) for s in sorted(shapes)[:3]),
                        fix="give the loop's values one shape, for example by padding",
                    )
                )
            empty = np.zeros((0, *(d or 0 for d in row.shape or ())), row.dtype.numpy)
            stacks.append(np.stack(values) if values else empty)
        return stacks
