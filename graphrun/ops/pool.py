"""Two-dimensional pooling and its gradients."""

from __future__ import annotations

from typing import Any

from graphrun.errors import DTypeError, RuleError, message
from graphrun.graph.apply import apply, convert_to_tensor
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.graph.site import user_site
from graphrun.ops.attributes import shape_attr
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.host import pool as host
from graphrun.ops.plans.pool import (
    plan_avg_pool,
    plan_avg_pool_grad,
    plan_max_pool,
    plan_max_pool_grad,
    plan_max_pool_grad_grad,
)
from graphrun.ops.window import (
    Padding,
    Pair,
    check_data_format,
    check_padding,
    join_nhwc,
    output_lengths,
    pair,
    require_rank_4,
    split_nhwc,
)
from graphrun.shapes import Dim, Shape, format_shape, is_compatible


def pooled_shape(
    image: Shape, ksize: Pair, strides: Pair, padding: Padding, data_format: str
) -> tuple[Dim, ...]:
    """The shape of a pooling's result, for shape rules."""
    require_rank_4(image, "the input", data_format)
    n, rows, columns, channels = split_nhwc(image, data_format)
    out = output_lengths(rows, columns, ksize, strides, padding, what="window")
    return join_nhwc(n, *out, channels, data_format)


def _check_pooled(spec: Spec, expected: Shape, what: str) -> None:
    if not is_compatible(spec.shape, expected):
        raise RuleError(
            f"{what} has shape {format_shape(spec.shape)}",
            expected=f"{format_shape(expected)}, that of the pooling of that input",
        )


def _max_pool_rule(x: Spec, **window: Any) -> tuple[Spec]:
    require_kind(x, "numeric", "the input")
    return (Spec(pooled_shape(x.shape, **window), x.dtype),)


def _max_pool_grad_rule(x: Spec, y: Spec, dy: Spec, **window: Any) -> tuple[Spec]:
    require_same_dtype(x, y, dy)
    expected = pooled_shape(x.shape, **window)
    _check_pooled(y, expected, "the output")
    _check_pooled(dy, expected, "the output's gradient")
    return (x,)


def _max_pool_grad_grad_rule(x: Spec, y: Spec, ddx: Spec, **window: Any) -> tuple[Spec]:
    require_same_dtype(x, y, ddx)
    expected = pooled_shape(x.shape, **window)
    _check_pooled(y, expected, "the output")
    _check_pooled(ddx, x.shape, "the gradient")
    return (Spec(expected, x.dtype),)


def _avg_pool_rule(x: Spec, **window: Any) -> tuple[Spec]:
    require_kind(x, "floating", "the input")
    return (Spec(pooled_shape(x.shape, **window), x.dtype),)


def _avg_pool_grad_rule(dy: Spec, *, shape: Any, **window: Any) -> tuple[Spec]:
    require_kind(dy, "floating", "the output's gradient")
    image = (None,) * 4 if shape is None else tuple(shape)
    _check_pooled(dy, pooled_shape(image, **window), "the output's gradient")
    return (Spec(image, dy.dtype),)


def _window(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in ("ksize", "strides", "padding", "data_format")}


def _max_pool_gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(max_pool_grad_op, (op.inputs[0], op.outputs[0], dy), _window(op))


def _max_pool_grad_gradient(op: Operation, ddx: Tensor) -> tuple[None, None, Tensor]:
    # Which pixel is the maximum does not change with small changes of x.
    return None, None, apply(max_pool_grad_grad_op, (*op.inputs[:2], ddx), _window(op))


def _max_pool_grad_grad_gradient(op: Operation, ddy: Tensor) -> tuple[None, None, Tensor]:
    return None, None, apply(max_pool_grad_op, (*op.inputs[:2], ddy), _window(op))


def _avg_pool_gradient(op: Operation, dy: Tensor) -> Tensor:
    return apply(avg_pool_grad_op, (dy,), {"shape": shape_attr(op.inputs[0]), **_window(op)})


