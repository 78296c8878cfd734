"""Elementwise arithmetic of two and more tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType
from graphrun.errors import RuleError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_operands
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.compare import equal, greater, greater_equal, less, logical_or, select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import conj_of, log, square
from graphrun.ops.families import binary, require_kind, require_same_dtype
from graphrun.ops.fill import zeros_like
from graphrun.ops.state import identity
from graphrun.shapes import Shape, broadcast, format_shape, is_compatible, merge

# -- sums and products --------------------------------------------------------------------------

add = binary(
    "add", numpy=np.add, opencl=Expr("a + b"), gradient=lambda op, dy: (dy, dy), commutative=True,
    partial=operator.add, kind="number", onnx="Add", node_name="Add",
    doc="``x + y``, elementwise; both broadcast.",
)  # fmt: skip
subtract = binary(
    "subtract", numpy=np.subtract, opencl=Expr("a - b"), gradient=lambda op, dy: (dy, -dy),
    partial=operator.sub, kind="number", onnx="Sub", node_name="Sub",
    doc="``x - y``, elementwise; both broadcast.",
)  # fmt: skip
multiply = binary(
    "multiply", numpy=np.multiply, opencl=Expr("a * b"),
    gradient=lambda op, dy: (dy * conj_of(op.inputs[1]), dy * conj_of(op.inputs[0])), commutative=True,
    kind="number",
    partial=operator.mul, onnx="Mul", node_name="Mul", doc="``x * y``, elementwise; both broadcast.",
)  # fmt: skip


def _squared_difference_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    dx = dy * 2 * (op.inputs[0] - op.inputs[1])
    return dx, -dx


squared_difference = binary(
    "squared_difference", numpy=lambda a, b: np.square(a - b), opencl=Expr("gr_square(a - b)", flops=2),
    gradient=_squared_difference_gradient, commutative=True, node_name="SquaredDifference",
    doc="``(x - y) ** 2``, elementwise; both broadcast.",
)  # fmt: skip


# -- division -----------------------------------------------------------------------------------


def _divide_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    dx = dy / conj_of(op.inputs[1])
    return dx, -dx * conj_of(op.outputs[0])


# Operations are made by the public functions below, which choose by dtype.
realdiv = binary(
    "divide", numpy=np.divide, opencl=Expr("a / b"), gradient=_divide_gradient, kind="field", onnx="Div",
    node_name="RealDiv", doc="``x / y`` of floating tensors, elementwise; both broadcast.",
)  # fmt: skip
realdiv.__name__ = realdiv.__qualname__ = "realdiv"


def _mod_gradient(quotient: Callable[[Any, Any], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda op, dy: (dy, -dy * quotient(op.inputs[0], op.inputs[1]))


def _truncated(a: Any, b: Any) -> Any:
    kind = np.asarray(a).dtype
    if kind == np.float16:  # a quotient rounded to float16 may be a whole number that it does not reach
        return np.trunc(np.divide(a, b, dtype=np.float32)).astype(kind)
    if kind.kind == "f":
        return np.trunc(np.divide(a, b))
    quotient = np.floor_divide(a, b)
    # floor_divide rounds down; one up where the signs differ and something is left.
    up = (np.remainder(a, b) != 0) & ((a < 0) != (b < 0))
    return np.where(b == 0, 0, quotient + up.astype(quotient.dtype)).astype(quotient.dtype)


def _truncated_ints(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


floordiv = binary(
    "floordiv", numpy=np.floor_divide, opencl=Expr("gr_floordiv(a, b)", flops=4), partial=operator.floordiv,
    node_name="floordiv",
    doc="``x // y``, rounded down, elementwise; both broadcast.  An integer divided by 0 gives 0.",
)  # fmt: skip
floormod = binary(
    "floormod", numpy=np.remainder, opencl=Expr("gr_mod(a, b)", flops=4), gradient=_mod_gradient(floordiv),
    partial=operator.mod, onnx="Mod", node_name="FloorMod",
    doc="``x % y``: what `floordiv` leaves, with the sign of `y`; 0 for an integer modulo 0.",
)  # fmt: skip
truncatediv = binary(
    "truncatediv", numpy=_truncated, opencl=Expr("gr_truncdiv(a, b)", flops=2), partial=_truncated_ints,
    node_name="TruncateDiv",
    doc="``x / y`` rounded towards zero, elementwise; both broadcast.  An integer divided by 0 gives 0.",
)  # fmt: skip
truncatemod = binary(
    "truncatemod", numpy=np.fmod, opencl=Expr("gr_fmod(a, b)", flops=4), gradient=_mod_gradient(truncatediv),
    partial=lambda a, b: a - b * _truncated_ints(a, b), node_name="TruncateMod",
    doc="What `truncatediv` leaves, with the sign of `x`; 0 for an integer modulo 0.",
)  # fmt: skip
mod = floormod


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The same as `floordiv`."""
    return floordiv(x, y, name or "FloorDiv")


