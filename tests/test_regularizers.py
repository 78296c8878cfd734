"""Regularizers: their values, how they join, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr

R = gr.regularizers
W = np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("regularizer", "expected", "name"),
    [
        (R.l1_regularizer(0.5), 1.75, "l1_regularizer:0"),
        (R.l2_regularizer(0.5), 1.3125, "l2_regularizer:0"),
        (R.l2_regularizer(0.5, scope="mine"), 1.3125, "mine:0"),
        (R.l1_l2_regularizer(0.5, 1.0), 1.75 + 2.625, "l1_l2_regularizer:0"),
        (R.l1_l2_regularizer(0.0, 1.0), 2.625, "l1_l2_regularizer:0"),
        (R.l1_l2_regularizer(0.5, 0.0), 1.75, "l1_l2_regularizer:0"),
        (R.sum_regularizer([R.l1_regularizer(1.0), None, R.l2_regularizer(0.0)]), 3.5, "sum_regularizer:0"),
        (R.l1(), 0.035, ""),
        (R.l2(0.1), 0.525, ""),
        (R.l1_l2(0.1, 0.1), 0.875, ""),
        (R.L1L2(), 0.0, ""),
        (R.L1L2.from_config(R.l1_l2(1.0, 0.0).get_config()), 3.5, ""),
    ],
)
def test_values(regularizer: Any, expected: float, name: str, device: str) -> None:
    x = gr.constant(W)
    y = regularizer(x)
    with gr.Session(device=device) as session:
        np.testing.assert_allclose(session.run(y), expected, rtol=1e-6)
    assert not name or y.name == name


def test_nothing_to_add() -> None:
    x = gr.constant(W)
    assert R.l1_regularizer(0.0)(x) is None
    assert R.sum_regularizer([None]) is None
    assert R.sum_regularizer([R.l2_regularizer(0.0)])(x) is None  # type: ignore[misc]
    gr.get_variable("w", initializer=W, regularizer=R.l2_regularizer(0.0))
    assert gr.losses.get_regularization_losses() == []


def test_a_scale_may_be_fed() -> None:
    scale = gr.placeholder(gr.float32, ())
    y = R.l2_regularizer(scale)(gr.constant(W))
    assert gr.Session().run(y, {scale: 2.0}) == 5.25


def test_apply_regularization() -> None:
    a = gr.get_variable("a", initializer=W)
    b = gr.get_variable("b", initializer=W * 2, collections=[gr.GraphKeys.WEIGHTS])
    total = R.apply_regularization(R.l1_regularizer(1.0), [a, b])
    collected = R.apply_regularization(lambda w: None if w is a else gr.reduce_sum(w))
    assert gr.losses.get_regularization_losses() == [total, collected]
    with gr.Session() as session:
        session.run([a.initializer, b.initializer])
        assert session.run([total, collected]) == [10.5, -1.0]


def test_weight_decay_trains(device: str) -> None:
    x = gr.constant(np.eye(3, dtype="f4"))
    gr.layers.dense(x, 2, kernel_regularizer=R.l2_regularizer(1.0), name="d")
    step = gr.train.GradientDescentOptimizer(0.5).minimize(gr.losses.get_total_loss())
    (kernel,) = gr.trainable_variables("d/kernel")
    with gr.Session(device=device) as session:
        session.run(gr.global_variables_initializer())
        before = session.run(kernel)
        session.run(step)
        np.testing.assert_allclose(session.run(kernel), before / 2, rtol=1e-6)


def test_penalties_of_what_a_loop_makes() -> None:
    with gr.variable_scope("r", regularizer=R.l2_regularizer(0.5), initializer=gr.ones_initializer()):
        gr.nn.dynamic_rnn(gr.nn.rnn_cell.LSTMCell(3), gr.ones([2, 3, 4]), dtype=gr.float32)
    total = gr.losses.get_regularization_loss()
    with gr.Session() as session:
        session.run(gr.global_variables_initializer())
        assert session.run(total) == 7 * 12 * 0.25  # a kernel of ones; the bias starts as zeros


def test_messages() -> None:
    with pytest.raises(gr.errors.DTypeError, match=r"l2_regularizer: scale is the int 1(.|\n)*write 1\.0"):
        R.l2_regularizer(1)
    with pytest.raises(gr.errors.ShapeError, match=r"l1_regularizer: scale is -0\.1"):
        R.l1_regularizer(-0.1)
    with pytest.raises(gr.errors.ShapeError, match="no weights to regularize"):
        R.apply_regularization(R.l1_regularizer(1.0))
    with pytest.raises(gr.errors.ShapeError, match=r"the regularizer returns shape \(2, 2\)"):
        R.apply_regularization(lambda w: w, [gr.constant(W)])
