"""Operations that give the same elements, in their order, another shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.attributes import attr_value, ints, known_ints, one_int, shape_attr
from graphrun.ops.state import IDENTITY
from graphrun.shapes import (
    Dim,
    Shape,
    format_shape,
    is_static,
    normalize_axes,
    normalize_axis,
    num_elements,
)

# -- reshape ------------------------------------------------------------------------------------


def _reshape_rule(x: Spec, *, shape: Any) -> tuple[Spec]:
    dims = known_ints(shape)
    if dims is None:
        return (Spec(None, x.dtype),)
    return (Spec(_reshaped(x.shape, dims), x.dtype),)


def _reshaped(source: Shape, dims: tuple[Dim, ...]) -> Shape:
    """The shape that reshaping to `dims` gives; None in `dims` is a dimension not known yet, or -1."""
    for d in dims:
        if d is not None and d < -1:
            raise RuleError(
                f"dimension {d} in shape {format_shape(dims)}", expected="dimensions of 0 or more, or one -1"
            )
    if dims.count(-1) > 1:
        raise RuleError(
            f"several -1 in shape {format_shape(dims)}", expected="at most one dimension to be computed"
        )
    open_at = [i for i, d in enumerate(dims) if d is None or d == -1]
    product = 1
    for d in dims:
        if d is not None and d != -1:
            product *= d
    count = num_elements(source)
    if count is None:
        if not open_at and source is not None:
            factor = 1
            for d in source:
                factor *= 1 if d is None else d
            if (product % factor if factor else product) != 0:
                raise _misfit(source, "a multiple of " + str(factor), dims, product)
        return tuple(None if d == -1 else d for d in dims)
    if not open_at:
        if product != count:
            raise _misfit(source, str(count), dims, product)
        return dims
    if product == 0:
        if -1 in dims and count:
            raise _misfit(source, str(count), dims, 0)
        if len(open_at) == 1 and -1 in dims:
            raise RuleError(
                f"-1 in shape {format_shape(dims)} can be any number, for an input of 0 elements",
                fix="write the dimension in place of -1",
            )
        return tuple(None if d == -1 else d for d in dims)
    if count % product:
        raise RuleError(
            f"{count} elements of shape {format_shape(source)} cannot become shape {format_shape(dims)}",
            expected=f"a multiple of {product} elements",
        )
    if len(open_at) > 1:
        return tuple(None if d == -1 else d for d in dims)
    return tuple(count // product if d is None or d == -1 else d for d in dims)


def _misfit(source: Shape, count: str, dims: tuple[Dim, ...], product: int) -> RuleError:
    return RuleError(
        f"{count} elements of shape {format_shape(source)} cannot become shape {format_shape(dims)},"
        f" which has {product}",
        expected="the same number of elements",
        fix="write -1 for one dimension to have it computed",
    )


def same_elements(op: Operation) -> Any:
    """What is known of an integer value whose shape alone changes."""
    value, shape = partial_value(op.inputs[0]), op.outputs[0]._shape
    if value is None or shape is None or len(shape) > 1:
        return None
    if shape == ():
        return (value[0] if len(value) == 1 else None) if isinstance(value, tuple) else value
    return value if isinstance(value, tuple) else (value,)


def _reshape_gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(reshape_op, (dy,), {"shape": shape_attr(op.inputs[0])})


reshape_op = register(
    OpDef(
        "reshape", _reshape_rule, lambda x, *, shape: x.reshape(shape), IDENTITY, _reshape_gradient,
        value_attrs=("shape",), partial=same_elements, node_name="Reshape", onnx="Reshape",
        input_names=("tensor",),
    )
)  # fmt: skip


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """Return the elements of `tensor`, in their order, with another shape.

    Parameters
    ----------
    tensor : tensor
    shape : ints, tensor, or list of both
        One dimension may be -1: it is computed from the number of elements.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.reshape(gr.zeros([2, 6]), [-1, 4]).shape.as_list()
    [3, 4]
    """
    return apply(reshape_op, (convert_to_tensor(tensor),), {"shape": ints(shape, "reshape", "shape")}, name)


# -- expand_dims, squeeze -----------------------------------------------------------------------


def _expand_dims_rule(x: Spec, *, axis: Any) -> tuple[Spec]:
    if isinstance(axis, tuple):
        axis = axis[0]
    if x.shape is None:
        return (Spec(None, x.dtype),)
    if axis is None:
        return (Spec((None,) * (len(x.shape) + 1), x.dtype),)
    at = normalize_axis(axis, len(x.shape) + 1)
    return (Spec((*x.shape[:at], 1, *x.shape[at:]), x.dtype),)


def _expand_dims_numpy(x: np.ndarray, *, axis: Any) -> np.ndarray:
    return np.expand_dims(x, axis[0] if isinstance(axis, tuple) else axis)


def _expand_dims_gradient(op: Operation, dy: Tensor) -> Tensor:
    axis = attr_value(op, "axis")
    if isinstance(axis, int):
        return apply(squeeze_op, (dy,), {"axis": (axis,)})
    return _reshape_gradient(op, dy)


expand_dims_op = register(
    OpDef(
        "expand_dims", _expand_dims_rule, _expand_dims_numpy, IDENTITY, _expand_dims_gradient,
        value_attrs=("axis",), partial=same_elements, node_name="ExpandDims",
        onnx="Unsqueeze", input_names=("input",),
    )
)  # fmt: skip


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """Insert a dimension of 1 at `axis` (-1: behind the last), which may be a list of one number.

    `dim` is the older name.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.expand_dims(gr.zeros([2, 3]), -1).shape.as_list()
    [2, 3, 1]
    """
    wanted = axis if axis is not None else dim
    if isinstance(wanted, list | tuple) and len(wanted) == 1:
        wanted = wanted[0]
    return apply(
        expand_dims_op, (convert_to_tensor(input),), {"axis": one_int(wanted, "expand_dims", "axis")}, name
    )


def _squeeze_rule(x: Spec, *, axis: tuple[int, ...]) -> tuple[Spec]:
    if x.shape is None:
        return (Spec(None, x.dtype),)
    if not axis:
        if None in x.shape:
            return (Spec(None, x.dtype),)
        return (Spec(tuple(d for d in x.shape if d != 1), x.dtype),)
    axes = normalize_axes(axis, len(x.shape))
    for a in axes:
        if x.shape[a] not in (1, None):
            raise RuleError(
                f"dimension {a} of shape {format_shape(x.shape)} is {x.shape[a]}",
                expected="dimensions of 1 to squeeze",
                fix="use gr.reshape to join dimensions, or x[..., 0] to take one entry",
            )
    return (Spec(tuple(d for i, d in enumerate(x.shape) if i not in axes), x.dtype),)


def _squeeze_gradient(op: Operation, dy: Tensor) -> Tensor:
    axis, dims = op.attrs["axis"], op.inputs[0]._shape
    if len(axis) == 1 and dims is not None and not is_static(dims):
        return apply(expand_dims_op, (dy,), {"axis": normalize_axis(axis[0], len(dims))})
    return _reshape_gradient(op, dy)


squeeze_op = register(
    OpDef(
        "squeeze", _squeeze_rule, lambda x, *, axis: np.squeeze(x, axis or None), IDENTITY, _squeeze_gradient,
        partial=same_elements, node_name="Squeeze", onnx="Squeeze", input_names=("input",),
    )
)  # fmt: skip


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """Remove dimensions of 1: those in `axis`, or all of them; `squeeze_dims` is the older name.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.zeros([1, 2, 1, 3])
    >>> gr.squeeze(x).shape.as_list(), gr.squeeze(x, [0]).shape.as_list()
    ([2, 3], [2, 1, 3])
    """
    wanted = axis if axis is not None else squeeze_dims
    axes = () if wanted is None else ints(wanted, "squeeze", "axis")
    if not isinstance(axes, tuple):
        known = partial_value(convert_to_tensor(axes))
        axes = ints(known, "squeeze", "axis")  # entries that are not known are told as None
    return apply(squeeze_op, (convert_to_tensor(input),), {"axis": axes}, name)
