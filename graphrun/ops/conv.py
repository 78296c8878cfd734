"""Two-dimensional convolution, its two gradients, and the transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.errors import RuleError
from graphrun.graph.apply import apply, convert_operands
from graphrun.graph.descriptor import Kernel, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, register
from graphrun.ops.attributes import ints, shape_attr
from graphrun.ops.families import require_kind, require_same_dtype
from graphrun.ops.host import conv as host
from graphrun.ops.plans.conv import plan_conv2d, plan_conv2d_backprop_filter, plan_conv2d_backprop_input
from graphrun.ops.window import (
    Padding,
    Pair,
    check_data_format,
    check_padding,
    join_nhwc,
    one_filter,
    output_lengths,
    pair,
    require_rank_4,
    split_nhwc,
)
from graphrun.shapes import Dim, Shape, format_shape, is_compatible

_ONES = (1, 1, 1, 1)


def _check_operands(image: Spec, filter: Shape, dtypes: Sequence[Spec], data_format: str) -> None:
    dtype = require_same_dtype(*dtypes)
    require_kind(Spec(None, dtype), "floating", "the input")
    require_rank_4(image.shape, "the input", data_format)
    if filter is not None and len(filter) != 4:
        raise RuleError(
            f"the filter has rank {len(filter)}", expected="(rows, columns, in channels, out channels)"
        )


def _check_channels(channels: Dim, filter: Shape) -> None:
    inner, outer = filter[2:] if filter is not None else (None, None)
    if channels is None or inner is None or channels == inner:
        return
    if inner == 0 or channels % inner or (outer is not None and outer % (channels // inner)):
        raise RuleError(
            f"the input has {channels} channels and the filter takes {inner}",
            expected="equal numbers; or, for g groups of channels, g times as many in the input, where g"
            " divides the filter's last dimension",
            fix="a filter is (rows, columns, in channels, out channels), whatever data_format is",
        )


def _conv2d_rule(
    x: Spec, w: Spec, *, strides: Pair, padding: Padding, dilations: Pair, data_format: str
) -> tuple[Spec]:
    _check_operands(x, w.shape, (x, w), data_format)
    n, rows, columns, channels = split_nhwc(x.shape, data_format)
    _check_channels(channels, w.shape)
    kernel = w.shape[:2] if w.shape is not None else (None, None)
    out = output_lengths(rows, columns, kernel, strides, padding, dilations)  # type: ignore[arg-type]
    return (Spec(join_nhwc(n, *out, None if w.shape is None else w.shape[3], data_format), x.dtype),)


def _expect_gradient(
    dy: Spec, image: Shape, filter: Shape, strides: Pair, padding: Padding, dilations: Pair, data_format: str
) -> None:
    """Raise unless `dy` has the shape of the forward convolution's result."""
    require_rank_4(dy.shape, "the output's gradient", data_format)
    n, rows, columns, channels = split_nhwc(image, data_format)
    _check_channels(channels, filter)
    kernel = filter[:2] if filter is not None else (None, None)
    out = output_lengths(rows, columns, kernel, strides, padding, dilations)  # type: ignore[arg-type]
    expected = join_nhwc(n, *out, None if filter is None else filter[3], data_format)
    if not is_compatible(dy.shape, expected):
        raise RuleError(
            f"an input of shape {format_shape(image)} gives an output of shape {format_shape(expected)},"
            f" not {format_shape(dy.shape)}",
            expected="sizes that the convolution of that filter, these strides and this padding has",
        )


def _known_rank_4(shape: Any, what: str) -> tuple[Dim, ...]:
    if shape is None:
        return (None,) * 4
    if len(shape) != 4:
        raise RuleError(f"{what} has {len(shape)} entries", expected="4 of them")
    return tuple(shape)


