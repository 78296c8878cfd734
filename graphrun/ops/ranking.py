"""Order along one axis: the largest entries, sorting, and running sums and products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphrun import dtypes
from graphrun.errors import DTypeError, RuleError, ShapeError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef, no_gradient, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import attr_value, one_int, shape_attr, static_int
from graphrun.ops.families import require_kind
from graphrun.ops.fill import shape
from graphrun.ops.gather import take
from graphrun.ops.joining import concat
from graphrun.ops.plans.cumulative import plan_cumulative
from graphrun.ops.plans.sort import plan_argsort, plan_top_k
from graphrun.ops.reduce import reduce_prod
from graphrun.ops.reshape import reshape
from graphrun.ops.transpose import transpose
from graphrun.shapes import format_shape, is_compatible, normalize_axis


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


# -- top_k --------------------------------------------------------------------------------------


def _top_k_rule(x: Spec, *, k: Any, sorted: bool) -> tuple[Spec, Spec]:
    require_kind(x, "numeric")
    k = _single(k)
    if k is not None and k < 0:
        raise RuleError(f"k is {k}", expected="0 or more")
    if x.shape is None:
        return x, Spec(None, dtypes.int32)
    if not x.shape:
        raise RuleError("x is a scalar", expected="rank 1 or more")
    if k is not None and x.shape[-1] is not None and x.shape[-1] < k:
        raise RuleError(f"k is {k} for rows of {x.shape[-1]} entries", expected=f"at most {x.shape[-1]}")
    dims = (*x.shape[:-1], k)
    return Spec(dims, x.dtype), Spec(dims, dtypes.int32)


def order(x: np.ndarray, descending: bool) -> np.ndarray:
    """The places of the entries of each row in their order; equal ones keep theirs.

    NaN counts as larger than everything.
    """
    if not descending:
        return np.argsort(x, -1, kind="stable")
    return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]


def _top_k_numpy(x: np.ndarray, *, k: Any, sorted: bool) -> tuple[np.ndarray, np.ndarray]:
    places = np.ascontiguousarray(order(x, True)[..., : _single(k)])
    return np.take_along_axis(x, places, -1), places.astype(np.int32)


def _top_k_gradient(op: Operation, dy: Tensor | None, d_indices: Any) -> Tensor | None:
    if dy is None:
        return None
    x, places = op.inputs[0], op.outputs[1]
    if x._shape is None:
        # As a matrix, whatever the rank; rows of no entries have no gradient anyway.
        dims, k = shape(x), shape(places)[-1:]
        rows = reduce_prod(dims[:-1], keepdims=True)
        matrix = concat([rows, k], 0)
        attrs = {"axis": 1, "batch_dims": 1, "negative": False, "shape": concat([rows, dims[-1:]], 0)}
        dx = apply("gather_grad", (reshape(dy, matrix), reshape(places, matrix)), attrs)
        return reshape(dx, dims)
    last = len(x._shape) - 1
    attrs = {"axis": last, "batch_dims": last, "negative": False, "shape": shape_attr(x)}
    return apply("gather_grad", (dy, places), attrs)


def _rank(x: Tensor, where: str) -> int:
    if x._shape is None:
        raise ShapeError(
            message("a tensor of unknown rank", where=where, site=user_site(), fix="state its rank with"
                    " x.set_shape([None, ...])")
        )  # fmt: skip
    return len(x._shape)


top_k_op = register(
    OpDef(
        "top_k", _top_k_rule, _top_k_numpy, Kernel("sort", plan_top_k, ("sort.cl",)), _top_k_gradient,
        value_attrs=("k",), node_name="TopKV2", onnx="TopK", input_names=("x",),
    )
)  # fmt: skip


class TopK(NamedTuple):
    """What `top_k` returns."""

    values: Tensor
    indices: Tensor


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """Return the `k` largest entries of each row, and where they stand.

    Parameters
    ----------
    input : numeric tensor of rank 1 or more
        Its last dimension are the rows' entries.
    k : int or int tensor
    sorted : bool
        Accepted for TensorFlow's sake: the largest entry comes first either way.

    Returns
    -------
    values : Tensor
    indices : int32 Tensor
        Of equal entries the one with the lower index comes first.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.nn.top_k([1.0, 5.0, 3.0], 2)))
    TopK(values=array([5., 3.], dtype=float32), indices=array([1, 2], dtype=int32))
    """
    attrs = {"k": one_int(k, "top_k", "k"), "sorted": bool(sorted)}
    return TopK(*apply(top_k_op, (convert_to_tensor(input),), attrs, name))


# -- in_top_k -----------------------------------------------------------------------------------


def _in_top_k_rule(predictions: Spec, targets: Spec, *, k: Any) -> tuple[Spec]:
    require_kind(predictions, "floating", "predictions")
    require_kind(targets, "integer", "targets")
    for spec, rank, what in ((predictions, 2, "predictions"), (targets, 1, "targets")):
        if spec.shape is not None and len(spec.shape) != rank:
            raise RuleError(f"{what} has rank {len(spec.shape)}", expected=f"rank {rank}")
    rows = None if predictions.shape is None else predictions.shape[:1]
    if not is_compatible(rows, targets.shape):
        raise RuleError(f"{format_shape(rows)} rows of predictions, {format_shape(targets.shape)} targets")
    return (Spec(targets.shape if rows is None or rows[0] is None else rows, dtypes.bool_),)


def _in_top_k_numpy(predictions: np.ndarray, targets: np.ndarray, *, k: Any) -> np.ndarray:
    rows, classes = predictions.shape
    inside = (targets >= 0) & (targets < classes)
    if classes == 0:
        return np.zeros(rows, np.bool_)
    own = predictions[np.arange(rows), np.where(inside, targets, 0)]
    above = (predictions > own[:, None]).sum(1)
    return inside & np.isfinite(predictions).all(1) & (above < _single(k))


def _in_top_k_expand(
    build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Mapping[str, Any]
) -> Any:
    predictions, targets = inputs
    rows, classes = specs[0].dims
    if rows * classes == 0:
        return None
    axis = {"axis": (1,), "keepdims": False}

    def number(value: int, dtype: Any) -> Any:
        filled = {"shape": (), "value": Constant(np.array(value, dtype.numpy)), "dtype": dtype}
        return build("fill", [], filled)

    low = build("greater_equal", [targets, number(0, specs[1].dtype)], {})
    inside = build("logical_and", [low, build("less", [targets, number(classes, specs[1].dtype)], {})], {})
    at = build("select", [inside, targets, number(0, specs[1].dtype)], {})
    own = build(
        "gather", [predictions, build("expand_dims", [at], {"axis": 1})],
        {"axis": 1, "batch_dims": 1, "negative": False},
    )  # fmt: skip
    above = build("cast", [build("greater", [predictions, own], {})], {"dtype": dtypes.int32})
    few = build("less", [build("sum", [above], axis), number(int(_single(attrs["k"])), dtypes.int32)], {})
    finite = build("all", [build("is_finite", [predictions], {})], axis)
    return build("logical_and", [build("logical_and", [inside, finite], {}), few], {})


in_top_k_op = register(
    OpDef(
        "in_top_k", _in_top_k_rule, _in_top_k_numpy, None, no_gradient, value_attrs=("k",),
        expand=_in_top_k_expand, node_name="InTopKV2", input_names=("predictions", "targets"),
    )
)  # fmt: skip


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Return, for each row, whether fewer than `k` predictions are larger than that of its target.

    Parameters
    ----------
    predictions : floating tensor of shape (rows, classes)
    targets : int32 or int64 tensor of shape (rows,)
    k : int or int tensor

    Returns
    -------
    bool Tensor of shape (rows,)
        False where a prediction of the row is infinite or NaN, or the target is no class.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.nn.in_top_k([[0.1, 0.9, 0.0], [0.6, 0.3, 0.1]], [0, 2], 2)))
    [ True False]
    """
    p, t = convert_to_tensor(predictions), convert_to_tensor(targets)
    with p.graph.name_scope(name or "in_top_k"):
        return apply(in_top_k_op, (p, t), {"k": one_int(k, "in_top_k", "k")})


