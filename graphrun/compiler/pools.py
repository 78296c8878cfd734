"""Pass: what follows the gradient of a max pooling is done before it, where there are fewer elements.

Each window's gradient goes to the pixel that its maximum came from.  So a relu in front of the pooling lets
through there what it lets through at the maximum, and a sum over all pixels is one over all windows.
"""

from __future__ import annotations

import math

from graphrun.compiler.ir import Node, Program, Value
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import Spec
from graphrun.shapes import normalize_axes


def pools(program: Program) -> Program:
    """Run the pass."""
    if not any(n.op.name == "max_pool_grad" and runs_kernels(n.device) for n in program.nodes):
        return program
    _gates(program)
    _sums(program)
    return program


def _gates(program: Program) -> None:
    """``gate(grad(x, y, dy), x)`` is ``grad(x, y, gate(dy, y))``: where x is the maximum, it is y."""
    consumers = program.consumers()
    outputs = set(program.outputs())
    replaced: dict[Value, Value] = {}
    made: list[Node] = []
    for node in program.nodes:
        if node.op.name not in ("relu_gradient", "relu6_gradient") or not runs_kernels(node.device):
            continue
        grad = node.inputs[0][0]
        if grad.op.name != "max_pool_grad" or grad.device != node.device or node.inputs[1] != grad.inputs[0]:
            continue
        if len(consumers[grad, 0]) > 1 or (grad, 0) in outputs:
            continue
        x, y, dy = grad.inputs
        spec = dy[0].specs[dy[1]]
        gate = Node(node.op, [dy, y], node.attrs, (spec,), node.origin, node.device)
        moved = Node(grad.op, [x, y, (gate, 0)], grad.attrs, grad.specs, grad.origin, grad.device)
        made += [gate, moved]
        replaced[node, 0] = (moved, 0)
    program.put_in(made, replaced)


def _sums(program: Program) -> None:
    """A sum over images, rows and columns of the gradient is that of the windows' gradients."""
    made: list[Node] = []
    replaced: dict[Value, Value] = {}
    for node in program.nodes:
        if node.op.name != "sum" or not runs_kernels(node.device):
            continue
        source = node.inputs[0][0]
        rows = source if source.op.name == "reshape" else None  # as for a bias: pixels by channels
        grad = source if rows is None else source.inputs[0][0]
        if grad.op.name != "max_pool_grad" or 0 in grad.specs[0].dims:
            continue
        last = grad.attrs["data_format"] == "NHWC"
        axes = normalize_axes(node.attrs.get("axis"), len(node.input_specs[0].dims))
        dy = grad.inputs[2]
        if rows is not None:
            channels = grad.specs[0].dims[3]
            by_channel = len(rows.specs[0].dims) == 2 and rows.specs[0].dims[1] == channels
            if not (last and by_channel and tuple(axes) == (0,)):
                continue
            spec = dy[0].specs[dy[1]]
            shape = (math.prod(spec.dims[:3]), channels)
            flat = Node(rows.op, [dy], {"shape": shape}, (Spec(shape, spec.dtype),), rows.origin, node.device)
            made.append(flat)
            dy = (flat, 0)
        elif not {1, 2} <= set(axes) if last else not {2, 3} <= set(axes):
            continue
        new = Node(node.op, [dy], node.attrs, node.specs, node.origin, node.device)
        made.append(new)
        replaced[node, 0] = (new, 0)
    program.put_in(made, replaced)
