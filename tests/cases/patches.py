"""Rows of ``graphrun/ops/patches.py``, ``lrn.py`` and the places of ``pool_ranks.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, cases, distinct, fixed

NARROW = ("float16", "float64", "int32", "uint8")
Shape = tuple[int, ...]


def _patches(
    x: Shape, ksizes: Any, strides: Any = (1, 1), rates: Any = (1, 1), padding: str = "SAME", **more: Any
) -> list[Case]:
    attrs = {"ksizes": ksizes, "strides": strides, "rates": rates, "padding": padding}
    reach = [(k - 1) * r + 1 for k, r in zip(ksizes, rates)]
    if padding == "SAME":
        size = [-(-d // s) for d, s in zip(x[1:3], strides)]
    else:
        size = [(d - r) // s + 1 for d, r, s in zip(x[1:3], reach, strides)]
    pads = [max((o - 1) * s + r - d, 0) for o, s, r, d in zip(size, strides, reach, x[1:3])]
    pads = pads if padding == "SAME" else [0, 0]

    def expected(image: Any) -> Any:
        padded = np.pad(image, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
        y = np.zeros((x[0], *size, ksizes[0] * ksizes[1] * x[3]), image.dtype)
        for p, q in np.ndindex(*size):
            at = p * strides[0], q * strides[1]
            window = padded[:, at[0] : at[0] + reach[0] : rates[0], at[1] : at[1] + reach[1] : rates[1]]
            y[:, p, q] = window.reshape(x[0], -1)
        return y

    y = (x[0], *size, ksizes[0] * ksizes[1] * x[3])
    floating = more.get("dtype", "float32").startswith("float")
    grad = [case("extract_image_patches_grad", [y], {"shape": x, **attrs}, **more)] if floating else []
    return [case("extract_image_patches", [x], attrs, expected=expected, **more), *grad]


def _neighbours(x: Any, radius: int) -> Any:
    n = x.shape[-1]
    near = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= radius
    return x.astype(float) @ near.astype(float)


def _argmax(
    x: Any, ksize: Any, strides: Any, padding: str = "VALID", batch: bool = False, label: str = ""
) -> Case:
    attrs = {"ksize": ksize, "strides": strides, "padding": padding, "batch": batch}
    return case("max_pool_argmax", [x], attrs, label=label)


_SPECIAL = np.array([1.0, np.nan, 3.0, -np.inf, 2.0, 2.0, np.inf, np.nan], np.float32).reshape(1, 2, 4, 1)

CASES: list[Case] = [
    *_patches((2, 5, 6, 3), (3, 2)),
    *_patches((1, 7, 8, 2), (2, 3), (2, 3), padding="VALID"),
    *_patches((1, 7, 9, 2), (3, 2), (2, 1), (2, 3)),
    *_patches((1, 4, 5, 1), (2, 2), (3, 3)),  # pixels in no window
    *[c for d in NARROW for c in _patches((1, 4, 5, 2), (2, 2), dtype=d, gradient=False)],
    *[
        case("neighbour_sum", [(2, 3, n)], {"radius": r}, expected=lambda x, r=r: _neighbours(x, r))
        for n, r in ((1, 2), (7, 2), (5, 9), (33, 0))
    ],
    *cases("neighbour_sum", [(2, 7)], {"radius": 2}, dtypes=("float16", "float64")),
    case("neighbour_sum", [(0, 7)], {"radius": 2}, gradient=False),
    _argmax(distinct((2, 5, 7, 3)), (2, 3), (2, 2)),
    _argmax(distinct((2, 5, 7, 3)), (3, 3), (2, 1), "SAME", True),
    _argmax(fixed(np.zeros((1, 4, 4, 2))), (2, 2), (1, 1), label="ties"),
    _argmax(fixed(_SPECIAL), (2, 2), (2, 2), label="special"),
    case(
        "max_pool_argmax", [(1, 4, 4, 3)],
        {"ksize": (2, 2), "strides": (2, 2), "padding": "SAME", "batch": False}, dtype="int32",
    ),
]  # fmt: skip
