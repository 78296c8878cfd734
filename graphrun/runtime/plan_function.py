"""The Python function that runs a bound plan: one line for each step.

Registers are local variables and kernels are launchers whose arguments are set, so a run does no look-up
and builds no list.  Line numbers lead from an exception back to the step, so the happy path pays nothing for
good messages.

On a device that shares the host's memory (`Capabilities.zero_copy`) small values are copied by plain
assignments, large fed arrays are read where they lie, and large results are written where the caller reads
them: the buffers of those are other ones in each run (`b3`), and the kernels are told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.plan import Plan
from graphrun.compiler.steps import (
    BindStep,
    CopyStep,
    DownloadStep,
    HostStep,
    KeepStep,
    LaunchStep,
    UploadStep,
    places_of,
)
from graphrun.errors import DeviceError, format_site
from graphrun.runtime.device_array import DeviceMemory
from graphrun.runtime.results import Owner, ResultMemory
from graphrun.runtime.store import Cell
from graphrun.shapes import num_elements

FIRST_LINE = 3  # of the steps
FILE_NAME = "<graphrun plan>"

# Results of this size and more are written into memory of their own; a copy of less costs less than that.
RESULT_BYTES = 65536
# Memory beyond the result's own size that a slot may have and still be handed out with the result.
_SLACK = 1.25
# Uploads up to this size are queued from a copy, and not waited for.
_QUEUED_UPLOAD_BYTES = 65536


def own(value: Any, taken: set[int]) -> Any:
    """A result that its receiver may keep and change: a copy of a view, and of an array that is somebody's.

    `taken` holds the ``id`` of every array that has an owner; the result's is added.
    """
    if not isinstance(value, np.ndarray):
        return value
    if value.ndim == 0:
        return value[()]
    a_view = value.base is not None and not isinstance(value.base, Owner)
    if a_view or not value.flags.writeable or id(value) in taken:
        value = value.copy()
    taken.add(id(value))
    return value


def no_room_for(fault: DeviceError, plan: Plan, number: int) -> DeviceError:
    """The error of a buffer that cannot be had, with the operation whose value is the largest in it."""
    found = None
    size_bytes = -1
    for step in plan.steps:
        for place in places_of(step):
            if place.buffer == number and place.size_bytes > size_bytes:
                found, size_bytes = step, place.size_bytes
    origin = getattr(found, "origin", None)
    if origin is None:
        return fault
    where = f"{origin.op} '{origin.name}'"
    return type(fault)(f"{where}: {fault}" + "".join(f"\n  {s}" for s in [format_site(origin.site)] if s))


class Changed:
    """Whether a state has another value than when this was asked last; a constant (None) has so once."""

    def __init__(self, cell: Cell | None) -> None:
        self._cell = cell
        self._seen = -1

    def __call__(self) -> bool:
        version = 0 if self._cell is None else self._cell.version
        if version == self._seen:
            return False
        self._seen = version
        return True

    def forget(self) -> None:
        """Let the next answer be yes."""
        self._seen = -1


def result_buffers(plan: Plan, devices: Callable[[str], Any]) -> dict[int, DownloadStep]:
    """Slots that lie in the memory of a result: only launches use them, and the download comes last."""
    touched: dict[int, list[Any]] = {}
    for step in plan.steps:
        for n in _buffers_of(step):
            touched.setdefault(n, []).append(step)
    found = {}
    for n, steps in touched.items():
        last = steps[-1]
        if (
            plan.buffers[n].kind == "slot"
            and isinstance(last, DownloadStep)
            and all(isinstance(s, LaunchStep) for s in steps[:-1])
            and devices(last.device).capabilities.zero_copy
            and last.place.offset == 0
            and last.place.size_bytes >= RESULT_BYTES
            and plan.buffers[n].size_bytes <= _SLACK * last.place.size_bytes
        ):
            found[n] = last
    return found


def _buffers_of(step: Any) -> set[int]:
    if isinstance(step, LaunchStep):
        return {p.buffer for kind, p in step.args if kind == "buffer"}
    if isinstance(step, CopyStep):
        return {step.source.buffer, step.target.buffer}
    return set() if isinstance(step, HostStep) else {step.place.buffer}


class PlanFunction:
    """Writes the function of a plan.

    Parameters
    ----------
    plan : Plan
    devices : function
        From a device's name to the device.
    buffers : sequence
        The buffer of each `BufferInfo`; None for those that are other ones in each run.
    programs : dict
        The built program of each device.
    results : dict
        From `result_buffers`.
    cell : function
        From the key of a state to where its value is kept.
    """

    def __init__(
        self, plan: Plan, devices: Callable[[str], Any], buffers: Sequence[Any], programs: dict[str, Any],
        results: dict[int, DownloadStep], cell: Callable[[Any], Cell],
    ) -> None:  # fmt: skip
        self.plan = plan
        self.devices = devices
        self.buffers = buffers
        self.programs = programs
        self._names: dict[str, Any] = {"own": own}
        self._head: list[str] = []
        self._queued: set[str] = set()  # devices with work that nobody has waited for
        self._feeds = {k for k, info in enumerate(plan.buffers) if info.kind == "feed"}
        self._results = results
        self._memories = {
            k: DeviceMemory(devices(info.device), info.size_bytes)
            for k, info in enumerate(plan.buffers) if info.kind == "result"
        }  # fmt: skip
        # Buffers that are other ones in each run.
        self._passing = self._feeds | set(results) | set(self._memories)
        self._cell = cell
        self.once: list[Changed] = []
        # Kernels and argument numbers that are told, in each run, where a buffer is.
        self._told: dict[int, list[tuple[Any, int]]] = {}

    def compiled(self) -> Callable[..., Any]:
        """Return ``run(feeds, states)``, which returns fetched values and the new values of host states."""
        steps = self.plan.steps
        dead = self._last_uses()
        # Launches come first, since lines before them tell them where their buffers are.
        launches = {n: self._launch(n, s) for n, s in enumerate(steps) if isinstance(s, LaunchStep)}
        for buffer, download in self._results.items():
            self._take(buffer, download)
        for buffer, memory in self._memories.items():
            self._names[f"t{buffer}"] = self._taking(memory, buffer)
            self._head.append(f"b{buffer} = t{buffer}(){self._tell(buffer)}")
        lines = []
        for number, step in enumerate(steps):
            if isinstance(step, LaunchStep):
                line = launches[number]
                self._queued.add(step.device)
            else:
                line = self._line(number, step)
            if number in dead:
                line += f"; {' = '.join(f'r{r}' for r in dead[number])} = None"
            lines.append(line)
        # A run that ends without a download waits here, so that the queue cannot grow, a run's time is its
        # own, and the next one finds memory that nobody writes.
        lines += [self._wait(device) for device in sorted(self._queued)]
        return self._compile(lines)

    # -- lines --------------------------------------------------------------------------------

    def _line(self, number: int, step: Any) -> str:
        if isinstance(step, HostStep):
            self._names[f"f{number}"] = (
                functools.partial(step.function, **step.attrs) if step.attrs else step.function
            )
            inputs = ", ".join(f"r{r}" for r in step.inputs)
            if len(step.outputs) == 1:
                return f"r{step.outputs[0]} = f{number}({inputs})"
            return f"{''.join(f'r{r}, ' for r in step.outputs)} = f{number}({inputs})"
        if isinstance(step, UploadStep):
            return self._upload(number, step)
        if isinstance(step, DownloadStep):
            return self._download(number, step)
        if isinstance(step, BindStep):
            self._names["buffer_of"] = _buffer_of
            return f"b{step.place.buffer} = buffer_of(r{step.register}){self._tell(step.place.buffer)}"
        if isinstance(step, KeepStep):
            memory = self._memories[step.place.buffer]
            self._names[f"f{number}"] = functools.partial(memory.array, step.place.spec)
            return f"r{step.register} = f{number}(b{step.place.buffer})"
        assert isinstance(step, CopyStep)
        self._queued.add(step.device)
        self._names["copy_" + step.device.replace(":", "_")] = self.devices(step.device).copy
        target, source = self._buffer(step.target.buffer), self._buffer(step.source.buffer)
        size, to, start = step.source.size_bytes, step.target.offset_bytes, step.source.offset_bytes
        return f"copy_{step.device.replace(':', '_')}({target}, {source}, {size}, {to}, {start})"

    def _buffer(self, number: int) -> str:
        """The name of a buffer in the function."""
        if number not in self._passing:
            self._names[f"b{number}"] = self.buffers[number]
        return f"b{number}"

    def _launch(self, number: int, step: LaunchStep) -> str:
        device = self.devices(step.device)
        kernel = self.programs[step.device].kernel(step.kernel)
        args: list[Any] = []
        for kind, value in step.args:
            if kind != "buffer":
                args.append(_scalar(kind, value))
                continue
            buffer = self.buffers[value.buffer]
            if value.buffer in self._passing:
                self._told.setdefault(value.buffer, []).append((kernel, len(args)))
                buffer = buffer or device.alloc(0)
            args += [buffer, np.uint64(value.offset)]
        try:
            self._names[f"f{number}"] = device.launcher(kernel, args, step.global_size, step.local_size)
        except DeviceError as fault:
            raise type(fault)(f"{fault}\n  {step.origin}") from None
        if step.once is None:
            return f"f{number}()"
        changed = Changed(None if step.once == "constant" else self._cell(step.once))
        self.once.append(changed)
        self._names[f"c{number}"] = changed
        return f"if c{number}(): f{number}()"

    def _tell(self, buffer: int) -> str:
        """Code that passes the local variable of a buffer to all kernels that use it."""
        parts = []
        for k, (kernel, index) in enumerate(self._told.get(buffer, ())):
            self._names[f"s{buffer}_{k}"] = functools.partial(kernel.set_arg, index)
            parts.append(f"; s{buffer}_{k}(b{buffer})")
        return "".join(parts)

    def _upload(self, number: int, step: UploadStep) -> str:
        device, place = self.devices(step.device), step.place
        shape, dtype = place.spec.dims, place.spec.dtype.numpy
        n = place.buffer
        if not place.size_bytes:
            return "pass"
        if n in self._feeds:
            self._names[f"f{number}"] = functools.partial(_in_place, device.over, dtype)
            return f"b{n} = f{number}(r{step.register}){self._tell(n)}"
        buffer = self.buffers[n]
        if device.capabilities.zero_copy:
            self._names[f"v{number}"] = device.view(buffer, shape, dtype, place.offset_bytes)
            # A launch that is under way may still read what was here before.
            wait = f"{self._wait(step.device)}; " if step.device in self._queued else ""
            return f"{wait}v{number}[...] = r{step.register}"
        if place.size_bytes <= _QUEUED_UPLOAD_BYTES:
            self._names[f"f{number}"] = device.uploader(buffer, shape, dtype, place.offset_bytes)
            self._queued.add(step.device)
            return f"e{number} = f{number}(r{step.register})"
        self._names[f"f{number}"] = functools.partial(_upload, device, buffer, place)
        return f"f{number}(r{step.register})"

    def _download(self, number: int, step: DownloadStep) -> str:
        device, place = self.devices(step.device), step.place
        shape, dtype, n = place.spec.shape, place.spec.dtype.numpy, place.buffer
        result = f"r{step.register} = "
        if n in self._feeds or not device.capabilities.zero_copy or not place.size_bytes:
            if place.size_bytes:  # it waits for all that was queued before it
                self._queued.discard(step.device)
            download = functools.partial(device.download, shape=shape, numpy_dtype=dtype,
                                         offset_bytes=place.offset_bytes)  # fmt: skip
            self._names[f"f{number}"] = download
            if n in self._feeds:
                return f"{result}f{number}(b{n})"
            self._names[f"f{number}"] = functools.partial(download, self.buffers[n])
            return f"{result}f{number}()"
        wait = f"{self._wait(step.device)}; " if step.device in self._queued else ""
        if n in self._results:
            return f"{wait}{result}a{n}"
        view = device.view(self.buffers[n], place.spec.dims, dtype, place.offset_bytes)
        if place.size_bytes < RESULT_BYTES:
            self._names[f"f{number}"] = view.copy
            return f"{wait}{result}f{number}()"
        memory = ResultMemory(device, place.size_bytes, place.spec.dims, dtype)
        self._names[f"f{number}"] = functools.partial(memory.filled, view)
        return f"{wait}{result}f{number}()"

    def _wait(self, device: str) -> str:
        self._queued.discard(device)
        name = f"w_{device.replace(':', '_')}"
        self._names[name] = self.devices(device).finish
        return f"{name}()"

    def _take(self, buffer: int, step: DownloadStep) -> None:
        size_bytes = self.plan.buffers[buffer].size_bytes
        spec = step.place.spec
        memory = ResultMemory(self.devices(step.device), size_bytes, spec.dims, spec.dtype.numpy)
        self._names[f"t{buffer}"] = self._taking(memory, buffer)
        self._head.append(f"a{buffer}, b{buffer} = t{buffer}(){self._tell(buffer)}")

    def _taking(self, memory: Any, buffer: int) -> Callable[[], Any]:
        """What takes memory for a result, and tells whose it is where there is none."""
        take, plan = memory.take, self.plan

        def taken() -> Any:
            try:
                return take()
            except DeviceError as fault:
                raise no_room_for(fault, plan, buffer) from None

        return taken

    def _last_uses(self) -> dict[int, list[int]]:
        """Registers that no step reads after a given one: NumPy frees what they hold."""
        plan = self.plan
        last: dict[int, int] = {}
        for number, step in enumerate(plan.steps):
            if isinstance(step, HostStep):
                for r in (*step.inputs, *step.outputs):
                    last[r] = number
            elif isinstance(step, UploadStep | DownloadStep):
                last[step.register] = number
        keep = {r for r in plan.fetches if r is not None} | {r for _, r in plan.host_updates}
        keep |= {r for r, _ in plan.feeds} | {r for r, _ in plan.constants}
        keep |= {r for r, _ in plan.host_states}
        dead: dict[int, list[int]] = {}
        for r, number in last.items():
            if r not in keep:
                dead.setdefault(number, []).append(r)
        return dead

    def _compile(self, lines: list[str]) -> Callable[..., Any]:
        plan, names = self.plan, self._names
        feeds = "".join(f"r{r}, " for r, _ in plan.feeds)
        states = "".join(f"r{r}, " for r, _ in plan.host_states)
        for r, array in plan.constants:
            names[f"r{r}"] = array
        head = [f"({feeds}) = feeds"] if feeds else []
        head += [f"({states}) = states"] if states else []
        head += self._head
        source = "\n".join(
            ["def run(feeds, states):", f"    {'; '.join(head) or 'pass'}"]
            + [f"    {line}" for line in [*lines, *self._last_lines()]]
        )
        exec(compile(source, FILE_NAME, "exec"), names)
        # Not left in its own globals: that circle would keep buffers until the collector comes by.
        run: Callable[..., Any] = names.pop("run")
        return run

    def _last_lines(self) -> list[str]:
        """The last lines: fetched values, and the new values of states on the host."""
        plan = self.plan
        updates = [r for _, r in plan.host_updates]
        results = [r for r in plan.fetches if r is not None] + updates
        steps = {
            r: s for s in plan.steps if isinstance(s, HostStep | DownloadStep | KeepStep)
            for r in (s.outputs if isinstance(s, HostStep) else (s.register,))
        }  # fmt: skip

        def is_new(r: int) -> bool:
            """Whether the step makes an array that nothing else can refer to."""
            step = steps.get(r)
            return isinstance(step, DownloadStep | KeepStep) or (
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


def _upload(device: Any, buffer: Any, place: Any, value: Any) -> None:
    array = np.ascontiguousarray(value, place.spec.dtype.numpy)
    if num_elements(array.shape):
        device.upload(buffer, array, place.offset_bytes)


def _buffer_of(value: Any) -> Any:
    return value.buffer


def _in_place(over: Callable[[np.ndarray], Any], dtype: Any, value: Any) -> Any:
    return over(np.ascontiguousarray(value, dtype))


SCALAR_TYPES = {
    "int": np.int32, "uint": np.uint32, "long": np.int64, "ulong": np.uint64, "float": np.float32,
    "double": np.float64, "char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16,
}  # fmt: skip


def _scalar(ctype: str, value: Any) -> Any:
    return SCALAR_TYPES[ctype](value)
