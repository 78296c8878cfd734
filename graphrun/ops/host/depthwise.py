"""Convolution of each channel by itself on NumPy: filter pixel by filter pixel, without copies of windows.

Windows come as the view ``(images, out rows, out columns, filter rows, filter columns, channels)``.  The
filter is ``(filter rows, filter columns, channels, outputs of a channel)``, which lie together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def depthwise(windows: Array, w: Array) -> Array:
    """The convolution, (images, out rows, out columns, outputs)."""
    n, rows, columns, kh, kw, channels = windows.shape
    times = w.shape[3]
    if times == 1:
        w = w[..., 0]
        out = np.zeros((n, rows, columns, channels), windows.dtype)
        part = np.empty_like(out)
        for i, j in np.ndindex(kh, kw):
            out += np.multiply(windows[:, :, :, i, j], w[i, j], out=part)
        return out
    out = np.zeros((n, rows, columns, channels, times), windows.dtype)
    for i, j in np.ndindex(kh, kw):
        out += windows[:, :, :, i, j, :, None] * w[i, j]
    return out.reshape(n, rows, columns, channels * times)


def spread(dy: Array, w: Array, i: int, j: int) -> Array:
    """What filter pixel (i, j) adds to the gradient of the input, at the pixels of `dy`."""
    times = w.shape[3]
    if times == 1:
        return dy * w[i, j, :, 0]
    return np.einsum("...cm,cm->...c", dy.reshape(*dy.shape[:-1], *w.shape[2:]), w[i, j])


def filter_gradient(windows: Array, dy: Array, times: int) -> Array:
    """The sum over all pixels, (filter rows, filter columns, channels, times)."""
    kh, kw, channels = windows.shape[3:]
    out = np.empty((kh, kw, channels, times), windows.dtype)
    split = dy.reshape(*dy.shape[:3], channels, times)
    for i, j in np.ndindex(kh, kw):
        out[i, j] = np.einsum("nhwc,nhwcm->cm", windows[:, :, :, i, j], split)
    return out
