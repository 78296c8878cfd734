"""Three-dimensional convolution and its gradients on NumPy: sums of two-dimensional ones over the depth.

The rule is that of `graphrun.ops.host.conv` along each of depth, rows and columns.  A filter is always
(depth, rows, columns, in channels, out channels).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphrun.ops.host.conv import (
    Array,
    Window,
    conv2d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    window,
)

Triple = tuple[int, int, int]


def to_ndhwc(x: Array, data_format: str) -> Array:
    """Return a view with channels last."""
    return x if data_format == "NDHWC" else np.moveaxis(x, 1, -1)


def from_ndhwc(x: Array, data_format: str) -> Array:
    """Return `x`, channels last, in `data_format` and contiguous."""
    return np.ascontiguousarray(x if data_format == "NDHWC" else np.moveaxis(x, -1, 1))


def ndhwc_shape(shape: tuple[int, ...], data_format: str) -> tuple[int, ...]:
    """Return the dimensions of a 5-D shape as (volumes, depth, rows, columns, channels)."""
    return shape if data_format == "NDHWC" else (shape[0], *shape[2:], shape[1])


def depth_window(depth: int, kernel: int, strides: Triple, padding: str, dilations: Triple) -> Window:
    """How the filter moves along the depth."""
    return window(depth, kernel, strides[0], dilations[0], padding, "conv3d")


def _flat(strides: Triple, padding: str, dilations: Triple) -> dict[str, Any]:
    return {"strides": strides[1:], "padding": padding, "dilations": dilations[1:]}


def _taps(over: Window) -> Iterator[tuple[int, slice, slice]]:
    """Each depth of the filter with the output depths that it reaches and the input depths that they read."""
    for k in range(over.kernel):
        outputs, inputs = over.overlap(k)
        if outputs.start < outputs.stop:
            yield k, outputs, inputs


def _images(x: Array) -> Array:
    """(volumes, depth, rows, columns, channels) as images."""
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])


def conv3d(
    x: Array, w: Array, *, strides: Triple, padding: str, dilations: Triple, data_format: str
) -> Array:
    """Convolve volumes with a filter."""
    volumes = to_ndhwc(x, data_format)
    over = depth_window(volumes.shape[1], w.shape[0], strides, padding, dilations)
    flat = _flat(strides, padding, dilations)
    sizes = [window(volumes.shape[2 + i], w.shape[1 + i], strides[1 + i], dilations[1 + i], padding, "conv3d")
             for i in range(2)]  # fmt: skip
    dtype = np.dtype(np.float32) if x.dtype == np.float16 else x.dtype  # sums are not rounded on the way
    out = np.zeros((len(volumes), over.output, sizes[0].output, sizes[1].output, w.shape[4]), dtype)
    if out.size:
        for k, outputs, inputs in _taps(over):
            part = _images(volumes[:, inputs].astype(dtype, copy=False))
            target = out[:, outputs]
            target += conv2d(part, w[k].astype(dtype, copy=False), **flat).reshape(target.shape)
    return from_ndhwc(out.astype(x.dtype, copy=False), data_format)


def conv3d_backprop_input(
    w: Array, dy: Array, *, shape: tuple[int, ...], strides: Triple, padding: str, dilations: Triple,
    data_format: str,
) -> Array:  # fmt: skip
    """Gradient of `conv3d` with respect to its input, which has `shape`."""
    sizes = ndhwc_shape(tuple(shape), data_format)
    gradient = to_ndhwc(dy, data_format)
    over = depth_window(sizes[1], w.shape[0], strides, padding, dilations)
    dtype = np.dtype(np.float32) if dy.dtype == np.float16 else dy.dtype
    dx = np.zeros(sizes, dtype)
    if dx.size and gradient.size:
        for k, outputs, inputs in _taps(over):
            part = _images(gradient[:, outputs].astype(dtype, copy=False))
            target = dx[:, inputs]
            images = (len(part), *sizes[2:])
            flat = _flat(strides, padding, dilations)
            target += conv2d_backprop_input(
                w[k].astype(dtype, copy=False), part, shape=images, **flat
            ).reshape(target.shape)
    return from_ndhwc(dx.astype(dy.dtype, copy=False), data_format)


def conv3d_backprop_filter(
    x: Array, dy: Array, *, shape: tuple[int, ...], strides: Triple, padding: str, dilations: Triple,
    data_format: str,
) -> Array:  # fmt: skip
    """Gradient of `conv3d` with respect to its filter, which has `shape`."""
    volumes, gradient = to_ndhwc(x, data_format), to_ndhwc(dy, data_format)
    over = depth_window(volumes.shape[1], shape[0], strides, padding, dilations)
    dw = np.zeros(shape, x.dtype)
    if dw.size and volumes.size and gradient.size:
        for k, outputs, inputs in _taps(over):
            dw[k] = conv2d_backprop_filter(
                _images(volumes[:, inputs]), _images(gradient[:, outputs]), shape=shape[1:],
                **_flat(strides, padding, dilations),
            )  # fmt: skip
    return dw
