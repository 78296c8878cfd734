"""Rows of ``graphrun/ops/rows.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, fixed
from graphrun import dtypes

NARROW = ("float64", "float16", "int32", "uint8", "bool")
TWO = fixed(2, "int32")


def written(x: Any, i: Any, row: Any) -> Any:
    return np.stack([row if k == i else x[k] for k in range(len(x))])


CASES: list[Case] = [
    case("new_rows", [], {"size": 3, "dtype": dtypes.float32}, expected=lambda: np.zeros((3, 0)),
         host_ok=True),
    case("read_row", [(4, 3), TWO], expected=lambda x, i: x[2]),
    case("read_row", [(4,), fixed(0, "int64")], expected=lambda x, i: x[0], label="first"),
    case("read_row", [(4, 2, 3), fixed(3, "int64")], expected=lambda x, i: x[3]),
    case("read_row", [(4, 0), TWO], gradient=False, host_ok=True),
    *(case("read_row", [(4, 3), TWO], dtype=d) for d in NARROW),
    # The gradient of the array itself takes it for granted that a row is written once, as loops do.
    case("write_row", [(4, 3), TWO, (3,)], gradient=False, expected=written),
    case("write_row", [(4,), TWO, ()], gradient=False, expected=written),
    case("write_row", [(4, 0), TWO, (3,)], gradient=False, label="the first",
         expected=lambda x, i, row: written(np.zeros((4, 3)), i, row)),
    *(case("write_row", [(4, 3), TWO, (3,)], dtype=d, gradient=False) for d in NARROW),
    case("add_row", [(4, 3), TWO, (3,)], expected=lambda x, i, row: written(x, i, x[2] + row)),
    case("add_row", [(4, 2, 3), fixed(0, "int64"), (2, 3)]),
    *(case("add_row", [(4, 3), TWO, (3,)], dtype=d) for d in NARROW[:-1]),
    case("grow_row", [(4, 3), TWO, (3,)], gradient=False, expected=written, host_ok=True),
    case("grow_row", [(4, 3), fixed(4, "int32"), (3,)], gradient=False, host_ok=True, label="longer",
         expected=lambda x, i, row: np.concatenate([x, row[None]])),
]  # fmt: skip
