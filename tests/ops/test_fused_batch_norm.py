"""`nn.fused_batch_norm`: channels first, digits, messages.  More values stand beside TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients

import graphrun as gr

X = np.random.default_rng(0).standard_normal((3, 2, 4, 5))
SCALE, OFFSET = np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5)


def _run(*tensors: Any) -> Any:
    return gr.Session().run(list(tensors))


def test_channels_first_is_channels_last_moved() -> None:
    last = gr.nn.fused_batch_norm(gr.constant(X), SCALE, OFFSET)
    first = gr.nn.fused_batch_norm(gr.constant(X.transpose(0, 3, 1, 2)), SCALE, OFFSET, data_format="NCHW")
    (y, *moments), (z, *others) = _run(*last), _run(*first)
    np.testing.assert_allclose(z.transpose(0, 2, 3, 1), y, rtol=1e-12)
    for a, b, c in zip(moments, others, (X.mean((0, 1, 2)), X.var((0, 1, 2), ddof=1)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(a, c, rtol=1e-12)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
def test_gradients(data_format: str) -> None:
    x = X if data_format == "NHWC" else X.transpose(0, 3, 1, 2)
    check_gradients(
        lambda x, s, o: gr.nn.fused_batch_norm(x, s, o, data_format=data_format)[0], [x, SCALE, OFFSET]
    )


def test_a_large_mean_costs_no_digits() -> None:
    x = (X + 1000.0).astype(np.float32)
    y = gr.nn.fused_batch_norm(gr.constant(x), np.ones(5, "f4"), np.zeros(5, "f4"))[0]
    exact = x.astype(np.float64) - x.astype(np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(_run(y)[0], exact / np.sqrt(x.astype(float).var((0, 1, 2)) + 1e-3), atol=2e-4)


def test_half_is_computed_in_single() -> None:
    x = np.full((64, 40, 40, 1), 100.0, np.float16)
    y, mean, variance = gr.nn.fused_batch_norm(gr.constant(x), [1.0], [0.5])
    assert (y.dtype, mean.dtype, variance.dtype) == (gr.float16, gr.float32, gr.float32)
    assert [v.ravel()[0] for v in _run(y, mean, variance)] == [0.5, 100.0, 0.0]


def test_messages() -> None:
    x = gr.placeholder(gr.float32, (None, 5))
    with pytest.raises(gr.errors.ShapeError, match=r"another rank\n(.*\n)*.*rank 4 for data_format='NHWC'"):
        gr.nn.fused_batch_norm(x, SCALE, OFFSET)
    with pytest.raises(gr.errors.ShapeError, match=r"data_format='NWHC'(.*\n)*.*NCHW"):
        gr.nn.fused_batch_norm(x, SCALE, OFFSET, data_format="NWHC")
    with pytest.raises(gr.errors.GraphError, match=r"are missing\n(.*\n)*.*is_training=False"):
        gr.nn.fused_batch_norm(gr.constant(X), SCALE, OFFSET, is_training=False)
