"""The verifier finds what a faulty pass would leave behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from compiler.programs import specialized
from compiler.run_plan import target

import graphrun as gr
from graphrun.compiler.ir import Node, Program
from graphrun.compiler.placement import place
from graphrun.compiler.verify import verify
from graphrun.errors import VerifyError
from graphrun.graph.descriptor import Spec


def _program() -> Program:
    x = gr.placeholder(gr.float32, (4,), name="x")
    a, b = gr.split(gr.exp(x, name="e"), 2, name="s")
    w = gr.Variable([1.0, 2.0], name="w")
    return specialized([gr.add(a, b, name="y"), w.assign(a)], {x: (4,)})


def _swap(p: Program) -> None:
    p.nodes.reverse()


def _twice(p: Program) -> None:
    p.nodes.append(p.nodes[-1])


def _missing(p: Program) -> None:
    p.nodes = [n for n in p.nodes if n.op.name != "exp"]


def _output(p: Program) -> None:
    add = p.nodes[-1]
    add.inputs[1] = (add.inputs[1][0], 2)


def _unknown(p: Program) -> None:
    exp = next(n for n in p.nodes if n.op.name == "exp")
    exp.specs = (Spec((None,), gr.float32),)


def _fetch(p: Program) -> None:
    p.fetches[0] = (Node(p.nodes[-1].op, [], {}, p.nodes[-1].specs), 0)


def _fetched_output(p: Program) -> None:
    p.fetches[0] = (p.nodes[-1], 1)


def _update(p: Program) -> None:
    (key,) = p.updates
    p.updates[key] = (Node(p.nodes[-1].op), 0)


def _feed_with_input(p: Program) -> None:
    feed = p.nodes.pop(0)
    feed.inputs = [(p.nodes[0], 0)]
    p.nodes[0].inputs = []
    p.nodes.insert(1, feed)


FAULTS: list[tuple[Callable[[Program], None], str]] = [
    (_swap, "before that is computed"),
    (_twice, "it stands in the program twice"),
    (_missing, "it reads exp 'e' before that is computed"),
    (_output, "it reads output 2 of split, which has 2"),
    (_unknown, "its shape is not concrete"),
    (_fetch, "is fetched or assigned, and is not in the program"),
    (_fetched_output, "has no output 1"),
    (_update, "is fetched or assigned, and is not in the program"),
    (_feed_with_input, "it has inputs"),
]


def test_sound_program() -> None:
    verify(_program(), "test")


@pytest.mark.parametrize(("plant", "text"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_planted_fault(plant: Callable[[Program], None], text: str) -> None:
    program = _program()
    plant(program)
    with pytest.raises(VerifyError) as error:
        verify(program, "the pass")
    assert str(error.value).startswith("after the pass: ") and text in str(error.value)


def test_message_shows_the_neighbourhood() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    y = x
    for i in range(40):
        y = gr.sin(y, name=f"s{i}")
    program = specialized([y], {x: (4,)})
    program.nodes[20].specs = (Spec(None, gr.float32),)
    with pytest.raises(VerifyError) as error:
        verify(program, "the pass")
    lines = str(error.value).splitlines()
    assert lines[0] == "after the pass: %20 sin: its shape is not concrete"
    assert len(lines) == 12 and lines[1].startswith("  %15 = sin(%14)")


def test_unknown_shapes_before_specialize() -> None:
    program = _program()
    _unknown(program)
    verify(program, "purify", concrete=False)


def test_devices_that_meet_without_a_copy() -> None:
    x = gr.placeholder(gr.float32, (4,), name="x")
    program = place(specialized([gr.exp(gr.sin(x, name="s"))], {x: (4,)}), target("null"))
    verify(program, "place", placed=True)
    program.nodes[-1].device = "cpu:0"
    with pytest.raises(VerifyError, match="it is on cpu:0 and reads sin on null:0"):
        verify(program, "place", placed=True)
