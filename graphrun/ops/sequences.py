"""Tensors that follow from positions: range, linspace, eye, one_hot, sequence_mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError, message
from graphrun.graph.apply import (
    apply,
    constant_value,
    convert_operands,
    convert_to_tensor,
    partial_value,
)
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import (
    attr_value,
    c_literal,
    dims_of,
    ints,
    is_tensor,
    one_int,
    scalar,
    static_int,
)
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.fill import broadcast_to, dtype_of, shape
from graphrun.shapes import format_shape, normalize_axis, row_major_strides


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


# -- range --------------------------------------------------------------------------------------


def _range_length(start: Any, limit: Any, delta: Any) -> int:
    if isinstance(start, int) and isinstance(limit, int) and isinstance(delta, int):
        return len(range(start, limit, delta))
    return max(0, math.ceil((limit - start) / delta))


def _range_rule(*, start: Any, limit: Any, delta: Any, dtype: DType) -> tuple[Spec]:
    start, limit, delta = _single(start), _single(limit), _single(delta)
    if delta == 0:
        raise RuleError("delta is 0", expected="a step other than 0")
    if start is None or limit is None or delta is None:
        return (Spec((None,), dtype),)
    if (limit - start) * delta < 0:
        raise RuleError(
            f"from {start} to {limit} in steps of {delta}",
            expected="limit >= start for a positive delta, limit <= start for a negative one",
        )
    return (Spec((_range_length(start, limit, delta),), dtype),)


def _range_numpy(*, start: Any, limit: Any, delta: Any, dtype: DType) -> np.ndarray:
    start, limit, delta = _single(start), _single(limit), _single(delta)
    index = np.arange(_range_length(start, limit, delta), dtype=np.int64)
    if dtype.is_integer:
        return (start + index * delta).astype(dtype.numpy)
    kind = np.dtype(np.float32) if dtype.name == "float16" else dtype.numpy
    return (kind.type(start) + index.astype(kind) * kind.type(delta)).astype(dtype.numpy)


def _range_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    start, delta = (_single(attrs[k]) for k in ("start", "delta"))
    kind = out.dtype.compute
    return f"r = {c_literal(start, out.dtype)} + ({kind})c0 * {c_literal(delta, out.dtype)};"


def _range_partial(op: Operation) -> Any:
    length = op.outputs[0]._shape[0]  # type: ignore[index]
    if length is None or length > 64 or op.value_attrs:
        return None
    start, delta = _single(op.attrs["start"]), _single(op.attrs["delta"])
    return tuple(start + i * delta for i in range(length))


range_op = register(
    OpDef(
        "range", _range_rule, _range_numpy, Index(_range_code), no_gradient,
        value_attrs=("start", "limit", "delta"), partial=_range_partial, node_name="range", onnx="Range",
    )
)  # fmt: skip


def _bound(value: Any, what: str, dtype: DType) -> Any:
    """A bound as a Python number, or as an integer tensor whose value is not known yet."""
    if is_tensor(value):
        t = convert_to_tensor(value)
        known = constant_value(t)
        if known is None and t.dtype.is_integer:
            return t
        if known is None:
            raise DTypeError(
                message(
                    f"{what} is the tensor '{t.name}' of dtype {t.dtype}",
                    where="range",
                    site=user_site(),
                    expected="a number, or an integer tensor",
                    fix="scale and shift a range of ints instead, or use gr.linspace",
                )
            )
        value = known
    return scalar(value, dtype if dtype.is_integer else dtype_of(value), "range", what).array.item()


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """Return the numbers from `start` up to, not including, `limit`, in steps of `delta`.

    With one argument, from 0 up to that.  The dtype is that of the arguments, int32 for Python ints.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.range(3, 18, 3)))
    [ 3  6  9 12 15]
    """
    if limit is None:
        start, limit = 0, start
    kind = _common_kind((start, limit, delta)) if dtype is None else as_dtype(dtype)
    bounds = {"start": start, "limit": limit, "delta": delta}
    attrs = {what: _bound(value, what, kind) for what, value in bounds.items()}
    return apply(range_op, (), {**attrs, "dtype": kind}, name)


def _common_kind(values: Sequence[Any]) -> DType:
    kinds = [convert_to_tensor(v).dtype if is_tensor(v) else dtype_of(v) for v in values]
    order = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)
    for kind in kinds:
        if kind not in order:
            return kind
    return max(kinds, key=order.index)


range_.__name__ = range_.__qualname__ = "range"

# -- linspace -----------------------------------------------------------------------------------


def _linspace_rule(start: Spec, stop: Spec, *, num: Any) -> tuple[Spec]:
    dtype = require_same_dtype(start, stop)
    require_kind(start, "floating", "start")
    for spec, what in ((start, "start"), (stop, "stop")):
        if spec.shape not in (None, ()):
            raise RuleError(f"{what} has shape {format_shape(spec.shape)}", expected="a scalar")
    num = _single(num)
    if num is not None and num < 1:
        raise RuleError(f"num is {num}", expected="1 or more")
    return (Spec((num,), dtype),)


def _linspace_numpy(start: np.ndarray, stop: np.ndarray, *, num: Any) -> np.ndarray:
    n = _single(num)
    kind = np.asarray(start).dtype
    wide = np.float32 if kind == np.float16 else kind
    a, b = np.asarray(start, wide), np.asarray(stop, wide)
    step = (b - a) / np.asarray(max(n - 1, 1), wide)
    result = (a + np.arange(n).astype(wide) * step).astype(kind)
    if n > 1:
        result[-1] = stop
    return result


def _linspace_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    n, kind = _single(attrs["num"]), out.dtype.compute
    if n == 1:
        return "r = LOAD0(0);"
    inner = f"LOAD0(0) + ({kind})c0 * ((LOAD1(0) - LOAD0(0)) / ({kind})({n - 1}))"
    return f"r = c0 == {n - 1}L ? LOAD1(0) : {inner};"


def _linspace_gradient(op: Operation, dy: Tensor) -> list[Tensor]:
    one = convert_to_tensor(np.ones((), dy.dtype.numpy), graph=dy.graph)
    zero = convert_to_tensor(np.zeros((), dy.dtype.numpy), graph=dy.graph)
    share = apply(linspace_op, (zero, one), {"num": attr_value(op, "num")})
    # A single element is the start, whatever the stop.
    to_stop = apply("sum", (dy * share,), {"axis": (0,), "keepdims": False})
    return [apply("sum", (dy,), {"axis": (0,), "keepdims": False}) - to_stop, to_stop]


linspace_op = register(
    OpDef(
        "linspace", _linspace_rule, _linspace_numpy, Index(_linspace_code), _linspace_gradient,
        value_attrs=("num",), node_name="LinSpace", input_names=("start", "stop"),
    )
)  # fmt: skip


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """Return `num` numbers at equal distances from `start` to `stop`, both included.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.linspace(10.0, 12.0, 3)))
    [10. 11. 12.]
    """
    a, b = convert_operands((start, stop))
    return apply(linspace_op, (a, b), {"num": one_int(num, "linspace", "num")}, name)


# -- eye ----------------------------------------------------------------------------------------


def _eye_rule(*, rows: Any, columns: Any, dtype: DType) -> tuple[Spec]:
    dims = (_single(rows), _single(columns))
    for d in dims:
        if d is not None and d < 0:
            raise RuleError(f"a size of {d}", expected="0 or more")
    return (Spec(dims, dtype),)


eye_op = register(
    OpDef(
        "eye", _eye_rule,
        lambda *, rows, columns, dtype: np.eye(_single(rows), _single(columns), dtype=dtype.numpy),
        Index(lambda specs, out, attrs: "r = c0 == c1;"), no_gradient, value_attrs=("rows", "columns"),
        node_name="eye", onnx="EyeLike",
    )
)  # fmt: skip


def eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return an identity matrix, or a batch of them of shape ``batch_shape + [num_rows, num_columns]``.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.eye(2, batch_shape=[3]).shape.as_list()
    [3, 2, 2]
    """
    rows = one_int(num_rows, "eye", "num_rows")
    columns = rows if num_columns is None else one_int(num_columns, "eye", "num_columns")
    matrix = apply(eye_op, (), {"rows": rows, "columns": columns, "dtype": as_dtype(dtype)}, name)
    if batch_shape is None:
        return matrix
    batch = ints(batch_shape, "eye", "batch_shape")
    if isinstance(batch, Tensor):
        from graphrun.ops.joining import concat

        inner = shape(matrix, out_type=batch.dtype)
        return broadcast_to(matrix, concat([batch, inner], 0), name)
    return broadcast_to(matrix, [*batch, rows, columns], name)


