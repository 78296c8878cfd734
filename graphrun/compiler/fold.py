"""Pass 4: compute what depends on constants alone, once."""

from __future__ import annotations

import numpy as np

from graphrun.compiler.ir import CONST, Node, Program, Value, constant_array, constant_node
from graphrun.shapes import num_elements

# A folded result is kept for the plan's whole life, so it must not be much larger than its inputs.
MAX_BYTES = 64 << 20
MAX_GROWTH = 4
FREE_BYTES = 64 << 10


def evaluate(node: Node) -> Node | None:
    """The constant that a node with constant inputs computes; None if its function refuses them."""
    arrays = [constant_array(v) for v in node.inputs]
    try:
        with np.errstate(all="ignore"):
            result = node.op.numpy(*arrays, **node.attrs)  # type: ignore[misc]
    except Exception:
        # A fault such as an index out of range is told when the step runs, with the user's line.
        return None
    spec = node.specs[0]
    array = np.asarray(result)
    if array.shape != spec.shape or array.dtype != spec.dtype.numpy:
        return None
    return constant_node(array, node.origin)


def fold(program: Program) -> Program:
    """Run the pass."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        if replaced:
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        folded = evaluate(node) if _worth_folding(node) else None
        if folded is None:
            nodes.append(node)
        else:
            nodes.append(folded)
            replaced[(node, 0)] = (folded, 0)
    program.nodes = nodes
    if replaced:
        program.replace(replaced)
        program.remove_dead()
    return program


def _worth_folding(node: Node) -> bool:
    op = node.op
    if op is CONST or op.numpy is None or op.stateful or op.side_effect or len(node.specs) != 1:
        return False
    if any(n.op is not CONST for n, _ in node.inputs):
        return False
    spec = node.specs[0]
    size_bytes = (num_elements(spec.shape) or 0) * spec.dtype.size_bytes
    if size_bytes <= FREE_BYTES:
        return True
    read = sum(n.attrs["value"].array.nbytes for n, _ in node.inputs)
    return size_bytes <= MAX_BYTES and size_bytes <= MAX_GROWTH * read
