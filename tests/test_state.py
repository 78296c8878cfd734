"""Variables: what a read sees and what a run leaves, on every device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, ExecutionError, FeedError, GraphError, ShapeError, UninitializedError

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def ready(sess: gr.Session) -> None:
    sess.run(gr.global_variables_initializer())


def vector(n: int = 4, name: str | None = None) -> gr.Variable:
    return gr.Variable(np.arange(n, dtype=F32), name=name)


def failing(name: str = "bad") -> Any:
    """A tensor whose computation raises when it runs: on the host, a row that is not there is an error."""
    with gr.device("/cpu:0"):
        return gr.gather(gr.placeholder(gr.float32, (2, 2), name="rows"), gr.constant([7]), name=name)


BAD_FEED = {"rows:0": np.zeros((2, 2), F32)}


# -- what a read sees --------------------------------------------------------------------------


def test_read_sees_the_value_before_the_run(sess: gr.Session) -> None:
    v = vector()
    double = v * 2.0
    assign = v.assign(v + 10.0)
    ready(sess)
    got_double, got_assign, got_v = sess.run([double, assign, v])
    np.testing.assert_array_equal(got_double, [0, 2, 4, 6])
    np.testing.assert_array_equal(got_v, [0, 1, 2, 3])
    np.testing.assert_array_equal(got_assign, [10, 11, 12, 13])
    np.testing.assert_array_equal(sess.run(v), [10, 11, 12, 13])


def test_control_dependency_puts_a_read_after_the_assign(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    assign = v.assign(5.0)
    with gr.control_dependencies([assign]):
        read, product, same = v.read_value(), v * 3.0, gr.identity(v)
    before = v * 3.0
    ready(sess)
    assert sess.run([read, product, same, before, v]) == [5.0, 15.0, 5.0, 3.0, 1.0]
    assert sess.run(v) == 5.0


def test_control_dependency_through_several_operations(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    assign = v.assign_add(1.0)
    with gr.control_dependencies([assign]):
        group = gr.group(gr.no_op())
    with gr.control_dependencies([group]):
        first = v.read_value()
    with gr.control_dependencies([first]):
        second = v.assign(first * 10.0)
    with gr.control_dependencies([second]):
        last = v + 0.5
    ready(sess)
    assert sess.run([last, first]) == [20.5, 2.0]
    assert sess.run(v) == 20.0


def test_control_dependency_on_data_input_counts(sess: gr.Session) -> None:
    """A read that waits for something computed from an assign waits for the assign."""
    v = gr.Variable(2.0)
    squared = gr.square(v.assign(3.0))
    with gr.control_dependencies([squared]):
        read = v.read_value()
    ready(sess)
    assert sess.run(read) == 3.0


def test_fetched_assign_without_the_dependency_does_not_reorder(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    assign = v.assign(5.0)
    with gr.control_dependencies([gr.no_op()]):
        read = v.read_value()
    ready(sess)
    assert sess.run([read, assign]) == [1.0, 5.0]


def test_every_assign_add_of_a_run_counts(sess: gr.Session) -> None:
    v = vector()
    ops = [v.assign_add(np.full(4, k, F32)) for k in (1, 2, 3)] + [v.assign_sub(np.full(4, 4, F32))]
    ready(sess)
    sess.run(ops)
    np.testing.assert_array_equal(sess.run(v), [2, 3, 4, 5])
    sess.run(gr.group(*ops))
    np.testing.assert_array_equal(sess.run(v), [4, 5, 6, 7])


def test_assign_then_add_in_the_order_of_creation(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    assign = v.assign(100.0)
    add = v.assign_add(1.0)
    ready(sess)
    assert sess.run([add, assign]) == [101.0, 100.0]
    assert sess.run(v) == 101.0


def test_swap_of_two_variables(sess: gr.Session) -> None:
    a, b = gr.Variable(np.full(5, 1, F32)), gr.Variable(np.full(5, 2, F32))
    swap = gr.group(a.assign(b), b.assign(a))
    ready(sess)
    for expected in (2, 1, 2):
        sess.run(swap)
        got_a, got_b = sess.run([a, b])
        np.testing.assert_array_equal(got_a, np.full(5, expected))
        np.testing.assert_array_equal(got_b, np.full(5, 3 - expected))


def test_rotation_of_computed_values(sess: gr.Session) -> None:
    a, b, c = (gr.Variable(np.full(3, k, F32)) for k in (1, 2, 3))
    step = gr.group(a.assign(b + 0.0), b.assign(c * 1.0), c.assign(gr.reshape(a, [3])))
    ready(sess)
    for k in range(4):
        assert [float(x[0]) for x in sess.run([a, b, c])] == [float(1 + (k + i) % 3) for i in range(3)]
        sess.run(step)


def test_old_value_and_its_views_beside_an_update(sess: gr.Session) -> None:
    """The update may be written over the old value only when nobody needs that any more."""
    w = gr.Variable(np.arange(6, dtype=F32).reshape(2, 3))
    fetches = [w, gr.reshape(w, [3, 2]), gr.transpose(w), w[1], w.assign(w * 2.0), gr.reduce_sum(w)]
    ready(sess)
    old = np.arange(6, dtype=F32).reshape(2, 3)
    for _ in range(3):
        got = sess.run(fetches)
        for value, expected in zip(
            got, [old, old.reshape(3, 2), old.T, old[1], old * 2, old.sum()], strict=True
        ):
            np.testing.assert_array_equal(value, expected)
        old = old * 2


def test_two_variables_assigned_the_same_value(sess: gr.Session) -> None:
    a, b = vector(), vector()
    x = gr.placeholder(gr.float32, (4,))
    ready(sess)
    sess.run([a.assign(x + 1.0), b.assign(x + 1.0)], {x: np.ones(4)})
    sess.run(a.assign_add(np.ones(4, F32)))
    np.testing.assert_array_equal(sess.run(a), [3, 3, 3, 3])
    np.testing.assert_array_equal(sess.run(b), [2, 2, 2, 2])


def test_assign_chain_through_its_result(sess: gr.Session) -> None:
    """`assign` returns a tensor that further assigns take for the variable, as TensorFlow's reference."""
    v = gr.Variable(1.0)
    twice = gr.assign_add(gr.assign(v, 5.0), 2.0)
    ready(sess)
    assert sess.run(twice) == 7.0
    assert sess.run(v) == 7.0


