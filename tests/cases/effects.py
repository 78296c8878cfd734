"""Rows of what calls back into Python, as functions of the user, printing, checks; and of `identity_n`."""

from __future__ import annotations

import numpy as np

from cases import Array, Case, case, ints
from graphrun.dtypes import float32, int64
from graphrun.ops.checks import PrintCount
from graphrun.ops.python_calls import PythonCall


def _sum_and_size(x: Array, y: Array) -> tuple[Array, Array]:
    x += 1  # the function may change its arguments
    return np.asarray(x.sum() + y.sum(), np.float32), np.asarray([x.size])


def _expected(x: Array, y: Array) -> tuple[float, list[int]]:
    return float((x + 1).sum() + y.sum()), [x.size]


_CALL = PythonCall(_sum_and_size, (float32, int64))
_NOTHING = PythonCall(lambda x: None, ())
_PRINT = {"text": "x: ", "summarize": 3, "count": PrintCount(1)}

CASES: list[Case] = [
    case("py_func", [(3, 4), (2,)], {"call": _CALL}, expected=_expected, label="two results"),
    case("py_func", [(3,)], {"call": _NOTHING}, expected=lambda x: True, label="no result"),
    case("py_func_stateless", [(3, 4), (2,)], {"call": _CALL}, expected=_expected, host_ok=True,
         label="two results"),
    case("identity_n", [(3, 4), ints((2,))], expected=lambda x, y: (x, y)),
    case("print", [(3, 4), ints((2,))], _PRINT, expected=lambda x, y: True, label="two tensors"),
    case("assert", [np.bool_(True), (3,)], {"summarize": 3}, expected=lambda c, x: True),
    case("check_numerics", [np.bool_(False), np.bool_(False)], {"text": "loss"}, expected=lambda a, b: True),
    case("below", [np.array(3, np.int32)], {"limit": 4}, expected=lambda x: x, host_ok=True),
    case("below", [np.array(-3, np.int64)], {"limit": 0}, host_ok=True),
]  # fmt: skip
