"""Losses: values as tensorflow.compat.v1 2.21 gives them, weights, reductions, collections, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import ShapeError

L = gr.losses
LABELS = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
LOGITS = np.array([[0.1, 2, -1], [0.5, 0.2, 0.3]], np.float32)
W = np.array([1.0, 2.0], np.float32)


def _run(t: Any) -> Any:
    with gr.Session() as sess:
        return sess.run(t)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda: L.mean_squared_error(LABELS, LOGITS), 0.3983),
        (lambda: L.absolute_difference(LABELS, LOGITS, weights=W[:, None]), 0.6833),
        (lambda: L.softmax_cross_entropy(LABELS, LOGITS, weights=W, label_smoothing=0.1), 1.1291),
        (lambda: L.sparse_softmax_cross_entropy(np.array([1, 0]), LOGITS, weights=W), 1.0307),
        (lambda: L.sigmoid_cross_entropy(LABELS, LOGITS), 0.5519),
        (lambda: L.huber_loss(LABELS, LOGITS), 0.1992),
        (lambda: L.hinge_loss(LABELS, LOGITS), 0.6833),
        (lambda: L.log_loss(LABELS, np.abs(LOGITS) / 3), 0.4685),
        (lambda: L.cosine_distance(LABELS, LOGITS, axis=1), -0.25),
        (lambda: L.mean_pairwise_squared_error(LABELS, LOGITS), 2.3867),
    ],
)
def test_values(loss: Any, expected: float) -> None:
    t = loss()
    assert _run(t) == pytest.approx(expected, abs=1e-4)
    assert L.get_losses() == [t] and _run(L.get_total_loss()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("weighted_sum", 2.0), ("weighted_mean", 0.3333), ("weighted_sum_over_batch_size", 0.3333),
        ("weighted_sum_by_nonzero_weights", 0.6667),
    ],
)  # fmt: skip
def test_reductions(reduction: str, expected: float) -> None:
    weights = np.array([[0.0], [2.0]], np.float32)
    loss = L.compute_weighted_loss(LOGITS, weights, reduction=reduction)
    assert _run(loss) == pytest.approx(expected, abs=1e-4)
    each = _run(L.compute_weighted_loss(LOGITS, weights, reduction=L.Reduction.NONE))
    np.testing.assert_allclose(each, LOGITS * weights, rtol=1e-6)


def test_no_weight_no_loss() -> None:
    assert _run(L.mean_squared_error(LABELS, LOGITS, weights=0.0)) == 0.0


def test_regularization_is_part_of_the_total() -> None:
    L.mean_squared_error(LABELS, LOGITS)
    with gr.variable_scope("a", regularizer=lambda w: gr.reduce_sum(w)):
        gr.get_variable("w", initializer=np.ones(3, np.float32))
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        total, regular = sess.run([L.get_total_loss(), L.get_regularization_loss()])
    assert (total, regular) == (pytest.approx(3.3983, abs=1e-4), 3.0)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"different shapes(.|\n)*labels \(2,\), predictions \(2, 3\)"):
        L.mean_squared_error([1.0, 2.0], LOGITS)
    with pytest.raises(ShapeError, match="the weights do not fit"):
        L.mean_squared_error(LABELS, LOGITS, weights=np.ones((3, 3), np.float32))
    with pytest.raises(ShapeError, match="reduction 'sum'"):
        L.mean_squared_error(LABELS, LOGITS, reduction="sum")
    with gr.Graph().as_default(), pytest.raises(ShapeError, match="there are no losses"):
        L.get_total_loss()
