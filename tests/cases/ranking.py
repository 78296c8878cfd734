"""Rows of ``graphrun/ops/ranking.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, case, cases, distinct, fixed, floats, ints

TIES = np.array([[2, 1, 2, 0, 1], [0, 0, 0, 3, 0]], np.float32)
UNUSUAL = np.array([1.0, np.inf, -np.inf, 0.0, -0.0, 7.0], np.float32)
NARROW = ("float64", "float16", "int32", "int64", "uint8")


def runs(op: str, shape: Any, axis: int, exclusive: bool = False, reverse: bool = False, **more: Any) -> Case:
    attrs = {"axis": axis, "exclusive": exclusive, "reverse": reverse}
    return case(op, [shape], attrs, **more)


def slow(op: Any, first: int, exclusive: bool, reverse: bool) -> Any:
    """One entry after the other, along the last axis."""

    def expected(x: np.ndarray) -> np.ndarray:
        result = np.empty_like(x)
        places = range(x.shape[-1])
        total = np.full(x.shape[:-1], first, x.dtype)
        for j in reversed(places) if reverse else places:
            result[..., j] = total if exclusive else op(total, x[..., j])
            total = op(total, x[..., j])
        return result

    return expected


def in_top(p: np.ndarray, t: np.ndarray) -> Any:
    return np.array([(row > row[i]).sum() < 2 for row, i in zip(p, t, strict=True)])


CASES: list[Case] = [
    case("top_k", [distinct((3, 7))], {"k": 3, "sorted": True},
         expected=lambda x: (-np.sort(-x)[:, :3], np.argsort(-x)[:, :3].astype(np.int32))),
    *cases("top_k", [ints((2, 3, 9), 0, 50, None)], {"k": 4, "sorted": True}, dtypes=NARROW,
           gradient=False),
    case("top_k", [TIES], {"k": 4, "sorted": False}, gradient=False, label="ties",
         expected=lambda x: (np.array([[2, 2, 1, 1], [3, 0, 0, 0]]), np.array([[0, 2, 1, 4], [3, 0, 1, 2]]))),
    case("top_k", [distinct((5,))], {"k": 5, "sorted": True}),
    case("top_k", [UNUSUAL], {"k": 3, "sorted": True}, gradient=False, label="unusual"),
    case("top_k", [(2, 4)], {"k": 0, "sorted": True}, gradient=False),
    case("top_k", [(0, 4)], {"k": 2, "sorted": True}, gradient=False),
    # So long that runs are merged, in an odd and in an even number of steps.
    case("top_k", [distinct((3, 33))], {"k": 33, "sorted": True}),
    case("top_k", [distinct((2, 100))], {"k": 7, "sorted": True}, gradient=False),
    case("argsort", [ints((3, 1000), 0, 40, None)], {"descending": True}, dtype="int32", label="long"),
    case("argsort", [ints((2, 77), 0, 9, None)], {"descending": False}, label="ties in runs"),
    case("argsort", [np.where(np.arange(120) % 7 == 3, np.nan, np.arange(120) % 11).astype(np.float32)],
         {"descending": False}, label="nan in runs"),
    *cases("in_top_k", [(6, 5), ints((6,), 0, 5)], {"k": 2}, dtypes=("float32", "float64"), expected=in_top),
    case("in_top_k", [TIES, fixed([1, 4], "int64")], {"k": 3}, label="ties",
         expected=lambda p, t: np.array([True, True])),
    case("in_top_k", [np.array([[1, np.inf], [np.nan, 1], [2, 1], [2, 1], [3, 4]], np.float32),
                      fixed([0, 1, 2, -1, 0], "int32")], {"k": 5}, label="not finite",
         expected=lambda p, t: np.array([False, False, False, False, True])),
    case("in_top_k", [(0, 5), ints((0,), 0, 5)], {"k": 2}, host_ok=True),
    case("argsort", [distinct((3, 7))], {"descending": False},
         expected=lambda x: np.argsort(x)),
    *cases("argsort", [ints((2, 9), 0, 9, None)], {"descending": True}, dtypes=NARROW),
    case("argsort", [TIES], {"descending": False}, label="ties",
         expected=lambda x: np.array([[3, 1, 4, 0, 2], [0, 1, 2, 4, 3]])),
    case("argsort", [TIES], {"descending": True}, label="ties down",
         expected=lambda x: np.array([[0, 2, 1, 4, 3], [3, 0, 1, 2, 4]])),
    case("argsort", [(2, 0)], {"descending": True}),
    *(runs(op, (2, 5), 1, e, r, expected=slow(f, first, e, r))
      for op, f, first in (("cumsum", np.add, 0), ("cumprod", np.multiply, 1))
      for e in (False, True) for r in (False, True)),
    *(runs(op, ints((4, 3), 0, 4, None), 0, dtype=d, gradient=False)
      for op in ("cumsum", "cumprod") for d in NARROW if d != "float64"),
    runs("cumsum", (2, 5, 3), -2, True, True, dtype="float64"),
    runs("cumprod", (2, 5, 3), 1, dtype="float64"),
    runs("cumsum", (0, 5), 1, gradient=False),
    runs("cumsum", (5, 0), 1, True, gradient=False),
    # So long that lines are cut; sums of many terms lose digits.
    runs("cumsum", floats((30_001,), -1, 1), 0, True, False, gradient=False, tolerance=100),
    runs("cumsum", ints((20_011, 2), -9, 9, None), 0, False, True, dtype="int32", gradient=False),
    runs("cumprod", floats((9001,), 0.99, 1.01), 0, True, True, dtype="float64", gradient=False,
         tolerance=100),
    runs("cumsum", floats((3, 1000), 0, 1), 1, gradient=False),
    runs("cumsum", floats((100_000,), 0, 1), 0, False, True, dtype="float64", gradient=False),
]  # fmt: skip
