"""Pass: join elementwise nodes of one OpenCL device into groups that become one kernel each.

A node joins the groups of its inputs, which become one, where all have the same number of elements and no
circle arises; so nothing is computed twice, and nothing is read back that the kernel still holds.  What
others read too, or the run wants, the kernel stores on the way.  Scalar constants become arguments of the
kernel, so that groups which differ in them share one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphrun.compiler.ir import Node, Program, Value, constant_array, no_rule
from graphrun.compiler.regions import Region, Regions, put_in
from graphrun.compiler.views import broadcast_map, collapse, is_contiguous
from graphrun.device_names import runs_kernels
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Kernel
from graphrun.graph.opdef import OpDef

# A kernel has at least 1,024 bytes of arguments by the standard; each buffer takes 16.
MAX_INPUTS = 24
MAX_INSTRUCTIONS = 200
MAX_OUTPUTS = 16
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
    place, else an `AffineMap`.  `extra` tells which other instructions are outputs too.  `places`, where it
    is not empty, holds for each output how the flat index leads to where it is written.
    """

    instructions: tuple[Instruction, ...]
    maps: tuple[AffineMap | None, ...]
    label: str
    extra: tuple[int, ...] = ()
    places: tuple[AffineMap | None, ...] = ()

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


FUSED = OpDef("fused", no_rule, None)
COPY_EXPR = Expr("a", flops=0)


def fuse(program: Program) -> Program:
    """Run the pass."""
    regions = Regions(program, MAX_INPUTS, MAX_INSTRUCTIONS)
    finder = _Finder(regions)
    for node in program.nodes:
        regions.visit(node)
        if _is_expr(node):
            finder.consider(node)
        regions.left(node)
    put_in(program, [(region, *_build(region, regions)) for region in regions.all])
    return program


def _is_expr(node: Node) -> bool:
    if not runs_kernels(node.device) or len(node.specs) != 1:
        return False
    return isinstance(node.op.descriptor(node.input_specs, node.attrs), Expr)


def _takes_epilogues(node: Node) -> bool:
    if node.op.opencl is None or isinstance(node.op.opencl, Expr) or not runs_kernels(node.device):
        return False
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    return isinstance(descriptor, Kernel) and descriptor.epilogue and len(node.specs) == 1


class _Finder:
    """Groups: what has as many elements and is joined by edges, or by a product that it reads."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions
        self.unread: dict[Region, dict[Node, int]] = {}  # members, with their readers outside
        # Of a product or a convolution a node that reads it; None for what takes no epilogue.
        self.behind: dict[Node, Node | None] = {}

    def consider(self, node: Node) -> None:
        regions = self.regions
        shape = node.specs[0].dims
        layout = math.prod(shape) or shape
        joined: Region | None = None
        sources = [regions.resolve(value)[0] for value in node.inputs]
        # What reads a product belongs together, because one group can be the product's epilogue.
        beside = [b for b in map(self.behind.get, sources) if b is not None]
        for other in (*sources, *beside) if beside else sources:
            region = regions.of.get(other)
            if region is None or region is joined or region.layout != layout:
                continue
            if joined is None:
                if regions.fits(node, region) and self._outputs(node, (region,)) <= MAX_OUTPUTS:
                    regions.join(node, region)
                    joined = region
                    self._note(node, region)
            elif self._outputs(None, (joined, region)) <= MAX_OUTPUTS and regions.merge(joined, region):
                self.unread[joined].update(self.unread.pop(region))
        if joined is None:
            region = regions.new(node, layout)
            self.unread[region] = {}
            self._note(node, region)
        for source in sources:
            if source not in self.behind:
                self.behind[source] = node if _takes_epilogues(source) else None

    def _note(self, node: Node, region: Region) -> None:
        unread = self.unread[region]
        value = (node, 0)
        unread[node] = len(self.regions.consumers.get(value, ())) + (value in self.regions.outputs)
        for v in node.inputs:
            if v[0] in unread:
                unread[v[0]] -= 1

    def _outputs(self, node: Node | None, regions: Sequence[Region]) -> int:
        """How many values a kernel would store if it ended here."""
        count = sum(left > 0 for region in regions for left in self.unread[region].values())
        if node is None:
            return count
        unread = self.unread[regions[0]]
        return count + 1 - sum(unread.get(n) == 1 for n in {n for n, _ in node.inputs})


def _build(region: Region, regions: Regions) -> tuple[Node, list[Value]]:
    """The node of a region, and the values that it stands for: the last member's first."""
    nodes = region.nodes = sorted(region.nodes, key=regions.place.__getitem__)
    index = {n: i for i, n in enumerate(nodes)}
    inputs: list[Value] = []
    maps: list[AffineMap | None] = []
    instructions = []

    def operand(value: Value, node: Node) -> tuple[str, Any]:
        source = regions.resolve(value)[0]
        if source in index:
            return "t", index[source]
        array = constant_array(value)
        if array is not None and array.size == 1:
            return "lit", array.reshape(-1)[0]
        m = broadcast_map(value[0].specs[value[1]].dims, node.specs[0].dims)
        if m is not None and is_contiguous(m) and math.prod(m.dims) == math.prod(node.specs[0].dims):
            m = None
        for k, known in enumerate(zip(inputs, maps, strict=True)):
            if known == (value, m):
                return "in", k
        inputs.append(value)
        maps.append(m)
        return "in", len(inputs) - 1

    for node in nodes:
        operands = tuple(operand(value, node) for value in node.inputs)
        expr = node.op.descriptor(node.input_specs, node.attrs)
        assert isinstance(expr, Expr), "_is_expr asked the same question"
        in_dtypes = tuple(s.dtype for s in node.input_specs)
        instructions.append(
            Instruction(node.op.name, expr, node.attrs, operands, in_dtypes, node.specs[0].dtype)
        )
    label = "+".join(n.op.name for n in nodes[:6]) + ("+..." if len(nodes) > 6 else "")
    last = nodes[-1]
    stored = [n for n in nodes[:-1] if (n, 0) in regions.outputs or regions.read_outside(n, index)]
    group = Group(tuple(instructions), tuple(maps), label, tuple(index[n] for n in stored))
    specs = [n.specs[0] for n in (last, *stored)]
    fused = Node(FUSED, inputs, {"group": group}, specs, last.origin, region.device)
    return fused, [(n, 0) for n in (last, *stored)]


def view_group(m: AffineMap, dtype: DType) -> Group:
    """A group that materializes a view."""
    instruction = Instruction("view", COPY_EXPR, {}, (("in", 0),), (dtype,), dtype)
    return Group((instruction,), (collapse(m),), "view")
