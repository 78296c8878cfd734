"""Pass 8: which elementwise nodes become one kernel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from compiler.programs import specialized, text
from compiler.run_plan import compile_for, target

import graphrun as gr
from graphrun.compiler import fusion
from graphrun.compiler.fusion import FUSED, fuse
from graphrun.compiler.placement import place
from graphrun.compiler.views import broadcast_map, collapse, is_contiguous
from graphrun.graph.descriptor import AffineMap


def _x(*shape: int, name: str = "x") -> gr.Tensor:
    return gr.placeholder(gr.float32, shape or (4, 6), name=name)


def _launches(*fetches: Any) -> list[str]:
    """What is launched for fetches from the default graph's placeholders."""
    graph = gr.get_default_graph()
    fed = [op.outputs[0] for op in graph.get_operations() if op.opdef.name == "placeholder"]
    values = {t: np.zeros(t._shape, t.dtype.numpy) for t in fed}
    return [s.label for s in compile_for("null", list(fetches), values).plan.launches]


def test_chain() -> None:
    x = _x(4, 6)
    y = gr.exp(gr.multiply(gr.tanh(x, name="a"), 2.0, name="b"), name="c")
    program = fuse(place(specialized([y], {x: (4, 6)}), target("null")))
    assert str(program) == text("""
        %0 = feed() : (4, 6) float32  # 'x'
        %1 = fused(%0) group=tanh+multiply+exp : (4, 6) float32  null:0  # 'c'
        fetch %1
    """)
    group = program.nodes[1].attrs["group"]
    assert [i.operands for i in group.instructions] == [
        (("in", 0),), (("t", 0), ("lit", np.float32(2.0))), (("t", 1),),
    ]  # fmt: skip
    assert group.maps == (None,)


def test_diamond_is_computed_once() -> None:
    x = _x()
    a = gr.exp(x)
    assert _launches((a + 1.0) * (a - 1.0)) == ["exp+add+subtract+multiply"]


def test_fetched_value_is_stored_on_the_way() -> None:
    """A value that the run wants too is a second output of the kernel that computes it."""
    x = _x()
    a = gr.exp(x, name="a")
    y = gr.add(a, 1.0, name="y")
    assert _launches(a, y) == ["exp+add"]
    program = fuse(place(specialized([a, y, a], {x: (4, 6)}), target("null")))
    (node,) = (n for n in program.nodes if n.op is fusion.FUSED)
    assert program.fetches == [(node, 1), (node, 0), (node, 1)]
    assert node.attrs["group"].results == (1, 0)


@pytest.mark.parametrize("count", [fusion.MAX_OUTPUTS, fusion.MAX_OUTPUTS + 1])
def test_number_of_outputs(count: int) -> None:
    y, fetches = _x(), []
    for _ in range(count):
        y = gr.sin(y)
        fetches.append(y)
    assert len(_launches(*fetches)) == (1 if count <= fusion.MAX_OUTPUTS else 2)


def test_readers_of_one_value_are_one_kernel() -> None:
    x = _x()
    a = gr.exp(x)
    assert _launches(a + 1.0, a * 2.0) == ["exp+add+multiply"]


def test_value_that_is_read_elsewhere_is_stored_on_the_way() -> None:
    x = _x(6, 6)
    a = gr.exp(x)
    program = fuse(place(specialized([gr.matmul(a, a), a + 1.0], {x: (6, 6)}), target("null")))
    (node,) = (n for n in program.nodes if n.op is fusion.FUSED)
    assert node.attrs["group"].results == (1, 0)


def test_groups_that_a_node_joins_become_one() -> None:
    x, y = _x(), _x(name="y")
    assert _launches(gr.exp(x) * gr.tanh(y)) == ["exp+tanh+multiply"]


def test_reshape_inside_a_group() -> None:
    """A reshape moves nothing, so neither does a group that goes through it."""
    x, row = _x(4, 6), _x(3, name="row")
    a = gr.exp(x)
    y = gr.reshape(a, [2, 4, 3]) + row
    program = fuse(place(specialized([y, a], {x: (4, 6), row: (3,)}), target("null")))
    (node,) = (n for n in program.nodes if n.op is fusion.FUSED)
    assert node.attrs["group"].maps == (None, AffineMap((8, 3), (0, 1)))
    assert [s.shape for s in node.specs] == [(2, 4, 3), (4, 6)]


def test_reader_of_another_kind_ends_a_group() -> None:
    x = _x()
    a = gr.exp(x)
    assert _launches(gr.reduce_sum(a * 2.0, 1)) == ["exp+multiply", "sum"]
    assert _launches(a + gr.reduce_sum(a, 1, keepdims=True)) == ["exp", "sum", "add"]


def test_no_circle() -> None:
    """exp feeds the sum that the add needs, so it must not be in the add's kernel."""
    x = _x(6, 6)
    a = gr.exp(x)
    b = gr.gather(a, gr.argmax(a, 0)) + 1.0
    assert _launches(a * b)[-1] == "add+multiply"
    assert _launches(a * b).count("exp") == 1


def test_other_shape_is_a_kernel_of_its_own() -> None:
    """A row that is broadcast would be computed again for each row of the result."""
    x, row = _x(4, 6), _x(6, name="row")
    assert _launches(x + gr.exp(row)) == ["exp", "add"]
    assert _launches(x + row) == ["add"]


def test_dtypes_may_change_in_a_group() -> None:
    x = _x()
    assert _launches(gr.cast(gr.greater(x, 0.0), gr.float64) * 2.0) == ["greater+cast+multiply"]


