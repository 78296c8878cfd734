"""Norms and clipping by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr
from graphrun.ops import clip

VALUE = np.random.default_rng(0).uniform(-1, 1, (3, 4))


@pytest.mark.parametrize("axes", [None, 1, [0, 1]])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clip_by_norm(axes: Any, limit: float) -> None:
    over = tuple(axes) if isinstance(axes, list) else axes
    length = np.sqrt((VALUE**2).sum(over, keepdims=True))
    y = clip.clip_by_norm(gr.constant(VALUE), limit, axes)
    np.testing.assert_allclose(evaluate(y), VALUE * np.minimum(1, limit / length), rtol=1e-12)
    check_gradients(lambda t: clip.clip_by_norm(t, limit, axes), [VALUE])


def test_clip_by_norm_of_zeros_has_a_gradient() -> None:
    x = gr.zeros([3])
    y = clip.clip_by_norm(x, 1.0)
    np.testing.assert_array_equal(evaluate([y, gr.gradients(y, x)[0]]), [[0.0] * 3, [1.0] * 3])


def test_clip_by_average_norm() -> None:
    y = evaluate(clip.clip_by_average_norm(gr.constant(VALUE), 0.01))
    assert np.linalg.norm(y) / y.size == pytest.approx(0.01)


def test_clip_by_global_norm(device: str) -> None:
    with gr.Session(device=device) as sess:
        tensors = [gr.constant([3.0, 0.0]), None, gr.constant([[4.0]])]
        clipped, length = clip.clip_by_global_norm(tensors, 2.5)
        assert clipped[1] is None
        a, b, n = sess.run([clipped[0], clipped[2], length])
        np.testing.assert_allclose(a, [1.5, 0.0], rtol=1e-6)
        np.testing.assert_allclose(b, [[2.0]], rtol=1e-6)
        assert n == pytest.approx(5.0)
        kept, _ = clip.clip_by_global_norm(tensors, 100.0)
        np.testing.assert_allclose(sess.run(kept[0]), [3.0, 0.0], rtol=1e-6)


def test_clip_by_an_infinite_norm_is_nan() -> None:
    clipped, _ = clip.clip_by_global_norm([gr.constant([np.inf, 1.0])], 1.0)
    assert np.isnan(evaluate(clipped[0])).all()


def test_use_norm_is_used() -> None:
    clipped, length = clip.clip_by_global_norm([gr.constant([1.0])], 1.0, use_norm=gr.constant(10.0))
    np.testing.assert_allclose(evaluate(clipped[0]), [0.1], rtol=1e-6)
    assert float(evaluate(length)) == 10.0


def test_faults() -> None:
    with pytest.raises(gr.errors.ShapeError, match="global_norm of nothing"):
        clip.global_norm([None])
    with pytest.raises(gr.errors.ShapeError, match="expected a list of tensors"):
        clip.clip_by_global_norm(gr.zeros([2]), 1.0)
    with pytest.raises(gr.errors.ShapeError, match="1 or infinity for matrices"):
        clip.norm(gr.zeros([2, 2]), 3, axis=(0, 1))


@pytest.mark.parametrize("order", ["euclidean", 1, 2, 3, np.inf])
@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, False), (-1, True)])
def test_norms_of_vectors(order: Any, axis: Any, keepdims: bool) -> None:
    flat = VALUE.reshape(-1) if axis is None else VALUE
    p = 2 if order == "euclidean" else order
    expected = np.linalg.norm(flat, p, axis=axis, keepdims=keepdims)
    found = evaluate(clip.norm(gr.constant(VALUE), order, axis, keepdims))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", ["euclidean", "fro", 1, np.inf])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_of_matrices(order: Any, keepdims: bool) -> None:
    p = "fro" if order == "euclidean" else order
    expected = np.linalg.norm(VALUE, p, axis=(0, 1), keepdims=keepdims)
    found = evaluate(clip.norm(gr.constant(VALUE), order, [0, 1], keepdims))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
