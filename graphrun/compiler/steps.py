"""The steps of a `Plan`, as plain data.

Values on the host live in numbered registers, which are NumPy arrays while a run lasts.  Values on a
device live in numbered buffers, fixed by the memory plan, at an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphrun.errors import format_site
from graphrun.graph.descriptor import Spec
from graphrun.shapes import num_elements


@dataclass(frozen=True)
class Origin:
    """Which of the user's operations a step stands for."""

    op: str
    name: str
    site: tuple[str, int] | None

    def __str__(self) -> str:
        line = format_site(self.site)
        return f"{self.op} '{self.name}'" + (f" {line}" if line else "")


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
    # Of a loop: what its plans do, and the plans.
    inner: tuple[tuple[str, Any], ...] = ()
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

    `args` holds ``("buffer", Place)``, passed as pointer and offset, and ``(ctype, number)`` for scalars;
    `roles` says of each what it is for: ``"in"``, ``"out"``, ``"inout"`` where an output is written over an
    input, ``"scratch"``, ``"pack"``, or the C type of a scalar.
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
    roles: tuple[str, ...] = ()
    # What has to stay for the launch to make the same again: "constant", or the key of the state it reads.
    once: Any = None


Step = HostStep | UploadStep | DownloadStep | CopyStep | BindStep | KeepStep | LaunchStep
# Steps with one place and one register.
MOVES = UploadStep | DownloadStep | BindStep | KeepStep


def places_of(step: Step) -> list[Place]:
    """The places on devices that a step reads and writes."""
    if isinstance(step, MOVES):
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

    if isinstance(step, MOVES):
        return replace(step, place=at(step.place))
    if isinstance(step, CopyStep):
        return replace(step, source=at(step.source), target=at(step.target))
    if isinstance(step, LaunchStep):
        args = tuple([(k, at(v)) if k == "buffer" else (k, v) for k, v in step.args])
        return LaunchStep(  # `replace` takes twice as long, and there may be many
            step.device, step.kernel, args, step.global_size, step.local_size, step.origin, step.label,
            step.read_bytes, step.written_bytes, step.flops, step.roles, step.once,
        )  # fmt: skip
    return step
