"""Functions of the user in a graph: values, shapes, errors, order, and that each is called once in a run."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import ExecutionError, InvalidArgumentError, ShapeError

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


class Calls(list[Any]):
    """Notes with what it was called."""

    def note(self, what: Any) -> Any:
        def function(*arrays: Any) -> Any:
            self.append(what)
            return arrays[0]

        return function


# -- values and shapes ------------------------------------------------------------------------------


def test_results_of_any_shape(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    y = gr.py_func(lambda a: a[a > 0], [x * 2.0], gr.float32)
    assert y.shape.ndims is None
    total, rows = gr.reduce_sum(y), gr.reshape(y, [-1, 1]) + 1.0
    for values in ([1, -1, 2], [3, 4, 5, 6], [-1.0]):
        a = np.array(values, F32) * 2
        got, got_rows = sess.run([total, rows], {x: values})
        assert got == a[a > 0].sum()
        np.testing.assert_array_equal(got_rows, a[a > 0][:, None] + 1)


def test_set_shape_serves_what_follows_and_is_checked(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None, 3))
    y = gr.py_func(lambda a: a[:2], [x], gr.float32)
    y.set_shape([2, 3])
    z = gr.matmul(y, gr.ones([3, 4]))
    assert z.shape.as_list() == [2, 4]
    np.testing.assert_array_equal(sess.run(z, {x: np.ones((5, 3))}), np.full((2, 4), 3))
    with pytest.raises(ShapeError, match=r"its shape is \(1, 3\) in this run, and set_shape stated \(2, 3\)"):
        sess.run(z, {x: np.ones((1, 3))})


def test_arguments_are_what_tensorflow_passes(sess: gr.Session) -> None:
    seen: list[Any] = []
    y = gr.py_func(lambda *a: seen.extend(a), [1.5, [1, 2], "abc", ["a", "b"], True], [])
    assert isinstance(y, gr.Operation) and sess.run(y) is None
    assert [type(v) for v in seen] == [np.float32, np.ndarray, bytes, np.ndarray, np.bool_]
    assert seen[2] == b"abc" and seen[3].tolist() == [b"a", b"b"]


def test_forms_of_tout(sess: gr.Session) -> None:
    pair = gr.py_func(lambda a: (a, a.astype(np.int64)), [2.0], [gr.float32, "int64"])
    one = gr.py_func(lambda a: a, [2.0], [gr.float32])
    listed = gr.numpy_function(lambda a: [a], [2.0], gr.float32)
    text = gr.py_func(lambda a: f"{a:g}", [2.0], gr.string)
    assert isinstance(pair, list) and isinstance(one, list) and isinstance(listed, gr.Tensor)
    assert sess.run([pair, one, listed, text]) == [[2.0, 2], [2.0], 2.0, b"2"]


def test_the_function_may_keep_and_change_arrays(sess: gr.Session) -> None:
    v = gr.Variable([1.0, 2.0])
    buffer = np.zeros(2, F32)

    def step(a: Any) -> Any:
        a *= 10
        buffer[:] = a
        return buffer

    y = gr.py_func(step, [v], gr.float32)
    put = v.assign(gr.reshape(y, [2]))
    sess.run(v.initializer)
    first = sess.run(put)
    buffer[:] = -1
    assert first.tolist() == [10, 20] and sess.run(v).tolist() == [10, 20]
    second = sess.run(put)
    assert second.tolist() == [100, 200] and first.tolist() == [10, 20]


def test_no_gradient_flows() -> None:
    x = gr.placeholder(gr.float32, ())
    y = gr.py_func(np.exp, [x], gr.float32)
    assert gr.gradients(gr.reduce_sum(y) + 1.0, [x]) == [None]


# -- errors -----------------------------------------------------------------------------------------


def _fails(a: Any) -> Any:
    return int("no number")


def test_an_error_is_chained_with_its_own_traceback(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    y = gr.py_func(_fails, [1.0], gr.float32, name="load")
    step = v.assign_add(gr.reduce_sum(y))
    sess.run(v.initializer)
    with pytest.raises(InvalidArgumentError, match="function _fails raised ValueError: invalid") as caught:
        sess.run(step)
    assert "py_func 'load'" in str(caught.value) and "test_py_func.py" in str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert any(f.name == "_fails" for f in traceback.extract_tb(cause.__traceback__))
    assert sess.run(v) == 1.0


def test_other_errors(sess: gr.Session) -> None:
    y = gr.py_func(lambda a: {}[a], [3.0], gr.float32)
    with pytest.raises(ExecutionError, match="raised KeyError") as caught:
        sess.run(y)
    assert not isinstance(caught.value, InvalidArgumentError)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("returned", "tout", "text"),
    [
        (1.0, gr.float32, r"value 0 that the function .* returned is float64\n(.*\n)* *expected float32, as"),
        ((F32(1), F32(1)), gr.float32, r"returned 2 values\n(.*\n)* *expected 1 value, as Tout"),
        (None, gr.float32, r"returned no values"),
        (F32(1), [], r"returned 1 value\n(.*\n)* *expected no values"),
        (F32(1), gr.string, r"returned is float32"),
        ([[[1.0], [1.0, 2.0]]], gr.float32, r"value 0 .* returned is list"),
        ("abc", gr.float32, r"value 0 .*expected float32|value 0"),
    ],
)
def test_what_it_returns_is_checked(sess: gr.Session, returned: Any, tout: Any, text: str) -> None:
    y = gr.py_func(lambda: returned, [], tout)
    with pytest.raises(InvalidArgumentError, match=text):
        sess.run(y)


def test_only_functions() -> None:
    with pytest.raises(gr.errors.GraphError, match="py_func of 3"):
        gr.py_func(3, [], gr.float32)  # type: ignore[arg-type]


# -- once, and in order -----------------------------------------------------------------------------


def test_it_is_called_once_in_each_run_that_needs_it(sess: gr.Session) -> None:
    calls = Calls()
    a = gr.py_func(calls.note("a"), [1.0], gr.float32)
    b = gr.py_func(calls.note("b"), [a], gr.float32)
    c = gr.range(gr.cast(gr.reshape(b, []), gr.int32) + 1)  # its length is known when b is
    d = gr.py_func(calls.note("d"), [c], gr.int32)
    gr.py_func(calls.note("nobody asks"), [1.0], gr.float32)
    total = gr.reduce_sum(d) + gr.cast(gr.reduce_sum(a + b), gr.int32)
    for _ in range(3):
        calls.clear()
        assert sess.run(total) == 3
        assert calls == ["a", "b", "d"]


def test_equal_calls_are_merged_where_they_are_not_stateful(sess: gr.Session) -> None:
    calls = Calls()
    function = calls.note("f")
    for stateful, count in ((True, 2), (False, 1)):
        calls.clear()
        x, y = (gr.py_func(function, [1.0], gr.float32, stateful=stateful) for _ in range(2))
        assert sess.run(gr.reshape(x, []) + gr.reshape(y, [])) == 2.0
        if stateful:
            assert len(calls) == count


def test_control_dependencies_order_calls(sess: gr.Session) -> None:
    calls = Calls()
    x = gr.placeholder(gr.float32, (None,))
    first = gr.py_func(calls.note("first"), [x], gr.float32)
    second = gr.py_func(calls.note("second"), [first], [])
    assert isinstance(second, gr.Tensor | gr.Operation | list)
    with gr.control_dependencies([first]):
        between = gr.Print(gr.constant(1.0), [first], "between")
    with gr.control_dependencies([between]):
        last = gr.py_func(calls.note("last"), [x], gr.float32)
    for _ in range(2):
        calls.clear()
        np.testing.assert_array_equal(sess.run(last, {x: [1, 2]}), [1, 2])
        assert calls == ["first", "last"]


def test_it_sees_variables_as_control_dependencies_say(sess: gr.Session) -> None:
    v = gr.Variable(1.0)
    seen: list[float] = []
    before = gr.py_func(lambda a: seen.append(float(a)), [v], [])
    with gr.control_dependencies([v.assign_add(1.0)]):
        after = gr.py_func(lambda a: seen.append(float(a)), [v.read_value()], [])
    sess.run(v.initializer)
    sess.run([before, after])
    assert seen == [1.0, 2.0] and sess.run(v) == 2.0


def test_in_a_branch_and_in_a_loop(sess: gr.Session) -> None:
    calls = Calls()
    x = gr.placeholder(gr.float32, ())

    def called(name: str, value: gr.Tensor) -> gr.Tensor:
        y = gr.py_func(calls.note(name), [value], gr.float32)
        y.set_shape([])
        return y

    y = gr.cond(x > 0.0, lambda: called("yes", x), lambda: called("no", -x))
    z = gr.while_loop(lambda i: i < 3.0, lambda i: called("body", i) + 1.0, [gr.constant(0.0)])
    assert sess.run(y, {x: 2.0}) == 2.0 and sess.run(y, {x: -3.0}) == 3.0
    assert calls == ["yes", "no"]
    calls.clear()
    assert sess.run([z, y], {x: 1.0}) == [3.0, 1.0]
    assert sorted(calls) == ["body"] * 3 + ["yes"]


def test_a_session_runs_inside_of_a_function(sess: gr.Session) -> None:
    v = gr.Variable(3.0)
    inner = v * 2.0
    outer = gr.py_func(lambda: sess.run(inner), [], gr.float32)
    sess.run(v.initializer)
    assert sess.run(gr.reshape(outer, []) + v) == 9.0


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (StopIteration(), gr.errors.OutOfRangeError),
        (MemoryError(), gr.errors.ResourceExhaustedError),
        (NotImplementedError(), gr.errors.UnimplementedError),
        (gr.errors.CancelledError(None, None, "enough"), gr.errors.CancelledError),
        (gr.errors.OutOfRangeError("enough"), gr.errors.OutOfRangeError),
        (TypeError(), InvalidArgumentError),
        (RuntimeError(), ExecutionError),
    ],
)
def test_as_what_an_error_of_the_function_is_told(raised: Exception, told: type[Exception]) -> None:
    """As in TensorFlow; so a function may say that its data is at the end."""

    def fails() -> None:
        raise raised

    x = gr.py_func(fails, [], gr.float32, name="f")
    with gr.Session() as sess, pytest.raises(told, match=r"py_func 'f'.*fails raised") as caught:
        sess.run(x)
    assert type(caught.value) is told and caught.value.__cause__ is raised