# -- one_hot ------------------------------------------------------------------------------------


def _one_hot_rule(
    indices: Spec, *, depth: Any, on: Constant, off: Constant, axis: int, dtype: DType
) -> tuple[Spec]:
    require_kind(indices, "integer", "indices")
    depth = _single(depth)
    if depth is not None and depth < 0:
        raise RuleError(f"depth is {depth}", expected="0 or more")
    if indices.shape is None:
        return (Spec(None, dtype),)
    at = normalize_axis(axis, len(indices.shape) + 1)
    return (Spec((*indices.shape[:at], depth, *indices.shape[at:]), dtype),)


def _one_hot_numpy(
    indices: np.ndarray, *, depth: Any, on: Constant, off: Constant, axis: int, dtype: DType
) -> np.ndarray:
    indices = np.asarray(indices)
    at = normalize_axis(axis, indices.ndim + 1)
    places = np.arange(_single(depth)).reshape((-1,) + (1,) * (indices.ndim - at))
    return np.where(np.expand_dims(indices, at) == places, on.array, off.array).astype(
        dtype.numpy, copy=False
    )


def _one_hot_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    source = dims_of(specs[0])
    at = normalize_axis(attrs["axis"], len(source) + 1)
    rest = [k for k in range(len(source) + 1) if k != at]
    terms = [f"c{k} * {s}L" for k, s in zip(rest, row_major_strides(source), strict=True)]
    on, off = (c_literal(attrs[k].array.item(), out.dtype) for k in ("on", "off"))
    return f"r = (long)LOAD0({' + '.join(terms) or '0'}) == c{at} ? {on} : {off};"


