"""`gather`: entries of a tensor by their indices, and the sum that is its gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.errors import DTypeError, GraphError, InvalidArgumentError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor, partial_value
from graphrun.graph.descriptor import Index, Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import attr_value, dims_of, known_ints, one_int, shape_attr, static_int
from graphrun.ops.families import require_kind
from graphrun.ops.plans.scatter import plan_gather_grad
from graphrun.shapes import Shape, format_shape, is_compatible, normalize_axis, row_major_strides


def _axis_of(params: tuple[Any, ...], axis: Any, batch_dims: int) -> int:
    """The axis counted from the front."""
    at = normalize_axis(axis[0] if isinstance(axis, tuple) else axis, len(params))
    if at < batch_dims:
        raise RuleError(
            f"axis {at} is one of the {batch_dims} batch dimensions", expected="axis >= batch_dims"
        )
    return at


def _gathered(params: Shape, indices: Shape, axis: Any, batch_dims: int) -> Shape:
    if indices is not None and batch_dims > len(indices):
        raise RuleError(
            f"batch_dims is {batch_dims} for indices of rank {len(indices)}", expected="at most that"
        )
    if params is not None and len(params) == 0:
        raise RuleError("params is a scalar", expected="rank 1 or more")
    if (
        params is not None
        and indices is not None
        and not is_compatible(params[:batch_dims], indices[:batch_dims])
    ):
        raise RuleError(
            f"batch dimensions differ, {format_shape(params[:batch_dims])}"
            f" != {format_shape(indices[:batch_dims])}"
        )
    if params is None or indices is None:
        return None
    if axis is None:
        return (None,) * (len(params) + len(indices) - batch_dims - 1)
    at = _axis_of(params, axis, batch_dims)
    return (*params[:at], *indices[batch_dims:], *params[at + 1 :])


def _gather_rule(
    params: Spec, indices: Spec, *, axis: Any, batch_dims: int, negative: bool, rows: bool = False
) -> tuple[Spec]:
    require_kind(indices, "integer", "indices")
    return (Spec(_gathered(params.shape, indices.shape, axis, batch_dims), params.dtype),)


def _checked(indices: np.ndarray, length: int, axis: int, negative: bool) -> np.ndarray:
    """The indices from the front; one that is out of range is told with its place."""
    indices = np.asarray(indices)
    low = -length if negative else 0
    if indices.size and (indices.min() < low or indices.max() >= length):
        wrong = (indices < low) | (indices >= length)
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"indices[{', '.join(map(str, place))}]" if place else "the index"
        raise RuleError(
            f"{where} is {indices[place]}, out of range for axis {axis} of length {length}",
            expected=f"{low} <= index < {length}",
            kind=InvalidArgumentError,
        )
    return np.where(indices < 0, indices + length, indices) if negative else indices


def _gather_numpy(
    params: np.ndarray, indices: np.ndarray, *, axis: Any, batch_dims: int, negative: bool, rows: bool = False
) -> np.ndarray:
    at = _axis_of(params.shape, axis, batch_dims)
    indices = _checked(indices, params.shape[at], at, negative)
    if batch_dims == 0:
        return np.take(params, indices, at)
    batch = params.shape[:batch_dims]
    inner = params.shape[batch_dims:at]
    # One batch entry after another would be slow: batch and inner axes are indexed along instead.
    lead = np.ogrid[tuple(slice(n) for n in (*batch, *inner))]
    kept = indices.ndim - batch_dims
    grids = [g.reshape(g.shape + (1,) * kept) for g in lead]
    places = indices.reshape(batch + (1,) * len(inner) + indices.shape[batch_dims:])
    return params[(*grids, places)]


def _places(specs: Sequence[Spec], at: int, batch_dims: int, rank: int) -> tuple[str, list[str]]:
    """The flat position in the indices, and in `params` but for axis `at`, of a gathered element."""
    params = dims_of(specs[0])
    indices = dims_of(specs[1])
    strides, steps = row_major_strides(params), row_major_strides(indices)
    kept = len(indices) - batch_dims
    own = [f"c{k} * {steps[k]}L" for k in range(batch_dims)]
    own += [f"c{at + k} * {steps[batch_dims + k]}L" for k in range(kept)]
    rest = [f"c{k} * {strides[k]}L" for k in range(at)]
    rest += [f"c{k + kept - 1} * {strides[k]}L" for k in range(at + 1, len(params))]
    return " + ".join(own) or "0", rest


def _gather_code(specs: Sequence[Spec], out: Spec, attrs: Mapping[str, Any]) -> str:
    params = dims_of(specs[0])
    at = _axis_of(params, attrs["axis"], attrs["batch_dims"])
    length, step = params[at], row_major_strides(params)[at]
    own, rest = _places(specs, at, attrs["batch_dims"], len(out.shape))  # type: ignore[arg-type]
    wrap = f" if (j < 0) j += {length}L;" if attrs["negative"] else ""
    load = f"LOAD0({' + '.join([f'j * {step}L', *rest])})"
    if length == 0:
        return "r = 0;"
    return f"long j = (long)LOAD1({own});{wrap} r = 0; if (j >= 0 && j < {length}L) r = {load};"


def _gather_partial(op: Operation) -> Any:
    value, index = partial_value(op.inputs[0]), partial_value(op.inputs[1])
    if not isinstance(value, tuple) or index is None:
        return None

    def one(i: int | None) -> int | None:
        if i is None or not (-len(value) if op.attrs["negative"] else 0) <= i < len(value):
            return None
        return value[i]

    return tuple(one(i) for i in index) if isinstance(index, tuple) else one(index)


def _gather_gradient(op: Operation, dy: Tensor) -> tuple[Any, None]:
    if op.attrs.get("rows"):
        from graphrun.ops.indexed_slices import rows_gradient

        return rows_gradient(op, dy), None
    params, indices = op.inputs[:2]
    attrs = {key: op.attrs[key] for key in ("batch_dims", "negative")}
    attrs.update(axis=attr_value(op, "axis"), shape=shape_attr(params))
    return apply(gather_grad_op, (dy, indices), attrs), None


gather_op = register(
    OpDef(
        "gather", _gather_rule, _gather_numpy, Index(_gather_code), _gather_gradient, value_attrs=("axis",),
        partial=_gather_partial, node_name="GatherV2", onnx="Gather", input_names=("params", "indices"),
    )
)  # fmt: skip


# -- gradient: add up what was taken from the same place ----------------------------------------------


def _grad_rule(
    dy: Spec, indices: Spec, *, shape: Any, axis: Any, batch_dims: int, negative: bool
) -> tuple[Spec]:
    require_kind(dy, "number", "dy")
    require_kind(indices, "integer", "indices")
    dims = known_ints(shape)
    if dims is not None:
        inner = _gathered(dims, indices.shape, axis, batch_dims)
        if not is_compatible(inner, dy.shape):
            raise RuleError(f"dy has shape {format_shape(dy.shape)}", expected=format_shape(inner))
    return (Spec(dims, dy.dtype),)


def _grad_numpy(
    dy: np.ndarray, indices: np.ndarray, *, shape: Any, axis: Any, batch_dims: int, negative: bool
) -> np.ndarray:
    at = _axis_of(shape, axis, batch_dims)
    length = shape[at]
    places = _checked(indices, length, at, negative).astype(np.int64)
    if 0 in shape or dy.size == 0:
        return np.zeros(shape, dy.dtype)
    # As rows: the batch and the axis become one axis of rows, what stands between and behind it columns.
    batch, kept = shape[:batch_dims], indices.ndim - batch_dims
    between, behind = tuple(shape[batch_dims:at]), tuple(shape[at + 1 :])
    moved = np.moveaxis(dy, range(at, at + kept), range(batch_dims, batch_dims + kept))
    columns = int(np.prod(between + behind, dtype=np.int64))
    rows = moved.reshape(-1, columns)
    count = int(np.prod(batch, dtype=np.int64))
    numbers = (np.arange(count)[:, None] * length + places.reshape(count, -1)).reshape(-1)
    result = sum_rows(rows, numbers, count * length)
    result = result.reshape(*batch, length, *between, *behind)
    return np.ascontiguousarray(np.moveaxis(result, batch_dims, at))


def sum_rows(rows: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """Return `count` rows, of which row n is the sum of all rows that `numbers` calls n, in their order."""
    result = np.zeros((count, rows.shape[1]), rows.dtype)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    if first.size == ordered.size:
        result[numbers] = rows
        return result
    # In float16 a sum of many terms would stop to grow early.
    wide = np.float32 if rows.dtype == np.float16 else rows.dtype
    sums = np.add.reduceat(rows[order].astype(wide, copy=False), first, axis=0, dtype=wide)
    result[ordered[first]] = sums.astype(rows.dtype, copy=False)
    return result


def _grad_gradient(op: Operation, ddx: Tensor) -> tuple[Tensor, None]:
    attrs = {key: op.attrs[key] for key in ("batch_dims", "negative")}
    return apply(gather_op, (ddx, op.inputs[1]), {**attrs, "axis": attr_value(op, "axis")}), None


gather_grad_op = register(
    OpDef(
        "gather_grad", _grad_rule, _grad_numpy, Kernel("scatter", plan_gather_grad, ("scatter.cl",)),
        _grad_gradient,
        value_attrs=("axis", "shape"), node_name="GatherGrad", input_names=("dy", "indices"),
    )
)  # fmt: skip


def gather(
    params: Any,
    indices: Any,
    validate_indices: bool | None = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """Return the entries of `params` that `indices` name along `axis`.

    Parameters
    ----------
    params : tensor
    indices : integer tensor of any shape
        From 0; negative ones do not count from the end.
    validate_indices
        Accepted for TensorFlow's sake.
    axis : int
        The first axis behind the batch dimensions by default.
    batch_dims : int
        So many first dimensions are common to `params` and `indices`, and walked together.

    Returns
    -------
    Tensor
        Of shape ``params.shape[:axis] + indices.shape[batch_dims:] + params.shape[axis + 1:]``.

    Notes
    -----
    An index that is out of range is an error on the host.  On OpenCL it gives zeros, as TensorFlow does on
    a GPU, and takes no part in the gradient.  Along the first axis the gradient is an `IndexedSlices`.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.gather([10, 20, 30], [2, 0, 2])))
    [30 10 30]
    """
    x, i = convert_to_tensor(params), convert_to_tensor(indices)
    if batch_dims < 0:
        batch_dims += len(i._shape) if i._shape is not None else 0
    at = batch_dims if axis is None else one_int(axis, "gather", "axis")
    attrs = {"axis": at, "batch_dims": batch_dims, "negative": False}
    if batch_dims == 0 and isinstance(at, int) and at == 0:
        attrs["rows"] = True  # the gradient is these rows alone
    return apply(gather_op, (x, i), attrs, name)


def take(params: Any, indices: Any, axis: Any = None, batch_dims: int = 0, name: str | None = None) -> Tensor:
    """As `gather`, for operations that are made of it: their gradient is a tensor, as in TensorFlow."""
    at = batch_dims if axis is None else one_int(axis, "gather", "axis")
    attrs = {"axis": at, "batch_dims": batch_dims, "negative": False}
    return apply(gather_op, (convert_to_tensor(params), convert_to_tensor(indices)), attrs, name)


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """Return the rows of `params` that `ids` name.

    Parameters
    ----------
    params : tensor or variable, or a list of those whose rows make one embedding
    ids : integer tensor of any shape
    partition_strategy : str
        Where the rows of a list are: "mod", row k in part ``k % n``; or "div", in order, one row more in
        each of the first parts where they do not divide evenly.
    validate_indices
        Accepted for TensorFlow's sake.
    max_norm : float, optional
        Rows of a larger Euclidean norm are scaled down to it.

    Examples
    --------
    >>> import graphrun as gr
    >>> gr.nn.embedding_lookup(gr.zeros([100, 16]), [[1, 2, 3]]).shape.as_list()
    [1, 3, 16]
    """
    if isinstance(params, list | tuple):
        if len(params) > 1:
            from graphrun.ops.embedding import lookup_in_parts

            return lookup_in_parts(
                params, ids, partition_strategy, name or "embedding_lookup",
                lambda part, rows: embedding_lookup(part, rows, max_norm=max_norm),
            )  # fmt: skip
        params = params[0]
    label = name or "embedding_lookup"
    if max_norm is None:
        return gather(params, ids, name=label, axis=0)
    rows = gather(params, ids, axis=0)
    x, i = convert_to_tensor(params), convert_to_tensor(ids)
    if x._shape is None or i._shape is None:
        raise GraphError(
            message("max_norm with params or ids of unknown rank", where="embedding_lookup", site=user_site(),
                    fix="state the rank with set_shape")
        )  # fmt: skip
    from graphrun.ops.math import divide, maximum, multiply, sqrt

    axes = tuple(range(len(i._shape), len(i._shape) + len(x._shape) - 1))
    norm = sqrt(apply("sum", (multiply(rows, rows),), {"axis": axes, "keepdims": True}))
    return multiply(rows, divide(max_norm, maximum(norm, max_norm)), label)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """Return, for each entry along all but the last axis of `indices`, what it names in `params` there."""
    i = convert_to_tensor(indices)
    if i._shape is None:
        raise GraphError(message("indices of unknown rank", where="batch_gather", site=user_site()))
    return gather(params, i, name=name, batch_dims=len(i._shape) - 1)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """Return the entries of `tensor` at which `mask` is true.

    Parameters
    ----------
    tensor : tensor
    mask : bool tensor
        Of known rank; its shape is that of the dimensions of `tensor` from `axis` on.
    axis : int
        0 by default.

    Returns
    -------
    Tensor
        The masked dimensions are one, whose length depends on the mask: what follows is planned when it is
        known.

    Examples
    --------
    >>> import graphrun as gr
    >>> from graphrun.ops.array import boolean_mask
    >>> print(boolean_mask(gr.zeros([4, 3]), [True, False, True, True]).shape)
    (?, 3)
    """
    from graphrun.ops.compare import where
    from graphrun.ops.indexing import getitem
    from graphrun.ops.joining import concat
    from graphrun.ops.masks import fitting_mask
    from graphrun.ops.reshape import reshape

    x, m = convert_to_tensor(tensor), convert_to_tensor(mask)
    at = 0 if axis is None else static_int(axis, "boolean_mask", "axis")
    site = user_site()
    if not m._shape:
        rank = "a scalar" if m._shape == () else "of unknown rank"
        raise ShapeError(
            message(f"the mask is {rank}", where="boolean_mask", site=site, expected="a mask of known rank",
                    fix="state it with mask.set_shape(...)")
        )  # fmt: skip
    if not m.dtype.is_bool:
        raise DTypeError(
            message(f"the mask has dtype {m.dtype}", where="boolean_mask", site=site, expected="bool")
        )
    count = len(m._shape)
    if x._shape is not None:
        at = at + len(x._shape) if at < 0 else at
        if not is_compatible(x._shape[at : at + count], m._shape):
            raise ShapeError(
                message(
                    f"the mask has shape {format_shape(m._shape)}, the masked dimensions"
                    f" {format_shape(x._shape[at : at + count])}",
                    where="boolean_mask",
                    site=site,
                    expected="the same shape",
                )
            )
    elif at < 0:
        raise ShapeError(
            message(f"axis {at} of a tensor of unknown rank", where="boolean_mask", site=site,
                    expected="an axis from the front")
        )  # fmt: skip
    with x.graph.name_scope(name):
        places = getitem(where(reshape(fitting_mask(m, x, at), (-1,))), (slice(None), 0))
        if count > 1:
            dims = shape_attr(x)
            if isinstance(dims, tuple):
                x = reshape(x, (*dims[:at], -1, *dims[at + count :]))
            else:
                parts = [getitem(dims, slice(at)), [-1], getitem(dims, slice(at + count, None))]
                x = reshape(x, concat(parts, 0))
        return take(x, places, axis=at)
