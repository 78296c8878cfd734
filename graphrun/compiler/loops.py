"""How `specialize` takes a `cond` and a `while`: one branch, a loop unrolled, or one that is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrun.compiler.control import Branches, Loop
from graphrun.compiler.ir import CONST, FEED, Node, Program, Value, constant_array, no_rule
from graphrun.dtypes import int32
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import Constant, OpDef
from graphrun.shapes import is_static

if TYPE_CHECKING:
    from graphrun.compiler.specialize import Specializer

# Iterations that are counted while compiling, those that are unrolled, and nodes that unrolling may make.
MAX_COUNTED = 4096
MAX_UNROLLED = 256
MAX_NODES = 12_000

# A loop that the runtime repeats; see `RepeatedLoop`.
LOOP = OpDef("loop", no_rule, None)


@dataclass(eq=False)
class Repeated:
    """A loop that is not unrolled.

    Attributes
    ----------
    loop : Loop
    constants : dict
        Inputs whose value is known: their number and array.
    count : int or None
        How many iterations there are, where that is known.
    saved : tuple of bool
        Which saved values are asked for.
    alive : frozenset of int
        The carried inputs that anything depends on.
    rows : tuple of Spec
        Of what one iteration saves, as far as that is known.
    """

    loop: Loop
    constants: dict[int, np.ndarray]
    count: int | None
    saved: tuple[bool, ...]
    alive: frozenset[int]
    rows: tuple[Spec, ...]
    # What the runtime keeps for it.
    known: dict[Any, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        times = "" if self.count is None else f", {self.count} times"
        return f"<{len(self.loop.body.nodes)} nodes{times}>"


def has_effect(node: Node) -> bool:
    """Whether running a node twice is not the same as running it once."""
    if node.op is LOOP and "repeat" in node.attrs:
        return _has_effects(node.attrs["repeat"].loop)
    if node.op.name == "while":
        return _has_effects(node.attrs["loop"])
    if node.op.name == "cond":
        return any(has_effect(n) for p in _branches(node) for n in p.nodes)
    return node.op.effect


def _branches(node: Node) -> tuple[Program, Program]:
    branches: Branches = node.attrs["branches"]
    return branches.true, branches.false


def _has_effects(loop: Loop) -> bool:
    found = loop.known.get("effects")
    if found is None:
        found = any(has_effect(n) for p in (loop.test, loop.body) for n in p.nodes)
        loop.known["effects"] = found
    return bool(found)


def control(owner: Specializer, node: Node, key: Any) -> None:
    """Take a `cond` or a `while`."""
    if "branches" in node.attrs:
        _branch(owner, node, key)
    else:
        _loop(owner, node, key)


def _branch(owner: Specializer, node: Node, key: Any) -> None:
    branches: Branches = node.attrs["branches"]
    predicate = constant_array(node.inputs[0])
    if predicate is None:
        owner.need([node.inputs[0]], node)
        return
    taken = bool(predicate)
    values = owner.inline(branches.true if taken else branches.false, node.inputs[1:], (key, taken))
    for i, source in enumerate(branches.outputs[taken]):
        # What only the other branch saves is asked for by the other branch of the gradient alone.
        nothing = owner.constant(np.zeros((0,), np.float32)) if source is None else None
        owner.replaced[(node, i)] = nothing or values[source]  # type: ignore[index]


def _loop(owner: Specializer, node: Node, key: Any) -> None:
    loop: Loop = node.attrs["loop"]
    asked = owner.asked(len(node.specs))
    count = _iterations(owner, loop, node.inputs)
    if count is not None and count <= MAX_UNROLLED and count * len(loop.body.nodes) <= MAX_NODES:
        if _unroll(owner, node, key, loop, count):
            return
    _repeat(owner, node, key, loop, count, asked)


# -- counting -------------------------------------------------------------------------------------------


def _deciding(loop: Loop) -> tuple[Program, Program, list[int]]:
    """The parts of test and body that decide how often the loop runs, and the carried inputs in them."""
    found = loop.known.get("deciding")
    if found is None:
        deciding = set(_needed(loop.test, loop.test.fetches))
        carried = {i: loop.body.fetches[j] for j, i in enumerate(loop.carried)}
        while True:
            more = set(_needed(loop.body, [carried[i] for i in deciding if i in carried])) | deciding
            if more == deciding:
                break
            deciding = more
        order = [i for i in sorted(deciding) if i in carried]
        body = _part(loop.body, [carried[i] for i in order])
        found = loop.known["deciding"] = (_part(loop.test, loop.test.fetches), body, order)
    return found


def _part(program: Program, fetches: Sequence[Any]) -> Program:
    part = Program(list(program.nodes), program.feeds, list(fetches))
    part.remove_dead()
    return part


def _needed(program: Program, fetches: Sequence[Any]) -> list[int]:
    """The numbers of the feeds that some fetches depend on."""
    part = _part(program, fetches)
    read = {v[0] for n in part.nodes for v in n.inputs} | {v[0] for v in fetches}
    return [i for i, (_, feed) in enumerate(program.feeds) if feed in read]


def _iterations(owner: Specializer, loop: Loop, inputs: Sequence[Value]) -> int | None:
    """How often the loop runs, where that does not depend on data."""
    test, body, order = _deciding(loop)
    if any(constant_array(inputs[i]) is None for i in order):
        return None
    counter = owner.scratch()
    values = list(inputs)
    for count in range(MAX_COUNTED):
        goes_on = constant_array(counter.inline(test, values, ("test", count))[0])
        if goes_on is None or counter.unknown:
            return None
        if not goes_on:
            return count
        new = counter.inline(body, values, ("body", count))
        for i, value in zip(order, new, strict=True):
            if constant_array(value) is None:
                return None
            values[i] = value
        counter.nodes.clear()
    return None


# -- unrolling ------------------------------------------------------------------------------------------


def _unroll(owner: Specializer, node: Node, key: Any, loop: Loop, count: int) -> bool:
    """Take the body `count` times; False, and nothing done, where something in it depends on data."""
    mark = owner.mark()
    values = list(node.inputs)
    n = len(loop.carried)
    saved: list[list[Value | None]] = [[] for _ in range(loop.saved)]
    for k in range(count):
        new = owner.inline(loop.body, values, (key, k))
        if any(v[0] in owner.unknown for v in new):
            owner.back_to(mark)
            return False
        for i, value in zip(loop.carried, new[:n], strict=True):
            values[i] = value
        for rows, value in zip(saved, new[n:], strict=True):
            rows.append(value)
    for i, source in enumerate(loop.results):
        if source is not None:
            owner.replaced[(node, i)] = values[source]
        elif i == loop.count:
            owner.replaced[(node, i)] = owner.constant(np.int32(count))
        else:
            owner.replaced[(node, i)] = _stack(owner, node, i, saved[i - loop.count - 1])
    return True


def _stack(owner: Specializer, node: Node, output: int, rows: list[Value | None]) -> Value:
    """The saved values of all iterations as one array, of which each row is known."""
    array = Node(LOOP, (), {}, (), node.origin, node.device)
    if rows:
        owner.rows.add(array, rows, owner.spec(rows[0]))  # type: ignore[arg-type]
    else:
        spec = node.specs[output]
        row = tuple(0 if d is None else d for d in (spec.shape or (0,))[1:])
        owner.rows.add(array, [], Spec(row, spec.dtype))
    return array, 0


# -- loops that stay ------------------------------------------------------------------------------------


def _repeat(
    owner: Specializer, node: Node, key: Any, loop: Loop, count: int | None, asked: Sequence[bool]
) -> None:
    constants = {}
    for i, v in enumerate(node.inputs):
        array = constant_array(v)
        if array is not None and i not in loop.carried:
            constants[i] = array
    inputs = [owner.output(v) for v in node.inputs]
    specs, rows = _specs(owner, loop, inputs)
    for i, spec in enumerate(specs):
        # Arrays of rows whose shape is known only now start as zeros of that shape.
        if spec != owner.spec(inputs[i]) and _unwritten(owner.spec(inputs[i])) and is_static(spec.shape):
            zero = Constant(np.zeros((), spec.dtype.numpy))
            attrs = {"shape": spec.shape, "value": zero, "dtype": spec.dtype}
            inputs[i] = owner.build("fill", [], attrs, node)
    saved = tuple(asked[loop.count + 1 : loop.count + 1 + loop.saved])
    alive = _alive(loop, asked, saved)
    outputs: list[Spec] = []
    for i, source in enumerate(loop.results):
        if source is not None:
            outputs.append(specs[source] if source in alive else owner.spec(inputs[source]))
        elif i == loop.count:
            outputs.append(Spec((), int32))
        else:
            j = i - loop.count - 1
            shape = rows[j].shape
            whole = None if shape is None else (count, *shape)
            outputs.append(Spec(whole if saved[j] else (0,), rows[j].dtype))
    repeated = Repeated(loop, constants, count, saved, alive, tuple(rows))
    new = Node(LOOP, inputs, {"repeat": repeated}, outputs, node.origin)
    for i in range(len(outputs)):
        owner.replaced[(node, i)] = (new, i)
    if count is not None:
        owner.replaced[(node, loop.count)] = owner.constant(np.int32(count))
    owner.add(new, key)


def _alive(loop: Loop, asked: Sequence[bool], saved: Sequence[bool]) -> frozenset[int]:
    """The carried inputs that the loop's end, or what is asked of it, depends on."""
    n = len(loop.carried)
    new = dict(zip(loop.carried, loop.body.fetches[:n], strict=True))
    alive = {source for source, a in zip(loop.results, asked, strict=True) if source is not None and a}
    alive.update(_needed(loop.test, loop.test.fetches))
    alive.update(_needed(loop.body, [v for v, s in zip(loop.body.fetches[n:], saved, strict=True) if s]))
    alive.update(_needed(loop.body, loop.body.kept))
    while True:
        more = alive | set(_needed(loop.body, [new[i] for i in alive if i in new]))
        if more == alive:
            return frozenset(i for i in alive if i in new)
        alive = more


