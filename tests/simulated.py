"""A little of every kernel in both styles, small enough for a simulator: what ``tests/oclgrind.py`` watches.

These are small rows of the operation table, layers with their gradients, and steps of training.  They run on
any device (``python -m pytest tests/simulated.py``), and results are compared with NumPy; the name keeps them
out of an ordinary run of the tests, which has all rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import Case
from compiler.run_plan import STYLES, run_plan
from interpreter import call, evaluate
from op_cases import CASES
from tolerances import assert_close

import graphrun as gr
from graphrun.graph.apply import apply
from graphrun.graph.opdef import get_op

MOST_ELEMENTS = 600
ROWS_OF_EACH = 3
GROUP = 12  # operations of one program


def _chosen() -> list[list[Case]]:
    """The first small rows of each operation that devices run, in groups."""
    by_op: dict[str, list[Case]] = {}
    for row in CASES:
        rows = by_op.setdefault(row.op, [])
        op = get_op(row.op)
        runs = row.on_device and not row.host_ok and (op.opencl is not None or op.expand is not None)
        if runs and len(rows) < ROWS_OF_EACH and 0 < sum(a.size for a in row.arrays()) <= MOST_ELEMENTS:
            rows.append(row)
    names = sorted(name for name, rows in by_op.items() if rows)
    return [
        [row for name in names[k : k + GROUP] for row in by_op[name]] for k in range(0, len(names), GROUP)
    ]


_GROUPS = _chosen()


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rows", _GROUPS, ids=[f"{g[0].op}-{g[-1].op}" for g in _GROUPS])
def test_rows(rows: list[Case], style: str) -> None:
    feeds: dict[Any, Any] = {}
    results: list[list[Any]] = []
    for row in rows:
        arrays = row.arrays()
        inputs = [gr.placeholder(a.dtype, a.shape) for a in arrays]
        feeds.update(zip(inputs, arrays, strict=True))
        found = apply(row.op, inputs, dict(row.attrs))
        results.append(list(found) if isinstance(found, tuple | list) else [found])
    flat = iter(run_plan(style, [t for tensors in results for t in tensors], feeds))
    for row, tensors in zip(rows, results, strict=True):
        for expected in call(get_op(row.op), row.arrays(), row.attrs)[: len(tensors)]:
            assert_close(next(flat), expected, row.tolerance, row.id)


def _floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def _agree(style: str, fetches: list[Any], feeds: dict[Any, Any]) -> None:
    for found, t in zip(run_plan(style, fetches, feeds), fetches, strict=True):
        np.testing.assert_allclose(found, evaluate(t, feeds), rtol=2e-4, atol=2e-4, err_msg=t.name)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_products_that_straddle_tiles(style: str) -> None:
    """Sizes around vectors and tiles, transposed, in batches, with what follows in the same kernel."""
    feeds: dict[Any, Any] = {}

    def fed(*shape: int) -> Any:
        t = gr.placeholder(gr.float32, shape)
        feeds[t] = _floats(*shape, seed=len(feeds))
        return t

    layer = gr.nn.relu(gr.matmul(fed(17, 33), fed(33, 31)) + fed(31)) - fed(17, 31)
    fetches = [
        layer,
        gr.matmul(fed(9, 5), fed(16, 9), transpose_a=True, transpose_b=True),
        gr.matmul(fed(2, 3, 18), fed(2, 18, 7)),
        gr.matmul(fed(1, 65), fed(65, 3)),
    ]
    _agree(style, fetches, feeds)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_windows_that_straddle_tiles(style: str) -> None:
    x = gr.placeholder(gr.float32, (1, 5, 9, 17))
    w, d = gr.placeholder(gr.float32, (3, 2, 17, 9)), gr.placeholder(gr.float32, (3, 3, 17, 1))
    y = gr.nn.relu(gr.nn.bias_add(gr.nn.conv2d(x, w, [1, 2, 1, 1], "SAME"), gr.constant(_floats(9))))
    z = gr.nn.depthwise_conv2d(x, d, [1, 1, 1, 1], "SAME")
    pooled = gr.nn.max_pool(z, [1, 3, 2, 1], [1, 2, 2, 1], "SAME")
    feeds = {x: _floats(1, 5, 9, 17), w: _floats(3, 2, 17, 9, seed=1), d: _floats(3, 3, 17, 1, seed=2)}
    _agree(style, [y, pooled, *gr.gradients([y, pooled], [x, w, d])], feeds)


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_rows_and_reductions(style: str) -> None:
    x, labels = gr.placeholder(gr.float32, (5, 37)), gr.placeholder(gr.int32, (5,))
    loss = gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
    mean, variance = gr.nn.moments(x, [1], keep_dims=True)
    normal = gr.nn.batch_normalization(x, mean, variance, None, None, 1e-3)
    fetches = [loss, normal, gr.nn.softmax(x), gr.reduce_sum(x, 0), gr.reduce_max(x), gr.argmax(x, 1)]
    fetches += gr.gradients([loss, normal * normal * normal], x)
    _agree(style, fetches, {x: _floats(5, 37), labels: np.array([0, 36, 5, 5, 17], np.int32)})


@pytest.mark.opencl
def test_steps_of_training() -> None:
    """The executor itself: feeds, variables updated where they lie, random numbers, fetches."""
    x, labels = gr.placeholder(gr.float32, (None, 6, 6, 2)), gr.placeholder(gr.int32, (None,))
    w = gr.Variable(_floats(3, 3, 2, 5) * 0.3)
    v = gr.Variable(_floats(45, 3, seed=1) * 0.3)
    hidden = gr.nn.max_pool(gr.nn.relu(gr.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")), 2, 2, "SAME")
    dropped = gr.nn.dropout(gr.reshape(hidden, [-1, 45]), keep_prob=0.8, seed=1)
    loss = gr.reduce_mean(
        gr.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=gr.matmul(dropped, v))
    )
    step = gr.train.AdamOptimizer(0.01).minimize(loss)
    curves = []
    for device in ("cpu:0", "opencl:0"):
        with gr.Session(device=device) as session:
            session.run(gr.global_variables_initializer())
            feeds = {x: _floats(4, 6, 6, 2, seed=2), labels: [0, 1, 2, 1]}
            curves.append([session.run([loss, step], feeds)[0] for _ in range(3)])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