def _backprop_input_rule(
    w: Spec, dy: Spec, *, shape: Any, strides: Pair, padding: Padding, dilations: Pair, data_format: str
) -> tuple[Spec]:
    image = _known_rank_4(shape, "the input's shape")
    _check_operands(Spec(image, dy.dtype), w.shape, (dy, w), data_format)
    _expect_gradient(dy, image, w.shape, strides, padding, dilations, data_format)
    if image[0] is None and dy.shape is not None:
        image = (dy.shape[0], *image[1:])
    return (Spec(image, dy.dtype),)


def _backprop_filter_rule(
    x: Spec, dy: Spec, *, shape: Any, strides: Pair, padding: Padding, dilations: Pair, data_format: str
) -> tuple[Spec]:
    filter = _known_rank_4(shape, "the filter's shape")
    _check_operands(x, filter, (x, dy), data_format)
    _expect_gradient(dy, x.shape, filter, strides, padding, dilations, data_format)
    if filter[3] is None:
        filter = (*filter[:3], split_nhwc(dy.shape, data_format)[3])
    return (Spec(filter, x.dtype),)


def _window_attrs(op: Operation) -> dict[str, Any]:
    return {key: op.attrs[key] for key in ("strides", "padding", "dilations", "data_format")}


# The three are each other's derivatives: each is linear in both of its inputs.


