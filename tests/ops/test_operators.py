"""Python's operators of tensors and variables."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from interpreter import evaluate

import graphrun as gr

BINARY = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow,
}  # fmt: skip
COMPARISONS = {
    "Less": operator.lt, "LessEqual": operator.le, "Greater": operator.gt, "GreaterEqual": operator.ge,
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_arithmetic_in_both_orders(name: str) -> None:
    function = BINARY[name]
    x = gr.constant([1.5, 2.0, 4.0])
    value = np.array([1.5, 2.0, 4.0], np.float32)
    first = function(x, x)
    assert first.op.name == name  # TensorFlow's name for the node of an operator
    others = (2, 2.0, np.float32(2), np.float64(2), np.int64(2), np.full(3, 2, np.float32), [2.0, 2.0, 2.0])
    for other in others:
        for result, expected in (
            (function(x, other), function(value, np.float32(2))),
            (function(other, x), function(np.float32(2), value)),
        ):
            assert isinstance(result, gr.Tensor)
            assert result.dtype == gr.float32
            np.testing.assert_allclose(evaluate(result), expected, rtol=1e-6)


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons(name: str) -> None:
    function = COMPARISONS[name]
    x = gr.constant([1, 2, 3])
    result = function(x, 2)
    assert result.op.name == name
    np.testing.assert_array_equal(evaluate(result), function(np.array([1, 2, 3]), 2))
    np.testing.assert_array_equal(evaluate(function(np.int32(2), x)), function(2, np.array([1, 2, 3])))


def test_equality_asks_for_identity() -> None:
    a, b = gr.constant(1.0), gr.constant(1.0)
    assert (a == a) is True
    assert (a == b) is False
    assert (a != b) is True
    assert {a: 1, b: 2}[a] == 1


def test_logic() -> None:
    a, b = gr.constant([True, True, False]), gr.constant([True, False, False])
    results = evaluate([a & b, a | b, a ^ b, ~a, np.array([True] * 3) & b, a | False])
    expected = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]]
    np.testing.assert_array_equal(results, np.array(expected, bool))


def test_logic_of_numbers_says_what_to_do() -> None:
    with pytest.raises(gr.errors.DTypeError, match="expected a bool dtype"):
        gr.constant([1, 2]) & gr.constant([1, 1])


def test_unary_and_matmul() -> None:
    x = gr.constant([[1.0, -2.0], [3.0, 4.0]])
    value = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
    assert ((-x).op.name, abs(x).op.name, (x @ x).op.name) == ("Neg", "Abs", "matmul")
    results = evaluate([-x, abs(x), x @ x, value @ x, x @ value])
    for result, expected in zip(results, [-value, abs(value), *[value @ value] * 3], strict=True):
        np.testing.assert_array_equal(result, expected)


def test_indexing() -> None:
    x = gr.constant(np.arange(6).reshape(2, 3))
    results = evaluate([x[0], x[1, 2], x[:, 1], x[..., None], x[-1, ::-1]])
    value = np.arange(6).reshape(2, 3)
    for result, expected in zip(
        results, [value[0], value[1, 2], value[:, 1], value[..., None], value[-1, ::-1]]
    ):
        np.testing.assert_array_equal(result, expected)
    assert x[0].op.name.startswith("strided_slice")


def test_variables_have_them_too() -> None:
    v = gr.Variable([1.0, 2.0])
    expressions: list[Any] = [
        v + 1,
        1 + v,
        np.float32(3) * v,
        v - v,
        -v,
        abs(v),
        v**2,
        v[1],
        v / 2,
        v < 2,
        4 % v,
    ]
    expected = [[2, 3], [2, 3], [3, 6], [0, 0], [-1, -2], [1, 2], [1, 4], 2, [0.5, 1], [True, False], [0, 0]]
    for result, e in zip(evaluate(expressions), expected, strict=True):
        np.testing.assert_array_equal(result, np.array(e))


def test_python_numbers_take_the_tensors_dtype() -> None:
    for dtype in (gr.float16, gr.float64, gr.uint8, gr.int64):
        assert (gr.ones([2], dtype) + 1).dtype == dtype
        assert (1 + gr.ones([2], dtype)).dtype == dtype
    with pytest.raises(gr.errors.DTypeError, match="0.5 cannot become a tensor of dtype int32"):
        gr.constant([1, 2]) * 0.5


def test_dtypes_that_differ_are_named() -> None:
    with pytest.raises(gr.errors.DTypeError) as info:
        gr.constant([1.0]) + gr.constant([1], gr.int32)
    text = str(info.value)
    assert "dtypes differ, float32 != int32" in text
    assert "gr.cast(b, gr.float32)" in text
    assert "test_operators.py" in text


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(gr.errors.ShapeError) as info:
        gr.zeros([2, 3]) + gr.zeros([4])
    text = str(info.value)
    assert "cannot be broadcast, 3 != 4" in text
    assert "a: (2, 3) float32   b: (4,) float32" in text
