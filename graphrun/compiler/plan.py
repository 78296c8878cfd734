"""`Plan`: what a run does, as plain data.  The runtime binds one to devices and runs it again and again.

Values on the host live in numbered registers, which are NumPy arrays while a run lasts.  Values on a
device live in numbered buffers, fixed by the memory plan, at an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphrun.errors import format_site
from graphrun.graph.descriptor import Spec
from graphrun.shapes import format_shape, num_elements


@dataclass(frozen=True)
class Origin:
    """Which of the user's operations a step stands for."""

    op: str
    name: str
    site: tuple[str, int] | None

    def __str__(self) -> str:
        line = format_site(self.site)
        return f"{self.op} '{self.name}'" + (f" {line}" if line else "")


# Kinds of buffers whose memory is not the run's own: the session's and the caller's.
_OTHERS = ("state", "feed")


@dataclass(frozen=True)
class BufferInfo:
    """A device buffer: scratch of the plan ("slot"), a session's variable ("state"), or a constant.

    One of kind "feed" is the memory of the fed array itself; one of kind "result" is the caller's after the
    run, and another one in the next; one of kind "packed" keeps its content from run to run, since only
    launches with `once` write it.
    """

    device: str
    kind: str
    size_bytes: int
    state: Any = None
    array: np.ndarray | None = None


@dataclass(frozen=True)
class Place:
    """Where a value lies on a device."""

    buffer: int
    offset: int  # in elements
    spec: Spec

    @property
    def offset_bytes(self) -> int:
        return self.offset * self.spec.dtype.size_bytes

    @property
    def size_bytes(self) -> int:
        return size_bytes(self.spec)


def size_bytes(spec: Spec) -> int:
    """Bytes of a value; 0 where its shape is known only when it has been computed."""
    return (num_elements(spec.shape) or 0) * spec.dtype.size_bytes


@dataclass(frozen=True)
class HostStep:
    """``registers[outputs] = function(*registers[inputs], **attrs)``."""

    function: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Mapping[str, Any]
    origin: Origin
    specs: tuple[Spec, ...]
    note: str = ""  # why it is not on the device that was asked for
    rewrites: bool = False  # what it gives writes into a state (`OpDef.rewrite`), and takes no memory


@dataclass(frozen=True)
class UploadStep:
    """A register goes to a device."""

    device: str
    register: int
    place: Place
    origin: Origin


@dataclass(frozen=True)
class DownloadStep:
    """A device value goes to a register."""

    device: str
    place: Place
    register: int
    origin: Origin


@dataclass(frozen=True)
class CopyStep:
    """A value is copied within a device."""

    device: str
    source: Place
    target: Place
    origin: Origin


@dataclass(frozen=True)
class BindStep:
    """A device array that is fed lends its buffer."""

    device: str
    register: int
    place: Place
    origin: Origin


@dataclass(frozen=True)
class KeepStep:
    """A result stays on its device: the register gets the buffer that it lies in, as a device array."""

    device: str
    place: Place
    register: int
    origin: Origin


@dataclass(frozen=True)
class LaunchStep:
    """A kernel of the plan's program runs.

    `args` holds ``("buffer", Place)``, passed as pointer and offset, and ``(ctype, number)`` for scalars.
    """

    device: str
    kernel: str
    args: tuple[tuple[str, Any], ...]
    global_size: tuple[int, ...]
    local_size: tuple[int, ...] | None
    origin: Origin
    label: str
    read_bytes: int = 0
    written_bytes: int = 0
    flops: int = 0
    # What has to stay for the launch to make the same again: "constant", or the key of the state it reads.
    once: Any = None


Step = HostStep | UploadStep | DownloadStep | CopyStep | BindStep | KeepStep | LaunchStep
# Steps with one place and one register.
_MOVES = UploadStep | DownloadStep | BindStep | KeepStep


def places_of(step: Step) -> list[Place]:
    """The places on devices that a step reads and writes."""
    if isinstance(step, _MOVES):
        return [step.place]
    if isinstance(step, CopyStep):
        return [step.source, step.target]
    if isinstance(step, LaunchStep):
        return [p for kind, p in step.args if kind == "buffer"]
    return []


def resolved(step: Step, number_of: dict[Any, int]) -> Step:
    """The step with numbers in place of the keys of buffers."""

    def at(place: Place) -> Place:
        return Place(number_of[place.buffer], place.offset, place.spec)

    if isinstance(step, _MOVES):
        return replace(step, place=at(step.place))
    if isinstance(step, CopyStep):
        return replace(step, source=at(step.source), target=at(step.target))
    if isinstance(step, LaunchStep):
        return replace(step, args=tuple((k, at(v)) if k == "buffer" else (k, v) for k, v in step.args))
    return step


