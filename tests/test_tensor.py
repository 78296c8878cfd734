"""Tensors: operators, shapes, and what they say where they cannot do what arrays can."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, GraphError, ShapeError

F32 = np.float32
SITE = r"created at .*test_tensor\.py:\d+"


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def x_() -> gr.Tensor:
    return gr.placeholder(gr.float32, (None, 3), name="x")


# -- operators ---------------------------------------------------------------------------------

ARITHMETIC = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
]  # fmt: skip
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge]
A = np.array([[1.5, 2.0, 3.0]], F32)
OPERANDS: list[Any] = [
    2, np.float64(2.5), np.int32(3), np.array([[2], [1]], np.int64), [1.0, 2.0, 3.0],
]  # fmt: skip


@pytest.mark.parametrize("make", [lambda: gr.constant(A), lambda: gr.Variable(A)], ids=["tensor", "variable"])
def test_operators_with_numbers_on_either_side(sess: gr.Session, make: Callable[[], Any]) -> None:
    x = make()
    fetches, expected = [], []
    for f in (*ARITHMETIC, *COMPARISONS):
        for other in OPERANDS:
            plain = np.asarray(other, F32)
            fetches += [f(x, other), f(other, x)]
            expected += [f(A, plain), f(plain, A)]
    assert all(isinstance(t, gr.Tensor) for t in fetches)
    sess.run(gr.global_variables_initializer())
    for t, got, want in zip(fetches, sess.run(fetches), expected, strict=True):
        assert got.dtype == (np.bool_ if want.dtype == bool else F32), t
        np.testing.assert_allclose(got, want, rtol=2e-6, err_msg=str(t))


def test_operators_between_tensors(sess: gr.Session) -> None:
    b = np.array([[2.0], [-1.0]], F32)
    x, y = gr.constant(A), gr.constant(b)
    got = sess.run([f(x, y) for f in (*ARITHMETIC[:-1], *COMPARISONS)])
    for value, f in zip(got, (*ARITHMETIC[:-1], *COMPARISONS), strict=True):
        np.testing.assert_allclose(value, f(A, b), rtol=1e-6)
    np.testing.assert_allclose(sess.run(x @ [[1.0], [2.0], [3.0]]), A @ [[1.0], [2.0], [3.0]])
    np.testing.assert_allclose(sess.run(np.ones((2, 1), F32) @ x), np.ones((2, 1)) @ A)
    np.testing.assert_array_equal(sess.run([-x, abs(y)])[0], -A)
    p, q = gr.constant([True, False]), gr.constant([True, True])
    got = sess.run([p & q, p | q, p ^ q, ~p, p & True, False | q, np.array([True, False]) ^ q])
    for value, want in zip(got, [[1, 0], [1, 1], [0, 1], [0, 1], [1, 0], [1, 1], [0, 1]], strict=True):
        np.testing.assert_array_equal(value, np.array(want, bool))


def test_integer_operators_follow_python(sess: gr.Session) -> None:
    a = np.array([7, -7, 7, -7], np.int32)
    b = np.array([2, 2, -2, -2], np.int32)
    x, y = gr.constant(a), gr.constant(b)
    np.testing.assert_array_equal(sess.run(x // y), a // b)
    np.testing.assert_array_equal(sess.run(x % y), a % b)
    quotient = sess.run(x / y)
    assert quotient.dtype == np.float64
    np.testing.assert_array_equal(quotient, a / b)


def test_numpy_functions_that_are_operators() -> None:
    """What NumPy makes of ``array + tensor`` when it is asked by the function's name."""
    x, array = gr.constant(A), np.ones(3, F32)
    with gr.Session() as sess:
        for f in (
            np.add,
            np.subtract,
            np.multiply,
            np.true_divide,
            np.floor_divide,
            np.power,
            np.less,
            np.greater_equal,
        ):
            np.testing.assert_allclose(sess.run(f(x, array)), f(A, array))
            np.testing.assert_allclose(sess.run(f(array, x)), f(array, A))
        total: Any = np.zeros(3, F32)
        total += x
        assert isinstance(total, gr.Tensor)
        np.testing.assert_array_equal(sess.run(total), A)
        number: Any = np.float32(1)
        number -= x
        np.testing.assert_array_equal(sess.run(number), 1 - A)


