"""The operation table: every row of ``tests/cases/``, in one list.

A registered operation without a row fails `test_ops.test_every_operation_has_a_row`.
"""

from __future__ import annotations

import importlib
import pkgutil

import cases
from cases import Case

CASES: list[Case] = [
    row
    for module in sorted(m.name for m in pkgutil.iter_modules(cases.__path__))
    for row in importlib.import_module(f"cases.{module}").CASES
]


def by_op() -> dict[str, list[Case]]:
    """The rows of each operation."""
    found: dict[str, list[Case]] = {}
    for row in CASES:
        found.setdefault(row.op, []).append(row)
    return found
