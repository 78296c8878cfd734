"""Pass: views are read through, and only what is left of them becomes a kernel.

A transpose, a slice, a broadcast moves no data: elementwise groups and matrix products read what it is a view
of by its index map, and a view of a view by the map of both.  Then the view itself disappears, unless
somebody needs its elements one behind the other.
"""

from __future__ import annotations

from dataclasses import replace

from graphrun.compiler.fusion import FUSED, Group, view_group
from graphrun.compiler.ir import Node, Program, Value
from graphrun.compiler.kernel_plans import kernel_plan
from graphrun.compiler.placement import Target
from graphrun.compiler.views import collapse, is_contiguous, seen_through, spread, view_map
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import AffineMap
from graphrun.graph.opdef import get_op
from graphrun.shapes import num_elements


def read_through(program: Program, target: Target) -> Program:
    """Run the pass."""
    product = get_op("matmul")
    for node in program.nodes:
        if node.op is FUSED:
            _group(node)
        elif node.op is product and runs_kernels(node.device):
            _operands(node, target)
    program.remove_dead()
    _copies(program)
    return program


def _strided(value: Value) -> tuple[Value, AffineMap] | None:
    """What a value is a view of, where it is one that an alias cannot stand for."""
    own = view_map(*value)
    if own is None:
        return None
    source, m = seen_through(value)
    return None if m is None or is_contiguous(m) else (source, m)


def _group(node: Node) -> None:
    group: Group = node.attrs["group"]
    maps = list(group.maps)
    for k, value in enumerate(node.inputs):
        # An alias costs nothing already, and leaves the plain index that vectorizes best.
        found = _strided(value) if maps[k] is None else None
        if found is not None:
            node.inputs[k], maps[k] = found[0], collapse(found[1])
    if tuple(maps) != group.maps:
        node.attrs = {"group": replace(group, maps=tuple(maps))}


def _operands(node: Node, target: Target) -> None:
    """Let a product read its operands where they lie, if their rows or columns are dense there."""
    inputs = list(node.inputs)
    maps: list[AffineMap | None] = [None, None]
    for k, value in enumerate(node.inputs):
        found = _strided(value)
        m = None if found is None else spread(found[1], node.input_specs[k].dims)
        if found is not None and m is not None and min(m.strides) >= 0 and 1 in m.strides[-2:]:
            inputs[k], maps[k] = found[0], m
    if maps == [None, None]:
        return
    capabilities = target.capabilities[node.device]
    # Both, or one of them; a kernel that takes neither reads copies.
    for tried in ((0, 1), (0,), (1,)):
        chosen = tuple(maps[k] if k in tried else None for k in (0, 1))
        if any(maps[k] is None for k in tried):
            continue
        values = [inputs[k] if k in tried else node.inputs[k] for k in (0, 1)]
        specs = [n.specs[i] for n, i in values]
        attrs = {**node.attrs, "operand_maps": chosen}
        if kernel_plan(node.op, specs, node.specs, attrs, capabilities) is not None:
            node.inputs, node.attrs = values, attrs
            return


def _copies(program: Program) -> None:
    """Make kernels of the views that are still read, and of those that the run wants."""
    read = {v for node in program.nodes for v in node.inputs} | set(program.outputs())
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        nodes.append(node)
        if node.op is FUSED or not runs_kernels(node.device):
            continue
        for i, spec in enumerate(node.specs):
            found = _strided((node, i)) if (node, i) in read else None
            if found is None or not num_elements(spec.shape):
                continue
            group = view_group(found[1], spec.dtype)
            copy = Node(FUSED, [found[0]], {"group": group}, (spec,), node.origin, node.device)
            nodes.append(copy)
            replaced[node, i] = copy, 0
    if replaced:
        program.nodes = nodes
        program.replace(replaced)
        program.remove_dead()