def test_augmented_assignment_makes_a_new_tensor() -> None:
    x = gr.constant(1.0)
    y = x
    y += 2.0
    y *= 3.0
    with gr.Session() as sess:
        assert sess.run([x, y]) == [1.0, 9.0]


def test_equality_is_identity() -> None:
    x, y = gr.constant(1.0), gr.constant(1.0)
    assert x == x and x != y and not x == y  # noqa: PLR0124, SIM201
    assert x in [y, x] and y not in [x] and {x: 1, y: 2}[y] == 2
    array = np.ones(1)
    assert (x == array) is False and (array == x) is False and (array != x) is True
    assert (x == 1.0) is False and (x == None) is False  # noqa: E711


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: gr.constant(1) + 1.5, "1.5"),
        (lambda: 1.5 + gr.constant(1), "1.5"),
        (lambda: gr.constant(1) + np.array([0.5]), "0.5"),
        (lambda: gr.constant(1) + gr.constant(1.0), "int32"),
        (lambda: gr.constant(1.0) * gr.constant(1.0, gr.float64), "float64"),
        (lambda: gr.constant(True) + True, "bool"),
        (lambda: gr.constant(1.0) + "a", "'a'"),
        (lambda: gr.constant(1.0) + None, "None"),
        (lambda: gr.constant(1.0) & True, "True cannot become a tensor of dtype float32"),
        (lambda: gr.constant(1) + 2**40, "1099511627776"),
        (lambda: gr.constant(1.0) @ gr.constant(1.0), "rank"),
    ],
)
def test_operands_that_do_not_fit(build: Callable[[], Any], text: str) -> None:
    with pytest.raises((DTypeError, ShapeError)) as fault:
        build()
    assert text in str(fault.value)


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ShapeError) as fault:
        gr.ones([2, 3], name="a") + gr.ones([2, 4])
    text = str(fault.value)
    assert "(2, 3) and (2, 4) cannot be broadcast" in text and "add 'add'" in text
    assert re.search(SITE, text)


# -- making tensors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int32"), (2**31 - 1, "int32"), (2**31, "int64"), (1.5, "float32"), (True, "bool"),
        ([1, 2.5], "float32"), ([1, 2], "int32"), (np.float64(1), "float64"), (np.ones(2), "float64"),
        (np.int64(1), "int64"), ([np.float64(1)], "float64"), (np.uint8(1), "uint8"), ([], "float32"),
        (np.float16(1), "float16"), ([[True], [False]], "bool"),
    ],
)  # fmt: skip
def test_dtypes_of_constants(value: Any, dtype: str) -> None:
    assert gr.constant(value).dtype == dtype
    assert gr.convert_to_tensor(value).dtype == dtype


def test_constants_of_a_dtype_and_shape() -> None:
    with gr.Session() as sess:
        assert sess.run(gr.constant(1, "float")).dtype == F32
        np.testing.assert_array_equal(sess.run(gr.constant(7.0, shape=[2, 2])), np.full((2, 2), 7))
        np.testing.assert_array_equal(sess.run(gr.constant([1, 2, 3], shape=(2, 2))), [[1, 2], [3, 3]])
        np.testing.assert_array_equal(
            sess.run(gr.constant([1, 2, 3, 4], gr.float32, (2, 2))), [[1, 2], [3, 4]]
        )
        assert sess.run(gr.constant([], shape=[0, 3])).shape == (0, 3)


