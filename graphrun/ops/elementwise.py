"""Elementwise functions of one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Expr
from graphrun.graph.node import Operation, Tensor
from graphrun.ops.families import binary, unary
from graphrun.ops.fill import zeros_like
from graphrun.ops.host import special

# -- signs and powers ---------------------------------------------------------------------------


def conj_of(x: Tensor) -> Tensor:
    """The conjugate, for gradients; a real tensor itself."""
    return apply("conj", (x,)) if x.dtype.is_complex else x


negative = unary(
    "negative", numpy=np.negative, opencl=Expr("gr_neg(a)"), gradient=lambda op, dy: -dy, kind="number",
    onnx="Neg", node_name="Neg", doc="``-x``, elementwise.",
)  # fmt: skip
sign = unary(
    "sign", numpy=np.sign, opencl=Expr("gr_sign(a)"), gradient=lambda op, dy: zeros_like(op.inputs[0]),
    kind="numeric", onnx="Sign", node_name="Sign", doc="-1, 0 or 1, elementwise; NaN stays NaN.",
)  # fmt: skip
_abs_real = unary(
    "abs", numpy=np.abs, opencl=Expr("gr_abs(a)"), gradient=lambda op, dy: dy * sign(op.inputs[0]),
    kind="numeric", onnx="Abs", node_name="Abs",
    doc="The absolute value, elementwise; its gradient at 0 is 0.",
)  # fmt: skip


def abs(x: Any, name: str | None = None) -> Tensor:  # noqa: A001 - TensorFlow's name
    """The absolute value of each element of `x`; of a complex one the length, which is real."""
    t = convert_to_tensor(x)
    return apply("complex_abs", (t,), None, name or "Abs") if t.dtype.is_complex else _abs_real(t, name)


square = unary(
    "square", numpy=np.square, opencl=Expr("gr_square(a)"),
    gradient=lambda op, dy: dy * (2 * conj_of(op.inputs[0])), kind="number", node_name="Square",
    doc="``x * x``, elementwise.",
)  # fmt: skip
sqrt = unary(
    "sqrt", numpy=np.sqrt, opencl=Expr("gr_sqrt(a)", flops=4),
    gradient=lambda op, dy: dy * 0.5 / conj_of(op.outputs[0]), kind="field", onnx="Sqrt", node_name="Sqrt",
    doc="The square root, elementwise; NaN for negative numbers.",
)  # fmt: skip
rsqrt = unary(
    "rsqrt", numpy=lambda x: np.reciprocal(np.sqrt(x)), opencl=Expr("gr_rsqrt(a)", flops=5),
    gradient=lambda op, dy: dy * (-0.5 * op.outputs[0] * square(op.outputs[0])), node_name="Rsqrt",
    doc="``1 / sqrt(x)``, elementwise.",
)  # fmt: skip
reciprocal = unary(
    "reciprocal", numpy=np.reciprocal, opencl=Expr("gr_reciprocal(a)"),
    gradient=lambda op, dy: -dy * square(conj_of(op.outputs[0])), kind="field", onnx="Reciprocal",
    node_name="Reciprocal",
    doc="``1 / x``, elementwise.",
)  # fmt: skip
inv = reciprocal

# -- exponentials and logarithms ------------------------------------------------------------------

exp = unary(
    "exp", numpy=np.exp, opencl=Expr("gr_exp(a)", flops=15),
    gradient=lambda op, dy: dy * conj_of(op.outputs[0]), kind="field", onnx="Exp", node_name="Exp",
    doc="e to the power `x`, elementwise.",
)  # fmt: skip
expm1 = unary(
    "expm1", numpy=np.expm1, opencl=Expr("gr_expm1(a)", flops=20),
    gradient=lambda op, dy: dy * exp(op.inputs[0]), node_name="Expm1",
    doc="``exp(x) - 1``, elementwise, exact for small `x`.",
)  # fmt: skip
log = unary(
    "log", numpy=np.log, opencl=Expr("gr_log(a)", flops=20),
    gradient=lambda op, dy: dy / conj_of(op.inputs[0]), kind="field", onnx="Log", node_name="Log",
    doc="The natural logarithm, elementwise: -inf at 0, NaN below.",
)  # fmt: skip
log1p = unary(
    "log1p", numpy=np.log1p, opencl=Expr("gr_log1p(a)", flops=20),
    gradient=lambda op, dy: dy / (op.inputs[0] + 1), node_name="Log1p",
    doc="``log(1 + x)``, elementwise, exact for small `x`.",
)  # fmt: skip


def _wide(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Let a formula of several steps compute float16 in float32 and round once, as devices do."""

    def wrapped(x: Any) -> Any:
        x = np.asarray(x)
        return function(x.astype(np.float32)).astype(np.float16) if x.dtype == np.float16 else function(x)

    return wrapped


