"""Pass: cheap values are computed again where they are read, and not stored for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized
from compiler.run_plan import STYLES, run_plan, target

import graphrun as gr
from graphrun.compiler.fusion import FUSED, fuse
from graphrun.compiler.ir import Node
from graphrun.compiler.placement import place
from graphrun.compiler.recompute import recompute


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape, name=name)


def _groups(fetches: list[Any], feeds: dict[Any, tuple[int, ...]]) -> list[Node]:
    program = recompute(fuse(place(specialized(fetches, feeds), target("null"))))
    return [n for n in program.nodes if n.op is FUSED]


def _between(x: Any) -> Any:
    """A value that waits for a sum over x, so that what it is used with is a group of its own."""
    return gr.reduce_max(x)


def test_a_product_is_computed_again_and_a_tanh_is_kept() -> None:
    x = _x(8, 16)
    t = gr.tanh(x)
    double = t * 2.0
    scale = _between(t * double)
    late = (double * scale) / (t * scale)
    first, second = _groups([late], {x: (8, 16)})
    assert len(first.specs) == 2, "the tanh, and the product that is reduced"
    assert sorted(i.op for i in second.attrs["group"].instructions) == ["divide", *["multiply"] * 3]


def test_chain_of_cheap_values_needs_its_source_alone() -> None:
    x = _x(8, 16)
    t = gr.tanh(x)
    a = t * 2.0
    b = a * t
    c = b + a
    late = (a + b * c) * _between(c)
    first, second = _groups([late], {x: (8, 16)})
    assert len(first.specs) == 2 and len(second.inputs) == 2


def test_what_two_values_are_cheap_to_compute_from_is_stored_in_their_place() -> None:
    x = _x(8, 16)
    t = gr.tanh(x)
    a, b = 1.0 + t, 1.0 - t * t
    late = (a + b) * _between(a * b)
    first, second = _groups([late], {x: (8, 16)})
    ops = [i.op for i in first.attrs["group"].instructions]
    stored = [ops[k] for k in first.attrs["group"].results]
    assert stored == ["multiply", "tanh"], "what is reduced, and one value instead of two"
    assert len(second.inputs) == 2


def test_a_gelu_keeps_its_tanh_alone() -> None:
    x, w = _x(8, 16), _x(16, 4, name="w")
    (gradient,) = gr.gradients(gr.square(gr.matmul(_gelu(x), w)), [x])
    first = _groups([gradient], {x: (8, 16), w: (16, 4)})[0]
    ops = [i.op for i in first.attrs["group"].instructions]
    assert sorted(ops[k] for k in first.attrs["group"].results) == ["multiply", "tanh"]


@pytest.mark.parametrize("why", ["costly", "fetched", "other readers", "more reads"])
def test_values_that_are_stored(why: str) -> None:
    x, y, z = _x(8, 16), _x(8, 16, name="y"), _x(8, 16, name="z")
    value = gr.exp(x) if why == "costly" else (x * y) * z if why == "more reads" else x * 2.0
    head = gr.tanh(value)
    late = value * _between(head)
    fetches = [late]
    if why == "fetched":
        fetches.append(value)
    if why == "other readers":
        fetches.append(gr.reduce_sum(value, 0))
    groups = _groups(fetches, {x: (8, 16), y: (8, 16), z: (8, 16)})
    assert len(groups[0].specs) == 2


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + gr.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


@pytest.mark.opencl
@pytest.mark.parametrize("style", STYLES)
def test_values_of_gradients(style: str, rng: np.random.Generator) -> None:
    a, b, c = (rng.standard_normal(s).astype(np.float32) for s in ((9, 20), (20, 33), (33,)))
    x, w, bias = _x(9, 20), _x(20, 33, name="w"), _x(33, name="b")
    y = _gelu(_gelu(gr.matmul(x, w) + bias) * 0.3 + 1.0)
    loss = gr.reduce_sum(gr.square(y) * gr.sigmoid(y))
    fetches = [loss, *gr.gradients(loss, [x, w, bias])]
    want = run_plan("numpy", fetches, {x: a, w: b, bias: c})
    for got, expected in zip(run_plan(style, fetches, {x: a, w: b, bias: c}), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