def test_assign_variable_to_variable(sess: gr.Session) -> None:
    a, b = vector(name="a"), gr.Variable(np.zeros(4, F32), name="b")
    copy = b.assign(a)
    ready(sess)
    sess.run(copy)
    sess.run(a.assign(a * 0.0))
    np.testing.assert_array_equal(sess.run(b), [0, 1, 2, 3])


def test_read_value_false_gives_the_operation(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    op = v.assign_add(1.0, read_value=False)
    ready(sess)
    assert isinstance(op, gr.Operation)
    assert sess.run(op) is None
    assert sess.run(v) == 2.0


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64", "uint8", "bool", "float16", "int8"])
def test_variables_of_every_kind(sess: gr.Session, dtype: str) -> None:
    values = np.array([0, 1, 1, 0], dtype)
    v = gr.Variable(values, trainable=False)
    x = gr.placeholder(dtype, (4,))
    ready(sess)
    got = sess.run(v)
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, values)
    got = sess.run(v.assign(x), {x: values[::-1]})
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(sess.run(v), values[::-1])


# -- initial values ----------------------------------------------------------------------------


def test_uninitialized_variable(sess: gr.Session) -> None:
    v = gr.Variable(np.zeros((2, 3), F32), name="weights")
    w = gr.Variable(1.0, name="scale")
    y = v * 2.0
    with pytest.raises(UninitializedError) as fault:
        sess.run(y)
    text = str(fault.value)
    assert "variable 'weights' has no value in this session" in text
    assert re.search(r"created at .*test_state\.py:\d+", text)
    assert "global_variables_initializer" in text
    assert "(2, 3) float32" in text
    sess.run(w.initializer)
    assert sess.run(w) == 1.0
    with pytest.raises(UninitializedError, match="'weights'"):
        sess.run(v)
    with pytest.raises(UninitializedError, match="'weights'"):
        sess.run(v.assign_add(np.ones((2, 3), F32)))
    ready(sess)
    assert sess.run(y).shape == (2, 3)


def test_assign_initializes(sess: gr.Session) -> None:
    v = gr.Variable(0.0)
    assert sess.run(v.assign(3.0)) == 3.0
    assert sess.run(v) == 3.0


def test_initial_value_from_another_variable(sess: gr.Session) -> None:
    a = gr.Variable(gr.random_uniform([4]), name="a")
    b = gr.Variable(a.initialized_value() * 2.0, name="b")
    ready(sess)
    got_a, got_b = sess.run([a, b])
    np.testing.assert_array_equal(got_b, got_a * 2)


