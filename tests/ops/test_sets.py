"""Segments, sets, partitions, counts, moves: what users call, on every device, against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients

import graphrun as gr
from graphrun.errors import DTypeError, ExecutionError, InvalidArgumentError, ShapeError

X = np.arange(12, dtype=np.float32).reshape(6, 2) - 4
IDS = np.array([0, 0, 2, 2, 2, 4])


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def per_segment(function: Any, empty: float) -> np.ndarray:
    return np.stack(
        [function(X[IDS == k], 0) if (IDS == k).any() else np.full(2, empty) for k in range(5)]
    ).astype(np.float32)


def test_sorted_segments(sess: gr.Session) -> None:
    ids = gr.placeholder(gr.int32, (None,))
    found = {
        "sum": gr.segment_sum(X, ids), "mean": gr.segment_mean(X, ids), "prod": gr.segment_prod(X, ids),
        "max": gr.segment_max(X, ids), "min": gr.segment_min(X, ids),
    }  # fmt: skip
    got = sess.run(found, {ids: IDS})
    for name, function in (
        ("sum", np.sum), ("mean", np.mean), ("prod", np.prod), ("max", np.max), ("min", np.min),
    ):  # fmt: skip
        expected = per_segment(function, 1.0 if name == "prod" else 0.0)
        np.testing.assert_allclose(got[name], expected, err_msg=name)
    assert sess.run(found["sum"], {ids: [0, 0, 0, 0, 0, 0]}).shape == (1, 2)


def test_means_and_roots_of_unsorted_segments(sess: gr.Session) -> None:
    ids = [2, 0, 2, 2, -1, 0]
    mean, root = sess.run([gr.unsorted_segment_mean(X, ids, 4), gr.unsorted_segment_sqrt_n(X, ids, 4)])
    total = np.stack([X[[1, 5]].sum(0), np.zeros(2), X[[0, 2, 3]].sum(0), np.zeros(2)])
    count = np.array([[2], [1], [3], [1]])
    np.testing.assert_allclose(mean, total / count, rtol=1e-6)
    np.testing.assert_allclose(root, total / np.sqrt(count), rtol=1e-6)
    rows = sess.run(gr.sparse_segment_sum(X, [5, 0, 5], [0, 0, 2]))
    np.testing.assert_allclose(rows, [X[5] + X[0], [0, 0], X[5]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gr.segment_sum(x, IDS),
        lambda x: gr.segment_mean(x, IDS),
        lambda x: gr.segment_max(x, IDS),
        lambda x: gr.segment_prod(x, IDS),
        lambda x: gr.unsorted_segment_sqrt_n(x, [1, 0, 1, 1, -1, 0], 2),
        lambda x: gr.dynamic_partition(x, [0, 1, 1, 0, 1, 0], 2),
        lambda x: gr.dynamic_stitch([[1, 3], [0, 2]], [x[:2], x[4:]]),
        lambda x: gr.repeat(x, [2, 0, 1, 1, 3, 1], 0),
        lambda x: gr.repeat(x, 2, 1),
        lambda x: gr.gather_nd(gr.stack([x, x * x]), [[[1], [2]], [[0], [2]]], batch_dims=1),
        lambda x: gr.sort(x, 0),
        lambda x: gr.norm(x, axis=1),
    ],
)
def test_gradients(function: Any) -> None:
    rng = np.random.default_rng(0)
    x = (rng.permutation(12).reshape(6, 2) - 5.3) * 0.3

    def of_known_rank(t: Any) -> Any:
        t = gr.reshape(t, [6, 2])
        return function(t)

    check_gradients(of_known_rank, [x])


def test_unique_and_differences(sess: gr.Session) -> None:
    x = gr.placeholder(gr.int32, (None,))
    y, index, count = gr.unique_with_counts(x)
    again = gr.gather(y, index)
    values = [7, 3, 7, 7, 1, 3]
    got = sess.run([y, index, count, again], {x: values})
    assert [g.tolist() for g in got] == [[7, 3, 1], [0, 1, 0, 0, 2, 1], [3, 2, 1], values]
    out, where = sess.run(gr.setdiff1d(x, [3, 9]), {x: values})
    assert out.tolist() == [7, 7, 7, 1] and where.tolist() == [0, 2, 3, 4]


def test_parts_are_joined_again(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, 2))
    numbers = gr.placeholder(gr.int32, (None,))
    parts = gr.dynamic_partition(x, numbers, 3)
    places = gr.dynamic_partition(gr.range(gr.size(numbers)), numbers, 3)
    joined = gr.dynamic_stitch(places, [p * 2.0 for p in parts])
    for given in ([0, 2, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1]):
        got = sess.run(joined, {x: X, numbers: given})
        np.testing.assert_array_equal(got, X * 2)
    with pytest.raises(ExecutionError, match="partitions holds 3"):
        sess.run(parts, {x: X, numbers: [0, 1, 2, 3, 0, 0]})


def test_counts(sess: gr.Session) -> None:
    x = gr.placeholder(gr.int32, (None,))
    values = [1, 4, 1, 0, 1]
    got = sess.run(
        [
            gr.bincount(x), gr.bincount(x, minlength=7), gr.bincount(x, maxlength=2),
            gr.bincount(x, weights=gr.cast(x, gr.float32) * 0.5), gr.bincount(gr.constant([], gr.int32)),
        ],
        {x: values},
    )  # fmt: skip
    assert [g.tolist() for g in got] == [
        [1, 3, 0, 0, 1], [1, 3, 0, 0, 1, 0, 0], [1, 3], [0, 1.5, 0, 0, 2], [],
    ]  # fmt: skip
    for counts in (gr.bincount(x), gr.bincount(x, maxlength=2), gr.bincount(x, weights=gr.ones_like(x))):
        with pytest.raises(InvalidArgumentError, match="arr must be non-negative, and holds -3") as caught:
            sess.run(counts, {x: [1, 0, -3, 2]})
        assert "test_sets.py:" in str(caught.value) and "gr.maximum(arr, 0)" in str(caught.value)
        sess.run(counts, {x: [1, 2]})
    points = np.random.default_rng(0).normal(0, 1, 300).astype(np.float32)
    counts = sess.run(gr.histogram_fixed_width(points, [-2.0, 2.0], nbins=8, dtype=gr.int64))
    expected = np.histogram(np.clip(points, -2, 1.9999), 8, (-2, 2))[0]
    assert counts.dtype == np.int64 and counts.tolist() == expected.tolist()
    weights = [1.0, 2.0, 3.0, 4.0]
    matrix = sess.run(gr.confusion_matrix([0, 1, 2, 1], [0, 2, 2, 2], None, gr.float32, weights=weights))
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 6], [0, 0, 3]]


def test_moves_along_axes(sess: gr.Session) -> None:
    x, shift = gr.placeholder(gr.float32, (None, 2)), gr.placeholder(gr.int32, ())
    lengths = gr.placeholder(gr.int64, (None,))
    got = sess.run(
        [gr.roll(x, [shift, 1], [0, 1]), gr.repeat(x, [1, 0, 2, 0, 0, 1], 0), gr.repeat(x, 3),
         gr.reverse_sequence(gr.transpose(x), lengths, seq_dim=1, batch_dim=0)],
        {x: X, shift: -2, lengths: [6, 2]},
    )  # fmt: skip
    np.testing.assert_array_equal(got[0], np.roll(X, (-2, 1), (0, 1)))
    np.testing.assert_array_equal(got[1], X[[0, 2, 2, 5]])
    np.testing.assert_array_equal(got[2], np.repeat(X, 3))
    np.testing.assert_array_equal(got[3], [X[::-1, 0], X[[1, 0, 2, 3, 4, 5], 1]])


def test_running_sums_of_a_fed_axis(sess: gr.Session) -> None:
    axis = gr.placeholder(gr.int32, ())
    y = gr.cumsum(X, axis, exclusive=True)
    for a in (0, 1, -1):
        np.testing.assert_allclose(sess.run(y, {axis: a}), np.cumsum(X, a) - X)


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"segment_ids has shape \(3,\)"):
        gr.unsorted_segment_sum(X, [0, 1, 2], 3)
    with pytest.raises(ShapeError, match="k is 3 for rows of 2 entries"):
        gr.nn.top_k(X, 3)
    with pytest.raises(DTypeError, match="direction is 'UP'"):
        gr.sort(X, direction="UP")
    with pytest.raises(ShapeError, match="2 indices for 1 tensors"):
        gr.dynamic_stitch([[0], [1]], [X])
    with pytest.raises(DTypeError, match="side is 'middle'"):
        gr.searchsorted([1, 2], [1], side="middle")
    with pytest.raises(ShapeError, match="without seq_axis"):
        gr.reverse_sequence(X, [1])


def test_numbers_of_segments_out_of_range_are_told_on_the_host() -> None:
    ids = gr.placeholder(gr.int32, (None,))
    x = gr.constant([1.0, 2.0])
    with gr.Session() as sess:
        for make in (gr.unsorted_segment_sum, gr.unsorted_segment_max, gr.unsorted_segment_mean):
            y = make(x, ids, 2)
            with pytest.raises(
                gr.errors.ExecutionError, match=r"segment_ids\[1\] is 5\n(.|\n)*< 2, or a neg"
            ):
                sess.run(y, {ids: [0, 5]})
        assert sess.run(gr.unsorted_segment_sum(x, ids, 2), {ids: [0, -1]}).tolist() == [1, 0]
        for make in (gr.segment_sum, gr.segment_max, gr.segment_mean):
            y = make(x, ids)
            with pytest.raises(
                gr.errors.ExecutionError, match=r"segment_ids\[1\] is 0, behind 1\n"
            ) as caught:
                sess.run(y, {ids: [1, 0]})
            assert "expected numbers from 0 in ascending order" in str(caught.value)
            with pytest.raises(gr.errors.ExecutionError, match=r"segment_ids\[0\] is -1\n"):
                sess.run(y, {ids: [-1, 0]})
        assert sess.run(gr.bincount([0, 5, 1], maxlength=3)).tolist() == [1, 1, 0]


def test_several_results_have_tensorflows_names() -> None:
    matrix = gr.constant([[2.0, 0.0], [0.0, 4.0]])
    image = gr.ones([1, 2, 2, 1])
    results = {
        "y idx": gr.unique([1, 2, 1]), "y idx count": gr.unique_with_counts([1, 2, 1]),
        "out idx": gr.setdiff1d([1, 2, 3], [2]), "q r": gr.qr(matrix),
        "sign log_abs_determinant": gr.linalg.slogdet(matrix),
        "output argmax": gr.nn.max_pool_with_argmax(image, 2, 2, "SAME"),
        "begin size bboxes": gr.image.sample_distorted_bounding_box([9, 9, 3], [[[0.0, 0.0, 1.0, 1.0]]]),
        "values indices": gr.nn.top_k([1.0, 2.0]),
    }  # fmt: skip
    for names, result in results.items():
        assert " ".join(result._fields) == names and isinstance(result, tuple)  # type: ignore[attr-defined]
    with gr.Session() as sess:
        values = sess.run(results)
        for names, value in values.items():
            assert " ".join(value._fields) == names
        np.testing.assert_array_equal(values["y idx count"].count, [2, 1])
        np.testing.assert_array_equal(sess.run(gr.setdiff1d([1, 2, 3], [2]).out), [1, 3])
