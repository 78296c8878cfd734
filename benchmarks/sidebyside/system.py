"""What a system is to the benchmarks: something that can make a `Run` of a kernel or of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sidebyside.work import Arrays, Kernel, Step


class Unavailable(Exception):
    """A system cannot take part here; the message is one line."""


class Planned(NamedTuple):
    """What is known of a run beforehand: memory of variables, memory beside them, launches of kernels."""

    variables_bytes: int
    run_bytes: int
    launches: int


class Run(Protocol):
    """One work in one system, ready.

    Attributes
    ----------
    planned : function or None
        Of a system that knows before it runs.
    """

    planned: Callable[[], Planned] | None

    def run(self) -> Any:
        """Do the work and return when it is done: what is timed.  Of a step, the loss."""

    def values(self) -> Sequence[np.ndarray] | Arrays:
        """Results of a kernel, computed anew; or the parameters as they are after the steps so far."""

    def close(self) -> None:
        """Free everything."""


class System(Protocol):
    """A library, or graphrun on one device.

    Attributes
    ----------
    key : str
        Its name on the command line, in tables and in JSON.
    detail : str
        Version and device.
    is_peer : bool
        One of those whose fastest graphrun is compared with.
    """

    key: str
    detail: str
    is_peer: bool

    def kernel(self, kernel: Kernel, data: str) -> Run:
        """Return a run of a kernel.

        Parameters
        ----------
        kernel : Kernel
        data : {"resident", "fetched", "fed"}
            Operands and results stay where the system computes; results come out as NumPy arrays; operands
            go in as NumPy arrays too.
        """

    def step(self, step: Step) -> Run:
        """Return a run of a training step, with parameters at their start."""


class SimpleRun:
    """A run made of functions."""

    planned: Callable[[], Planned] | None = None

    def __init__(
        self, run: Callable[[], Any], values: Callable[[], Any], close: Callable[[], None] = lambda: None
    ) -> None:
        self.run, self.values, self._close = run, values, close

    def close(self) -> None:
        self._close()
        self.run = self.values = self._close = lambda: None
