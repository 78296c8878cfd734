"""Convolutions of one dimension, and `convolution` of any number of them."""

from __future__ import annotations

from typing import Any

from graphrun.errors import ShapeError, message
from graphrun.graph.apply import convert_operands
from graphrun.graph.node import Tensor
from graphrun.graph.site import user_site
from graphrun.ops.array import concat, expand_dims, squeeze
from graphrun.ops.attributes import ints
from graphrun.ops.conv import conv2d, conv2d_transpose
from graphrun.ops.conv3d import conv3d, conv3d_transpose
from graphrun.ops.window import one_filter, order_of_sequences
from graphrun.shapes import format_shape


def conv1d(
    value: Any = None,
    filters: Any = None,
    stride: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
    input: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve sequences with a filter.

    Parameters
    ----------
    value : tensor
        (sequences, steps, channels), or (sequences, channels, steps) with ``"NCW"``.
    filters : tensor
        (steps, in channels, out channels).
    stride, dilations : int or list with one int, or three in the order of `data_format`
    padding : {"SAME", "VALID"}
    use_cudnn_on_gpu
        Accepted for TensorFlow's sake.
    data_format : {"NWC", "NCW"}
        The older ``"NHWC"`` and ``"NCHW"`` mean the same.
    name : str, optional
    input : tensor, optional
        Newer name of `value`.
    """
    order = order_of_sequences(data_format, "conv1d")
    x, w = convert_operands((input if value is None else value, filters))
    axis = 1 if order == "NHWC" else 2
    strides, rates = (
        (1, _one_step(v, what, axis, "conv1d")) for v, what in ((stride, "stride"), (dilations, "dilations"))
    )
    with x.graph.name_scope(name or "conv1d"):
        rows = expand_dims(x, axis)
        y = conv2d(rows, expand_dims(w, 0), strides, padding, data_format=order, dilations=rates)
        return squeeze(y, [axis])


def _one_step(value: Any, what: str, axis: int, where: str) -> Any:
    if isinstance(value, list | tuple):
        if len(value) == 1:
            return value[0]
        if len(value) == 3:
            return value[axis]
        raise ShapeError(
            message(
                f"{what} has {len(value)} entries",
                where=where,
                site=user_site(),
                expected="1 or 3 of them",
            )
        )
    return 1 if value is None else value


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """Return the transposed convolution of sequences.

    Parameters
    ----------
    input : tensor
        (sequences, steps, channels), or (sequences, channels, steps) with ``"NCW"``.
    filters : tensor
        (steps, out channels, in channels).
    output_shape : tensor or list of 3 ints and tensors
    strides, padding, data_format, dilations
        As for `conv1d`.
    name : str, optional
    """
    where = "conv1d_transpose"
    order = order_of_sequences(data_format, where)
    x, w = convert_operands((input, filters))
    axis = 1 if order == "NHWC" else 2
    with x.graph.name_scope(name or where):
        sizes = ints(output_shape, where, "output_shape")
        if isinstance(sizes, tuple | list):
            sizes = [*sizes[:axis], 1, *sizes[axis:]]
        else:
            sizes = concat([sizes[:axis], [1], sizes[axis:]], 0)
        y = conv2d_transpose(
            expand_dims(x, axis), expand_dims(w, 0), sizes, (1, _one_step(strides, "strides", axis, where)),
            padding, order, dilations=(1, _one_step(dilations, "dilations", axis, where)),
        )  # fmt: skip
        return squeeze(y, [axis])


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: Any, name: str | None = None) -> Tensor:
    """`conv2d` with a filter whose pixels lie `rate` apart."""
    return conv2d(value, filters, 1, padding, dilations=rate, name=name or "convolution")


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: Any, name: str | None = None
) -> Tensor:
    """`conv2d_transpose` with a filter whose pixels lie `rate` apart."""
    return conv2d_transpose(
        value, filters, output_shape, 1, padding, name=name or "atrous_conv2d_transpose", dilations=rate
    )


def convolution(
    input: Any,
    filter: Any = None,
    padding: Any = None,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
    filters: Any = None,
    dilations: Any = None,
) -> Tensor:
    """Convolve sequences, images or volumes, by the rank of the filter.

    Parameters
    ----------
    input : tensor
        Rank 3, 4 or 5, channels last unless `data_format` starts with ``"NC"``.
    filter : tensor
        Of the same rank: (spatial dimensions, in channels, out channels).
    padding : {"SAME", "VALID"}
    strides, dilation_rate : int or list with one int for each spatial dimension, optional
    name : str, optional
    data_format : str, optional
    filters, dilations
        Newer names of `filter` and `dilation_rate`.
    """
    where = "convolution"
    x, w = convert_operands((input, one_filter(filter, filters, where)))
    rank = _spatial_rank(where, x, w)
    rate = dilation_rate if dilations is None else dilations
    label = name or where
    if rank == 1:
        return conv1d(x, w, strides, padding, None, data_format, label, dilations=rate)
    function = conv2d if rank == 2 else conv3d
    return function(x, w, strides, padding, data_format=data_format, dilations=rate, name=label)


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transposed convolution of sequences, images or volumes, by the rank of the filters."""
    where = "conv_transpose"
    x, w = convert_operands((input, filters))
    functions = (conv1d_transpose, conv2d_transpose, conv3d_transpose)
    function: Any = functions[_spatial_rank(where, x, w) - 1]
    return function(
        x, w, output_shape, strides, padding, data_format=data_format, dilations=dilations, name=name or where
    )


def _spatial_rank(where: str, x: Tensor, w: Tensor) -> int:
    shape = w._shape if w._shape is not None else x._shape
    if shape is None or not 3 <= len(shape) <= 5:
        raise ShapeError(
            message(
                f"the filter has shape {format_shape(w._shape)} and the input {format_shape(x._shape)}",
                where=where,
                site=user_site(),
                expected="rank 3, 4 or 5: the number of spatial dimensions and 2",
                fix="use set_shape, or conv1d, conv2d or conv3d" if shape is None else "",
            )
        )
    return len(shape) - 2
