"""Rows of ``graphrun/ops/segments.py``, ``sets.py`` and ``moving.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, distinct, fixed, ints
from graphrun import dtypes

NARROW = ("float64", "float16", "int32", "uint8")
IDS = fixed([2, 0, 2, -1, 0, 2], "int32")
MODES = ("sum", "prod", "max", "min")


def segments(data: Any, ids: Any, num: int, mode: str, **more: Any) -> Case:
    return case("unsorted_segment", [data, ids], {"num": num, "mode": mode}, **more)


def slow(mode: str) -> Any:
    functions: dict[str, Any] = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}

    def expected(data: Any, ids: Any) -> Any:
        limit = np.finfo(data.dtype).max
        empty = {"sum": 0, "prod": 1, "max": -limit, "min": limit}[mode]
        return np.stack(
            [functions[mode](data[ids == k], 0) if (ids == k).any() else np.full(data.shape[1:], empty)
             for k in range(4)]
        )  # fmt: skip

    return expected


def parts(data: Any, numbers: Any) -> Any:
    return tuple(data[numbers == k] for k in range(3))


def rolls(shape: Any, shift: Any, axis: Any, **more: Any) -> Case:
    return case("roll", [shape], {"shift": shift, "axis": axis}, **more)


def reverses(shape: Any, lengths: Any, seq: int, batch: int, **more: Any) -> Case:
    return case("reverse_sequence", [shape, lengths], {"seq_axis": seq, "batch_axis": batch}, **more)


INDEX, WIDE = {"out_idx": dtypes.int32}, {"out_idx": dtypes.int64}
LEFT, RIGHT = ({"side": s, "out_type": dtypes.int32} for s in ("left", "right"))
TABLE = np.array([[1, 1, 2, 5, 5], [0, 1, 2, 3, 9]], np.float32)
WANTED = np.array([[0, 1, 6], [5, 9, 2.5]], np.float32)

CASES: list[Case] = [
    *(segments(distinct((6, 3)), IDS, 4, m, expected=slow(m), gradient=m in ("sum", "prod")) for m in MODES),
    *(segments(distinct((6, 3)), fixed([1, 0, 1, -1, 0, 1], "int32"), 2, m, label=f"none empty {m}")
      for m in ("max", "min")),
    *(segments(ints((6, 2), 0, 4, None), IDS, 3, m, dtype=d, gradient=False, label=m)
      for m in MODES for d in NARROW if (m, d) != ("prod", "float16")),
    segments(fixed([0.0, 2, 3, 0, 0, 4]), fixed([0, 0, 0, 1, 1, 2], "int64"), 3, "prod", label="zeros",
             second_order=False),
    segments(fixed([1.0, 1, 1]), fixed([0, 0, 0], "int32"), 1, "max", gradient=False, label="ties"),
    segments((2, 3, 2), fixed([[0, 1, 0], [2, 0, 1]], "int32"), 3, "sum"),
    segments((6,), IDS, 3, "sum"),
    segments((0, 2), ints((0,), 0, 2), 3, "max", gradient=False, host_ok=True),
    segments((700, 20), ints((700,), 0, 9), 9, "sum", gradient=False),
    case("countable", [ints((9,), 0, 4, None)], {"low": 0}, dtype="int32"),
    case("unique", [ints((9,), 0, 4, None)], INDEX, dtype="int32", host_ok=True),
    case("unique", [fixed([4, 1, 4, 2], "int64")], WIDE, host_ok=True,
         expected=lambda x: ([4, 1, 2], [0, 1, 0, 2], [2, 1, 1])),
    case("unique", [(5,)], INDEX, host_ok=True),
    case("unique", [(0,)], INDEX, host_ok=True),
    case("setdiff1d", [fixed([1, 2, 3, 4, 2], "int32"), fixed([2, 4], "int32")],
         {"index_dtype": dtypes.int32}, expected=lambda x, y: ([1, 3], [0, 2]), host_ok=True),
    case("dynamic_partition", [(5, 2), fixed([2, 0, 2, 0, 0], "int32")], {"num": 3}, expected=parts,
         host_ok=True),
    case("dynamic_partition", [(2, 2), fixed([[0, 1], [1, 1]], "int32")], {"num": 2}, host_ok=True),
    case("searchsorted", [TABLE, WANTED], LEFT, expected=lambda t, w: np.array([[0, 0, 5], [4, 4, 3]])),
    case("searchsorted", [TABLE, WANTED], RIGHT, expected=lambda t, w: np.array([[0, 2, 5], [4, 5, 3]])),
    case("searchsorted", [fixed([1, 3, 3], "int64"), fixed([3, 4, 0], "int64")], RIGHT, label="int64"),
    case("searchsorted", [fixed(np.zeros(0)), fixed([3.0])], LEFT, label="empty"),
    rolls((5,), (2,), (0,), expected=lambda x: np.roll(x, 2)),
    rolls((3, 4), (-1, 6), (0, 1), expected=lambda x: np.roll(x, (-1, 6), (0, 1))),
    rolls((3, 4), (1, 1), (1, -1)),
    *(rolls((3, 2), (1,), (0,), dtype=d) for d in (*NARROW, "bool")),
    rolls((3, 0), (1,), (1,), gradient=False),
    reverses((2, 4), fixed([3, 4], "int32"), 1, 0,
             expected=lambda x, n: np.stack([np.r_[r[:k][::-1], r[k:]] for r, k in zip(x, n, strict=True)])),
    reverses((4, 3, 2), fixed([0, 2, 4], "int64"), 0, 1),
    reverses((2, 3, 4), fixed([1, 3], "int32"), -2, 0, dtype="int32"),
    case("repeat_places", [fixed([2, 0, 3], "int32")], host_ok=True,
         expected=lambda n: np.array([0, 0, 2, 2, 2])),
]  # fmt: skip
