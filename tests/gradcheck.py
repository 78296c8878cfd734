"""Derivatives against finite differences, in float64, along random directions.

One direction sees every element of every Jacobian: a wrong entry shows unless the random weights cancel
it, and the second direction is drawn independently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from interpreter import evaluate
from tolerances import FIRST_DERIVATIVE, SECOND_DERIVATIVE, Tolerance

from graphrun.graph.graph import Graph
from graphrun.graph.node import Tensor
from graphrun.ops.state import placeholder

STEP = 1e-3  # with the five-point formula: truncation about 1e-12, rounding about 1e-13


def check_gradients(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    *,
    second_order: bool = True,
    seed: int = 0,
    limits: Tolerance = FIRST_DERIVATIVE,
    second_limits: Tolerance = SECOND_DERIVATIVE,
) -> None:
    """Compare the derivatives of ``function(*tensors)`` (a tensor or several) at `arrays`.

    Floating inputs are differentiated, in float64; others are held.  The graph is built once with static
    shapes and once with unknown ones, and both must give the same gradients.
    """
    arrays = [np.asarray(a, np.float64) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for a in arrays]
    known = _Setup(function, arrays, seed, static=True, second_order=second_order)
    found = known.gradients(arrays)
    for _ in range(2):
        direction = known.direction()
        slope = _slope(lambda t, d=direction: known.loss(known.moved(arrays, d, t)))
        _compare("first derivative", known.along(found, direction), slope, limits)
    unknown = _Setup(function, arrays, seed, static=False, second_order=second_order)
    for a, b in zip(found, unknown.gradients(arrays), strict=True):
        assert (a is None) == (b is None), "a gradient exists with static shapes only, or without them only"
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14, err_msg="with unknown shapes")
    if not second_order:
        return
    direction = known.direction()
    hessian_vector = known.second(arrays, direction)
    if hessian_vector is None:  # linear: the gradient does not depend on the inputs
        slope = _slope(lambda t, d=direction: known.along(known.gradients(known.moved(arrays, d, t)), d))
        _compare("second derivative, said to be zero", 0.0, slope, second_limits)
        return
    other = known.direction()
    slope = _slope(lambda t: known.along(known.gradients(known.moved(arrays, other, t)), direction))
    _compare("second derivative", known.along(hessian_vector, other), slope, second_limits)


def _slope(f: Callable[[float], float]) -> float:
    h = STEP
    return (f(-2 * h) - 8 * f(-h) + 8 * f(h) - f(2 * h)) / (12 * h)


def _compare(what: str, found: float, slope: float, limits: Tolerance) -> None:
    scale = max(1.0, abs(slope), abs(found))
    assert np.isfinite(found), f"{what}: {found}"
    assert abs(found - slope) <= limits.atol + limits.rtol * scale, (
        f"{what}: {found}, finite difference {slope}"
    )


class _Setup:
    """The graph of ``sum(weights * function(inputs))`` and of its gradients."""

    def __init__(
        self,
        function: Callable[..., Any],
        arrays: Sequence[Any],
        seed: int,
        static: bool,
        second_order: bool,
    ) -> None:
        from graphrun.gradients import gradients
        from graphrun.graph.apply import convert_to_tensor

        def as_tensors(found: Any) -> Any:  # those of what rows are gathered from are rows
            return [None if g is None else convert_to_tensor(g) for g in found]

        self.rng = np.random.default_rng(seed + 1)
        with Graph().as_default():
            self.inputs = [placeholder(a.dtype, a.shape if static else None) for a in arrays]
            outputs = function(*self.inputs)
            outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
            self.outputs = [y for y in outputs if isinstance(y, Tensor) and y.dtype.is_floating]
            assert self.outputs, "no floating output to differentiate"
            self.xs = [x for x in self.inputs if x.dtype.is_floating]
            values = evaluate(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
            self.weights = [self.rng.uniform(0.5, 1.5, v.shape) * self.rng.choice([-1, 1]) for v in values]
            self.seeds = [
                placeholder(y.dtype, v.shape if static else None) for y, v in zip(self.outputs, values)
            ]
            self.grads = as_tensors(gradients(self.outputs, self.xs, grad_ys=self.seeds))
            self.connected = [g for g in self.grads if g is not None]
            self.directions = [placeholder(x.dtype, x._shape) for x in self.xs]
            self.hessian: list[Any] = []
            if self.connected and second_order:
                starts = [d for d, g in zip(self.directions, self.grads) if g is not None]
                self.hessian = as_tensors(gradients(self.connected, self.xs, grad_ys=starts))

    def feeds(self, arrays: Sequence[Any]) -> dict[Any, Any]:
        return {
            **dict(zip(self.inputs, arrays, strict=True)),
            **dict(zip(self.seeds, self.weights, strict=True)),
        }

    def loss(self, arrays: Sequence[Any]) -> float:
        values = evaluate(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        return float(sum(np.sum(v * w) for v, w in zip(values, self.weights, strict=True)))

    def gradients(self, arrays: Sequence[Any]) -> list[Any]:
        found = iter(evaluate(self.connected, self.feeds(arrays)))
        return [None if g is None else next(found) for g in self.grads]

    def second(self, arrays: Sequence[Any], direction: Sequence[Any]) -> list[Any] | None:
        connected = [h for h in self.hessian if h is not None]
        if not connected:
            return None
        feeds = {**self.feeds(arrays), **dict(zip(self.directions, direction, strict=True))}
        found = iter(evaluate(connected, feeds))
        return [None if h is None else next(found) for h in self.hessian]

    def direction(self) -> list[Any]:
        shapes = self._shapes
        return [self.rng.uniform(0.3, 1.0, s) * self.rng.choice([-1.0, 1.0], s) for s in shapes]

    @property
    def _shapes(self) -> list[tuple[int, ...]]:
        return [x._shape for x in self.xs]  # type: ignore[misc]

    def moved(self, arrays: Sequence[Any], direction: Sequence[Any], t: float) -> list[Any]:
        steps = iter(direction)
        return [a + t * next(steps) if x.dtype.is_floating else a for a, x in zip(arrays, self.inputs)]

    def along(self, grads: Sequence[Any], direction: Sequence[Any]) -> float:
        pairs = zip(grads, direction, strict=True)
        return float(sum(np.sum(g * d) for g, d in pairs if g is not None))
