"""Pass 5: merge nodes that compute the same thing from the same values."""

from __future__ import annotations

from typing import Any

from graphrun.compiler.ir import FEED, STATE, Node, Program, Value, attrs_key


def cse(program: Program) -> Program:
    """Run the pass."""
    seen: dict[Any, Node] = {}
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        if replaced:
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        if node.op is FEED or node.op is STATE or node.op.stateful or node.op.side_effect:
            nodes.append(node)
            continue
        inputs = [(id(n), i) for n, i in node.inputs]
        if node.op.commutative:
            inputs.sort()
        key = (node.op.name, tuple(inputs), attrs_key(node.attrs), node.device)
        first = seen.setdefault(key, node)
        if first is node:
            nodes.append(node)
        else:
            for i in range(len(node.specs)):
                replaced[(node, i)] = (first, i)
    program.nodes = nodes
    if replaced:
        program.replace(replaced)
        program.remove_dead()
    return program
