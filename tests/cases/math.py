"""Rows of the elementwise operations: arithmetic, comparison, conversion, functions of one tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, Input, apart, bools, case, cases, fixed, floats, ints, special
from graphrun.dtypes import ALL, as_dtype

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
FLOATS = ("float16", "float32", "float64")


def each(function: Any) -> Any:
    """A function of the standard library, element by element, as an independent expectation."""
    return lambda *arrays: np.vectorize(function, otypes=[float])(*[a.astype(float) for a in arrays])


def _unary(
    op: str,
    domain: tuple[float, float] = (-2, 2),
    kinks: tuple[float, ...] = (),
    function: Any = None,
    tolerance: float = 1.0,
    on_special: float = 1.0,
    **more: Any,
) -> list[Case]:
    """The rows of a function of one tensor."""
    low, high = domain
    inputs: Any = [apart((3, 4), low, high, kinks)] if kinks else [(3, 4)]
    expected = each(function) if function else None
    rows = [
        case(op, inputs, dtype=d, domain=domain, expected=expected, tolerance=tolerance, **more)
        for d in FLOATS
    ]
    rows += [case(op, [()], domain=domain, **more), case(op, [(0, 3)], gradient=False, **more)]
    # Longer than any vector, and no multiple of one.
    rows += [case(op, [(1031,)], domain=domain, gradient=False, tolerance=tolerance, **more)]
    return [*rows, special(op, tolerance=on_special, **more)]


_POSITIVE = (0.2, 3.0)
_FUNCTIONS: list[Case] = [
    row
    for rows in (
        _unary("exp", (-3, 3), function=math.exp),
        _unary("expm1", function=math.expm1),
        _unary("log", _POSITIVE, function=math.log),
        _unary("log1p", (-0.8, 3.0), function=math.log1p),
        _unary("sqrt", _POSITIVE, function=math.sqrt),
        _unary("rsqrt", _POSITIVE, function=lambda x: 1 / math.sqrt(x)),
        _unary("reciprocal", _POSITIVE),
        _unary("sin", (-4, 4), function=math.sin, on_special=3.0),
        _unary("cos", (-4, 4), function=math.cos, on_special=3.0),
        # Near a pole the tangent magnifies the rounding of its argument.
        _unary("tan", (-1.3, 1.3), function=math.tan, tolerance=2.0, on_special=10.0),
        _unary("asin", (-0.9, 0.9), function=math.asin),
        _unary("acos", (-0.9, 0.9), function=math.acos),
        _unary("atan", (-3, 3), function=math.atan),
        _unary("sinh", function=math.sinh),
        _unary("cosh", function=math.cosh),
        _unary("tanh", function=math.tanh),
        _unary("asinh", (-3, 3), function=math.asinh),
        _unary("acosh", (1.3, 4), function=math.acosh),
        _unary("atanh", (-0.8, 0.8), function=math.atanh),
        _unary("erf", function=math.erf),
        _unary("erfc", function=math.erfc),
        _unary("lgamma", (0.3, 5), function=math.lgamma, second_order=True),
        _unary("sigmoid", (-4, 4), function=lambda x: 1 / (1 + math.exp(-x))),
        _unary("softplus", (-4, 4), function=lambda x: math.log1p(math.exp(x))),
        _unary("abs", kinks=(0.0,), function=math.fabs),
        _unary("sign", kinks=(0.0,)),
        _unary("square", function=lambda x: x * x),
        _unary("negative", function=lambda x: -x),
        _unary("floor", (-4, 4), kinks=(-3, -2, -1, 0, 1, 2, 3), function=math.floor),
        _unary("ceil", (-4, 4), kinks=(-3, -2, -1, 0, 1, 2, 3), function=math.ceil),
        _unary("rint", (-4, 4), function=lambda x: float(round(x))),
        _unary("round", (-4, 4), function=lambda x: float(round(x))),
    )
    for row in rows
]

# digamma and trigamma run on the host; trigamma has no gradient.
_EULER = 0.5772156649015329
_GAMMA: list[Case] = [
    case(
        "digamma",
        [fixed([1.0, 2.0, 0.5, -0.5])],
        dtype="float64",
        host_ok=True,
        expected=lambda x: np.array([-_EULER, 1 - _EULER, -_EULER - 2 * math.log(2), 0.03648997397857652]),
        second_order=False,
        label="known",
    ),
    case("digamma", [(7,)], domain=(0.2, 6), host_ok=True, second_order=False),
    case(
        "digamma",
        [fixed([0.0, -1.0, -2.0, np.inf, -np.inf, np.nan])],
        host_ok=True,
        gradient=False,
        expected=lambda x: np.array([-np.inf, np.nan, np.nan, np.inf, np.nan, np.nan]),
        label="poles",
    ),
    case(
        "trigamma",
        [fixed([1.0, 0.5, -0.5])],
        dtype="float64",
        host_ok=True,
        expected=lambda x: np.array([math.pi**2 / 6, math.pi**2 / 2, math.pi**2 / 2 + 4]),
        label="known",
    ),
    case(
        "trigamma",
        [fixed([0.0, -1.0, np.inf, -np.inf, np.nan])],
        host_ok=True,
        expected=lambda x: np.array([np.inf, np.inf, 0, np.nan, np.nan]),
        label="poles",
    ),
]

_ROUNDING: list[Case] = [
    case(
        "round",
        [fixed([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])],
        gradient=False,
        label="halves",
        expected=lambda x: np.array([-2.0, -2.0, -0.0, 0.0, 2.0, 2.0]),
    ),
    case(
        "rint",
        [fixed([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])],
        gradient=False,
        label="halves",
        expected=lambda x: np.array([-2.0, -2.0, -0.0, 0.0, 2.0, 2.0]),
    ),
    *cases("round", [(5,)], dtypes=("int8", "int32", "uint64"), expected=lambda x: x),
]

_INTEGER_UNARY: list[Case] = [
    *[
        r
        for op in ("abs", "negative", "sign", "square")
        for r in cases(op, [(3, 4)], dtypes=INTEGERS, domain=(-9, 9))
    ],
    # The smallest number has no counterpart; large squares wrap.
    *[
        case(op, [fixed(np.array([np.iinfo(d).min, np.iinfo(d).max, 100], d), d)], dtype=d, label="limits")
        for op in ("abs", "negative", "square")
        for d in INTEGERS
    ],
]


# ---- two tensors --------------------------------------------------------------------------------

_BROADCASTS: list[list[Any]] = [
    [(3, 4), (3, 4)],
    [(3, 4), (4,)],
    [(3, 1), (1, 4)],
    [(), (3, 4)],
    [(2, 3, 4), (3, 1)],
    [(0, 4), (4,)],
]


def _binary(op: str, domain: tuple[float, float] = (-2, 2), **more: Any) -> list[Case]:
    return [
        *[case(op, shapes, domain=domain, **more) for shapes in _BROADCASTS],
        *cases(op, [(5,), (5,)], dtypes=("float16", "float64"), domain=domain, **more),
    ]


def _nonzero(shape: tuple[int, ...], low: int, high: int) -> Input:
    """Integers in a range without 0, which divisors are."""

    def draw(rng: np.random.Generator) -> Any:
        x = rng.integers(low, high, shape)
        return np.where(x == 0, high - 1, x)

    return Input(draw)


def _divisors(dtype: str) -> list[Any]:
    """Dividends and divisors of every sign, with zeros and the limits."""
    info = np.iinfo(dtype)
    values = [0, 1, 2, 3, 7, int(info.max), *([-7, -3, -2, -1, int(info.min)] if info.min < 0 else [])]
    a, b = np.meshgrid(np.array(values, dtype), np.array(values, dtype), indexing="ij")
    return [fixed(a.reshape(-1), dtype), fixed(b.reshape(-1), dtype)]


def _c_division(a: Any, b: Any) -> list[int]:
    """Division rounded towards zero, in Python's integers; 0 where the divisor is."""
    found = []
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        q = 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        found.append(q)
    return found


