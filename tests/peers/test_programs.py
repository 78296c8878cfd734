"""Random programs of 10 to 30 operations as a whole: values and gradients beside TensorFlow's."""

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

N = 4  # all tensors are N x N, so that every operation takes every result
Step = Callable[..., Any]

ONE: list[Step] = [
    lambda lib, x: lib.tanh(x),
    lambda lib, x: lib.sigmoid(x),
    lambda lib, x: lib.sin(x),
    lambda lib, x: lib.nn.softplus(x),
    lambda lib, x: lib.nn.elu(x),
    lambda lib, x: lib.nn.softmax(x),
    lambda lib, x: lib.nn.log_softmax(x) * 0.3,
    lambda lib, x: lib.log(lib.abs(x) + 1.0),
    lambda lib, x: lib.sqrt(lib.square(x) + 0.1),
    lambda lib, x: lib.exp(lib.clip_by_value(x, -2.0, 1.0)),
    lambda lib, x: lib.transpose(x),
    lambda lib, x: lib.cumsum(x, axis=1, reverse=True) * 0.5,
    lambda lib, x: lib.reverse(x, [0]),
    lambda lib, x: lib.roll(x, 1, 1),
    lambda lib, x: lib.reshape(lib.reshape(x, [2, -1]), [N, N]),
    lambda lib, x: x - lib.reduce_mean(x, 0, keepdims=True),
    lambda lib, x: x / (1.0 + lib.reduce_sum(lib.square(x), 1, keepdims=True)),
    lambda lib, x: lib.gather(x, [2, 0, 0, 3]),
    lambda lib, x: lib.tile(x[:, :2], [1, 2]),
    lambda lib, x: lib.pad(x[1:, 1:], [[1, 0], [0, 1]]),
    lambda lib, x: lib.matrix_band_part(x, 1, 1),
    lambda lib, x: lib.matrix_set_diag(x, lib.reduce_max(x, 1)),
    lambda lib, x: lib.stack(lib.unstack(x, N, 1), axis=0),
    lambda lib, x: lib.concat(lib.split(x, 2, 1)[::-1], 1),
    lambda lib, x: lib.unsorted_segment_sum(x, [3, 1, 1, 0], N),
    lambda lib, x: lib.scatter_nd([[1], [3], [1], [0]], x, [N, N]),
    lambda lib, x: lib.matrix_inverse(lib.matmul(x, x, transpose_b=True) * 0.1 + np.eye(N)),
    lambda lib, x: lib.one_hot(lib.argmax(x, 1), N, dtype=lib.float64) * lib.reduce_max(x, 1, keepdims=True),
]  # fmt: skip
TWO: list[Step] = [
    lambda lib, x, y: x + y,
    lambda lib, x, y: x - y,
    lambda lib, x, y: x * y,
    lambda lib, x, y: x / (lib.square(y) + 1.0),
    lambda lib, x, y: lib.maximum(x, y),
    lambda lib, x, y: lib.minimum(x, y),
    lambda lib, x, y: lib.tanh(lib.matmul(x, y)),
    lambda lib, x, y: lib.tanh(lib.matmul(x, y, transpose_a=True)),
    lambda lib, x, y: lib.where(x > y, x, lib.sin(y)),
    lambda lib, x, y: lib.concat([x[:2], y[2:]], 0),
    lambda lib, x, y: lib.einsum("ij,kj->ki", x, y) * 0.3,
    lambda lib, x, y: lib.squared_difference(x, y) * 0.2,
]


def build(lib: Any, seed: int, inputs: list[Any]) -> Any:
    """The same program for either library: which operations, and on what, follows from `seed`."""
    rng = np.random.default_rng(seed)
    pool = list(inputs)
    for _ in range(int(rng.integers(10, 31))):
        if rng.random() < 0.6:
            made = ONE[rng.integers(len(ONE))](lib, pool[rng.integers(len(pool))])
        else:
            a, b = (pool[k] for k in rng.integers(len(pool), size=2))
            made = TWO[rng.integers(len(TWO))](lib, a, b)
        pool.append(lib.clip_by_value(made, -50.0, 50.0))
    return lib.add_n(pool[len(inputs) :])


def run(lib: Any, seed: int, open_batch: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(1000 + seed)
    with lib.Graph().as_default():
        xs = [lib.placeholder(lib.float64, [None if open_batch else N, N]) for _ in range(3)]
        y = build(lib, seed, xs)
        gradients = lib.gradients(lib.reduce_sum(lib.sin(y)), xs)
        wanted = [y, *(g for g in gradients if g is not None)]
        with lib.Session() as session:
            return session.run(wanted, {x: rng.uniform(-1.5, 1.5, (N, N)) for x in xs})


@pytest.mark.parametrize("open_batch", [False, True], ids=["static", "open"])
@pytest.mark.parametrize("seed", range(30))
def test_random_programs(seed: int, open_batch: bool) -> None:
    ours, theirs = (run(lib, seed, open_batch) for lib in (gr, tf))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
