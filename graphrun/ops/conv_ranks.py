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
    order = _order_of_two("conv1d", data_format)
    x, w = convert_operands((input if value is None else value, filters))
    axis = 1 if order == "NHWC" else 2
    strides, rates = (
        (1, _one_step(v, what, axis, "conv1d")) for v, what in ((stride, "stride"), (dilations, "dilations"))
    )
    with x.graph.name_scope(name or "conv1d") as scope:
        rows = expand_dims(x, axis)
        y = conv2d(rows, expand_dims(w, 0), strides, padding, data_format=order, dilations=rates)
        return squeeze(y, [axis], name=scope)


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


def _order_of_two(where: str, data_format: str | None) -> str:
    """The order of images that corresponds to that of sequences."""
    orders = {None: "NHWC", "NWC": "NHWC", "NHWC": "NHWC", "NCW": "NCHW", "NCHW": "NCHW"}
    if data_format not in orders:
        raise ShapeError(
            message(f"data_format={data_format!r}", where=where, site=user_site(), expected='"NWC" or "NCW"')
        )
    return orders[data_format]


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
    order = _order_of_two(where, data_format)
    x, w = convert_operands((input, filters))
    axis = 1 if order == "NHWC" else 2
    with x.graph.name_scope(name or where) as scope:
        sizes = ints(output_shape, where, "output_shape")
        if isinstance(sizes, tuple | list):
            sizes = [*sizes[:axis], 1, *sizes[axis:]]
        else:
            sizes = concat([sizes[:axis], [1], sizes[axis:]], 0)
        y = conv2d_transpose(
            expand_dims(x, axis), expand_dims(w, 0), sizes, (1, _one_step(strides, "strides", axis, where)),
            padding, order, dilations=(1, _one_step(dilations, "dilations", axis, where)),
        )  # fmt: skip
        return squeeze(y, [axis], name=scope)


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
