"""Rows of ``graphrun/ops/reduce.py``."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
