"""Operations that put the same elements in another order: transpose, reverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import InvalidArgumentError, RuleError
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.descriptor import AffineMap, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.ops.attributes import attr_value, dims_of, ints, known_ints, require_rank
from graphrun.ops.fill import rank
from graphrun.ops.joining import concat, stack
from graphrun.ops.sequences import range_
from graphrun.shapes import (
    normalize_axes,
    normalize_axis,
    row_major_strides,
)

# -- transpose ----------------------------------------------------------------------------------

# The value of `perm` for "the other way round", while the rank is not known.
REVERSED = "reversed"


def _permutation(perm: Any, rank: int) -> tuple[int, ...]:
    if perm == REVERSED:
        return tuple(range(rank - 1, -1, -1))
    if len(perm) != rank:
        raise RuleError(
            f"perm {perm} has {len(perm)} entries for rank {rank}", expected="one entry for each dimension"
        )
    axes = tuple(normalize_axis(p, rank) for p in perm)
    if len(set(axes)) != rank:
        raise RuleError(f"perm {perm} is no permutation", expected=f"each of 0 ... {rank - 1} once")
    return axes


def _transpose_rule(x: Spec, *, perm: Any) -> tuple[Spec]:
    if perm is None or (isinstance(perm, tuple) and None in perm):
        count = len(perm) if perm is not None else None if x.shape is None else len(x.shape)
        return (Spec(None if count is None else (None,) * count, x.dtype),)
    if x.shape is None:
        return (Spec(None if perm == REVERSED else (None,) * len(_permutation(perm, len(perm))), x.dtype),)
    return (Spec(tuple(x.shape[p] for p in _permutation(perm, len(x.shape))), x.dtype),)


def _transpose_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    strides = row_major_strides(dims_of(specs[0]))
    perm = _permutation(attrs["perm"], len(strides))
    return AffineMap(dims_of(out), tuple(strides[p] for p in perm))


def _transpose_gradient(op: Operation, dy: Tensor) -> Tensor:
    perm = attr_value(op, "perm")
    if perm == REVERSED:
        back: Any = REVERSED
    elif isinstance(perm, tuple):
        axes = _permutation(perm, len(perm))
        back = tuple(axes.index(i) for i in range(len(axes)))
    else:
        back = invert_permutation(perm)
    return apply(transpose_op, (dy,), {"perm": back})


transpose_op = register(
    OpDef(
        "transpose", _transpose_rule, lambda x, *, perm: np.transpose(x, _permutation(perm, x.ndim)),
        View(_transpose_map), _transpose_gradient, value_attrs=("perm",), node_name="transpose",
        onnx="Transpose",
    )
)  # fmt: skip


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """Permute the dimensions of `a`: dimension i of the result is ``perm[i]`` of `a`.

    Parameters
    ----------
    a : tensor
    perm : ints or tensor, optional
        The dimensions in the other order by default, so that a matrix is transposed.
    conjugate : bool
        Accepted for TensorFlow's sake: all dtypes are real.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.zeros([2, 3, 4])
    >>> gr.transpose(x).shape.as_list(), gr.transpose(x, [0, 2, 1]).shape.as_list()
    ([4, 3, 2], [2, 4, 3])
    """
    x = convert_to_tensor(a)
    wanted: Any = REVERSED
    if perm is not None:
        wanted = ints(perm, "transpose", "perm")
    elif x._shape is not None:
        wanted = tuple(range(len(x._shape) - 1, -1, -1))
    return apply(transpose_op, (x,), {"perm": wanted}, name)


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """Exchange the last two dimensions of `a`.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.matrix_transpose(gr.zeros([2, 3, 4])).shape.as_list()
    [2, 4, 3]
    """
    x = convert_to_tensor(a)
    if x._shape is None:
        with x.graph.name_scope(name):
            # The axes of a matrix, exchanged, behind the axes in front of them.
            n = rank(x)
            two, one = (apply("subtract", (n, convert_to_tensor(k, n.dtype, graph=x.graph))) for k in (2, 1))
            return transpose(x, concat([range_(two), stack([one, two])], 0))
    count = len(x._shape)
    perm = (*range(count - 2), count - 1, count - 2) if count >= 2 else (1, 0)  # the rule refuses the latter
    with x.graph.name_scope(name):
        return transpose(x, perm)


def _invert_rule(x: Spec) -> tuple[Spec]:
    require_rank(x.shape, 1, "x")
    if not x.dtype.is_integer:
        raise RuleError(f"x has dtype {x.dtype}", expected="an integer dtype")
    return (x,)


def _invert_numpy(x: np.ndarray) -> np.ndarray:
    if not np.array_equal(np.sort(x), np.arange(x.size)):
        shown = x.tolist() if x.size <= 10 else f"{x[:10].tolist()[:-1]}, ..."
        raise RuleError(
            f"{shown} is no permutation", expected=f"each of 0 ... {x.size - 1} once",
            kind=InvalidArgumentError,
        )  # fmt: skip
    result = np.empty_like(x)
    result[x] = np.arange(x.size, dtype=x.dtype)
    return result


def _invert_partial(op: Operation) -> Any:
    value = partial_value(op.inputs[0])
    if not isinstance(value, tuple) or sorted(v for v in value if v is not None) != list(range(len(value))):
        return None
    return tuple(value.index(i) for i in range(len(value)))


invert_permutation_op = register(
    OpDef(
        "invert_permutation", _invert_rule, _invert_numpy,
        None,  # on the host, which tells what is no permutation
        no_gradient, partial=_invert_partial, node_name="InvertPermutation", input_names=("x",),
    )
)  # fmt: skip


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """Return the permutation that undoes `x`: ``y[x[i]] = i``."""
    return apply(invert_permutation_op, (convert_to_tensor(x),), None, name)


# -- reverse ------------------------------------------------------------------------------------


def _reverse_rule(x: Spec, *, axis: Any) -> tuple[Spec]:
    axes = known_ints(axis)
    if x.shape is not None and axes is not None and None not in axes:
        normalize_axes(axes, len(x.shape))
    return (x,)


def _reverse_numpy(x: np.ndarray, *, axis: Any) -> np.ndarray:
    return np.flip(x, known_ints(axis))


def _reverse_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    shape = dims_of(out)
    strides = list(row_major_strides(shape))
    offset = 0
    for a in normalize_axes(attrs["axis"], len(shape)):
        offset += (shape[a] - 1) * strides[a]
        strides[a] = -strides[a]
    return AffineMap(shape, tuple(strides), max(offset, 0))


reverse_op = register(
    OpDef(
        "reverse", _reverse_rule, _reverse_numpy, View(_reverse_map),
        lambda op, dy: apply("reverse", (dy,), {"axis": attr_value(op, "axis")}),
        value_attrs=("axis",), node_name="ReverseV2", input_names=("tensor",),
    )
)  # fmt: skip


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """Turn `tensor` round along the given axes.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.reverse([[1, 2, 3]], [1])))
    [[3 2 1]]
    """
    return apply(reverse_op, (convert_to_tensor(tensor),), {"axis": ints(axis, "reverse", "axis")}, name)
