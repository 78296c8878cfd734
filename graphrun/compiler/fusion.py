"""Pass 8: join elementwise nodes of one OpenCL device into groups that become one kernel each.

A node joins the group of its consumers when all of them are in one group and of the same shape, so that
nothing is computed twice and no circle can arise.  If the run wants its value too, for a fetch or for a
variable, the kernel stores it beside its own result.  An input that is a view (a transpose, a slice, a
broadcast) is read through its index map, and the view itself disappears where nobody else needs it.
Scalar constants become arguments of the kernel, so that groups which differ in them share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphrun.compiler.ir import CONST, Node, Program, Value, constant_array
from graphrun.device_names import runs_kernels
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Spec, View
from graphrun.graph.opdef import OpDef

# A kernel has at least 1,024 bytes of arguments by the standard; each buffer takes 16.
MAX_INPUTS = 24
MAX_INSTRUCTIONS = 200
MAX_OUTPUTS = 8
MAX_SCALARS = 32


@dataclass(frozen=True)
class Instruction:
    """One `Expr` of a group.

    Operands are ``("in", k)``, ``("t", j)`` for an earlier instruction, and ``("lit", value)``.
    """

    op: str
    expr: Expr
    attrs: Mapping[str, Any]
    operands: tuple[tuple[str, Any], ...]
    in_dtypes: tuple[DType, ...]
    dtype: DType


@dataclass(frozen=True)
class Group:
    """The body of a fused node: instructions in order, the last one is the first output.

    `maps` holds for each input how the output's flat index leads to its element: None for the same
    place, else an `AffineMap`.  `extra` tells which other instructions are outputs too.
    """

    instructions: tuple[Instruction, ...]
    maps: tuple[AffineMap | None, ...]
    label: str
    extra: tuple[int, ...] = ()

    @property
    def scalars(self) -> list[tuple[np.generic, DType]]:
        """The literals that a kernel takes as arguments, so that kernels which differ in them are one.

        Empty where there are more than arguments allow; they are then written into the text.
        """
        found = [
            (what, dtype)
            for i in self.instructions
            for (kind, what), dtype in zip(i.operands, i.in_dtypes, strict=True)
            if kind == "lit"
        ]
        return found if len(found) <= MAX_SCALARS else []

    @property
    def results(self) -> tuple[int, ...]:
        """The instruction of each output."""
        return (len(self.instructions) - 1, *self.extra)

    def __str__(self) -> str:
        return self.label


def _no_rule(*specs: Spec, **attrs: Any) -> Any:
    raise AssertionError("fused nodes have no shape rule")


FUSED = OpDef("fused", _no_rule, None)
_COPY = Expr("a", flops=0)


def fuse(program: Program) -> Program:
    """Run the pass."""
    consumers = program.consumers()
    outputs = set(program.outputs())
    group_of: dict[Node, Node] = {}  # node -> root of its group
    members: dict[Node, list[Node]] = {}
    inputs: dict[Node, set[Value]] = {}
    extra: dict[Node, list[Node]] = {}  # members whose value is an output of the program
    for node in reversed(program.nodes):
        if not _is_expr(node):
            continue
        root = None
        value = (node, 0)
        if value in consumers:
            roots = {group_of.get(c) for c in consumers[value]}
            if len(roots) == 1:
                root = roots.pop()
        if root is not None and root.device == node.device and root.specs[0].shape == node.specs[0].shape:
            merged = (inputs[root] | set(node.inputs)) - {value}
            stored = extra.setdefault(root, [])
            fits = len(merged) <= MAX_INPUTS and len(members[root]) < MAX_INSTRUCTIONS
            if fits and (value not in outputs or len(stored) + 1 < MAX_OUTPUTS):
                if value in outputs:
                    stored.append(node)
                group_of[node] = root
                members[root].append(node)
                inputs[root] = merged
                continue
        group_of[node] = node
        members[node] = [node]
        inputs[node] = set(node.inputs)
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in program.nodes:
        if node in group_of:
            if group_of[node] is node:
                stored = list(reversed(extra.get(node, [])))
                fused = _build(node, list(reversed(members[node])), stored)
                nodes.append(fused)
                for i, member in enumerate([node, *stored]):
                    replaced[(member, 0)] = (fused, i)
        else:
            nodes.append(node)
    program.nodes = nodes
    program.replace(replaced)
    # What is still a view on a device, and not merely an alias, is a kernel of its own.
    _read_through_views(program)
    program.remove_dead()
    return program


def _is_expr(node: Node) -> bool:
    if not runs_kernels(node.device) or len(node.specs) != 1:
        return False
    return isinstance(node.op.descriptor(node.input_specs, node.attrs), Expr)


def _build(root: Node, nodes: list[Node], extra: list[Node]) -> Node:
    index = {n: i for i, n in enumerate(nodes)}
    inputs: list[Value] = []
    maps: list[AffineMap | None] = []
    out_shape = root.specs[0].shape
    instructions = []
    for node in nodes:
        operands: list[tuple[str, Any]] = []
        for value in node.inputs:
            if value[0] in index:
                operands.append(("t", index[value[0]]))
                continue
            array = constant_array(value)
            if array is not None and array.size == 1:
                operands.append(("lit", array.reshape(-1)[0]))
                continue
            if value not in inputs:
                inputs.append(value)
                maps.append(broadcast_map(value[0].specs[value[1]].shape, out_shape))  # type: ignore[arg-type]
            operands.append(("in", inputs.index(value)))
        expr = node.op.descriptor(node.input_specs, node.attrs)
        assert isinstance(expr, Expr), "_is_expr asked the same question"
        in_dtypes = tuple(s.dtype for s in node.input_specs)
        instructions.append(
            Instruction(node.op.name, expr, node.attrs, tuple(operands), in_dtypes, node.specs[0].dtype)
        )
    label = "+".join(n.op.name for n in nodes[:6]) + ("+..." if len(nodes) > 6 else "")
    group = Group(tuple(instructions), tuple(maps), label, tuple(index[n] for n in extra))
    specs = [n.specs[0] for n in (root, *extra)]
    return Node(FUSED, inputs, {"group": group}, specs, root.origin, root.device)


def broadcast_map(shape: tuple[int, ...], out_shape: tuple[int, ...]) -> AffineMap | None:
    """How an input of `shape` is read for an output of `out_shape`; None for the same place."""
    if shape == out_shape:
        return None
    padded = (1,) * (len(out_shape) - len(shape)) + tuple(shape)
    strides = []
    step = 1
    for d in reversed(padded):
        strides.append(0 if d == 1 else step)
        step *= d
    return collapse(AffineMap(out_shape, tuple(reversed(strides))))


def collapse(m: AffineMap) -> AffineMap:
    """The same map over as few dimensions as possible."""
    dims: list[int] = []
    strides: list[int] = []
    for d, s in zip(m.dims, m.strides, strict=True):
        if d == 1:
            continue
        if dims and strides[-1] == s * d:
            dims[-1] *= d
            strides[-1] = s
        else:
            dims.append(d)
            strides.append(s)
    return AffineMap(tuple(dims), tuple(strides), m.offset)


def is_contiguous(m: AffineMap) -> bool:
    """Whether the map is a shift alone, so that a view needs no kernel."""
    m = collapse(m)
    return not m.dims or m.strides == (1,)


def view_map(node: Node, index: int) -> AffineMap | None:
    """The index map of a view node's output, else None."""
    if not runs_kernels(node.device):
        return None
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    if not isinstance(descriptor, View):
        return None
    return descriptor.map(node.input_specs, node.specs[index], node.attrs, index)


def view_group(m: AffineMap, dtype: DType) -> Group:
    """A group that materializes a view."""
    instruction = Instruction("view", _COPY, {}, (("in", 0),), (dtype,), dtype)
    return Group((instruction,), (collapse(m),), "view")


def _read_through_views(program: Program) -> None:
    for node in program.nodes:
        if node.op is not FUSED:
            continue
        group: Group = node.attrs["group"]
        maps = list(group.maps)
        for k, value in enumerate(node.inputs):
            if maps[k] is not None:
                continue
            m = view_map(value[0], value[1])
            # An alias costs nothing already, and leaves the plain index that vectorizes best.
            if m is None or is_contiguous(m) or value[0].inputs[0][0].op is CONST:
                continue
            node.inputs[k] = value[0].inputs[0]
            maps[k] = collapse(m)
        if tuple(maps) != group.maps:
            node.attrs = {"group": replace(group, maps=tuple(maps))}
