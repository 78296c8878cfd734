"""Pass 2: variables and random streams become values."""

from __future__ import annotations

import pytest
from compiler.programs import element, names, pruned, purified, text

import graphrun as gr
from graphrun.compiler.state import purify
from graphrun.errors import UninitializedError


def test_read_and_assign() -> None:
    w = gr.Variable([1.0, 2.0], name="w")
    y = gr.multiply(w, w, name="y")
    new = w.assign(y, name="new")
    assert str(purified([y, new, w])) == text("""
        %0 = state() key=w : (2,) float32  # 'w'
        %1 = multiply(%0, %0) : (2,) float32  # 'y'
        fetch %1
        fetch %1
        fetch %0
        update 'w' <- %1
    """)


def test_no_addition_is_lost() -> None:
    """Writes follow each other in the order of creation, whatever the order of fetches."""
    w = gr.Variable(0.0, name="w")
    one = w.assign_add(gr.constant(1.0, name="a"), name="one")
    two = w.assign_sub(gr.constant(2.0, name="b"), name="two")
    assert str(purified([two, one, w])) == text("""
        %0 = state() key=w : () float32  # 'w'
        %1 = const() value=1. dtype=float32 : () float32  # 'a'
        %2 = add(%0, %1) : () float32  # 'one'
        %3 = const() value=2. dtype=float32 : () float32  # 'b'
        %4 = subtract(%2, %3) : () float32  # 'two'
        fetch %4
        fetch %2
        fetch %0
        update 'w' <- %4
    """)


def test_read_after_a_write() -> None:
    w = gr.Variable(0.0, name="w")
    before = gr.identity(w.read_value(), name="before")
    with gr.control_dependencies([w.assign(gr.constant(5.0, name="five"))]):
        after = gr.identity(w.read_value(), name="after")
    assert str(purified([before, after])) == text("""
        %0 = state() key=w : () float32  # 'w'
        %1 = identity(%0) : () float32  # 'before'
        %2 = const() value=5. dtype=float32 : () float32  # 'five'
        %3 = identity(%2) : () float32  # 'after'
        fetch %1
        fetch %3
        update 'w' <- %2
    """)


def test_write_reaches_a_read_through_data() -> None:
    """A read waits for a write also where only data leads from the one to the other."""
    w, v = gr.Variable(0.0, name="w"), gr.Variable(0.0, name="v")
    step = w.assign_add(1.0)
    with gr.control_dependencies([v.assign(gr.exp(step))]):
        read = w.read_value()
    program = purified([read])
    assert program.fetches == [next(v for k, v in program.updates.items() if k.op.name == "w")]


def test_assigned_variable_needs_no_value() -> None:
    w = gr.Variable([1.0, 2.0], name="w")
    assert "state" not in names(purified([w.assign([3.0, 4.0]).op]))


def test_swap() -> None:
    a, b = gr.Variable(1.0, name="a"), gr.Variable(2.0, name="b")
    assert str(purified([gr.group(a.assign(b), b.assign(a))])) == text("""
        %0 = state() key=a : () float32  # 'a'
        %1 = state() key=b : () float32  # 'b'
        fetch -
        update 'a' <- %1
        update 'b' <- %0
    """)


def test_fed_variable() -> None:
    w = gr.Variable([1.0, 2.0], name="w")
    program = purified([gr.exp(w), w.assign_add([1.0, 1.0])], {w: (2,)})
    assert names(program) == ["feed", "exp", "const", "add"]


def test_random_operation_becomes_pure() -> None:
    r = gr.random_uniform((3,), seed=1, name="r")
    program = purified([r, r * 2.0])
    assert names(program)[:3] == ["state", "philox_uniform", "advance_counter"]
    assert str(program).splitlines()[-1] == "update 'r (random counter)' <- %2"
    assert sorted(k.label for k in program.states) == ["r (random counter)"]


def test_streams_are_apart() -> None:
    a, b = gr.random_uniform((3,), seed=1), gr.random_uniform((3,), seed=1)
    program = purified([a, b])
    assert len(program.states) == len(program.updates) == 2
    assert program.fetches[0] != program.fetches[1]


def test_variable_of_unknown_shape_takes_that_of_its_value() -> None:
    w = gr.Variable(gr.placeholder(gr.float32, None, name="start"), name="w", validate_shape=False)
    program, node_of = pruned([w * 2.0])
    with pytest.raises(UninitializedError, match="variable 'w' has no value in this session"):
        purify(program, node_of, lambda op: None)
    program, node_of = pruned([w * 2.0])
    program = purify(program, node_of, lambda op: element(gr.constant([1.0, 2.0])).spec)
    assert program.nodes[0].specs[0].shape == (2,)