def test_initialized_value_is_the_value_where_there_is_one(sess: gr.Session) -> None:
    a = gr.Variable(gr.random_uniform([4]), name="a")
    b = gr.Variable(a.initialized_value(), name="b")
    sess.run(a.initializer)
    sess.run(b.initializer)
    np.testing.assert_array_equal(*sess.run([a, b]))
    sess.run(a.assign(np.full(4, 7, F32)))
    sess.run(b.initializer)
    np.testing.assert_array_equal(sess.run(b), [7, 7, 7, 7])


def test_initial_value_that_reads_a_variable_directly(sess: gr.Session) -> None:
    """The initializer of a variable that is made of another one waits for that one's."""
    a = gr.Variable(3.0, name="a")
    b = gr.Variable(a * 2.0, name="b")
    c = gr.Variable(b + a, name="c")
    ready(sess)
    assert sess.run([a, b, c]) == [3.0, 6.0, 9.0]


def test_initializer_of_one_variable_alone(sess: gr.Session) -> None:
    a = gr.Variable(3.0, name="a")
    b = gr.Variable(a * 2.0, name="b")
    with pytest.raises(UninitializedError, match="'a'"):
        sess.run(b.initializer)
    sess.run(a.initializer)
    sess.run(a.assign(5.0))
    sess.run(b.initializer)
    assert sess.run([a, b]) == [5.0, 10.0]


def test_initializer_runs_again(sess: gr.Session) -> None:
    v = vector()
    init = gr.global_variables_initializer()
    sess.run(init)
    sess.run(v.assign_add(np.ones(4, F32)))
    sess.run(init)
    np.testing.assert_array_equal(sess.run(v), [0, 1, 2, 3])


def test_random_initial_values_are_drawn_once(sess: gr.Session) -> None:
    v = gr.Variable(gr.random_normal([50], seed=1))
    ready(sess)
    first = sess.run(v)
    np.testing.assert_array_equal(sess.run(v), first)
    assert np.unique(first).size > 40


def test_initial_value_from_a_function(sess: gr.Session) -> None:
    v = gr.Variable(lambda: gr.ones([2, 2]) * 3.0, name="v")
    assert v.shape.as_list() == [2, 2]
    ready(sess)
    np.testing.assert_array_equal(sess.run(v), np.full((2, 2), 3))


def test_control_dependencies_do_not_reach_into_an_initializer(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, ())
    with gr.control_dependencies([x]):
        v = gr.Variable(2.0)
    ready(sess)  # x is not fed
    assert sess.run(v) == 2.0


# -- load --------------------------------------------------------------------------------------


def test_load(sess: gr.Session) -> None:
    v = vector()
    y = v + 1.0
    array = np.full(4, 5, F32)
    v.load(array, sess)
    array[:] = 0
    np.testing.assert_array_equal(sess.run(y), [6, 6, 6, 6])
    v.load([1, 2, 3, 4])  # the default session
    np.testing.assert_array_equal(v.eval(), [1, 2, 3, 4])
    with pytest.raises(ShapeError) as fault:
        v.load([1, 2, 3])
    assert "shape (3,) is loaded into variable 'Variable'" in str(fault.value)
    assert "expected shape (4,)" in str(fault.value)
    with pytest.raises(FeedError, match="not numbers"):
        v.load(["a", "b", "c", "d"])
    np.testing.assert_array_equal(v.eval(), [1, 2, 3, 4])


# -- shapes that change ------------------------------------------------------------------------


def test_variable_without_a_fixed_shape(sess: gr.Session) -> None:
    v = gr.Variable(np.zeros((0, 2), F32), validate_shape=False, name="rows")
    assert v.shape.ndims is None
    x = gr.placeholder(gr.float32, (None, 2))
    grow = gr.assign(v, gr.concat([v, x], 0), validate_shape=False)
    total = gr.reduce_sum(v)
    with pytest.raises(UninitializedError, match="'rows'"):
        sess.run(total)
    ready(sess)
    for n in range(1, 5):
        got = sess.run(grow, {x: np.full((1, 2), n)})
        assert got.shape == (n, 2)
        assert sess.run(total) == n * (n + 1)
    np.testing.assert_array_equal(sess.run(v)[:, 0], [1, 2, 3, 4])
    ready(sess)
    assert sess.run(v).shape == (0, 2)
    assert sess.run(total) == 0


