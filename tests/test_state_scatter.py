"""Writing rows of variables: the values, their order with other writes, and that nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.steps import CopyStep
from graphrun.errors import DTypeError, ExecutionError, ShapeError

TABLE = np.arange(12, dtype=np.float32).reshape(6, 2) + 1


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def after(sess: gr.Session, make: Any) -> np.ndarray:
    v = gr.Variable(TABLE)
    step = make(v)
    sess.run(v.initializer)
    np.testing.assert_array_equal(sess.run(step), sess.run(v))
    return sess.run(v)


@pytest.mark.parametrize("mode", ["update", "add", "sub", "mul", "div", "min", "max"])
def test_rows_are_written_in_order(sess: gr.Session, mode: str) -> None:
    indices = [4, 1, 4]
    updates = np.array([[2, 2], [3, 4], [5, 0.5]], np.float32)
    got = after(sess, lambda v: getattr(gr, f"scatter_{mode}")(v, indices, updates))
    function = {
        "update": lambda x, u: u, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
        "min": np.minimum, "max": np.maximum,
    }[mode]  # fmt: skip
    expected = TABLE.copy()
    for i, u in zip(indices, updates, strict=True):
        expected[i] = function(expected[i], u)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_one_number_for_all_rows(sess: gr.Session) -> None:
    got = after(sess, lambda v: gr.scatter_sub(v, [[0], [5]], 1.0, use_locking=True))
    np.testing.assert_array_equal(got[[0, 5]], TABLE[[0, 5]] - 1)
    np.testing.assert_array_equal(got[1:5], TABLE[1:5])


def test_coordinates(sess: gr.Session) -> None:
    got = after(sess, lambda v: gr.scatter_nd_update(v, [[0, 1], [5, 0]], [7.0, 8.0]))
    assert (got[0, 1], got[5, 0]) == (7, 8)
    got = after(sess, lambda v: gr.scatter_nd_add(v, [[2]], [[7.0, 8.0]]))
    np.testing.assert_array_equal(got[2], TABLE[2] + [7, 8])
    got = after(sess, lambda v: gr.scatter_nd_sub(v, [[2, 0], [2, 0]], [1.0, 1.0]))
    assert got[2, 0] == TABLE[2, 0] - 2


def test_every_write_counts(sess: gr.Session) -> None:
    v = gr.Variable(TABLE)
    old = v * 1.0
    one, two = gr.scatter_add(v, [0], [[1.0, 1.0]]), v.assign_add(TABLE)
    three = gr.scatter_mul(v, [0, 1], 2.0)
    sess.run(v.initializer)
    seen, *_ = sess.run([old, one, two, three])
    expected = TABLE * 2
    expected[0] += 1
    expected[:2] *= 2
    np.testing.assert_array_equal(seen, TABLE)
    np.testing.assert_array_equal(sess.run(v), expected)
    with gr.control_dependencies([three]):
        again = v.read_value()
    value = sess.run(again)
    np.testing.assert_array_equal(value, sess.run(v))
    chained = gr.scatter_add(gr.scatter_update(v, [3], [[0.0, 0.0]]), [3], [[1.0, 2.0]])
    np.testing.assert_array_equal(sess.run(chained)[3], [1, 2])


def test_values_that_were_fetched_stay(sess: gr.Session) -> None:
    v = gr.Variable(TABLE)
    step = gr.scatter_update(v, [0], [[0.0, 0.0]]).op
    sess.run(v.initializer)
    before = sess.run(v)
    sess.run(step)
    np.testing.assert_array_equal(before, TABLE)
    new = sess.run(v)
    new[...] = 9
    np.testing.assert_array_equal(sess.run(v)[1:], TABLE[1:])


def test_a_run_that_fails_changes_nothing() -> None:
    at = gr.placeholder(gr.int32, (None,))
    v, w = gr.Variable(TABLE), gr.Variable(TABLE, name="w")
    one = gr.scatter_add(v, [0, 1], 1.0)
    two = gr.scatter_add(w, at, 1.0, name="two")
    with gr.Session() as sess:
        sess.run(gr.global_variables_initializer())
        text = r"'two'.*indices\[1\] is \[6\], out of range for dimensions \(6,\)"
        with pytest.raises(ExecutionError, match=text):
            sess.run([one, two], {at: [0, 6]})
        for x in sess.run([v, w]):
            np.testing.assert_array_equal(x, TABLE)
        sess.run([one, two], {at: [0]})
        assert sess.run([v, w])[1][0, 0] == 2


def test_a_training_step_touches_only_its_rows(device: str) -> None:
    """Reading rows and writing them back copies no table on a device that keeps it."""
    if device == "cpu:0":
        pytest.skip("arrays on the host are tested below")
    table = gr.Variable(np.zeros((1000, 8), np.float32))
    ids = gr.placeholder(gr.int32, (4,))
    rows = gr.gather(table, ids)
    step = gr.scatter_sub(table, ids, gr.gradients(gr.reduce_sum((rows - 1.0) ** 2), rows)[0] * 0.25)
    with gr.Session(device=device, strict=True) as sess:
        sess.run(table.initializer)
        plan = sess.plan(step.op, {ids: [1, 2, 3, 4]})
        assert not [s for s in plan.steps if isinstance(s, CopyStep)]
        for _ in range(3):
            sess.run(step.op, {ids: [1, 5, 7, 999]})
        got = sess.run(table)
    np.testing.assert_allclose(got[[1, 5, 7, 999]], 0.875)
    assert np.count_nonzero(got) == 32


def test_what_does_not_fit() -> None:
    v = gr.Variable(TABLE)
    with pytest.raises(ShapeError, match=r"updates has shape \(2, 3\)\n.*\n.*expected \(2, 2\)"):
        gr.scatter_add(v, [0, 1], np.zeros((2, 3), np.float32))
    with pytest.raises(DTypeError, match="indices has dtype float32"):
        gr.scatter_add(v, [0.5], 1.0)
    with pytest.raises(DTypeError, match="expected a gr.Variable"):
        gr.scatter_add(gr.zeros([3]), [0], 1.0)


@pytest.mark.parametrize("mode", ["update", "add"])
def test_a_variable_on_the_host_is_written_in_its_place(mode: str) -> None:
    v = gr.Variable(TABLE)
    step = getattr(gr, f"scatter_{mode}")(v, [1], [[5.0, 5.0]]).op
    expected = TABLE.copy()
    expected[1] = [5, 5] if mode == "update" else expected[1] + [10, 10]
    with gr.Session() as sess:
        sess.run(v.initializer)
        sess.run(step)
        (cell,) = (c for c in sess._store.cells.values() if c.host is not None)
        array, version = cell.host, cell.version
        read = sess.run(v)
        sess.run(step)
        assert cell.host is array and cell.version > version
        assert read[0, 0] == TABLE[0, 0] and not np.shares_memory(read, array)
        np.testing.assert_array_equal(sess.run(v), expected)
        mine = np.ones((6, 2), np.float32)
        v.load(mine, sess)
        sess.run(step)
        np.testing.assert_array_equal(mine, 1)


def test_a_read_beside_the_write_keeps_its_value() -> None:
    """A run that has begun to read sees one value to its end, whatever is written meanwhile."""
    v = gr.Variable(np.zeros((4, 2), np.float32))
    total = gr.reduce_sum(v)
    step = gr.scatter_add(v, [0, 1, 2, 3], 1.0).op
    with gr.Session() as sess:
        sess.run(v.initializer)
        sess.run(step)
        store = sess._store
        (cell,) = (c for c in store.cells.values() if c.host is not None)
        held = cell.host
        with store.commit:
            store.readers += 1  # as a run of another thread does
        sess.run(step)
        assert held.sum() == 8 and cell.host is not held
        with store.commit:
            store.readers -= 1
        assert sess.run(total) == 16 and store.readers == 0
        with pytest.raises(gr.errors.FeedError):
            sess.run(total, {total: "x"})
        assert store.readers == 0
