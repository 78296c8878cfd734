"""Rows of ``graphrun/ops/scatter.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphrun as gr
from cases import Case, apart, case, cases, fixed, floats, ints
from graphrun.ops.indexing import read_key

NARROW = ("float64", "float16", "int32", "uint8")
TWICE = fixed([3, 0, 3, 4, 3], "int32")
PAIRS = fixed([[0, 2], [1, 1], [0, 2], [1, 0]], "int64")
MODES = ("update", "add", "sub", "mul", "div", "min", "max")
SMOOTH = ("update", "add", "sub")


def writes(
    shape: tuple[int, ...], indices: Any, updates: Any, mode: str, nd: bool = False, **more: Any
) -> Case:
    once = mode != "update" or indices not in (TWICE, PAIRS)
    more.setdefault("gradient", mode in SMOOTH and once)
    return case("scatter_rows", [shape, indices, updates], {"mode": mode, "nd": nd}, **more)


def slow(mode: str) -> Any:
    functions: dict[str, Any] = {
        "update": lambda x, u: u, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
        "min": np.minimum, "max": np.maximum,
    }  # fmt: skip

    def expected(x: Any, indices: Any, updates: Any) -> Any:
        result = x.copy()
        for row, u in zip(indices, updates, strict=True):
            result[row] = functions[mode](result[row], u)
        return result

    return expected


def slow_nd(indices: Any, updates: Any) -> Any:
    result = np.zeros((2, 3, 2), updates.dtype)
    for at, u in zip(indices, updates, strict=True):
        result[tuple(at)] += u
    return result


def takes(params: Any, indices: Any, **more: Any) -> Case:
    return case("gather_nd", [params, indices], **more)


def slow_places(indices: Any) -> Any:
    found = indices.tolist()
    return np.array([found.index(i) for i in found], np.int32).reshape(-1)


def slice_assigned(shape: tuple[int, ...], key: Any, inner: Any, **more: Any) -> Case:
    dtype = more.pop("dtype", "float32")
    more.setdefault("gradient", dtype in ("float32", "float64"))
    items = key if isinstance(key, tuple) else (key,)
    with gr.Graph().as_default():
        attrs, _, _ = read_key(gr.zeros(shape), items)

    def expected(x: Any, value: Any) -> Any:
        result = x.copy()
        result[key] = value
        return result

    return case(
        "slice_assigned",
        [shape, inner],
        attrs,
        expected=expected,
        dtype=dtype,
        label=f"{key} of {inner}",
        **more,
    )


SLICES: list[tuple[Any, Any]] = [
    (np.s_[1], (3, 2)), (np.s_[1], (2,)), (np.s_[1, 2, 0], ()), (np.s_[1:], (3, 3, 2)), (np.s_[1:3, 0], (2,)),
    (np.s_[:, 1], (4, 2)), (np.s_[..., ::-1], (4, 3, 2)), (np.s_[:, None, 2:0:-1], (4, 1, 2, 1)),
    (np.s_[3:1], (0, 3, 2)), (np.s_[0, ::2], (1, 1, 2)), (np.s_[...], (3, 2)),
]  # fmt: skip

CASES: list[Case] = [
    *(slice_assigned((4, 3, 2), key, inner) for key, inner in SLICES),
    *(slice_assigned((40, 6), np.s_[7], (6,), dtype=d) for d in NARROW),
    *(case("first_places", [ints((n,), -bound, bound)], expected=slow_places, label=f"{n} of {bound}")
      for n, bound in ((1, 3), (7, 3), (300, 9), (300, 100_000), (3000, 700))),
    *cases("first_places", [ints((40,), 0, 30, None)], dtypes=("int64", "uint8", "int8")),
    case("first_places", [fixed([], "int32")], host_ok=True),
    takes((2, 3), PAIRS, expected=lambda x, i: x[i[:, 0], i[:, 1]]),
    takes((2, 3, 4), PAIRS, expected=lambda x, i: x[i[:, 0], i[:, 1]]),
    takes((5, 3), fixed([[[4]], [[0]]], "int32"), expected=lambda x, i: x[i[..., 0]]),
    takes((2, 3), np.zeros((4, 0), np.int32), expected=lambda x, i: np.stack([x] * 4), gradient=False),
    takes((2, 3), fixed([1, 2], "int32"), expected=lambda x, i: x[1, 2]),
    takes((2, 3), ints((0, 2), 0, 2), gradient=False),
    *cases("gather_nd", [(2, 3), PAIRS], dtypes=(*NARROW, "bool")),
    case("scatter_nd", [PAIRS, (4, 2)], {"shape": (2, 3, 2)}, expected=slow_nd),
    case("scatter_nd", [fixed([[3], [0], [3], [4], [3]], "int32"), (5, 2)], {"shape": (6, 2)}),
    case("scatter_nd", [PAIRS, (4,)], {"shape": (2, 3)}),
    case("scatter_nd", [ints((0, 1), 0, 2), (0, 2)], {"shape": (3, 2)}, gradient=False, host_ok=True),
    case("scatter_nd", [np.zeros((3, 0), np.int32), (3, 2)], {"shape": (2,)}, host_ok=True, gradient=False),
    *cases("scatter_nd", [PAIRS, (4, 2)], {"shape": (2, 3, 2)}, dtypes=("float64", "int32", "uint8")),
    case("scatter_nd", [ints((700, 2), 0, 9), (700, 20)], {"shape": (9, 9, 20)}, gradient=False),
    case("row_numbers", [ints((5, 2), 0, 3)], {"dims": (3, 4)}, expected=lambda i: i[:, 0] * 4 + i[:, 1]),
    *(writes((6, 3), TWICE, apart((5, 3), 0.5, 2), m, expected=slow(m)) for m in MODES),
    *(writes((6, 3), fixed([5, 1], "int64"), apart((2, 3), 0.5, 2), m, expected=slow(m), label=f"apart {m}")
      for m in MODES),
    *(writes((2, 3, 4), PAIRS, floats((4, 4), 0.5, 2), m, True) for m in ("update", "add", "sub", "max")),
    *(writes((6, 2), TWICE, ints((5, 2), 1, 4, None), m, dtype=d, gradient=False, label=m, host_ok=m == "div")
      for d in NARROW for m in ("update", "add", "mul", "min", "div")),
    writes((6, 3), TWICE, fixed(0.5), "add", label="one number"),
    writes((6, 3), fixed([2, 3], "int32"), fixed(0.5), "update", label="one number for rows"),
    writes((6,), fixed([[1, 2], [3, 4]], "int32"), (2, 2), "sub"),
    writes((6, 3), fixed([1], "int32"), fixed([[np.nan, np.inf, -1.0]]), "max", label="nan", gradient=False),
    writes((6, 3), ints((0,), 0, 6), (0, 3), "add", gradient=False),
    writes((6,), TWICE, (5,), "update", dtype="bool", gradient=False),
    writes((3000, 65), ints((700,), 0, 3000), (700, 65), "add", gradient=False, label="large"),
    writes((3000,), ints((700,), 0, 50), (700,), "sub", gradient=False, label="many of few"),
]  # fmt: skip
