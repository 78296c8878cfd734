"""Learning rates that change with the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graphrun.errors import GraphError, message
from graphrun.graph.apply import convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.compare import where
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import ceil, cos, exp, floor
from graphrun.ops.math import maximum, minimum
from graphrun.ops.math import pow as pow_
from graphrun.ops.state import identity


def _operands(rate: Any, global_step: Any, *others: Any) -> tuple[Tensor, ...]:
    """The learning rate as a tensor, and everything else in its dtype."""
    if global_step is None:
        raise GraphError(
            message(
                "a decay without global_step",
                site=user_site(),
                expected="the variable that counts the steps, which is passed to minimize() too",
            )
        )
    rate = convert_to_tensor(rate, name="learning_rate")
    return rate, *(cast(convert_to_tensor(x), rate.dtype) for x in (global_step, *others))


def _scope(rate: Any, step: Any, name: str) -> Any:
    graph = convert_to_tensor(step).graph if step is not None else convert_to_tensor(rate).graph
    return graph.name_scope(name)


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return ``learning_rate * decay_rate ** (global_step / decay_steps)``.

    With `staircase` the quotient is rounded down, so that the rate falls in steps.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     rate = gr.train.exponential_decay(0.5, gr.constant(20), 10, 0.5)
    ...     print(sess.run(rate))
    0.125
    """
    with _scope(learning_rate, global_step, name or "ExponentialDecay") as scope:
        rate, step, steps, factor = _operands(learning_rate, global_step, decay_steps, decay_rate)
        quotient = step / steps
        if staircase:
            quotient = floor(quotient)
        return identity(rate * pow_(factor, quotient), name=scope)


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return ``learning_rate * exp(-decay_rate * global_step / decay_steps)``."""
    with _scope(learning_rate, global_step, name or "NaturalExpDecay") as scope:
        rate, step, steps, factor = _operands(learning_rate, global_step, decay_steps, decay_rate)
        quotient = step / steps
        if staircase:
            quotient = floor(quotient)
        return identity(rate * exp(-factor * quotient), name=scope)


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return ``learning_rate / (1 + decay_rate * global_step / decay_steps)``."""
    with _scope(learning_rate, global_step, name or "InverseTimeDecay") as scope:
        rate, step, steps, factor = _operands(learning_rate, global_step, decay_steps, decay_rate)
        quotient = step / steps
        if staircase:
            quotient = floor(quotient)
        return identity(rate / (1 + factor * quotient), name=scope)


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return a rate that falls to `end_learning_rate` in `decay_steps`, along a power of the rest.

    With `cycle`, `decay_steps` grows to the next multiple that the step has not passed, so that
    the rate jumps up again and falls more slowly.
    """
    with _scope(learning_rate, global_step, name or "PolynomialDecay") as scope:
        rate, step, steps, end, exponent = _operands(
            learning_rate, global_step, decay_steps, end_learning_rate, power
        )
        if cycle:
            steps = steps * maximum(ceil(step / steps), 1.0)
        else:
            step = minimum(step, steps)
        return identity((rate - end) * pow_(1 - step / steps, exponent) + end, name=scope)


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: float = 0.0, name: str | None = None
) -> Tensor:
    """Return a rate that falls along half a cosine to ``alpha * learning_rate`` in `decay_steps`."""
    with _scope(learning_rate, global_step, name or "CosineDecay") as scope:
        rate, step, steps = _operands(learning_rate, global_step, decay_steps)
        falling = 0.5 * (1 + cos(math.pi * (minimum(step, steps) / steps)))
        return identity(rate * ((1 - alpha) * falling + alpha), name=scope)


def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Tensor:
    """Return ``values[i]`` where `x` is above `i` of the boundaries: at a boundary the earlier value holds.

    Parameters
    ----------
    x : scalar tensor or variable
        The step.
    boundaries : sequence of numbers, increasing
    values : sequence of numbers or tensors
        One more than `boundaries`.
    name : str, optional
    """
    if len(values) != len(boundaries) + 1:
        raise GraphError(
            message(
                f"{len(values)} values for {len(boundaries)} boundaries",
                where="piecewise_constant",
                site=user_site(),
                expected="one value more than boundaries",
            )
        )
    step = convert_to_tensor(x)
    with step.graph.name_scope(name or "PiecewiseConstant") as scope:
        tensors = [convert_to_tensor(v) for v in values]
        result = tensors[-1]
        for boundary, value in reversed(list(zip(boundaries, tensors[:-1], strict=True))):
            result = where(step <= convert_to_tensor(boundary, step.dtype), value, result)
        return identity(result, name=scope)