def _unwritten(spec: Spec) -> bool:
    return spec.shape is not None and len(spec.shape) == 2 and spec.shape[1] == 0


def _specs(owner: Specializer, loop: Loop, inputs: Sequence[Value]) -> tuple[list[Spec], list[Spec]]:
    """What is known of the shapes of carried inputs over all iterations, and of what one iteration saves."""
    specs = [owner.spec(v) for v in inputs]
    n = len(loop.carried)
    for _ in range(len(specs) + 2):
        outs = _once(owner, loop, inputs, specs)
        changed = False
        for i, out in zip(loop.carried, outs[:n], strict=True):
            if out == specs[i]:
                continue
            changed = True
            if _unwritten(specs[i]) or specs[i].shape is None or out.shape is None:
                specs[i] = out
            elif len(out.shape) == len(specs[i].shape):  # type: ignore[arg-type]
                dims = [a if a == b else None for a, b in zip(out.shape, specs[i].shape, strict=True)]  # type: ignore[arg-type]
                specs[i] = Spec(tuple(dims), out.dtype)
            else:
                specs[i] = Spec(None, out.dtype)
        if not changed:
            break
    return specs, outs[n:]


def _once(owner: Specializer, loop: Loop, inputs: Sequence[Value], specs: Sequence[Spec]) -> list[Spec]:
    """The specs of what a body gives for inputs of these specs."""
    once = owner.scratch()
    values: list[Value] = []
    for i, (v, spec) in enumerate(zip(inputs, specs, strict=True)):
        if v[0].op is CONST and i not in loop.carried:
            values.append(v)
            continue
        feed = Node(FEED, specs=(spec,))
        if not is_static(spec.shape):
            once.unknown.add(feed)
        values.append((feed, 0))
    outs = once.inline(loop.body, values, "once")
    static = [v[0].specs[v[1]] for v in loop.body.fetches if v is not None]
    return [s if v[0] in once.unknown else once.spec(v) for v, s in zip(outs, static, strict=True)]