def test_shapes_change_back_and_forth(sess: gr.Session) -> None:
    v = gr.Variable(np.ones(3, F32), validate_shape=False)
    x = gr.placeholder(gr.float32, None)
    put, doubled, shape = v.assign(x), v * 2.0, gr.shape(v)
    for shape_now in [(2,), (3, 2), (), (2,), (0, 4), (3, 2)]:
        sess.run(put, {x: np.full(shape_now, 2.0)})
        got, got_shape = sess.run([doubled, shape])
        np.testing.assert_array_equal(got, np.full(shape_now, 4.0))
        assert tuple(got_shape) == shape_now


def test_assign_may_change_the_shape_of_any_variable_when_told_to(sess: gr.Session) -> None:
    v = gr.Variable(np.zeros((2, 2), F32))
    x = gr.placeholder(gr.float32, None)
    total = gr.reduce_sum(v * 1.0)
    ready(sess)
    assert sess.run(total) == 0
    reshaped = gr.assign(v, x, validate_shape=False)
    for n in (3, 1, 5):
        sess.run(reshaped, {x: np.ones(n)})
        assert sess.run(v).shape == (n,)
        assert sess.run(total) == n


@pytest.mark.parametrize("add", [False, True])
def test_a_shape_known_only_at_run_time_must_fit(sess: gr.Session, add: bool) -> None:
    v = vector(3, name="v")
    x = gr.placeholder(gr.float32, None, name="x")
    value = x * 1.0
    update = v.assign_add(value) if add else v.assign(value)
    ready(sess)
    with pytest.raises(ShapeError) as fault:
        sess.run(update, {x: np.ones((2, 3))})
    text = str(fault.value)
    assert "(2, 3)" in text and "(3,)" in text
    assert re.search(r"created at .*test_state\.py:\d+", text)
    np.testing.assert_array_equal(sess.run(v), [0, 1, 2])
    sess.run(update, {x: np.ones(3)})
    np.testing.assert_array_equal(sess.run(v), [1, 2, 3] if add else [1, 1, 1])


def test_set_shape_of_a_variable_without_one(sess: gr.Session) -> None:
    v = gr.Variable(np.ones((2, 3), F32), validate_shape=False)
    v.set_shape([None, 3])
    y = gr.matmul(v, np.ones((3, 1), F32))
    assert y.shape.as_list() == [None, 1]
    ready(sess)
    np.testing.assert_array_equal(sess.run(y), [[3], [3]])


# -- a run that fails --------------------------------------------------------------------------


def test_a_run_that_fails_changes_no_variable(sess: gr.Session) -> None:
    a, b = vector(name="a"), gr.Variable(2.0, name="b")
    n = gr.Variable(0, name="n", trainable=False)
    noise = gr.random_uniform([2])
    bad = failing()
    step = [a.assign(a * 2.0 + 1.0), b.assign_add(1.0), n.assign_add(1), noise]
    ready(sess)
    first = sess.run(noise)
    for fetches in (
        [*step, bad],
        [bad, *step],
        [a.assign_sub(gr.reshape(bad, [2])[0] * np.ones(4, F32)), *step],
    ):
        with pytest.raises(ExecutionError) as fault:
            sess.run(fetches, BAD_FEED)
        text = str(fault.value)
        assert "gather 'bad'" in text
        assert re.search(r"created at .*test_state\.py:\d+", text)
        np.testing.assert_array_equal(sess.run(a), [0, 1, 2, 3])
        assert sess.run([b, n]) == [2.0, 0]
    sess.run(step)
    np.testing.assert_array_equal(sess.run(a), [1, 3, 5, 7])
    assert sess.run([b, n]) == [3.0, 1]
    assert not np.array_equal(first, sess.run(noise))


def test_an_update_made_of_a_failing_value(sess: gr.Session) -> None:
    a = gr.Variable(np.ones((1, 2), F32))
    b = gr.Variable(np.ones((1, 2), F32))
    step = gr.group(b.assign(b * 3.0), a.assign_add(failing()))
    ready(sess)
    with pytest.raises(ExecutionError, match="gather 'bad'"):
        sess.run(step, BAD_FEED)
    np.testing.assert_array_equal(sess.run(a), [[1, 1]])
    np.testing.assert_array_equal(sess.run(b), [[1, 1]])


# -- sessions ---------------------------------------------------------------------------------


def test_state_belongs_to_the_session(device: str) -> None:
    v = gr.Variable(1.0)
    init, add = gr.global_variables_initializer(), v.assign_add(1.0)
    with gr.Session(device=device) as first, gr.Session(device=device) as second:
        first.run(init)
        first.run(add)
        with pytest.raises(UninitializedError):
            second.run(v)
        second.run(init)
        assert (first.run(v), second.run(v)) == (2.0, 1.0)


