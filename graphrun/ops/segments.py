"""Sums, means, products and extremes of the rows that carry one number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphrun.dtypes import int32, int64
from graphrun.errors import InvalidArgumentError, RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, register
from graphrun.ops.arithmetic import maximum
from graphrun.ops.attributes import attr_value, dims_of, known_ints, one_int
from graphrun.ops.compare import equal, select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import sqrt
from graphrun.ops.families import require_kind
from graphrun.ops.fill import ones_like, shape
from graphrun.ops.gather import sum_rows, take
from graphrun.ops.joining import concat
from graphrun.ops.reduce import reduce_max
from graphrun.ops.reshape import reshape
from graphrun.shapes import format_shape, is_compatible

_FUNCTIONS = {"prod": np.multiply, "max": np.maximum, "min": np.minimum}


def _neutral(mode: str, dtype: np.dtype[Any]) -> Any:
    """What a segment of no rows gives."""
    if mode in ("sum", "prod"):
        return dtype.type(mode == "prod")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min if mode == "max" else limits.max


def _rule(data: Spec, ids: Spec, *, num: Any, mode: str, ordered: bool = False) -> tuple[Spec]:
    require_kind(data, "numeric", "data")
    require_kind(ids, "integer", "segment_ids")
    count = known_ints(num)
    count = count[0] if count is not None else None
    if count is not None and count < 0:
        raise RuleError(f"num_segments is {count}", expected="0 or more")
    if data.shape is None or ids.shape is None:
        return (Spec(None, data.dtype),)
    rank = len(ids.shape)
    if not is_compatible(data.shape[:rank], ids.shape):
        raise RuleError(
            f"segment_ids has shape {format_shape(ids.shape)}",
            expected=f"the first dimensions of data, of shape {format_shape(data.shape)}",
        )
    return (Spec((count, *data.shape[rank:]), data.dtype),)


def _check_ids(ids: np.ndarray, count: int, ordered: bool) -> None:
    wrong = ids >= count
    expected = f"0 <= number < {count}, or a negative one for a row that is left out"
    if ordered:
        wrong = wrong | (ids < 0) | np.r_[False, ids[1:] < ids[:-1]]
        expected = "numbers from 0 in ascending order"
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"segment_ids[{', '.join(map(str, at))}]" if at else "segment_ids"
        before = f", behind {ids[at[0] - 1]}" if ordered and at[0] else ""
        raise RuleError(f"{where} is {ids[at]}{before}", expected=expected, kind=InvalidArgumentError)


def _numpy(data: np.ndarray, ids: np.ndarray, *, num: Any, mode: str, ordered: bool = False) -> np.ndarray:
    count = num[0] if isinstance(num, tuple) else num
    ids = np.asarray(ids)
    _check_ids(ids, count, ordered)
    rest = data.shape[ids.ndim :]
    rows = data.reshape(ids.size, math.prod(rest))
    flat = ids.reshape(-1).astype(np.int64)
    kept = flat >= 0
    if not kept.all():
        rows, flat = rows[kept], flat[kept]
    if mode == "sum":
        if rows.size == 0 or count == 0:
            return np.zeros((count, *rest), data.dtype)
        return sum_rows(rows, flat, count).reshape(count, *rest)
    result = np.full((count, rows.shape[1]), _neutral(mode, data.dtype), data.dtype)
    order = np.argsort(flat, kind="stable")
    walked = flat[order]
    if walked.size and rows.shape[1]:
        first = np.flatnonzero(np.r_[True, walked[1:] != walked[:-1]])
        result[walked[first]] = _FUNCTIONS[mode].reduceat(rows[order], first, axis=0, dtype=data.dtype)
    return result.reshape(count, *rest)


def _expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    data, ids = inputs
    mode, dims, rank = attrs["mode"], dims_of(specs[0]), len(dims_of(specs[1]))
    count = attrs["num"][0] if isinstance(attrs["num"], tuple) else attrs["num"]
    rows, columns = math.prod(dims[:rank]), math.prod(dims[rank:])
    if rows * columns * count == 0:
        return None
    table = build("reshape", [data], {"shape": (rows, columns)})
    # What is left out goes to a row behind the others.
    flat = build("cast", [build("reshape", [ids], {"shape": (rows,)})], {"dtype": int64})
    low, high = (
        build("fill", [], {"shape": (), "value": Constant(np.array(n)), "dtype": int64}) for n in (0, count)
    )
    inside = build(
        "logical_and", [build("greater_equal", [flat, low], {}), build("less", [flat, high], {})], {}
    )
    flat = build("select", [inside, flat, high], {})
    if mode == "sum":
        attrs = {"shape": (count + 1, columns), "axis": 0, "batch_dims": 0, "negative": False}
        result = build("gather_grad", [table, flat], attrs)
    else:
        dtype = specs[0].dtype
        value = Constant(np.array(_neutral(mode, dtype.numpy), dtype.numpy))
        start = build("fill", [], {"shape": (count + 1, columns), "value": value, "dtype": dtype})
        write = {"mode": "mul" if mode == "prod" else mode, "nd": False}
        result = build("scatter_rows", [start, flat, table], write)
    result = build("slice", [result], {"begin": (0, 0), "size": (count, columns)})
    return build("reshape", [result], {"shape": (count, *dims[rank:])})


def _gathered(values: Tensor, ids: Tensor) -> Tensor:
    """The row of each number; zeros for negative numbers."""
    rows = take(values, maximum(ids, 0), axis=0)
    return select(_beside(ids >= 0, rows), rows, 0)


def _beside(flags: Tensor, rows: Tensor) -> Tensor:
    """Flags of rows, with a dimension of 1 for each dimension within the rows."""
    if flags._shape is not None and rows._shape is not None:
        inner = len(rows._shape) - len(flags._shape)
        if None not in flags._shape:
            return reshape(flags, (*flags._shape, *[1] * inner))
        return reshape(flags, concat([shape(flags), [1] * inner], 0)) if inner else flags
    inner_dims = ones_like(shape(rows)[apply("rank", (flags,), {"out_type": int32}) :])
    return reshape(flags, concat([shape(flags), inner_dims], 0))


def _gradient(op: Operation, dy: Tensor) -> tuple[Tensor, None]:
    data, ids = op.inputs[:2]
    mode, result = op.attrs["mode"], op.outputs[0]
    num = attr_value(op, "num")
    if mode == "sum":
        return _gathered(dy, ids), None
    if mode == "prod":
        return _prod_gradient(op, dy), None
    # Rows that share the extreme share its gradient.
    chosen = cast(equal(data, _gathered(result, ids)), data.dtype)
    chosen = select(_beside(ids >= 0, chosen), chosen, 0)
    count = _segment("sum", chosen, ids, num)
    share = dy / maximum(count, 1)
    return chosen * _gathered(share, ids), None


def _prod_gradient(op: Operation, dy: Tensor) -> Tensor:
    """The product of the others: that of all over the own, or, beside one zero, that of all but the zero."""
    data, ids = op.inputs[:2]
    num = attr_value(op, "num")
    is_zero = equal(data, 0)
    zeros = _segment("sum", cast(is_zero, data.dtype), ids, num)
    without = _segment("prod", select(is_zero, 1, data), ids, num)
    dy = select(zeros > 1, 0, dy)
    own = select(is_zero, 1, data)
    others = select(is_zero, _gathered(without, ids), _gathered(op.outputs[0], ids) / own)
    return _gathered(dy, ids) * others


segment_op = register(
    OpDef(
        "unsorted_segment", _rule, _numpy, None, _gradient, value_attrs=("num",), expand=_expand,
        node_name="UnsortedSegmentSum", input_names=("data", "segment_ids"),
    )
)  # fmt: skip


def _segment(
    mode: str, data: Any, ids: Any, num: Any, name: str | None = None, ordered: bool = False
) -> Tensor:
    attrs = {"num": one_int(num, f"unsorted_segment_{mode}", "num_segments"), "mode": mode}
    if ordered:
        attrs["ordered"] = True
    label = name or f"UnsortedSegment{mode.capitalize()}"
    return apply(segment_op, (convert_to_tensor(data), convert_to_tensor(ids)), attrs, label)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """Return, for each number below `num_segments`, the sum of the rows of `data` that carry it.

    Parameters
    ----------
    data : numeric tensor
    segment_ids : integer tensor
        Its shape is that of the first dimensions of `data`.  Rows of a negative number are left out.
    num_segments : int or int tensor

    Returns
    -------
    Tensor
        Of shape ``(num_segments,) + data.shape[rank of segment_ids:]``.

    Notes
    -----
    A number of `num_segments` or more is an error on the host.  On OpenCL its row is left out, as TensorFlow
    does on a GPU.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.unsorted_segment_sum([1, 2, 3, 4], [0, 2, 0, -1], 3)))
    [4 0 2]
    """
    return _segment("sum", data, segment_ids, num_segments, name)


def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """As `unsorted_segment_sum`, with products; a number without rows gives 1."""
    return _segment("prod", data, segment_ids, num_segments, name)


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """As `unsorted_segment_sum`, with maxima; a number without rows gives the lowest finite value."""
    return _segment("max", data, segment_ids, num_segments, name)


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """As `unsorted_segment_sum`, with minima; a number without rows gives the largest finite value."""
    return _segment("min", data, segment_ids, num_segments, name)


def _counts(ids: Tensor, num: Any, like: Tensor) -> Tensor:
    """How many rows each number has, beside `like`; 1 where it has none."""
    counts = _segment("sum", cast(ones_like(ids), like.dtype), ids, num)
    return _beside(maximum(counts, 1), like)


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """As `unsorted_segment_sum`, with means; a number without rows gives 0."""
    x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    with x.graph.name_scope(name or "UnsortedSegmentMean"):
        total = _segment("sum", x, ids, num_segments)
        return total / _counts(ids, num_segments, total)


def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """As `unsorted_segment_sum`, divided by the square root of the number of rows."""
    x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    with x.graph.name_scope(name or "UnsortedSegmentSqrtN"):
        total = _segment("sum", x, ids, num_segments)
        return total / sqrt(_counts(ids, num_segments, total))


# -- sorted numbers: as many segments as the largest says ---------------------------------------------


def _number(ids: Tensor) -> Tensor:
    """One more than the largest number."""
    none = convert_to_tensor(np.array([-1], ids.dtype.numpy), graph=ids.graph)
    return reduce_max(concat([reshape(ids, [-1]), none], 0)) + 1


def _sorted(mode: str, data: Any, segment_ids: Any, name: str | None) -> Tensor:
    x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    label = f"Segment{mode.capitalize()}"
    with x.graph.name_scope(name or label):
        num = _number(ids)
        result = _segment(mode, x, ids, num, ordered=True)
        if mode in ("max", "min"):  # where TensorFlow gives 0
            counts = _segment("sum", ones_like(ids), ids, num)
            result = select(_beside(counts > 0, result), result, 0)
        return result


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """Return, for each number in `segment_ids`, the sum of the rows of `data` that carry it.

    Parameters
    ----------
    data : numeric tensor of rank 1 or more
    segment_ids : integer tensor of rank 1
        One number for each row, in ascending order, beginning at 0.

    Returns
    -------
    Tensor
        As many rows as the last number says; what follows is planned when it is known.

    Notes
    -----
    Numbers that are negative, or in another order, are an error on the host.  On OpenCL rows of negative
    ones are left out, and the order does not matter.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.segment_sum([[1, 2], [3, 4], [5, 6]], [0, 0, 1])))
    [[4 6]
     [5 6]]
    """
    return _sorted("sum", data, segment_ids, name)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """As `segment_sum`, with products; 1 for a number without rows."""
    return _sorted("prod", data, segment_ids, name)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """As `segment_sum`, with maxima; 0 for a number without rows."""
    return _sorted("max", data, segment_ids, name)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """As `segment_sum`, with minima; 0 for a number without rows."""
    return _sorted("min", data, segment_ids, name)


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """As `segment_sum`, with means; 0 for a number without rows."""
    x, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    with x.graph.name_scope(name or "SegmentMean"):
        num = _number(ids)
        total = _segment("sum", x, ids, num, ordered=True)
        return total / _counts(ids, num, total)


def _sparse(function: Any, unsorted: Any, label: str) -> Any:
    def segments(
        data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
    ) -> Tensor:
        x = convert_to_tensor(data)
        with x.graph.name_scope(name or label):
            rows = take(x, indices, axis=0)
            if num_segments is not None:
                return unsorted(rows, segment_ids, num_segments)
            return function(rows, segment_ids)

    segments.__doc__ = (
        f"``{function.__name__}`` of the rows of `data` that `indices` name; with `num_segments`, so many.\n"
    )
    return segments


def _segment_sqrt_n(data: Any, segment_ids: Any) -> Tensor:
    ids = convert_to_tensor(segment_ids)
    return unsorted_segment_sqrt_n(data, ids, _number(ids))


sparse_segment_sum = _sparse(segment_sum, unsorted_segment_sum, "SparseSegmentSum")
sparse_segment_mean = _sparse(segment_mean, unsorted_segment_mean, "SparseSegmentMean")
sparse_segment_sqrt_n = _sparse(_segment_sqrt_n, unsorted_segment_sqrt_n, "SparseSegmentSqrtN")
for _function, _name in (
    (sparse_segment_sum, "sum"), (sparse_segment_mean, "mean"), (sparse_segment_sqrt_n, "sqrt_n"),
):  # fmt: skip
    _function.__name__ = _function.__qualname__ = f"sparse_segment_{_name}"
