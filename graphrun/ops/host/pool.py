"""Two-dimensional pooling and its gradients on NumPy.

Each loops over the pixels of the window, at most a few dozen, and is vectorised over the rest.  Padding
is never read: the loops visit real pixels only, so a maximum needs no stand-in for minus infinity
and an average divides by the number of real pixels.

NaN counts as a maximum.  Among equal maxima of a window, the first in row-major order takes the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from graphrun.errors import ShapeError, message
from graphrun.ops.host.conv import Padding, Pair, Window, windows

Array = npt.NDArray[Any]
Index = tuple[slice, ...]


def _spatial(shape: tuple[int, ...], data_format: str) -> Pair:
    return (shape[1], shape[2]) if data_format == "NHWC" else (shape[2], shape[3])


def _windows(
    shape: tuple[int, ...], ksize: Pair, strides: Pair, padding: Padding, data_format: str, where: str
) -> tuple[Window, Window]:
    return windows(_spatial(shape, data_format), ksize, strides, (1, 1), padding, where)


def _output_shape(shape: tuple[int, ...], rows: Window, columns: Window, data_format: str) -> tuple[int, ...]:
    if data_format == "NHWC":
        return (shape[0], rows.output, columns.output, shape[3])
    return (shape[0], shape[1], rows.output, columns.output)


def _taps(rows: Window, columns: Window, data_format: str) -> Iterator[tuple[Index, Index]]:
    """For each window pixel in row-major order: the outputs for which it is real, and the input pixels."""
    every = slice(None)
    for i in range(rows.kernel):
        out_rows, in_rows = rows.overlap(i)
        for j in range(columns.kernel):
            out_columns, in_columns = columns.overlap(j)
            if out_rows.start == out_rows.stop or out_columns.start == out_columns.stop:
                continue
            if data_format == "NHWC":
                yield (every, out_rows, out_columns), (every, in_rows, in_columns)
            else:
                yield (every, every, out_rows, out_columns), (every, every, in_rows, in_columns)


def _counts(rows: Window, columns: Window, data_format: str) -> Array:
    """Number of real pixels of each window, at least 1, in a shape that broadcasts over the output."""
    per_row = np.zeros(rows.output, np.int64)
    for i in range(rows.kernel):
        per_row[rows.overlap(i)[0]] += 1
    per_column = np.zeros(columns.output, np.int64)
    for j in range(columns.kernel):
        per_column[columns.overlap(j)[0]] += 1
    counts = np.maximum(np.outer(per_row, per_column), 1)
    return counts[:, :, None] if data_format == "NHWC" else counts


def _lowest(dtype: np.dtype[Any]) -> Any:
    return dtype.type(-np.inf) if dtype.kind == "f" else np.iinfo(dtype).min


def _compute(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _same_shape(value: Array, expected: tuple[int, ...], what: str, where: str) -> None:
    if value.shape != expected:
        raise ShapeError(
            message(
                f"{what} has the wrong shape",
                where=where,
                got=f"{value.shape}",
                expected=f"{expected}",
                fix="pass the ksize, strides and padding of the forward pooling",
            )
        )


def max_pool(
    x: Array, *, ksize: Pair, strides: Pair, padding: Padding = "VALID", data_format: str = "NHWC"
) -> Array:
    """Maximum of each window; a window without a real pixel gives the lowest value of the dtype.

    Examples
    --------
    >>> max_pool(np.arange(16.0).reshape(1, 4, 4, 1), ksize=(2, 2), strides=(2, 2))[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    rows, columns = _windows(x.shape, ksize, strides, padding, data_format, "max_pool")
    y = np.full(_output_shape(x.shape, rows, columns, data_format), _lowest(x.dtype), x.dtype)
    for out, real in _taps(rows, columns, data_format):
        np.maximum(y[out], x[real], out=y[out])
    return y


def _first_maxima(
    x: Array, y: Array, rows: Window, columns: Window, data_format: str
) -> Iterator[tuple[Index, Index, Array]]:
    """Yield each tap with a mask of the outputs whose first maximum it is."""
    taken = np.zeros(y.shape, np.bool_)
    for out, real in _taps(rows, columns, data_format):
        value, largest = x[real], y[out]
        hit = value == largest
        if x.dtype.kind == "f":
            hit |= np.isnan(value) & np.isnan(largest)
        hit &= ~taken[out]
        taken[out] |= hit
        yield out, real, hit


def max_pool_grad(
    x: Array,
    y: Array,
    dy: Array,
    *,
    ksize: Pair,
    strides: Pair,
    padding: Padding = "VALID",
    data_format: str = "NHWC",
) -> Array:
    """Gradient of :func:`max_pool`: `dy` at the first maximum of each window, summed where windows meet."""
    rows, columns = _windows(x.shape, ksize, strides, padding, data_format, "max_pool_grad")
    expected = _output_shape(x.shape, rows, columns, data_format)
    _same_shape(y, expected, "the forward output", "max_pool_grad")
    _same_shape(dy, expected, "the output's gradient", "max_pool_grad")
    dx = np.zeros(x.shape, _compute(dy.dtype))
    for out, real, hit in _first_maxima(x, y, rows, columns, data_format):
        dx[real] += np.where(hit, dy[out], 0)
    return dx.astype(dy.dtype, copy=False)


def max_pool_grad_grad(
    x: Array,
    y: Array,
    ddx: Array,
    *,
    ksize: Pair,
    strides: Pair,
    padding: Padding = "VALID",
    data_format: str = "NHWC",
) -> Array:
    """Gradient of :func:`max_pool_grad` with respect to ``dy``: `ddx` at the first maximum of each window."""
    rows, columns = _windows(x.shape, ksize, strides, padding, data_format, "max_pool_grad_grad")
    _same_shape(
        y, _output_shape(x.shape, rows, columns, data_format), "the forward output", "max_pool_grad_grad"
    )
    _same_shape(ddx, x.shape, "the gradient", "max_pool_grad_grad")
    ddy = np.zeros(y.shape, ddx.dtype)
    for out, real, hit in _first_maxima(x, y, rows, columns, data_format):
        np.copyto(ddy[out], ddx[real], where=hit)
    return ddy


def avg_pool(
    x: Array, *, ksize: Pair, strides: Pair, padding: Padding = "VALID", data_format: str = "NHWC"
) -> Array:
    """Mean of the real pixels of each window; padding does not count.

    Examples
    --------
    >>> avg_pool(np.ones((1, 3, 3, 1)), ksize=(2, 2), strides=(2, 2), padding="SAME")[0, :, :, 0]
    array([[1., 1.],
           [1., 1.]])
    """
    rows, columns = _windows(x.shape, ksize, strides, padding, data_format, "avg_pool")
    total = np.zeros(_output_shape(x.shape, rows, columns, data_format), _compute(x.dtype))
    for out, real in _taps(rows, columns, data_format):
        total[out] += x[real]
    total /= _counts(rows, columns, data_format).astype(total.dtype)
    return total.astype(x.dtype, copy=False)


def avg_pool_grad(
    dy: Array,
    *,
    shape: tuple[int, ...],
    ksize: Pair,
    strides: Pair,
    padding: Padding = "VALID",
    data_format: str = "NHWC",
) -> Array:
    """Gradient of :func:`avg_pool` with respect to its input, which has `shape`."""
    rows, columns = _windows(shape, ksize, strides, padding, data_format, "avg_pool_grad")
    _same_shape(
        dy, _output_shape(shape, rows, columns, data_format), "the output's gradient", "avg_pool_grad"
    )
    dtype = _compute(dy.dtype)
    share = dy.astype(dtype) / _counts(rows, columns, data_format).astype(dtype)
    dx = np.zeros(shape, dtype)
    for out, real in _taps(rows, columns, data_format):
        dx[real] += share[out]
    return dx.astype(dy.dtype, copy=False)


def max_pool_argmax(x: Array, *, ksize: Pair, strides: Pair, padding: Padding, batch: bool) -> Array:
    """Flat place of each window's first maximum in its NHWC image; with `batch`, in all images."""
    rows, columns = _windows(x.shape, ksize, strides, padding, "NHWC", "max_pool_with_argmax")
    y = max_pool(x, ksize=ksize, strides=strides, padding=padding)
    n, h, w, c = x.shape
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    if not batch:
        places %= max(h * w * c, 1)
    result = np.full(y.shape, -1, np.int64)
    for out, real, first in _first_maxima(x, y, rows, columns, "NHWC"):
        np.copyto(result[out], places[real], where=first)
    return result
