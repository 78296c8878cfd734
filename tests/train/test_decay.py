"""Learning rates that change, against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import GraphError

STEPS = np.array([0, 1, 4, 5, 7, 10, 11, 25])


@pytest.fixture(autouse=True)
def graph() -> Iterator[None]:
    with gr.Graph().as_default():
        yield


def _polynomial(step: float) -> float:
    step = min(step, 10)
    return (0.5 - 0.01) * (1 - step / 10) ** 2 + 0.01


def _cycling(step: float) -> float:
    steps = 10 * max(1, math.ceil(step / 10))
    return (0.5 - 0.01) * (1 - step / steps) ** 2 + 0.01


def _restarts(step: float, t_mul: float) -> float:
    period, rate = 3.0, 0.5
    while step >= period:
        step, period, rate = step - period, period * t_mul, rate * 0.8
    return rate * 0.9 * 0.5 * (1 + math.cos(math.pi * step / period)) + 0.5 * 0.1


def _linear_cosine(step: float) -> float:
    done = min(step, 10) / 10
    return 0.5 * ((0.1 + 1 - done) * 0.5 * (1 + math.cos(2 * math.pi * 1.5 * done)) + 0.01)


train = gr.train


@pytest.mark.parametrize(
    ("build", "formula"),
    [
        (lambda s: train.exponential_decay(0.5, s, 10, 0.9), lambda s: 0.5 * 0.9 ** (s / 10)),
        (lambda s: train.exponential_decay(0.5, s, 10, 0.9, True), lambda s: 0.5 * 0.9 ** (s // 10)),
        (lambda s: train.natural_exp_decay(0.5, s, 10, 0.9), lambda s: 0.5 * math.exp(-0.9 * s / 10)),
        (
            lambda s: train.natural_exp_decay(0.5, s, 10, 0.9, True),
            lambda s: 0.5 * math.exp(-0.9 * (s // 10)),
        ),
        (lambda s: train.inverse_time_decay(0.5, s, 10, 0.9), lambda s: 0.5 / (1 + 0.9 * s / 10)),
        (lambda s: train.inverse_time_decay(0.5, s, 10, 0.9, True), lambda s: 0.5 / (1 + 0.9 * (s // 10))),
        (lambda s: train.polynomial_decay(0.5, s, 10, 0.01, 2.0), _polynomial),
        (lambda s: train.polynomial_decay(0.5, s, 10, 0.01, 2.0, cycle=True), _cycling),
        (
            lambda s: train.cosine_decay(0.5, s, 10, 0.1),
            lambda s: 0.5 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(s, 10) / 10)) + 0.1),
        ),
        (lambda s: train.cosine_decay_restarts(0.5, s, 3, 1.0, 0.8, 0.1), lambda s: _restarts(s, 1.0)),
        (lambda s: train.cosine_decay_restarts(0.5, s, 3, 1.5, 0.8, 0.1), lambda s: _restarts(s, 1.5)),
        (
            lambda s: train.cosine_decay_restarts(0.5, s, 3, gr.constant(1.0), 0.8, 0.1),
            lambda s: _restarts(s, 1.0),
        ),
        (lambda s: train.linear_cosine_decay(0.5, s, 10, 1.5, 0.1, 0.01), _linear_cosine),
        (
            lambda s: train.noisy_linear_cosine_decay(0.5, s, 10, 0.0, 0.5, 1.5, 0.1, 0.01),
            _linear_cosine,
        ),
        (
            lambda s: train.piecewise_constant(s, [4, 10], [0.5, 0.1, 0.01]),
            lambda s: 0.5 if s <= 4 else 0.1 if s <= 10 else 0.01,
        ),
    ],
)
def test_formulas(build: Callable[[Any], Any], formula: Callable[[float], float]) -> None:
    step = gr.placeholder(gr.int64, ())
    rate = build(step)
    assert rate.dtype == gr.float32
    with gr.Session() as sess:
        for s in STEPS.tolist():
            assert sess.run(rate, {step: s}) == pytest.approx(formula(s), rel=1e-5), f"step {s}"


def test_names() -> None:
    step = gr.train.create_global_step()
    assert train.exponential_decay(0.5, step, 10, 0.9).name == "ExponentialDecay:0"
    assert train.exponential_decay(0.5, step, 10, 0.9, name="rate").name == "rate:0"


def test_messages() -> None:
    with pytest.raises(GraphError, match="a decay without global_step"):
        train.exponential_decay(0.5, None, 10, 0.9)
    with pytest.raises(GraphError, match="2 values for 2 boundaries"):
        train.piecewise_constant(gr.constant(1), [1, 2], [0.1, 0.2])


def test_noise_is_new_in_each_run_and_falls() -> None:
    gr.set_random_seed(1)
    step = gr.placeholder(gr.int64, ())
    # beta 1 and alpha 0 at the first step: the rate is 1 + noise + 1.
    rate = train.noisy_linear_cosine_decay(1.0, step, 1000, 4.0, 2.0, beta=1.0)
    with gr.Session() as sess:
        first = np.array([sess.run(rate, {step: 0}) for _ in range(400)])
        later = np.array([sess.run(rate, {step: 9}) for _ in range(400)])
    assert abs(first.mean() - 2) < 0.4 and abs(first.std() - 2) < 0.3
    assert abs(later.std() - 0.2) < 0.03
