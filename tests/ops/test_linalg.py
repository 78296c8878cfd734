"""Matrix products: messages, static shapes, broadcasting gradients, tensordot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

from graphrun import dtypes
from graphrun.errors import DTypeError, ShapeError
from graphrun.gradients import gradients
from graphrun.graph.graph import Graph
from graphrun.ops.linalg import matmul, matvec, tensordot
from graphrun.ops.state import constant, placeholder


@pytest.fixture(autouse=True)
def graph() -> Any:
    g = Graph()
    with g.as_default():
        yield g


def _array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_message_of_inner_dimensions() -> None:
    a = placeholder(dtypes.float32, (32, 128), name="x")
    b = placeholder(dtypes.float32, (64, 10), name="w")
    with pytest.raises(ShapeError) as caught:
        matmul(a, b, name="dense_1/matmul")
    lines = str(caught.value).splitlines()
    assert lines[0] == "matmul 'dense_1/matmul': inner dimensions differ, 128 != 64"
    assert lines[1].startswith("  a: (32, 128) float32   b: (64, 10) float32      created at ")
    assert "test_linalg.py:" in lines[1]
    assert lines[2] == (
        "  expected a.shape[-1] == b.shape[-2]; pass transpose_b=True if b is stored (out, in)"
    )


@pytest.mark.parametrize(
    ("shapes", "flags", "expected", "fix"),
    [
        (((3, 2), (3, 4)), {}, "a.shape[-1] == b.shape[-2]", "pass transpose_a=True, which would fit"),
        (((3, 2), (2, 4)), {"transpose_a": True}, "a.shape[-2] == b.shape[-2]", "pass transpose_a=False"),
        (((3, 2), (2, 5)), {"transpose_b": True}, "a.shape[-1] == b.shape[-1]", "leave transpose_b=True out"),
    ],
)
def test_message_follows_the_flags(shapes: Any, flags: Any, expected: str, fix: str) -> None:
    a, b = (placeholder(dtypes.float32, s) for s in shapes)
    with pytest.raises(ShapeError) as caught:
        matmul(a, b, **flags)
    assert f"expected {expected}; {fix}" in str(caught.value)


def test_vectors_are_told_what_to_use() -> None:
    with pytest.raises(ShapeError, match=r"b has rank 1(.|\n)*gr\.matvec"):
        matmul(constant([[1.0]]), constant([1.0]))


def test_dtypes_must_agree() -> None:
    with pytest.raises(DTypeError, match="dtypes differ, float32 != int32"):
        matmul(constant([[1.0]]), constant([[1]]))


def test_transpose_and_adjoint_together() -> None:
    with pytest.raises(DTypeError, match="transpose_b and adjoint_b"):
        matmul([[1.0]], [[1.0]], transpose_b=True, adjoint_b=True)


def test_adjoint_is_transpose() -> None:
    a, b = _array(4, 3), _array(5, 4, seed=1)
    np.testing.assert_allclose(evaluate(matmul(a, b, adjoint_a=True, adjoint_b=True)), a.T @ b.T, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((None, 3), (3, 4), (None, 4)),
        ((None, None), (None, None), (None, None)),
        ((None, 5, 2, 3), (1, 3, 4), (None, 5, 2, 4)),
        (None, (3, 4), None),
    ],
)
def test_static_shapes(a: Any, b: Any, expected: Any) -> None:
    y = matmul(placeholder(dtypes.float32, a), placeholder(dtypes.float32, b))
    assert y._shape == expected


def test_float16_is_summed_in_float32() -> None:
    a = np.full((1, 4096), 1.0, np.float16)
    b = np.full((4096, 1), 1.0, np.float16)
    assert evaluate(matmul(a, b)) == np.float16(4096)  # sums in float16 stop at 2048


def test_weights_of_a_batch_get_one_product_and_no_sum() -> None:
    x, w = placeholder(dtypes.float32, (None, 7, 5)), placeholder(dtypes.float32, (5, 4))
    (dw,) = gradients(matmul(x, w), w)
    assert dw is not None and dw.op.type == "MatMul" and dw._shape == (5, 4)


@pytest.mark.parametrize("flags", [(False, False), (True, False), (False, True), (True, True)])
def test_gradients_of_unknown_batches(flags: tuple[bool, bool]) -> None:
    def turned(x: np.ndarray, flag: bool) -> np.ndarray:
        return np.swapaxes(x, -1, -2).copy() if flag else x

    a, b = turned(_array(2, 1, 3, 4), flags[0]), turned(_array(5, 4, 2, seed=1), flags[1])
    check_gradients(lambda a, b: matmul(a, b, transpose_a=flags[0], transpose_b=flags[1]), [a, b])


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        ((2, 3, 4), (4, 3, 5), 1),
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3), (4, 5), 0),
        ((2, 3, 4), (4, 3, 5), [[1, 2], [1, 0]]),
        ((2, 3, 4), (4, 3, 5), [[2], [0]]),
        ((2, 3, 4), (5, 3), [1, 1]),
        ((2, 3, 4), (5, 3), (-2, -1)),
        ((2, 3), (2, 3), [[0, 1], [0, 1]]),
        ((2, 0), (0, 3), 1),
    ],
)
def test_tensordot_is_numpys(a: Any, b: Any, axes: Any) -> None:
    x, y = _array(*a), _array(*b, seed=1)
    expected = np.tensordot(x, y, axes)
    known = tensordot(x, y, axes)
    assert known._shape == expected.shape
    np.testing.assert_allclose(evaluate(known), expected, rtol=1e-12)
    p, q = (placeholder(dtypes.float64, (None,) * v.ndim) for v in (x, y))
    np.testing.assert_allclose(evaluate(tensordot(p, q, axes), {p: x, q: y}), expected, rtol=1e-12)


def test_tensordot_keeps_what_is_known() -> None:
    a, b = placeholder(dtypes.float32, (None, 3, 4)), placeholder(dtypes.float32, (4, 5))
    y = tensordot(a, b, 1, name="mix")
    assert y._shape == (None, 3, 5) and y.name == "mix:0"


def test_tensordot_gradients() -> None:
    def function(a: Any, b: Any) -> Any:
        a.set_shape((None, None, 4))  # the rank has to be known
        b.set_shape((None, None, None))
        return tensordot(a, b, [[1, 2], [1, 0]])

    check_gradients(function, [_array(2, 3, 4), _array(4, 3, 5, seed=1)])


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        (4, "axes=4 is out of range"),
        ([[0], [0, 1]], "do not pair up"),
        ([[5], [0]], "axis 5 is out of range for rank 2"),
        ([[0], [1]], "axis 0 of a and axis 1 of b differ, 2 != 4"),
    ],
)
def test_tensordot_messages(axes: Any, text: str) -> None:
    with pytest.raises(ShapeError, match="tensordot") as caught:
        tensordot(_array(2, 3), _array(3, 4), axes)
    assert text in str(caught.value)


def test_matvec() -> None:
    a, v = _array(2, 3, 4), _array(2, 4, seed=1)
    y = matvec(a, v, name="y")
    assert y._shape == (2, 3) and y.name == "y:0"
    np.testing.assert_allclose(evaluate(y), np.einsum("bij,bj->bi", a, v), rtol=1e-12)
