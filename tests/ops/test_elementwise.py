"""Elementwise operations: what the operation table cannot say in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import check_gradients
from interpreter import evaluate

import graphrun as gr


def _grad(y: Any, x: Any) -> Any:
    return evaluate(gr.gradients(y, x)[0])


# ---- division -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, wide",
    [
        ("int8", "float32"),
        ("int16", "float32"),
        ("uint8", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
    ],
)
def test_true_division_of_integers(dtype: str, wide: str) -> None:
    x = gr.constant(np.array([7, 8], dtype))
    for y in (x / 2, gr.truediv(x, 2), gr.divide(x, 2)):
        assert y.dtype == wide
        np.testing.assert_array_equal(evaluate(y), [3.5, 4.0])


def test_div_is_that_of_python_2() -> None:
    np.testing.assert_array_equal(evaluate(gr.div([7, -7], 2)), [3, -4])
    np.testing.assert_array_equal(evaluate(gr.div([7.0, -7.0], 2)), [3.5, -3.5])


def test_div_no_nan() -> None:
    x, y = gr.constant([1.0, 0.0, 3.0]), gr.constant([0.0, 0.0, 2.0])
    z = gr.div_no_nan(x, y)
    np.testing.assert_array_equal(evaluate(z), [0.0, 0.0, 1.5])
    np.testing.assert_array_equal(_grad(z, x), [0.0, 0.0, 0.5])
    np.testing.assert_array_equal(_grad(z, y), [0.0, 0.0, -0.75])


# ---- shape arithmetic while the graph is built --------------------------------------------------


def test_arithmetic_on_shapes_is_known() -> None:
    x = gr.placeholder(gr.float32, (None, 12))
    n = gr.shape(x)[1]
    y = gr.reshape(
        x, [gr.shape(x)[0], n // 4, n % 5 + 2, gr.maximum(n - 12, 1), gr.cast(n, gr.int64) * 0 + 1]
    )
    assert y.shape.as_list() == [None, 3, 4, 1, 1]


# ---- powers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 0.5, -1.0])
def test_derivatives_of_a_power_of_a_constant_exponent(exponent: float) -> None:
    check_gradients(lambda x: x**exponent, [np.array([0.5, 1.7])])


def test_powers_at_zero_have_derivatives() -> None:
    x = gr.constant([0.0, 0.0])
    for n, first, second in ((0, 0.0, 0.0), (1, 1.0, 0.0), (2, 0.0, 2.0), (3, 0.0, 0.0)):
        (d,) = gr.gradients(x**n, x)
        np.testing.assert_array_equal(evaluate(d), [first] * 2)
        (dd,) = gr.gradients(d, x, unconnected_gradients="zero")
        np.testing.assert_array_equal(evaluate(dd), [second] * 2)


def test_gradient_to_the_exponent_of_zero_is_zero() -> None:
    x, y = gr.constant([0.0, 2.0, -3.0]), gr.constant([2.0, 3.0, 2.0])
    np.testing.assert_allclose(_grad(x**y, y), [0.0, 8 * np.log(2.0), 0.0], rtol=1e-6)


# ---- ties, limits and what is not selected --------------------------------------------------------


def test_ties_of_maximum_and_minimum_go_to_the_first() -> None:
    for function in (gr.maximum, gr.minimum):
        a, b = gr.constant([1.0, 2.0]), gr.constant([1.0, 2.0])
        y = function(a, b)
        np.testing.assert_array_equal(_grad(y, a), [1.0, 1.0])
        np.testing.assert_array_equal(_grad(y, b), [0.0, 0.0])


def test_clip_passes_the_gradient_inside_and_at_its_limits() -> None:
    t = gr.constant([-2.0, -1.0, 0.0, 1.0, 2.0])
    y = gr.clip_by_value(t, -1.0, 1.0)
    np.testing.assert_array_equal(_grad(y, t), [0.0, 1.0, 1.0, 1.0, 0.0])
    low = gr.constant(-1.0)
    np.testing.assert_array_equal(_grad(gr.clip_by_value(t, low, 1.0), low), 1.0)


def test_clip_limits_must_not_widen() -> None:
    with pytest.raises(gr.errors.ShapeError, match=r"shapes that broadcast to that of t, \(3,\)"):
        gr.clip_by_value(gr.zeros([3]), gr.zeros([2, 3]), 1.0)


def test_nan_in_what_is_not_selected_does_no_harm() -> None:
    x = gr.constant([-1.0, 4.0])
    y = gr.where(x > 0, gr.sqrt(gr.where(x > 0, x, [1.0, 1.0])), gr.zeros([2]))
    np.testing.assert_array_equal(_grad(y, x), [0.0, 0.25])


# ---- where -------------------------------------------------------------------------------------------


def test_where_with_a_vector_picks_rows(device: str) -> None:
    for shape in ((2, 3), (2, None), None):
        with gr.Graph().as_default(), gr.Session(device=device) as sess:
            x = gr.placeholder(gr.float32, shape)
            c = gr.constant([True, False])
            y = gr.where(c, x, gr.zeros_like(x))
            value = np.arange(6.0).reshape(2, 3)
            np.testing.assert_array_equal(sess.run(y, {x: value}), [[0, 1, 2], [0, 0, 0]])


@pytest.mark.parametrize("known", ["condition", "x", "both", "none"])
def test_where_of_square_matrices_is_by_row(known: str, device: str) -> None:
    """A vector that could be a row or a column picks rows, as in TensorFlow 1."""
    c = gr.placeholder(gr.bool, (2,) if known in ("condition", "both") else None)
    x = gr.placeholder(gr.float32, (2, 2) if known in ("x", "both") else None)
    y = gr.where(c, x, gr.zeros_like(x))
    g = gr.gradients(y, x)[0]
    with gr.Session(device=device) as sess:
        found, gradient = sess.run([y, g], {c: [True, False], x: [[1.0, 2.0], [3.0, 4.0]]})
    np.testing.assert_array_equal(found, [[1, 2], [0, 0]])
    np.testing.assert_array_equal(gradient, [[1, 1], [0, 0]])


def test_where_with_scalars() -> None:
    np.testing.assert_array_equal(evaluate(gr.where(True, [1, 2], [3, 4])), [1, 2])
    np.testing.assert_array_equal(evaluate(gr.where([True, False], 1.0, 0.0)), [1.0, 0.0])


def test_where_of_a_condition_alone() -> None:
    y = gr.where([[True, False], [True, True]])
    assert y.shape.as_list() == [None, 2]
    np.testing.assert_array_equal(evaluate(y), [[0, 0], [1, 0], [1, 1]])


def test_where_needs_both_or_none() -> None:
    with pytest.raises(ValueError, match="both x and y, or neither"):
        gr.where([True], [1.0])


def test_where_refuses_numbers_as_a_condition() -> None:
    with pytest.raises(gr.errors.DTypeError, match="bool"):
        gr.where(gr.constant([1, 0]), [1.0, 2.0], [3.0, 4.0])


# ---- conversion ----------------------------------------------------------------------------------------


def test_cast_of_the_same_dtype_is_the_tensor() -> None:
    x = gr.constant(1.0)
    assert gr.cast(x, "float32") is x


def test_gradient_of_cast_stops_at_integers() -> None:
    x = gr.constant([1.5, 2.5])
    y = gr.cast(gr.cast(x, gr.float64) * 2.0, gr.float32)
    np.testing.assert_array_equal(_grad(y, x), [2.0, 2.0])
    assert gr.gradients(gr.cast(gr.cast(x, gr.int32), gr.float32), x) == [None]


def test_saturate_cast() -> None:
    x = gr.constant([-300, -1, 100, 300])
    np.testing.assert_array_equal(evaluate(gr.saturate_cast(x, gr.uint8)), [0, 0, 100, 255])
    np.testing.assert_array_equal(evaluate(gr.saturate_cast(x, gr.int8)), [-128, -1, 100, 127])
    np.testing.assert_array_equal(evaluate(gr.saturate_cast([1e30, -7.5], gr.int32)), [2**31 - 1, -7])
    np.testing.assert_array_equal(evaluate(gr.saturate_cast([1e30, 1.0], gr.float16)), [65504, 1])


def test_old_names_of_casts() -> None:
    dtypes = [f(gr.constant([1])).dtype for f in (gr.to_float, gr.to_double, gr.to_int32, gr.to_int64)]
    assert dtypes == [gr.float32, gr.float64, gr.int32, gr.int64]


# ---- add_n --------------------------------------------------------------------------------------------


def test_add_n_of_one_is_the_tensor() -> None:
    x = gr.constant([1.0])
    assert gr.add_n([x]) is x
    assert gr.add_n([x], name="copy").op.name == "copy"


def test_add_n_refuses_nothing_and_other_shapes() -> None:
    with pytest.raises(gr.errors.ShapeError, match="expected a list of one tensor or more"):
        gr.add_n([])
    with pytest.raises(gr.errors.ShapeError, match="gr.add broadcasts"):
        gr.add_n([gr.zeros([2]), gr.zeros([3])])


def test_add_n_knows_what_any_input_knows() -> None:
    a, b = gr.placeholder(gr.float32, (None, 3)), gr.placeholder(gr.float32, (2, None))
    assert gr.add_n([a, b]).shape.as_list() == [2, 3]


# ---- names and keywords ---------------------------------------------------------------------------------


def test_default_names_are_tensorflows() -> None:
    x = gr.constant([1.0], name="x")
    names = {
        "Add": gr.add(x, x), "Mul": gr.multiply(x, x), "Sub": gr.subtract(x, x), "truediv": gr.divide(x, x),
        "Exp": gr.exp(x), "Log": gr.log(x), "Pow": gr.pow(x, 2), "Maximum": gr.maximum(x, 1.0),
        "Select": gr.where([True], x, x), "Cast": gr.cast(x, gr.int32), "Equal": gr.equal(x, x),
        "clip_by_value": gr.clip_by_value(x, 0.0, 1.0), "AddN": gr.add_n([x, x]),
    }  # fmt: skip
    assert [t.op.name for t in names.values()] == list(names)
    assert gr.exp(x, name="mine").op.name == "mine"


def test_arguments_by_tensorflows_keywords() -> None:
    assert float(evaluate(gr.add(x=1.0, y=2.0))) == 3.0
    assert float(evaluate(gr.log(x=1.0))) == 0.0
    assert float(evaluate(gr.atan2(y=0.0, x=1.0))) == 0.0
    assert float(evaluate(gr.nn.softplus(features=0.0))) == pytest.approx(np.log(2.0))
    assert float(evaluate(gr.clip_by_value(t=3.0, clip_value_min=0.0, clip_value_max=1.0))) == 1.0


def test_floating_functions_refuse_integers_with_a_remedy() -> None:
    with pytest.raises(gr.errors.DTypeError) as info:
        gr.exp(gr.constant([1, 2]))
    assert "expected a floating dtype; convert it with gr.cast(x, gr.float32)" in str(info.value)


def test_lgamma_beyond_the_largest_double_is_infinite() -> None:
    with gr.Session() as sess:
        assert sess.run(gr.lgamma(gr.constant([1e306, 1e307], gr.float64)))[1] == np.inf
