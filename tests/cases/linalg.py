"""Rows of ``graphrun/ops/linalg.py``."""

from __future__ import annotations

from itertools import product
from typing import Any

from cases import Case, case


def _matmul(a: tuple[int, ...], b: tuple[int, ...], ta: bool = False, tb: bool = False, **more: Any) -> Case:
    return case("matmul", [a, b], {"transpose_a": ta, "transpose_b": tb}, **more)


def _turned(shape: tuple[int, ...], flag: bool) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if flag else shape


_TURNS = list(product((False, True), repeat=2))

CASES: list[Case] = [
    *(_matmul(_turned((3, 5), ta), _turned((5, 4), tb), ta, tb) for ta, tb in _TURNS),
    *(_matmul(_turned((2, 3, 5), ta), _turned((2, 5, 4), tb), ta, tb) for ta, tb in _TURNS),
    # Batches that broadcast: one matrix for all, a dimension of 1, and both ways at once.
    *(_matmul(_turned((2, 3, 5), ta), _turned((5, 4), tb), ta, tb) for ta, tb in _TURNS),
    *(_matmul(_turned((3, 5), ta), _turned((2, 5, 4), tb), ta, tb) for ta, tb in _TURNS),
    _matmul((2, 1, 3, 5), (3, 5, 4)),
    _matmul((2, 1, 3, 5), (1, 3, 5, 4)),
    _matmul((1, 1, 7), (4, 7, 1)),
    # One row, one column, nothing to sum, nothing to compute.
    _matmul((1, 6), (6, 1)),
    _matmul((6, 1), (1, 6)),
    _matmul((3, 0), (0, 4), gradient=False),
    _matmul((0, 3), (3, 4), gradient=False),
    _matmul((0, 2, 3), (3, 4), gradient=False),
    _matmul((17, 33), (33, 65), dtype="float64"),
    _matmul((17, 33), (33, 65), dtype="float16", gradient=False),
    _matmul((5, 7), (7, 6), dtype="int32"),
    _matmul((5, 7), (7, 6), dtype="int64"),
    _matmul((5, 7), (7, 6), dtype="uint8", domain=(0, 200)),
]
