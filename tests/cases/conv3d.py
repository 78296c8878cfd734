"""Rows of ``graphrun/ops/conv3d.py``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cases import Case, case
from graphrun.ops.host.conv import windows
from graphrun.ops.host.conv3d import depth_window

Shape = tuple[int, ...]


def _by_definition(x: Any, w: Any, strides: Any, padding: str, dilations: Any, data_format: str) -> Any:
    """One product at a time."""
    if data_format == "NCDHW":
        x = np.moveaxis(x, 1, -1)
    overs = [
        depth_window(x.shape[1], w.shape[0], strides, padding, dilations),
        *windows(x.shape[2:4], w.shape[1:3], strides[1:], dilations[1:], padding),
    ]
    padded = np.pad(x.astype(float), ((0, 0), *[(o.before, o.after) for o in overs], (0, 0)))
    y = np.zeros((len(x), *[o.output for o in overs], w.shape[4]))
    for at in np.ndindex(*[o.output for o in overs]):
        for tap in itertools.product(*map(range, w.shape[:3])):
            p = [a * o.stride + t * o.dilation for a, t, o in zip(at, tap, overs)]
            y[:, at[0], at[1], at[2]] += padded[:, p[0], p[1], p[2]] @ w[tap].astype(float)
    return np.moveaxis(y, -1, 1) if data_format == "NCDHW" else y


def _rows(
    x: Shape, w: Shape, strides: Any = (1, 1, 1), padding: str = "SAME", dilations: Any = (1, 1, 1),
    data_format: str = "NDHWC", **more: Any,
) -> list[Case]:  # fmt: skip
    attrs = {"strides": strides, "padding": padding, "dilations": dilations, "data_format": data_format}
    window = (strides, padding, dilations, data_format)
    y = _by_definition(np.zeros(x), np.zeros(w), *window).shape
    return [
        case("conv3d", [x, w], attrs, expected=lambda a, b: _by_definition(a, b, *window), **more),
        case("conv3d_backprop_input", [w, y], {"shape": x, **attrs}, **more),
        case("conv3d_backprop_filter", [x, y], {"shape": w, **attrs}, **more),
    ]


CASES: list[Case] = [
    *_rows((2, 3, 4, 3, 2), (2, 3, 2, 2, 3)),
    *_rows((1, 5, 4, 5, 2), (3, 2, 3, 2, 2), strides=(2, 1, 2)),
    *_rows((1, 6, 5, 4, 1), (2, 3, 1, 1, 2), strides=(3, 2, 1), padding="VALID"),
    *_rows((1, 5, 4, 4, 2), (3, 2, 2, 2, 2), dilations=(2, 1, 2)),
    *_rows((1, 2, 4, 3, 3), (3, 2, 2, 2, 3), data_format="NCDHW"),
    *_rows((1, 1, 3, 3, 2), (1, 1, 1, 2, 3), strides=(2, 2, 2)),
    # Sums of many products of either sign: some come out near 0.
    # Sums of 504 products that cancel to thousandths of the largest one: devices add in other orders.
    *_rows((1, 7, 9, 8, 17), (3, 3, 3, 17, 16), gradient=False, tolerance=30),
    *_rows((1, 4, 5, 4, 2), (3, 2, 2, 2, 3), dtype="float64", gradient=False),
    # The host adds up in float32 and rounds once, devices once for each depth of the filter.
    *_rows((1, 4, 5, 4, 2), (3, 2, 2, 2, 3), dtype="float16", gradient=False, tolerance=4),
    *_rows((0, 3, 4, 3, 2), (2, 3, 2, 2, 3), gradient=False, on_device=False),
]