# -- sorting ------------------------------------------------------------------------------------


def _argsort_rule(x: Spec, *, descending: bool) -> tuple[Spec]:
    require_kind(x, "numeric")
    if x.shape == ():
        raise RuleError("x is a scalar", expected="rank 1 or more")
    return (Spec(x.shape, dtypes.int32),)


argsort_op = register(
    OpDef(
        "argsort", _argsort_rule,
        lambda x, *, descending: np.ascontiguousarray(order(x, descending)).astype(np.int32),
        Kernel("sort", plan_argsort, ("sort.cl",)), no_gradient, node_name="argsort", input_names=("x",),
    )
)  # fmt: skip


def _along_last(values: Any, axis: Any, direction: str, where: str, function: Any) -> Tensor:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise DTypeError(
            message(f"direction is {direction!r}", where=where, site=user_site(),
                    expected="'ASCENDING' or 'DESCENDING'")
        )  # fmt: skip
    x = convert_to_tensor(values)
    at = static_int(axis, where, "axis")
    if at == -1:
        return function(x, direction == "DESCENDING")
    rank = _rank(x, where)
    try:
        at = normalize_axis(at, rank)
    except RuleError as fault:
        raise ShapeError(
            message(fault.what, where=where, site=user_site(), expected=fault.expected)
        ) from None
    if at == rank - 1:
        return function(x, direction == "DESCENDING")
    swapped = [*range(at), rank - 1, *range(at + 1, rank - 1), at]
    return transpose(function(transpose(x, swapped), direction == "DESCENDING"), swapped)


