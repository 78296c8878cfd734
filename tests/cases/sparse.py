"""Rows of ``graphrun/ops/sparse.py``."""

from __future__ import annotations

import numpy as np

from cases import Case, case, fixed

HYPOTHESES = [fixed([[0, 0], [0, 1], [0, 2], [2, 0]], "int64"), fixed([1, 2, 3, 9], "int32"),
              fixed([3, 3], "int64")]  # fmt: skip
TRUTHS = [fixed([[0, 0], [0, 1], [1, 0], [2, 0]], "int64"), fixed([1, 3, 4, 9], "int32"),
          fixed([3, 2], "int64")]  # fmt: skip

CASES: list[Case] = [
    case("edit_distance", [*HYPOTHESES, *TRUTHS], {"shape": (3,), "normalize": False}, host_ok=True,
         expected=lambda *_: np.array([1, 1, 0]), label="plain"),
    case("edit_distance", [*HYPOTHESES, *TRUTHS], {"shape": (3,), "normalize": True}, host_ok=True,
         expected=lambda *_: np.array([0.5, 1, 0]), label="normalized"),
    case("edit_distance", [*TRUTHS, *HYPOTHESES], {"shape": (3,), "normalize": True}, host_ok=True,
         expected=lambda *_: np.array([1 / 3, np.inf, 0]), label="no truth"),
]  # fmt: skip
