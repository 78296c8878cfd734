"""Pass: sums of products, and of sums, over the steps of an unrolled loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import names, specialized
from compiler.run_plan import STYLES, compile_for, run_plan, target

import graphrun as gr
from graphrun.compiler.ir import Program
from graphrun.compiler.placement import place
from graphrun.compiler.sums import sums


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name=name)


def _after(fetches: Any, feeds: Any) -> Program:
    return sums(place(specialized(fetches, feeds), target("null")))


def _terms(count: int, rows: int = 4, width: int = 16) -> tuple[list[Any], list[Any], Any]:
    a = [_x(rows, width, name=f"a{i}") for i in range(count)]
    b = [_x(rows, 24, name=f"b{i}") for i in range(count)]
    return a, b, {t: tuple(t._shape) for t in (*a, *b)}


def test_products_are_one_and_column_sums_share_its_operand() -> None:
    a, b, feeds = _terms(8)
    dw = gr.add_n([gr.matmul(x, y, transpose_a=True) for x, y in zip(a, b, strict=True)])
    db = gr.add_n([gr.reduce_sum(y, 0) for y in b])
    found = names(_after([dw, db], feeds))
    assert found == ["feed"] * 16 + ["concat", "concat", "matmul", "sum"]


def test_what_else_is_added_stays_a_term() -> None:
    a, b, feeds = _terms(3)
    more = [_x(16, 24, name=f"c{i}") for i in range(7)]
    products = [gr.matmul(x, y, transpose_a=True) for x, y in zip(a, b, strict=True)]
    program = _after([gr.add_n([more[0], *products, *more[1:]])], {**feeds, **dict.fromkeys(more, (16, 24))})
    assert [n for n in names(program) if n != "feed"] == ["concat", "concat", "matmul", "add_n", "add_n"]
    assert sum(len(n.inputs) for n in program.nodes if n.op.name == "add_n") == 9


@pytest.mark.parametrize("why", ["few", "read elsewhere", "fetched", "untransposed", "one operand", "tall"])
def test_sums_that_stay(why: str) -> None:
    rows = 400 if why == "tall" else 16 if why == "untransposed" else 4
    a, b, feeds = _terms(2 if why == "few" else 5, rows)
    if why == "one operand":
        a = [a[0]] * 5
    products = [gr.matmul(x, y, transpose_a=why != "untransposed") for x, y in zip(a, b, strict=True)]
    fetches = [gr.add_n(products)]
    if why == "read elsewhere":
        fetches += [gr.exp(p) for p in products]
    if why == "fetched":
        fetches += products
    assert "concat" not in names(_after(fetches, feeds))


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_values(style: str, rng: np.random.Generator) -> None:
    a, b, feeds = _terms(7, 5, 33)
    arrays = {t: rng.standard_normal(s).astype(np.float32) for t, s in feeds.items()}
    # The operands are computed, so that they are computed in their place; some are read again.
    left, right = [gr.tanh(t) for t in a], [gr.exp(t) for t in b]
    dw = gr.add_n([gr.matmul(x, y, transpose_a=True) for x, y in zip(left, right, strict=True)])
    db = gr.add_n([gr.reduce_sum(y, 0) for y in right])
    got = run_plan(style, [dw, db, left[2] * 2.0, right[3]], arrays)
    values = [[np.asarray(arrays[t], np.float64) for t in ts] for ts in (a, b)]
    want = sum(np.tanh(x).T @ np.exp(y) for x, y in zip(*values, strict=True))
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[1], sum(np.exp(y).sum(0) for y in values[1]), rtol=1e-5)
    np.testing.assert_allclose(got[2], np.tanh(values[0][2]) * 2, rtol=1e-5)
    np.testing.assert_allclose(got[3], np.exp(values[1][3]), rtol=1e-5)


def test_an_unrolled_cell_joins_all_its_gradients() -> None:
    """Per step: product, activation with its piece of the next input, the input's piece, and two backward."""
    steps, batch, size, hidden = 6, 4, 8, 16
    x = _x(steps, batch, size)
    w = gr.Variable(np.zeros((size + hidden, hidden), np.float32))
    h: Any = gr.zeros((batch, hidden))
    for now in gr.unstack(x):
        h = gr.sin(gr.matmul(gr.concat([now, h], 1), w))
    (dw,) = gr.gradients(gr.reduce_sum(h * h), w)
    labels = [s.label for s in compile_for("null", [dw], {x: np.zeros((steps, batch, size))}).plan.launches]
    products = [label for label in labels if label.startswith("matmul:")]
    assert len([p for p in products if "pack" not in p]) == 2 * steps
    assert len(labels) <= 5 * steps, labels