def sort(values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """Sort along one axis, the last by default; its gradient goes back to where the entries came from.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.sort([3, 1, 2], direction="DESCENDING")))
    [3 2 1]
    """

    def last(x: Tensor, descending: bool) -> Tensor:
        places = apply(argsort_op, (x,), {"descending": descending})
        return take(x, places, batch_dims=_rank(x, "sort") - 1)

    x = convert_to_tensor(values)
    with x.graph.name_scope(name or "sort"):
        return _along_last(x, axis, direction, "sort", last)


def argsort(
    values: Any, axis: Any = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Tensor:
    """Return the int32 indices that sort along one axis, the last by default.

    Equal entries keep their order, with or without `stable`; NaN counts as the largest.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.argsort([3, 1, 2])))
    [1 2 0]
    """
    x = convert_to_tensor(values)
    with x.graph.name_scope(name or "argsort"):
        return _along_last(
            x, axis, direction, "argsort",
            lambda t, descending: apply(argsort_op, (t,), {"descending": descending}),
        )  # fmt: skip


# -- running sums and products --------------------------------------------------------------------


def _cumulative_rule(x: Spec, *, axis: Any, exclusive: bool, reverse: bool) -> tuple[Spec]:
    require_kind(x, "numeric")
    axis = _single(axis)
    if x.shape is not None and axis is not None:
        normalize_axis(axis, len(x.shape))
    return (x,)


def _cumulative(function: np.ufunc, neutral: int) -> Any:
    def numpy(x: np.ndarray, *, axis: Any, exclusive: bool, reverse: bool) -> np.ndarray:
        at = normalize_axis(_single(axis), x.ndim)
        # A half would stop to grow early.
        wide = np.float32 if x.dtype == np.float16 else x.dtype
        walked = np.flip(x, at) if reverse else x
        result = function.accumulate(walked, at, dtype=wide)
        if exclusive:
            first = np.full((*x.shape[:at], min(1, x.shape[at]), *x.shape[at + 1 :]), neutral, wide)
            result = np.concatenate([first, result.take(range(x.shape[at] - 1), at)], at)
        return np.ascontiguousarray(np.flip(result, at) if reverse else result).astype(x.dtype, copy=False)

    return numpy


def _same_way(op: Operation, reverse: bool) -> dict[str, Any]:
    return {"axis": attr_value(op, "axis"), "exclusive": op.attrs["exclusive"], "reverse": reverse}


def _cumsum_gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(cumsum_op, (dy,), _same_way(op, not op.attrs["reverse"]))


def _cumprod_gradient(op: Operation, dy: Tensor) -> Tensor:
    # As TensorFlow has it: NaN where x is 0.
    product = op.outputs[0]
    return apply(cumsum_op, (product * dy,), _same_way(op, not op.attrs["reverse"])) / op.inputs[0]


def _kernel(product: bool) -> Kernel:
    return Kernel("cumulative", plan_cumulative(product), ("cumulative.cl",))


cumsum_op = register(
    OpDef(
        "cumsum", _cumulative_rule, _cumulative(np.add, 0), _kernel(False), _cumsum_gradient,
        value_attrs=("axis",),
        node_name="Cumsum", onnx="CumSum", input_names=("x",),
    )
)  # fmt: skip
cumprod_op = register(
    OpDef(
        "cumprod", _cumulative_rule, _cumulative(np.multiply, 1), _kernel(True), _cumprod_gradient,
        value_attrs=("axis",), node_name="Cumprod", input_names=("x",),
    )
)  # fmt: skip


def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Return the running sums of `x` along `axis`.

    Parameters
    ----------
    x : numeric tensor
    axis : int or int tensor
    exclusive : bool
        Leave each entry out of its own sum, so that the first is 0.
    reverse : bool
        From the end.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run([gr.cumsum([1, 2, 3]), gr.cumsum([1, 2, 3], exclusive=True, reverse=True)]))
    [array([1, 3, 6], dtype=int32), array([5, 3, 0], dtype=int32)]
    """
    attrs = {"axis": one_int(axis, "cumsum", "axis"), "exclusive": bool(exclusive), "reverse": bool(reverse)}
    return apply(cumsum_op, (convert_to_tensor(x),), attrs, name)


def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Return the running products of `x` along `axis`; the arguments are those of `cumsum`.

    As in TensorFlow, the gradient is NaN where an entry is 0.

    Examples
    --------
    >>> import graphrun as gr
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(gr.cumprod([2.0, 3.0, 4.0], exclusive=True)))
    [1. 2. 6.]
    """
    attrs = {"axis": one_int(axis, "cumprod", "axis"), "exclusive": bool(exclusive), "reverse": bool(reverse)}
    return apply(cumprod_op, (convert_to_tensor(x),), attrs, name)
