"""Rows of ``graphrun/ops/nn.py``."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
