"""Operations that users add: expressions, kernels, and what is told of wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphrun as gr
from graphrun.errors import DTypeError, ExecutionError, GradientError, GraphError, ShapeError
from graphrun.ops.custom import CustomOp
from graphrun.ops.kernel_text import parse_kernel
from graphrun.testing import check_op

F32 = np.float32


@pytest.fixture
def sess(device: str) -> Iterator[gr.Session]:
    with gr.Session(device=device, verify=True) as session:
        yield session


def softsign(name: str = "test_softsign", **changes: Any) -> CustomOp:
    options: dict[str, Any] = {
        "opencl": "a / (({T})1 + {alpha} * gr_abs(a))",
        "numpy": lambda x, alpha: x / (1 + np.asarray(alpha, x.dtype) * np.abs(x)),
        "gradient": lambda op, dy: dy / (1.0 + op.attrs["alpha"] * gr.abs(op.inputs[0])) ** 2,
        "attrs": {"alpha": 1.0},
    }
    return gr.custom_op(name, **{**options, **changes})


def spread(**changes: Any) -> CustomOp:
    source = """
    // __kernel in a comment is none
    __kernel void spread(__global const T * restrict x, global O* y,
                         const unsigned int rows, const size_t columns /* of x */) {
        const size_t row = get_global_id(0);
        if (row >= rows) return;
        T low = x[row * columns], high = low;
        for (size_t j = 1; j < columns; ++j) {
            low = min(low, x[row * columns + j]);
            high = max(high, x[row * columns + j]);
        }
        y[row] = high - low;
    }"""
    kernel = gr.OpenCLKernel(source, global_size=lambda x: (x[0],), scalars=lambda x: x)
    options: dict[str, Any] = {"opencl": kernel, "numpy": lambda x: x.max(1) - x.min(1),
                               "shape": lambda x: (x[0],)}  # fmt: skip
    return gr.custom_op("test_spread", **{**options, **changes})


# -- expressions --------------------------------------------------------------------------------------


def test_an_expression_is_fused_with_its_neighbours(device: str) -> None:
    op = softsign()
    x = gr.placeholder(gr.float32, (4, 6))
    y = gr.exp(op(x * 2.0, alpha=0.5)) + 1.0
    assert y.shape.as_list() == [4, 6]
    a = np.linspace(-3, 3, 24, dtype=F32).reshape(4, 6)
    with gr.Session(device=device, strict=device != "cpu:0", verify=True) as session:
        expected = np.exp(2 * a / (1 + np.abs(a))) + 1
        np.testing.assert_allclose(session.run(y, {x: a}), expected, rtol=1e-6)
        if device != "cpu:0":
            assert len(session.plan(y, {x: a}).launches) == 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_checks_of_built_in_operations(dtype: str) -> None:
    x = np.array([-2.5, -1, 0.3, 7], dtype)
    second = {"second_order": False} if dtype == "float16" else {}
    assert "cpu:0" in check_op(softsign(), [x], {"alpha": 0.25}, **second)


def test_inputs_broadcast_and_gradients_are_summed(sess: gr.Session) -> None:
    op = gr.custom_op(
        "test_hypot", opencl="gr_sqrt(a * a + b * b)", numpy=lambda a, b: np.sqrt(a * a + b * b),
        gradient=lambda op, dy: [dy * x / op.outputs[0] for x in op.inputs],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 4)).astype(F32), rng.normal(size=(4,)).astype(F32)
    check_op(op, [a, b])
    x, y = gr.constant(a), gr.constant(b)
    assert sess.run(gr.gradients(op(x, y), y)[0]).shape == (4,)
    assert sess.run(op(3.0, 4)) == 5.0


def test_a_dtype_of_its_own(sess: gr.Session) -> None:
    op = gr.custom_op("test_near", opencl="gr_abs(a - b) < ({T})0.5", numpy=lambda a, b: np.abs(a - b) < 0.5,
                      dtype=gr.bool)  # fmt: skip
    check_op(op, [F32([1, 2, 3]), F32([1.2, 9, 3])])
    assert sess.run(op([1.0, 2.0], [1.0, 9.0])).tolist() == [True, False]


def test_one_name_twice_is_two_operations(sess: gr.Session) -> None:
    """As in a notebook whose cells are run again."""
    first, second = (
        gr.custom_op("test_again", opencl=f"a * ({{T}}){k}", numpy=lambda x, k=k: x * F32(k)) for k in (2, 3)
    )
    x = gr.placeholder(gr.float32, (2,))
    ys = first(x), second(x)
    assert [t.name for t in ys] == ["test_again:0", "test_again_1:0"]
    assert [v.tolist() for v in sess.run(list(ys), {x: [1, 2]})] == [[2, 4], [3, 6]]


# -- kernels ------------------------------------------------------------------------------------------


def test_a_kernel(device: str) -> None:
    op = spread()
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64", "int32", "uint8"):
        check_op(op, [rng.integers(0, 99, (5, 7)).astype(dtype)])
    check_op(op, [np.zeros((0, 3), F32)])
    x = gr.placeholder(gr.float32, (None, 7))
    y = op(x[1:] + 0.0)  # its memory begins in the middle of another's
    assert y.shape.as_list() == [None]
    a = rng.normal(size=(6, 7)).astype(F32)
    with gr.Session(device=device, strict=device != "cpu:0", verify=True) as session:
        np.testing.assert_array_equal(session.run(y, {x: a}), a[1:].max(1) - a[1:].min(1))


def test_a_kernel_for_float_alone(device: str) -> None:
    source = "__kernel void twice(__global const float *x, __global float *y) {" \
             " const size_t i = get_global_id(0); y[i] = 2 * x[i]; }"  # fmt: skip
    kernel = gr.OpenCLKernel(source, global_size=lambda x: x, local_size=(1,))
    op = gr.custom_op("test_twice", opencl=kernel, numpy=lambda x: x + x, shape=lambda x: x)
    check_op(op, [F32([1, 2, 3])])
    check_op(op, [np.float64([1, 2, 3])], strict=False)
    with gr.Session(device=device) as session:
        x = gr.placeholder(gr.float64, (3,))
        plan = session.plan(op(x), {x: [1, 2, 3]})
        if device != "cpu:0":
            assert [why for _, why in plan.host_fallbacks()] == [
                "its OpenCL kernel does not take float64 of these shapes"
            ]


def test_several_results_and_attributes(sess: gr.Session) -> None:
    source = """__kernel void parts(__global const T *x, __global O *whole, __global T *rest, const T step) {
        const size_t i = get_global_id(0);
        const T n = floor(x[i] / step);
        whole[i] = n; rest[i] = x[i] - n * step; }"""
    op = gr.custom_op(
        "test_parts", opencl=gr.OpenCLKernel(source, lambda x, step: x, lambda x, step: step),
        numpy=lambda x, step: (np.floor(x / F32(step)), x - np.floor(x / F32(step)) * F32(step)),
        shape=lambda x, step: [x, x], dtype=lambda x: [x, x], attrs={"step": 1.0},
        gradient=lambda op, whole, rest: rest,
    )  # fmt: skip
    check_op(op, [F32([0.5, 1.25, -0.75])], {"step": 0.5}, gradient=False)
    whole, rest = op([1.5, 2.25])
    assert [v.tolist() for v in sess.run([whole, rest])] == [[1, 2], [0.5, 0.25]]


def test_without_opencl_it_runs_on_the_host(sess: gr.Session) -> None:
    op = gr.custom_op("test_sorted", numpy=lambda x: np.sort(x, 0), shape=lambda x: x)
    check_op(op, [F32([3, 1, 2])])
    assert sess.run(op(gr.constant([2.0, 1.0]) * 2.0)).tolist() == [2, 4]


# -- shapes -----------------------------------------------------------------------------------------


def test_shapes_that_are_not_known_yet(sess: gr.Session) -> None:
    op = gr.custom_op("test_double", numpy=lambda x: np.repeat(x, 2, 0), shape=lambda x: (2 * x[0], *x[1:]))
    x, y = gr.placeholder(gr.float32, (None, 3)), gr.placeholder(gr.float32)
    assert op(x).shape.ndims is None and op(y).shape.ndims is None
    assert op(gr.zeros([2, 3])).shape.as_list() == [4, 3]
    assert sess.run(op(x) * 2.0, {x: [[1, 2, 3]]}).tolist() == [[2, 4, 6], [2, 4, 6]]
    check_op(op, [np.ones((2, 3), F32)])


def test_a_shape_function_refuses() -> None:
    def shape(x: Any) -> Any:
        if x is not None and len(x) != 2:
            raise ValueError("x is no matrix")
        return x

    op = gr.custom_op("test_matrix", numpy=lambda x: x + 0, shape=shape)
    with pytest.raises(ShapeError, match=r"test_matrix 'test_matrix': x is no matrix\n.*a: \(3,\) float32"):
        op(gr.zeros([3]))


# -- mistakes -----------------------------------------------------------------------------------------


def test_wrong_definitions() -> None:
    def f(x: Any) -> Any:
        return x

    for options, text in (
        ({"name": "exp", "numpy": f}, "it is an operation of graphrun's"),
        ({"name": "a b", "numpy": f}, "it is no name"),
        ({"name": "x"}, r"it has no NumPy function\n.*test_custom.py"),
        ({"name": "x", "numpy": f, "opencl": 3}, "opencl is of type int"),
        ({"name": "x", "numpy": f, "opencl": "__kernel void f()"}, r"(.|\n)*gr.OpenCLKernel"),
        ({"name": "x", "numpy": f, "opencl": "a", "shape": f}, "an expression for each element, and a shape"),
    ):
        with pytest.raises(GraphError, match=text):
            gr.custom_op(**options)  # type: ignore[arg-type]


def test_wrong_uses(sess: gr.Session) -> None:
    op = softsign(gradient=None)
    x = gr.constant([1.0])
    with pytest.raises(GraphError, match=r"no attribute 'beta'\n(.|\n)*expected one of alpha"):
        op(x, beta=2.0)
    with pytest.raises(GradientError, match="this operation has no gradient"):
        gr.gradients(op(x), x)
    with pytest.raises(GraphError, match=r"1 inputs\n(.|\n)*expected 2"):
        gr.custom_op("test_two", opencl="a + b", numpy=np.add)(x)
    with pytest.raises(DTypeError, match="dtypes differ"):
        gr.custom_op("test_two", opencl="a + b", numpy=np.add)(x, gr.constant([1]))


def test_wrong_numpy_functions() -> None:
    for function, text in (
        (
            lambda x: x.astype(np.float64),
            r"returned \(2,\) float64\n(.|\n)*expected \(2,\) float32",
        ),
        (lambda x: x[:1], r"returned \(1,\) float32"),
        (lambda x: (x, x), r"returned 2 results\n(.|\n)*expected 1"),
        (lambda x: x[5], "its NumPy function raised IndexError"),
    ):
        op = gr.custom_op("test_wrong", numpy=function)
        with gr.Session() as session, pytest.raises(ExecutionError, match=text):
            session.run(op(gr.constant([1.0, 2.0]) * 2.0))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("float f(float x) { return x; }", "the source has 0 kernels"),
        ("__kernel void f() {} __kernel void g() {}", "the source has 2 kernels"),
        ("__kernel float f(__global float *x) {}", "the kernel returns something"),
        ("__kernel void f(__global float *x", "not closed"),
        ("__kernel void f(__local float *x) {}", r"argument '__local float \*x' of kernel f"),
        ("__kernel void f(int n, __global float *x) {}", r"numbers behind them"),
    ],
)
def test_kernels_that_cannot_be_read(source: str, text: str) -> None:
    with pytest.raises(GraphError, match=text):
        gr.OpenCLKernel(source, (1,))


def test_reading_a_kernel() -> None:
    found = parse_kernel(
        "kernel void f(global const uchar *restrict x, __global T*y, unsigned n) { y[0] = n; }"
    )
    assert (found.entry, found.pointers, found.numbers) == ("f", ("uchar", "T"), ("uint",))
    assert "global const uchar * restrict x = gr_x + gr_x_offset;" in found.text
    assert "void GR_NAME(" in found.text and "y[0] = n;" in found.text


@pytest.mark.opencl
def test_kernels_that_do_not_fit() -> None:
    source = "__kernel void f(__global const T *x, __global T *y, const int n) { y[0] = x[0] * n; }"
    for kernel, text in (
        (gr.OpenCLKernel(source, (1,)), r"'test_fit': its kernel f takes 1 number\n(.|\n)*0 scalars"),
        (gr.OpenCLKernel(source, (0,), lambda x: 1), r"its global_size is \(0,\)"),
        (gr.OpenCLKernel("__kernel void f(__global T *y) {}", (1,)), "its kernel f has 1 pointer"),
    ):
        op = gr.custom_op("test_fit", opencl=kernel, numpy=lambda x: x, shape=lambda x: x)
        with gr.Session(device="opencl:0") as session, pytest.raises(GraphError, match=text):
            x = gr.placeholder(gr.float32, (2,))
            session.run(op(x), {x: [1.0, 2.0]})


# -- check_op finds faults ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gradient": lambda op, dy: dy}, "test_fault.*: gradient: .*, finite difference"),
        ({"gradient": lambda op, dy: gr.stop_gradient(dy / (1.0 + gr.abs(op.inputs[0])) ** 2)},
         "second derivative: 0.0, finite difference"),
        ({"numpy": lambda x, alpha: x.__itruediv__(1 + np.abs(x))}, "changes its inputs"),
    ],
)  # fmt: skip
def test_check_op_finds_faults(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(AssertionError, match=text):
        check_op(softsign("test_fault", **changes), [F32([0.5, -1.5])], devices=["cpu:0"])


def test_check_op_finds_wrong_rules() -> None:
    op = gr.custom_op("test_rule", numpy=lambda x: x[:1].copy(), shape=lambda x: (3,))
    with pytest.raises(AssertionError, match=r"its NumPy function returned \(1,\) float32"):
        check_op(op, [F32([1, 2])], devices=["cpu:0"])
    claims = gr.custom_op(
        "test_rule", numpy=lambda x: x + 0, shape=lambda x: (3,) if not x or None in x else x
    )
    with pytest.raises(AssertionError, match=r"its shape rule says \(3,\), the result is \(2,\)"):
        check_op(claims, [F32([1, 2])], devices=["cpu:0"])


def test_check_op_finds_wrong_opencl(device: str) -> None:
    if device == "cpu:0":
        pytest.skip("NumPy is what others are held against")
    op = softsign("test_other", opencl="a / (({T})2 + {alpha} * gr_abs(a))")
    with pytest.raises(AssertionError, match=f"test_other.*: value on {device}"):
        check_op(op, [F32([0.5, -1.5])], devices=[device])


def test_check_op_says_where_a_rule_gives_none() -> None:
    op = gr.custom_op(
        "test_none", numpy=lambda x, d: x * d, gradient=lambda op, dy: (dy * op.inputs[1], None)
    )
    with pytest.raises(AssertionError, match="for input 1 its gradient rule gives None, a 0 here"):
        check_op(op, [F32([0.5, -1.5]), F32(3.0)], devices=["cpu:0"])


def test_a_rule_with_too_few_gradients() -> None:
    op = gr.custom_op("test_few", numpy=lambda x, d: x * d, gradient=lambda op, dy: dy)
    x = gr.placeholder(gr.float32, (2,))
    with pytest.raises(gr.errors.GradientError) as caught:
        gr.gradients(op(x, x), x)
    assert "its gradient rule returned 1 gradient\n" in str(caught.value)
    assert "expected 2, one for each input; None for one" in str(caught.value)
    assert "created at " in str(caught.value) and "test_custom.py:" in str(caught.value)


def test_faults_of_kernels_name_the_line_in_them_and_the_operation(device: str) -> None:
    if device == "cpu:0":
        pytest.skip("there is nothing to compile on the host")
    source = """
        __kernel void f(__global const float *x,
                        __global float *y) {
            const size_t i = get_global_id(0);
            y[i] = x[i] * nowhere;
        }
    """
    wrong = gr.OpenCLKernel(source, lambda s: (s[0],))
    good = gr.OpenCLKernel(source.replace("nowhere", "2"), lambda s: (s[0],), local_size=(3,))
    x = gr.placeholder(gr.float32, (4,))
    for name, opencl, told in (
        ("test_text", wrong, "custom_op test_text:5:"),
        ("test_size", good, "local size (3,)"),
        ("test_expression", "a * q", "kernel test_expression+multiply of multiply 'mul"),
    ):
        op = gr.custom_op(name, numpy=lambda x: x * 2, opencl=opencl)
        with gr.Session(device=device) as session, pytest.raises(gr.errors.DeviceError) as caught:
            session.run([op(x) * 3.0, gr.exp(x)], {x: np.ones(4)})
        assert told in str(caught.value) and name in str(caught.value), str(caught.value)
        assert f"created at {__file__}:" in str(caught.value)


def test_check_op_of_built_in_operations() -> None:
    check_op("tanh", [F32([0.5, -1.5])])
    check_op("matmul", [np.ones((2, 3), F32), np.ones((3, 4), F32)],
             {"transpose_a": False, "transpose_b": False})  # fmt: skip