def _wrap(values: Any, dtype: Any) -> Any:
    """Python's integers as a type of few bits holds them."""
    bits = 8 * np.dtype(dtype).itemsize
    wrapped = [v % 2**bits for v in values]
    if np.dtype(dtype).kind == "i":
        wrapped = [v - 2**bits if v >= 2 ** (bits - 1) else v for v in wrapped]
    return np.array(wrapped, dtype)


_DIVISION_EXPECTED: dict[str, Any] = {
    "floordiv": lambda a, b: _wrap(
        [0 if y == 0 else x // y for x, y in zip(a.tolist(), b.tolist())], a.dtype
    ),
    "floormod": lambda a, b: _wrap([0 if y == 0 else x % y for x, y in zip(a.tolist(), b.tolist())], a.dtype),
    "truncatediv": lambda a, b: _wrap(_c_division(a, b), a.dtype),
    "truncatemod": lambda a, b: _wrap(
        [0 if y == 0 else x - y * q for x, y, q in zip(a.tolist(), b.tolist(), _c_division(a, b))], a.dtype
    ),
}

_ARITHMETIC: list[Case] = [
    *[r for op in ("add", "subtract", "multiply", "squared_difference") for r in _binary(op)],
    *[
        r
        for op in ("add", "subtract", "multiply", "squared_difference", "maximum", "minimum")
        for r in cases(op, [(4, 3), (3,)], dtypes=INTEGERS, domain=(-100, 100))
    ],
    *[special(op, 2) for op in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "floordiv")],
    *[special(op, 2) for op in ("squared_difference", "floormod", "truncatediv", "truncatemod")],
    *[special(op, 2, "float16") for op in ("floordiv", "truncatediv", "truncatemod")],
    # Quotients that float16 would round up to a whole number.
    case("truncatediv", [fixed([1023.5, 2047.0, -4094.0]), fixed([1.001, 1.0005, 2.001])], dtype="float16"),
    *_binary("divide", (0.5, 2)),
    *_binary("maximum"),
    *_binary("minimum"),
    case("maximum", [fixed([1.0, 2.0]), fixed([1.0, 2.0])], label="equal", gradient=False),
    *[
        r
        for op in ("floordiv", "floormod", "truncatediv", "truncatemod")
        for r in [
            # Away from where a quotient is whole, since there the functions jump.
            case(op, [fixed([7.3, -7.3, 7.3, -7.3, 0.4]), fixed([2.0, 2.0, -2.0, -2.0, 3.1])]),
            *cases(
                op,
                [fixed([7.25, -7.25, 7.25, -7.25, 0.5]), fixed([2.0, 2.0, -2.0, -2.0, 3.0])],
                dtypes=("float16", "float64"),
                gradient=False,
            ),
            *[
                case(op, _divisors(d), dtype=d, expected=_DIVISION_EXPECTED[op], label="signs")
                for d in INTEGERS
            ],
        ]
    ],
    *_binary("atan2", (0.3, 2)),
    special("atan2", 2),
]

