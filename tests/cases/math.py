"""Rows of ``graphrun/ops/math.py`` and its neighbours: elementwise operations."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
