"""Special functions on NumPy, which has none of them.

References
----------
W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969), 631-637.
M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions, 6.3.18 and 6.4.12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# |x| <= 0.46875: erf(x) = x R(x^2)
_A = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
      3.20937758913846947e3)  # fmt: skip
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
# 0.46875 <= x <= 4: erfc(x) = exp(-x^2) R(x)
_C = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
      2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
      1.23033935479799725e3)  # fmt: skip
_D = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
      3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
# x > 4: erfc(x) = exp(-x^2) / x (1 / sqrt(pi) + R(1 / x^2) / x^2)
_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
      1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_Q = (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
      2.33520497626869185e-3)  # fmt: skip


def _horner(coefficients: Sequence[float], x: Array) -> Array:
    result = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        result *= x
        result += c
    return result


def _in_double(function: Callable[[Array], Array]) -> Callable[[Any], Array]:
    """Compute in float64 whatever the dtype: one set of coefficients serves all, and is exact enough."""

    def wrapped(x: Any) -> Array:
        x = np.asarray(x)
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        return function(flat).reshape(x.shape).astype(x.dtype)

    wrapped.__name__ = function.__name__.lstrip("_")
    wrapped.__doc__ = function.__doc__
    return wrapped


def _erf_small(x: Array) -> Array:
    z = x * x
    return x * _horner(_A, z) / _horner(_B, z)


def _erfc_large(y: Array) -> Array:
    """erfc of y > 0.46875."""
    middle = np.minimum(y, 4.0)
    result = _horner(_C, middle) / _horner(_D, middle)
    far = y > 4.0
    if far.any():
        z = 1.0 / np.square(y[far])
        r = z * _horner(_P, z) / _horner(_Q, z)
        result[far] = (1.0 / math.sqrt(math.pi) - r) / y[far]
    # exp(-y^2) with y^2 in two parts, because the rounding of y^2 is magnified by y^2 itself.
    rough = np.trunc(np.minimum(y, 30.0) * 16.0) / 16.0
    rest = (np.minimum(y, 30.0) - rough) * (np.minimum(y, 30.0) + rough)
    return result * np.exp(-rough * rough) * np.exp(-rest)


def _erf(x: Array) -> Array:
    y = np.abs(x)
    small = y <= 0.46875
    result = np.empty_like(x)
    result[small] = _erf_small(x[small])
    large = ~small
    result[large] = np.copysign(1.0 - _erfc_large(y[large]), x[large])
    return result


def _erfc(x: Array) -> Array:
    y = np.abs(x)
    small = y <= 0.46875
    result = np.empty_like(x)
    result[small] = 1.0 - _erf_small(x[small])
    large = ~small
    c = _erfc_large(y[large])
    result[large] = np.where(x[large] < 0, 2.0 - c, c)
    return result


def _lgamma_one(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return math.inf  # also at -inf and at the poles, as C's lgamma
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


def _lgamma(x: Array) -> Array:
    # C's function element by element: an approximation as good near its zeros at 1 and 2 is long.
    return np.fromiter(map(_lgamma_one, x.tolist()), np.float64, x.size)


_SHIFT_TO = 10.0  # where the asymptotic series below reach float64's precision


def _digamma(x: Array) -> Array:
    mirrored = x <= 0
    y = np.where(mirrored, 1.0 - x, x)
    result = np.zeros_like(y)
    while True:
        low = y < _SHIFT_TO
        if not low.any():
            break
        result[low] -= 1.0 / y[low]
        y = np.where(low, y + 1.0, y)
    z = 1.0 / (y * y)
    series = _horner((1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12), z)
    result += np.log(y) - 0.5 / y - z * series
    reflected = result - math.pi / np.tan(math.pi * (x - np.round(x)))
    result = np.where(mirrored, reflected, result)
    # Poles: TensorFlow gives NaN at the negative integers and -inf at zero.
    result = np.where(mirrored & (x == np.floor(x)), np.where(x == 0, -np.inf, np.nan), result)
    return np.where(x == np.inf, np.inf, np.where(x == -np.inf, np.nan, result))


def _trigamma(x: Array) -> Array:
    mirrored = x <= 0
    y = np.where(mirrored, 1.0 - x, x)
    result = np.zeros_like(y)
    while True:
        low = y < _SHIFT_TO
        if not low.any():
            break
        result[low] += 1.0 / np.square(y[low])
        y = np.where(low, y + 1.0, y)
    z = 1.0 / (y * y)
    series = _horner((7 / 6, -691 / 2730, 5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6), z)
    result += 1.0 / y + 0.5 * z + z / y * series
    reflected = np.square(math.pi / np.sin(math.pi * (x - np.round(x)))) - result
    result = np.where(mirrored, reflected, result)
    result = np.where(mirrored & (x == np.floor(x)), np.inf, result)
    return np.where(x == np.inf, 0.0, np.where(x == -np.inf, np.nan, result))


erf = _in_double(_erf)
erfc = _in_double(_erfc)
lgamma = _in_double(_lgamma)
digamma = _in_double(_digamma)
trigamma = _in_double(_trigamma)