_POWERS: list[Case] = [
    *_binary("pow", (0.3, 2)),
    special("pow", 2, tolerance=2.0),
    # A negative base with a whole exponent: no logarithm, so no gradient to the exponent.
    case("pow", [apart((4,)), fixed([2.0, 3.0, 2.0, 1.0])], label="negative-base", gradient=False),
    *cases(
        "pow",
        [(12,), ints((12,), 0, 7, None)],
        dtypes=INTEGERS,
        domain=(-5, 5),
        expected=lambda a, b: _wrap([x**y for x, y in zip(a.tolist(), b.tolist())], a.dtype),
    ),
    case(
        "pow",
        [fixed([2, 1, -1, -1, 0, -3]), fixed([-1, -5, -3, -2, -1, -2])],
        dtype="int32",
        expected=lambda a, b: np.array([0, 1, -1, 1, 0, 0]),
        label="negative-exponent",
    ),
]

_CLIP: list[Case] = [
    case("clip", [apart((3, 4), kinks=(-1, 1)), fixed(-1.0), fixed(1.0)]),
    case("clip", [floats((3, 4)), floats((4,), -1, -0.5), floats((3, 1), 0.5, 1)]),
    *cases("clip", [(3, 4), fixed(-3), fixed(5)], dtypes=SIGNED, domain=(-9, 9)),
    case(
        "clip",
        [fixed([np.nan, np.inf, -np.inf, 0.0]), fixed(-1.0), fixed(1.0)],
        gradient=False,
        label="special",
        expected=lambda t, lo, hi: np.array([np.nan, 1, -1, 0]),
    ),
    case("clip", [floats((5,)), fixed(-1.0), fixed(1.0)], dtype="float16", gradient=False),
]

_ADD_N: list[Case] = [
    *[case("add_n", [(3, 4)] * n) for n in (1, 2, 3, 6, 7, 13)],
    case("add_n", [()] * 3),
    case("add_n", [(2, 0)] * 3),
    *cases("add_n", [(5,)] * 4, dtypes=("float16", "float64", "int8", "uint64"), gradient=False),
]

# ---- comparison, logic, selection ------------------------------------------------------------------