@dataclass
class Plan:
    """What a run does.

    Attributes
    ----------
    feeds : list of (int, Spec)
        The register that each fed value comes in, in the order of the feed list.
    constants : list of (int, array)
        Registers that are filled once.
    host_states : list of (int, key)
        Registers that get a state's value before the steps.
    steps : list
    fetches : list of int or None
        The register of each fetched value.
    host_updates : list of (key, int)
        States that are set from registers once all steps have run.
    device_updates : list of (key, device)
        States whose buffer the steps have written.
    buffers : list of BufferInfo
    sources : dict
        The OpenCL program of each device.
    """

    feeds: list[tuple[int, Spec]] = field(default_factory=list)
    constants: list[tuple[int, np.ndarray]] = field(default_factory=list)
    host_states: list[tuple[int, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    fetches: list[int | None] = field(default_factory=list)
    host_updates: list[tuple[Any, int]] = field(default_factory=list)
    device_updates: list[tuple[Any, str]] = field(default_factory=list)
    buffers: list[BufferInfo] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    read_states: list[Any] = field(default_factory=list)
    state_specs: dict[Any, Spec] = field(default_factory=dict)
    host_peak_bytes: int = 0
    passes_ns: dict[str, int] = field(default_factory=dict)

    @property
    def devices(self) -> list[str]:
        """The OpenCL devices that it uses."""
        return sorted({b.device for b in self.buffers} | set(self.sources))

    @property
    def launches(self) -> list[LaunchStep]:
        return [s for s in self.steps if isinstance(s, LaunchStep)]

    def peak_bytes(self, device: str = "cpu:0") -> int:
        """The most memory that a run's own values take on a device, known before it runs."""
        if device == "cpu:0":
            return self.host_peak_bytes
        return sum(b.size_bytes for b in self.buffers if b.device == device and b.kind not in _OTHERS)

    def host_fallbacks(self) -> list[tuple[Origin, str]]:
        """Steps that run on the host although a device was asked for, with the reason."""
        return [(s.origin, s.note) for s in self.steps if isinstance(s, HostStep) and s.note]

    def __str__(self) -> str:
        """A table of the steps, with memory and the reasons for what runs on the host."""
        lines = []
        for i, step in enumerate(self.steps):
            lines.append(f"{i:4d}  {_describe(step)}")
        lines.append(f"peak on cpu:0: {self.host_peak_bytes:,} bytes")
        lines += [f"peak on {d}: {self.peak_bytes(d):,} bytes" for d in self.devices]
        for device in self.sources:
            launches = [s for s in self.launches if s.device == device]
            lines.append(f"{device}: {len(launches)} launches, {len({s.kernel for s in launches})} kernels")
        return "\n".join(lines)


def _describe(step: Step) -> str:
    if isinstance(step, HostStep):
        inputs = ", ".join(f"r{r}" for r in step.inputs)
        outputs = ", ".join(f"r{r}" for r in step.outputs)
        shapes = ", ".join(f"{format_shape(s.shape)} {s.dtype}" for s in step.specs)
        note = f"  (host: {step.note})" if step.note else ""
        return f"cpu:0     {outputs} = {step.origin.op}({inputs}) {shapes}  # {step.origin}{note}"
    if isinstance(step, UploadStep):
        return (
            f"{step.device}  b{step.place.buffer} <- r{step.register} upload {step.place.size_bytes:,} bytes"
        )
    if isinstance(step, DownloadStep):
        size = step.place.size_bytes
        return f"{step.device}  r{step.register} <- b{step.place.buffer} download {size:,} bytes"
    if isinstance(step, BindStep):
        return f"{step.device}  b{step.place.buffer} is r{step.register}, a device array"
    if isinstance(step, KeepStep):
        return f"{step.device}  r{step.register} is b{step.place.buffer}, as a device array"
    if isinstance(step, CopyStep):
        return (
            f"{step.device}  b{step.target.buffer} <- b{step.source.buffer} copy"
            f" {step.source.size_bytes:,} bytes"
        )
    buffers = ", ".join(f"b{p.buffer}" for kind, p in step.args if kind == "buffer")
    return f"{step.device}  {step.label}({buffers}) over {_sizes(step.global_size)}  # {step.origin}"


def _sizes(sizes: Sequence[int]) -> str:
    return " x ".join(str(s) for s in sizes)
