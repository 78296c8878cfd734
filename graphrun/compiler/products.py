"""Pass: products of some rows of a value with one matrix become one product of the whole value, and products
of which only some columns are read compute these alone.

What each step of an unrolled loop takes from its input, ``x[t] @ w``, does not wait for the steps before it:
``x @ w`` is one launch for all of them, whose rows the steps read.  The gradient of ``concat([x, h]) @ w``
is a product of which the columns of h are read, where x is fed.
"""

from __future__ import annotations

from graphrun.compiler.ir import Node, Program, Value
from graphrun.compiler.rowviews import Rows, as_matrix, rows_of, some_columns, some_rows
from graphrun.compiler.views import view_map
from graphrun.device_names import runs_kernels
from graphrun.graph.opdef import get_op

MIN_PRODUCTS = 3
# Rows that no product asks for are computed too, so that most of them must be asked for.
MIN_SHARE = 0.75
# What the products take together is kept from the first step to the last.
MAX_BYTES = 1 << 28


def products(program: Program) -> Program:
    """Run the pass."""
    _columns(program)
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
    program.put_in(made, replaced)
    return program


def _columns(program: Program) -> None:
    consumers = program.consumers()
    outputs = set(program.outputs())
    made: list[Node] = []
    slices: dict[object, Value] = {}  # of matrices, by where they begin and end
    replaced: dict[Value, Value] = {}
    for product in program.nodes:
        if product.op.name != "matmul" or not runs_kernels(product.device) or (product, 0) in outputs:
            continue
        readers = consumers.get((product, 0), ())
        if len(readers) != 1 or len(product.specs[0].dims) != 2:
            continue
        (reader,) = readers
        read = [i for i in range(len(reader.specs)) if (reader, i) in outputs or consumers.get((reader, i))]
        found = _columns_of(product, reader, read[0]) if len(read) == 1 else None
        if found is None:
            continue
        first, last = found
        a, b = product.inputs
        turned = bool(product.attrs.get("transpose_b"))
        key = (b, first, last, turned, product.device)
        if key not in slices:
            slices[key] = some_columns(b, first, last, turned, product, made)
        specs = (reader.specs[read[0]],)
        new = Node(product.op, [a, slices[key]], product.attrs, specs, product.origin, product.device)
        made.append(new)
        replaced[reader, read[0]] = (new, 0)
    program.put_in(made, replaced)


def _columns_of(product: Node, reader: Node, i: int) -> tuple[int, int] | None:
    """The range of columns that output i of a product's reader is, where it is a view of one."""
    rows, columns = product.specs[0].dims
    m = view_map(reader, i) if reader.device == product.device else None
    if m is None or rows < 2 or reader.specs[i].dims != m.dims or m.strides != (columns, 1):
        return None
    first, last = m.offset, m.offset + m.dims[1]
    return (first, last) if m.dims[0] == rows and 0 < last - first < columns and last <= columns else None


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
