"""Branches and loops in programs: their regions become programs of their own, pure as the one around them.

A region's variables, random streams and captured tensors come in as feeds.  What it writes to variables goes
out as more results, which a loop carries from one iteration to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphrun.compiler.ir import FEED, Node, Program, StateKey, Value
from graphrun.compiler.prune import add_operations
from graphrun.errors import GraphError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor

CONTROL = ("while", "cond")


@dataclass(eq=False)
class Loop:
    """What a loop repeats.

    Attributes
    ----------
    test, body : Program
        Their feeds are the inputs of the loop's node.  `test` has one fetch, a bool; `body` has the new value
        of each carried input and then each saved value.
    carried : tuple of int
        The inputs that the body replaces; the others stay what they are.
    results : tuple of int or None
        For each output of the node the carried input that it is the last value of; None for the count of
        iterations and for saved values, which follow it.
    count : int
        Which output is the number of iterations.
    saved : int
        How many values of each iteration are kept for the gradient.
    """

    test: Program
    body: Program
    carried: tuple[int, ...]
    results: tuple[int | None, ...]
    count: int
    saved: int
    name: str = ""
    # What `specialize` has worked out.
    known: dict[Any, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"<loop of {len(self.body.nodes)} nodes>"


@dataclass(eq=False)
class Branches:
    """The two programs of a `cond`; their feeds are the inputs of its node behind the predicate."""

    true: Program
    false: Program
    # Outputs that only one branch computes, for its own gradient.
    outputs: dict[bool, list[int | None]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"<branches of {len(self.true.nodes)} and {len(self.false.nodes)} nodes>"


def region_program(
    region: Any, outputs: Sequence[Tensor], captures: Sequence[Tensor], fed: set[Tensor]
) -> tuple[Program, dict[Operation, Node]]:
    """The program of a region, still with reads and assigns: feeds are its parameters, then `captures`."""
    program = Program()
    value_of: dict[Tensor, Value] = {}
    node_of: dict[Operation, Node] = {}
    for t in (*region.params, *captures):
        node = Node(FEED, specs=(t.spec,), origin=t.op)
        program.feeds.append((t, node))
        program.nodes.append(node)
        value_of[t] = (node, 0)
    needed = region.operations(outputs)
    variables = {t.op for op in needed for t in op.inputs} | {t.op for t in outputs}
    variables = {op for op in variables if is_variable(op) and op.outputs[0] not in fed}
    add_operations(program, sorted(variables | set(needed), key=lambda op: op.id), value_of, node_of)
    waited_for = {c for op in needed for c in op.control_inputs if not c.opdef.side_effect}
    program.kept = [value_of[t] for op in needed if op in waited_for for t in op.outputs]
    program.fetches = [value_of[t] for t in outputs]
    return program, node_of


def is_variable(op: Operation) -> bool:
    return op.opdef.name == "variable"


Purify = Callable[[Program, "dict[Operation, Node]"], Program]


@dataclass
class Purified:
    """A `while` or `cond` without the values of the states that it reads, which are to be its last inputs."""

    node: Node
    keys: list[StateKey]
    written: list[StateKey]


def purified(
    op: Operation, inputs: dict[Tensor, Value], fed: set[Tensor], purify: Purify
) -> Purified:  # fmt: skip
    """Make the node of a `while` or `cond`.

    Parameters
    ----------
    inputs : dict
        The current value of each input that is no variable; a variable is read as a state.
    fed : set of Tensor
    purify : function
        The pass, for a region's program.
    """
    is_loop = op.opdef.name == "while"
    own: int = op.attrs["count"]
    captures = [t for t in op.inputs[own:] if not (is_variable(t.op) and t not in fed)]
    regions = [op.attrs[k] for k in (("test", "body") if is_loop else ("true", "false"))]
    saved = [[t for t in op.attrs["saved"].tensors if t.op.region is region] for region in regions]
    programs = [
        purify(*region_program(region, [*region.outputs, *mine], captures, fed))
        for region, mine in zip(regions, saved, strict=True)
    ]
    keys = list(dict.fromkeys(k for p in programs for k in (*p.states, *p.updates)))
    # In the order of `keys`: in that order `_states_as_feeds` appends what a program writes to its results.
    updated = {k for p in programs for k in p.updates}
    written = [k for k in keys if k in updated]
    specs: dict[StateKey, Spec] = {}
    for p in programs:
        specs.update({k: v[0].specs[v[1]] for k, v in p.updates.items()})
        specs.update({k: n.specs[0] for k, n in p.states.items()})
    if is_loop and programs[0].updates:
        raise GraphError(
            message(
                "the condition of the loop changes a variable or draws random numbers",
                where=op.label,
                site=op.site,
                fix="do it in the body, and pass on what the condition needs as a loop variable",
            )
        )
    for p in programs:
        _states_as_feeds(p, keys, specs, written)
    values = [inputs[t] for t in (*op.inputs[:own], *captures)]
    node = Node(op.opdef, values, {}, [t.spec for t in op.outputs], op, op.device)
    node.specs += tuple(specs[k] for k in written)
    if is_loop:
        first_state = own + len(captures)
        places = [first_state + keys.index(k) for k in written]
        node.attrs = {"loop": _loop(programs[0], programs[1], own, len(saved[1]), places, op.name)}
    else:
        branches = Branches(programs[0], programs[1])
        plain = len(regions[0].outputs)
        every = op.attrs["saved"].tensors
        for which, mine in zip((True, False), saved, strict=True):
            branches.outputs[which] = [
                *range(plain),
                *(plain + mine.index(t) if t in mine else None for t in every),
                *range(plain + len(mine), plain + len(mine) + len(written)),
            ]
        node.attrs = {"branches": branches}
    return Purified(node, keys, written)


def _loop(test: Program, body: Program, own: int, saved: int, states: list[int], name: str) -> Loop:
    """The loop of `own` variables that also carries the states at these places among its inputs."""
    del test.fetches[1:]
    # So far the body's fetches are its outputs, what is saved, and what it writes to states.
    outputs, kept, writes = body.fetches[:own], body.fetches[own : own + saved], body.fetches[own + saved :]
    body.fetches = [*outputs, *writes, *kept]
    results = (*range(own), None, *([None] * saved), *states)
    return Loop(test, body, (*range(own), *states), results, own, saved, name)


def _states_as_feeds(
    program: Program, keys: list[StateKey], specs: dict[StateKey, Spec], written: list[StateKey]
) -> None:
    """Let the states of a region's program come in as feeds, and what it writes go out as fetches."""
    for key in keys:
        node = program.states.get(key)
        if node is None:
            node = Node(FEED, (), {}, (specs[key],), key.op)
            program.nodes.insert(0, node)
        else:
            node.op, node.attrs = FEED, {}
        program.feeds.append((key.op.outputs[0], node))
        if key in written:
            program.fetches.append(program.updates.get(key, (node, 0)))
    program.states, program.updates = {}, {}
