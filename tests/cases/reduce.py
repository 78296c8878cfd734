"""Rows of ``graphrun/ops/reduce.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, apart, bools, case, cases, distinct, fixed, floats, ints
from graphrun.dtypes import as_dtype

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")


def _over(axis: Any, keepdims: bool = False) -> dict[str, Any]:
    return {"axis": axis, "keepdims": keepdims}


# One axis at each place, several, all, none, and what is left out at the front and behind.
_LAYOUTS: list[tuple[tuple[int, ...], Any, bool]] = [
    ((3, 4), None, False),
    ((3, 4), None, True),
    ((3, 4), (0,), False),
    ((3, 4), (1,), False),
    ((3, 4), (1,), True),
    ((2, 3, 4), (1,), False),
    ((2, 3, 4), (0, 2), False),
    ((2, 3, 4), (0, 2), True),
    ((2, 3, 4, 2), (1, 2), False),
    ((2, 3, 4), (0, 1), False),
    ((3, 4), (), False),
    ((), None, False),
    ((5,), (0,), False),
    ((1, 4), (0,), False),
]

# Long enough for several work-items, lanes and blocks, and no multiple of any.
_LONG: list[tuple[tuple[int, ...], Any]] = [
    ((5003,), (0,)),
    ((3, 1709), (1,)),
    ((1709, 3), (0,)),
    ((311, 71), (0,)),
    ((7, 5, 131), (0, 2)),
    ((130, 67), (1,)),
]

_EMPTY: list[tuple[tuple[int, ...], Any]] = [((0,), None), ((3, 0), (1,)), ((3, 0), (0,)), ((0, 3), (0,))]


def _rows(op: str, make: Any = floats, tolerance: float = 1.0) -> list[Case]:
    return [
        *[case(op, [make(shape)], _over(axis, keep)) for shape, axis, keep in _LAYOUTS],
        *[
            case(op, [floats(shape, 0.5, 1.5)], _over(axis), gradient=False, tolerance=tolerance)
            for shape, axis in _LONG
        ],
        *[case(op, [shape], _over(axis), gradient=False) for shape, axis in _EMPTY],
        *cases(op, [make((3, 4))], _over((1,)), dtypes=("float16", "float64"), gradient=False),
        *cases(op, [ints((4, 6), 0, 4, None)], _over((1,)), dtypes=INTEGERS),
        case(
            op,
            [fixed([[1, np.inf], [np.nan, 1], [-np.inf, np.inf], [-np.inf, -np.inf]])],
            _over((1,)),
            gradient=False,
            label="special",
        ),
    ]


def _truncated_mean(x: Any) -> Any:
    return np.array([math.trunc(sum(row) / len(row)) for row in x.tolist()])


_SUMS: list[Case] = [
    *_rows("sum", tolerance=2.0),
    *_rows("mean", tolerance=2.0),
    # More than float16 can hold on the way, and less at the end.
    case("mean", [fixed(np.full((70000,), 2.0))], _over(None), dtype="float16", gradient=False, label="long"),
    case(
        "sum",
        [fixed(np.full((3000,), 1.0))],
        _over(None),
        dtype="float16",
        gradient=False,
        label="long",
        expected=lambda x: np.float16(3000),
    ),
    case(
        "sum",
        [fixed([100, 100, 100])],
        _over(None),
        dtype="int8",
        expected=lambda x: np.int8(44),
        label="wrap",
    ),
    *cases(
        "mean",
        [fixed([[-1, -2], [7, 2], [-7, 0]])],
        _over((1,)),
        dtypes=("int8", "int32", "int64"),
        expected=_truncated_mean,
        label="rounding",
    ),
    *cases(
        "mean",
        [fixed(np.arange(300).reshape(2, 150) % 2)],
        _over((1,)),
        dtypes=("int8", "uint8"),
        label="many",
    ),
]

_PRODUCTS: list[Case] = [
    case("prod", [apart(shape, kinks=(0.0,))], _over(axis, keep)) for shape, axis, keep in _LAYOUTS
]
_PRODUCTS += [
    case("prod", [fixed(values)], _over((1,)), label=f"zeros-{i}")
    for i, values in enumerate(
        ([[0.0, 2.0, 3.0], [1.0, 2.0, -3.0]], [[0.0, 0.0, 3.0], [1.5, 0.0, 2.0]], [[0.0, 0.0, 0.0]])
    )
]
_PRODUCTS += [
    case("prod", [shape], _over(axis), gradient=False, domain=(0.9, 1.1), tolerance=10.0)
    for shape, axis in [((311,), None), ((3, 170), (1,)), ((170, 3), (0,)), *_EMPTY]
]
_PRODUCTS += cases("prod", [ints((4, 6), 1, 4, None)], _over((1,)), dtypes=INTEGERS)
_PRODUCTS += cases(
    "prod", [floats((3, 4), 0.5, 1.5)], _over((1,)), dtypes=("float16", "float64"), gradient=False
)
_PRODUCTS += [
    case("prod_gradient", [apart((3, 4)), floats((3, 1))], {"axis": (1,)}),
    case(
        "prod_gradient",
        [fixed([[0.0, 2.0], [0.0, 0.0], [3.0, 4.0]]), floats((3, 1))],
        {"axis": (1,)},
        label="zeros",
        expected=lambda x, dy: dy * np.array([[2, 0], [0, 0], [4, 3]]),
    ),
    case("prod_gradient", [apart((2, 3, 2)), floats((1, 3, 1))], {"axis": (0, 2)}),
    case(
        "prod_gradient",
        [floats((3, 4), 0.5, 1.5), floats((3, 1))],
        {"axis": (1,)},
        dtype="float16",
        gradient=False,
    ),
]

_LOGIC: list[Case] = [
    case(op, [bools(shape)], _over(axis, keep)) for op in ("any", "all") for shape, axis, keep in _LAYOUTS
]
_LOGIC += [
    case(op, [bools(shape)], _over(axis)) for op in ("any", "all") for shape, axis in (*_LONG[:3], *_EMPTY)
]
_LOGIC += [
    case(op, [fixed([[True, True], [True, False], [False, False]], "bool")], _over((1,)), label="table")
    for op in ("any", "all")
]

_EXTREMES: list[Case] = [
    *_rows("max", distinct),
    *_rows("min", distinct),
    # Equal elements share the gradient: half of the direction's change reaches each.
    *[
        case(op, [fixed([[1.0, 1.0, 1.0]])], _over((1,)), gradient=False, label="equal")
        for op in ("max", "min")
    ],
    *[
        case(op, [ints((2, 9), 0, 100, None)], _over((1,)), dtype=d, label="negative")
        for op in ("max", "min")
        for d in ("int8", "int64")
    ],
    case("max", [fixed([[-5, -3], [-128, -128]])], _over((1,)), dtype="int8", label="below-zero"),
]


def _arg(axis: int, output: str = "int64") -> dict[str, Any]:
    return {"axis": axis, "output_type": as_dtype(output)}


_PLACES: list[Case] = [
    row
    for op in ("argmax", "argmin")
    for row in [
        *[case(op, [distinct((3, 4, 5))], _arg(axis)) for axis in (0, 1, 2)],
        case(op, [distinct((3, 4))], _arg(-1, "int32")),
        case(op, [(1,)], _arg(0)),
        case(op, [(517, 3)], _arg(0)),
        case(op, [(3, 517)], _arg(1)),
        case(op, [(4, 0)], _arg(0)),
        *cases(op, [ints((3, 7), 0, 4, None)], _arg(1), dtypes=("float16", "float64", *INTEGERS)),
        case(
            op,
            [fixed([[1, 1, 0], [np.nan, 2, np.nan], [np.inf, -np.inf, np.nan], [-np.inf, -np.inf, -np.inf]])],
            _arg(1),
            label="special",
        ),
    ]
]


_SUM_TO: list[Case] = [
    case("sum_to", [(3, 4)], {"shape": shape}) for shape in [(3, 4), (4,), (3, 1), (1, 4), (1, 1), (1,), ()]
]
_SUM_TO += [
    case("sum_to", [(2, 3, 4)], {"shape": (3, 1)}),
    case("sum_to", [(1, 3)], {"shape": (3,)}),
    case("sum_to", [(0, 3)], {"shape": (3,)}, gradient=False),
    case("sum_to", [(0, 3)], {"shape": (1, 3)}, gradient=False),
    *cases(
        "sum_to", [(5, 4)], {"shape": (4,)}, dtypes=("float16", "float64", "int8", "int64"), gradient=False
    ),
]

CASES: list[Case] = [*_SUMS, *_PRODUCTS, *_LOGIC, *_EXTREMES, *_PLACES, *_SUM_TO]
