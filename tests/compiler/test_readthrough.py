"""Pass: views are read through by groups and products; what is left of them becomes kernels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from compiler.programs import names, specialized
from compiler.run_plan import STYLES, compile_for, run_plan, target
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrun as gr
from graphrun.compiler.fusion import fuse
from graphrun.compiler.ir import Program
from graphrun.compiler.placement import place
from graphrun.compiler.readthrough import read_through
from graphrun.compiler.views import collapse, compose, spread
from graphrun.graph.descriptor import AffineMap


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name=name)


def _after(fetches: Any, feeds: Any) -> Program:
    where = target("null")
    return read_through(fuse(place(specialized(fetches, feeds), where)), where)


# -- maps -----------------------------------------------------------------------------------------


def _indices(m: AffineMap) -> Any:
    """The element that each place of the map leads to."""
    total = np.full(m.dims, m.offset)
    for k, (d, s) in enumerate(zip(m.dims, m.strides, strict=True)):
        total += (np.arange(d) * s).reshape((-1,) + (1,) * (len(m.dims) - 1 - k))
    return total.ravel()


def _view(draw: Any, shape: tuple[int, ...]) -> tuple[AffineMap, tuple[int, ...]]:
    """A transpose, slice, broadcast or reshape of a dense value, as its map, and the shape of the result."""
    strides = [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    kind = draw(st.sampled_from(["transpose", "slice", "broadcast", "reshape", "step"]))
    if kind == "transpose":
        order = draw(st.permutations(range(len(shape))))
        return AffineMap(tuple(shape[k] for k in order), tuple(strides[k] for k in order)), tuple(
            shape[k] for k in order
        )
    if kind == "broadcast":
        dims = (draw(st.integers(1, 3)), *shape)
        return AffineMap(dims, (0, *strides)), dims
    if kind == "reshape":
        flat = int(np.prod(shape))
        first = draw(st.sampled_from([d for d in range(1, flat + 1) if flat % d == 0]))
        return AffineMap((flat,), (1,)), (first, flat // first)
    at = draw(st.integers(0, len(shape) - 1))
    step = 1 if kind == "slice" else 2
    begin = draw(st.integers(0, shape[at] - 1))
    count = draw(st.integers(1, (shape[at] - begin + step - 1) // step))
    dims = tuple(count if k == at else d for k, d in enumerate(shape))
    walk = tuple(s * step if k == at else s for k, s in enumerate(strides))
    return AffineMap(dims, walk, begin * strides[at]), dims


@st.composite
def _two_views(draw: Any) -> Any:
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    inner, middle = _view(draw, shape)
    outer, last = _view(draw, middle)
    return inner, outer, last


@given(_two_views())
@settings(max_examples=400, deadline=None)
def test_composed_maps_lead_to_the_same_elements(views: Any) -> None:
    inner, outer, last = views
    found = compose(outer, inner)
    if found is None:
        return
    np.testing.assert_array_equal(_indices(found), _indices(inner)[_indices(outer)])
    wide = spread(found, last)
    if wide is not None:
        assert wide.dims == last
        np.testing.assert_array_equal(_indices(wide), _indices(found))


def test_common_chains_compose() -> None:
    """A slice of columns, split into heads, turned: what attention does to each of q, k and v."""
    rows, width, heads = 8 * 16, 24, 4
    slice_ = AffineMap((rows, width), (3 * width, 1), width)
    turned = AffineMap((8, heads, 16, width // heads), (16 * width, width // heads, width, 1))
    found = compose(turned, slice_)
    assert found is not None
    assert spread(found, (8, heads, 16, 6)) == AffineMap((8, heads, 16, 6), (16 * 72, 6, 72, 1), width)


def test_maps_that_do_not_compose() -> None:
    columns = AffineMap((6, 4), (8, 1))  # four of eight columns
    assert compose(AffineMap((3, 8), (8, 1)), columns) == collapse(AffineMap((6, 4), (8, 1)))
    assert compose(AffineMap((7, 2), (3, 1)), columns) is None, "a row of three goes over the end of four"
    assert compose(AffineMap((6, 4), (4, -1), 3), columns) is None


# -- the pass -------------------------------------------------------------------------------------


def test_view_is_read_through() -> None:
    x = _x(4, 6)
    y = gr.transpose(gr.exp(x, name="e"), name="t") + 1.0
    program = _after([y], {x: (4, 6)})
    assert [n.op.name for n in program.nodes] == ["feed", "fused", "fused"], "the transpose is gone"
    assert program.nodes[2].inputs == [(program.nodes[1], 0)]
    assert program.nodes[2].attrs["group"].maps == (AffineMap((6, 4), (1, 6)),)


def test_chain_of_views_is_read_through() -> None:
    x = _x(4, 6)
    y = gr.transpose(gr.reshape(gr.exp(x, name="e")[:, 2:], (4, 2, 2)), (2, 0, 1)) + 1.0
    program = _after([y], {x: (4, 6)})
    assert names(program) == ["feed", "fused", "fused"]
    assert program.nodes[2].attrs["group"].maps == (AffineMap((2, 4, 2), (1, 6, 2), 2),)


def test_products_read_their_operands_where_they_lie() -> None:
    x, w = _x(4, 30), _x(9, 5, name="w")
    program = _after(
        [gr.matmul(x[:, 3:12], w), gr.matmul(gr.exp(w), gr.exp(w), transpose_a=True)], {x: (4, 30), w: (9, 5)}
    )
    first, second = (n for n in program.nodes if n.op.name == "matmul")
    assert first.attrs["operand_maps"] == (AffineMap((4, 9), (30, 1), 3), None)
    assert first.inputs[0][0].op.name == "feed" and "operand_maps" not in second.attrs


def test_view_without_dense_rows_is_copied() -> None:
    x, w = _x(4, 30), _x(10, 5, name="w")
    program = _after([gr.matmul(x[:, ::3], w)], {x: (4, 30), w: (10, 5)})
    assert names(program) == ["feed", "feed", "fused", "matmul"]


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_products_of_empty_views(style: str) -> None:
    x = _x(3, 3)
    (got,) = run_plan(style, [gr.matmul(x[:, 0:0], x[:, 0:0], transpose_b=True)], {x: np.ones((3, 3))})
    np.testing.assert_array_equal(got, np.zeros((3, 3)))


def test_heads_of_attention_need_no_copies() -> None:
    batch, length, heads, width = 2, 6, 4, 8
    x = _x(batch * length, 3 * heads * width)
    q, k, v = (
        gr.transpose(gr.reshape(part, (batch, length, heads, width)), (0, 2, 1, 3))
        for part in gr.split(gr.exp(x), 3, 1)
    )
    mixed = gr.matmul(gr.nn.softmax(gr.matmul(q, k, transpose_b=True)), v)
    plan = compile_for("null", [mixed], {x: np.zeros((batch * length, 3 * heads * width))}).plan
    assert [s.label for s in plan.launches if "view" in s.label or "copy" in s.label] == []


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "views",
    list(itertools.product(["columns", "rows", "turned", "step", "heads"], ["columns", "turned", "heads"])),
)
def test_values_of_products(style: str, views: tuple[str, str], rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal((3, 18, 40)).astype(np.float32) for _ in range(2))

    def seen(kind: str, t: Any) -> Any:
        if kind == "heads":
            return gr.transpose(gr.reshape(t[:, :, 4:36], (3, 18, 2, 16)), (0, 2, 1, 3))[:, :, :16]
        t = {
            "columns": lambda: t[:, :16, 5:21], "rows": lambda: t[:, 1:17, :16],
            "turned": lambda: gr.transpose(t[:, 1:17, 3:19], (0, 2, 1)), "step": lambda: t[:, :16, 1:33:2],
        }[kind]()  # fmt: skip
        return gr.expand_dims(t, 1)

    x, y = _x(3, 18, 40), _x(3, 18, 40, name="y")
    fetches = [
        gr.tanh(gr.matmul(seen(views[0], gr.exp(x)), seen(views[1], y)) * 0.01),
        gr.matmul(seen(views[0], x), seen(views[1], y), transpose_a=True, transpose_b=True),
        gr.concat([seen(views[0], x), seen(views[0], y) * 2.0], -1),
    ]
    got = run_plan(style, fetches, {x: a, y: b})
    for g, want in zip(got, run_plan("numpy", fetches, {x: a, y: b}), strict=True):
        np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-3)
