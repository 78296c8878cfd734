"""Binding a plan to devices and a session's state, and running it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from graphrun.compiler.plan import Plan
from graphrun.compiler.state import uninitialized
from graphrun.compiler.steps import Origin
from graphrun.errors import (
    DeviceError,
    ExecutionError,
    GraphrunError,
    InvalidArgumentError,
    OpError,
    RuleError,
    RunShapeError,
    ShapeError,
    message,
)
from graphrun.graph.descriptor import Spec
from graphrun.runtime.devices import forked
from graphrun.runtime.first_run import compiled_ahead, said_when_long
from graphrun.runtime.kernel_set import KernelSet
from graphrun.runtime.plan_function import FILE_NAME, FIRST_LINE, PlanFunction, no_room_for, result_buffers
from graphrun.runtime.store import Cell, Store
from graphrun.shapes import format_shape


class BoundPlan:
    """A plan whose buffers, kernels and states are fixed; `run` may be called from several threads.

    Parameters
    ----------
    plan : Plan
    store : Store
        The session's state.
    devices : function
        From a device's name to the device.
    """

    def __init__(self, plan: Plan, store: Store, devices: Callable[[str], Any]) -> None:
        self.plan = plan
        self.store = store
        self.devices = devices
        self.read_cells = [store.cell(key) for key in plan.read_states]
        self.host_cells = [store.cell(key) for _, key in plan.host_states]
        self.host_updates = [(store.cell(key), r) for key, r in plan.host_updates]
        self.device_updates = [
            (store.cell(key), device, plan.state_specs[key]) for key, device in plan.device_updates
        ]
        self.update_specs = [plan.state_specs[key] for key, _ in plan.host_updates]
        self.uses_devices = bool(plan.devices)
        self._unsettled = False
        self._process = os.getpid()
        writes = bool(plan.host_updates or plan.device_updates)
        # Fixed buffers admit one run at a time; a run that changes state must not lose another's change.
        self._lock = store.lock if writes or self.uses_devices else None
        self.buffers: list[Any] = []
        self._run: Callable[..., Any]
        self._state_buffers: list[tuple[Cell, str, int]] = []
        with said_when_long() if plan.sources else nullcontext():
            self._programs = {name: KernelSet(plan, name, devices(name)) for name in plan.sources}
        with store.lock:  # of two threads that bind plans of one variable, one makes its buffer
            self._bind()
        if any(kernels.cold for kernels in self._programs.values()):
            bound = self._run
            self._run = functools.partial(self._first_run, bound)

    # -- binding ------------------------------------------------------------------------------

    def _bind(self) -> None:
        plan = self.plan
        buffers: list[Any] = []
        state_buffers: list[tuple[Cell, str, int]] = []
        results = result_buffers(plan, self.devices)
        for number, info in enumerate(plan.buffers):
            device = self.devices(info.device)
            if info.kind in ("feed", "result") or number in results:
                buffer = None  # the fed array's own memory, or that of a result: another one in each run
            elif info.kind == "state":
                cell = self.store.cell(info.state)
                buffer = cell.buffers.get(info.device)
                if buffer is None or getattr(buffer, "size_bytes", info.size_bytes) != info.size_bytes:
                    if info.device in cell.valid:
                        self.store.host_value(cell, self.devices)
                        cell.valid.discard(info.device)
                    buffer = cell.buffers[info.device] = self._alloc(device, info.size_bytes, number)
                state_buffers.append((cell, info.device, number))
            else:
                buffer = self._alloc(device, info.size_bytes, number)
                if info.array is not None and info.size_bytes:
                    device.upload(buffer, np.ascontiguousarray(info.array))
            buffers.append(buffer)
        self.buffers, self._state_buffers = buffers, state_buffers
        function = PlanFunction(plan, self.devices, buffers, self._programs, results, self.store.cell)
        self._run = function.compiled()
        self._once = function.once

    def _alloc(self, device: Any, size_bytes: int, number: int) -> Any:
        try:
            return device.alloc(size_bytes)
        except DeviceError as fault:
            raise no_room_for(fault, self.plan, number) from None

    # -- running ------------------------------------------------------------------------------

    def _first_run(self, run: Callable[..., Any], feeds: Sequence[Any], states: Sequence[Any]) -> Any:
        with compiled_ahead(self.plan, self.devices, self._programs):
            result = run(feeds, states)
        self._run = run
        return result

    def run(self, feeds: Sequence[Any]) -> tuple[Any, ...]:
        """Run the plan on arrays of the plan's shapes and dtypes; return the fetched values."""
        if self.uses_devices and os.getpid() != self._process:
            raise forked(", ".join(self.plan.devices))
        if self._lock is None:
            return self._read(feeds) if self.host_cells else self._guarded(feeds, ())[0]
        with self._lock:
            if self.uses_devices:
                self._prepare_devices()
            try:
                fetched, updates = self._guarded(feeds, self._states())
            except BaseException:
                for changed in self._once:
                    changed.forget()
                for cell, device, _ in self.device_updates:
                    cell.version += 1
                    if cell.host is not None:  # the copy on the device may have been overwritten already
                        cell.valid.discard(device)
                try:
                    self._settle()
                except Exception:  # the next run tries again, and says so; this one has its reason already
                    pass
                raise
            with self.store.commit:
                for (cell, _), value, spec in zip(self.host_updates, updates, self.update_specs, strict=True):
                    if callable(value):
                        self.store.change_host(cell, value)
                    else:
                        self.store.set_host(cell, value, Spec(np.shape(value), spec.dtype))
                for cell, device, spec in self.device_updates:
                    cell.host = None
                    cell.spec = spec
                    cell.valid = {device}
                    cell.version += 1
            return fetched

    def _read(self, feeds: Sequence[Any]) -> tuple[Any, ...]:
        """A run that changes no state; others may go on beside it."""
        with self.store.commit:
            self.store.readers += 1
        try:
            return self._guarded(feeds, self._states())[0]
        finally:
            with self.store.commit:
                self.store.readers -= 1

    def _states(self) -> list[Any]:
        """The host values of states: all from before some run, or all from after it."""
        with self.store.commit:
            states = [c.host for c in self.host_cells]
        if any(s is None for s in states):
            with self.store.lock:  # no run is half done
                self._require_values()
                states = [self.store.host_value(c, self.devices) for c in self.host_cells]
        return states

    def _guarded(self, feeds: Sequence[Any], states: Sequence[Any]) -> Any:
        try:
            with np.errstate(all="ignore"):
                return self._run(feeds, states)
        except ShapeError as fault:  # of a plan that was made in this run, as that of an iteration
            raise RunShapeError.of(fault) from fault.__cause__
        except GraphrunError:
            raise
        except Exception as fault:
            # What a function of the user has raised is told with its own traceback.
            raise self._explain(fault) from (fault.__cause__ or fault)

    def _require_values(self) -> None:
        missing = [c for c in self.read_cells if c.spec is None]
        if missing:
            raise uninitialized(missing[0].key.op, len(missing) - 1)

    def _settle(self) -> None:
        """After a run that failed: launches must not write memory that the next run or the caller has."""
        self._unsettled = True  # until it is done, should this be interrupted too
        for name in self.plan.devices:
            self.devices(name).finish()
        self._unsettled = False

    def _prepare_devices(self) -> None:
        self._require_values()
        if self._unsettled:
            self._settle()
        for cell, device, number in self._state_buffers:
            if cell.buffers.get(device) is not self.buffers[number]:
                self._bind()  # another plan gave the variable another size
                break
        for cell, device, number in self._state_buffers:
            if cell.spec is not None and device not in cell.valid:
                host = self.store.host_value(cell, self.devices)
                if np.asarray(host).nbytes:
                    self.devices(device).upload(self.buffers[number], np.ascontiguousarray(host))
                cell.valid.add(device)

    def _explain(self, fault: Exception) -> Exception:
        """The error of a step, with the user's operation and line."""
        step = None
        trace = fault.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE_NAME:
                number = trace.tb_lineno - FIRST_LINE
                if 0 <= number < len(self.plan.steps):
                    step = self.plan.steps[number]
                break
            trace = trace.tb_next
        origin: Origin | None = getattr(step, "origin", None)
        if origin is None:
            return ExecutionError(message(f"the run failed: {type(fault).__name__}: {fault}"))
        device = getattr(step, "device", "cpu:0")
        # An operation's own function says what is wrong in the words of a rule; NumPy's errors are named.
        rule = fault if isinstance(fault, RuleError) else None
        kind: type[OpError] = ExecutionError
        if rule is not None:  # a rule knows classes that are for building a graph, too
            kind = rule.kind if issubclass(rule.kind, OpError) else InvalidArgumentError
        return kind(
            message(
                f"it failed on {device}: " + (str(fault) if rule else f"{type(fault).__name__}: {fault}"),
                where=f"{origin.op} '{origin.name}'",
                site=origin.site,
                got=[f"result {format_shape(s.shape)} {s.dtype}" for s in getattr(step, "specs", ())],
                expected=rule.expected if rule else "",
                fix=rule.fix if rule else "",
            )
        )
