"""Embeddings beside TensorFlow's: values, kinds and values of gradients, and steps of optimizers."""

from __future__ import annotations

import os
import warnings
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

ROWS, COLUMNS = 12, 3
Lookup = Callable[[Any, Any, Any, Any], Any]  # of the library, a table, sparse ids, sparse weights

SPARSE: dict[str, Lookup] = {
    f"{combiner}{' weighted' * weighted}{' norm' * (norm is not None)}": (
        lambda lib, t, i, w, c=combiner, use=weighted, n=norm: lib.nn.embedding_lookup_sparse(
            t, i, w if use else None, combiner=c, max_norm=n
        )
    )
    for combiner in ("sum", "mean", "sqrtn")
    for weighted in (False, True)
    for norm in (None, 0.8)
}
for default in (None, 4):
    for combiner in ("sum", "mean", "sqrtn"):
        for weighted in (False, True):
            SPARSE[f"safe {combiner} {default}{' weighted' * weighted}"] = (
                lambda lib, t, i, w, c=combiner, use=weighted, d=default: lib.nn.safe_embedding_lookup_sparse(
                    t, i, w if use else None, c, d
                )
            )


def _dense(lib: Any, g: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lib.convert_to_tensor(g)


def _sparse(lib: Any, lookup: Lookup, wrong: bool) -> Any:
    rng = np.random.default_rng(7)
    places = np.array([[0, 0], [0, 2], [1, 0], [3, 0], [3, 1], [3, 2], [5, 1]], np.int64)
    ids = rng.integers(0, ROWS - 2, len(places))
    ids[3] = ids[0]
    weights = rng.uniform(0.5, 2.0, len(places)).astype("float32")
    if wrong:
        ids[1], weights[4] = -1, -0.5
    shape = np.array([7, 3], np.int64)
    with lib.Graph().as_default(), lib.Session() as sess:
        table = lib.Variable(rng.standard_normal((ROWS, COLUMNS)).astype("float32"))
        y = lookup(lib, table, lib.SparseTensor(places, ids, shape), lib.SparseTensor(places, weights, shape))
        (g,) = lib.gradients(lib.reduce_sum(lib.sin(y)), table)
        sess.run(lib.global_variables_initializer())
        kind = isinstance(g, lib.IndexedSlices)
        return kind, y.shape.as_list()[1:], *sess.run([y, _dense(lib, g), lib.global_norm([g])])


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_lookups(name: str) -> None:
    ours, theirs = (_sparse(lib, SPARSE[name], name.startswith("safe")) for lib in (gr, tf))
    assert ours[:2] == theirs[:2]
    for a, b in zip(ours[2:], theirs[2:], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# -- random programs ----------------------------------------------------------------------------------

READS: list[Callable[[Any, Any, Any], Any]] = [
    lambda lib, t, i: lib.gather(t, i),
    lambda lib, t, i: lib.nn.embedding_lookup(t, i),
    lambda lib, t, i: lib.nn.embedding_lookup(t, i, max_norm=1.0),
    lambda lib, t, i: lib.gather(lib.identity(t), i[::-1]),
    lambda lib, t, i: lib.reduce_sum(lib.nn.embedding_lookup(t, lib.reshape(i, [-1, 2])), 1),
    lambda lib, t, i: lib.gather(t, lib.cast(i, lib.int64) // 2),
    lambda lib, t, i: lib.boolean_mask(t, [True] * 5 + [False] * (ROWS - 5)),
]
DENSE: list[Callable[[Any, Any, Any], Any]] = [
    lambda lib, t, i: lib.gather(t * 0.5, i),
    lambda lib, t, i: lib.matmul(t, t, transpose_b=True)[:6, :COLUMNS],
    lambda lib, t, i: t[2:8],
    lambda lib, t, i: lib.gather_nd(t, i[:, None]),
    lambda lib, t, i: lib.transpose(lib.gather(t, i % COLUMNS, axis=1)),
    lambda lib, t, i: lib.unsorted_segment_sum(lib.gather(t, i), i % 4, 4),
]


def _program(lib: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    optimizer = [
        lambda t: t.GradientDescentOptimizer(0.3), lambda t: t.AdagradOptimizer(0.3),
        lambda t: t.MomentumOptimizer(0.2, 0.9), lambda t: t.AdamOptimizer(0.1),
        lambda t: t.RMSPropOptimizer(0.05, momentum=0.5),
    ][seed % 5](lib.train)  # fmt: skip
    with lib.Graph().as_default(), lib.Session() as sess:
        tables = [
            lib.Variable(rng.standard_normal((ROWS, COLUMNS)).astype("float32"), name=f"t{k}")
            for k in range(3)
        ]
        ids = lib.placeholder(lib.int32, [None])
        parts = []
        for _ in range(int(rng.integers(2, 7))):
            from_dense = rng.random() < 0.25
            reads = DENSE if from_dense else READS
            x = reads[rng.integers(len(reads))](lib, tables[rng.integers(3)], ids)
            parts.append(lib.reduce_mean(lib.sin(x * rng.uniform(0.5, 2))))
        loss = lib.add_n(parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pairs = [(g, v) for g, v in optimizer.compute_gradients(loss) if g is not None]
            kinds = [isinstance(g, lib.IndexedSlices) for g, _ in pairs]
            grads = [_dense(lib, g) for g, _ in pairs]
            if seed % 2:
                clipped, _ = lib.clip_by_global_norm([g for g, _ in pairs], 0.1)
                pairs = list(zip(clipped, [v for _, v in pairs], strict=True))
            step = optimizer.apply_gradients(pairs)
        sess.run(lib.global_variables_initializer())
        found = []
        for _ in range(4):
            feed = {ids: rng.integers(0, ROWS, 6)}
            found += sess.run([loss, *grads], feed)
            sess.run(step, feed)
        return kinds, found + sess.run(lib.global_variables())


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed: int) -> None:
    ours, theirs = (_program(lib, seed) for lib in (gr, tf))
    assert ours[0] == theirs[0]
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-4, atol=5e-6)


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_an_embedding_in_parts_trains_alike(strategy: str) -> None:
    def train(lib: Any) -> list[np.ndarray]:
        rng = np.random.default_rng(3)
        with lib.Graph().as_default(), lib.Session() as sess:
            parts = [lib.Variable(rng.standard_normal((n, 2)).astype("float32")) for n in (4, 4, 3)]
            ids = lib.placeholder(lib.int32, [None])
            y = lib.nn.embedding_lookup(parts, ids, strategy)
            step = lib.train.MomentumOptimizer(0.1, 0.9).minimize(lib.reduce_sum(lib.sin(y)))
            sess.run(lib.global_variables_initializer())
            for batch in ([0, 5, 10, 5], [3, 8, 4], [1, 10, 6, 1, 9]):
                sess.run(step, {ids: batch})
            return sess.run(lib.global_variables())

    for a, b in zip(*(train(lib) for lib in (gr, tf)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