def test_scalar_constants_are_literals() -> None:
    x = _x()
    y = x * gr.constant([[3.0]]) + gr.constant(2.0)
    program = fuse(place(specialized([y], {x: (4, 6)}), target("null")))
    assert len(program.nodes[-1].inputs) == 1
    scalar = _x(1, name="scalar")
    program = fuse(place(specialized([x * scalar], {x: (4, 6), scalar: (1,)}), target("null")))
    assert len(program.nodes[-1].inputs) == 2, "its value is not known"


def test_equal_inputs_are_read_once() -> None:
    x, row = _x(4, 6), _x(6, name="row")
    program = fuse(place(specialized([(x + row) * (x - row)], {x: (4, 6), row: (6,)}), target("null")))
    assert len(program.nodes[-1].inputs) == 2
    assert program.nodes[-1].attrs["group"].maps == (None, AffineMap((4, 6), (0, 1)))


def test_devices_do_not_mix() -> None:
    x = _x()
    with gr.device("/cpu:0"):
        a = gr.exp(x)
    assert _launches(gr.tanh(a) * 2.0) == ["tanh+multiply"]


@pytest.mark.parametrize("count", [fusion.MAX_INSTRUCTIONS, fusion.MAX_INSTRUCTIONS + 1])
def test_number_of_instructions(count: int) -> None:
    y = _x()
    for _ in range(count):
        y = gr.sin(y)
    assert len(_launches(y)) == (1 if count <= fusion.MAX_INSTRUCTIONS else 2)


def test_number_of_inputs() -> None:
    xs = [_x(3, name=f"x{i}") for i in range(60)]
    y: Any = xs[0]
    for x in xs[1:]:
        y = gr.maximum(y, x)
    values = {x: np.zeros(3, np.float32) for x in xs}
    plan = compile_for("null", [y], values).plan
    assert len(plan.launches) == 3
    for step in plan.launches:
        assert sum(kind == "buffer" for kind, _ in step.args) <= fusion.MAX_INPUTS + 1


# -- views ----------------------------------------------------------------------------------------


def test_view_that_others_read_is_made_once() -> None:
    x = _x(4, 6)
    t = gr.transpose(gr.exp(x))
    assert _launches(t + 1.0, gr.reduce_max(t, 1)) == ["exp", "view", "add", "max"]


def test_alias_costs_nothing() -> None:
    x = _x(4, 6)
    e = gr.exp(x)
    assert _launches(gr.reduce_sum(gr.reshape(e, [3, 8]), 1), gr.reduce_max(e[1:3], 0)) == [
        "exp",
        "sum",
        "max",
    ]


@pytest.mark.parametrize("seed", range(30))
def test_collapse_is_the_same_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dims = tuple(int(d) for d in rng.integers(1, 4, rng.integers(0, 6)))
    strides = list(rng.integers(-2, 3, len(dims)))
    for k in reversed(range(len(dims) - 1)):  # neighbours that can be joined
        if rng.random() < 0.6:
            strides[k] = strides[k + 1] * dims[k + 1]
    m = AffineMap(dims, tuple(int(s) for s in strides), 20)
    c = collapse(m)
    assert _elements(c) == _elements(m)
    assert len(c.dims) <= len(m.dims) and 1 not in c.dims


def _elements(m: AffineMap) -> list[int]:
    places = itertools.product(*[range(d) for d in m.dims])
    return [m.offset + sum(c * s for c, s in zip(p, m.strides, strict=True)) for p in places]


@pytest.mark.parametrize(
    ("shape", "out"),
    [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (2, 3)), ((2, 1, 4), (2, 3, 4)), ((1,), (1,)),
     ((1,), (1, 1)), ((4, 1, 1), (2, 4, 3, 5))],
)  # fmt: skip
def test_broadcast_map(shape: Any, out: Any) -> None:
    x = np.arange(int(np.prod(shape))).reshape(shape)
    m = broadcast_map(shape, out)
    if m is None:
        assert shape == out
    else:
        expected = np.broadcast_to(x, out).reshape(-1).tolist()
        assert _elements(m) == expected if m.dims else expected == [m.offset] * len(expected)


@pytest.mark.parametrize(
    ("m", "contiguous"),
    [
        (AffineMap((2, 3), (3, 1)), True),
        (AffineMap((2, 3), (3, 1), 6), True),
        (AffineMap((2, 1, 3), (3, 99, 1)), True),
        (AffineMap((1, 1), (5, 7), 3), True),
        (AffineMap((2, 3), (4, 1)), False),
        (AffineMap((3,), (-1,), 2), False),
        (AffineMap((3,), (0,)), False),
        (AffineMap((3, 2), (1, 3)), False),
    ],
)
def test_is_contiguous(m: AffineMap, contiguous: bool) -> None:
    assert is_contiguous(m) is contiguous


def test_what_reads_a_product_is_one_group() -> None:
    """One group can be its epilogue, and the others would read it from memory."""
    a, b, c = (gr.placeholder(gr.float32, (8, 8)) for _ in range(3))
    p = gr.matmul(a, b)
    fetches = [gr.tanh(p), gr.exp(p) * c, gr.sigmoid(p)]
    program = fuse(place(specialized(fetches, dict.fromkeys((a, b, c), (8, 8))), target("null")))
    (group,) = (n for n in program.nodes if n.op is FUSED)
    assert len(group.specs) == 3
    # Where one waits for the other by way of something else, they stay apart.
    fetches = [gr.tanh(p) * gr.reduce_max(gr.exp(p))]
    program = fuse(place(specialized(fetches, dict.fromkeys((a, b), (8, 8))), target("null")))
    assert sum(n.op is FUSED for n in program.nodes) == 2
