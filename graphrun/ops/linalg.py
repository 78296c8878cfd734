"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, constant_value, convert_operands
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.array import expand_dims, reshape, shape, squeeze, stack, transpose
from graphrun.ops.attributes import shape_attr
from graphrun.ops.elementwise import conj_of
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.plans.gemm import plan_matmul
from graphrun.ops.reduce import reduce_prod, sum_to_shape
from graphrun.shapes import Dim, broadcast, format_shape, normalize_axis


def _matmul_rule(a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool) -> tuple[Spec]:
    dtype = require_same_dtype(a, b)
    require_kind(a, "number", "a")
    for spec, which in ((a, "a"), (b, "b")):
        if spec.shape is not None and len(spec.shape) < 2:
            raise RuleError(
                f"{which} has rank {len(spec.shape)}",
                expected="matrices, or batches of them: rank 2 or more",
                fix="use gr.matvec(a, b) for a vector b, or gr.expand_dims to make a row or a column of it",
            )
    rows, inner_a = _last_two(a, transpose_a)
    inner_b, columns = _last_two(b, transpose_b)
    if inner_a is not None and inner_b is not None and inner_a != inner_b:
        raise _inner_dimensions_differ(inner_a, inner_b, rows, transpose_a, transpose_b)
    if a.shape is None or b.shape is None:
        return (Spec(None, dtype),)
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    assert batch is not None
    return (Spec((*batch, rows, columns), dtype),)


def _last_two(spec: Spec, transposed: bool) -> tuple[Dim, Dim]:
    if spec.shape is None:
        return None, None
    first, second = spec.shape[-2:]
    return (second, first) if transposed else (first, second)


def _inner_dimensions_differ(
    inner_a: int, inner_b: int, rows: Dim, transpose_a: bool, transpose_b: bool
) -> RuleError:
    if rows == inner_b:
        fix = f"pass transpose_a={not transpose_a}, which would fit"
    elif transpose_b:
        fix = "leave transpose_b=True out if b is stored (in, out)"
    else:
        fix = "pass transpose_b=True if b is stored (out, in)"
    return RuleError(
        f"inner dimensions differ, {inner_a} != {inner_b}",
        expected=f"a.shape[{-2 if transpose_a else -1}] == b.shape[{-1 if transpose_b else -2}]",
        fix=fix,
    )


