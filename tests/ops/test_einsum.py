"""`einsum` against NumPy's, on formulas at random too."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.errors import ShapeError

LENGTHS = {"a": 2, "b": 3, "c": 4, "d": 1}


@st.composite
def formulas(draw: st.DrawFn) -> str:
    """A formula of one to three terms over four letters, with a result of some of them."""
    terms = draw(st.lists(st.text("abcd", min_size=0, max_size=3), min_size=1, max_size=3))
    letters = sorted(set("".join(terms)))
    result = draw(st.permutations(letters))[: draw(st.integers(0, len(letters)))]
    return ",".join(terms) + "->" + "".join(result)


def operands(formula: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    terms = formula.split("->")[0].split(",")
    return [rng.uniform(-1, 1, [LENGTHS[c] for c in term]) for term in terms]


@settings(max_examples=60, deadline=None)
@given(formulas(), st.booleans())
def test_random_formulas(formula: str, static: bool) -> None:
    arrays = operands(formula)
    with gr.Graph().as_default(), gr.Session() as sess:
        xs = [gr.placeholder(gr.float64, a.shape if static else [None] * a.ndim) for a in arrays]
        y = gr.einsum(formula, *xs)
        got = sess.run(y, dict(zip(xs, arrays, strict=True)))
    expected = np.einsum(formula, *arrays)
    assert not static or y.shape.as_list() == list(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "formula, shapes",
    [
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 2)]),
        ("...i->...", [(2, 3)]),
        ("i...,i...", [(3, 2), (3, 2)]),
        ("ab...,b->a...", [(2, 3, 4), (3,)]),
        ("ij,jk", [(2, 3), (3, 2)]),
        ("ba", [(2, 3)]),
    ],
)
def test_ellipses_and_implicit_results(formula: str, shapes: list[tuple[int, ...]], device: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
    with gr.Session(device=device) as sess:
        got = sess.run(gr.einsum(formula, *arrays))
    np.testing.assert_allclose(got, np.einsum(formula, *arrays), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("formula", ["ab,bc->ac", "aab->b", "ab,ab,b->a", "ab,c->cab", "ab,bc,ca->"])
def test_gradients(formula: str) -> None:
    def function(*xs: gr.Tensor) -> gr.Tensor:
        terms = formula.split("->")[0].split(",")
        known = [gr.reshape(x, [LENGTHS[c] for c in t]) for x, t in zip(xs, terms, strict=True)]
        return gr.einsum(formula, *known)

    check_gradients(function, operands(formula))


@pytest.mark.parametrize(
    "formula, count, text",
    [
        ("ij,jk->ik", 1, "1 tensors for 2 terms"),
        ("ijk->i", 1, "the term 'ijk' for shape"),
        ("ij->iz", 1, "the result 'iz'"),
        ("ij->ii", 1, "the result 'ii'"),
        ("i;j", 1, "a formula that cannot be read"),
        ("ij,ij->i", 2, "index 'j' has lengths 3 and 2|index 'i' has lengths 2 and 3"),
    ],
)
def test_messages(formula: str, count: int, text: str) -> None:
    x = gr.zeros([2, 3])
    xs = [x, gr.transpose(x)][:count]
    with pytest.raises(ShapeError, match=text):
        gr.einsum(formula, *xs)
