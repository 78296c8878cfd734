"""Embeddings of sets of words, against loops of Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GraphError

TABLE = np.random.default_rng(3).standard_normal((9, 4)).astype(np.float32)
PLACES = np.array([[0, 0], [0, 2], [1, 0], [3, 0], [3, 1], [3, 2]])
IDS = np.array([2, 7, 2, 0, 2, 2])
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 3.0], np.float32)


def _slow(ids: Any, weights: Any, rows: int, combiner: str, places: Any = PLACES) -> np.ndarray:
    result = np.zeros((rows, TABLE.shape[1]))
    for row in range(rows):
        of_row = places[:, 0] == row
        w = weights[of_row]
        if w.size:
            by = {"sum": 1, "mean": w.sum(), "sqrtn": np.sqrt((w**2).sum())}[combiner]
            result[row] = (w[:, None] * TABLE[ids[of_row]]).sum(0) / by
    return result


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
def test_rows_are_combined(device: str, combiner: str, weighted: bool) -> None:
    table = gr.Variable(TABLE)
    ids = gr.SparseTensor(PLACES, IDS, [5, 3])
    weights = gr.SparseTensor(PLACES, WEIGHTS, [5, 3]) if weighted else None
    y = gr.nn.embedding_lookup_sparse(table, ids, weights, combiner=combiner)
    (g,) = gr.gradients(gr.reduce_sum(y * y), table)
    assert y.shape.as_list()[1:] == [4] and isinstance(g, gr.IndexedSlices)
    factors = WEIGHTS if weighted else np.ones(6)
    expected = _slow(IDS, factors, 4, combiner)
    with gr.Session(device=device) as sess:
        sess.run(table.initializer)
        found, slopes = sess.run([y, gr.convert_to_tensor(g)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    wanted = np.zeros_like(TABLE)
    for (row, _), i, w in zip(PLACES, IDS, factors, strict=True):
        own = factors[PLACES[:, 0] == row]
        by = {"sum": 1, "mean": own.sum(), "sqrtn": np.sqrt((own**2).sum())}[combiner]
        wanted[i] += 2 * expected[row] * w / by
    np.testing.assert_allclose(slopes, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("default_id", [None, 5])
def test_missing_and_wrong_ids(default_id: int | None) -> None:
    ids = IDS.copy()
    ids[[1, 2]] = -1
    y = gr.nn.safe_embedding_lookup_sparse(TABLE, gr.SparseTensor(PLACES, ids, [5, 3]), default_id=default_id)
    assert y.shape.as_list() == [5, 4]
    expected = np.zeros((5, 4)) if default_id is None else np.tile(TABLE[5], (5, 1))
    expected[0], expected[3] = TABLE[2], (TABLE[0] + 2 * TABLE[2]) / 3
    with gr.Session() as sess:
        np.testing.assert_allclose(sess.run(y), expected, rtol=1e-5)


def test_more_dimensions_and_weights() -> None:
    places = np.array([[0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1]])
    ids, weights = np.array([1, 2, 3, 4]), np.array([2.0, 1.0, 0.0, 0.5], np.float32)
    sparse = [gr.SparseTensor(places, x, [2, 2, 2]) for x in (ids, weights)]
    mean = gr.nn.safe_embedding_lookup_sparse(TABLE, *sparse)
    total = gr.nn.safe_embedding_lookup_sparse(TABLE, *sparse, "sum")
    assert mean.shape.as_list() == [2, 2, 4]
    with gr.Session() as sess:
        found, sums = sess.run([mean, total])
    np.testing.assert_allclose(found, [[TABLE[1], TABLE[2]], [0 * TABLE[1], TABLE[4]]], rtol=1e-6)
    np.testing.assert_allclose(sums[1, 1], TABLE[4] / 2, rtol=1e-6)
    np.testing.assert_allclose(sums[0, 0], TABLE[1] * 2, rtol=1e-6)


def test_parts_and_norms() -> None:
    ids = gr.SparseTensor(PLACES, IDS, [4, 3])
    whole = gr.nn.embedding_lookup_sparse(TABLE, ids, None, max_norm=1.0)
    parts = [TABLE[0::2], TABLE[1::2]]
    with gr.Session() as sess:
        a, b = sess.run([whole, gr.nn.embedding_lookup_sparse(parts, ids, None, max_norm=1.0)])
    np.testing.assert_allclose(a, b, rtol=1e-6)
    assert np.linalg.norm(a[1]) == pytest.approx(1.0, rel=1e-5)


def test_what_does_not_fit() -> None:
    ids = gr.SparseTensor(PLACES, IDS, [4, 3])
    with pytest.raises(GraphError, match="embedding_lookup_sparse: combiner='max'"):
        gr.nn.embedding_lookup_sparse(TABLE, ids, None, combiner="max")
    with pytest.raises(DTypeError, match="expected a gr.SparseTensor"):
        gr.nn.embedding_lookup_sparse(TABLE, IDS, None)