def _matmul_numpy(a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    dtype = a.dtype
    if dtype == np.float16:  # as on devices: products and sums in float32, rounded once
        a, b = a.astype(np.float32), b.astype(np.float32)
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    if a.ndim > 2 and b.ndim == 2 and not transpose_a:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # one large product, not many small ones
        product = np.matmul(rows, b).reshape(*a.shape[:-1], b.shape[-1])
    else:
        product = np.matmul(a, b)
    return product.astype(dtype, copy=False)


def _matmul_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    a, b = map(conj_of, op.inputs)
    transpose_a, transpose_b = op.attrs["transpose_a"], op.attrs["transpose_b"]
    if transpose_a:
        da = matmul(b, dy, transpose_a=transpose_b, transpose_b=True)
    else:
        da = matmul(dy, b, transpose_b=not transpose_b)
    if _is_matrix(b) and not _is_matrix(a) and not transpose_a:
        # One product over all rows of the batch, in place of one for each and their sum.
        inner, columns = _last_two(b.spec, transpose_b)
        rows, dy_rows = _flat_rows(a, inner), _flat_rows(dy, columns)
        if transpose_b:
            return da, matmul(dy_rows, rows, transpose_a=True)
        return da, matmul(rows, dy_rows, transpose_a=True)
    if transpose_b:
        db = matmul(dy, a, transpose_a=True, transpose_b=transpose_a)
    else:
        db = matmul(a, dy, transpose_a=not transpose_a)
    return _sum_batch(da, a, b), _sum_batch(db, b, a)


def _is_matrix(t: Tensor) -> bool:
    return t._shape is not None and len(t._shape) == 2


def _flat_rows(t: Tensor, columns: Dim) -> Tensor:
    if columns:
        return reshape(t, [-1, columns])
    sizes = shape(t)  # -1 would be ambiguous for 0 columns
    return reshape(t, [reduce_prod(sizes[:-1]), sizes[-1]])


def _sum_batch(gradient: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """Sum a gradient over the batch dimensions in which `x` was broadcast."""
    if x._shape is not None and other._shape is not None:
        batch, other_batch = x._shape[:-2], other._shape[:-2]
        if len(batch) >= len(other_batch):
            # A dimension that both share, or that only x has, was not broadcast.
            tail = batch[len(batch) - len(other_batch) :]
            if all(
                o == 1 or (d is not None and (d == o or d > 1))
                for d, o in zip(tail, other_batch, strict=True)
            ):
                return gradient
    return sum_to_shape(gradient, shape_attr(x))


matmul_op = register(
    OpDef(
        "matmul", _matmul_rule, _matmul_numpy,
        Kernel("gemm", plan_matmul, ("gemm.cl", "gemm_gpu.cl"), epilogue=True, packs=True), _matmul_gradient,
        node_name="MatMul", onnx="MatMul",
    )
)  # fmt: skip


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return the matrix product of `a` and `b`, or of the matrices in their last two dimensions.

    Parameters
    ----------
    a, b : tensor
        Rank 2 or more, of one numeric dtype.  The dimensions before the last two broadcast.
    transpose_a, transpose_b : bool
        Multiply with the transposed matrices; this moves no data.
    adjoint_a, adjoint_b : bool
        The same for real numbers.
    a_is_sparse, b_is_sparse : bool
        Accepted for TensorFlow's sake; zeros are multiplied like other numbers.
    name : str, optional

    Raises
    ------
    ShapeError
        If the inner dimensions differ.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     a = gr.constant([[1.0, 2.0], [3.0, 4.0]])
    ...     print(sess.run(gr.matmul(a, [[1.0], [1.0]])))
    [[3.]
     [7.]]
    """
    for both, which in ((transpose_a and adjoint_a, "a"), (transpose_b and adjoint_b, "b")):
        if both:
            raise DTypeError(
                message(
                    f"transpose_{which} and adjoint_{which} are both True",
                    where="matmul",
                    site=user_site(),
                    expected="one of them; they mean the same for real numbers",
                )
            )
    attrs = {"transpose_a": bool(transpose_a or adjoint_a), "transpose_b": bool(transpose_b or adjoint_b)}
    left, right = convert_operands((a, b), "matmul", name or "MatMul")
    # The adjoint of a real matrix is the transposed one.
    left, right = (conj_of(left) if adjoint_a else left), (conj_of(right) if adjoint_b else right)
    return apply(matmul_op, (left, right), attrs, name)


batch_matmul = matmul


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """Return the products of matrices (the last two dimensions of `a`) and vectors (the last one of `b`)."""
    a, b = convert_operands((a, b))
    with a.graph.name_scope(name or "MatVec") as scope:
        column = matmul(a, expand_dims(b, -1), transpose_a=transpose_a, adjoint_a=adjoint_a)
        return squeeze(column, axis=[-1], name=scope)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Return the sum of products of `a` and `b` over the given axes.

    Parameters
    ----------
    a, b : tensor
    axes : int or pair
        An int n pairs the last n axes of `a` with the first n of `b`; a pair names the axes of `a` and
        those of `b`, each an int or a list.
    name : str, optional

    Returns
    -------
    Tensor
        Its shape is that of `a` without its summed axes, then that of `b` without its.

    Examples
    --------
    >>> import graphrun as gr
    >>> a, b = gr.placeholder(gr.float32, (2, 3, 4)), gr.placeholder(gr.float32, (4, 3, 5))
    >>> gr.tensordot(a, b, 1).shape.as_list(), gr.tensordot(a, b, [[1, 2], [1, 0]]).shape.as_list()
    ([2, 3, 3, 5], [2, 5])
    """
    a, b = convert_operands((a, b))
    a_axes, b_axes = _paired_axes(a, b, axes)
    with a.graph.name_scope(name or "Tensordot") as scope:
        a_free, b_free = _others(a, a_axes), _others(b, b_axes)
        rows = _as_matrix(a, a_free, a_axes)
        columns = _as_matrix(b, b_axes, b_free)
        return reshape(matmul(rows, columns), _sizes(a, a_free) + _sizes(b, b_free), name=scope)


def _paired_axes(a: Tensor, b: Tensor, axes: Any) -> tuple[list[int], list[int]]:
    """The axes of a and of b that are summed, counted from the front, in matching order."""
    if a._shape is None or b._shape is None:
        raise _bad_axes(a, b, "the rank of an operand is not known", "give the placeholder a shape")
    if isinstance(axes, Tensor):
        axes = constant_value(axes)
        if axes is None:
            raise _bad_axes(a, b, "axes is a tensor whose value is not known yet", "pass Python ints")
    rank_a, rank_b = len(a._shape), len(b._shape)
    if not isinstance(axes, Sequence) and np.ndim(axes) == 0:
        n = int(axes)
        if not 0 <= n <= min(rank_a, rank_b):
            raise _bad_axes(a, b, f"axes={n} is out of range", f"pass 0 <= axes <= {min(rank_a, rank_b)}")
        return list(range(rank_a - n, rank_a)), list(range(n))
    if len(axes) != 2:
        raise _bad_axes(a, b, f"axes has {len(axes)} entries", "pass an int, or [axes of a, axes of b]")
    listed = [[int(i) for i in np.reshape(part, -1)] for part in axes]
    if len(listed[0]) != len(listed[1]) or any(len(set(part)) != len(part) for part in listed):
        raise _bad_axes(a, b, f"axes {listed} do not pair up", "name as many axes of a as of b, each once")
    try:
        pairs = (
            [normalize_axis(i, rank_a) for i in listed[0]],
            [normalize_axis(i, rank_b) for i in listed[1]],
        )
    except RuleError as fault:
        raise _bad_axes(a, b, fault.what, fault.expected) from None
    for i, j in zip(*pairs, strict=True):
        left, right = a._shape[i], b._shape[j]
        if left is not None and right is not None and left != right:
            raise _bad_axes(
                a, b, f"axis {i} of a and axis {j} of b differ, {left} != {right}", "pair equal dimensions"
            )
    return pairs


def _bad_axes(a: Tensor, b: Tensor, what: str, fix: str) -> ShapeError:
    got = f"a: {format_shape(a._shape)} {a.dtype}   b: {format_shape(b._shape)} {b.dtype}"
    return ShapeError(message(what, where="tensordot", got=got, site=user_site(), fix=fix))


def _others(x: Tensor, axes: Sequence[int]) -> list[int]:
    return [i for i in range(len(x._shape or ())) if i not in axes]


def _sizes(x: Tensor, axes: Sequence[int]) -> list[Any]:
    """The dimensions of those axes: ints where they are known, else tensors."""
    assert x._shape is not None
    known = [x._shape[i] for i in axes]
    if None not in known:
        return known
    sizes = shape(x)
    return [sizes[i] if d is None else d for i, d in zip(axes, known, strict=True)]


def _as_matrix(x: Tensor, first: list[int], last: list[int]) -> Tensor:
    """`x` with the axes `first` as rows and `last` as columns."""
    order = [*first, *last]
    turned = x if order == sorted(order) else transpose(x, order)
    if len(first) == len(last) == 1:
        return turned
    rows, columns = _product(_sizes(x, first)), _product(_sizes(x, last))
    if isinstance(rows, Tensor) and isinstance(columns, int) and columns:
        rows = -1
    elif isinstance(columns, Tensor) and isinstance(rows, int) and rows:
        columns = -1
    return reshape(turned, [rows, columns])


def _product(sizes: Sequence[Any]) -> Any:
    result = 1
    for size in sizes:
        result = result * size
    return result


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """Return the cross products of the vectors of three entries in the last dimensions of `a` and `b`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])))
    [0. 0. 1.]
    """
    x, y = convert_operands((a, b))
    with x.graph.name_scope(name or "Cross") as scope:
        one, two = ([t[..., k] for k in range(3)] for t in (x, y))
        turns = ((1, 2), (2, 0), (0, 1))
        parts = [one[j] * two[k] - one[k] * two[j] for j, k in turns]
        return stack(parts, -1, name=scope)