one_hot_op = register(
    OpDef(
        "one_hot", _one_hot_rule, _one_hot_numpy, Index(_one_hot_code), no_gradient, value_attrs=("depth",),
        node_name="one_hot", onnx="OneHot", input_names=("indices",),
    )
)  # fmt: skip


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """Return `on_value` (1) at the place that each index names along a new axis, `off_value` (0) elsewhere.

    Parameters
    ----------
    indices : integer tensor
        An index outside of ``0 ... depth - 1`` gives `off_value` throughout.
    depth : int
        Length of the new axis.
    on_value, off_value : number or scalar tensor, optional
    axis : int
        The new axis, the last by default.
    dtype : dtype, optional
        That of the values, or float32.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.one_hot([0, 2], 3)))
    [[1. 0. 0.]
     [0. 0. 1.]]
    """
    x = convert_to_tensor(indices)
    attrs: dict[str, Any] = {
        "depth": one_int(depth, "one_hot", "depth"),
        "axis": -1 if axis is None else static_int(axis, "one_hot", "axis"),
    }
    given = [v for v in (on_value, off_value) if v is not None]
    if dtype is not None:
        kind = as_dtype(dtype)
    elif given:
        kind = _value_kind(given)
    else:
        kind = dtypes.float32
    values = [1 if on_value is None else on_value, 0 if off_value is None else off_value]
    known = [constant_value(convert_to_tensor(v)) if is_tensor(v) else v for v in values]
    if any(v is None for v in known):
        attrs.update(on=_TRUE, off=_FALSE, dtype=dtypes.bool_)
        mask = apply(one_hot_op, (x,), attrs)
        on, off = (convert_to_tensor(v, kind, graph=x.graph) for v in values)
        from graphrun.ops.compare import where

        return where(mask, on, off, name)
    if kind.is_bool:
        known = [bool(v) for v in known]
    attrs.update(
        on=scalar(known[0], kind, "one_hot", "on_value"),
        off=scalar(known[1], kind, "one_hot", "off_value"),
        dtype=kind,
    )
    return apply(one_hot_op, (x,), attrs, name)


_TRUE, _FALSE = Constant(np.array(True)), Constant(np.array(False))


def _value_kind(values: Sequence[Any]) -> DType:
    for v in values:
        if is_tensor(v):
            return convert_to_tensor(v).dtype
    kinds = [dtype_of(v) for v in values]
    return next((k for k in kinds if k.is_floating), kinds[0])


# -- sequence_mask ------------------------------------------------------------------------------


def _mask_rule(lengths: Spec, *, maxlen: Any, dtype: DType) -> tuple[Spec]:
    require_kind(lengths, "integer", "lengths")
    maxlen = _single(maxlen)
    if maxlen is not None and maxlen < 0:
        raise RuleError(f"maxlen is {maxlen}", expected="0 or more")
    return (Spec(None if lengths.shape is None else (*lengths.shape, maxlen), dtype),)


def _mask_numpy(lengths: np.ndarray, *, maxlen: Any, dtype: DType) -> np.ndarray:
    return (np.arange(_single(maxlen)) < np.asarray(lengths)[..., None]).astype(dtype.numpy)


def _mask_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    last = len(out.shape) - 1  # type: ignore[arg-type]
    return f"r = c{last} < (long)LOAD0(i / {max(1, out.shape[last])}UL);"  # type: ignore[index, type-var]


sequence_mask_op = register(
    OpDef(
        "sequence_mask", _mask_rule, _mask_numpy, Index(_mask_code), no_gradient, value_attrs=("maxlen",),
        node_name="SequenceMask", input_names=("lengths",),
    )
)  # fmt: skip


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None
) -> Tensor:
    """Return a mask that is true at the first ``lengths[...]`` places of a new last axis.

    Parameters
    ----------
    lengths : integer tensor
    maxlen : int or scalar tensor, optional
        Length of the new axis; the largest of `lengths` by default, and the step is then planned anew for
        each value of it.
    dtype : dtype
        bool, or 1 and 0 of a number type.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.sequence_mask([1, 3], 3, gr.int32)))
    [[1 0 0]
     [1 1 1]]
    """
    x = convert_to_tensor(lengths)
    if maxlen is None:
        longest = partial_value(x)
        if isinstance(longest, tuple) and longest and None not in longest:
            maxlen = max(0, *longest)
        else:
            # The largest of no lengths would be the least integer.
            least = convert_to_tensor(0, x.dtype, graph=x.graph)
            maxlen = apply("maximum", (apply("max", (x,), {"axis": None, "keepdims": False}), least))
    attrs = {"maxlen": one_int(maxlen, "sequence_mask", "maxlen"), "dtype": as_dtype(dtype)}
    return apply(sequence_mask_op, (x,), attrs, name)
