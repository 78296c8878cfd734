"""What is measured, as data: a `Kernel` is a function of arrays, a `Step` is one step of training.

Both are written once, in terms of operations that each system provides in its own idiom (`frameworks` for
graphrun and TensorFlow, `torch_system` and so on); so every system computes the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sidebyside.reference import Rows

Arrays = dict[str, np.ndarray]

DATA = ("resident", "fetched", "fed")
CHECKED_STEPS = 3
LOSS_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Work:
    """Something to measure.

    Attributes
    ----------
    name : str
        For ``--only``; the sizes are in it.
    formula : str
        What is computed, and what the inputs are.
    inputs : function
        Makes the arrays; the same ones each time.
    flops, traffic_bytes : float
        The fewest that the work can do with: multiplications and additions, and bytes that must move from
        and to memory where nothing stays in a cache.
    aim : float or None
        The ratio to the fastest peer that graphrun is to reach on a CPU.
    """

    name: str
    formula: str
    inputs: Callable[[], Arrays]
    flops: float
    traffic_bytes: float
    aim: float | None = None
    # Inputs that some systems keep in another order, as their users do: filters of convolutions (height,
    # width, in, out), and weights that are kept as out, in.
    filters: frozenset[str] = field(default=frozenset(), kw_only=True)
    transposed: frozenset[str] = field(default=frozenset(), kw_only=True)


@dataclass(frozen=True)
class Kernel(Work):
    """Arrays in, arrays out.

    Attributes
    ----------
    build : function
        From a system's operations and a mapping of its tensors to a list of results.
    reference : function
        From arrays of float64 to the right results.
    tolerance : float
        The largest error, relative to a result's largest value.
    calls : int
        How many calls are timed together, where one is too short for a clock.
    only_fed : bool
        There is no sense in asking for it with operands that are there already.
    """

    build: Callable[[Any, Mapping[str, Any]], Sequence[Any]] = field(kw_only=True)
    reference: Callable[[Arrays], Sequence[np.ndarray]] = field(kw_only=True)
    tolerance: float = field(kw_only=True)
    calls: int = field(default=1, kw_only=True)
    only_fed: bool = field(default=False, kw_only=True)

    def error(self, results: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
        """Return the largest error of any result, relative to its largest value; NaN where there is one."""
        worst = 0.0
        for result, wanted in zip(results, right, strict=True):
            if np.shape(result) != wanted.shape:
                raise ValueError(f"{self.name}: a result of shape {np.shape(result)}, not {wanted.shape}")
            largest = max(float(np.max(np.abs(wanted))), 1e-30)
            worst = float(np.maximum(worst, np.max(np.abs(result - wanted)) / largest))
        return worst


@dataclass(frozen=True)
class Step(Work):
    """One step of training on a batch that is fed; parameters stay where the system computes.

    Attributes
    ----------
    parameters : tuple of str
        Those of the inputs that are trained; the others are fed.
    loss : function
        From a system's operations, its parameters and its fed tensors, to the loss.
    gradients : function
        In NumPy: from parameters and fed arrays to the loss and the gradient of each parameter, an array or
        (with SGD) `Rows`.
    optimizer : {"sgd", "adam"}
    rate : float
        The learning rate: large against rounding, so small that thousands of steps change little; so no
        number fades away to where processors become slow.
    tolerance : float
        The largest error of what `CHECKED_STEPS` steps change in a parameter, relative to that change, both
        as Euclidean norms.
    """

    parameters: tuple[str, ...] = field(kw_only=True)
    loss: Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Any] = field(kw_only=True)
    gradients: Callable[[Arrays, Arrays], tuple[float, Mapping[str, Any]]] = field(kw_only=True)
    optimizer: str = field(kw_only=True)
    rate: float = field(kw_only=True)
    tolerance: float = field(kw_only=True)

    def split(self) -> tuple[Arrays, Arrays]:
        """Return new arrays: parameters, and what is fed."""
        arrays = self.inputs()
        return {k: arrays.pop(k) for k in self.parameters}, arrays

    def error(self, losses: Sequence[float], state: Arrays, right: tuple[list[float], Arrays]) -> float:
        """Return how far losses and changes are off, as a multiple of what is tolerated."""
        right_losses, right_state = right
        start, _ = self.split()
        off = [abs(a - b) / abs(b) / LOSS_TOLERANCE for a, b in zip(losses, right_losses, strict=True)]
        for k in self.parameters:
            if state[k].shape != start[k].shape:
                raise ValueError(f"{self.name}: '{k}' has shape {state[k].shape}, not {start[k].shape}")
            wanted = right_state[k] - start[k]
            apart = float(np.linalg.norm(state[k].astype(np.float64) - start[k] - wanted))
            off.append(apart / max(float(np.linalg.norm(wanted)), 1e-30) / self.tolerance)
        return float(np.max(off))  # of NumPy: NaN must not be lost


# TensorFlow and PyTorch add epsilon in two places; it is so small that both come to the same for gradients
# that are more than rounding errors.
ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-12


class NumpyOptimizer:
    """Updates arrays in place: what the optimizers are, for the reference and for plain NumPy."""

    def __init__(self, step: Step, parameters: Arrays) -> None:
        self._step = step
        self._count = 0
        adam = step.optimizer == "adam"
        self._m = {k: np.zeros_like(v) for k, v in parameters.items() if adam}
        self._v = {k: np.zeros_like(v) for k, v in parameters.items() if adam}

    def update(self, parameters: Arrays, gradients: Mapping[str, Any]) -> None:
        """Change the parameters by one step."""
        self._count += 1
        for k, p in parameters.items():
            g = gradients[k]
            if isinstance(g, Rows):
                np.subtract.at(p, g.indices, self._step.rate * g.values)
                continue
            if self._step.optimizer == "sgd":
                p -= self._step.rate * g
                continue
            m, v = self._m[k], self._v[k]
            m += (1 - ADAM_BETA1) * (g - m)
            v += (1 - ADAM_BETA2) * (g * g - v)
            corrected = np.sqrt(v / (1 - ADAM_BETA2**self._count)) + ADAM_EPSILON
            p -= self._step.rate / (1 - ADAM_BETA1**self._count) * m / corrected


def reference_steps(step: Step) -> tuple[list[float], Arrays]:
    """Return the losses of `CHECKED_STEPS` steps and the parameters after them, in float64."""
    parameters, fed = ({k: _as_float64(v) for k, v in arrays.items()} for arrays in step.split())
    optimizer = NumpyOptimizer(step, parameters)
    losses = []
    for _ in range(CHECKED_STEPS):
        loss, gradients = step.gradients(parameters, fed)
        losses.append(float(loss))
        optimizer.update(parameters, gradients)
    return losses, parameters


def reference_results(kernel: Kernel) -> Sequence[np.ndarray]:
    """Return what is right, in float64."""
    return kernel.reference({k: _as_float64(v) for k, v in kernel.inputs().items()})


def _as_float64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array
