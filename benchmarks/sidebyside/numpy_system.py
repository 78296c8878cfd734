"""Plain NumPy, as someone would write it by hand: what graphrun's users come from.  Not a peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sidebyside import reference
from sidebyside.system import SimpleRun
from sidebyside.work import Kernel, NumpyOptimizer, Step


class Ops:
    """The operations that kernels are written in."""

    matmul, tanh, sum = staticmethod(np.matmul), staticmethod(np.tanh), staticmethod(np.sum)
    softmax, relu, conv = (staticmethod(f) for f in (reference.softmax, reference.relu, reference.conv))

    def conv_gradients(self, x: Any, w: Any, dy: Any) -> Sequence[Any]:
        return [reference.conv_input_gradient(w, dy), reference.conv_filter_gradient(x, dy)]


class NumpySystem:
    """NumPy alone."""

    key, is_peer = "numpy", False

    def __init__(self) -> None:
        self.detail = f"NumPy {np.__version__}, by hand"
        self.ops = Ops()

    def kernel(self, kernel: Kernel, data: str) -> SimpleRun:
        arrays = kernel.inputs()

        def run() -> Sequence[Any]:
            return kernel.build(self.ops, arrays)

        return SimpleRun(run, run)

    def step(self, step: Step) -> SimpleRun:
        parameters, fed = step.split()
        optimizer = NumpyOptimizer(step, parameters)

        def run() -> Any:
            loss, gradients = step.gradients(parameters, fed)
            optimizer.update(parameters, gradients)
            return loss

        return SimpleRun(run, lambda: parameters)
