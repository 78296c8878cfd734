"""Binding a plan to devices and a session's state, and running it.

Binding writes a Python function with one line for each step, in which registers are local variables and
kernels are launchers whose arguments are set: a run does no look-up and builds no list.  Line numbers lead
from an exception back to the step, so the happy path pays nothing for good messages.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.plan import (
    CopyStep,
    DownloadStep,
    HostStep,
    LaunchStep,
    Origin,
    Plan,
    UploadStep,
)  # fmt: skip
from graphrun.compiler.state import uninitialized
from graphrun.errors import ExecutionError, GraphrunError, RuleError, message
from graphrun.graph.descriptor import Spec
from graphrun.runtime.devices import forked
from graphrun.runtime.store import Cell, Store
from graphrun.shapes import format_shape

_FIRST_LINE = 3  # of the steps in the generated function


def own(value: Any, taken: set[int]) -> Any:
    """A result that its receiver may keep and change: a copy of a view, and of an array that is somebody's.

    `taken` holds the ``id`` of every array that has an owner; the result's is added.
    """
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    if value.base is not None or not value.flags.writeable or id(value) in taken:
        value = value.copy()
    taken.add(id(value))
    return value


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
        self._process = os.getpid()
        writes = bool(plan.host_updates or plan.device_updates)
        # Fixed buffers admit one run at a time; a run that changes state must not lose another's change.
        self._lock = store.lock if writes or self.uses_devices else None
        self.buffers: list[Any] = []
        self._state_buffers: list[tuple[Cell, str, int]] = []
        self._programs = {name: devices(name).build(source) for name, source in plan.sources.items()}
        with store.lock:  # of two threads that bind plans of one variable, one makes its buffer
            self._bind()

    # -- binding ------------------------------------------------------------------------------

    def _bind(self) -> None:
        plan = self.plan
        buffers: list[Any] = []
        state_buffers: list[tuple[Cell, str, int]] = []
        for number, info in enumerate(plan.buffers):
            device = self.devices(info.device)
            if info.kind == "state":
                cell = self.store.cell(info.state)
                buffer = cell.buffers.get(info.device)
                if buffer is None or getattr(buffer, "size_bytes", info.size_bytes) != info.size_bytes:
                    if info.device in cell.valid:
                        self.store.host_value(cell, self.devices)
                        cell.valid.discard(info.device)
                    buffer = cell.buffers[info.device] = device.alloc(info.size_bytes)
                state_buffers.append((cell, info.device, number))
            else:
                buffer = device.alloc(info.size_bytes)
                if info.array is not None and info.size_bytes:
                    device.upload(buffer, np.ascontiguousarray(info.array))
            buffers.append(buffer)
        self.buffers, self._state_buffers = buffers, state_buffers
        names: dict[str, Any] = {"own": own}
        lines: list[str] = []
        self._dead = self._last_uses()
        for number, step in enumerate(plan.steps):
            lines.append(self._line(number, step, names))
        # A download waits for all that was queued before it; a run that ends without one waits here, so
        # that the queue cannot grow and a run's time is its own.
        last = {step.device: step for step in plan.steps if not isinstance(step, HostStep)}
        for device_name, final in last.items():
            if not isinstance(final, DownloadStep):
                names[f"w{len(lines)}"] = self.devices(device_name).finish
                lines.append(f"w{len(lines)}()")
        self._run = self._compile(lines, names)

    def _line(self, number: int, step: Any, names: dict[str, Any]) -> str:
        if isinstance(step, HostStep):
            names[f"f{number}"] = (
                functools.partial(step.function, **step.attrs) if step.attrs else step.function
            )
            inputs = ", ".join(f"r{r}" for r in step.inputs)
            if len(step.outputs) == 1:
                line = f"r{step.outputs[0]} = f{number}({inputs})"
            else:
                line = f"{''.join(f'r{r}, ' for r in step.outputs)} = f{number}({inputs})"
        elif isinstance(step, UploadStep):
            device = self.devices(step.device)
            names[f"f{number}"] = functools.partial(
                _upload, device, self.buffers[step.place.buffer], step.place
            )
            line = f"f{number}(r{step.register})"
        elif isinstance(step, DownloadStep):
            device = self.devices(step.device)
            place = step.place
            names[f"f{number}"] = functools.partial(
                device.download, self.buffers[place.buffer], place.spec.shape, place.spec.dtype.numpy,
                place.offset_bytes,
            )  # fmt: skip
            line = f"r{step.register} = f{number}()"
        elif isinstance(step, CopyStep):
            device = self.devices(step.device)
            names[f"f{number}"] = functools.partial(
                device.copy, self.buffers[step.target.buffer], self.buffers[step.source.buffer],
                step.source.size_bytes, step.target.offset_bytes, step.source.offset_bytes,
            )  # fmt: skip
            line = f"f{number}()"
        else:
            assert isinstance(step, LaunchStep)
            device = self.devices(step.device)
            args: list[Any] = []
            for kind, value in step.args:
                if kind == "buffer":
                    args += [self.buffers[value.buffer], np.uint64(value.offset)]
                else:
                    args.append(_scalar(kind, value))
            kernel = self._programs[step.device].kernel(step.kernel)
            names[f"f{number}"] = device.launcher(kernel, args, step.global_size, step.local_size)
            line = f"f{number}()"
        dead = self._dead.get(number)
        return f"{line}; {' = '.join(f'r{r}' for r in dead)} = None" if dead else line

    def _last_uses(self) -> dict[int, list[int]]:
        """Registers that no step reads after a given one: NumPy frees what they hold."""
        last: dict[int, int] = {}
        for number, step in enumerate(self.plan.steps):
            if isinstance(step, HostStep):
                for r in (*step.inputs, *step.outputs):
                    last[r] = number
            elif isinstance(step, UploadStep | DownloadStep):
                last[step.register] = number
        keep = {r for r in self.plan.fetches if r is not None} | {r for _, r in self.plan.host_updates}
        keep |= {r for r, _ in self.plan.feeds} | {r for r, _ in self.plan.constants}
        keep |= {r for r, _ in self.plan.host_states}
        dead: dict[int, list[int]] = {}
        for r, number in last.items():
            if r not in keep:
                dead.setdefault(number, []).append(r)
        return dead

    def _compile(self, lines: list[str], names: dict[str, Any]) -> Callable[..., Any]:
        plan = self.plan
        feeds = "".join(f"r{r}, " for r, _ in plan.feeds)
        states = "".join(f"r{r}, " for r, _ in plan.host_states)
        for r, array in plan.constants:
            names[f"r{r}"] = array
        head = f"({feeds}) = feeds" if feeds else "pass"
        middle = f"({states}) = states" if states else "pass"
        source = "\n".join(
            ["def run(feeds, states):", f"    {head}; {middle}"]
            + [f"    {line}" for line in [*lines, *self._results()]]
        )
        exec(compile(source, "<graphrun plan>", "exec"), names)
        # Not left in its own globals: that circle would keep buffers until the collector comes by.
        return names.pop("run")

    def _results(self) -> list[str]:
        """The last lines: fetched values, and the new values of states on the host."""
        plan = self.plan
        updates = [r for _, r in plan.host_updates]
        results = [r for r in plan.fetches if r is not None] + updates
        steps = {
            r: s for s in plan.steps if isinstance(s, HostStep | DownloadStep)
            for r in (s.outputs if isinstance(s, HostStep) else (s.register,))
        }  # fmt: skip

        def is_new(r: int) -> bool:
            """Whether the step makes an array that nothing else can refer to."""
            step = steps.get(r)
            return isinstance(step, DownloadStep) or (
                isinstance(step, HostStep) and isinstance(step.function, np.ufunc)
            )

        if len(set(results)) == len(results) and all(is_new(r) for r in results):

            def result(r: int) -> str:
                step = steps[r]
                return (
                    f"r{r}[()]" if isinstance(step, DownloadStep) and not step.place.spec.shape else f"r{r}"
                )

            lines = []
        else:

            def result(r: int) -> str:
                return f"own(r{r}, taken)"

            others = [r for r, _ in (*plan.feeds, *plan.host_states, *plan.constants)]
            lines = [f"taken = {{{', '.join(f'id(r{r})' for r in others)}}}" if others else "taken = set()"]
        # Variables come first, so that a value that is fetched too is copied for the caller and not for them.
        lines.append(f"updates = ({''.join(f'{result(r)}, ' for r in updates)})")
        fetches = "".join("None, " if r is None else f"{result(r)}, " for r in plan.fetches)
        return [*lines, f"return ({fetches}), updates"]

    # -- running ------------------------------------------------------------------------------

    def run(self, feeds: Sequence[Any]) -> tuple[Any, ...]:
        """Run the plan on arrays of the plan's shapes and dtypes; return the fetched values."""
        if self.uses_devices and os.getpid() != self._process:
            raise forked(", ".join(self.plan.devices))
        if self._lock is None:
            return self._guarded(feeds, self._states() if self.host_cells else ())[0]
        with self._lock:
            if self.uses_devices:
                self._prepare_devices()
            try:
                fetched, updates = self._guarded(feeds, self._states())
            except BaseException:
                for cell, device, _ in self.device_updates:
                    if cell.host is not None:  # the copy on the device may have been overwritten already
                        cell.valid.discard(device)
                raise
            with self.store.commit:
                for (cell, _), value, spec in zip(self.host_updates, updates, self.update_specs, strict=True):
                    self.store.set_host(cell, value, Spec(np.shape(value), spec.dtype))
                for cell, device, spec in self.device_updates:
                    cell.host = None
                    cell.spec = spec
                    cell.valid = {device}
            return fetched

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
        except GraphrunError:
            raise
        except Exception as fault:
            raise self._explain(fault) from fault

    def _require_values(self) -> None:
        missing = [c for c in self.read_cells if c.spec is None]
        if missing:
            raise uninitialized(missing[0].key.op, len(missing) - 1)

    def _prepare_devices(self) -> None:
        self._require_values()
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
            if trace.tb_frame.f_code.co_filename == "<graphrun plan>":
                number = trace.tb_lineno - _FIRST_LINE
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
        return ExecutionError(
            message(
                f"it failed on {device}: " + (str(fault) if rule else f"{type(fault).__name__}: {fault}"),
                where=f"{origin.op} '{origin.name}'",
                site=origin.site,
                got=[f"result {format_shape(s.shape)} {s.dtype}" for s in getattr(step, "specs", ())],
                expected=rule.expected if rule else "",
                fix=rule.fix if rule else "",
            )
        )


def _upload(device: Any, buffer: Any, place: Any, value: Any) -> None:
    array = np.ascontiguousarray(value, place.spec.dtype.numpy)
    if array.nbytes:
        device.upload(buffer, array, place.offset_bytes)


_CTYPES = {
    "int": np.int32, "uint": np.uint32, "long": np.int64, "ulong": np.uint64, "float": np.float32,
    "double": np.float64, "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16,
}  # fmt: skip


def _scalar(ctype: str, value: Any) -> Any:
    return _CTYPES[ctype](value)
