"""Sparse tensors: feeding and fetching them, and what is computed with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import DTypeError, FeedError, ShapeError

DENSE = np.array([[0, 3, 0], [4, 0, 5]], np.float32)
PLACES = np.array([[0, 1], [1, 0], [1, 2]])
VALUES = np.array([3, 4, 5], np.float32)


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def constant() -> gr.SparseTensor:
    return gr.SparseTensor(PLACES, VALUES, [2, 3])


def dense_of(value: gr.SparseTensorValue) -> np.ndarray:
    result = np.zeros(value.dense_shape, value.values.dtype)
    result[tuple(value.indices.T)] = value.values
    return result


def test_a_fetched_one_is_a_value(sess: gr.Session) -> None:
    got = sess.run({"x": constant()})["x"]
    assert isinstance(got, gr.SparseTensorValue)
    np.testing.assert_array_equal(got.indices, PLACES)
    np.testing.assert_array_equal(got.values, VALUES)
    assert got.dense_shape.tolist() == [2, 3] and got.dense_shape.dtype == np.int64
    assert constant().shape.as_list() == [2, 3]
    assert isinstance(constant().eval(session=sess), gr.SparseTensorValue)


def test_indices_and_the_shape_may_be_lists_with_tensors(sess: gr.Session) -> None:
    n, m = gr.placeholder(gr.int32, ()), gr.placeholder(gr.int64, ())
    x = gr.SparseTensor([[0, n], [1, 0]], [3.0, 4.0], [m, 3])
    dense = [[0, 0, 3], [4, 0, 0], [0, 0, 0]]
    assert sess.run(gr.sparse_tensor_to_dense(x), {n: 2, m: 3}).tolist() == dense


@pytest.mark.parametrize("shape", [None, (None, 3), (2, 3)])
def test_a_placeholder_is_fed_whole(sess: gr.Session, shape: tuple[int | None, ...] | None) -> None:
    x = gr.sparse_placeholder(gr.float32, shape, name="x")
    assert x.values.name == "x/values:0" and x.indices.name == "x/indices:0"
    y = gr.sparse_tensor_to_dense(x) * 2.0
    for value in (gr.SparseTensorValue(PLACES, VALUES, [2, 3]), (PLACES.tolist(), VALUES, (2, 3))):
        np.testing.assert_array_equal(sess.run(y, {x: value}), DENSE * 2)
    if shape != (2, 3):
        grown = sess.run(y, {x: (PLACES, VALUES, [4, 3])})
        np.testing.assert_array_equal(grown, np.vstack([DENSE * 2, np.zeros((2, 3))]))
    with pytest.raises(FeedError, match="2 values for a feed_dict key of 3 tensors"):
        sess.run(y, {x: (PLACES, VALUES)})


def test_to_dense_and_back(sess: gr.Session) -> None:
    np.testing.assert_array_equal(
        sess.run(gr.sparse_tensor_to_dense(constant(), -1.0)), np.where(DENSE, DENSE, -1)
    )
    back = sess.run(gr.sparse.from_dense(DENSE))
    np.testing.assert_array_equal(back.indices, PLACES)
    np.testing.assert_array_equal(back.values, VALUES)
    labels = gr.placeholder(gr.int32, (None,))
    onehot = gr.sparse_to_dense(gr.stack([gr.range(gr.size(labels)), labels], 1), [3, 4], 1.0, 0.0)
    np.testing.assert_array_equal(sess.run(onehot, {labels: [2, 0, 3]}), np.eye(4)[[2, 0, 3]])
    np.testing.assert_array_equal(sess.run(gr.sparse_to_dense([1, 3], [5], 7)), [0, 7, 0, 7, 0])


def test_softmax_of_rows(sess: gr.Session) -> None:
    places = [[0, 0, 1], [0, 0, 4], [0, 2, 0], [1, 0, 2], [1, 0, 3], [1, 0, 4]]
    values = np.array([1.0, 3.0, 9.0, 1e4, 1e4, -1e4], np.float32)
    fed = gr.sparse_placeholder(gr.float32)
    y = gr.sparse_softmax(fed)
    feed = {fed: (places, values, [2, 3, 5])}
    found = sess.run(y, feed)
    half = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(found.values, [1 - half, half, 1, 0.5, 0.5, 0], rtol=1e-5)
    assert found.indices.tolist() == places and found.dense_shape.tolist() == [2, 3, 5]
    slope = sess.run(gr.gradients(y.values * values, fed.values)[0], feed)
    np.testing.assert_allclose(slope[:3], [-2 * half * (1 - half), 2 * half * (1 - half), 0], rtol=1e-4)
    assert sess.run(y, {fed: (np.zeros((0, 2), int), [], [2, 3])}).values.shape == (0,)
    with pytest.raises(ShapeError, match="sparse_softmax: a sparse tensor of rank 1"):
        gr.sparse_softmax(gr.SparseTensor([[1]], [2.0], [3]))


def test_products(sess: gr.Session) -> None:
    b = np.arange(6, dtype=np.float32).reshape(3, 2)
    c = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.testing.assert_allclose(sess.run(gr.sparse_tensor_dense_matmul(constant(), b)), DENSE @ b)
    np.testing.assert_allclose(
        sess.run(gr.sparse_tensor_dense_matmul(constant(), b.T, adjoint_b=True)), DENSE @ b
    )
    np.testing.assert_allclose(sess.run(gr.sparse.matmul(constant(), c, adjoint_a=True)), DENSE.T @ c)
    np.testing.assert_allclose(dense_of(sess.run(constant() * [[1.0], [2.0]])), DENSE * [[1], [2]])
    np.testing.assert_allclose(dense_of(sess.run(constant() / 2.0)), DENSE / 2)


def test_sums(sess: gr.Session) -> None:
    x = constant()
    for axis, keep in ((None, False), (0, False), (1, True), ([0, 1], False), (-1, False), (None, True)):
        expected = DENSE.sum(tuple(axis) if isinstance(axis, list) else axis, keepdims=keep)
        np.testing.assert_allclose(sess.run(gr.sparse_reduce_sum(x, axis, keep)), expected)
    twice = sess.run(gr.sparse_add(x, gr.SparseTensor([[0, 0], [1, 2]], [1.0, -5.0], [2, 3])))
    np.testing.assert_allclose(dense_of(twice), DENSE + [[1, 0, 0], [0, 0, -5]])
    assert twice.indices.tolist() == [[0, 0], [0, 1], [1, 0], [1, 2]]
    kept = sess.run(gr.sparse_add(x, gr.SparseTensor([[0, 0], [1, 2]], [1.0, -5.0], [2, 3]), 0.5))
    assert kept.values.tolist() == [1, 3, 4]
    np.testing.assert_allclose(sess.run(gr.sparse_add(x, DENSE)), 2 * DENSE)


def test_other_places(sess: gr.Session) -> None:
    mixed = gr.SparseTensor(PLACES[[2, 0, 1]], VALUES[[2, 0, 1]], [2, 3])
    np.testing.assert_array_equal(sess.run(gr.sparse_reorder(mixed)).indices, PLACES)
    np.testing.assert_array_equal(
        dense_of(sess.run(gr.sparse_reshape(constant(), [3, -1]))), DENSE.reshape(3, 2)
    )
    np.testing.assert_array_equal(dense_of(sess.run(gr.sparse_transpose(constant()))), DENSE.T)
    both = gr.sparse_concat(1, [constant(), constant()])
    np.testing.assert_array_equal(dense_of(sess.run(both)), np.hstack([DENSE, DENSE]))
    part = gr.sparse_slice(constant(), [0, 1], [2, 5])
    np.testing.assert_array_equal(dense_of(sess.run(part)), DENSE[:, 1:])
    few = gr.sparse_retain(constant(), [True, False, True])
    assert sess.run(few).values.tolist() == [3, 5]


def test_gradients_flow_to_values_and_to_what_is_dense() -> None:
    def product(values: gr.Tensor, b: gr.Tensor) -> gr.Tensor:
        return gr.sparse_tensor_dense_matmul(gr.SparseTensor(PLACES, values, [2, 3]), b)

    b = np.random.default_rng(0).uniform(-1, 1, (3, 2))
    check_gradients(product, [VALUES.astype(np.float64), b])
    check_gradients(
        lambda v: gr.sparse_tensor_to_dense(gr.SparseTensor(PLACES, v, [2, 3])) ** 2,
        [VALUES.astype(np.float64)],
    )
    check_gradients(
        lambda v: gr.sparse_reduce_sum(gr.SparseTensor(PLACES, v, [2, 3]), 1) ** 2,
        [VALUES.astype(np.float64)],
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 3), max_size=7))
def test_edit_distance_by_another_way(a: list[int], b: list[int]) -> None:
    def slow(x: tuple[int, ...], y: tuple[int, ...]) -> int:
        table = np.zeros((len(x) + 1, len(y) + 1), int)
        table[:, 0], table[0] = range(len(x) + 1), range(len(y) + 1)
        for i in range(len(x)):
            for j in range(len(y)):
                table[i + 1, j + 1] = min(
                    table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (x[i] != y[j])
                )
        return int(table[-1, -1])

    def row(items: list[int]) -> gr.SparseTensor:
        return gr.SparseTensor(np.array([[0, k] for k in range(len(items))]).reshape(-1, 2), items or
                               np.zeros(0, np.int32), [1, 7])  # fmt: skip

    with gr.Graph().as_default(), gr.Session() as sess:
        found = sess.run(gr.edit_distance(row(a), row(b), normalize=False))
    assert found.tolist() == [slow(tuple(a), tuple(b))]


def test_casts_and_errors_of_labels(sess: gr.Session) -> None:
    """How programs measure what a recognizer reads."""
    decoded = gr.SparseTensor([[0, 0], [0, 1], [1, 0]], np.array([1, 2, 3]), [2, 3])
    targets = gr.sparse_placeholder(gr.int32)
    rate = gr.reduce_mean(gr.edit_distance(gr.cast(decoded, gr.int32), targets))
    assert gr.to_int32(decoded).dtype is gr.int32 and gr.cast(decoded, gr.int32).shape.as_list() == [2, 3]
    labels = (np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([1, 5, 3, 4]), np.array([2, 2]))
    assert sess.run(rate, {targets: labels}) == 0.5


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"values has shape \(2,\)"):
        gr.SparseTensor(PLACES, [1.0, 2.0], [2, 3])
    with pytest.raises(DTypeError, match="is not sparse"):
        gr.sparse_tensor_to_dense(gr.zeros([2, 2]))
    with pytest.raises(ShapeError, match="sparse tensor of unknown rank"):
        gr.sparse_reduce_sum(gr.sparse_placeholder(gr.float32), 0)
