"""What occurs in a tensor, and how often; parting and joining tensors by numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.descriptor import Index, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.arithmetic import clip_by_value, maximum, minimum
from graphrun.ops.attributes import dims_of, is_tensor, known_ints, require_rank, static_int
from graphrun.ops.compare import select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import floor
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.fill import ones_like, shape, zeros
from graphrun.ops.gather import take
from graphrun.ops.joining import concat, stack
from graphrun.ops.reduce import reduce_max, reduce_min, reduce_prod
from graphrun.ops.reshape import reshape
from graphrun.ops.scatter import scatter_nd, scatter_rows_op
from graphrun.ops.segments import unsorted_segment_sum
from graphrun.ops.sequences import range_
from graphrun.ops.state import IDENTITY
from graphrun.shapes import format_shape, is_compatible

# -- unique ---------------------------------------------------------------------------------------


def _unique_rule(x: Spec, *, out_idx: DType) -> tuple[Spec, Spec, Spec]:
    require_rank(x.shape, 1, "x")
    return Spec((None,), x.dtype), Spec(x.shape or (None,), out_idx), Spec((None,), out_idx)


def _unique_numpy(x: np.ndarray, *, out_idx: DType) -> tuple[np.ndarray, ...]:
    values, first, inverse, counts = np.unique(x, True, True, True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    kind = out_idx.numpy
    return values[order], rank[inverse.reshape(-1)].astype(kind), counts[order].astype(kind)


unique_op = register(
    OpDef(
        "unique", _unique_rule, _unique_numpy, None, no_gradient, node_name="Unique", onnx="Unique",
        input_names=("x",),
    )
)  # fmt: skip


class Unique(NamedTuple):
    """What `unique` returns."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """What `unique_with_counts` returns."""

    y: Tensor
    idx: Tensor
    count: Tensor  # type: ignore[assignment]  # TensorFlow's name, though a tuple has a method of it


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Unique:
    """Return the distinct entries of a vector, in the order in which they come, and where each entry is then.

    Parameters
    ----------
    x : tensor of rank 1
    out_idx : int32 or int64

    Returns
    -------
    y : Tensor
        How long it is depends on the values: what follows is planned when it is known.
    idx : Tensor
        ``y[idx]`` is `x`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.unique([4, 1, 4, 2])))
    Unique(y=array([4, 1, 2], dtype=int32), idx=array([0, 1, 0, 2], dtype=int32))
    """
    return Unique(*apply(unique_op, (convert_to_tensor(x),), {"out_idx": as_dtype(out_idx)}, name)[:2])


def unique_with_counts(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> UniqueWithCounts:
    """As `unique`, with how often each distinct entry occurs as a third result, `count`."""
    label = name or "UniqueWithCounts"
    found = apply(unique_op, (convert_to_tensor(x),), {"out_idx": as_dtype(out_idx)}, label)
    return UniqueWithCounts(*found)


# -- setdiff1d --------------------------------------------------------------------------------------


def _setdiff_rule(x: Spec, y: Spec, *, index_dtype: DType) -> tuple[Spec, Spec]:
    dtype = require_same_dtype(x, y)
    require_rank(x.shape, 1, "x")
    require_rank(y.shape, 1, "y")
    return Spec((None,), dtype), Spec((None,), index_dtype)


def _setdiff_numpy(x: np.ndarray, y: np.ndarray, *, index_dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    places = np.flatnonzero(~np.isin(x, y))
    return x[places], places.astype(index_dtype.numpy)


setdiff_op = register(
    OpDef(
        "setdiff1d", _setdiff_rule, _setdiff_numpy, None, no_gradient, node_name="ListDiff",
        input_names=("x", "y"),
    )
)  # fmt: skip


class ListDiff(NamedTuple):
    """What `setdiff1d` returns."""

    out: Tensor
    idx: Tensor


def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> ListDiff:
    """Return `out`, the entries of vector `x` that are not in vector `y`, and `idx`, their places in `x`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.setdiff1d([1, 2, 3, 4], [2, 4])))
    ListDiff(out=array([1, 3], dtype=int32), idx=array([0, 2], dtype=int32))
    """
    attrs = {"index_dtype": as_dtype(index_dtype)}
    return ListDiff(*apply(setdiff_op, convert_operands((x, y)), attrs, name))


# -- parting and joining ----------------------------------------------------------------------------


def _partition_rule(data: Spec, partitions: Spec, *, num: int) -> tuple[Spec, ...]:
    require_kind(partitions, "integer", "partitions")
    if num < 1:
        raise RuleError(f"num_partitions is {num}", expected="1 or more")
    if data.shape is None or partitions.shape is None:
        return (Spec(None, data.dtype),) * num
    rank = len(partitions.shape)
    if not is_compatible(data.shape[:rank], partitions.shape):
        raise RuleError(
            f"partitions has shape {format_shape(partitions.shape)}",
            expected=f"the first dimensions of data, of shape {format_shape(data.shape)}",
        )
    return (Spec((None, *data.shape[rank:]), data.dtype),) * num


def _partition_numpy(data: np.ndarray, partitions: np.ndarray, *, num: int) -> tuple[np.ndarray, ...]:
    flat = np.asarray(partitions).reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= num):
        raise RuleError(
            f"partitions holds {flat.min() if flat.min() < 0 else flat.max()}",
            expected=f"0 <= partition < {num}", kind=InvalidArgumentError,
        )  # fmt: skip
    rows = data.reshape(flat.size, *data.shape[np.ndim(partitions) :])
    return tuple(rows[flat == k] for k in range(num))


def _partition_gradient(op: Operation, *dys: Tensor | None) -> tuple[Tensor, None]:
    data, partitions = op.inputs
    parts = [apply("zeros_like", (y,)) if dy is None else dy for y, dy in zip(op.outputs, dys, strict=True)]
    dims = shape(partitions)
    numbers = reshape(range_(reduce_prod(dims)), dims)
    places = apply(partition_op, (numbers, partitions), dict(op.attrs))
    places = places if isinstance(places, tuple) else (places,)
    joined = concat(list(parts), 0)
    order = apply("argsort", (concat(list(places), 0),), {"descending": False})
    return reshape(take(joined, order, axis=0), shape(data)), None


partition_op = register(
    OpDef(
        "dynamic_partition", _partition_rule, _partition_numpy, None, _partition_gradient,
        node_name="DynamicPartition", input_names=("data", "partitions"),
    )
)  # fmt: skip


def dynamic_partition(
    data: Any, partitions: Any, num_partitions: int, name: str | None = None
) -> list[Tensor]:
    """Part the rows of `data` into `num_partitions` tensors, by the number of each.

    Parameters
    ----------
    data : tensor
    partitions : int32 tensor
        Its shape is that of the first dimensions of `data`.
    num_partitions : int

    Returns
    -------
    list of Tensor
        How many rows each has depends on the numbers: what follows is planned when they are known.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.dynamic_partition([10, 20, 30], [1, 0, 1], 2)))
    [array([20], dtype=int32), array([10, 30], dtype=int32)]
    """
    num = static_int(num_partitions, "dynamic_partition", "num_partitions")
    found = apply(partition_op, (convert_to_tensor(data), convert_to_tensor(partitions)), {"num": num}, name)
    return list(found) if isinstance(found, tuple) else [found]


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """Join the rows of several tensors: row k of the result is that whose index is k.

    Parameters
    ----------
    indices : list of integer tensors
    data : list of tensors
        The shape of each begins with that of its indices.  Of rows with one index the last counts.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.dynamic_stitch([[2], [0, 1]], [[30], [10, 20]])))
    [10 20 30]
    """
    if len(indices) != len(data) or not len(data):
        raise ShapeError(
            message(f"{len(indices)} indices for {len(data)} tensors", where="dynamic_stitch",
                    site=user_site(), expected="as many, and one or more")
        )  # fmt: skip
    places = [convert_to_tensor(i) for i in indices]
    parts = convert_operands(list(data))
    with parts[0].graph.name_scope(name or "DynamicStitch"):
        inner = None
        for i, x in zip(places, parts, strict=True):
            if i._shape is not None and x._shape is not None:
                inner = x._shape[len(i._shape) :]
                break
        if inner is None:
            raise ShapeError(
                message("tensors of unknown rank", where="dynamic_stitch", site=user_site(),
                        fix="state it with x.set_shape")
            )  # fmt: skip
        if None in inner:
            first = next(x for i, x in zip(places, parts, strict=True) if i._shape and x._shape)
            tail: Any = shape(first)[-len(inner) :]
        else:
            tail = convert_to_tensor(np.array(inner, np.int32), graph=parts[0].graph)
        flat = concat([reshape(i, [-1]) for i in places], 0)
        rows = concat([reshape(x, concat([[-1], tail], 0)) for x in parts], 0)
        none = convert_to_tensor(np.array([-1], flat.dtype.numpy), graph=flat.graph)
        count = reduce_max(concat([flat, none], 0), keepdims=True) + 1
        start = zeros(concat([cast(count, dtypes.int32), tail], 0), rows.dtype)
        return apply(scatter_rows_op, (start, flat, rows), {"mode": "update", "nd": False})


# -- counting ---------------------------------------------------------------------------------------


def _countable_rule(numbers: Spec, *, low: Any) -> tuple[Spec]:
    known = known_ints(low)
    if known and known[0] is not None and known[0] < 0:
        raise RuleError(
            f"arr must be non-negative, and holds {known[0]}", expected="numbers from 0", fix="use gr.maximum"
            "(arr, 0), or gr.boolean_mask(arr, arr >= 0)", kind=InvalidArgumentError,
        )  # fmt: skip
    return (numbers,)


# The least number arrives as an attribute, and so is looked at on every device, before numbers are counted.
countable_op = register(
    OpDef(
        "countable", _countable_rule, lambda numbers, *, low: numbers, IDENTITY, no_gradient,
        value_attrs=("low",), input_names=("numbers",),
    )
)  # fmt: skip


def bincount(
    arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return how often each number 0, 1, ... occurs in `arr`, or the sums of `weights` there.

    Parameters
    ----------
    arr : integer tensor
        Of any shape, without negative numbers.
    weights : tensor of the same shape, optional
        Its dtype is that of the result.
    minlength, maxlength : int or int tensor, optional
        Bounds of the result's length, which else depends on the largest number; larger numbers are left
        out.
    dtype : dtype
        Of the result without weights.

    Raises
    ------
    InvalidArgumentError
        In the run, where a number is negative.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.bincount([1, 1, 3])))
    [0 2 0 1]
    """
    x = convert_to_tensor(arr)
    with x.graph.name_scope(name or "bincount"):
        flat = reshape(x, [-1])
        none = convert_to_tensor(np.array([-1], x.dtype.numpy), graph=x.graph)
        length = reduce_max(concat([flat, none], 0)) + 1
        # Zero if all is well, so that batches share a plan.
        low = reduce_min(concat([flat, zeros([1], x.dtype)], 0))
        flat = apply(countable_op, (flat,), {"low": low})
        if minlength is not None:
            length = maximum(length, minlength)
        if maxlength is not None:
            length = minimum(length, maxlength)
            flat = select(flat < cast(length, flat.dtype), flat, -1)
        if weights is None:
            values = cast(ones_like(flat), as_dtype(dtype))
        else:
            values = reshape(convert_to_tensor(weights), [-1])
        return unsorted_segment_sum(values, flat, length)


