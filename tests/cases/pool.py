"""Rows of ``graphrun/ops/pool.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, distinct, fixed
from graphrun.ops.host import pool as host

Shape = tuple[int, ...]


def _rows(
    x: Shape, ksize: Any = (2, 2), strides: Any = (2, 2), padding: Any = "VALID", data_format: str = "NHWC",
    dtype: str = "float32", **more: Any,
) -> list[Case]:  # fmt: skip
    attrs = {"ksize": ksize, "strides": strides, "padding": padding, "data_format": data_format}
    more["dtype"] = dtype
    image = distinct(x).array(np.random.default_rng(0), "float64")
    y = host.max_pool(image, **attrs)
    # x and y belong together, so that neither can be moved alone: the rows of max_pool check gradients.
    still = {**more, "gradient": False}
    return [
        case("max_pool", [distinct(x)], attrs, **more),
        case("max_pool_grad", [fixed(image), fixed(y), y.shape], attrs, **still),
        case("max_pool_grad_grad", [fixed(image), fixed(y), x], attrs, **still),
        case("avg_pool", [x], attrs, **more),
        case("avg_pool_grad", [y.shape], {"shape": x, **attrs}, **more),
    ]


_NAN = np.array([1.0, np.nan, 3.0, -np.inf, 2.0, 2.0, np.inf, 0.0], np.float32).reshape(1, 2, 4, 1)

CASES: list[Case] = [
    *_rows((2, 4, 6, 3)),
    *_rows((2, 5, 7, 3), padding="SAME"),
    *_rows((1, 6, 6, 2), ksize=(3, 3), strides=(2, 2)),  # windows that overlap
    *_rows((1, 6, 5, 2), ksize=(3, 2), strides=(1, 1), padding="SAME"),
    *_rows((1, 7, 7, 2), ksize=(2, 2), strides=(3, 3), padding="SAME"),  # pixels in no window
    *_rows((2, 3, 4, 6), data_format="NCHW"),
    *_rows((2, 3, 5, 5), ksize=(3, 3), padding="SAME", data_format="NCHW"),
    *_rows((1, 5, 6, 2), ksize=(3, 3), padding=((1, 1), (0, 1))),
    *_rows((1, 4, 4, 8), dtype="float64"),
    *_rows((1, 4, 4, 8), dtype="float16", gradient=False),
    case(
        "max_pool", [_NAN], {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "data_format": "NHWC"},
        gradient=False, label="nan",
    ),
    case(
        "max_pool", [(1, 4, 4, 3)],
        {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "data_format": "NHWC"},
        dtype="int32", label="int32",
    ),
]  # fmt: skip
