"""Rows of ``graphrun/ops/conv.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case
from graphrun.ops.host.conv import conv2d, nhwc_shape

Shape = tuple[int, ...]


def _rows(
    x: Shape, w: Shape, strides: Any = (1, 1), padding: Any = "SAME", dilations: Any = (1, 1),
    data_format: str = "NHWC", dtype: str = "float32", **more: Any,
) -> list[Case]:  # fmt: skip
    """The convolution and both of its gradients."""
    attrs = {"strides": strides, "padding": padding, "dilations": dilations, "data_format": data_format}
    y = conv2d(np.zeros(x), np.zeros(w), **attrs).shape
    assert nhwc_shape(y, data_format)[3] == w[3]
    more["dtype"] = dtype
    return [
        case("conv2d", [x, w], attrs, **more),
        case("conv2d_backprop_input", [w, y], {"shape": x, **attrs}, **more),
        case("conv2d_backprop_filter", [x, y], {"shape": w, **attrs}, **more),
    ]


CASES: list[Case] = [
    *_rows((2, 5, 6, 3), (3, 3, 3, 4)),
    *_rows((2, 5, 6, 3), (3, 3, 3, 4), padding="VALID"),
    *_rows((1, 7, 8, 2), (3, 2, 2, 3), strides=(2, 3)),
    *_rows((1, 7, 8, 2), (3, 2, 2, 3), strides=(2, 2), padding="VALID"),
    *_rows((1, 8, 9, 2), (3, 3, 2, 2), dilations=(2, 3)),
    *_rows((1, 8, 9, 2), (3, 3, 2, 2), dilations=(2, 2), padding="VALID"),
    *_rows((2, 5, 4, 2), (2, 3, 2, 3), padding=((1, 2), (0, 3))),
    *_rows((2, 3, 5, 6), (3, 3, 3, 4), data_format="NCHW"),
    *_rows((2, 3, 5, 6), (3, 3, 3, 4), strides=(2, 2), padding="VALID", data_format="NCHW"),
    *_rows((2, 4, 4, 3), (1, 1, 3, 5)),
    *_rows((1, 5, 5, 2), (1, 1, 2, 3), strides=(2, 2)),  # a stride that passes over pixels
    *_rows((1, 5, 5, 6), (3, 3, 3, 4)),  # two groups
    *_rows((1, 5, 5, 4), (3, 3, 1, 8)),  # depthwise
    *_rows((1, 5, 6, 7), (3, 2, 1, 7), strides=(2, 1)),
    *_rows((1, 6, 5, 5), (2, 3, 1, 5), dilations=(2, 2), padding="VALID"),
    # Sums of up to 288 products of either sign: some come out near 0.
    *_rows((3, 9, 9, 16), (3, 3, 16, 32), dtype="float64", gradient=False, tolerance=10),
    *_rows((1, 6, 6, 4), (3, 3, 4, 8), dtype="float16", gradient=False),
]