def histogram_fixed_width_bins(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
) -> Tensor:
    """Return the bin of each value: `value_range` in `nbins` equal parts, the outer ones without end."""
    x = convert_to_tensor(values)
    with x.graph.name_scope(name or "histogram_fixed_width_bins"):
        limits = convert_to_tensor(value_range, x.dtype, graph=x.graph)
        low, high = limits[0], limits[1]
        count = convert_to_tensor(nbins, dtypes.int32, graph=x.graph)
        if x.dtype.is_floating:
            scaled = floor((x - low) / (high - low) * cast(count, x.dtype))
            top = cast(count - 1, x.dtype)
            return cast(
                clip_by_value(scaled, convert_to_tensor(0, x.dtype, graph=x.graph), top), as_dtype(dtype)
            )
        wide = dtypes.float64
        scaled = floor(cast(x - low, wide) / cast(high - low, wide) * cast(count, wide))
        top = cast(count - 1, wide)
        return cast(clip_by_value(scaled, convert_to_tensor(0, wide, graph=x.graph), top), as_dtype(dtype))


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
) -> Tensor:
    """Return how many values lie in each of `nbins` equal parts of `value_range`.

    Parameters
    ----------
    values : numeric tensor
    value_range : pair of numbers, or tensor of shape (2,)
        What is below counts into the first bin, what is above into the last.
    nbins : int or int tensor
    dtype : dtype
        Of the result.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.histogram_fixed_width([-1.0, 0.0, 1.5, 2.0, 5.0, 15.0], [0.0, 5.0], 5)))
    [2 1 1 0 2]
    """
    x = convert_to_tensor(values)
    with x.graph.name_scope(name or "histogram_fixed_width"):
        bins = reshape(histogram_fixed_width_bins(x, value_range, nbins), [-1])
        return unsorted_segment_sum(cast(ones_like(bins), as_dtype(dtype)), bins, nbins)


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    weights: Any = None,
) -> Tensor:
    """Return how often each label (row) was predicted as each class (column).

    Parameters
    ----------
    labels, predictions : integer tensors of rank 1
    num_classes : int or int tensor, optional
        One more than the largest number in either, unless given.
    dtype : dtype
    weights : tensor of rank 1, optional
        What each prediction counts, instead of 1.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.confusion_matrix([0, 1, 1], [0, 1, 0])))
    [[1 0]
     [1 1]]
    """
    a, b = (convert_to_tensor(v) for v in (labels, predictions))
    with a.graph.name_scope(name or "confusion_matrix"):
        a, b = (reshape(cast(t, dtypes.int64), [-1]) for t in (a, b))
        n: Any = num_classes
        if n is None:
            n = maximum(reduce_max(a), reduce_max(b)) + 1
        if not is_tensor(n):
            n = convert_to_tensor(n, dtypes.int64, graph=a.graph)
        n = cast(convert_to_tensor(n), dtypes.int64)
        kind = as_dtype(dtype)
        if weights is None:
            values = cast(ones_like(b), kind)
        else:
            values = cast(convert_to_tensor(weights), kind)
        return scatter_nd(stack([a, b], 1), values, stack([n, n]))