_COMPARISONS: list[Case] = [
    row
    for op in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    for row in [
        *[case(op, shapes) for shapes in _BROADCASTS[:5]],
        special(op, 2),
        *cases(
            op, [ints((4, 3), 0, 3, None), ints((3,), 0, 3, None)], dtypes=INTEGERS + ("float16", "float64")
        ),
        # Numbers that are equal after rounding to float32 or to int32.
        case(
            op,
            [fixed([2**53, 2**53 + 1, -(2**63)]), fixed([2**53 + 1, 2**53, 0])],
            dtype="int64",
            label="wide",
        ),
    ]
]
_LOGIC: list[Case] = [
    *[case(op, [bools((4, 3)), bools((3,))]) for op in ("logical_and", "logical_or", "logical_xor")],
    *[case(op, [bools((9,)), bools((9,))]) for op in ("equal", "not_equal")],
    case("logical_not", [bools((7,))]),
    *[special(op, dtype=d) for op in ("is_nan", "is_inf", "is_finite") for d in FLOATS],
]
_SELECT: list[Case] = [
    case("select", [bools((3, 4)), (3, 4), (3, 4)]),
    case("select", [bools(()), (3, 4), (3, 4)]),
    case("select", [bools((3, 1)), (3, 4), (3, 4)]),
    case("select", [bools((3, 4)), (), (4,)]),
    *cases("select", [bools((9,)), ints((9,), 0, 9, None), ints((9,), 0, 9, None)], dtypes=INTEGERS),
    *cases("select", [bools((9,)), (9,), (9,)], dtypes=("float16", "float64", "bool"), gradient=False),
    case(
        "select",
        [fixed([True, False], "bool"), fixed([1.0, np.nan]), fixed([np.inf, 2.0])],
        gradient=False,
        expected=lambda c, x, y: np.array([1.0, 2.0]),
        label="nan",
    ),
]
_SELECT_ROWS: list[Case] = [
    case("select_rows", [bools((2,)), (2, 3), (2, 3)], expected=lambda c, x, y: np.where(c[:, None], x, y)),
    case("select_rows", [bools((3,)), (3, 3), ()], expected=lambda c, x, y: np.where(c[:, None], x, y)),
    case("select_rows", [bools((3, 2)), (3, 2), (3, 2)]),
    case("select_rows", [bools((3,)), (3,), (3,)]),
    case("select_rows", [bools(()), (2, 3), (2, 3)]),
    case("select_rows", [bools((2,)), ints((2, 3), 0, 9, None), ints((2, 3), 0, 9, None)], dtype="int32"),
]
_WHERE_TRUE: list[Case] = [
    # The rows of its result are known in the run only, so no fixed plan holds it as a fetch.
    *[case("where_true", [bools(shape)], on_device=False) for shape in ((7,), (3, 4), (2, 3, 2), (0, 3))],
    case(
        "where_true",
        [fixed([[True, False], [True, True]], "bool")],
        expected=lambda c: np.array([[0, 0], [1, 0], [1, 1]]),
        on_device=False,
        label="table",
    ),
]


# ---- conversion --------------------------------------------------------------------------------------


def _sample(dtype: Any) -> Input:
    if dtype.is_bool:
        return fixed([True, False, True], "bool")
    if dtype.is_integer:
        return fixed(np.array([0, 1, 5, 100, dtype.min, dtype.max], dtype.numpy), dtype.name)
    return fixed([0.0, -0.0, 0.4, 1.0, 1.9, 2.5, 100.7], dtype.name)


_CASTS: list[Case] = [
    case("cast", [_sample(a)], {"dtype": b}, gradient=False, label=f"{a.name}-{b.name}", dtype=a.name)
    for a in ALL
    for b in ALL
]
_CAST_LIMITS: list[Case] = [
    case(
        "cast",
        [fixed([np.nan, np.inf, -np.inf, 1e30, -1e30, -1.5, 2.0**31, -(2.0**31)], d)],
        {"dtype": as_dtype(t)},
        gradient=False,
        dtype=d,
        label=f"limits-{t}",
        expected=lambda x, t=t: np.array([_saturated(v, np.iinfo(t)) for v in x.tolist()], t),
    )
    for d in ("float32", "float64")
    for t in INTEGERS
]


def _saturated(value: float, info: Any) -> int:
    if value != value:
        return 0
    return (
        int(min(max(value, float(info.min)), float(info.max)))
        if abs(value) < 2.0**31
        else _limit(value, info)
    )


def _limit(value: float, info: Any) -> int:
    if math.isinf(value) or abs(value) > 1e20:
        return info.max if value > 0 else info.min
    return min(max(int(value), info.min), info.max)


_STATE: list[Case] = [
    case("identity", [(3, 4)]),
    case("identity", [bools((5,))]),
    case("stop_gradient", [(3, 4)]),
    case("placeholder_with_default", [(3, 4)], {"shape": (None, 4)}),
]

CASES: list[Case] = [
    *_FUNCTIONS,
    *_GAMMA,
    *_ROUNDING,
    *_INTEGER_UNARY,
    *_ARITHMETIC,
    *_POWERS,
    *_CLIP,
    *_ADD_N,
    *_COMPARISONS,
    *_LOGIC,
    *_SELECT,
    *_SELECT_ROWS,
    *_WHERE_TRUE,
    *_CASTS,
    *_CAST_LIMITS,
    *_STATE,
    case("cast", [(4,)], {"dtype": as_dtype("float64")}),
]
