"""How far results of one dtype may lie from the NumPy reference: the one table of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    """``abs(actual - expected) <= atol + rtol * abs(expected)``."""

    rtol: float
    atol: float


# float16 is computed in float32 and rounded once, so it may differ by one step of its own (2**-10).
TOLERANCES = {
    "float16": Tolerance(2e-3, 1e-3),
    "float32": Tolerance(1e-5, 1e-6),
    "float64": Tolerance(1e-12, 1e-14),
    "complex64": Tolerance(1e-5, 1e-6),
    "complex128": Tolerance(1e-12, 1e-14),
}
EXACT = Tolerance(0.0, 0.0)

# Analytic derivatives in float64 against finite differences: what the differences themselves lose.
FIRST_DERIVATIVE = Tolerance(1e-6, 1e-8)
SECOND_DERIVATIVE = Tolerance(1e-5, 1e-7)


def tolerance(dtype: Any, factor: float = 1.0) -> Tolerance:
    """The tolerance of a dtype; integers and bools agree exactly."""
    found = TOLERANCES.get(np.dtype(dtype).name, EXACT)
    return Tolerance(found.rtol * factor, found.atol * factor)


def assert_close(
    actual: Any, expected: Any, factor: float = 1.0, label: str = "", limits: Tolerance | None = None
) -> None:
    """Assert the same dtype and shape, and values within the tolerance; NaN equals NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if expected.dtype.kind == "O":
        actual = np.asarray(actual, object)  # a single string is bytes
    assert actual.dtype == expected.dtype, f"{label}: dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"{label}: shape {actual.shape}, expected {expected.shape}"
    if expected.dtype.kind == "O":
        np.testing.assert_array_equal(actual, expected, err_msg=label)
        return
    limits = limits or tolerance(expected.dtype, factor)
    np.testing.assert_allclose(
        actual, expected, rtol=limits.rtol, atol=limits.atol, equal_nan=True, err_msg=label
    )
