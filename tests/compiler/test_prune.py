"""Pass 1: what the fetches need, with fed tensors in place of what computes them."""

from __future__ import annotations

import pytest
from compiler.programs import names, pruned, text

import graphrun as gr
from graphrun.compiler.prune import reachable
from graphrun.errors import FeedError


def test_only_what_is_fetched() -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    y = gr.add(x, x, name="y")
    gr.exp(y, name="unused")
    program, node_of = pruned([y, x], {x: (2, 3)})
    assert str(program) == text("""
        %0 = feed() : (2, 3) float32  # 'x'
        %1 = add(%0, %0) : (?, 3) float32  # 'y'
        fetch %1
        fetch %0
    """)
    assert [op.name for op in node_of] == ["y"], "what is fed is not computed"


def test_operation_has_no_value() -> None:
    y = gr.add(gr.constant(1.0, name="one"), gr.constant(2.0, name="two"), name="y")
    program, _ = pruned([y.op])
    assert str(program) == text("""
        %0 = const() value=1. dtype=float32 : () float32  # 'one'
        %1 = const() value=2. dtype=float32 : () float32  # 'two'
        %2 = add(%0, %1) : () float32  # 'y'
        fetch -
    """)
    assert program.kept == [(program.nodes[2], 0)]


def test_feed_cuts_off_what_computes_it() -> None:
    x = gr.placeholder(gr.float32, (3,), name="x")
    y = gr.exp(x, name="y")
    program, _ = pruned([y * 2.0, y], {y: (3,)})
    assert names(program) == ["feed", "const", "multiply"]
    assert program.fetches == [(program.nodes[2], 0), (program.nodes[0], 0)]


def test_one_fed_output_of_several() -> None:
    a, b = gr.split(gr.constant([1.0, 2.0], name="c"), 2)
    program, _ = pruned([a, b], {a: (1,)})
    split = program.nodes[-1]
    assert program.fetches == [(program.nodes[0], 0), (split, 1)]
    assert str(program).splitlines()[-2:] == ["fetch %0", f"fetch %{len(program.nodes) - 1}.1"]


def test_control_inputs_are_needed() -> None:
    v = gr.Variable(1.0, name="v")
    with gr.control_dependencies([v.assign(2.0)]):
        y = gr.constant(3.0) + 4.0
    assert "assign" in names(pruned([y])[0])


def test_fed_placeholder_may_be_waited_for() -> None:
    x = gr.placeholder(gr.float32, (), name="x")
    with gr.control_dependencies([x]):
        y = gr.constant(1.0) + 2.0
    assert "placeholder" not in names(pruned([y], {x: ()})[0])


def test_placeholder_that_is_not_fed() -> None:
    x = gr.placeholder(gr.float32, (None, 3), name="x")
    with pytest.raises(FeedError) as error:
        pruned([x + 1.0])
    assert "placeholder 'x:0' is needed and not fed" in str(error.value)
    assert "it is (?, 3) float32" in str(error.value) and "created at " in str(error.value)
    assert "pass a value in the feed_dict of run: {x: ...}" in str(error.value)


def test_order_is_that_of_creation() -> None:
    a, b = gr.constant(1.0, name="a"), gr.constant(2.0, name="b")
    late = gr.exp(a, name="late")
    y = gr.add(b, late, name="y")
    assert [op.name for op in reachable([y, a], [])] == ["a", "b", "late", "y"]


def test_long_chains_do_not_recurse() -> None:
    y = gr.constant(0.0)
    for _ in range(5000):
        y = gr.exp(y)
    assert len(pruned([y])[0].nodes) == 5001
