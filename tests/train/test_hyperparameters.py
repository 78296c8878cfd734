"""What is no number where an optimizer or a schedule wants one."""

from __future__ import annotations

from typing import Any

import pytest

import graphrun as gr
from graphrun.errors import DTypeError

MAKERS: list[Any] = [
    gr.train.GradientDescentOptimizer, gr.train.AdamOptimizer, gr.train.AdagradOptimizer,
    gr.train.AdadeltaOptimizer, gr.train.RMSPropOptimizer, gr.train.FtrlOptimizer,
    lambda rate: gr.train.MomentumOptimizer(rate, 0.9),
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS)
def test_a_learning_rate_that_is_text(make: Any) -> None:
    v = gr.Variable(1.0)
    with pytest.raises(DTypeError, match="is '0.1' of type str\n") as caught:
        make("0.1").minimize(v * v)
    assert "expected a number, or a tensor or variable of numbers" in str(caught.value)
    assert "convert the text first, as float('0.1')" in str(caught.value)
    assert "test_hyperparameters.py:" in str(caught.value)
    with pytest.raises(DTypeError, match="is None of type NoneType"):
        make(None).minimize(v * v)
    make(lambda: 0.1).minimize(v * v)


def test_another_hyperparameter() -> None:
    v = gr.Variable(1.0)
    with pytest.raises(DTypeError, match="AdamOptimizer 'Adam': beta1 is '0.9' of type str"):
        gr.train.AdamOptimizer(0.1, beta1="0.9").minimize(v * v)


def test_schedules() -> None:
    step = gr.Variable(0)
    with pytest.raises(DTypeError, match="a decay: learning_rate is '0.1'"):
        gr.train.exponential_decay("0.1", step, 10, 0.5)
    with pytest.raises(DTypeError, match="a decay: an argument is '10'"):
        gr.train.polynomial_decay(0.1, step, "10")
    with pytest.raises(DTypeError, match="piecewise_constant: a value is '0.1'"):
        gr.train.piecewise_constant(step, [5], ["0.1", "0.2"])
