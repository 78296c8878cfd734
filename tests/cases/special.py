"""Rows of ``graphrun/ops/special.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, case, fixed, floats

# Two ways to the same number, in float64: whole a makes finite sums, whole a and b a binomial one.
SUMS = np.array([1, 2, 5, 9, 3], np.float64)
AT = np.array([0.5, 4.0, 5.0, 3.0, 40.0], np.float64)


def gamma_sum(a: Any, x: Any) -> Any:
    return np.array([1 - math.exp(-t) * sum(t**k / math.factorial(k) for k in range(int(n)))
                     for n, t in zip(a, x, strict=True)])  # fmt: skip


def beta_sum(a: Any, b: Any, x: Any) -> Any:
    def one(p: int, q: int, t: float) -> float:
        n = p + q - 1
        return sum(math.comb(n, j) * t**j * (1 - t) ** (n - j) for j in range(p, n + 1))

    return np.array([one(int(p), int(q), t) for p, q, t in zip(a, b, x, strict=True)])


def inverted(function: Any, values: Any) -> Any:
    """By bisection."""
    found = []
    for y in values:
        low, high = -9.0, 9.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if function(middle) < y else (low, middle)
        found.append(low)
    return np.array(found)


def _slope_at_1(x: float) -> float:
    """The derivative of P(a, x) by a, at a = 1: by the midpoint rule, in the logarithm of t."""
    n = 200_000
    u = -60 + (math.log(x) + 60) * (np.arange(n) + 0.5) / n
    inner = float((u * np.exp(u - np.exp(u))).sum() * (math.log(x) + 60) / n)
    return inner + 0.5772156649015329 * (1 - math.exp(-x))


def partly(op: str, inputs: Any, **more: Any) -> Case:
    """Without gradients, which flow to some arguments only: see tests/ops/test_special.py."""
    return case(op, inputs, gradient=False, host_ok=True, **more)


CASES: list[Case] = [
    partly("igamma", [fixed(SUMS), fixed(AT)], dtype="float64", expected=gamma_sum, label="whole"),
    partly("igammac", [fixed(SUMS), fixed(AT)], dtype="float64", label="whole",
         expected=lambda a, x: 1 - gamma_sum(a, x)),
    partly("igamma", [np.array([0.5, -1, 2, 2, 0], np.float32), np.array([0, 1, -1, np.inf, 1], np.float32)],
         label="limits",
         expected=lambda a, x: np.array([0, np.nan, np.nan, 1, np.nan])),
    *(case(op, [floats((3, 4), 0.3, 8), floats((3, 4), 0.1, 12)], dtype="float64", host_ok=True,
           second_order=False) for op in ("igamma", "igammac")),
    partly("igamma_grad_a", [np.array([2, 2, 0, -1, 2], np.float32),
                             np.array([0, np.inf, 1, 1, -1], np.float32)],
           expected=lambda a, x: np.array([0, 0, np.nan, np.nan, np.nan]), label="edges"),
    # P(1, x) is 1 - exp(-x); by a: the integral of log(t) exp(-t) and digamma(1) = -0.5772...
    partly("igamma_grad_a", [np.array([1.0, 1.0, 1.0]), np.array([0.5, 2.0, 9.0])], dtype="float64",
           expected=lambda a, x: np.array([_slope_at_1(t) for t in x]), label="whole", tolerance=1e4),
    partly("betainc", [np.array([1, 2, 5, 3.0]), np.array([1, 3, 2, 7.0]), np.array([0.3, 0.5, 0.9, 0.1])],
         dtype="float64", expected=beta_sum, label="whole"),
    partly("betainc", [floats((3, 1), 0.5, 3), floats((2,), 0.5, 3), floats((3, 2), 0.1, 0.9)]),
    partly("zeta", [fixed([2.0, 4.0, 2.0]), fixed([1.0, 1.0, 2.0])], dtype="float64",
         expected=lambda x, q: np.array([math.pi**2 / 6, math.pi**4 / 90, math.pi**2 / 6 - 1])),
    partly("zeta", [floats((3, 2), 1.5, 6), floats((2,), 0.3, 5)]),
    partly("polygamma", [fixed([1.0, 2.0, 1.0]), fixed([1.0, 1.0, 0.5])], dtype="float64",
         expected=lambda n, x: np.array([math.pi**2 / 6, -2 * 1.2020569031595942, math.pi**2 / 2])),
    case("erfinv", [floats((9,), -0.99, 0.99)], dtype="float64", host_ok=True,
         expected=lambda y: inverted(math.erf, y)),
    case("erfinv", [fixed([0.0, 1.0, -1.0, 1.5, 1e-9])], gradient=False, host_ok=True, label="limits",
         expected=lambda y: np.array([0, np.inf, -np.inf, np.nan, 8.862269e-10])),
    case("ndtri", [floats((9,), 0.05, 0.95)], dtype="float64", host_ok=True,
         expected=lambda p: inverted(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), p)),
]  # fmt: skip
