"""Shapes that values decide: fed ones, computed ones, and results whose own shape depends on data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from compilations import count_compilations

import graphrun as gr
from graphrun.errors import ShapeError

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


# -- shapes that fed values decide ---------------------------------------------------------------


def test_fed_shape_values(sess: gr.Session) -> None:
    n = gr.placeholder(gr.int32, (), name="n")
    x = gr.placeholder(gr.float32, (None,), name="x")
    reshaped = gr.reshape(x, [n, -1]) * 2.0
    tiled = gr.tile(x, [n])
    filled = gr.fill([n, 2], 3.0)
    upto = gr.range(n)
    both = gr.reduce_sum(reshaped) + gr.reduce_sum(tiled)
    values = np.arange(12, dtype=F32)
    for k in (2, 3, 4, 2, 12, 1):
        got = sess.run([reshaped, tiled, filled, upto, both], {n: k, x: values})
        np.testing.assert_array_equal(got[0], values.reshape(k, -1) * 2)
        np.testing.assert_array_equal(got[1], np.tile(values, k))
        np.testing.assert_array_equal(got[2], np.full((k, 2), 3))
        np.testing.assert_array_equal(got[3], np.arange(k))
        assert got[4] == 132 + 66 * k
    with pytest.raises(ShapeError, match="cannot become shape"):
        sess.run(reshaped, {n: 5, x: values})
    assert sess.run(filled, {n: 1}).shape == (1, 2)


def test_fed_shape_vector_and_axis(sess: gr.Session) -> None:
    shape = gr.placeholder(gr.int64, (None,))
    axis = gr.placeholder(gr.int32, ())
    x = gr.reshape(gr.range(24), shape)
    total = gr.reduce_sum(x, axis)
    for dims, a in (([2, 12], 0), ([2, 3, 4], 2), ([24], 0), ([4, 3, 2], 1), ([2, 12], 1)):
        np.testing.assert_array_equal(
            sess.run(total, {shape: dims, axis: a}), np.arange(24).reshape(dims).sum(a)
        )


# -- shapes that computed values decide ----------------------------------------------------------


def test_reshape_to_a_computed_shape(sess: gr.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (None,))
    rows = gr.cast(gr.reduce_max(x), gr.int32)
    y = gr.reshape(x, gr.stack([rows, -1])) + 1.0
    compiled = count_compilations(monkeypatch)
    for top in (2, 3, 6, 2, 3):
        values = np.linspace(0, top, 6).astype(F32)
        np.testing.assert_array_equal(sess.run(y, {x: values}), values.reshape(top, -1) + 1)
    assert len(compiled) == 1 + 3


def test_range_of_a_computed_limit_with_variables(sess: gr.Session) -> None:
    limit = gr.Variable(3, name="limit")
    weight = gr.Variable(2.0)
    y = gr.cast(gr.range(limit * 2), gr.float32) * weight
    with gr.control_dependencies([gr.reduce_sum(y)]):
        step = gr.group(limit.assign_add(1), weight.assign(weight * 2.0))
    sess.run(gr.global_variables_initializer())
    for k in range(4):
        np.testing.assert_array_equal(sess.run([y, step])[0], np.arange((3 + k) * 2) * 2.0 ** (k + 1))
    assert sess.run(limit) == 7


def test_a_variable_is_the_shape(sess: gr.Session) -> None:
    size = gr.Variable([2, 3])
    y = gr.fill(size, 1.0)
    step = size.assign_add([1, 0])
    sess.run(size.initializer)
    for rows in (2, 3, 4):
        got, _ = sess.run([y, step])
        np.testing.assert_array_equal(got, np.ones((rows, 3)))


def test_computed_from_computed(sess: gr.Session) -> None:
    """A shape that depends on a value whose own shape depends on a value."""
    x = gr.placeholder(gr.float32, (None,))
    positive = gr.reshape(gr.where(x > 0.0), [-1])  # as many as there are
    count = gr.size(positive)
    rows = gr.range(count)
    longest = gr.cast(gr.reduce_max(positive), gr.int32)
    grid = gr.fill([count, longest], 1.0) * gr.reshape(gr.cast(rows, gr.float32), [-1, 1])
    deeper = gr.tile(gr.reduce_sum(grid, 0), [gr.cast(gr.reduce_max(grid), gr.int32)])
    for values in ([1, 0, 1, 1], [0, 1, 1], [1, 1, 1, 1, 1], [1, 0, 1, 1]):
        index = np.flatnonzero(np.array(values) > 0)
        expected = np.ones((len(index), index.max())) * np.arange(len(index))[:, None]
        got_grid, got_deeper, got_rows = sess.run([grid, deeper, rows], {x: values})
        np.testing.assert_array_equal(got_grid, expected)
        np.testing.assert_array_equal(got_deeper, np.tile(expected.sum(0), int(expected.max())))
        np.testing.assert_array_equal(got_rows, np.arange(len(index)))


def test_one_of_several_outputs_decides(sess: gr.Session) -> None:
    x = gr.placeholder(gr.int32, (3,))
    _, second, third = gr.unstack(x * 1)
    y = gr.range(third) + second
    for values in ([9, 1, 3], [9, 2, 4], [9, 1, 3]):
        np.testing.assert_array_equal(sess.run(y, {x: values}), np.arange(values[2]) + values[1])


def test_a_random_number_decides(sess: gr.Session) -> None:
    n = gr.random_uniform([], minval=1, maxval=6, dtype=gr.int32, seed=3)
    y = gr.range(n)
    drawn = set()
    for _ in range(20):
        got_n, got_y = sess.run([n, y])
        np.testing.assert_array_equal(got_y, np.arange(got_n))
        drawn.add(int(got_n))
    assert len(drawn) > 2  # the stream goes on


def test_plans_for_results_hold_for_all_of_a_shape(sess: gr.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    x = gr.placeholder(gr.float32, (6,))
    picked = gr.gather(x, gr.reshape(gr.where(x > 0.5), [-1])) * 10.0
    compiled = count_compilations(monkeypatch)
    for seed in range(20):
        values = np.random.default_rng(seed).permutation(np.array([0, 0, 0, 1, 2, 3], F32))
        np.testing.assert_array_equal(sess.run(picked, {x: values}), values[values > 0.5] * 10)
    assert len(compiled) == 2
    np.testing.assert_array_equal(sess.run(picked, {x: np.zeros(6)}), np.zeros(0))
    assert len(compiled) == 3


def test_data_dependent_result_is_fetched_and_assigned(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    where = gr.where(x > 0.0)
    v = gr.Variable(np.zeros((0, 1), np.int64), validate_shape=False)
    put = v.assign(where)
    fixed = gr.Variable(np.zeros((2, 1), np.int64), name="fixed")
    into = fixed.assign(where)
    sess.run(gr.global_variables_initializer())
    np.testing.assert_array_equal(sess.run(where, {x: [1, 0, 1]}), [[0], [2]])
    np.testing.assert_array_equal(sess.run(put, {x: [1, 0, 1, 1]}), [[0], [2], [3]])
    np.testing.assert_array_equal(sess.run(v), [[0], [2], [3]])
    sess.run(into, {x: [0, 1, 1]})
    with pytest.raises(ShapeError, match=r"\(3, 1\) for a variable of shape \(2, 1\)"):
        sess.run([into, put], {x: [1, 1, 1]})
    np.testing.assert_array_equal(sess.run(fixed), [[1], [2]])
    np.testing.assert_array_equal(sess.run(v), [[0], [2], [3]])


def test_gradient_through_data_dependent_shapes(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (4,))
    kept = gr.gather(x, gr.reshape(gr.where(x > 0.0), [-1]))
    loss = gr.reduce_mean(gr.square(kept))
    gradient = gr.convert_to_tensor(gr.gradients(loss, x)[0])  # it comes as rows
    for values in ([1, -1, 2, -2], [1, 2, 3, 4], [-1, -1, -1, 5]):
        a = np.array(values, F32)
        np.testing.assert_allclose(
            sess.run(gradient, {x: a}), np.where(a > 0, 2 * a / (a > 0).sum(), 0), rtol=1e-6
        )


def test_callable_with_computed_shapes(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    call = sess.make_callable(gr.where(x > 0.0), [x])
    np.testing.assert_array_equal(call([0, 1]), [[1]])
    np.testing.assert_array_equal(call([1, 1]), [[0], [1]])
    np.testing.assert_array_equal(call([1, 0, 1]), [[0], [2]])


def test_a_failing_stage_changes_no_variable(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    n = gr.placeholder(gr.int32, ())
    y = gr.reshape(gr.ones([6]), gr.stack([n * 1, 2]))
    step = v.assign_add(gr.reduce_sum(y))
    sess.run(v.initializer)
    with pytest.raises(ShapeError, match="cannot become shape"):
        sess.run(step, {n: 4})
    assert sess.run(v) == 1.0
    assert sess.run(step, {n: 3}) == 7.0
