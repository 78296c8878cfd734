"""The pass that joins large elementwise nodes of the host."""

from __future__ import annotations

import numpy as np
import pytest
from compiler.programs import names, specialized, text

import graphrun as gr
from graphrun.compiler import blocks as pass_
from graphrun.compiler.blocks import BLOCKS, blocks
from graphrun.compiler.placement import Target, place
from graphrun.compiler.verify import verify


@pytest.fixture(autouse=True)
def graph(monkeypatch):
    monkeypatch.setattr(pass_, "MIN_ELEMENTS", 100)
    with gr.Graph().as_default():
        yield


def joined(fetches, feeds):
    program = place(specialized(fetches, feeds), Target())
    program = blocks(program)
    verify(program, "blocks", placed=True)
    return program


def test_before_and_expected():
    x = gr.placeholder(gr.float32, (None,), name="x")
    y = gr.tanh(x * 2.0, name="t") + x
    assert str(joined([y], {x: (100,)})) == text("""
        %0 = feed() : (100,) float32  # 'x'
        %1 = blocks(%0) group=multiply+tanh+add : (100,) float32  cpu:0  # 'add'
        fetch %1
    """)
    assert "blocks" not in names(joined([y], {x: (99,)}))


def test_what_others_read_is_a_result_too():
    x = gr.placeholder(gr.float32, (200,), name="x")
    h = gr.exp(x)
    y = gr.sqrt(h + 1.0)
    program = joined([y, h, gr.reduce_sum(h + 1.0)], {x: (200,)})
    (node,) = [n for n in program.nodes if n.op is BLOCKS]
    assert [str(s.shape) for s in node.specs] == ["(200,)"] * len(node.specs) and len(node.specs) >= 2
    assert len(program.fetches) == 3 and "sum" in names(program)


def test_a_product_between_makes_two_groups():
    x = gr.placeholder(gr.float32, (20, 20), name="x")
    h = gr.tanh(x * 2.0)
    y = gr.exp(gr.matmul(h, h) + h) * h
    program = joined([y], {x: (20, 20)})
    assert names(program) == ["feed", "blocks", "matmul", "blocks"]


def test_shapes_that_differ_are_not_joined():
    x = gr.placeholder(gr.float32, (20, 20), name="x")
    y = gr.exp(gr.reshape(gr.tanh(x), [400])) + 1.0
    program = joined([y], {x: (20, 20)})
    assert names(program).count("blocks") == 1 and "tanh" in names(program)


def test_what_is_no_expression_of_elements_stays():
    x = gr.placeholder(gr.float32, (30, 20), name="x")
    y = gr.cumsum(gr.exp(x)) * 2.0
    program = joined([y], {x: (30, 20)})
    assert "blocks" not in names(program)
    s = gr.placeholder(gr.string, (200,), name="s")
    assert "blocks" not in names(joined([gr.string_join([s, s])], {s: (200,)}))


def test_sessions_use_it_and_say_so():
    x = gr.placeholder(gr.float32, (None,), name="x")
    y = gr.sqrt(gr.exp(x) + 1.0)
    with gr.Session(device="cpu:0") as sess:
        plan = sess.plan(y, {x: np.zeros(1000)})
        assert "exp+add+sqrt(r0)" in str(plan)
        assert list(sess.passes(y, {x: np.zeros(1000)}))[-2:] == ["place", "blocks"]
        assert plan.peak_bytes() == 4000
