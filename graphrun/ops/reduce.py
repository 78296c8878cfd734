"""Reductions over axes.

The operations have the attributes ``axis`` (a sorted tuple counted from the front, or None for all axes)
and ``keepdims``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphrun import dtypes
from graphrun.dtypes import DType, as_dtype
from graphrun.errors import DTypeError, RuleError
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Reduce, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, get_op, no_gradient, register
from graphrun.ops.arithmetic import floordiv, maximum, squared_difference
from graphrun.ops.attributes import attr_value, ints, is_tensor, one_int, shape_attr
from graphrun.ops.compare import equal, is_finite, less, not_equal, select
from graphrun.ops.convert import cast
from graphrun.ops.elementwise import exp, log, sqrt, square
from graphrun.ops.families import reduction, require_kind
from graphrun.ops.fill import broadcast_to, rank, shape, size
from graphrun.ops.reshape import expand_dims, reshape
from graphrun.ops.sequences import range_
from graphrun.ops.state import stop_gradient
from graphrun.shapes import format_shape, is_static, normalize_axes, normalize_axis, num_elements

# -- on NumPy -----------------------------------------------------------------------------------


def _numpy(function: Callable[..., Any], initial: Callable[[Any], Any] | None = None) -> Callable[..., Any]:
    """A NumPy reduction in the dtype of its input; float16 is summed in float32 and rounded once."""

    def wrapped(x: Any, *, axis: Any, keepdims: bool) -> Any:
        x = np.asarray(x)
        half = x.dtype == np.float16
        if half:
            x = x.astype(np.float32)
        more = {"dtype": x.dtype} if initial is None else {"initial": initial(x.dtype)}
        result = function(x, axis=axis, keepdims=keepdims, **more)
        return result.astype(np.float16) if half else result

    return wrapped


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


def _mean_numpy(x: Any, *, axis: Any, keepdims: bool) -> Any:
    x = np.asarray(x)
    total = _sum_numpy(x.astype(np.float32) if x.dtype == np.float16 else x, axis=axis, keepdims=keepdims)
    axes = normalize_axes(axis, x.ndim)
    count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    if x.dtype.kind in "fc":
        with np.errstate(all="ignore"):  # the mean of nothing is NaN
            return np.divide(total, total.dtype.type(count)).astype(x.dtype)
    # Rounded towards zero like a division in C, which is what TensorFlow does.
    wide = np.asarray(total).astype(np.uint64 if x.dtype.kind == "u" else np.int64)
    quotient, rest = np.divmod(wide, wide.dtype.type(max(count, 1)))
    return np.where((wide < 0) & (rest != 0), quotient + quotient.dtype.type(1), quotient).astype(x.dtype)


_sum_numpy = _numpy(np.sum)


# -- on OpenCL ----------------------------------------------------------------------------------


def _limit(largest: bool) -> Callable[[DType], str]:
    def text(dtype: DType) -> str:
        if dtype.is_floating:
            return "INFINITY" if largest else "-INFINITY"
        value = int(dtype.max if largest else dtype.min)
        if dtype.is_unsigned:
            return f"{value}UL"
        return f"{value}L" if value != -(2**63) else "(-9223372036854775807L - 1)"

    return text


def _mean_opencl(specs: Sequence[Spec], attrs: Mapping[str, Any]) -> Reduce:
    if specs[0].dtype.is_floating:
        return Reduce("0", finish="x / ({T}){count}")
    count = "max((ulong){count}, 1UL)" if specs[0].dtype.is_unsigned else "max({count}, 1L)"
    return Reduce("0", finish=f"x / {count}")


# -- gradients ----------------------------------------------------------------------------------


def _kept_shape(op: Operation) -> Any:
    """The shape of the result with the reduced axes kept as 1, as an attribute."""
    x, axis = op.inputs[0], attr_value(op, "axis")
    if is_static(x._shape) and not is_tensor(axis):
        axes = normalize_axes(axis, len(x._shape))  # type: ignore[arg-type]
        return tuple(1 if i in axes else d for i, d in enumerate(x._shape))  # type: ignore[arg-type]
    # Only its shape is read, so nothing is summed again.
    return shape(apply(sum_op, (x,), {"axis": axis, "keepdims": True}))


def _keep(op: Operation, t: Tensor) -> Tensor:
    """`t`, which has the shape of the result, with the reduced axes as 1."""
    return t if op.attrs["keepdims"] else reshape(t, _kept_shape(op))


def _count(op: Operation, dtype: DType) -> Any:
    """How many elements make one of the result: a number, or a tensor of `dtype`."""
    x, y = op.inputs[0], op.outputs[0]
    if is_static(x._shape) and is_static(y._shape):
        return num_elements(x._shape) // max(num_elements(y._shape), 1)  # type: ignore[operator, type-var]
    return cast(floordiv(size(x, out_type=dtypes.int64), maximum(size(y, out_type=dtypes.int64), 1)), dtype)


def _sum_gradient(op: Operation, dy: Tensor) -> Tensor:
    return broadcast_to(_keep(op, dy), shape_attr(op.inputs[0]))


def _mean_gradient(op: Operation, dy: Tensor) -> Tensor:
    return _sum_gradient(op, dy / _count(op, dy.dtype))


def _extreme_gradient(op: Operation, dy: Tensor) -> Tensor:
    """Elements that are equal to the extreme share its gradient equally."""
    x = op.inputs[0]
    chosen = cast(equal(x, _keep(op, op.outputs[0])), dy.dtype)
    axis = attr_value(op, "axis")
    ties = apply(sum_op, (chosen,), {"axis": axis, "keepdims": True})
    return chosen / ties * _keep(op, dy)


# -- the operations -----------------------------------------------------------------------------

reduce_sum = reduction(
    "sum", numpy=_sum_numpy, opencl=Reduce("0"), gradient=_sum_gradient, kind="number", onnx="ReduceSum",
    node_name="Sum",
    doc="Return the sum over `axis`.  Integers wrap around.",
)  # fmt: skip
reduce_mean = reduction(
    "mean", numpy=_mean_numpy, opencl=_mean_opencl, gradient=_mean_gradient, kind="number", onnx="ReduceMean",
    node_name="Mean", doc="Return the mean over `axis`; that of integers is rounded towards zero.",
)  # fmt: skip
reduce_max = reduction(
    "max", numpy=_numpy(np.max, _lowest), opencl=Reduce(_limit(False), combine="gr_max(x, y)"),
    gradient=_extreme_gradient, onnx="ReduceMax", node_name="Max",
    doc="Return the largest element over `axis`; NaN where there is one.  Equal ones share the gradient.",
)  # fmt: skip
reduce_min = reduction(
    "min", numpy=_numpy(np.min, _highest), opencl=Reduce(_limit(True), combine="gr_min(x, y)"),
    gradient=_extreme_gradient, onnx="ReduceMin", node_name="Min",
    doc="Return the smallest element over `axis`; NaN where there is one.  Equal ones share the gradient.",
)  # fmt: skip
reduce_any = reduction(
    "any", numpy=lambda x, *, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims),
    opencl=Reduce("0", combine="x | y"), kind="bool", node_name="Any",
    doc="Return whether any element over `axis` is true.",
)  # fmt: skip
reduce_all = reduction(
    "all", numpy=lambda x, *, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims),
    opencl=Reduce("1", combine="x & y"), kind="bool", node_name="All",
    doc="Return whether all elements over `axis` are true.",
)  # fmt: skip


# -- products ---------------------------------------------------------------------------------------
# The derivative of a product is the product of the other elements, also where some are zero.


def _prod_gradient_rule(x: Spec, dy: Spec, *, axis: Any) -> tuple[Spec]:
    return (x,)


def _prod_gradient_numpy(x: Any, dy: Any, *, axis: Any) -> Any:
    if x.dtype == np.float16:
        wide = _prod_gradient_numpy(x.astype(np.float32), dy.astype(np.float32), axis=axis)
        return wide.astype(np.float16)
    nought = x == 0
    zeros = np.sum(nought, axis=axis, keepdims=True)
    filled = np.where(nought, x.dtype.type(1), x)
    product = np.prod(filled, axis=axis, keepdims=True, dtype=x.dtype)
    alone = np.where(zeros == 1, product, 0)
    others = np.where(nought, alone, np.where(zeros == 0, product / filled, 0))
    return (dy * others).astype(x.dtype)


def _prod_gradient_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    x, dy = inputs
    dtype = specs[0].dtype
    over = {"axis": attrs["axis"], "keepdims": True}
    nought = build("logical_not", [build("cast", [x], {"dtype": dtypes.bool_})])
    absent = build("cast", [nought], {"dtype": dtype})
    zeros = build("sum", [absent], over)
    filled = build("add", [x, absent])  # 1 in place of 0
    total = build("prod", [filled], over)
    product = build("multiply", [dy, total])
    nothing = build("subtract", [absent, absent])
    one_at_most = build("equal", [zeros, build("square", [zeros])])
    alone = build("select", [one_at_most, product, nothing])
    none = build("logical_not", [build("cast", [zeros], {"dtype": dtypes.bool_})])
    others = build("select", [none, build("multiply", [dy, build("divide", [total, filled])]), nothing])
    return build("select", [nought, alone, others])


def _axes_before_new_last(op: Operation) -> Any:
    """The axes of an operation as they are counted once its input has one more dimension behind."""
    x, axis = op.inputs[0], attr_value(op, "axis")
    if is_tensor(axis):
        return select(less(axis, 0), axis - 1, axis)
    if axis is None:
        return range_(rank(x)) if x._shape is None else tuple(range(len(x._shape)))
    return tuple(a - 1 if a < 0 else a for a in axis)


def _prod_gradient_gradient(op: Operation, v: Tensor) -> tuple[Tensor, Tensor]:
    """Second derivatives: products without two elements each, over the square of the reduced elements.

    ``x`` is repeated along a new last dimension of length n; copy i has a 1 in place of element i.  The
    derivative of ``v_i * dy * prod(copy i)`` is then once more a product without one element.
    """
    x, dy = op.inputs
    axis = attr_value(op, "axis")
    ones = broadcast_to(convert_to_tensor(1, x.dtype, graph=x.graph), shape_attr(dy))
    without_one = apply(prod_gradient_op, (x, ones), {"axis": axis})
    d_dy = apply(sum_op, (v * without_one,), {"axis": axis, "keepdims": True})
    n = floordiv(size(x), maximum(size(dy), 1))
    place = reshape(range_(n), floordiv(shape(x), maximum(shape(dy), 1)))  # kept axes have length 1
    own = equal(expand_dims(place, -1), range_(n))
    inner = {"axis": _axes_before_new_last(op)}
    copies = select(own, 1, expand_dims(x, -1))
    w = apply(sum_op, (select(own, expand_dims(v, -1), 0),), {**inner, "keepdims": True})
    terms = apply(prod_gradient_op, (copies, w * expand_dims(dy, -1)), inner)
    return reduce_sum(select(own, 0, terms), -1), d_dy


prod_gradient_op = register(
    OpDef(
        "prod_gradient", _prod_gradient_rule, _prod_gradient_numpy, None, _prod_gradient_gradient,
        value_attrs=("axis",), expand=_prod_gradient_expand, node_name="ProdGrad", input_names=("x", "dy"),
    )
)  # fmt: skip


def _prod_gradient_of(op: Operation, dy: Tensor) -> Tensor:
    return apply(prod_gradient_op, (op.inputs[0], _keep(op, dy)), {"axis": attr_value(op, "axis")})


reduce_prod = reduction(
    "prod", numpy=_numpy(np.prod), opencl=Reduce("1", combine="x * y"), gradient=_prod_gradient_of,
    onnx="ReduceProd", node_name="Prod",
    doc="Return the product over `axis`.  Its gradient is right where elements are 0.",
)  # fmt: skip
sum_op = get_op("sum")


# -- places of the extremes -----------------------------------------------------------------------------


def _arg_rule(x: Spec, *, axis: Any, output_type: DType) -> tuple[Spec]:
    require_kind(x, "numeric", "the input")
    if output_type not in (dtypes.int32, dtypes.int64):
        raise RuleError(f"output_type is {output_type}", expected="int32 or int64", kind=DTypeError)
    axis = axis[0] if isinstance(axis, tuple) else axis
    if x.shape is None:
        return (Spec(None, output_type),)
    if axis is None:
        return (Spec((None,) * (len(x.shape) - 1), output_type),)
    at = normalize_axis(axis, len(x.shape))
    if x.shape[at] == 0:
        raise RuleError(f"axis {at} has length 0", expected="an element to choose")
    return (Spec(x.shape[:at] + x.shape[at + 1 :], output_type),)


def _arg(
    name: str, numpy: Callable[..., Any], better: str, node_name: str, onnx: str
) -> Callable[..., Tensor]:
    def on_numpy(x: Any, *, axis: Any, output_type: DType) -> Any:
        return numpy(x, axis=axis[0] if isinstance(axis, tuple) else axis).astype(output_type.numpy)

    # NaN counts as the best, as in NumPy; y takes over only where it is strictly better than x.
    combine = f"{better}(y, x) | (gr_ne(y, y) & gr_eq(x, x))"
    opdef = register(
        OpDef(
            name, _arg_rule, on_numpy, Reduce("0", combine=combine, arg=True), no_gradient,
            value_attrs=("axis",), node_name=node_name, onnx=onnx, input_names=("input",),
        )
    )  # fmt: skip

    def function(
        input: Any,
        axis: Any = None,
        name: str | None = None,
        dimension: Any = None,
        output_type: Any = dtypes.int64,
    ) -> Tensor:
        axis = dimension if axis is None else axis
        at = one_int(0 if axis is None else axis, opdef.name, "axis")
        x = convert_to_tensor(input)
        if isinstance(at, int) and x._shape is not None and -len(x._shape) <= at < 0:
            at += len(x._shape)
        return apply(opdef, (x,), {"axis": at, "output_type": as_dtype(output_type)}, name)

    extreme = "largest" if better == "gr_gt" else "smallest"
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return the index of the {extreme} element along `axis`, the first axis by default.\n\n"
        "    Of equal ones it is the first; NaN counts as such.  `dimension` is the older name of `axis`.\n"
    )
    return function


argmax = _arg("argmax", np.argmax, "gr_gt", "ArgMax", "ArgMax")
argmin = _arg("argmin", np.argmin, "gr_lt", "ArgMin", "ArgMin")
arg_max, arg_min = argmax, argmin


# -- to a shape that broadcasts back ------------------------------------------------------------------


def _sum_to_axes(source: Sequence[int | None], target: Sequence[int | None]) -> tuple[int, ...]:
    """The axes of `source` that are summed so that only `target` is left."""
    extra = len(source) - len(target)
    return (*range(extra), *[extra + i for i, d in enumerate(target) if d == 1 and source[extra + i] != 1])


def _sum_to_rule(x: Spec, *, shape: Any) -> tuple[Spec]:
    require_kind(x, "number", "x")
    if isinstance(shape, int):
        shape = (shape,)
    if shape is None or x.shape is None:
        return (Spec(shape, x.dtype),)
    tail = x.shape[len(x.shape) - len(shape) :]
    if len(shape) > len(x.shape) or any(
        t not in (1, None) and d is not None and t != d for t, d in zip(shape, tail)
    ):
        raise RuleError(
            f"{format_shape(x.shape)} cannot be summed to shape {format_shape(shape)}",
            expected="a shape that broadcasts to that of x",
        )
    # A dimension that is not known may still be 1, so nothing follows from that of x.
    return (Spec(tuple(shape), x.dtype),)


def _sum_to_numpy(x: Any, *, shape: Any) -> Any:
    x = np.asarray(x)
    if x.shape == tuple(shape):
        return x
    return _sum_numpy(x, axis=_sum_to_axes(x.shape, shape), keepdims=False).reshape(shape)


def _sum_to_expand(build: Any, inputs: Sequence[Any], specs: Sequence[Spec], attrs: Any) -> Any:
    axes = _sum_to_axes(specs[0].shape, attrs["shape"])  # type: ignore[arg-type]
    total = build("sum", inputs, {"axis": axes, "keepdims": False}) if axes else inputs[0]
    return build("reshape", [total], {"shape": tuple(attrs["shape"])})


sum_to_op = register(
    OpDef(
        "sum_to", _sum_to_rule, _sum_to_numpy, None,
        lambda op, dy: broadcast_to(dy, shape_attr(op.inputs[0])), value_attrs=("shape",),
        expand=_sum_to_expand, node_name="SumTo", input_names=("x",),
    )
)  # fmt: skip


def sum_to_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """Sum `x` over the axes in which a tensor of `shape` would be broadcast to it.

    It undoes `broadcast_to` in gradients: the result has that shape exactly.

    Parameters
    ----------
    x : tensor
    shape : ints or tensor

    Examples
    --------
    >>> import graphrun as gr
    >>> from graphrun.ops.reduce import sum_to_shape
    >>> with gr.Graph().as_default(), gr.Session() as sess:
    ...     print(sess.run(sum_to_shape(gr.ones([2, 3]), (3,))))
    [2. 2. 2.]
    """
    t = convert_to_tensor(x)
    wanted = ints(shape, "sum_to", "shape")
    if is_static(t._shape) and wanted == t._shape:
        return t
    return apply(sum_to_op, (t,), {"shape": wanted}, name)


# -- made of others ---------------------------------------------------------------------------------


def _axis_and_keep(axis: Any, keepdims: Any, reduction_indices: Any, keep_dims: Any) -> tuple[Any, bool]:
    return (
        reduction_indices if axis is None else axis,
        bool(keepdims if keepdims is not None else keep_dims),
    )


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """Return ``log(sum(exp(x)))`` over `axis` without overflow; -inf where every element is -inf."""
    axis, keep = _axis_and_keep(axis, keepdims, reduction_indices, keep_dims)
    x = convert_to_tensor(input_tensor)
    with x.graph.name_scope(name or "ReduceLogSumExp") as scope:
        top = reduce_max(x, axis, True)
        # An infinite maximum would make inf - inf below.
        top = stop_gradient(select(is_finite(top), top, 0))
        total = log(reduce_sum(exp(x - top), axis, keep))
        return apply("add", (total, top if keep else reshape(top, shape(total))), None, scope)


def count_nonzero(
    input_tensor: Any = None,
    axis: Any = None,
    keepdims: bool | None = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
    input: Any = None,
) -> Tensor:
    """Return how many elements over `axis` are not 0 (NaN is not)."""
    axis, keep = _axis_and_keep(axis, keepdims, reduction_indices, keep_dims)
    x = convert_to_tensor(input if input_tensor is None else input_tensor)
    with x.graph.name_scope(name or "count_nonzero"):
        present = x if x.dtype.is_bool else not_equal(x, 0)
        return reduce_sum(cast(present, dtype), axis, keep)


def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool | None = False, name: str | None = None
) -> Tensor:
    """Return the mean squared distance from the mean over `axis`."""
    x = convert_to_tensor(input_tensor)
    with x.graph.name_scope(name or "reduce_variance"):
        return reduce_mean(squared_difference(x, reduce_mean(x, axis, True)), axis, keepdims)


def reduce_std(
    input_tensor: Any, axis: Any = None, keepdims: bool | None = False, name: str | None = None
) -> Tensor:
    """Return the standard deviation over `axis`: the root of `reduce_variance`."""
    x = convert_to_tensor(input_tensor)
    with x.graph.name_scope(name or "reduce_std"):
        return sqrt(reduce_variance(x, axis, keepdims))


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool | None = False, name: str | None = None
) -> Tensor:
    """Return the root of the sum of squares over `axis`."""
    x = convert_to_tensor(input_tensor)
    with x.graph.name_scope(name or "EuclideanNorm"):
        return sqrt(reduce_sum(square(x), axis, keepdims))
