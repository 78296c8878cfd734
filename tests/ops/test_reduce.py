"""Reductions: what the operation table cannot say in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr
from graphrun.ops.reduce import sum_to_shape

VALUE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
REDUCTIONS = [
    (gr.reduce_sum, np.sum), (gr.reduce_mean, np.mean), (gr.reduce_max, np.max), (gr.reduce_min, np.min),
    (gr.reduce_prod, np.prod),
]  # fmt: skip


@pytest.mark.parametrize("reduce, expected", REDUCTIONS)
def test_forms_of_the_arguments(reduce: Any, expected: Any) -> None:
    x = gr.constant(VALUE)
    for axis in (None, 0, -1, [0, 2], (1,), np.int64(1), np.array([0, 1]), []):
        wanted = expected(VALUE, axis=tuple(axis) if isinstance(axis, list | np.ndarray) else axis)
        np.testing.assert_allclose(evaluate(reduce(x, axis)), wanted, rtol=1e-6)
    np.testing.assert_allclose(evaluate(reduce(x, reduction_indices=1)), expected(VALUE, axis=1), rtol=1e-6)
    kept = expected(VALUE, axis=1, keepdims=True)
    np.testing.assert_allclose(evaluate(reduce(x, 1, keepdims=True)), kept, rtol=1e-6)
    np.testing.assert_allclose(evaluate(reduce(x, 1, keep_dims=True)), kept, rtol=1e-6)
    assert reduce(input_tensor=x, axis=1, name="mine").op.name == "mine"


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("axis", [1, -1, [0, 2], [-1, 0]])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axis_as_a_fed_tensor(axis: Any, keepdims: bool, static: bool, device: str) -> None:
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32, VALUE.shape if static else None)
        a = gr.placeholder(gr.int32, np.shape(axis) if static else None)
        y = gr.reduce_sum(x, a, keepdims)
        g = gr.gradients(gr.square(y), x)[0]
        feeds = {x: VALUE, a: axis}
        total = VALUE.sum(tuple(np.atleast_1d(axis)), keepdims=True)
        expected = total if keepdims else VALUE.sum(tuple(np.atleast_1d(axis)))
        found, gradient = sess.run([y, g], feeds)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, np.broadcast_to(2 * total, VALUE.shape), rtol=1e-6)


def test_static_shape_of_an_unknown_axis() -> None:
    x = gr.zeros([2, 3, 4])
    one = gr.placeholder(gr.int32, ())
    some = gr.placeholder(gr.int32, (None,))
    assert gr.reduce_sum(x, one).shape.as_list() == [None, None]
    assert gr.reduce_sum(x, one, keepdims=True).shape.as_list() == [None, None, None]
    assert gr.reduce_sum(x, some).shape.ndims is None
    assert gr.reduce_sum(x, some, keepdims=True).shape.as_list() == [None, None, None]
    assert gr.reduce_sum(x, gr.constant(1)).shape.as_list() == [2, 4]
    assert gr.reduce_sum(x, [0, gr.constant(-1)]).shape.as_list() == [3]


@pytest.mark.parametrize("reduce, expected", REDUCTIONS)
def test_unknown_shapes(reduce: Any, expected: Any, device: str) -> None:
    with gr.Graph().as_default(), gr.Session(device=device) as sess:
        x = gr.placeholder(gr.float32)
        ys = [reduce(x), reduce(x, -1), reduce(x, [0, -2], keepdims=True)]
        assert ys[0].shape.as_list() == []
        for value in (VALUE + 1, VALUE[:1] + 1):
            results = sess.run(ys, {x: value})
            wanted = [expected(value), expected(value, -1), expected(value, (0, -2), keepdims=True)]
            for r, w in zip(results, wanted, strict=True):
                np.testing.assert_allclose(r, w, rtol=2e-6)


def test_axes_that_are_wrong_are_named() -> None:
    with pytest.raises(gr.errors.ShapeError, match="axis 2 is out of range for rank 2") as info:
        gr.reduce_sum(gr.zeros([2, 3]), 2)
    assert "-2 <= axis < 2" in str(info.value)
    with pytest.raises(gr.errors.ShapeError, match="names an axis twice"):
        gr.reduce_sum(gr.zeros([2, 3]), [0, -2])
    with pytest.raises(gr.errors.DTypeError, match="expected a bool dtype"):
        gr.reduce_any(gr.zeros([2]))


def test_gradients_with_zeros_and_ties() -> None:
    x = gr.constant([[2.0, 2.0, 1.0]])
    np.testing.assert_array_equal(evaluate(gr.gradients(gr.reduce_max(x), x)[0]), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(evaluate(gr.gradients(gr.reduce_min(x), x)[0]), [[0.0, 0.0, 1.0]])
    z = gr.constant([0.0, 3.0, 4.0])
    np.testing.assert_array_equal(evaluate(gr.gradients(gr.reduce_prod(z), z)[0]), [12.0, 0.0, 0.0])


def test_mean_of_nothing_and_of_integers() -> None:
    assert np.isnan(evaluate(gr.reduce_mean(gr.zeros([0]))))
    assert int(evaluate(gr.reduce_mean(gr.constant([-1, -2])))) == -1
    assert int(evaluate(gr.reduce_mean(gr.constant([1, 0, 1, 0])))) == 0


def test_third_derivative_of_a_product() -> None:
    x = gr.constant([2.0, 3.0, 5.0])
    d = gr.reduce_prod(x)
    for i in range(3):
        (g,) = gr.gradients(d, x)
        d = g[i]
    assert float(evaluate(d)) == 1.0


# ---- logsumexp and its relatives ------------------------------------------------------------------


def test_logsumexp_is_stable(device: str) -> None:
    value = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 0.0], [np.inf, 0.0]], np.float32)
    with gr.Session(device=device) as sess:
        x = gr.constant(value)
        y = gr.reduce_logsumexp(x, 1)
        found = sess.run(y)
        np.testing.assert_allclose(found, [1000 + np.log(2), -np.inf, 0.0, np.inf], rtol=1e-6)
        g = sess.run(gr.gradients(y[0], x)[0])
        np.testing.assert_allclose(g[0], [0.5, 0.5])


@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, False), (1, True)])
def test_gradients_of_what_is_made_of_others(axis: Any, keepdims: bool) -> None:
    value = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    for function in (gr.reduce_logsumexp, gr.reduce_variance, gr.reduce_std, gr.reduce_euclidean_norm):
        check_gradients(lambda x, f=function: f(x, axis, keepdims), [value])


def test_values_of_what_is_made_of_others() -> None:
    x = gr.constant(VALUE)
    np.testing.assert_allclose(evaluate(gr.reduce_variance(x, 1)), VALUE.var(1), rtol=1e-6)
    np.testing.assert_allclose(evaluate(gr.reduce_std(x, [0, 1])), VALUE.std((0, 1)), rtol=1e-6)
    norm = evaluate(gr.reduce_euclidean_norm(x, -1))
    np.testing.assert_allclose(norm, np.linalg.norm(VALUE, axis=-1), rtol=1e-6)


def test_count_nonzero() -> None:
    x = gr.constant([[0.0, 1.0, np.nan], [0.0, 0.0, -2.0]])
    y = gr.count_nonzero(x, 1)
    assert y.dtype == gr.int64
    np.testing.assert_array_equal(evaluate(y), [2, 1])
    np.testing.assert_array_equal(evaluate(gr.count_nonzero(gr.constant([True, False]), dtype=gr.int32)), 1)
    np.testing.assert_array_equal(evaluate(gr.count_nonzero(input=x, keep_dims=True)), [[3]])


# ---- places of the extremes ---------------------------------------------------------------------------


def test_argmax_forms() -> None:
    x = gr.constant([[1.0, 5.0, 2.0], [7.0, 0.0, 7.0]])
    np.testing.assert_array_equal(evaluate(gr.argmax(x)), [1, 0, 1])  # the first axis by default
    np.testing.assert_array_equal(evaluate(gr.argmax(x, 1)), [1, 0])
    np.testing.assert_array_equal(evaluate(gr.argmax(x, dimension=-1)), [1, 0])
    np.testing.assert_array_equal(evaluate(gr.argmin(input=x, axis=gr.constant(1))), [0, 1])
    assert gr.argmax(x).dtype == gr.int64
    assert gr.argmax(x, 1, output_type=gr.int32).dtype == gr.int32
    assert gr.argmax(x, 1).op.name.startswith("ArgMax")


def test_argmax_faults() -> None:
    with pytest.raises(gr.errors.ShapeError, match="axis 0 has length 0"):
        gr.argmax(gr.zeros([0, 2]), 0)
    with pytest.raises(gr.errors.ShapeError, match="out of range for rank 0"):
        gr.argmax(gr.constant(1.0))
    with pytest.raises(gr.errors.DTypeError, match="int32 or int64"):
        gr.argmax([1.0], 0, output_type=gr.float32)


# ---- sum_to_shape ----------------------------------------------------------------------------------------


def test_sum_to_shape_of_the_same_shape_is_the_tensor() -> None:
    x = gr.zeros([2, 3])
    assert sum_to_shape(x, (2, 3)) is x


def test_sum_to_shape_faults() -> None:
    with pytest.raises(gr.errors.ShapeError, match=r"\(2, 3\) cannot be summed to shape \(2,\)"):
        sum_to_shape(gr.zeros([2, 3]), (2,))


@pytest.mark.parametrize("axis", [0.7, [1.9], "0", True, float("nan"), [[1], [1, 2]], {1}])
def test_axis_is_an_int(axis: Any) -> None:
    with pytest.raises(
        gr.errors.DTypeError, match=r"^sum: axis is (?s:.*)test_reduce\.py:\d+(?s:.*)expected an int"
    ):
        gr.reduce_sum(gr.ones([2, 2]), axis)


def test_gradient_of_a_product_does_not_overflow_on_the_way(device: str) -> None:
    x = gr.placeholder(gr.float32, (2,))
    (g,) = gr.gradients(gr.reduce_prod(x) * 1e20, x)
    with gr.Session(device=device) as session:
        np.testing.assert_allclose(session.run(g, {x: [1e10, 1e10]}), [1e30, 1e30], rtol=1e-5)