# -- searchsorted -----------------------------------------------------------------------------------


def _search_rule(table: Spec, values: Spec, *, side: str, out_type: DType) -> tuple[Spec]:
    require_same_dtype(table, values)
    require_kind(table, "numeric", "sorted_sequence")
    if table.shape is not None and values.shape is not None:
        if not table.shape or not values.shape:
            raise RuleError("a scalar", expected="rank 1 or more for both")
        if not is_compatible(table.shape[:-1], values.shape[:-1]):
            raise RuleError(
                f"batch dimensions differ, {format_shape(table.shape[:-1])}"
                f" != {format_shape(values.shape[:-1])}"
            )
    return (Spec(values.shape, out_type),)


def _search_numpy(table: np.ndarray, values: np.ndarray, *, side: str, out_type: DType) -> np.ndarray:
    rows = math.prod(table.shape[:-1])
    tables, wanted = table.reshape(rows, table.shape[-1]), values.reshape(rows, values.shape[-1])
    found = np.empty(wanted.shape, out_type.numpy)
    for k in range(rows):
        found[k] = np.searchsorted(tables[k], wanted[k], "left" if side == "left" else "right")
    return found.reshape(values.shape)


def _search_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    n, m = dims_of(specs[0])[-1], max(1, dims_of(out)[-1])
    before = (
        "LOAD0(base + middle) < wanted" if attrs["side"] == "left" else "!(wanted < LOAD0(base + middle))"
    )
    return (
        f"const long base = (long)(i / {m}UL) * {n}L; long low = 0, high = {n}L;"
        f" const {specs[0].dtype.compute} wanted = LOAD1(i);"
        " while (low < high) { const long middle = low + (high - low) / 2;"
        f" if ({before}) low = middle + 1; else high = middle; }}"
        " r = low;"
    )


search_op = register(
    OpDef(
        "searchsorted", _search_rule, _search_numpy, Index(_search_code), no_gradient,
        node_name="searchsorted", input_names=("sorted_sequence", "values"),
    )
)  # fmt: skip


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """Return where each value would have to be put into its row of `sorted_sequence` to keep it sorted.

    Parameters
    ----------
    sorted_sequence : numeric tensor of shape (..., n)
    values : tensor of shape (..., m)
    side : {"left", "right"}
        Before or behind equal entries.
    out_type : int32 or int64

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.searchsorted([1, 3, 5], [0, 3, 9])))
    [0 1 3]
    """
    if side not in ("left", "right"):
        raise DTypeError(
            message(f"side is {side!r}", where="searchsorted", site=user_site(), expected="'left' or 'right'")
        )
    attrs = {"side": side, "out_type": as_dtype(out_type)}
    return apply(search_op, convert_operands((sorted_sequence, values)), attrs, name)
