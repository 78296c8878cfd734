"""Reductions over many rows, which kernels of CPUs add several at once in wide blocks of columns."""

from __future__ import annotations

import numpy as np
import pytest

import graphrun as gr

SHAPES = [
    (1023, 5),
    (1024, 1),
    (1025, 3),
    (1031, 16),
    (1029, 17),
    (2050, 4100),
    (1026, 4096),
    (3, 1030, 7),
    (1500, 2, 9),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["sum", "max", "mean", "argmax"])
def test_over_rows(device, shape, name):
    rng = np.random.default_rng(1)
    axis = int(np.argmax([d if k < len(shape) - 1 else 0 for k, d in enumerate(shape)]))
    x = rng.standard_normal(shape).astype(np.float32)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        t = gr.placeholder(gr.float32, shape)
        reduce = gr.argmax if name == "argmax" else getattr(gr, f"reduce_{name}")
        got = sess.run(reduce(t, axis), {t: x})
        again = sess.run(reduce(t, axis), {t: x})
    want = getattr(np, name)(x if name == "argmax" else x.astype(np.float64), axis)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-3)
    np.testing.assert_array_equal(got, again)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "int64"])
def test_of_other_dtypes(device, dtype):
    x = (np.arange(1100 * 37).reshape(1100, 37) % 7).astype(dtype)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        t = gr.placeholder(dtype, (None, 37))
        got = sess.run(gr.reduce_sum(t, 0), {t: x})
    np.testing.assert_array_equal(got, x.sum(0, dtype=dtype))


def test_of_what_a_group_computes(device):
    rng = np.random.default_rng(2)
    x, scale = (
        rng.standard_normal((2049, 130)).astype(np.float32),
        rng.standard_normal(130).astype(np.float32),
    )
    column = rng.standard_normal((2049, 1)).astype(np.float32)
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        t, s, c = (
            gr.placeholder(gr.float32, x.shape),
            gr.placeholder(gr.float32, (130,)),
            gr.placeholder(gr.float32, (2049, 1)),
        )
        got = sess.run(gr.reduce_sum(gr.square(t * s - c), 0), {t: x, s: scale, c: column})
        turned = sess.run(gr.reduce_sum(gr.transpose(t)[::2] * 2.0, 1), {t: x})
    np.testing.assert_allclose(got, np.square(x.astype(np.float64) * scale - column).sum(0), rtol=2e-5)
    np.testing.assert_allclose(turned, 2 * x.astype(np.float64).T[::2].sum(1), rtol=1e-4, atol=1e-3)


def test_infinities_and_numbers_that_are_none(device):
    x = np.ones((1100, 20), np.float32)
    x[17, 3], x[1099, 4], x[0, 5] = np.nan, np.inf, -np.inf
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        t = gr.placeholder(gr.float32, x.shape)
        total, most = sess.run([gr.reduce_sum(t, 0), gr.reduce_max(t, 0)], {t: x})
    np.testing.assert_array_equal(total, x.sum(0))
    np.testing.assert_array_equal(most, x.max(0))