def _conv2d(x: Tensor, w: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(conv2d_op, (x, w), dict(attrs))


def _input_gradient(w: Tensor, dy: Tensor, x: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(conv2d_backprop_input_op, (w, dy), {"shape": shape_attr(x), **attrs})


def _filter_gradient(x: Tensor, dy: Tensor, w: Tensor, attrs: dict[str, Any]) -> Tensor:
    return apply(conv2d_backprop_filter_op, (x, dy), {"shape": shape_attr(w), **attrs})


def _conv2d_gradient(op: Operation, dy: Tensor) -> tuple[Tensor, Tensor]:
    (x, w), attrs = op.inputs, _window_attrs(op)
    return _input_gradient(w, dy, x, attrs), _filter_gradient(x, dy, w, attrs)


def _backprop_input_gradient(op: Operation, ddx: Tensor) -> tuple[Tensor, Tensor]:
    (w, dy), attrs = op.inputs[:2], _window_attrs(op)
    return _filter_gradient(ddx, dy, w, attrs), _conv2d(ddx, w, attrs)


def _backprop_filter_gradient(op: Operation, ddw: Tensor) -> tuple[Tensor, Tensor]:
    (x, dy), attrs = op.inputs[:2], _window_attrs(op)
    return _input_gradient(ddw, dy, x, attrs), _conv2d(x, ddw, attrs)


_FILES = ("conv.cl", "conv_copy.cl", "conv_depthwise.cl", "conv_plain.cl")

conv2d_op = register(
    OpDef(
        "conv2d", _conv2d_rule, host.conv2d, Kernel("conv", plan_conv2d, _FILES, epilogue=True),
        _conv2d_gradient,
        node_name="Conv2D", onnx="Conv", input_names=("input", "filter"),
    )
)  # fmt: skip
conv2d_backprop_input_op = register(
    OpDef(
        "conv2d_backprop_input", _backprop_input_rule, host.conv2d_backprop_input,
        Kernel("conv", plan_conv2d_backprop_input, _FILES, epilogue=True), _backprop_input_gradient,
        value_attrs=("shape",), node_name="Conv2DBackpropInput", onnx="ConvTranspose",
        input_names=("filter", "output's gradient"),
    )
)  # fmt: skip
conv2d_backprop_filter_op = register(
    OpDef(
        "conv2d_backprop_filter", _backprop_filter_rule, host.conv2d_backprop_filter,
        Kernel("conv", plan_conv2d_backprop_filter, _FILES), _backprop_filter_gradient,
        value_attrs=("shape",), node_name="Conv2DBackpropFilter",
        input_names=("input", "output's gradient"),
    )
)  # fmt: skip


def window_attrs(strides: Any, padding: Any, dilations: Any, data_format: Any, where: str) -> dict[str, Any]:
    order = check_data_format(data_format, where)
    return {
        "strides": pair(strides, "strides", where, order, default=1),
        "padding": check_padding(padding, where, order),
        "dilations": pair(dilations, "dilations", where, order, default=1),
        "data_format": order,
    }


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str | None = "NHWC",
    dilations: Any = _ONES,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Convolve images with a filter (as TensorFlow does: without turning the filter round).

    Parameters
    ----------
    input : tensor
        (images, rows, columns, channels), or (images, channels, rows, columns) with ``"NCHW"``.
    filter : tensor
        (rows, columns, in channels, out channels).  Where the input has g times its in channels, the
        channels form g groups that do not mix.
    strides, dilations : int or list of 1, 2 or 4 ints
        Four are in the order of `data_format`.
    padding : "SAME", "VALID" or pairs
        Pairs are the zeros before and after: ``((top, bottom), (left, right))``, or four pairs in the
        order of `data_format`.
    use_cudnn_on_gpu
        Accepted for TensorFlow's sake.
    data_format : {"NHWC", "NCHW"}
    name : str, optional
    filters : tensor, optional
        Newer name of `filter`.

    Examples
    --------
    >>> import graphrun as gr
    >>> x = gr.placeholder(gr.float32, (None, 28, 28, 1))
    >>> w = gr.placeholder(gr.float32, (5, 5, 1, 32))
    >>> gr.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding="SAME").shape.as_list()
    [None, 14, 14, 32]
    """
    attrs = window_attrs(strides, padding, dilations, data_format, "conv2d")
    return apply(conv2d_op, convert_operands((input, one_filter(filter, filters, "conv2d"))), attrs, name)


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any = None,
    out_backprop: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str | None = "NHWC",
    dilations: Any = _ONES,
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Return the gradient of `conv2d` with respect to its input, of shape `input_sizes`."""
    where = "conv2d_backprop_input"
    attrs = window_attrs(strides, padding, dilations, data_format, where)
    operands = convert_operands((one_filter(filter, filters, where), out_backprop))
    return apply(
        conv2d_backprop_input_op, operands, {"shape": ints(input_sizes, where, "input_sizes"), **attrs}, name
    )


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool = True,
    data_format: str | None = "NHWC",
    dilations: Any = _ONES,
    name: str | None = None,
) -> Tensor:
    """Return the gradient of `conv2d` with respect to its filter, of shape `filter_sizes`."""
    where = "conv2d_backprop_filter"
    attrs = window_attrs(strides, padding, dilations, data_format, where)
    operands = convert_operands((input, out_backprop))
    return apply(
        conv2d_backprop_filter_op,
        operands,
        {"shape": ints(filter_sizes, where, "filter_sizes"), **attrs},
        name,
    )


def conv2d_transpose(
    value: Any = None,
    filter: Any = None,
    output_shape: Any = None,
    strides: Any = None,
    padding: Any = "SAME",
    data_format: str | None = "NHWC",
    name: str | None = None,
    input: Any = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Return the transposed convolution ("deconvolution"): the gradient of `conv2d` as a layer.

    Parameters
    ----------
    value : tensor
        (images, rows, columns, channels).
    filter : tensor
        (rows, columns, out channels, in channels): that of the convolution which it reverses.
    output_shape : tensor or list of 4 ints and tensors
        Several input sizes give the same output size, so it has to be told.
    strides, padding, data_format, dilations
        As for `conv2d`.
    name : str, optional
    input, filters : tensor, optional
        Newer names of `value` and `filter`.
    """
    where = "conv2d_transpose"
    attrs = window_attrs(strides, padding, dilations, data_format, where)
    operands = convert_operands((one_filter(filter, filters, where), input if value is None else value))
    attrs["shape"] = ints(output_shape, where, "output_shape")
    return apply(conv2d_backprop_input_op, operands, attrs, name or "conv2d_transpose")
