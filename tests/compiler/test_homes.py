"""Parts of joined values are computed within them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.run_plan import STYLES, compile_for, new_store, run_plan, variable_value

import graphrun as gr

pytestmark = pytest.mark.opencl


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name=name)


def _check(style: str, fetches: list[Any], feeds: dict[Any, Any], copies: int | None = None) -> list[str]:
    """Values on a style against NumPy's; returns the labels of the launches."""
    want = run_plan("numpy", fetches, feeds)
    got = run_plan(style, fetches, feeds)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)
    labels = [s.label for s in compile_for(style, fetches, feeds).plan.launches]
    if copies is not None:
        assert sum(label.startswith(("concat", "stack")) for label in labels) == copies, labels
    return labels


@pytest.fixture
def a(rng: np.random.Generator) -> Any:
    return rng.standard_normal((6, 20)).astype(np.float32)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_groups_write_into_it(style: str, axis: int, a: Any) -> None:
    x = _x(6, 20)
    y = gr.concat([gr.tanh(x), gr.reduce_sum(gr.tanh(x) * 2.0) + gr.exp(x)], axis)
    _check(style, [y * 2.0], {x: a}, 0)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "widths", [(1, 1), (1, 2, 1), (2, 2), (1, 6), (3, 17), (4, 16), (5, 7, 8), (33, 129)]
)
def test_pieces_of_any_width(style: str, widths: tuple[int, ...], rng: np.random.Generator) -> None:
    fed = [_x(5, w, name=f"x{w}") for w in widths]
    feeds = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in fed}
    y = gr.concat([gr.tanh(t) for t in fed], 1)
    _check(style, [gr.reduce_max(y, 0), y + 1.0], feeds)


@pytest.mark.parametrize("style", STYLES)
def test_single_elements_side_by_side(style: str, a: Any) -> None:
    """Columns of one element: of a stack, of a concat, of the gradient of a split."""
    x, y = _x(6), _x(6, 2, name="y")
    first, second = gr.split(y, 2, 1)
    (dy,) = gr.gradients(gr.square(first) + 3.0 * gr.square(second), y)
    joined = gr.concat([gr.reduce_sum(y, -1, keepdims=True), gr.exp(y)], -1)
    _check(style, [gr.stack([x + 1.0, x * 2.0], 1), dy, joined * 2.0], {x: a[:, 0], y: a[:, :2]})


@pytest.mark.parametrize("style", STYLES)
def test_four_parts_from_one_group(style: str, a: Any) -> None:
    x = _x(6, 20)
    t = gr.tanh(x)
    y = gr.concat([t * 1.0, t + 2.0, gr.exp(t), t * t], 1)
    labels = _check(style, [gr.reduce_sum(y, 0), gr.matmul(y, y, transpose_b=True)], {x: a}, 0)
    assert len(labels) in (3, 4, 5), labels


@pytest.mark.parametrize("style", STYLES)
def test_part_that_is_read_elsewhere(style: str, a: Any) -> None:
    """One behind the other it is read where it lies; in pieces it has to be whole first, and is copied."""
    x = _x(6, 20)
    t = gr.tanh(x)
    reads = gr.reduce_sum(t, 1)
    _check(style, [gr.concat([t, x], 0) * 2.0, reads], {x: a}, 1)
    _check(style, [gr.concat([t, x], 1) * 2.0, reads], {x: a}, 1)
    # Fetched ones have a place of their own.
    _check(style, [gr.concat([t, x], 0) * 2.0, t], {x: a}, 1)


@pytest.mark.parametrize("style", STYLES)
def test_same_part_twice_and_in_two(style: str, a: Any) -> None:
    x = _x(6, 20)
    t = gr.tanh(x)
    first = gr.concat([t, t, x], 0)
    second = gr.concat([x, t], 0)
    _check(style, [first + 1.0, second * 2.0, gr.reduce_sum(first)], {x: a})


@pytest.mark.parametrize("style", STYLES)
def test_joined_in_joined(style: str, a: Any) -> None:
    x = _x(6, 20)
    steps: list[Any] = []
    h: Any = gr.exp(x)
    for _ in range(4):
        h = gr.tanh(gr.matmul(h, gr.ones((20, 20)) * 0.05))
        steps.append(gr.concat([x, h], 1))
    all_of_them = gr.concat(steps, 0)
    _check(style, [gr.reduce_sum(all_of_them, 0), all_of_them * 2.0, steps[1] + 1.0], {x: a})


