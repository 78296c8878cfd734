"""Print, Assert and its relatives, check_numerics: what they say, when, and that they fail a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, InvalidArgumentError, ShapeError
from graphrun.ops.print_text import summary

HELD = "static_checks_determined_all_ok"


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


# -- text: as TensorFlow 1 wrote it, taken from there --------------------------------------------------


@pytest.mark.parametrize(
    ("value", "count", "text"),
    [
        (np.float32([1, 2, 3.5]), 2, "1 2..."),
        (np.float32([[1, 2], [3, 4]]), 3, "[1 2][3...]..."),
        (np.int32([[1, 2], [3, 4]]), 2, "[1 2]..."),
        (np.int32([[1, 2], [3, 4]]), -1, "[1 2][3 4]"),
        (np.float32([1e10, 1e-7, 0.1]), 3, "1e+10 1e-07 0.1"),
        (np.float32(1 / 3), 3, "0.333333343"),
        (np.float64(1 / 3), 3, "0.33333333333333331"),
        (np.array([True, False]), 3, "1 0"),
        (np.array([b"a", b"bc"], object), 3, "a bc"),
        (np.array(b"abc", object), 3, "abc"),
        (np.float32([]), 3, ""),
        (np.float32(np.nan), 3, "nan"),
    ],
)
def test_summary(value: Any, count: int, text: str) -> None:
    assert summary(value, count) == text


def test_print(sess: gr.Session, capfd: pytest.CaptureFixture[str]) -> None:
    x = gr.placeholder(gr.float32, (None,))
    y = gr.Print(x, [x, gr.shape(x), "text"], message="x: ", summarize=2, first_n=2)
    assert y.name == "Print:0" and y.shape.as_list() == [None]
    z = y * 2.0
    for _ in range(3):
        np.testing.assert_array_equal(sess.run(z, {x: [1, 2, 3.5]}), [2, 4, 7])
    out, err = capfd.readouterr()
    assert err == "x: [1 2...][3][text]\n" * 2 and out == ""
    assert sess.run(gr.gradients(z, x)[0], {x: [1, 2]}).tolist() == [2, 2]


def test_print_is_left_out_where_nobody_asks(sess: gr.Session, capfd: pytest.CaptureFixture[str]) -> None:
    x = gr.constant(1.0)
    gr.Print(x, [x])
    two = gr.Print(x, [x], "a") + gr.Print(x, [x], "a")  # equal, and still two
    sess.run(x + 1.0)
    assert capfd.readouterr().err == ""
    sess.run(two)
    assert capfd.readouterr().err == "a[1]\na[1]\n"


def test_print_inside_of_a_loop(sess: gr.Session, capfd: pytest.CaptureFixture[str]) -> None:
    n = gr.placeholder(gr.int32, ())
    end = gr.while_loop(lambda i: i < n * 1, lambda i: gr.Print(i, [i], "i = ") + 1, [0])
    assert sess.run(end, {n: 3}) == 3
    assert capfd.readouterr().err == "i = [0]\ni = [1]\ni = [2]\n"


# -- Assert -----------------------------------------------------------------------------------------


def test_assert(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,), name="x")
    v = gr.Variable(0.0)
    check = gr.Assert(gr.reduce_all(x > 0.0), [x, "text", [[1, 2], [3, 4]]], summarize=2)
    with gr.control_dependencies([check]):
        step = v.assign_add(gr.reduce_sum(x))
    sess.run(v.initializer)
    assert sess.run(check, {x: [1, 2]}) is None
    assert sess.run(step, {x: [1, 2, 3]}) == 6.0
    with pytest.raises(InvalidArgumentError, match=r"failed: \[-1 2\.\.\.\] \[text\] \[\[1 2\]\.\.\.\]"):
        sess.run(step, {x: [-1, 2, 3]})
    with pytest.raises(gr.errors.ExecutionError, match="test_checks.py"):
        sess.run(check, {x: [-1, 2, 3]})
    assert sess.run(v) == 6.0


def test_assert_wants_one_bool() -> None:
    with pytest.raises(ShapeError, match=r"the condition is no scalar(.|\n)*gr.reduce_all"):
        gr.Assert([True, False], [1])
    with pytest.raises(DTypeError, match="condition has dtype int32"):
        gr.Assert(1, [1])


def test_a_check_comes_before_the_calls_that_wait_for_it(sess: gr.Session) -> None:
    called: list[int] = []
    x = gr.placeholder(gr.float32, (None,))
    with gr.control_dependencies([gr.assert_positive(x)]):
        y = gr.py_func(lambda a: called.append(1), [x], [])
    with pytest.raises(InvalidArgumentError, match="Condition x > 0 did not hold"):
        sess.run(y, {x: [0, 1]})
    assert not called


BINARY = [
    ("assert_equal", "==", 1.0, 1.0, 2.0),
    ("assert_none_equal", "!=", 1.0, 2.0, 1.0),
    ("assert_less", "<", 1.0, 2.0, 1.0),
    ("assert_less_equal", "<=", 1.0, 1.0, 0.0),
    ("assert_greater", ">", 2.0, 1.0, 2.0),
    ("assert_greater_equal", ">=", 2.0, 2.0, 3.0),
]


@pytest.mark.parametrize(("name", "sign", "x", "good", "bad"), BINARY)
def test_comparisons(sess: gr.Session, name: str, sign: str, x: float, good: float, bad: float) -> None:
    function = getattr(gr, name)
    assert getattr(gr.debugging, name) is function
    t = gr.placeholder(gr.float32, (None,), name="t")
    op = function(t, [x, good], message="what is wrong") if sign == "!=" else function([x, x], t)
    feeds = ([good + 5, x], [x, x]) if sign == "!=" else ([good, good], [good, bad])
    sess.run(op, {t: feeds[0]})
    with pytest.raises(InvalidArgumentError, match=rf"\[Condition x {sign} y did not hold element-wise:\]"):
        sess.run(op, {t: feeds[1]})
    assert function([x, x], good).name.endswith(HELD)
    with pytest.raises(InvalidArgumentError, match=rf"{name}: m Condition x {sign} y did not hold"):
        function([x, x], bad, message="m")


UNARY = [
    ("assert_positive", ">", 1, 0),
    ("assert_negative", "<", -1, 0),
    ("assert_non_negative", ">=", 0, -1),
    ("assert_non_positive", "<=", 0, 1),
]


@pytest.mark.parametrize(("name", "sign", "good", "bad"), UNARY)
def test_signs(sess: gr.Session, name: str, sign: str, good: int, bad: int) -> None:
    function = getattr(gr, name)
    t = gr.placeholder(gr.int32, (2,))
    op = function(t, message="m")
    assert isinstance(op, gr.Operation)
    sess.run(op, {t: [good, good]})
    with pytest.raises(InvalidArgumentError, match=rf"\[m\] \[Condition x {sign} 0 did not hold") as caught:
        sess.run(op, {t: [good, bad]})
    assert f"[{good} {bad}]" in str(caught.value)
    assert function([good]).name.endswith(HELD)
    with pytest.raises(InvalidArgumentError, match=rf"{name}: Condition x {sign} 0 did not hold"):
        function([good, bad])


def test_near(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, ())
    op = gr.assert_near(x, 100.0, rtol=0.01)
    sess.run(op, {x: 100.9})
    with pytest.raises(InvalidArgumentError, match="did not hold"):
        sess.run(op, {x: 102.0})


def test_data_is_shown_instead(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, ())
    op = gr.assert_less(x, 1.0, data=["the size is", x])
    with pytest.raises(InvalidArgumentError, match=r"assertion failed: \[the size is\] \[3\]"):
        sess.run(op, {x: 3.0})


def test_ranks(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32)
    assert gr.assert_rank([1, 2], 1).name.endswith(HELD)
    with pytest.raises(ShapeError, match=r"assert_rank: m. '.*' has rank 1\n.*\(2,\)(.|\n)*expected rank 2"):
        gr.assert_rank([1, 2], 2, message="m")
    for op, good, bad in (
        (gr.assert_rank(x, 1), [1.0], 1.0),
        (gr.assert_rank_at_least(x, 1), [[1.0]], 1.0),
        (gr.assert_rank_in(x, [0, 2]), [[1.0]], [1.0]),
    ):
        sess.run(op, {x: good})
        with pytest.raises(InvalidArgumentError, match="must have rank"):
            sess.run(op, {x: bad})
    with pytest.raises(ShapeError, match="one int that is known"):
        gr.assert_rank(x, [1, 2])


def test_dtypes_and_forms() -> None:
    x = gr.placeholder(gr.float32, (2,))
    with pytest.raises(TypeError, match=r"m. 'Placeholder:0' has dtype float32(.|\n)*expected dtype int32"):
        gr.assert_type(x, gr.int32, message="m")
    assert gr.assert_type(x, "float").name.endswith("statically_determined_correct_type")
    with pytest.raises(TypeError, match="expected an integer dtype"):
        gr.assert_integer(x)
    gr.assert_integer(gr.constant(1))
    with pytest.raises(ValueError, match="expected a scalar"):
        gr.assert_scalar(x)
    assert gr.assert_scalar(2.0).shape.as_list() == []
    assert gr.assert_same_float_dtype([x, None]) is gr.float32
    with pytest.raises(TypeError, match="expected dtype float64"):
        gr.assert_same_float_dtype([x], gr.float64)
    gr.assert_proper_iterable([1])
    for bad in (x, np.zeros(2), "ab", 3):
        with pytest.raises(TypeError, match="expected a list or tuple"):
            gr.assert_proper_iterable(bad)
    assert gr.is_numeric_tensor(x) and not gr.is_numeric_tensor(3)


def test_order_of_elements(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32)
    both = [gr.is_non_decreasing(x), gr.is_strictly_increasing(x)]
    assert sess.run(both, {x: [[1, 2], [2, 3]]}) == [True, False]
    assert sess.run(both, {x: [1, 2, 3]}) == [True, True]
    assert sess.run(both, {x: [2, 1]}) == [False, False]
    assert sess.run(both, {x: 1.0}) == [True, True]


def test_ensure_shape(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32)
    y = gr.ensure_shape(x, [None, 2])
    assert y.shape.as_list() == [None, 2]
    assert sess.run(y, {x: [[1, 2]]}).shape == (1, 2)
    with pytest.raises(ShapeError):
        sess.run(y, {x: [1.0, 2.0]})
    with pytest.raises(ShapeError):
        gr.ensure_shape(gr.zeros([2, 3]), [None, 2])


# -- check_numerics -----------------------------------------------------------------------------------


def test_check_numerics(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (None,))
    y = gr.check_numerics(x, "the loss")
    assert y.name == "CheckNumerics:0"
    assert sess.run(y, {x: [1, 2]}).tolist() == [1, 2]
    for values, kinds in (([1, np.nan], "NaN"), ([np.inf, 1], "Inf"), ([-np.inf, np.nan], "Inf and NaN")):
        with pytest.raises(InvalidArgumentError, match=f"the loss : Tensor had {kinds} values"):
            sess.run(y, {x: values})
    assert sess.run(gr.gradients(y * 3.0, x)[0], {x: [1.0]}).tolist() == [3]


def test_check_everything(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, ())
    v = gr.Variable(2.0)
    gr.sqrt(gr.log(x), name="root")
    check = gr.add_check_numerics_ops()
    sess.run(v.initializer)
    sess.run(check, {x: 2.0})
    with pytest.raises(InvalidArgumentError, match="Log:0 : Tensor had NaN values"):
        sess.run(check, {x: -2.0})
    gr.while_loop(lambda i: i < 3, lambda i: i + 1, [0])
    with pytest.raises(gr.errors.GraphError, match="branches or loops"):
        gr.add_check_numerics_ops()
