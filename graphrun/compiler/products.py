"""Pass: products of some rows of a value with one matrix become one product of the whole value.

What each step of an unrolled loop takes from its input, ``x[t] @ w``, does not wait for the steps before it:
``x @ w`` is one launch for all of them, whose rows the steps read.
"""

from __future__ import annotations

from graphrun.compiler.ir import Node, Program, Value
from graphrun.compiler.rowviews import Rows, as_matrix, rows_of, some_rows
from graphrun.device_names import runs_kernels
from graphrun.graph.opdef import get_op
from graphrun.graph.traverse import topological_order

MIN_PRODUCTS = 3
# Rows that no product asks for are computed too, so that most of them must be asked for.
MIN_SHARE = 0.75
# What the products take together is kept from the first step to the last.
MAX_BYTES = 1 << 28


def products(program: Program) -> Program:
    """Run the pass."""
    groups: dict[object, list[tuple[Node, Rows]]] = {}
    for node in program.nodes:
        if node.op.name != "matmul" or not runs_kernels(node.device) or node.attrs.get("transpose_a"):
            continue
        if any(len(s.dims) != 2 for s in node.input_specs):
            continue
        rows = rows_of(node.inputs[0])
        if rows is not None:
            key = (rows.source, rows.width, node.inputs[1], bool(node.attrs.get("transpose_b")), node.device)
            groups.setdefault(key, []).append((node, rows))
    made: list[Node] = []
    replaced: dict[Value, Value] = {}
    for found in groups.values():
        _together(found, made, replaced)
    if replaced:
        program.nodes += made
        program.replace(replaced)
        program.remove_dead()
        program.nodes = topological_order(program.nodes, lambda n: [p for p, _ in n.inputs])
    return program


def _together(found: list[tuple[Node, Rows]], made: list[Node], replaced: dict[Value, Value]) -> None:
    node, first = found[0]
    asked = {r for _, rows in found for r in range(rows.first, rows.first + rows.rows)}
    new: list[Node] = []
    matrix = as_matrix(first.source, first.width, node, new)
    spec = matrix[0].specs[matrix[1]]
    whole_bytes = spec.dims[0] * node.specs[0].dims[1] * node.specs[0].dtype.size_bytes
    if len(found) < MIN_PRODUCTS or len(asked) < MIN_SHARE * spec.dims[0] or whole_bytes > MAX_BYTES:
        return
    product = Node(get_op("matmul"), [matrix, node.inputs[1]], node.attrs, (), node.origin, node.device)
    product.specs = tuple(product.op.check(node.name, node.site, product.input_specs, node.attrs))
    new.append(product)
    for each, rows in found:
        replaced[each, 0] = some_rows((product, 0), rows.first, rows.rows, each, new)
    made += new