@_wide
def _sigmoid_numpy(x: Any) -> Any:
    # exp of a negative number only: no overflow, and denormal results stay accurate.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, x.dtype.type(1), e) / (1 + e)


@_wide
def _softplus_numpy(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid_gradient(op: Operation, dy: Tensor) -> Tensor:
    y = op.outputs[0]
    return dy * (y * (1 - y))


sigmoid = unary(
    "sigmoid", numpy=_sigmoid_numpy, opencl=Expr("gr_sigmoid(a)", flops=20), gradient=_sigmoid_gradient,
    onnx="Sigmoid", node_name="Sigmoid", doc="``1 / (1 + exp(-x))``, elementwise.",
)  # fmt: skip


def softplus(features: Any, name: str | None = None) -> Tensor:
    """``log(1 + exp(x))``, elementwise."""
    return _softplus(features, name)


_softplus = unary(
    "softplus", numpy=_softplus_numpy, opencl=Expr("gr_softplus(a)", flops=35),
    gradient=lambda op, dy: dy * sigmoid(op.inputs[0]), onnx="Softplus", node_name="Softplus",
)  # fmt: skip


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """``log(sigmoid(x))``, elementwise, without overflow."""
    return negative(_softplus(negative(x)), name or "LogSigmoid")


# -- trigonometric and hyperbolic -------------------------------------------------------------------


def _cos(op: Operation) -> Tensor:
    return cos(op.inputs[0])


def _cosh(op: Operation) -> Tensor:
    return cosh(op.inputs[0])


sin = unary(
    "sin", numpy=np.sin, opencl=Expr("gr_sin(a)", flops=20), gradient=lambda op, dy: dy * _cos(op),
    onnx="Sin", node_name="Sin", doc="The sine of an angle in radians, elementwise.",
)  # fmt: skip
cos = unary(
    "cos", numpy=np.cos, opencl=Expr("gr_cos(a)", flops=20), gradient=lambda op, dy: -dy * sin(op.inputs[0]),
    onnx="Cos", node_name="Cos", doc="The cosine of an angle in radians, elementwise.",
)  # fmt: skip
tan = unary(
    "tan", numpy=np.tan, opencl=Expr("gr_tan(a)", flops=30),
    gradient=lambda op, dy: dy * (1 + square(op.outputs[0])), onnx="Tan", node_name="Tan",
    doc="The tangent of an angle in radians, elementwise.",
)  # fmt: skip
asin = unary(
    "asin", numpy=np.arcsin, opencl=Expr("gr_asin(a)", flops=25),
    gradient=lambda op, dy: dy * rsqrt(1 - square(op.inputs[0])), onnx="Asin", node_name="Asin",
    doc="The angle whose sine is `x`, elementwise; NaN outside of -1 to 1.",
)  # fmt: skip
acos = unary(
    "acos", numpy=np.arccos, opencl=Expr("gr_acos(a)", flops=25),
    gradient=lambda op, dy: -dy * rsqrt(1 - square(op.inputs[0])), onnx="Acos", node_name="Acos",
    doc="The angle whose cosine is `x`, elementwise; NaN outside of -1 to 1.",
)  # fmt: skip
atan = unary(
    "atan", numpy=np.arctan, opencl=Expr("gr_atan(a)", flops=25),
    gradient=lambda op, dy: dy / (1 + square(op.inputs[0])), onnx="Atan", node_name="Atan",
    doc="The angle between -pi/2 and pi/2 whose tangent is `x`, elementwise.",
)  # fmt: skip
sinh = unary(
    "sinh", numpy=np.sinh, opencl=Expr("gr_sinh(a)", flops=25), gradient=lambda op, dy: dy * _cosh(op),
    onnx="Sinh", node_name="Sinh", doc="The hyperbolic sine, elementwise.",
)  # fmt: skip
cosh = unary(
    "cosh", numpy=np.cosh, opencl=Expr("gr_cosh(a)", flops=25),
    gradient=lambda op, dy: dy * sinh(op.inputs[0]), onnx="Cosh", node_name="Cosh",
    doc="The hyperbolic cosine, elementwise.",
)  # fmt: skip
tanh = unary(
    "tanh", numpy=np.tanh, opencl=Expr("gr_tanh(a)", flops=25),
    gradient=lambda op, dy: dy * (1 - square(op.outputs[0])), onnx="Tanh", node_name="Tanh",
    doc="The hyperbolic tangent, elementwise.",
)  # fmt: skip
asinh = unary(
    "asinh", numpy=np.arcsinh, opencl=Expr("gr_asinh(a)", flops=30),
    gradient=lambda op, dy: dy * rsqrt(square(op.inputs[0]) + 1), onnx="Asinh", node_name="Asinh",
    doc="The inverse of `sinh`, elementwise.",
)  # fmt: skip
acosh = unary(
    "acosh", numpy=np.arccosh, opencl=Expr("gr_acosh(a)", flops=30),
    gradient=lambda op, dy: dy * rsqrt(square(op.inputs[0]) - 1), onnx="Acosh", node_name="Acosh",
    doc="The inverse of `cosh`, elementwise; NaN below 1.",
)  # fmt: skip
atanh = unary(
    "atanh", numpy=np.arctanh, opencl=Expr("gr_atanh(a)", flops=30),
    gradient=lambda op, dy: dy / (1 - square(op.inputs[0])), onnx="Atanh", node_name="Atanh",
    doc="The inverse of `tanh`, elementwise; NaN outside of -1 to 1.",
)  # fmt: skip


def _atan2_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    y, x = op.inputs
    scaled = dy / (square(x) + square(y))
    return scaled * x, -scaled * y


_atan2 = binary(
    "atan2", numpy=np.arctan2, opencl=Expr("gr_atan2(a, b)", flops=35), gradient=_atan2_gradient,
    kind="floating", node_name="Atan2",
)  # fmt: skip


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), between -pi and pi, elementwise; both broadcast."""
    return _atan2(y, x, name)


# -- error and gamma functions -----------------------------------------------------------------------

_TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)


def _gauss(op: Operation) -> Tensor:
    return _TWO_OVER_ROOT_PI * exp(-square(op.inputs[0]))


erf = unary(
    "erf", numpy=special.erf, opencl=Expr("gr_erf(a)", flops=30), gradient=lambda op, dy: dy * _gauss(op),
    onnx="Erf", node_name="Erf", doc="The error function, elementwise.",
)  # fmt: skip
erfc = unary(
    "erfc", numpy=special.erfc, opencl=Expr("gr_erfc(a)", flops=30), gradient=lambda op, dy: -dy * _gauss(op),
    node_name="Erfc", doc="``1 - erf(x)``, elementwise, exact for large `x`.",
)  # fmt: skip
trigamma = unary(
    "trigamma", numpy=special.trigamma, opencl=None, gradient=None, node_name="Trigamma",
    doc="The second derivative of `lgamma`, elementwise.",
)  # fmt: skip
digamma = unary(
    "digamma", numpy=special.digamma, opencl=None, gradient=lambda op, dy: dy * trigamma(op.inputs[0]),
    node_name="Digamma", doc="The derivative of `lgamma`, elementwise; NaN at negative integers.",
)  # fmt: skip
lgamma = unary(
    "lgamma", numpy=special.lgamma, opencl=Expr("gr_lgamma(a)", flops=60),
    gradient=lambda op, dy: dy * digamma(op.inputs[0]), node_name="Lgamma",
    doc="The logarithm of the absolute value of the gamma function, elementwise.",
)  # fmt: skip

# -- rounding ---------------------------------------------------------------------------------------

floor = unary(
    "floor", numpy=np.floor, opencl=Expr("gr_floor(a)"), onnx="Floor", node_name="Floor",
    doc="The largest integer not above `x`, elementwise, as a float.",
)  # fmt: skip
ceil = unary(
    "ceil", numpy=np.ceil, opencl=Expr("gr_ceil(a)"), onnx="Ceil", node_name="Ceil",
    doc="The smallest integer not below `x`, elementwise, as a float.",
)  # fmt: skip
rint = unary(
    "rint", numpy=np.rint, opencl=Expr("gr_rint(a)"), onnx="Round", node_name="Rint",
    doc="The nearest integer, elementwise, as a float; the even one of two.",
)  # fmt: skip
round = unary(  # noqa: A001 - TensorFlow's name
    "round", numpy=lambda x: np.rint(x) if x.dtype.kind == "f" else x, opencl=Expr("gr_round(a)"),
    kind="numeric", node_name="Round",
    doc="The nearest integer, elementwise, in the dtype of `x`; the even one of two.",
)  # fmt: skip
