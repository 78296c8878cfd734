"""Gradients with regard to the last argument, and values that are composed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients

import graphrun as gr
from graphrun.ops.special import ndtri, xdivy, xlogy

A, B = np.array([0.7, 2.0, 3.5]), np.array([1.5, 0.8, 4.0])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gr.igamma(A, x),
        lambda x: gr.igammac(A, x),
        lambda x: gr.betainc(A, B, x),
        lambda x: gr.zeta(A + 1.5, x),
        lambda x: gr.polygamma(np.array([1.0, 2.0, 3.0]), x),
        gr.lbeta,
        ndtri,
        lambda x: xlogy(x, x + 1.0),
        lambda x: xdivy(A, x),
    ],
)
def test_gradients(function: Callable[[Any], Any]) -> None:
    check_gradients(function, [np.array([0.3, 0.45, 0.8])])


def test_nothing_times_infinity_is_nothing() -> None:
    x, y = gr.constant([0.0, 2.0]), gr.constant([0.0, 1.0])
    with gr.Session() as sess:
        for z, last in ((xlogy(x, y), 0.0), (xdivy(x, y), 2.0)):
            values, dx, dy = sess.run([z, *gr.gradients(z, [x, y])])
            np.testing.assert_array_equal(values, [0.0, last])
            assert np.isfinite([dx, dy]).all()


def test_wide_ranges_agree_with_sums() -> None:
    """Where the series and the fraction meet, and far out."""
    with gr.Session() as sess:
        a = np.repeat(np.arange(1, 60.0), 30)
        x = np.tile(np.geomspace(0.01, 150, 30), 59)
        p, q = sess.run([gr.igamma(a, x), gr.igammac(a, x)])
        exact = [
            math.fsum(math.exp(k * math.log(t) - t - math.lgamma(k + 1)) for k in range(int(n)))
            for n, t in zip(a, x, strict=True)
        ]
        np.testing.assert_allclose(q, exact, rtol=1e-11, atol=1e-300)
        np.testing.assert_allclose(p, 1 - np.array(exact), rtol=1e-9, atol=1e-13)
        y = np.linspace(-0.999999, 0.999999, 1001)
        np.testing.assert_allclose(sess.run(gr.erf(gr.erfinv(y))), y, rtol=1e-13, atol=1e-15)
