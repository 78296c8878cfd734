"""Pass 3: make every shape concrete, for the fed shapes; shape arithmetic becomes constants on the way.

Attributes that arrived as tensors (a `reshape`'s shape, a slice's bounds) are taken from those constants.
Where such a value depends on data, `NeedValues` tells which values must be computed before the rest can
be planned; the session runs those, and compiles again with them as constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphrun.compiler.fold import evaluate
from graphrun.compiler.ir import (
    ADVANCE,
    CONST,
    FEED,
    STATE,
    Node,
    Program,
    Value,
    constant_array,
    constant_node,
)
from graphrun.compiler.state import ASSIGNED
from graphrun.graph.opdef import get_op
from graphrun.shapes import is_static

# Larger results are left to `fold`, which weighs memory against work.
SMALL_ELEMENTS = 64


Place = tuple[int, int]  # of a value: the number of its node after `purify`, and the output


class NeedValues(Exception):
    """The values on which shapes depend, and the program that computes them.

    `places` tell the values in a way that holds for the next compilation of the same fetches too.
    """

    def __init__(self, places: list[Place], program: Program) -> None:
        super().__init__(f"{len(places)} values decide shapes")
        self.places = places
        self.program = program


def specialize(program: Program, known: Mapping[Place, np.ndarray] | None = None) -> Program:
    """Run the pass; `known` holds values that an earlier stage has computed."""
    known = known or {}
    place = {node: i for i, node in enumerate(program.nodes)}
    nodes: list[Node] = []
    replaced: dict[Value, Value] = {}
    needed: dict[Place, Value] = {}
    unknown: set[Node] = set()

    for number, node in enumerate(program.nodes):
        computed = [known.get((number, i)) for i in range(len(node.specs))]
        if known and computed and all(a is not None for a in computed):
            for i, array in enumerate(computed):
                constant = constant_node(array, node.origin)
                nodes.append(constant)
                replaced[(node, i)] = (constant, 0)
            continue
        if node.op is FEED or node.op is STATE or node.op is CONST:
            nodes.append(node)
            continue
        if replaced:
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        if any(n in unknown for n, _ in node.inputs):
            unknown.add(node)
            continue
        if node.op is ASSIGNED:
            node.op.check(node.name, node.site, node.input_specs, node.attrs)
            replaced[(node, 0)] = node.inputs[0]
            continue
        if node.op is ADVANCE:
            counter, pure = node.inputs
            blocks = constant_node(np.int64(pure[0].op.advance(pure[0].specs[0])), node.origin)  # type: ignore[misc]
            new = Node(get_op("add"), [counter, (blocks, 0)], {}, node.specs, node.origin, node.device)
            nodes += [blocks, new]
            replaced[(node, 0)] = (new, 0)
            continue
        if node.value_attrs:
            missing = _take_values(node)
            if missing:
                needed.update({(place[v[0]], v[1]): v for v in missing})
                unknown.add(node)
                continue
        node.specs = tuple(node.op.check(node.name, node.site, node.input_specs, node.attrs))
        folded = _fold_small(node)
        if folded is not None:
            nodes.append(folded)
            replaced[(node, 0)] = (folded, 0)
            continue
        nodes.append(node)
        if not all(is_static(s.shape) for s in node.specs):
            # Its shape is part of its result.
            needed.update({(number, i): (node, i) for i in range(len(node.specs))})
            unknown.add(node)
    if needed:
        first = Program(nodes, program.feeds, list(needed.values()), {}, program.states)
        first.replace(replaced)
        first.remove_dead()
        raise NeedValues(list(needed), first)
    program.nodes = nodes
    program.replace(replaced)
    program.remove_dead()
    return program


def _take_values(node: Node) -> list[Value]:
    """Turn value inputs into attributes; return those whose value is not known."""
    count = len(node.inputs) - len(node.value_attrs)
    attrs: dict[str, Any] = dict(node.attrs)
    missing = []
    for name, value in zip(node.value_attrs, node.inputs[count:], strict=True):
        array = constant_array(value)
        if array is None:
            missing.append(value)
        else:
            attrs[name] = _frozen(array)
    if not missing:
        node.attrs = attrs
        node.inputs = node.inputs[:count]
        node.value_attrs = ()
    return missing


def _frozen(array: np.ndarray) -> Any:
    def freeze(x: Any) -> Any:
        return tuple(freeze(v) for v in x) if isinstance(x, list) else x

    return freeze(array.tolist())


def _fold_small(node: Node) -> Node | None:
    op = node.op
    if len(node.specs) != 1 or op.stateful or op.numpy is None:
        return None
    spec = node.specs[0]
    if not is_static(spec.shape):
        return None
    if op.name in ("shape", "size", "rank"):
        # Only the input's shape matters, and that is known.
        x = node.input_specs[0]
        stand_in = np.broadcast_to(np.zeros((), x.dtype.numpy), x.shape)  # type: ignore[arg-type]
        return constant_node(np.asarray(op.numpy(stand_in, **node.attrs), spec.dtype.numpy), node.origin)
    size = 1
    for d in spec.shape:  # type: ignore[union-attr]
        size *= d  # type: ignore[operator]
    if size > SMALL_ELEMENTS or any(n.op is not CONST for n, _ in node.inputs):
        return None
    return evaluate(node)
