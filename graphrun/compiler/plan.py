"""`Plan`: what a run does, as plain data.  The runtime binds one to devices and runs it again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphrun.compiler.show import plan_text
from graphrun.compiler.steps import BufferInfo, HostStep, LaunchStep, Origin, Step
from graphrun.graph.descriptor import Spec

# Kinds of buffers whose memory is not the run's own: the session's and the caller's.
_OTHERS = ("state", "feed")


@dataclass(repr=False)
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
    kernels : dict
        Of each device, the text of each kernel by its name; equal names mean equal texts.
    labels : dict
        Names of registers that are fed or fetched.
    asks : list of str
        Where this is a first plan: the values that decide what the next one does.
    followers : list of (str, Plan)
        The plans that followed so far, each with what was found.
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
    kernels: dict[str, dict[str, str]] = field(default_factory=dict)
    read_states: list[Any] = field(default_factory=list)
    state_specs: dict[Any, Spec] = field(default_factory=dict)
    host_peak_bytes: int = 0
    passes_ns: dict[str, int] = field(default_factory=dict)
    host_ns: float = 0.0  # what the host's steps are expected to take
    labels: dict[int, str] = field(default_factory=dict)
    asks: list[str] = field(default_factory=list)
    followers: list[tuple[str, Plan]] = field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        """The OpenCL devices that it uses."""
        return sorted({b.device for b in self.buffers} | set(self.sources))

    @property
    def launches(self) -> list[LaunchStep]:
        return [s for s in self.steps if isinstance(s, LaunchStep)]

    @property
    def inner(self) -> list[tuple[str, Plan]]:
        """The plans of loops that are repeated, each with what it does."""
        return [pair for s in self.steps if isinstance(s, HostStep) for pair in s.inner]

    def peak_bytes(self, device: str = "cpu:0") -> int:
        """The most memory that a run's own values take on a device, known before it runs.

        The plans of loops have memory of their own, which is part of the sum.
        """
        loops = sum(plan.peak_bytes(device) for _, plan in self.inner)
        if device == "cpu:0":
            return self.host_peak_bytes + loops
        own = sum(b.size_bytes for b in self.buffers if b.device == device and b.kind not in _OTHERS)
        return own + loops

    def host_fallbacks(self) -> list[tuple[Origin, str]]:
        """Steps that run on the host although a device was asked for, with the reason."""
        own = [(s.origin, s.note) for s in self.steps if isinstance(s, HostStep) and s.note]
        return own + [pair for _, plan in self.inner for pair in plan.host_fallbacks()]

    def __str__(self) -> str:
        """What comes in, the steps, what goes out, and memory; see `plan_text`."""
        return plan_text(self)

    def __repr__(self) -> str:
        where = ", ".join(self.devices) or "cpu:0"
        counts = f"{len(self.steps)} steps, {len(self.launches)} launches"
        return f"<Plan of {counts}, on {where}; print it to read it>"
