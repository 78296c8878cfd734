"""Comparisons, logic, tests of numbers, and selection between two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.errors import DTypeError, RuleError
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.families import binary, compare, require_same_dtype, unary
from graphrun.ops.reshape import reshape
from graphrun.shapes import broadcast

equal = compare(
    "equal", numpy=np.equal, opencl=Expr("gr_eq(a, b)"), kind="any", commutative=True, onnx="Equal",
    node_name="Equal",
    doc="Whether `x` equals `y`, elementwise.  (``x == y`` asks whether both are one tensor.)",
)  # fmt: skip
not_equal = compare(
    "not_equal", numpy=np.not_equal, opencl=Expr("gr_ne(a, b)"), kind="any", commutative=True,
    node_name="NotEqual", doc="Whether `x` differs from `y`, elementwise.",
)  # fmt: skip
less = compare(
    "less", numpy=np.less, opencl=Expr("gr_lt(a, b)"), onnx="Less", node_name="Less",
    doc="Whether ``x < y``, elementwise.",
)  # fmt: skip
less_equal = compare(
    "less_equal", numpy=np.less_equal, opencl=Expr("gr_le(a, b)"), onnx="LessOrEqual", node_name="LessEqual",
    doc="Whether ``x <= y``, elementwise.",
)  # fmt: skip
greater = compare(
    "greater", numpy=np.greater, opencl=Expr("gr_gt(a, b)"), onnx="Greater", node_name="Greater",
    doc="Whether ``x > y``, elementwise.",
)  # fmt: skip
greater_equal = compare(
    "greater_equal", numpy=np.greater_equal, opencl=Expr("gr_ge(a, b)"), onnx="GreaterOrEqual",
    node_name="GreaterEqual", doc="Whether ``x >= y``, elementwise.",
)  # fmt: skip

logical_and = binary(
    "logical_and", numpy=np.logical_and, opencl=Expr("a & b"), kind="bool", commutative=True, onnx="And",
    node_name="LogicalAnd", doc="Elementwise ``x and y`` of bools.",
)  # fmt: skip
logical_or = binary(
    "logical_or", numpy=np.logical_or, opencl=Expr("a | b"), kind="bool", commutative=True, onnx="Or",
    node_name="LogicalOr", doc="Elementwise ``x or y`` of bools.",
)  # fmt: skip
logical_xor = binary(
    "logical_xor", numpy=np.logical_xor, opencl=Expr("a ^ b"), kind="bool", commutative=True, onnx="Xor",
    node_name="LogicalXor", doc="Elementwise exclusive or of bools.",
)  # fmt: skip
logical_not = unary(
    "logical_not", numpy=np.logical_not, opencl=Expr("a ^ ({T})1"), kind="bool", onnx="Not",
    node_name="LogicalNot", doc="Elementwise ``not x`` of bools.",
)  # fmt: skip

is_nan = unary(
    "is_nan", numpy=np.isnan, opencl=Expr("gr_isnan(a)"), out=dtypes.bool_, onnx="IsNaN", node_name="IsNan",
    doc="Whether each element of `x` is NaN.",
)  # fmt: skip
is_inf = unary(
    "is_inf", numpy=np.isinf, opencl=Expr("gr_isinf(a)"), out=dtypes.bool_, onnx="IsInf", node_name="IsInf",
    doc="Whether each element of `x` is infinite, of either sign.",
)  # fmt: skip
is_finite = unary(
    "is_finite", numpy=np.isfinite, opencl=Expr("gr_isfinite(a)"), out=dtypes.bool_, node_name="IsFinite",
    doc="Whether each element of `x` is neither infinite nor NaN.",
)  # fmt: skip


# -- selection ----------------------------------------------------------------------------------


def _select_rule(condition: Spec, x: Spec, y: Spec) -> tuple[Spec]:
    if not condition.dtype.is_bool:
        raise RuleError(
            f"the condition has dtype {condition.dtype}",
            expected="bool",
            fix="compare it with something, as gr.not_equal(c, 0)",
            kind=DTypeError,
        )
    dtype = require_same_dtype(x, y)
    return (Spec(broadcast(condition.shape, broadcast(x.shape, y.shape)), dtype),)


def _select_gradient(op: Operation, dy: Tensor) -> tuple[Any, ...]:
    condition = op.inputs[0]
    # Zeros rather than products with the mask: what is not selected may be infinite or NaN.
    return None, select(condition, dy, 0), select(condition, 0, dy)


select_op = register(
    OpDef(
        "select", _select_rule, lambda c, x, y: np.where(c, x, y), Expr("gr_where(a, b, c)"),
        _select_gradient, broadcasts=True, node_name="Select", onnx="Where",
        input_names=("condition", "x", "y"),
    )
)  # fmt: skip


def select(condition: Any, x: Any, y: Any, name: str | None = None) -> Tensor:
    """Return `x` where `condition` is true, else `y`; all three broadcast as in NumPy."""
    a, b = convert_operands((x, y), "select", name or "Select")
    return apply(select_op, (convert_to_tensor(condition, dtypes.bool_, graph=a.op.graph), a, b), None, name)


def _column(rank: int) -> tuple[int, ...]:
    """The shape in which a vector selects rows of something of that rank."""
    return (-1,) + (1,) * (rank - 1)


def _select_rows_rule(condition: Spec, x: Spec, y: Spec) -> tuple[Spec]:
    inner = broadcast(x.shape, y.shape)
    if condition.shape is None or inner is None:
        _select_rule(Spec(None, condition.dtype), x, y)
        return (Spec(None, x.dtype),)
    if len(condition.shape) == 1 and len(inner) > 1:
        condition = Spec((*condition.shape, *[1] * (len(inner) - 1)), condition.dtype)
    return _select_rule(condition, x, y)


def _select_rows_numpy(c: Any, x: Any, y: Any) -> Any:
    rank = max(x.ndim, y.ndim)
    return np.where(c.reshape(_column(rank)) if c.ndim == 1 and rank > 1 else c, x, y)


def _select_rows_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    condition = inputs[0]
    shape: Any = specs[0].shape
    rank = max(len(s.shape or ()) for s in specs[1:])
    if len(shape) == 1 and rank > 1:
        condition = build("reshape", [condition], {"shape": (*shape, *[1] * (rank - 1))})
    return build("select", [condition, *inputs[1:]], {})


# For ranks that are known in the run only: what a vector selects depends on them.
select_rows_op = register(
    OpDef(
        "select_rows", _select_rows_rule, _select_rows_numpy, None,
        lambda op, dy: (None, where(op.inputs[0], dy, 0), where(op.inputs[0], 0, dy)),
        broadcasts=True, expand=_select_rows_expand, node_name="Select", input_names=("condition", "x", "y"),
    )
)  # fmt: skip


def _where_true_rule(condition: Spec) -> tuple[Spec]:
    rank = None if condition.shape is None else len(condition.shape)
    return (Spec((None, rank), dtypes.int64),)


# How many rows the result has depends on the values: a plan is made for what follows once they are known.
where_true_op = register(
    OpDef(
        "where_true", _where_true_rule, lambda c: np.argwhere(c).astype(np.int64), gradient=no_gradient,
        node_name="Where", onnx="NonZero", input_names=("condition",),
    )
)  # fmt: skip


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Return `x` where `condition` is true, else `y`; with `condition` alone, the indices of what is true.

    Parameters
    ----------
    condition : bool tensor
        Of the shape of `x` and `y`, or a scalar, or a vector that selects whole rows of them.
    x, y : tensors of one dtype, optional
        They broadcast.  No gradient flows to what is not selected, so a NaN there does no harm.

    Returns
    -------
    Tensor
        Without `x` and `y`: int64 of shape ``(number of true elements, rank of condition)``.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.where([True, False], [[1, 2], [3, 4]], [[5, 6], [7, 8]])))
    [[1 2]
     [7 8]]
    """
    if x is None and y is None:
        return apply(where_true_op, (convert_to_tensor(condition),), None, name)
    if x is None or y is None:
        raise ValueError("gr.where needs both x and y, or neither of them")
    a, b = convert_operands((x, y), "where", name or "Select")
    c = convert_to_tensor(condition, dtypes.bool_, graph=a.op.graph)
    if c._shape is not None and len(c._shape) != 1:
        return apply(select_op, (c, a, b), None, name)
    if c._shape is not None and a._shape is not None and b._shape is not None:
        rank = max(len(a._shape), len(b._shape))
        return apply(select_op, (reshape(c, _column(rank)) if rank > 1 else c, a, b), None, name)
    return apply(select_rows_op, (c, a, b), None, name)
