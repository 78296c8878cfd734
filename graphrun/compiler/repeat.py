"""The programs of a loop that is repeated: one iteration, and the test before the first.

Carried values and what the loop captures are states of a store that the loop has for itself, so on a device
they stay there; one iteration updates them in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphrun.compiler.ir import FEED, STATE, Node, Program, Value, constant_node
from graphrun.compiler.loops import Repeated
from graphrun.dtypes import int32
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import get_op


@dataclass(frozen=True)
class LoopKey:
    """A value that a loop keeps: an input, a stack of saved values, or the count of iterations."""

    what: str
    number: int = 0
    kind: str = "loop"

    @property
    def label(self) -> str:
        return f"{self.what} {self.number}"


COUNT = LoopKey("count")


def first_test(repeated: Repeated, specs: Sequence[Spec]) -> Program:
    """Whether the loop runs at all."""
    program = Program()
    inputs = _inputs(program, repeated, specs)
    program.fetches = list(_copied(program, repeated.loop.test, inputs))
    program.remove_dead()
    return program


def iteration(repeated: Repeated, specs: Sequence[Spec], capacity: int | None) -> Program:
    """One iteration, and whether there is another one unless the count is known.

    Parameters
    ----------
    specs : sequence of Spec
        Of the loop's inputs, now.
    capacity : int or None
        Rows of the stacks for saved values.  None: they are fetched, behind the test.
    """
    loop = repeated.loop
    program = Program()
    inputs = _inputs(program, repeated, specs)
    outs = _copied(program, loop.body, inputs)
    n = len(loop.carried)
    after = list(inputs)
    for i, value in zip(loop.carried, outs[:n], strict=True):
        after[i] = value
        if i in repeated.alive:
            program.updates[LoopKey("input", i)] = value  # type: ignore[index]
    fetches: list[Value | None] = []
    if repeated.count is None:
        fetches += _copied(program, loop.test, after)
    saved = [(j, v) for j, (v, asked) in enumerate(zip(outs[n:], repeated.saved, strict=True)) if asked]
    if capacity is None:
        fetches += [v for _, v in saved]
    elif saved:
        _push(program, repeated, saved, capacity)
    program.fetches = fetches
    program.remove_dead()
    return program


def _push(program: Program, repeated: Repeated, saved: Sequence[tuple[int, Value]], capacity: int) -> None:
    at = _state(program, COUNT, Spec((), int32))
    for j, value in saved:
        row = repeated.rows[j]
        spec = Spec((capacity, *row.shape), row.dtype)  # type: ignore[misc]
        key = LoopKey("stack", j)
        stack = _state(program, key, spec)
        write = Node(get_op("write_row"), [stack, at, value], {}, [spec], value[0].origin)
        program.nodes.append(write)
        program.updates[key] = (write, 0)  # type: ignore[index]
    one = constant_node(1)
    one = constant_node(one.attrs["value"].array.astype("int32"))
    add = Node(get_op("add"), [at, (one, 0)], {}, [Spec((), int32)])
    program.nodes += [one, add]
    program.updates[COUNT] = (add, 0)  # type: ignore[index]


def _state(program: Program, key: LoopKey, spec: Spec) -> Value:
    node = Node(STATE, (), {"key": key}, (spec,))
    program.states[key] = node  # type: ignore[index]
    program.nodes.insert(0, node)
    return node, 0


def _inputs(program: Program, repeated: Repeated, specs: Sequence[Spec]) -> list[Value]:
    values: list[Value] = []
    for i, spec in enumerate(specs):
        array = repeated.constants.get(i)
        if array is not None:
            node = constant_node(array)
            program.nodes.insert(0, node)
            values.append((node, 0))
        else:
            values.append(_state(program, LoopKey("input", i), spec))
    return values


def _copied(program: Program, part: Program, inputs: Sequence[Value]) -> list[Value]:
    """Add a copy of a region's nodes; return its fetches."""
    new: dict[Value, Value] = {}
    for (_, feed), value in zip(part.feeds, inputs, strict=True):
        new[(feed, 0)] = value
    for node in part.nodes:
        if node.op is FEED:
            continue
        copy = Node(
            node.op, [new[v] for v in node.inputs], node.attrs, node.specs, node.origin, node.device,
            node.value_attrs,
        )  # fmt: skip
        program.nodes.append(copy)
        new.update({(node, i): (copy, i) for i in range(len(node.specs))})
    program.kept += [new[v] for v in part.kept]
    return [new[v] for v in part.fetches if v is not None]
