"""Shapes as tensors, and tensors of one repeated value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError
from graphrun.graph.apply import apply, convert_to_tensor, make_constant
from graphrun.graph.descriptor import AffineMap, Expr, Spec, View
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, no_gradient, register
from graphrun.ops.attributes import c_literal, dims_of, ints, is_tensor, known_ints, scalar, shape_attr
from graphrun.shapes import Shape, format_shape, is_static, num_elements, row_major_strides

# -- shape, size, rank --------------------------------------------------------------------------
# The compiler computes these from the concrete shape alone, so the input itself is never read.


def _integer_out(out_type: DType) -> None:
    if not out_type.is_integer:
        raise RuleError(f"out_type is {out_type}", expected="an integer dtype", kind=DTypeError)


def _shape_rule(x: Spec, *, out_type: DType) -> tuple[Spec]:
    _integer_out(out_type)
    return (Spec((None if x.shape is None else len(x.shape),), out_type),)


def _scalar_rule(x: Spec, *, out_type: DType) -> tuple[Spec]:
    _integer_out(out_type)
    return (Spec((), out_type),)


shape_op = register(
    OpDef(
        "shape", _shape_rule, lambda x, *, out_type: np.array(x.shape, out_type.numpy), gradient=no_gradient,
        partial=lambda op: op.inputs[0]._shape, node_name="Shape", onnx="Shape", input_names=("x",),
    )
)  # fmt: skip
size_op = register(
    OpDef(
        "size", _scalar_rule, lambda x, *, out_type: np.array(x.size, out_type.numpy), gradient=no_gradient,
        partial=lambda op: num_elements(op.inputs[0]._shape), node_name="Size", onnx="Size",
        input_names=("x",),
    )
)  # fmt: skip
rank_op = register(
    OpDef(
        "rank", _scalar_rule, lambda x, *, out_type: np.array(x.ndim, out_type.numpy), gradient=no_gradient,
        partial=lambda op: None if op.inputs[0]._shape is None else len(op.inputs[0]._shape),
        node_name="Rank", input_names=("x",),
    )
)  # fmt: skip


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """Return the shape of `input` as an integer vector.

    Where the whole shape is known already, it is a constant.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default():
    ...     x = gr.placeholder(gr.float32, (None, 784))
    ...     y = gr.reshape(x, [gr.shape(x)[0], 28, 28])
    >>> print(y.shape)
    (?, 28, 28)
    """
    x, dtype = convert_to_tensor(input), as_dtype(out_type)
    if is_static(x._shape) and dtype.is_integer:
        return make_constant(np.array(x._shape, dtype.numpy), x.graph, name or "Shape")
    return apply(shape_op, (x,), {"out_type": dtype}, name)


def shape_n(input: Sequence[Any], out_type: Any = dtypes.int32, name: str | None = None) -> list[Tensor]:
    """Return the shape of each tensor of a list."""
    return [shape(x, name, out_type) for x in input]


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """Return the number of elements of `input`."""
    x, dtype = convert_to_tensor(input), as_dtype(out_type)
    count = num_elements(x._shape)
    if count is not None and dtype.is_integer:
        return make_constant(np.array(count, dtype.numpy), x.graph, name or "Size")
    return apply(size_op, (x,), {"out_type": dtype}, name)


def rank(input: Any, name: str | None = None) -> Tensor:
    """Return the number of dimensions of `input`."""
    x = convert_to_tensor(input)
    if x._shape is not None:
        return make_constant(np.array(len(x._shape), np.int32), x.graph, name or "Rank")
    return apply(rank_op, (x,), {"out_type": dtypes.int32}, name)


# -- one repeated value -------------------------------------------------------------------------


def checked_shape(shape: Any) -> Shape:
    """The value of a ``shape`` attribute as a static shape, as far as it is known."""
    dims = known_ints(shape)
    for d in dims or ():
        if d is not None and d < 0:
            raise RuleError(
                f"dimension {d} in shape {format_shape(dims)}", expected="dimensions of 0 or more"
            )
    return dims


def _fill_rule(*, shape: Any, value: Constant, dtype: DType) -> tuple[Spec]:
    return (Spec(checked_shape(shape), dtype),)


def _fill_partial(op: Operation) -> Any:
    dims = op.outputs[0]._shape
    value = op.attrs["value"].array.item()
    if dims == ():
        return value
    return (
        (value,) * dims[0]
        if dims is not None and len(dims) == 1 and dims[0] is not None and dims[0] <= 64
        else None
    )


fill_op = register(
    OpDef(
        "fill", _fill_rule, lambda *, shape, value, dtype: np.full(shape, value.array, dtype.numpy),
        Expr(lambda attrs, ins, out: c_literal(attrs["value"].array.item(), out), flops=0),
        no_gradient, value_attrs=("shape",), partial=_fill_partial, node_name="Fill", onnx="ConstantOfShape",
    )
)  # fmt: skip


def _broadcast_to_rule(x: Spec, *, shape: Any) -> tuple[Spec]:
    dims = checked_shape(shape)
    if dims is None or x.shape is None:
        return (Spec(dims, x.dtype),)
    fits = len(x.shape) <= len(dims) and all(
        d is None or s is None or d == s or d == 1
        for d, s in zip(reversed(x.shape), reversed(dims), strict=False)
    )
    if not fits:
        raise RuleError(
            f"shape {format_shape(x.shape)} cannot be broadcast to {format_shape(dims)}",
            expected="dimensions that are equal, or 1 in the input, from the right",
        )
    return (Spec(dims, x.dtype),)


def _broadcast_map(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any], index: int) -> AffineMap:
    source = dims_of(specs[0])
    target = dims_of(out)
    strides = tuple(0 if d == 1 else s for d, s in zip(source, row_major_strides(source), strict=True))
    return AffineMap(target, (0,) * (len(target) - len(source)) + strides)


def _broadcast_to_gradient(op: Operation, dy: Tensor) -> Tensor:
    from graphrun.ops.reduce import sum_to_shape

    return sum_to_shape(dy, shape_attr(op.inputs[0]))


broadcast_to_op = register(
    OpDef(
        "broadcast_to", _broadcast_to_rule, lambda x, *, shape: np.broadcast_to(x, shape),
        View(_broadcast_map), _broadcast_to_gradient, value_attrs=("shape",), node_name="BroadcastTo",
        onnx="Expand", input_names=("input",),
    )
)  # fmt: skip


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """Repeat `input` to `shape`, by NumPy's rule: dimensions of 1, and missing ones in front.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.broadcast_to(gr.constant([1, 2, 3]), (2, 3)).shape.as_list()
    [2, 3]
    """
    x = convert_to_tensor(input)
    return apply(broadcast_to_op, (x,), {"shape": ints(shape, "broadcast_to", "shape")}, name)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """Return a tensor of shape `dims` in which each element is `value`, a number or a scalar tensor.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.fill([2, 3], 9.0)
    <gr.Tensor 'Fill...' shape=(2, 3) dtype=float32>
    """
    if is_tensor(value):
        x = convert_to_tensor(value)
        return apply(broadcast_to_op, (x,), {"shape": ints(dims, "fill", "dims")}, name or "Fill")
    array = scalar(value, dtype_of(value), "fill", "value")
    return _filled(dims, array, as_dtype(array.array.dtype), name, "fill")


def dtype_of(value: Any) -> DType:
    """The dtype that a Python or NumPy number has as a tensor."""
    from graphrun.graph.apply import as_array

    return as_dtype(as_array(value).dtype)


def _filled(dims: Any, value: Constant, dtype: DType, name: str | None, where: str) -> Tensor:
    attrs = {"shape": ints(dims, where, "shape"), "value": value, "dtype": dtype}
    return apply(fill_op, (), attrs, name)


# One `Constant` for all zeros and ones of a dtype: they are made often, in gradients above all.
_numbers: dict[tuple[str, int], Constant] = {}


def _number(number: int, dtype: DType) -> Constant:
    found = _numbers.get((dtype.name, number))
    if found is None:
        found = _numbers[dtype.name, number] = Constant(np.array(number, dtype.numpy))
    return found


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Return a tensor of zeros; `shape` may be a tensor, or hold tensors.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.zeros([2, 3], gr.int32)
    <gr.Tensor 'zeros...' shape=(2, 3) dtype=int32>
    """
    kind = as_dtype(dtype)
    return _filled(shape, _number(0, kind), kind, name or "zeros", "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Return a tensor of ones; `shape` may be a tensor, or hold tensors."""
    kind = as_dtype(dtype)
    return _filled(shape, _number(1, kind), kind, name or "ones", "ones")


def _like(number: int, name: str) -> Callable[..., Tensor]:
    def function(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
        x = convert_to_tensor(tensor)
        kind = x.dtype if dtype is None else as_dtype(dtype)
        attrs = {"shape": shape_attr(x), "value": _number(number, kind), "dtype": kind}
        if is_static(x._shape):
            return x.graph.create_operation(fill_op, (), attrs, name or default).outputs[0]
        return apply(fill_op, (), attrs, name or default)

    default = function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return a tensor of {name[:-5]} with the shape of `tensor`, and its dtype where `dtype` is left out."
        "\n\n"
        "    `optimize` is accepted for TensorFlow's sake."
    )
    return function


zeros_like = _like(0, "zeros_like")
ones_like = _like(1, "ones_like")