@pytest.mark.parametrize("style", STYLES)
def test_nothing_is_written_over_while_a_part_is_read(style: str, a: Any) -> None:
    """The last reader of the whole might take its place, was it not for a part's later reader."""
    x = _x(6, 20)
    t, u = gr.tanh(x), gr.exp(gr.reduce_sum(x, 0, keepdims=True) + x)
    whole = gr.concat([t, u], 0)
    over = gr.sqrt(whole * whole + 1.0)  # as large as the whole
    late = t * gr.reduce_max(over) + u
    again = gr.concat([late, over], 0) * 2.0
    _check(style, [over, late, again], {x: a})


@pytest.mark.parametrize("style", STYLES)
def test_stack_and_empty_parts(style: str, a: Any) -> None:
    x = _x(6, 20)
    y = gr.stack([gr.tanh(x), gr.exp(x), x], 0)
    z = gr.stack([gr.tanh(x), gr.exp(x)], 2)
    e = gr.concat([gr.tanh(x)[:0], gr.exp(x), x], 0)
    _check(style, [y * 2.0, z * 2.0, e * 2.0], {x: a})


@pytest.mark.parametrize("style", STYLES)
def test_joined_value_of_a_variable(style: str, a: Any) -> None:
    with gr.Graph().as_default():
        v = gr.Variable(np.zeros((12, 20), np.float32))
        x = _x(6, 20)
        store = new_store({v: np.ones((12, 20))})
        step = gr.assign(v, gr.concat([gr.tanh(x) + v[:6], gr.exp(x) * v[6:]], 0))
        run_plan(style, [step], {x: a}, store)
        run_plan(style, [step], {x: a}, store)
        got = variable_value(store, v)
    want = np.concatenate([2 * np.tanh(a) + 1, np.exp(a) * np.exp(a)])
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["float16", "int32", "bool"])
def test_other_dtypes(style: str, kind: str, a: Any) -> None:
    x = _x(6, 20)
    parts = {
        "float16": lambda: [gr.cast(x, gr.float16), gr.cast(x * 2.0, gr.float16)],
        "int32": lambda: [gr.cast(x * 9.0, gr.int32), gr.cast(x, gr.int32) + 1],
        "bool": lambda: [x > 0.0, x < 0.5],
    }[kind]()
    for axis in (0, 1):
        _check(style, [gr.cast(gr.concat(parts, axis), gr.float32) * 2.0], {x: a})


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("rows", "terms", "width"), [(6, 20, 16), (7, 33, 40), (3, 5, 64)])
def test_epilogues_write_pieces(
    style: str, rows: int, terms: int, width: int, rng: np.random.Generator
) -> None:
    """The gradients of an LSTM's gates: results of one product's epilogue, side by side."""
    a, b, c = _x(rows, terms), _x(terms, width, name="b"), _x(rows, width, name="c")
    feeds = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) for t in (a, b, c)}
    p = gr.matmul(a, b)
    y = gr.concat([gr.tanh(p + c), p * c, gr.sigmoid(p) * c, p - c], 1)
    labels = _check(style, [gr.reduce_max(y, 0), y + 1.0], feeds, 0)
    assert any(label.startswith("matmul") and "tanh" in label for label in labels), labels


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("why", ["partial sums", "other rows", "read elsewhere"])
def test_epilogues_that_write_no_pieces(style: str, why: str, rng: np.random.Generator) -> None:
    terms = 5000 if why == "partial sums" else 20
    a, b = _x(64, terms), _x(terms, 256, name="b")
    feeds = {t: rng.standard_normal(t.shape.as_list()).astype(np.float32) / 8 for t in (a, b)}
    p = gr.tanh(gr.matmul(a, b))
    if why == "other rows":
        p = gr.reshape(p, (128, 128))
    y = gr.concat([p, gr.ones((int(p.shape[0]), 8))], 1)
    _check(style, [gr.reduce_max(y, 0), *([gr.exp(p)] if why == "read elsewhere" else [])], feeds)