def _avg_pool_grad_gradient(op: Operation, ddx: Tensor) -> Tensor:
    return apply(avg_pool_op, (ddx,), _window(op))


_FILES = ("pool.cl",)
_XYD = ("input", "output", "gradient")

max_pool_op = register(
    OpDef(
        "max_pool", _max_pool_rule, host.max_pool, Kernel("pool", plan_max_pool, _FILES), _max_pool_gradient,
        node_name="MaxPool", onnx="MaxPool", input_names=("input",),
    )
)  # fmt: skip
max_pool_grad_op = register(
    OpDef(
        "max_pool_grad", _max_pool_grad_rule, host.max_pool_grad, Kernel("pool", plan_max_pool_grad, _FILES),
        _max_pool_grad_gradient, node_name="MaxPoolGrad", input_names=_XYD,
    )
)  # fmt: skip
max_pool_grad_grad_op = register(
    OpDef(
        "max_pool_grad_grad", _max_pool_grad_grad_rule, host.max_pool_grad_grad,
        Kernel("pool", plan_max_pool_grad_grad, _FILES), _max_pool_grad_grad_gradient,
        node_name="MaxPoolGradGrad", input_names=_XYD,
    )
)  # fmt: skip
avg_pool_op = register(
    OpDef(
        "avg_pool", _avg_pool_rule, host.avg_pool, Kernel("pool", plan_avg_pool, _FILES), _avg_pool_gradient,
        node_name="AvgPool", onnx="AveragePool", input_names=("input",),
    )
)  # fmt: skip
avg_pool_grad_op = register(
    OpDef(
        "avg_pool_grad", _avg_pool_grad_rule, host.avg_pool_grad, Kernel("pool", plan_avg_pool_grad, _FILES),
        _avg_pool_grad_gradient, value_attrs=("shape",), node_name="AvgPoolGrad",
        input_names=("output's gradient",),
    )
)  # fmt: skip


def _pool(
    opdef: OpDef, value: Any, input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any, name: Any
) -> Tensor:
    if (value is None) == (input is None):
        raise DTypeError(
            message(
                "no input" if value is None else "value and input are both given",
                where=opdef.name,
                site=user_site(),
                expected="one of value and input",
            )
        )
    order = check_data_format(data_format, opdef.name)
    attrs = {
        "ksize": pair(ksize, "ksize", opdef.name, order),
        "strides": pair(strides, "strides", opdef.name, order),
        "padding": check_padding(padding, opdef.name, order),
        "data_format": order,
    }
    return apply(opdef, (convert_to_tensor(input if value is None else value),), attrs, name)


def max_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Return the maximum of each window.

    Parameters
    ----------
    value : tensor
        (images, rows, columns, channels), or (images, channels, rows, columns) with ``"NCHW"``.
    ksize, strides : int or list of 1, 2 or 4 ints
        Size and step of the window; four are in the order of `data_format`, with 1 for N and C.
    padding : "SAME", "VALID" or ((top, bottom), (left, right))
        Padding never is the maximum.
    data_format : {"NHWC", "NCHW"}
    name : str, optional
    input : tensor, optional
        Newer name of `value`.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.placeholder(gr.float32, (None, 28, 28, 32))
    >>> gr.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME").shape.as_list()
    [None, 14, 14, 32]
    """
    return _pool(max_pool_op, value, input, ksize, strides, padding, data_format, name)


def avg_pool(
    value: Any = None,
    ksize: Any = None,
    strides: Any = None,
    padding: Any = None,
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Return the mean of each window; padding does not count.

    The parameters are those of `max_pool`.
    """
    return _pool(avg_pool_op, value, input, ksize, strides, padding, data_format, name)


def max_pool2d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    name: str | None = None,
) -> Tensor:
    """Newer name of `max_pool`."""
    return _pool(max_pool_op, None, input, ksize, strides, padding, data_format, name or "MaxPool2d")


def avg_pool2d(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    name: str | None = None,
) -> Tensor:
    """Newer name of `avg_pool`."""
    return _pool(avg_pool_op, None, input, ksize, strides, padding, data_format, name)
