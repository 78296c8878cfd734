"""Diagonals and triangles of matrices, which are the last two dimensions of a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import AffineMap, Index, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.attributes import attr_value, dims_of, one_int
from graphrun.ops.families import require_same_dtype
from graphrun.ops.fill import zeros_like
from graphrun.ops.reduce import reduce_sum
from graphrun.shapes import Dim, Shape, format_shape, is_compatible, merge, row_major_strides


def require_matrices(shape: Shape, what: str = "x", square: bool = False) -> None:
    """Raise unless the last two dimensions of `shape` can be (square) matrices."""
    if shape is None:
        return
    if len(shape) < 2:
        raise RuleError(
            f"{what} has rank {len(shape)}", expected="rank 2 or more: a matrix, or a batch of them"
        )
    if square and None not in shape[-2:] and shape[-2] != shape[-1]:
        raise RuleError(f"the matrices of {what} are {shape[-2]} x {shape[-1]}", expected="square matrices")


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _shorter(rows: Dim, columns: Dim) -> Dim:
    return None if rows is None or columns is None else min(rows, columns)


# -- band ---------------------------------------------------------------------------------------


def _band_rule(x: Spec, *, lower: Any, upper: Any) -> tuple[Spec]:
    require_matrices(x.shape)
    return (x,)


def _band_numpy(x: np.ndarray, *, lower: Any, upper: Any) -> np.ndarray:
    below = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    low, up = _single(lower), _single(upper)
    kept = ((low < 0) | (below <= low)) & ((up < 0) | (-below <= up))
    return np.where(kept, x, np.zeros((), x.dtype))


def _band_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    rank = len(dims_of(out))
    low, up = _single(attrs["lower"]), _single(attrs["upper"])
    below = f"c{rank - 2} - c{rank - 1}"
    kept = [f"{below} <= {low}L"] * (low >= 0) + [f"{below} >= -{up}L"] * (up >= 0)
    return f"r = 0; if ({' && '.join(kept) or '1'}) r = LOAD0(i);"


def _band_gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(band_op, (dy,), {key: attr_value(op, key) for key in ("lower", "upper")})


band_op = register(
    OpDef(
        "matrix_band_part", _band_rule, _band_numpy, Index(_band_code), _band_gradient,
        value_attrs=("lower", "upper"), node_name="MatrixBandPart", input_names=("x",),
    )
)  # fmt: skip


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Return the matrices of `input` with zeros outside of a band around the diagonal.

    Parameters
    ----------
    input : tensor of rank 2 or more
    num_lower, num_upper : int or int tensor
        Diagonals to keep below and above the main one; a negative number keeps all.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_band_part(gr.ones([3, 3]), -1, 0)))  # the lower triangle
    [[1. 0. 0.]
     [1. 1. 0.]
     [1. 1. 1.]]
    """
    attrs = {
        "lower": one_int(num_lower, "matrix_band_part", "num_lower"),
        "upper": one_int(num_upper, "matrix_band_part", "num_upper"),
    }
    return apply(band_op, (convert_to_tensor(input),), attrs, name)


# -- tensors that are diagonal: twice the rank ------------------------------------------------------


def _diag_rule(x: Spec) -> tuple[Spec]:
    if x.shape == ():
        raise RuleError("diagonal is a scalar", expected="rank 1 or more")
    return (Spec(None if x.shape is None else (*x.shape, *x.shape), x.dtype),)


def _diag_numpy(x: np.ndarray) -> np.ndarray:
    result = np.zeros((x.size, x.size), x.dtype)
    np.fill_diagonal(result, x.reshape(-1))
    return result.reshape(x.shape * 2)


def _diag_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    rank = len(dims_of(specs[0]))
    equal = " && ".join(f"c{k} == c{rank + k}" for k in range(rank))
    at = " + ".join(f"c{k} * {s}L" for k, s in enumerate(row_major_strides(dims_of(specs[0]))))
    return f"r = 0; if ({equal}) r = LOAD0({at});"


def _diag_part_rule(x: Spec) -> tuple[Spec]:
    if x.shape is None:
        return (x,)
    half = len(x.shape) // 2
    if len(x.shape) % 2 or not half:
        raise RuleError(f"x has rank {len(x.shape)}", expected="an even rank, 2 or more")
    if not is_compatible(x.shape[:half], x.shape[half:]):
        raise RuleError(
            f"the halves of its shape differ, {format_shape(x.shape[:half])}"
            f" != {format_shape(x.shape[half:])}"
        )
    return (Spec(merge(x.shape[:half], x.shape[half:]), x.dtype),)


