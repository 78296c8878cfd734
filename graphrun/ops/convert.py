"""Conversion between dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register


def _cast_numpy(x: Any, *, dtype: DType) -> Any:
    x = np.asarray(x)
    if x.dtype.kind == "c" and not dtype.is_complex:
        x = x.real
    if x.dtype.kind != "f" or not dtype.is_integer:
        return x.astype(dtype.numpy)
    if x.dtype.itemsize < 4:  # float16 cannot hold the limits that are compared with
        x = x.astype(np.float32)
    low, high = _float_limits(dtype, x.dtype)
    if x.size == 0 or (x.min() >= low and x.max() <= high):
        return x.astype(dtype.numpy)
    # What C leaves undefined differs between CPUs: here NaN is 0, and the rest goes to the nearest limit.
    inside = np.where((x >= low) & (x <= high), x, 0).astype(dtype.numpy)
    return np.where(x > high, dtype.max, np.where(x < low, dtype.min, inside)).astype(dtype.numpy)


def _float_limits(dtype: DType, source: Any) -> tuple[Any, Any]:
    """The smallest and largest floats that are inside of an integer type's range."""
    low, high = source.type(dtype.min), source.type(dtype.max)
    if int(high) > dtype.max:
        high = np.nextafter(high, source.type(0))
    return low, high


def _cast_code(attrs: Mapping[str, Any], inputs: Sequence[DType], out: DType) -> str:
    source = inputs[0]
    if source is out:
        return "a"
    if out.is_bool:
        return "gr_ne(a, ({T})0)"
    if source.is_floating and out.is_integer:
        # NaN becomes 0, as OpenCL has it; not every driver does so for every type.
        return "convert_{O}_sat(gr_where(gr_ne(a, a), ({T})0, a))"
    return "convert_{O}(a)"


def _cast_gradient(op: Operation, dy: Tensor) -> Tensor | None:
    smooth = [t.dtype.is_floating or t.dtype.is_complex for t in (op.inputs[0], dy)]
    return cast(dy, op.inputs[0].dtype) if all(smooth) else None


def _cast_partial(op: Operation) -> Any:
    x = op.inputs[0]
    if not (x.dtype.is_integer and op.attrs["dtype"].is_integer):
        return None
    known = partial_value(x)
    items = known if isinstance(known, tuple) else (known,)
    limits = op.attrs["dtype"]
    return known if all(v is None or limits.min <= v <= limits.max for v in items) else None


cast_op = register(
    OpDef(
        "cast", lambda x, *, dtype: (Spec(x.shape, dtype),), _cast_numpy, Expr(_cast_code, flops=0),
        _cast_gradient, partial=_cast_partial, node_name="Cast", onnx="Cast", input_names=("x",),
    )
)  # fmt: skip


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Convert `x`, a tensor or a `SparseTensor`, to another dtype.

    Notes
    -----
    From floating point to integer, fractions are cut off, NaN becomes 0, and what is out of range becomes
    the nearest limit, on every device.  Between integer types the low bits are kept.  A number becomes
    True where it is not 0.  Gradients flow between floating dtypes and stop at others.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.cast([1.7, -1.7, float("inf")], gr.int32)))
    [         1         -1 2147483647]
    """
    if hasattr(x, "_with_values"):  # a SparseTensor
        return x._with_values(cast(x.values, dtype, name))
    tensor, target = convert_to_tensor(x), as_dtype(dtype)
    if tensor.dtype is target:
        return tensor
    return apply(cast_op, (tensor,), {"dtype": target}, name)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """Convert `value`; what is out of the range of `dtype` becomes the nearest limit."""
    from graphrun.ops.arithmetic import maximum, minimum

    x, target = convert_to_tensor(value), as_dtype(dtype)
    if target.is_integer and x.dtype.is_integer:
        if x.dtype.min < target.min:
            x = maximum(x, target.min)
        if x.dtype.max > target.max:
            x = minimum(x, target.max)
    elif target.is_floating and x.dtype.is_floating and target.size_bytes < x.dtype.size_bytes:
        x = minimum(maximum(x, float(target.min)), float(target.max))
    return cast(x, target, name)


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    """Convert to float32."""
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    """Convert to float64."""
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    """Convert to int32."""
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    """Convert to int64."""
    return cast(x, dtypes.int64, name)
