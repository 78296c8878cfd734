"""Convolutions of each channel by itself, and what is made of them."""

from __future__ import annotations

from typing import Any

from graphrun.errors import ShapeError, message
from graphrun.graph.apply import apply, convert_operands, convert_to_tensor
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import reshape, shape
from graphrun.ops.attributes import ints
from graphrun.ops.conv import (
    conv2d,
    conv2d_backprop_filter_op,
    conv2d_backprop_input_op,
    conv2d_op,
    window_attrs,
)
from graphrun.ops.state import identity
from graphrun.ops.window import check_data_format, join_nhwc, one_filter, split_nhwc
from graphrun.shapes import Dim, format_shape


def depthwise_conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve each channel with filters of its own.

    Parameters
    ----------
    input : tensor
        (images, rows, columns, channels).
    filter : tensor
        (rows, columns, channels, multiplier).  Output channel ``k * multiplier + q`` comes from input
        channel k and ``filter[:, :, k, q]``.
    strides, padding, data_format
        As for `conv2d`.
    rate, dilations : int or list of 2 ints, optional
        Distance of the filter's pixels; two names of the same.
    name : str, optional
    filters : tensor, optional
        Newer name of `filter`.
    """
    where = "depthwise_conv2d"
    x, w = convert_operands((input, one_filter(filter, filters, where)))
    attrs = window_attrs(strides, padding, dilations if rate is None else rate, data_format, where)
    with x.graph.name_scope(name or "depthwise") as scope:
        merged = _merge_multiplier(w, where)
        # As many groups as channels; a wrong number of them could pass for another number of groups.
        x = _with_channels(x, w._shape[2], attrs["data_format"], where)  # type: ignore[index]
        return apply(conv2d_op, (x, merged), attrs, scope)


def depthwise_conv2d_native(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """`depthwise_conv2d` with the arguments of TensorFlow's operation of that name."""
    return depthwise_conv2d(
        input, filter, strides, padding, None, name or "DepthwiseConv2dNative", data_format, None, dilations
    )


def depthwise_conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Return the gradient of `depthwise_conv2d` with respect to its input, of shape `input_sizes`."""
    where = "depthwise_conv2d_backprop_input"
    attrs = window_attrs(strides, padding, dilations, data_format, where)
    w, dy = convert_operands((filter, out_backprop))
    with w.graph.name_scope(name or "DepthwiseConv2dNativeBackpropInput") as scope:
        attrs["shape"] = ints(input_sizes, where, "input_sizes")
        return apply(conv2d_backprop_input_op, (_merge_multiplier(w, where), dy), attrs, scope)


def depthwise_conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Return the gradient of `depthwise_conv2d` with respect to its filter, of shape `filter_sizes`."""
    where = "depthwise_conv2d_backprop_filter"
    attrs = window_attrs(strides, padding, dilations, data_format, where)
    x, dy = convert_operands((input, out_backprop))
    with x.graph.name_scope(name or "DepthwiseConv2dNativeBackpropFilter") as scope:
        sizes = ints(filter_sizes, where, "filter_sizes")
        rows, columns, channels, multiplier = [sizes[i] for i in range(4)]
        attrs["shape"] = ints([rows, columns, 1, channels * multiplier], where, "filter_sizes")
        merged = apply(conv2d_backprop_filter_op, (x, dy), attrs)
        return reshape(merged, sizes, name=scope)


depthwise_conv2d_native_backprop_input = depthwise_conv2d_backprop_input
depthwise_conv2d_native_backprop_filter = depthwise_conv2d_backprop_filter


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    dilations: Any = None,
) -> Tensor:
    """A `depthwise_conv2d`, then a convolution with `pointwise_filter`, (1, 1, channels, out channels)."""
    order = check_data_format(data_format, "separable_conv2d")
    with convert_to_tensor(input).graph.name_scope(name or "separable_conv2d") as scope:
        spread = depthwise_conv2d(
            input, depthwise_filter, strides, padding, rate, None, order, dilations=dilations
        )
        return conv2d(spread, pointwise_filter, 1, "VALID", data_format=order, name=scope)


def _merge_multiplier(w: Tensor, where: str) -> Tensor:
    if w._shape is None or len(w._shape) != 4:
        raise ShapeError(
            message(
                f"the filter has shape {format_shape(w._shape)}",
                where=where,
                site=user_site(),
                expected="(rows, columns, channels, multiplier)",
            )
        )
    sizes = ints([shape(w)[i] if d is None else d for i, d in enumerate(w._shape)], where, "filter")
    rows, columns, channels, multiplier = sizes
    return reshape(w, [rows, columns, 1, channels * multiplier])


def _with_channels(x: Tensor, channels: Dim, data_format: str, where: str) -> Tensor:
    if x._shape is not None and len(x._shape) != 4:
        return x  # the convolution's rule tells it
    known = split_nhwc(x._shape, data_format)[3]
    if channels is None or known == channels:
        return x
    if known is not None:
        raise ShapeError(
            message(
                f"the input has {known} channels and the filter {channels}",
                where=where,
                site=user_site(),
                got=f"input: {format_shape(x._shape)}",
                expected="equal numbers; a filter is (rows, columns, channels, multiplier)",
            )
        )
    x = identity(x)
    x.set_shape(join_nhwc(None, None, None, channels, data_format))
    return x
