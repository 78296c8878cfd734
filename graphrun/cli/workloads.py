"""The workloads of ``graphrun bench`` on n x n arrays: what is computed, and what the right result is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphrun as gr
from graphrun.device_names import NUMPY
from graphrun.runtime.devices import get_device

_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class ArrayWorkload:
    """A function of two n x n arrays of float32.

    Attributes
    ----------
    name, formula : str
        `formula` says what is computed and what is counted.
    rate : {"gflop_per_s", "gb_per_s"}
        What its speed is counted in, and which of a device's peaks it is compared with.
    default_sizes : tuple of int
    amount : function
        From n to operations or bytes.
    build : function
        From two tensors to the result's tensor.
    reference : function
        The same on float64 arrays.
    error_limit : function
        From n to the largest error that rounding explains, relative to the largest value.
    """

    name: str
    formula: str
    rate: str
    default_sizes: tuple[int, ...]
    amount: Callable[[int], int]
    build: Callable[[Any, Any], Any]
    reference: Callable[[np.ndarray, np.ndarray], np.ndarray]
    error_limit: Callable[[int], float]

    def inputs(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the two arrays; the same ones for the same n."""
        rng = np.random.default_rng(n)
        return rng.standard_normal((n, n), np.float32), rng.standard_normal((n, n), np.float32)


def _chain(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = a * b
    result += 1.0
    np.tanh(result, out=result)
    result *= b
    return result


MATMUL = ArrayWorkload(
    name="matmul",
    formula="C = A B, n x n, float32; 2 n^3 operations",
    rate="gflop_per_s",
    default_sizes=(128, 256, 512, 1024, 2048),
    amount=lambda n: 2 * n**3,
    build=lambda a, b: gr.matmul(a, b),
    reference=np.matmul,
    # Rounding errors of a sum of n products grow like sqrt(n), and so do the values.
    error_limit=lambda n: 16 * _EPSILON * float(np.sqrt(n)),
)
ELEMENTWISE = ArrayWorkload(
    name="elementwise",
    formula="tanh(a * b + 1) * b, n x n, float32; 12 n^2 bytes: two reads, one write",
    rate="gb_per_s",
    default_sizes=(256, 1024, 4096),
    amount=lambda n: 12 * n**2,
    build=lambda a, b: gr.tanh(a * b + 1.0) * b,
    reference=_chain,
    error_limit=lambda n: 32 * _EPSILON,
)
ARRAY_WORKLOADS = {w.name: w for w in (MATMUL, ELEMENTWISE)}
WORKLOADS = (*ARRAY_WORKLOADS, "train")


class Case:
    """One workload of one size on one device, ready to be run in two ways.

    `fed` is what a program does that feeds arrays and fetches an array: copies to and from the device are
    part of it.  `resident` leaves operands and result on the device, and waits until it has run.
    """

    def __init__(self, workload: ArrayWorkload, n: int, device: str) -> None:
        self.workload = workload
        self.device = device
        self._a, self._b = workload.inputs(n)
        graph = gr.Graph()
        with graph.as_default():
            a, b = (gr.placeholder(gr.float32, (n, n)) for _ in range(2))
            self._fed = workload.build(a, b)
            *variables, self._target = (gr.Variable(gr.zeros((n, n)), trainable=False) for _ in range(3))
            # A result that nobody reads would not be computed.
            self._resident = self._target.assign(workload.build(*variables)).op
            initialize = gr.global_variables_initializer()
        self._session = gr.Session(graph=graph, device=device)
        self._session.run(initialize)
        for variable, value in zip(variables, (self._a, self._b)):
            variable.load(value, self._session)
        self._feeds = {a: self._a, b: self._b}
        self._wait = (lambda: None) if device == NUMPY else get_device(device).finish

    def fed(self) -> np.ndarray:
        """Feed, compute, fetch."""
        result: np.ndarray = self._session.run(self._fed, self._feeds)
        return result

    def resident(self) -> None:
        """Compute on what the device holds, and wait."""
        self._session.run(self._resident)
        self._wait()

    def relative_error(self, reference: np.ndarray) -> float:
        """Return the largest error of both ways, relative to the reference's largest value."""
        worst = 0.0
        self.resident()
        for result in (self.fed(), self._session.run(self._target)):
            # NaN must not be lost, and max() of Python would lose it.
            worst = float(np.maximum(worst, np.max(np.abs(result - reference))))
        return worst / max(float(np.max(np.abs(reference))), 1e-30)

    def close(self) -> None:
        """Free the arrays on the device."""
        self._session.close()


def reference_result(workload: ArrayWorkload, n: int) -> np.ndarray:
    """Return what is right, computed by NumPy in float64."""
    a, b = workload.inputs(n)
    return workload.reference(a.astype(np.float64), b.astype(np.float64))