@pytest.mark.parametrize(
    ("build", "kind", "text"),
    [
        (lambda: gr.constant(1.5, gr.int32), DTypeError, "1.5 cannot become a constant of dtype int32"),
        (lambda: gr.constant(300, gr.uint8), DTypeError, "300 cannot become"),
        (lambda: gr.constant(1, gr.bool), DTypeError, "of dtype bool"),
        (lambda: gr.constant([[1], [1, 2]]), DTypeError, "ragged"),
        (lambda: gr.constant("text", gr.float32), DTypeError, "'text' cannot become a constant"),
        (lambda: gr.constant(None), DTypeError, "None cannot become a constant"),
        (lambda: gr.constant({}), DTypeError, "cannot become a constant"),
        (lambda: gr.constant(gr.constant(1.0)), DTypeError, "gr.identity"),
        (lambda: gr.constant([gr.constant(1.0)]), DTypeError, "gr.stack"),
        (lambda: gr.constant([1, 2, 3], shape=[2]), ShapeError, "3 values of shape (3,) for shape (2,)"),
        (lambda: gr.constant(1.0, shape=[2, None]), ShapeError, "(2, ?)"),
        (lambda: gr.constant([1, 2], shape=[2, 2], verify_shape=True), ShapeError, "for shape (2, 2)"),
        (lambda: gr.placeholder(gr.float32, [-1, 3]), ShapeError, "write None"),
        (lambda: gr.placeholder(gr.float32, "ab"), ShapeError, "not a shape: 'ab'"),
        (lambda: gr.placeholder("real"), DTypeError, "real"),
        (lambda: gr.placeholder(None), DTypeError, "None"),
        (lambda: gr.placeholder(gr.float32, [2.5]), ShapeError, "not a shape"),
        (lambda: gr.convert_to_tensor(gr.no_op("n")), DTypeError, "operation 'n' has no value"),
        (lambda: gr.convert_to_tensor(gr.constant(1), gr.float32), DTypeError, "expected dtype float32"),
        (lambda: gr.identity(object()), DTypeError, "cannot become a tensor"),
    ],
)  # fmt: skip
def test_values_that_cannot_become_tensors(
    build: Callable[[], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as fault:
        build()
    assert text in str(fault.value)


def test_lists_of_tensors_are_stacked(sess: gr.Session) -> None:
    x = gr.constant([1.0, 2.0])
    t = gr.convert_to_tensor([x, [3, 4], np.array([5, 6])])
    assert t.shape == (3, 2)
    np.testing.assert_array_equal(sess.run(t), [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(sess.run(gr.reduce_sum([x[0], 10.0, gr.Variable(5.0).initial_value])), 16)
    # With a dtype, tensors in the list are cast, which a tensor alone is not.
    mixed = gr.convert_to_tensor([[gr.shape(x)[0], 7], [gr.constant(3, gr.int64), 1]], gr.int64)
    assert mixed.dtype is gr.int64 and sess.run(mixed).tolist() == [[2, 7], [3, 1]]


# -- shapes ------------------------------------------------------------------------------------


def test_shape_manners() -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    shape = x.get_shape()
    assert shape == x.shape == (None, 3) == shape
    assert shape.as_list() == [None, 3] and shape.ndims == 2 and len(shape) == 2
    assert shape[1].value == 3 and shape[0].value is None and shape[1] == 3 and int(shape[-1]) == 3
    assert shape[1] * 2 + 1 == 7 and isinstance(shape[1], int)
    assert (shape[0] * 2).value is None and (2 + shape[0]).value is None
    assert [d.value for d in shape] == [None, 3] == [d.value for d in shape.dims]
    assert shape[1:].as_list() == [3]
    assert not shape.is_fully_defined() and shape[1:].is_fully_defined()
    assert shape.num_elements() is None and shape[1:].num_elements() == 3
    assert shape.is_compatible_with((7, 3)) and not shape.is_compatible_with([7, 4])
    assert shape.merge_with((7, None)).as_list() == [7, 3]
    assert shape.concatenate([1]).as_list() == [None, 3, 1] and (shape + [1]).as_list() == [None, 3, 1]
    assert shape.with_rank(2) == shape
    assert str(shape) == "(?, 3)" and repr(shape) == "TensorShape([None, 3])"
    assert np.zeros(shape[1]).shape == (3,)
    assert gr.zeros([shape[1], 2]).shape == (3, 2)
    assert range(shape[1]) == range(3)
    with pytest.raises(ValueError, match="must have rank at least 3"):
        shape.with_rank_at_least(3)
    with pytest.raises(ShapeError, match="unknown until the graph runs") as fault:
        np.zeros(shape[0])
    assert "gr.shape(x)[i]" in str(fault.value)
    with pytest.raises(ShapeError, match="unknown until the graph runs"):
        range(shape[0])
    for text in ("not fully defined",):
        with pytest.raises(ShapeError, match=text):
            shape.assert_is_fully_defined()


def test_unknown_rank() -> None:
    shape = gr.placeholder(gr.float32).shape
    assert shape.ndims is None and shape.dims is None and not shape and shape == None  # noqa: E711
    assert str(shape) == "<unknown>" and shape.num_elements() is None
    for ask in (shape.as_list, lambda: len(shape), lambda: shape[0], lambda: list(shape)):
        with pytest.raises(ValueError, match="of a shape of unknown rank") as fault:
            ask()
        assert "set_shape" in str(fault.value)


def test_set_shape() -> None:
    x = gr.placeholder(gr.float32, name="x")
    x.set_shape([None, 3])
    x.set_shape(gr.TensorShape([2, None]))
    assert x.shape == (2, 3)
    assert (x * 2.0).shape == (2, 3)
    with pytest.raises(ShapeError) as fault:
        x.set_shape([2, 4])
    text = str(fault.value)
    assert "'x'" in text and "set_shape((2, 4)) contradicts (2, 3)" in text
    assert re.search(SITE, text)
    with pytest.raises(ShapeError):
        x.set_shape([2])
    assert x.shape == (2, 3)


def test_what_a_tensor_shows() -> None:
    x = x_()
    assert (x.name, x.op.name, x.value_index, x.dtype, x.device) == ("x:0", "x", 0, gr.float32, "")
    assert repr(x) == "<gr.Tensor 'x:0' shape=(?, 3) dtype=float32>"
    assert x.graph is gr.get_default_graph()
    assert x.op.outputs[0] is x


# -- slices ------------------------------------------------------------------------------------


def test_slices(sess: gr.Session) -> None:
    a = np.arange(24, dtype=F32).reshape(2, 3, 4)
    x = gr.constant(a)
    i = gr.constant(1)
    keys: list[Any] = [
        0, -1, (1, 2), (0, 1, 3), slice(1, None), slice(None, None, -1), (slice(None), 1), (..., 0),
        (..., slice(0, 4, 2)), (0, ..., -1), (slice(None), None, 0), None, (1, slice(0, 2), slice(-3, -1)),
        (..., None), np.int64(1), (slice(5, 9),), (slice(None), slice(2, 0, -1)),
    ]  # fmt: skip
    got = sess.run([x[k] for k in keys])
    for k, value in zip(keys, got, strict=True):
        np.testing.assert_array_equal(value, a[k], err_msg=str(k))
    np.testing.assert_array_equal(sess.run(x[i]), a[1])
    np.testing.assert_array_equal(sess.run(x[0, i : i + 2, 1]), a[0, 1:3, 1])
    np.testing.assert_array_equal(sess.run(gr.Variable(a).initial_value[:, i]), a[:, 1])


def test_iteration_and_length(sess: gr.Session) -> None:
    x = gr.placeholder(gr.float32, (3, None))
    assert len(x) == 3
    parts = list(x)
    a, b, c = x
    assert [p.shape.as_list() for p in parts] == [[None]] * 3
    got = sess.run([*parts, a + b + c], {x: np.arange(6).reshape(3, 2)})
    np.testing.assert_array_equal(got[1], [2, 3])
    np.testing.assert_array_equal(got[3], [6, 9])


# -- what a tensor cannot do ---------------------------------------------------------------------


def uses() -> list[tuple[Callable[[Any], Any], list[str]]]:
    return [
        (bool, ["cannot be used as a bool", "gr.where", "gr.cond", "gr.while_loop"]),
        (lambda x: x and 1, ["cannot be used as a bool"]),
        (lambda x: not x, ["cannot be used as a bool"]),
        (lambda x: 0 < x < 1, ["cannot be used as a bool", "gr.logical_and"]),
        (lambda x: max(x, x * 2.0), ["cannot be used as a bool"]),
        (float, ["float(x)", "gr.cast(x, gr.float32)", "session.run(x)"]),
        (int, ["int(x)", "session.run(x)"]),
        (lambda x: [1, 2][x], ["int(x)"]),
        (range, ["int(x)"]),
        (np.exp, ["np.exp was asked to compute with it", "gr.exp for np.exp"]),
        (lambda x: np.maximum(x, 0), ["np.maximum was asked to compute with it"]),
        (np.sum, ["no value while the graph is built", "session.run(x)"]),
        (np.asarray, ["NumPy was asked to make an array of it", "session.run(x)"]),
        (lambda x: np.array([x, x]), ["NumPy was asked to make an array of it"]),
        (lambda x: np.zeros(3) + np.asarray(x), ["NumPy was asked to make an array of it"]),
    ]


@pytest.mark.parametrize("number", range(len(uses())))
def test_what_a_tensor_cannot_do(number: int) -> None:
    use, texts = uses()[number]
    x = gr.placeholder(gr.float32, (), name="x")
    for t in (x, x * 1.0):
        with pytest.raises(TypeError) as fault:
            use(t)
        assert isinstance(fault.value, DTypeError)
        text = str(fault.value)
        assert "a tensor has no value while the graph is built" in text
        assert "Tensor '" in text and re.search(SITE, text), text
        for expected in texts:
            assert expected in text, text


def test_iteration_where_the_length_is_unknown() -> None:
    for x, why in (
        (x_(), "its first dimension is not known"),
        (gr.placeholder(gr.float32), "its first dimension is not known"),
        (gr.constant(1.0), "it is a scalar"),
    ):
        with pytest.raises(TypeError, match=why) as fault:
            for _ in x:
                pass
        assert "gr.unstack" in str(fault.value) and re.search(SITE, str(fault.value))
        with pytest.raises(TypeError, match=r"len\(x\)") as fault:
            len(x)
        assert "gr.shape(x)[0]" in str(fault.value)


def test_item_assignment() -> None:
    x = gr.ones([3])
    with pytest.raises(TypeError) as fault:
        x[0] = 1.0  # type: ignore[index]
    assert "item assignment" in str(fault.value)


def test_eval_needs_a_session() -> None:
    with pytest.raises(GraphError, match=r"Tensor.eval\(\) needs a session"):
        gr.constant(1.0).eval()


def test_a_preferred_dtype_is_a_wish() -> None:
    assert gr.convert_to_tensor(1, preferred_dtype=gr.float64).dtype is gr.float64
    assert gr.convert_to_tensor([1, 2], None, "c", gr.float32).dtype is gr.float32
    assert gr.convert_to_tensor(1.5, preferred_dtype="int32").dtype is gr.float32
    assert gr.convert_to_tensor("a", dtype_hint=gr.int32).dtype is gr.string
    assert gr.convert_to_tensor(1, dtype=gr.int64, preferred_dtype=gr.float32).dtype is gr.int64
    assert gr.convert_to_tensor(gr.constant(1), preferred_dtype=gr.float32).dtype is gr.int32