# -- what can be said wrongly ------------------------------------------------------------------


def test_assign_of_a_wrong_shape_or_dtype() -> None:
    v = gr.Variable(np.zeros((2, 3), F32), name="v")
    with pytest.raises(ShapeError) as fault:
        v.assign(np.zeros((3, 2), F32))
    text = str(fault.value)
    assert "assign 'Assign'" in text or "assign 'v" in text
    assert "(3, 2)" in text and "(2, 3)" in text
    assert re.search(r"created at .*test_state\.py:\d+", text)
    assert "validate_shape=False" in text
    with pytest.raises(DTypeError) as dtype_fault:
        v.assign(gr.constant(np.zeros((2, 3)), gr.float64))
    assert "float64" in str(dtype_fault.value) and "gr.cast" in str(dtype_fault.value)
    with pytest.raises(DTypeError):
        gr.Variable(1, name="int").assign(1.5)
    with pytest.raises(DTypeError, match="expected a gr.Variable"):
        gr.assign(gr.constant(1.0), 2.0)
    with pytest.raises(ShapeError):
        v.assign_add(np.zeros((2, 4), F32))


def test_variable_without_initial_value() -> None:
    with pytest.raises(GraphError, match=r"gr.Variable\(\) without an initial value"):
        gr.Variable()
    with pytest.raises(ShapeError) as fault:
        gr.Variable(np.zeros((2, 3), F32), expected_shape=[None, 4], name="v")
    assert "'v'" in str(fault.value) and "(2, 3)" in str(fault.value) and "(?, 4)" in str(fault.value)
    x = gr.placeholder(gr.float32, (None, 3))
    with pytest.raises(ShapeError, match=r"\(\?, 3\)"):
        gr.Variable(x, expected_shape=[2, 4], name="w")


def test_arguments_that_say_how_tensorflow_keeps_variables_are_accepted(device: str) -> None:
    v = gr.Variable(2.0, use_resource=True, synchronization=None, aggregation=None)
    with gr.Session(device=device) as sess:
        sess.run(v.initializer)
        assert sess.run(v) == 2.0


# -- names -------------------------------------------------------------------------------------


def test_names_are_tensorflows() -> None:
    v = gr.Variable(1.0, name="v")
    assert (v.name, v.op.name, v.initializer.name, v.initial_value.name) == (
        "v:0", "v", "v/Assign", "v/initial_value:0",
    )  # fmt: skip
    assert gr.Variable(1.0, name="v").name == "v_1:0"
    assert [gr.Variable(0.0).name for _ in range(3)] == ["Variable:0", "Variable_1:0", "Variable_2:0"]
    with gr.name_scope("layer"):
        w = gr.Variable(1.0, name="w")
    assert (w.name, w.initializer.name) == ("layer/w:0", "layer/w/Assign")
    assert v.read_value().name == "v/read:0"
    assert gr.get_default_graph().get_tensor_by_name("layer/w:0") is w.op.outputs[0]


def test_collections_of_variables() -> None:
    a = gr.Variable(1.0)
    b = gr.Variable(1.0, trainable=False)
    c = gr.Variable(1.0, collections=["mine"])
    assert gr.global_variables() == [a, b]
    assert gr.trainable_variables() == [a, c]
    assert gr.get_collection("mine") == [c]
    assert (a.trainable, b.trainable) == (True, False)


def test_manners_of_a_variable() -> None:
    v = gr.Variable(np.zeros((2, 3), F32), name="v", constraint=gr.nn.relu)
    assert v.shape == (2, 3) and v.get_shape().as_list() == [2, 3]
    assert v.dtype == gr.float32 and v.dtype.base_dtype == "float32"
    assert v.constraint is gr.nn.relu
    assert v == v and v != gr.Variable(0.0) and {v: 1}[v] == 1  # noqa: PLR0124
    assert repr(v) == "<gr.Variable 'v:0' shape=(2, 3) dtype=float32>"
    with pytest.raises(DTypeError, match="not iterable"):
        list(v)
    assert v, "a variable is an object that is there; what it holds is asked by a session"
    with pytest.raises(DTypeError, match="bool"):
        bool(v > 0)
    for convert in (float, int, np.exp, np.asarray):
        with pytest.raises(DTypeError, match="no value while the graph is built"):
            convert(v)  # type: ignore[operator]
