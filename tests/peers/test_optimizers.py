"""Optimizers beside TensorFlow's over several steps: dense gradients, and rows with repeated indices."""

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

ROWS, COLUMNS, BATCH = 9, 4, 6
Make = Callable[[Any], Any]

OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda t: t.GradientDescentOptimizer(0.1),
    "momentum": lambda t: t.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda t: t.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adam": lambda t: t.AdamOptimizer(0.1, 0.8, 0.99, 1e-3),
    "rmsprop": lambda t: t.RMSPropOptimizer(0.1, 0.8, 0.5, 1e-3),
    "centered": lambda t: t.RMSPropOptimizer(0.1, 0.8, 0.5, 1e-3, centered=True),
    "adagrad": lambda t: t.AdagradOptimizer(0.1, 0.2),
    "adadelta": lambda t: t.AdadeltaOptimizer(0.5, 0.9, 1e-3),
    "ftrl": lambda t: t.FtrlOptimizer(0.1),
    "ftrl_l1_l2": lambda t: t.FtrlOptimizer(0.1, -0.7, 0.2, 0.3, 0.2),
    "ftrl_shrinkage": lambda t: t.FtrlOptimizer(
        0.1, l1_regularization_strength=0.1, l2_shrinkage_regularization_strength=0.05
    ),
    "proximal": lambda t: t.ProximalGradientDescentOptimizer(0.1, 0.3, 0.2),
    "proximal_l2": lambda t: t.ProximalGradientDescentOptimizer(0.1, l2_regularization_strength=0.2),
    "proximal_adagrad": lambda t: t.ProximalAdagradOptimizer(0.1, 0.2, 0.3, 0.2),
    "proximal_adagrad_plain": lambda t: t.ProximalAdagradOptimizer(0.1),
    "dual": lambda t: t.AdagradDAOptimizer(0.1, t.get_or_create_global_step(), 0.2, 0.01, 0.2),
    "dual_plain": lambda t: t.AdagradDAOptimizer(0.1, t.get_or_create_global_step()),
}


def _program(lib: Any, seed: int) -> tuple[Any, Any, Any]:
    """A loss of a table that is read by rows, several times, and of a matrix; what is fed."""
    rng = np.random.default_rng(seed)
    table = lib.Variable(rng.standard_normal((ROWS, COLUMNS)).astype("float32"), name="table")
    matrix = lib.Variable(rng.standard_normal((COLUMNS, 3)).astype("float32"), name="matrix")
    ids = lib.placeholder(lib.int32, [None])
    x = lib.nn.embedding_lookup(table, ids)
    if seed % 3:
        x = x * (0.5 + lib.gather(table, (ids + 1) % ROWS))
    if seed % 3 == 2:
        x = lib.concat([x, lib.nn.embedding_lookup(table, lib.reshape(ids, [2, -1]))[0]], 0)
    loss = lib.reduce_mean(lib.square(lib.tanh(lib.matmul(x, matrix)) - 0.3))
    return loss, ids, [table, matrix]


def _run(lib: Any, make: Make, seed: int) -> Any:
    rng = np.random.default_rng(100 + seed)
    with lib.Graph().as_default():
        loss, ids, variables = _program(lib, seed)
        optimizer = make(lib.train)
        pairs = optimizer.compute_gradients(loss)
        kinds = [isinstance(g, lib.IndexedSlices) for g, _ in pairs]
        clipped, norm = lib.clip_by_global_norm([g for g, _ in pairs], 0.5)
        step = optimizer.apply_gradients(zip(clipped, variables), lib.train.get_or_create_global_step())
        names = sorted(v.name for v in lib.global_variables())
        slots = [optimizer.get_slot(v, s) for s in optimizer.get_slot_names() for v in variables]
        with lib.Session() as sess:
            sess.run(lib.global_variables_initializer())
            norms = []
            for _ in range(5):
                feed = {ids: rng.integers(0, ROWS - 2, BATCH)}
                norms.append(sess.run([norm, step], feed)[0])
            values = sess.run([*variables, *slots])
    return kinds, names, optimizer.get_slot_names(), np.array(norms), values


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps(name: str, seed: int) -> None:
    ours, theirs = (_run(lib, OPTIMIZERS[name], seed) for lib in (gr, tf))
    assert ours[:3] == theirs[:3]
    assert ours[0][0] is True
    np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-4)
    for a, b in zip(ours[4], theirs[4], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
