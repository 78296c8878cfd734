"""Rows of ``graphrun/ops/random.py``: the pure operations; the stateful ones have their own tests."""

from __future__ import annotations

import numpy as np

from cases import Case, case
from graphrun.dtypes import as_dtype

_COUNTER = np.int64(3)
_KEY = (0x12345678, 0x9ABCDEF0)


def _draws(op: str, *dtypes: str) -> list[Case]:
    shapes = ((5, 7), (), (0, 3), (1001,))
    return [
        case(op, [_COUNTER], {"key": _KEY, "shape": shape, "dtype": as_dtype(d)}, label=f"{shape} {d}")
        for d in dtypes
        for shape in shapes
    ]


CASES: list[Case] = [
    *_draws("philox_uniform", "float16", "float32", "float64"),
    *_draws("philox_normal", "float16", "float32", "float64"),
    *_draws("philox_truncated_normal", "float16", "float32", "float64"),
    *(
        case(
            "philox_uniform_int",
            [_COUNTER, np.dtype(d).type(-3), np.dtype(d).type(11)],
            {"key": _KEY, "shape": (5, 7), "dtype": as_dtype(d)},
            dtype=d,
            label=d,
        )
        for d in ("int32", "int64")
    ),
    case("philox_shuffle", [_COUNTER, (7, 3)], {"key": _KEY}, gradient=False, host_ok=True),
    case("philox_shuffle", [_COUNTER, (9,)], {"key": _KEY}, dtype="int32", host_ok=True),
    # Sampled by NumPy on the host: what is compared is that it is the same again.
    *(
        case(
            op,
            [_COUNTER, np.array([0.5, 3.0, 40.0])],
            {"key": _KEY, "shape": shape, "dtype": as_dtype(d)},
            label=f"{shape} {d}",
            host_ok=True,
        )
        for op in ("philox_gamma", "philox_poisson")
        for shape, d in (((5, 7), "float32"), ((), "float64"), ((0,), "float16"))
    ),
]