# In which dtype integers are divided truly: TensorFlow's table.
_NARROW_INTEGERS = (dtypes.int8, dtypes.int16, dtypes.uint8)


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y`` as in Python 3, elementwise; both broadcast.

    Integers are converted first: 8 and 16 bits to float32, more to float64.
    """
    a, b = convert_operands((x, y), "divide", name or "truediv")
    if a.dtype.is_integer and b.dtype is a.dtype:
        wide = dtypes.float32 if a.dtype in _NARROW_INTEGERS else dtypes.float64
        a, b = cast(a, wide), cast(b, wide)
    return realdiv(a, b, name or "truediv")


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y`` as in Python 3, elementwise; both broadcast."""
    return truediv(x, y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y`` as in Python 2: integers are divided as by `floordiv`."""
    a, b = convert_operands((x, y), "divide", name or "div")
    function = floordiv if a.dtype.is_integer else realdiv
    return function(a, b, name or "div")


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """``x / y``, and 0 where `y` is 0."""
    a, b = convert_operands((x, y), "divide", name or "div_no_nan")
    nought = equal(b, 0)
    # The inner select keeps the division, and so its gradient, away from zero.
    return select(nought, 0, realdiv(a, select(nought, 1, b)), name or "div_no_nan")


# -- powers -------------------------------------------------------------------------------------


def _pow_numpy(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind != "i":
        return np.power(a, b)
    # NumPy refuses negative exponents of integers: 1 and -1 have powers, the rest is rounded to 0.
    negative = b < 0
    result = np.power(a, np.where(negative, 0, b).astype(b.dtype))
    odd = np.where(b & 1, -1, 1)
    return np.where(negative, np.where(a == 1, 1, np.where(a == -1, odd, 0)), result).astype(a.dtype)


def _pow_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    x, y = op.inputs
    exponent = constant_value(y)
    if exponent is not None and exponent.size == 1:
        dx = dy * _power_slope(x, exponent.item())
    else:
        dx = dy * y * pow(x, y - 1)
    # log of a base that is not positive: TensorFlow takes the derivative as 0 there.
    positive = greater(x, 0)
    log_x = select(positive, log(select(positive, x, 1)), 0)
    return dx, dy * op.outputs[0] * log_x


def _power_slope(x: Tensor, n: float) -> Tensor | float:
    """The derivative of ``x ** n``, without the 0 * infinity that the general formula has at x = 0."""
    if n == 0:
        return zeros_like(x)
    if n == 1:
        return 1
    return n * (x if n == 2 else square(x) if n == 3 else pow(x, n - 1))


pow = binary(  # noqa: A001 - TensorFlow's name
    "pow", numpy=_pow_numpy,
    opencl=Expr(lambda attrs, inputs, out: "gr_pow(a, b)" if out.is_floating else "gr_ipow(a, b)", flops=20),
    gradient=_pow_gradient, onnx="Pow", node_name="Pow",
    doc="``x ** y``, elementwise; both broadcast.  Integers wrap, and have negative powers rounded to 0.",
)  # fmt: skip


# -- the larger, the smaller, a range --------------------------------------------------------------


def _extreme_gradient(wins: Callable[[Any, Any], Tensor]) -> Callable[..., tuple[Tensor, Tensor]]:
    def gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
        mask = wins(*op.inputs)
        return select(mask, dy, 0), select(mask, 0, dy)

    return gradient


maximum = binary(
    "maximum", numpy=np.maximum, opencl=Expr("gr_max(a, b)"),
    gradient=_extreme_gradient(greater_equal), commutative=True, partial=max, onnx="Max", node_name="Maximum",
    doc="The larger of `x` and `y`, elementwise; NaN where either is.  Of equals, `x` takes the gradient.",
)  # fmt: skip


def _less_equal(a: Any, b: Any) -> Tensor:
    return greater_equal(b, a)


minimum = binary(
    "minimum", numpy=np.minimum, opencl=Expr("gr_min(a, b)"),
    gradient=_extreme_gradient(_less_equal), commutative=True, partial=min, onnx="Min", node_name="Minimum",
    doc="The smaller of `x` and `y`, elementwise; NaN where either is.  Of equals, `x` takes the gradient.",
)  # fmt: skip


def _clip_rule(t: Spec, low: Spec, high: Spec) -> tuple[Spec]:
    dtype = require_same_dtype(t, low, high)
    require_kind(t, "numeric", "t")
    wide = broadcast(t.shape, broadcast(low.shape, high.shape))
    if not is_compatible(wide, t.shape):
        raise RuleError(
            f"the limits have shapes {format_shape(low.shape)} and {format_shape(high.shape)}",
            expected=f"scalars, or shapes that broadcast to that of t, {format_shape(t.shape)}",
        )
    return (Spec(t.shape, dtype),)


def _clip_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, ...]:
    t, low, high = op.inputs
    below, above = less(t, low), greater(t, high)
    return select(logical_or(below, above), 0, dy), select(below, dy, 0), select(above, dy, 0)


clip_op = register(
    OpDef(
        "clip", _clip_rule, lambda t, low, high: np.minimum(np.maximum(t, low), high),
        Expr("gr_clip(a, b, c)", flops=2), _clip_gradient, broadcasts=True, node_name="clip_by_value",
        onnx="Clip",
        input_names=("t", "clip_value_min", "clip_value_max"),
    )
)  # fmt: skip


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Limit the elements of `t` to a range; the limits broadcast to its shape.  NaN stays NaN.

    Of `IndexedSlices` the rows are limited as they stand, and the result is one again.
    """
    if hasattr(t, "_rows_apply"):
        return t._rows_apply(lambda x: clip_by_value(x, clip_value_min, clip_value_max, name))
    operands = convert_operands((t, clip_value_min, clip_value_max), clip_op.name, name or clip_op.node_name)
    return apply(clip_op, operands, None, name)


# -- sums of many -------------------------------------------------------------------------------

_TERMS = "abcdef"  # the operands that an Expr can name


def _add_n_rule(*specs: Spec) -> tuple[Spec]:
    if not specs:
        raise RuleError("nothing to add", expected="one tensor or more")
    dtype = require_same_dtype(*specs)
    require_kind(specs[0], "number", "the first one")
    shape: Shape = None
    for s in specs:
        try:
            shape = merge(shape, s.shape)
        except ShapeError as fault:
            raise RuleError(str(fault), expected="tensors of one shape; gr.add broadcasts") from None
    return (Spec(shape, dtype),)


def _add_n_numpy(*arrays: Any) -> Any:
    if len(arrays) == 1:
        return arrays[0]
    if arrays[0].dtype == np.float16:  # rounded once
        return _add_n_numpy(*[a.astype(np.float32) for a in arrays]).astype(np.float16)
    total = np.add(arrays[0], arrays[1])
    total = np.array(total) if np.ndim(total) == 0 else total
    for a in arrays[2:]:
        np.add(total, a, out=total)
    return total


def _add_n_opencl(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Expr | None:
    n = len(specs)
    return Expr(" + ".join(_TERMS[:n]), flops=n - 1) if n <= len(_TERMS) else None


def _add_n_expand(build: Any, inputs: Sequence[Any], specs: Any, attrs: Any) -> Any:
    """Six at a time, from the left, which is the order in which NumPy adds them."""
    total = build("add_n", inputs[: len(_TERMS)], {})
    rest = inputs[len(_TERMS) :]
    step = len(_TERMS) - 1
    for i in range(0, len(rest), step):
        total = build("add_n", [total, *rest[i : i + step]], {})
    return total


add_n_op = register(
    OpDef(
        "add_n", _add_n_rule, _add_n_numpy, _add_n_opencl, lambda op, dy: (dy,) * len(op.inputs),
        expand=_add_n_expand, node_name="AddN", onnx="Sum",
    )
)  # fmt: skip


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """Return the sum of tensors of one shape and dtype.

    Parameters
    ----------
    inputs : list of tensors
    """
    if not isinstance(inputs, list | tuple) or not inputs:
        empty = isinstance(inputs, list | tuple)
        raise ShapeError(
            message(
                "the list is empty, so there is nothing to add up" if empty else f"inputs={inputs!r}",
                where="add_n", site=user_site(), expected="a list of one tensor or more",
                fix="where a sum may have no terms, put gr.zeros(shape) in the list" if empty
                else "put the tensors in a list, as gr.add_n([a, b])",
            )
        )  # fmt: skip
    tensors = convert_operands(inputs, "add_n", name or add_n_op.node_name)
    if len(tensors) == 1:
        return identity(tensors[0], name) if name else tensors[0]
    return apply(add_n_op, tensors, None, name)


def accumulate_n(
    inputs: Any, shape: Any = None, tensor_dtype: DType | None = None, name: str | None = None
) -> Tensor:
    """Return the sum of tensors of one shape and dtype, as `add_n` does."""
    return add_n(inputs, name)
