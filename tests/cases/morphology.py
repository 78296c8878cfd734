"""Rows of ``graphrun/ops/morphology.py`` and ``image_boxes.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, cases, distinct, fixed

Shape = tuple[int, ...]


def _attrs(strides: Any, rates: Any, padding: str) -> dict[str, Any]:
    return {"strides": strides, "rates": rates, "padding": padding}


def _brute_force(strides: Any, rates: Any, padding: str) -> Any:
    def expected(x: Any, kernel: Any) -> Any:
        reach = [(k - 1) * r + 1 for k, r in zip(kernel.shape, rates)]
        before = [0, 0]
        size = [(d - r) // s + 1 for d, r, s in zip(x.shape[1:], reach, strides)]
        if padding == "SAME":
            size = [-(-d // s) for d, s in zip(x.shape[1:3], strides)]
            pads = [(o - 1) * s + r - d for o, s, r, d in zip(size, strides, reach, x.shape[1:])]
            before = [max(p, 0) // 2 for p in pads]
        y = np.zeros((x.shape[0], *size, x.shape[3]))
        places = np.zeros(y.shape, np.int32)
        for n, p, q, c in np.ndindex(y.shape):
            sums = []
            for i, j in np.ndindex(kernel.shape[:2]):
                h, v = p * strides[0] + i * rates[0] - before[0], q * strides[1] + j * rates[1] - before[1]
                inside = 0 <= h < x.shape[1] and 0 <= v < x.shape[2]
                sums.append(float(x[n, h, v, c]) + float(kernel[i, j, c]) if inside else -np.inf)
            y[n, p, q, c], places[n, p, q, c] = max(sums), int(np.argmax(sums))
        return y, places

    return expected


def _rows(x: Shape, kernel: Shape, strides: Any = (1, 1), rates: Any = (1, 1), padding: str = "SAME",
          **more: Any) -> list[Case]:  # fmt: skip
    attrs = _attrs(strides, rates, padding)
    brute = _brute_force(strides, rates, padding)
    # No two sums are the same, so that small steps do not change which is the largest.
    inputs = [distinct(x), distinct(kernel, 0.0137)]
    rng = np.random.default_rng(0)
    places = brute(rng.random(x), rng.random(kernel))[1]
    size = kernel[:2]
    return [
        case("dilation2d_grad", [places.shape, places], {**attrs, "shape": x, "size": size}, **more),
        case("dilation2d_chosen", [x, places], {**attrs, "size": size}, **more),
        case("dilation2d", inputs, attrs, expected=lambda a, k: brute(a, k)[0], **more),
        case("dilation2d_places", inputs, attrs, expected=lambda a, k: brute(a, k)[1], **more),
    ]


_BOX_ATTRS = {
    "key": (0x12345678, 0x9ABCDEF0), "aspects": (0.75, 1.33), "areas": (0.05, 1.0), "attempts": 100,
    "whole": False,
}  # fmt: skip
_BOXES = np.array([[[0.1, 0.2, 0.6, 0.5], [0.5, 0.5, 1, 1]]], np.float32)

CASES: list[Case] = [
    *_rows((2, 5, 4, 3), (3, 2, 3)),
    *_rows((1, 7, 6, 2), (2, 3, 2), strides=(2, 1), padding="VALID"),
    *_rows((1, 7, 6, 2), (3, 2, 2), rates=(2, 3)),
    *_rows((1, 7, 7, 1), (2, 2, 1), strides=(2, 3), rates=(2, 1), padding="SAME", dtype="float64"),
    case("dilation2d", [(0, 4, 4, 2), (2, 2, 2)], _attrs((1, 1), (1, 1), "SAME"), gradient=False),
    *cases("dilation2d", [(1, 5, 5, 2), (2, 3, 2)], _attrs((1, 1), (1, 1), "SAME"),
           dtypes=("float16", "int32", "uint8", "int64"), domain=(-50, 50), gradient=False),
    *cases("dilation2d_places", [(1, 5, 5, 2), (2, 3, 2)], _attrs((1, 1), (1, 1), "SAME"),
           dtypes=("int32", "int64"), domain=(-50, 50)),
    *(
        case(
            "philox_distorted_bounding_box",
            [np.int64(3), fixed([40, 60, 3], dtype), _BOXES, np.float32(least)],
            {**_BOX_ATTRS, **attrs}, host_ok=True, label=f"{least} {attrs}",
        )
        for dtype, least, attrs in (
            ("int32", 0.1, {}), ("int64", 0.9, {}), ("int32", 1.0, {"areas": (0.01, 0.02)}),
            ("int32", 0.0, {"aspects": (1.0, 1.0)}),
        )
    ),
]  # fmt: skip
