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
from graphrun.ops.elementwise import ceil, cos, exp, floor, log, sqrt
from graphrun.ops.math import maximum, minimum
from graphrun.ops.math import pow as pow_
from graphrun.ops.random import random_normal
from graphrun.ops.state import identity
from graphrun.train.optimizer import numbers_of


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
    rate = numbers_of(rate, "learning_rate", "a decay")
    return rate, *(
        cast(numbers_of(x, "an argument", "a decay", False), rate.dtype) for x in (global_step, *others)
    )


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


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Return a rate that falls along half a cosine again and again, from a warm restart each time.

    Parameters
    ----------
    learning_rate, global_step, alpha
        As for `cosine_decay`.
    first_decay_steps : number or tensor
        The length of the first period; each one is `t_mul` times as long as the one before.
    t_mul, m_mul : number or tensor
        What periods, and the rates that they begin with, are multiplied by each time.
    name : str, optional

    References
    ----------
    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """
    with _scope(learning_rate, global_step, name or "SGDRDecay") as scope:
        rate, step, first, longer, smaller = _operands(
            learning_rate, global_step, first_decay_steps, t_mul, m_mul
        )
        done = step / first  # in lengths of the first period
        if t_mul == 1.0:
            restarts = floor(done)
            part = done - restarts
        else:
            # Periods 0 ... i - 1 take (1 - t_mul**i) / (1 - t_mul) together.
            restarts = floor(log(1 - done * (1 - longer)) / log(longer))
            length = pow_(longer, restarts)
            part = (done - (1 - length) / (1 - longer)) / length
            if isinstance(t_mul, Tensor):
                equal_ = longer <= 1
                restarts = where(equal_, floor(done), restarts)
                part = where(equal_, done - floor(done), part)
        falling = 0.5 * pow_(smaller, restarts) * (1 + cos(math.pi * part))
        return identity(rate * ((1 - alpha) * falling + alpha), name=scope)


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """Return a rate that falls along a line times a cosine: with r the part of `decay_steps` that is left,
    ``learning_rate * ((alpha + r) * (1 + cos(2 * pi * num_periods * (1 - r))) / 2 + beta)``.

    References
    ----------
    I. Bello et al., Neural optimizer search with reinforcement learning, ICML 2017.
    """
    with _scope(learning_rate, global_step, name or "LinearCosineDecay") as scope:
        operands = _operands(learning_rate, global_step, decay_steps, num_periods, alpha, beta)
        return identity(_linear_cosine(*operands), name=scope)


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """Return what `linear_cosine_decay` does, with noise on the line: normal numbers, new in each run, of
    variance ``initial_variance / (1 + global_step) ** variance_decay``.
    """
    with _scope(learning_rate, global_step, name or "NoisyLinearCosineDecay") as scope:
        noisy = initial_variance, variance_decay
        rate, step, steps, variance, power, periods, low, end = _operands(
            learning_rate, global_step, decay_steps, *noisy, num_periods, alpha, beta
        )
        spread = sqrt(variance / pow_(1 + minimum(step, steps), power))
        noise = random_normal((), dtype=rate.dtype) * spread
        return identity(_linear_cosine(rate, step, steps, periods, low, end, noise), name=scope)


def _linear_cosine(
    rate: Tensor, step: Tensor, steps: Tensor, periods: Tensor, alpha: Tensor, beta: Tensor, noise: Any = None
) -> Tensor:
    step = minimum(step, steps)
    line = (steps - step) / steps
    if noise is not None:
        line = line + noise
    wave = 0.5 * (1 + cos(math.pi * (2 * periods * (step / steps))))
    return rate * ((alpha + line) * wave + beta)


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
        tensors = [numbers_of(v, "a value", "piecewise_constant", False) for v in values]
        result = tensors[-1]
        for boundary, value in reversed(list(zip(boundaries, tensors[:-1], strict=True))):
            result = where(step <= convert_to_tensor(boundary, step.dtype), value, result)
        return identity(result, name=scope)