def _diag_part_numpy(x: np.ndarray) -> np.ndarray:
    shape = x.shape[: x.ndim // 2]
    n = math.prod(shape)
    return np.ascontiguousarray(np.diagonal(x.reshape(n, n))).reshape(shape)


def _diag_part_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    strides = row_major_strides(dims_of(specs[0]))
    half = len(strides) // 2
    return AffineMap(dims_of(out), tuple(strides[k] + strides[half + k] for k in range(half)))


diag_op = register(
    OpDef(
        "diag", _diag_rule, _diag_numpy, Index(_diag_code), lambda op, dy: apply("diag_part", (dy,)),
        node_name="Diag", input_names=("diagonal",),
    )
)  # fmt: skip
diag_part_op = register(
    OpDef(
        "diag_part", _diag_part_rule, _diag_part_numpy, View(_diag_part_map),
        lambda op, dy: apply(diag_op, (dy,)), node_name="DiagPart", input_names=("x",),
    )
)  # fmt: skip


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """Return a tensor of twice the rank with `diagonal` on its diagonal; for a vector, a matrix.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.diag([1, 2])))
    [[1 0]
     [0 2]]
    """
    return apply(diag_op, (convert_to_tensor(diagonal),), None, name)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """Return the diagonal of a tensor whose shape is some shape twice; the inverse of `diag`."""
    return apply(diag_part_op, (convert_to_tensor(input),), None, name)


# -- diagonals of matrices --------------------------------------------------------------------------


def _matrix_diag_rule(x: Spec) -> tuple[Spec]:
    if x.shape == ():
        raise RuleError("diagonal is a scalar", expected="rank 1 or more")
    return (Spec(None if x.shape is None else (*x.shape, x.shape[-1]), x.dtype),)


def _matrix_diag_numpy(x: np.ndarray) -> np.ndarray:
    result = np.zeros((*x.shape, x.shape[-1]), x.dtype)
    places = np.arange(x.shape[-1])
    result[..., places, places] = x
    return result


def _matrix_diag_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    rank, n = len(dims_of(out)), max(1, dims_of(out)[-1])
    return f"r = 0; if (c{rank - 2} == c{rank - 1}) r = LOAD0(i / {n}UL);"


def _matrix_diag_part_rule(x: Spec) -> tuple[Spec]:
    require_matrices(x.shape)
    return (Spec(None if x.shape is None else (*x.shape[:-2], _shorter(*x.shape[-2:])), x.dtype),)


def _matrix_diag_part_map(
    specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int
) -> AffineMap:
    *batch, rows, columns = dims_of(specs[0])
    return AffineMap((math.prod(batch), min(rows, columns)), (rows * columns, columns + 1))


def _matrix_diag_part_gradient(op: Operation, dy: Tensor) -> Tensor:
    x = op.inputs[0]
    if x._shape is not None and x._shape[-1] is not None and x._shape[-1] == x._shape[-2]:
        return apply(matrix_diag_op, (dy,))
    return apply(set_diag_op, (zeros_like(x), dy))


matrix_diag_op = register(
    OpDef(
        "matrix_diag", _matrix_diag_rule, _matrix_diag_numpy, Index(_matrix_diag_code),
        lambda op, dy: apply("matrix_diag_part", (dy,)), node_name="MatrixDiag", input_names=("diagonal",),
    )
)  # fmt: skip
matrix_diag_part_op = register(
    OpDef(
        "matrix_diag_part", _matrix_diag_part_rule,
        lambda x: np.ascontiguousarray(np.diagonal(x, axis1=-2, axis2=-1)), View(_matrix_diag_part_map),
        _matrix_diag_part_gradient, node_name="MatrixDiagPart", input_names=("x",),
    )
)  # fmt: skip


def matrix_diag(diagonal: Any, name: str | None = "diag") -> Tensor:
    """Return square matrices with the vectors of the last dimension of `diagonal` on their diagonals."""
    return apply(matrix_diag_op, (convert_to_tensor(diagonal),), None, name)


def matrix_diag_part(input: Any, name: str | None = "diag_part") -> Tensor:
    """Return the diagonals of the matrices of `input`."""
    return apply(matrix_diag_part_op, (convert_to_tensor(input),), None, name)


def _set_diag_rule(x: Spec, diagonal: Spec) -> tuple[Spec]:
    dtype = require_same_dtype(x, diagonal)
    require_matrices(x.shape)
    if x.shape is None or diagonal.shape is None:
        return (Spec(x.shape, dtype),)
    wanted = (*x.shape[:-2], _shorter(*x.shape[-2:]))
    if not is_compatible(wanted, diagonal.shape):
        raise RuleError(f"diagonal has shape {format_shape(diagonal.shape)}", expected=format_shape(wanted))
    return (x,)


def _set_diag_numpy(x: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    result = x.copy()
    places = np.arange(diagonal.shape[-1])
    result[..., places, places] = diagonal
    return result


def _set_diag_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    *_, rows, columns = dims_of(out)
    row, column = (f"c{len(dims_of(out)) - k}" for k in (2, 1))
    own = f"i / {max(1, rows * columns)}UL * {min(rows, columns)}UL + {row}"
    return f"if ({row} == {column}) r = LOAD1({own}); else r = LOAD0(i);"


def _set_diag_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    return apply(set_diag_op, (dy, zeros_like(op.inputs[1]))), apply(matrix_diag_part_op, (dy,))


set_diag_op = register(
    OpDef(
        "matrix_set_diag", _set_diag_rule, _set_diag_numpy, Index(_set_diag_code), _set_diag_gradient,
        node_name="MatrixSetDiag", input_names=("x", "diagonal"),
    )
)  # fmt: skip


def matrix_set_diag(input: Any, diagonal: Any, name: str | None = "set_diag") -> Tensor:
    """Return the matrices of `input` with other diagonals.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.matrix_set_diag(gr.ones([2, 3]), [5.0, 6.0])))
    [[5. 1. 1.]
     [1. 6. 1.]]
    """
    return apply(set_diag_op, convert_operands((input, diagonal)), None, name)


def trace(x: Any, name: str | None = None) -> Tensor:
    """Return the sums of the diagonals of the matrices of `x`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.trace([[1.0, 2.0], [3.0, 4.0]])))
    5.0
    """
    t = convert_to_tensor(x)
    with t.graph.name_scope(name or "Trace") as scope:
        return reduce_sum(apply(matrix_diag_part_op, (t,)), [-1], name=scope)
