"""Learning rates that change beside TensorFlow's: values, names and static shapes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphrun as gr

if os.environ.get("LD_BIND_NOW") != "1" and os.environ.get("GRAPHRUN_OPENCL") != "0":
    # TensorFlow and PoCL carry different versions of LLVM, and mix up their symbols else.
    pytest.skip("set LD_BIND_NOW=1, or GRAPHRUN_OPENCL=0, to load TensorFlow", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow.compat.v1")

STEPS = [0, 1, 2, 3, 5, 7, 10, 11, 23, 40]
SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "exponential": lambda t, s: t.exponential_decay(0.5, s, 7, 0.9),
    "staircase": lambda t, s: t.exponential_decay(0.5, s, 7, 0.9, True),
    "natural": lambda t, s: t.natural_exp_decay(0.5, s, 7, 0.3),
    "natural_staircase": lambda t, s: t.natural_exp_decay(0.5, s, 7, 0.3, True),
    "inverse": lambda t, s: t.inverse_time_decay(0.5, s, 7, 0.3),
    "inverse_staircase": lambda t, s: t.inverse_time_decay(0.5, s, 7, 0.3, True),
    "polynomial": lambda t, s: t.polynomial_decay(0.5, s, 7, 0.01, 2.0),
    "polynomial_cycle": lambda t, s: t.polynomial_decay(0.5, s, 7, 0.01, 0.5, True),
    "cosine": lambda t, s: t.cosine_decay(0.5, s, 11, 0.1),
    "restarts": lambda t, s: t.cosine_decay_restarts(0.5, s, 3),
    "restarts_all": lambda t, s: t.cosine_decay_restarts(0.5, s, 3, 1.5, 0.8, 0.1),
    "restarts_equal": lambda t, s: t.cosine_decay_restarts(0.5, s, 4, 1.0, 0.8, 0.1),
    "linear_cosine": lambda t, s: t.linear_cosine_decay(0.5, s, 11, 1.5, 0.1, 0.01),
    "noisy": lambda t, s: t.noisy_linear_cosine_decay(0.5, s, 11, 0.0, 0.55, 1.5, 0.1, 0.01),
    "piecewise": lambda t, s: t.piecewise_constant(s, [2, 7], [0.5, 0.1, 0.01]),
    "piecewise_decay": lambda t, s: t.piecewise_constant_decay(s, [0, 10], [0.5, 0.1, 0.01]),
}


def _run(lib: Any, make: Callable[[Any, Any], Any]) -> tuple[str, Any, Any, list[Any]]:
    with lib.Graph().as_default(), lib.Session() as sess:
        step = lib.placeholder(lib.int64, [])
        rate = make(lib.train, step)
        return rate.name, rate.dtype.name, rate.shape.as_list(), [sess.run(rate, {step: k}) for k in STEPS]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name: str) -> None:
    ours, theirs = (_run(lib, SCHEDULES[name]) for lib in (gr, tf))
    assert ours[1:3] == theirs[1:3]
    np.testing.assert_allclose(ours[3], theirs[3], rtol=2e-5, atol=1e-7)
