"""Binding a plan to devices and a session's state, and running it.

Binding writes a Python function with one line for each step, in which registers are local variables and
kernels are launchers whose arguments are set: a run does no look-up and builds no list.  Line numbers lead
from an exception back to the step, so the happy path pays nothing for good messages.
"""

from __future__ import annotations

import functools
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
from graphrun.errors import ExecutionError, GraphrunError, UninitializedError, message
from graphrun.graph.descriptor import Spec
from graphrun.runtime.store import Cell, Store
from graphrun.shapes import format_shape

_FIRST_LINE = 3  # of the steps in the generated function


def own(value: Any, foreign: Sequence[Any] = ()) -> Any:
    """A result that the caller may keep and change: a copy where it is a view or somebody else's array."""
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    if value.base is not None or not value.flags.writeable or any(value is f for f in foreign):
        return value.copy()
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
        writes = bool(plan.host_updates or plan.device_updates)
        # Fixed buffers admit one run at a time; a run that changes state must not lose another's change.
        self._lock = store.lock if writes or self.uses_devices else None
        self.buffers: list[Any] = []
        self._state_buffers: list[tuple[Cell, str, int]] = []
        self._bind()

    # -- binding ------------------------------------------------------------------------------

    def _bind(self) -> None:
        plan = self.plan
        programs = {name: self.devices(name).build(source) for name, source in plan.sources.items()}
        self.buffers = []
        self._state_buffers = []
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
                self._state_buffers.append((cell, info.device, number))
            else:
                buffer = device.alloc(info.size_bytes)
                if info.array is not None and info.size_bytes:
                    device.upload(buffer, np.ascontiguousarray(info.array))
            self.buffers.append(buffer)
        names: dict[str, Any] = {"own": own}
        lines: list[str] = []
        self._dead = self._last_uses()
        for number, step in enumerate(plan.steps):
            lines.append(self._line(number, step, names, programs))
        self._run = self._compile(lines, names)

    def _line(self, number: int, step: Any, names: dict[str, Any], programs: dict[str, Any]) -> str:
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
            kernel = programs[step.device].kernel(step.kernel)
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
        constants = {r for r, _ in plan.constants}
        foreign = [r for r, _ in plan.feeds] + [r for r, _ in plan.host_states] + sorted(constants)
        foreign += [r for _, r in plan.host_updates]
        produced = {
            r: s for s in plan.steps if isinstance(s, HostStep | DownloadStep)
            for r in (s.outputs if isinstance(s, HostStep) else (s.register,))
        }  # fmt: skip
        updated = {r for _, r in plan.host_updates}

        def result(r: int | None) -> str:
            if r is None:
                return "None"
            step = produced.get(r)
            fresh = isinstance(step, DownloadStep) or (
                isinstance(step, HostStep) and isinstance(step.function, np.ufunc)
            )
            if r in updated or not fresh:
                others = "".join(f"r{f}, " for f in dict.fromkeys(foreign) if f != r or r in updated)
                return f"own(r{r}, ({others}))"
            spec_is_scalar = isinstance(step, DownloadStep) and step.place.spec.shape == ()
            return f"r{r}[()]" if spec_is_scalar else f"r{r}"

        fetches = "".join(f"{result(r)}, " for r in plan.fetches)
        updates = []
        for _, r in plan.host_updates:
            others = [f for f in dict.fromkeys(foreign) if f not in updated]
            updates.append(f"own(r{r}, ({''.join(f'r{f}, ' for f in others)})), ")
        head = f"    ({feeds}) = feeds" if feeds else "    pass"
        middle = f"    ({states}) = states" if states else "    pass"
        source = "\n".join(
            ["def run(feeds, states):", f"{head}; {middle.strip()}"]
            + [f"    {line}" for line in lines]
            + [f"    return ({fetches}), ({''.join(updates)})"]
        )
        exec(compile(source, "<graphrun plan>", "exec"), names)
        return names["run"]

    # -- running ------------------------------------------------------------------------------

    def run(self, feeds: Sequence[Any]) -> tuple[Any, ...]:
        """Run the plan on arrays of the plan's shapes and dtypes; return the fetched values."""
        if self._lock is None:
            states = [c.host for c in self.host_cells]
            if any(s is None for s in states):
                states = self._fetch_states()
            return self._guarded(feeds, states)[0]
        with self._lock:
            if self.uses_devices:
                self._prepare_devices()
            states = [c.host for c in self.host_cells]
            if any(s is None for s in states):
                states = self._fetch_states()
            fetched, updates = self._guarded(feeds, states)
            for (cell, _), value, spec in zip(self.host_updates, updates, self.update_specs, strict=True):
                cell.host = value
                cell.spec = Spec(np.shape(value), spec.dtype)
                cell.valid.clear()
            for cell, device, spec in self.device_updates:
                cell.host = None
                cell.spec = spec
                cell.valid = {device}
            return fetched

    def _guarded(self, feeds: Sequence[Any], states: Sequence[Any]) -> Any:
        try:
            with np.errstate(all="ignore"):
                return self._run(feeds, states)
        except GraphrunError:
            raise
        except Exception as fault:
            raise self._explain(fault) from fault

    def _fetch_states(self) -> list[Any]:
        self._require_values()
        return [self.store.host_value(c, self.devices) for c in self.host_cells]

    def _require_values(self) -> None:
        missing = [c for c in self.read_cells if c.spec is None]
        if missing:
            op = missing[0].key.op
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UninitializedError(
                message(
                    f"variable '{op.name}' has no value in this session{more}",
                    got=f"it is {format_shape(op.outputs[0]._shape)} {op.outputs[0].dtype}",
                    site=op.site,
                    fix="run gr.global_variables_initializer() in this session first",
                )
            )

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
        return ExecutionError(
            message(
                f"it failed on {device}: {type(fault).__name__}: {fault}",
                where=f"{origin.op} '{origin.name}'",
                site=origin.site,
                got=[f"result {format_shape(s.shape)} {s.dtype}" for s in getattr(step, "specs", ())],
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
