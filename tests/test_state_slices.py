"""Setting slices of variables: the values, what stays, order, and what is told while the graph is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.compiler.steps import CopyStep
from graphrun.errors import DTypeError, ExecutionError, ShapeError

TABLE = np.arange(24, dtype=np.float32).reshape(4, 3, 2) + 1


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


KEYS: list[Any] = [
    2, -1, (1, 2), (1, 2, 0), slice(1, 3), slice(None), slice(None, None, -2), (slice(None), 1),
    (..., 0), (slice(1, None), ..., slice(0, 1)), (None, 2), (slice(None), None, 1), slice(3, 1),
    (0, slice(None), slice(None, None, -1)), (slice(2, 0, -1), slice(0, 3, 2)), ...,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("how", ["whole", "number", "row"])
def test_a_slice_is_set_and_the_rest_stays(sess: gr.Session, key: Any, how: str) -> None:
    v = gr.Variable(TABLE)
    inner = TABLE[key].shape
    value = {
        "whole": -np.arange(np.prod(inner), dtype=np.float32).reshape(inner),
        "number": np.float32(-5),
        "row": -np.ones((1, *inner[-1:]), np.float32) * 3,
    }[how]
    if how == "row" and not inner:
        value = value[0]
    expected = TABLE.copy()
    expected[key] = value if how != "row" or len(inner) > 1 else value[0] if inner else value
    step = v[key].assign(value)
    sess.run(v.initializer)
    np.testing.assert_array_equal(sess.run(step), expected)
    np.testing.assert_array_equal(sess.run(v), expected)
    assert step.shape.as_list() == [4, 3, 2]


def test_values_come_from_the_graph(sess: gr.Session) -> None:
    v, x = gr.Variable(TABLE), gr.placeholder(gr.float32, (None, 2))
    step = gr.assign(v[1], x * 2)
    sess.run(v.initializer)
    sess.run(step, {x: [[1, 2]]})
    np.testing.assert_array_equal(sess.run(v)[1], [[2, 4]] * 3)
    sess.run(step, {x: TABLE[0]})
    np.testing.assert_array_equal(sess.run(v)[1], TABLE[0] * 2)
    np.testing.assert_array_equal(sess.run(v)[[0, 2, 3]], TABLE[[0, 2, 3]])


@pytest.mark.parametrize("at", [0, 3, -1])
def test_indices_may_be_tensors(sess: gr.Session, at: int) -> None:
    i = gr.placeholder(gr.int64, ())
    for key, place in (
        (i, at), ((1, i % 2), (1, at % 2)),
        ((slice(None, None, 2), 1, i % 2), (slice(None, None, 2), 1, at % 2)),
        ((..., i % 2), (..., at % 2)), ((i, None, i % 3), (at, None, at % 3)),
    ):  # fmt: skip
        v = gr.Variable(TABLE)
        expected = TABLE.copy()
        value = -np.arange(expected[place].size, dtype=np.float32).reshape(expected[place].shape)
        expected[place] = value
        step = v[key].assign(value)
        sess.run(v.initializer)
        np.testing.assert_array_equal(sess.run(step, {i: at}), expected)
        np.testing.assert_array_equal(sess.run(v), expected)


def test_the_plan_does_not_depend_on_such_an_index(sess: gr.Session) -> None:
    v, i = gr.Variable(TABLE), gr.placeholder(gr.int32, ())
    step = v[i].assign(0.0)
    sess.run(v.initializer)
    for at in range(4):
        sess.run(step.op, {i: at})
    assert len(sess._plans) == 2
    assert not sess.run(v).any()


def test_bounds_may_be_tensors(sess: gr.Session) -> None:
    v, n = gr.Variable(TABLE), gr.placeholder(gr.int32, ())
    step = v[:n].assign(0.0)
    sess.run(v.initializer)
    assert sess.run(step, {n: 2})[:2].max() == 0
    np.testing.assert_array_equal(sess.run(v)[2:], TABLE[2:])


def test_writes_follow_each_other(sess: gr.Session) -> None:
    v = gr.Variable([1.0, 2.0, 3.0])
    first = v[0].assign(10.0)
    second = v.assign_add([1.0, 1.0, 1.0])
    third = v[1:].assign(v[:2] * 2)  # of the values from before the run
    sess.run(v.initializer)
    sess.run([first, second, third])
    assert sess.run(v).tolist() == [11, 2, 4]
    with gr.control_dependencies([v[2].assign(-1.0)]):
        after = v.read_value()
    assert sess.run(after).tolist() == [11, 2, -1]


def test_all_of_the_variable_stays_where_a_run_fails(sess: gr.Session) -> None:
    v = gr.Variable(TABLE)
    step = v[0].assign(gr.py_func(lambda: 1 / 0, [], gr.float32))
    sess.run(v.initializer)
    with pytest.raises(gr.errors.GraphrunError):
        sess.run(step)
    np.testing.assert_array_equal(sess.run(v), TABLE)


@pytest.mark.opencl
def test_few_rows_are_written_in_place() -> None:
    v = gr.Variable(gr.zeros([1000, 4]))
    step = v[7].assign([1.0, 2.0, 3.0, 4.0])
    with gr.Session(device="opencl:0") as sess:
        sess.run(v.initializer)
        plan = sess.plan(step.op)
        assert "scatter_rows" in str(plan) and not any(isinstance(s, CopyStep) for s in plan.steps)
        sess.run(step.op)
        assert sess.run(v)[6:9].sum(1).tolist() == [0, 10, 0]


# -- what is told ------------------------------------------------------------------------------------


def test_a_value_that_does_not_fit() -> None:
    v = gr.Variable(TABLE, name="table")
    with pytest.raises(ShapeError, match=r"does not fit the slice's, \(3, 2\)") as caught:
        v[1].assign([1.0, 2.0, 3.0])
    assert "variable: (4, 3, 2) float32   value: (3,) float32" in str(caught.value)
    assert "test_state_slices.py:" in str(caught.value)
    assert "expected a value of shape (3, 2), or one that broadcasts to it" in str(caught.value)
    i = gr.placeholder(gr.int32, ())
    with pytest.raises(ShapeError, match=r"shape \(3,\) does not fit the slice's, \(3, 2\)"):
        v[i].assign([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="index 4 is out of range for axis 0"):
        v[4].assign(0.0)


def test_what_is_no_slice_of_a_variable() -> None:
    v = gr.Variable(TABLE, name="v")
    for t in (v * 2, v[1][0], gr.constant([1.0])[0]):
        with pytest.raises(DTypeError, match="which is no variable and no slice of one\n") as caught:
            t.assign(1.0)
        assert "as v[2:5]" in str(caught.value)
    with pytest.raises(DTypeError):
        v[1].assign(gr.constant([[1, 2]]))


def test_an_index_out_of_range_is_told_on_the_host() -> None:
    v, i = gr.Variable(TABLE), gr.placeholder(gr.int32, ())
    step = v[i].assign(0.0)
    with gr.Session() as sess:
        sess.run(v.initializer)
        with pytest.raises(ExecutionError, match="out of range"):
            sess.run(step, {i: 4})
