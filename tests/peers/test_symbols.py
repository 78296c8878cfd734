"""Every name of ``tf1_symbols.csv`` that graphrun has is compared with TensorFlow by a test of this folder.

It reads the tables and the tests, runs none of them, and needs no TensorFlow.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tables
import tables_flow
import tables_nn

import graphrun as gr

HERE = Path(__file__).parent
# What the tests call a library.
_LIBRARIES = ("lib", "tf", "gr")
# Names that need no comparison, and why.
EXEMPT = dict.fromkeys(
    ("app.run", "app.flags.FLAGS", "flags.mark_flag_as_required"),
    "test_files.py runs a program with them, of which it holds the text",
)


def symbols(tier: str) -> list[str]:
    """Those of the table that graphrun has."""
    with (HERE / "tf1_symbols.csv").open(newline="") as file:
        rows = [r["symbol"] for r in csv.DictReader(file) if r["tier"] == tier]
    return [s for s in rows if _found(s) is not None]


def _found(symbol: str) -> Any:
    try:
        return tables.resolve(gr, symbol)
    except AttributeError:
        return None


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    """``lib.train.AdamOptimizer`` as its parts; texts with a dot, which tests resolve, as what they name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(".") in (1, 2):
            yield ["lib", *node.value.split(".")]
        parts: list[str] = []
        inner: Any = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if parts and isinstance(inner, ast.Name):
            yield [inner.id, *parts[::-1]]


def compared() -> set[str]:
    """What the rows call, and what the tests read off a library.

    Tests hand parts of a library on, as in ``OPTIMIZERS[name](lib.train)``, so a class counts by its name
    alone.
    """
    found = {r.symbol for module in (tables, tables_flow, tables_nn) for r in module.ROWS}
    for path in HERE.glob("*.py"):
        if path == Path(__file__):
            continue
        for root, *parts in _chains(ast.parse(path.read_text())):
            found.update(p for p in parts if _is_class(p))
            if root in _LIBRARIES:
                found.update(".".join(parts[:k]) for k in range(1, len(parts) + 1))
    return found


def _is_class(name: str) -> bool:
    return name[:1].isupper() and not name.isupper()


def missing(names: list[str], known: set[str]) -> list[str]:
    """Those of `names` that no test reads."""

    def is_known(symbol: str) -> bool:
        last = symbol.rpartition(".")[2]
        return symbol in known or (_is_class(last) and last in known)

    return [s for s in names if s not in EXEMPT and not is_known(s)]


def test_every_symbol_of_the_table_is_compared() -> None:
    found = [*symbols("1"), *symbols("2")]
    assert len(found) > 200
    left_out = missing(found, compared())
    assert not left_out, f"add a row to tables.py, or a test beside it, for: {', '.join(left_out)}"


def test_exceptions_are_needed_and_have_a_reason() -> None:
    known = compared()
    for symbol, reason in EXEMPT.items():
        assert reason and symbol in symbols("1") + symbols("2"), symbol
        assert symbol not in known, f"{symbol} is compared by now"


def test_a_name_without_a_row_is_found() -> None:
    known = compared()
    assert missing(["no_such_function", "nn.no_such", "train.NoSuchOptimizer"], known) == [
        "no_such_function", "nn.no_such", "train.NoSuchOptimizer"]  # fmt: skip
    assert not missing(["train.AdamOptimizer", "nn.max_pool", "matmul"], known)
