"""Two-dimensional convolution and its two gradients on NumPy.

The window rule is TensorFlow's: output pixel o reads input pixels ``o * stride + k * dilation - before``
for k = 0, 1, ... of the filter.  A filter is always ``(height, width, in channels, out channels)``; when
the input has g times the filter's in channels, channels form g groups that do not mix.

Each function copies the windows of some output rows side by side and leaves the arithmetic to one matrix
product, so that BLAS does the work and the copy stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graphrun.errors import ShapeError, message
from graphrun.ops.host import depthwise

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

_COLUMN_BYTES = 1 << 20  # of window copies at once


class Window(NamedTuple):
    """How the filter moves along one spatial dimension; lengths in pixels."""

    input: int
    output: int
    kernel: int
    stride: int
    dilation: int
    before: int  # padding ahead of the first input pixel
    after: int

    def overlap(self, k: int) -> tuple[slice, slice]:
        """Return the output pixels whose k-th window pixel is a real one, and those input pixels."""
        shift = k * self.dilation - self.before
        first = max(0, -(shift // self.stride))
        last = min(self.output - 1, (self.input - 1 - shift) // self.stride)
        if last < first:
            return slice(0, 0), slice(0, 0)
        start = first * self.stride + shift
        return slice(first, last + 1), slice(start, last * self.stride + shift + 1, self.stride)


def window(
    size: int, kernel: int, stride: int, dilation: int, padding: str | Pair, where: str = "conv2d"
) -> Window:
    """Apply TensorFlow's padding rule along one dimension.

    Parameters
    ----------
    padding : "SAME", "VALID" or (int, int)
        SAME gives ``ceil(size / stride)`` outputs and puts an odd padding pixel at the end.

    Examples
    --------
    >>> window(5, 2, 2, 1, "SAME")
    Window(input=5, output=3, kernel=2, stride=2, dilation=1, before=0, after=1)

    Raises
    ------
    ShapeError
        If the filter is larger than the padded input, or the rule is none of the three.
    """
    reach = (kernel - 1) * dilation + 1
    if padding == "SAME":
        output = -(-size // stride)
        total = max((output - 1) * stride + reach - size, 0)
        return Window(size, output, kernel, stride, dilation, total // 2, total - total // 2)
    if padding == "VALID":
        before = after = 0
    elif isinstance(padding, str):
        raise ShapeError(
            message(
                f"unknown padding {padding!r}",
                where=where,
                expected="'SAME', 'VALID' or ((top, bottom), (left, right))",
            )
        )
    else:
        before, after = padding
    output = (size + before + after - reach) // stride + 1
    if output < 0 or (output == 0 and size + before + after > 0):
        raise ShapeError(
            message(
                "the filter is larger than the padded input",
                where=where,
                got=f"filter {kernel} with dilation {dilation} covers {reach} pixels; input {size},"
                f" padding {before} + {after}",
                expected="at least as many input pixels as the filter covers",
                fix="use padding='SAME', or a smaller filter or dilation",
            )
        )
    return Window(size, output, kernel, stride, dilation, before, after)


def windows(
    spatial: Pair,
    kernel: Pair,
    strides: Pair,
    dilations: Pair,
    padding: Padding,
    where: str = "conv2d",
) -> tuple[Window, Window]:
    """Return the `Window` of the rows and that of the columns."""
    pads = (padding, padding) if isinstance(padding, str) else padding
    rows, columns = (
        window(spatial[i], kernel[i], strides[i], dilations[i], pads[i], where) for i in range(2)
    )
    return rows, columns


def to_nhwc(x: Array, data_format: str) -> Array:
    """Return a view with channels last."""
    return x if data_format == "NHWC" else x.transpose(0, 2, 3, 1)


def from_nhwc(x: Array, data_format: str) -> Array:
    """Return `x`, channels last, in `data_format` and contiguous."""
    return np.ascontiguousarray(x if data_format == "NHWC" else x.transpose(0, 3, 1, 2))


def nhwc_shape(shape: tuple[int, ...], data_format: str) -> tuple[int, int, int, int]:
    """Return the dimensions of a 4-D shape as (images, rows, columns, channels)."""
    n, a, b, c = shape
    return (n, a, b, c) if data_format == "NHWC" else (n, b, c, a)


def _groups(channels: int, filter_shape: tuple[int, ...], where: str) -> int:
    """Return the number of channel groups."""
    per_group, outputs = filter_shape[2], filter_shape[3]
    groups = channels // per_group if per_group else 1
    if groups * per_group != channels or (groups and outputs % groups):
        raise ShapeError(
            message(
                "channels of the input and of the filter do not fit",
                where=where,
                got=f"input channels {channels}, filter (height, width, in, out) {tuple(filter_shape)}",
                expected="input channels equal to the filter's in channels, or a multiple g of it "
                "where g divides the out channels",
            )
        )
    return max(groups, 1)


def _compute(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _padded(x: Array, rows: Window, columns: Window) -> Array:
    """`x` (channels last) in the dtype of computation, with a zero halo."""
    dtype = _compute(x.dtype)
    if not (rows.before or rows.after or columns.before or columns.after):
        return np.ascontiguousarray(x, dtype)
    n, h, w, c = x.shape
    out = np.zeros((n, rows.before + h + rows.after, columns.before + w + columns.after, c), dtype)
    out[:, rows.before : rows.before + h, columns.before : columns.before + w] = x
    return out


def _window_view(padded: Array, rows: Window, columns: Window) -> Array:
    """All windows as a view: (images, out rows, out columns, filter rows, filter columns, channels)."""
    n, _, _, c = padded.shape
    sn, sh, sw, sc = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (n, rows.output, columns.output, rows.kernel, columns.kernel, c),
        (sn, sh * rows.stride, sw * columns.stride, sh * rows.dilation, sw * columns.dilation, sc),
        writeable=False,
    )


def _pieces(images: int, rows: int, row_bytes: int) -> Iterator[tuple[slice, slice]]:
    """Cut (images, output rows) so that the window copies of a piece stay near `_COLUMN_BYTES`."""
    count = max(1, _COLUMN_BYTES // max(row_bytes, 1))
    if count >= rows:
        step = max(1, count // max(rows, 1))
        for n in range(0, images, step):
            yield slice(n, n + step), slice(0, rows)
    else:
        for n in range(images):
            for r in range(0, rows, count):
                yield slice(n, n + 1), slice(r, min(r + count, rows))


def _columns(view: Array, groups: int) -> Array:
    """Copy windows to matrices, (groups, pixels, filter rows * filter columns * channels of a group)."""
    n, oh, ow, kh, kw, c = view.shape
    if groups == 1:
        return view.reshape(1, n * oh * ow, kh * kw * c)
    split = view.reshape(n * oh * ow, kh * kw, groups, c // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, n * oh * ow, kh * kw * (c // groups))


def _filter_matrices(w: Array, groups: int) -> Array:
    """The filter as (groups, filter rows * filter columns * in channels, out channels of a group)."""
    kh, kw, ci, co = w.shape
    flat = w.astype(_compute(w.dtype), copy=False).reshape(kh * kw * ci, groups, co // groups)
    return np.ascontiguousarray(flat.transpose(1, 0, 2))


def _channel_filter(w: Array, channels: int, groups: int) -> Array | None:
    """The filter as (rows, columns, channels, outputs of one) where each channel is a group, else None."""
    if groups == 1 or groups != channels:
        return None
    return w.astype(_compute(w.dtype), copy=False).reshape(*w.shape[:2], channels, -1)


def conv2d(
    x: Array,
    w: Array,
    *,
    strides: Pair = (1, 1),
    padding: Padding = "SAME",
    dilations: Pair = (1, 1),
    data_format: str = "NHWC",
) -> Array:
    """Convolve (in the sense of TensorFlow: correlate) images with a filter.

    Parameters
    ----------
    x : ndarray
        (images, rows, columns, channels), or (images, channels, rows, columns) with ``"NCHW"``.
    w : ndarray
        (filter rows, filter columns, in channels, out channels) whatever `data_format`.
    padding : "SAME", "VALID" or ((top, bottom), (left, right))
        Zeros around each image.

    Examples
    --------
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> conv2d(x, np.ones((2, 2, 1, 1)), padding="VALID")[0, :, :, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    images = to_nhwc(x, data_format)
    n, h, width, channels = images.shape
    kh, kw, ci, co = w.shape
    groups = _groups(channels, w.shape, "conv2d")
    rows, columns = windows((h, width), (kh, kw), strides, dilations, padding, "conv2d")
    out = np.zeros((n, rows.output, columns.output, co), x.dtype)
    if out.size and w.size:
        padded = _padded(images, rows, columns)
        view = _window_view(padded, rows, columns)
        alone = _channel_filter(w, channels, groups)
        matrices = _filter_matrices(w, groups)
        row_bytes = columns.output * kh * kw * channels * padded.itemsize
        for image, row in _pieces(n, rows.output, row_bytes):
            target = out[image, row]
            if alone is not None:
                target[...] = depthwise.depthwise(view[image, row], alone)
                continue
            product = np.matmul(_columns(view[image, row], groups), matrices)
            target[...] = product.transpose(1, 0, 2).reshape(target.shape)
    return from_nhwc(out, data_format)


def conv2d_backprop_input(
    w: Array,
    dy: Array,
    *,
    shape: tuple[int, ...],
    strides: Pair = (1, 1),
    padding: Padding = "SAME",
    dilations: Pair = (1, 1),
    data_format: str = "NHWC",
) -> Array:
    """Gradient of :func:`conv2d` with respect to its input, which has `shape`: transposed convolution."""
    n, h, width, channels = nhwc_shape(shape, data_format)
    kh, kw, ci, co = w.shape
    groups = _groups(channels, w.shape, "conv2d_backprop_input")
    rows, columns = windows((h, width), (kh, kw), strides, dilations, padding, "conv2d_backprop_input")
    gradient = to_nhwc(dy, data_format)
    _check_gradient(gradient, (n, rows.output, columns.output, co), "conv2d_backprop_input")
    dtype = _compute(dy.dtype)
    dx = np.zeros((n, h, width, channels), dtype)
    if gradient.size and w.size:
        alone = _channel_filter(w, channels, groups)
        matrices = _filter_matrices(w, groups).transpose(0, 2, 1)
        row_bytes = columns.output * kh * kw * channels * dtype.itemsize
        taps = [(i, j, *rows.overlap(i), *columns.overlap(j)) for i in range(kh) for j in range(kw)]
        for image, row in _pieces(n, rows.output, row_bytes):
            part = np.ascontiguousarray(gradient[image, row], dtype)
            if alone is None:
                pixels = part.reshape(-1, groups, co // groups).transpose(1, 0, 2)
                product = np.matmul(pixels, matrices).reshape(groups, *part.shape[:3], kh, kw, ci)
                spread = product.transpose(4, 5, 1, 2, 3, 0, 6)  # taps first, then as dy with (groups, ci)
            for i, j, out_rows, in_rows, out_columns, in_columns in taps:
                first, last = max(out_rows.start, row.start), min(out_rows.stop, row.stop)
                if first >= last:
                    continue
                start = in_rows.start + (first - out_rows.start) * rows.stride
                in_part = slice(start, start + (last - first - 1) * rows.stride + 1, rows.stride)
                lines = slice(first - row.start, last - row.start)
                if alone is None:
                    source = spread[i, j][:, lines, out_columns]
                else:
                    source = depthwise.spread(part[:, lines, out_columns], alone, i, j)
                target = dx[image, in_part, in_columns]
                target += source.reshape(target.shape)
    return from_nhwc(dx.astype(dy.dtype, copy=False), data_format)


def conv2d_backprop_filter(
    x: Array,
    dy: Array,
    *,
    shape: tuple[int, ...],
    strides: Pair = (1, 1),
    padding: Padding = "SAME",
    dilations: Pair = (1, 1),
    data_format: str = "NHWC",
) -> Array:
    """Gradient of :func:`conv2d` with respect to its filter, which has `shape` (rows, columns, in, out)."""
    images = to_nhwc(x, data_format)
    n, h, width, channels = images.shape
    kh, kw, ci, co = shape
    groups = _groups(channels, shape, "conv2d_backprop_filter")
    rows, columns = windows((h, width), (kh, kw), strides, dilations, padding, "conv2d_backprop_filter")
    gradient = to_nhwc(dy, data_format)
    _check_gradient(gradient, (n, rows.output, columns.output, co), "conv2d_backprop_filter")
    dtype = _compute(x.dtype)
    total = np.zeros((groups, kh * kw * ci, co // groups), dtype)
    if gradient.size and images.size and total.size:
        padded = _padded(images, rows, columns)
        view = _window_view(padded, rows, columns)
        row_bytes = columns.output * kh * kw * channels * dtype.itemsize
        for image, row in _pieces(n, rows.output, row_bytes):
            part = np.ascontiguousarray(gradient[image, row], dtype)
            if ci == 1 and groups > 1:
                each = depthwise.filter_gradient(view[image, row], part, co // groups)
                total += each.reshape(kh * kw, groups, co // groups).transpose(1, 0, 2)
                continue
            pixels = part.reshape(-1, groups, co // groups).transpose(1, 0, 2)
            total += np.matmul(_columns(view[image, row], groups).transpose(0, 2, 1), pixels)
    dw = total.transpose(1, 0, 2).reshape(kh, kw, ci, co)
    return np.ascontiguousarray(dw, x.dtype)


def _check_gradient(dy: Array, expected: tuple[int, ...], where: str) -> None:
    if dy.shape != expected:
        raise ShapeError(
            message(
                "the output's gradient does not have the output's shape",
                where=where,
                got=f"{dy.shape} (images, rows, columns, channels)",
                expected=f"{expected}",
                fix="pass the shape, strides, padding and dilations of the forward convolution",
            )
        )
