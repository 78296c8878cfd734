"""Pass: reductions along rows and what is computed around them become one kernel each.

A softmax is a maximum, a difference, an exponential, a sum and a quotient over the same rows; a layer norm,
a cross entropy and their gradients are like it.  Such nodes make a *region*: a matrix of `rows` by
`columns` elements whose nodes are full (one value an element), row (one value a row) or reductions of a
full node to a row node.  A region becomes one kernel that takes a row at a time and passes over it once
for each reduction that waits for another, while the row is in the nearest cache.

A node joins the region of its inputs when no other input depends on that region, so that no circle can
arise; afterwards elementwise nodes that only the region reads join it too.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from graphrun.compiler.ir import Node, Program, Value, constant_array, no_rule
from graphrun.compiler.regions import Region, Regions, put_in
from graphrun.compiler.views import broadcast_map, collapse, is_contiguous
from graphrun.device_names import runs_kernels
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Reduce, Spec
from graphrun.graph.opdef import OpDef
from graphrun.shapes import normalize_axes

# A kernel has at least 1,024 bytes of arguments by the standard; each buffer takes 16.
MAX_INPUTS = 20
MAX_OUTPUTS = 8
MAX_NODES = 100
# Fewer rows leave units idle: a reduction in two stages is better there.  Longer rows leave the near caches.
MIN_ROWS = 8
MAX_COLUMNS = 1 << 16


@dataclass(frozen=True)
class RowInstruction:
    """One node of a region.

    Operands are ``("in", k)``, ``("t", j)`` for an earlier instruction, and ``("lit", value)``.

    Attributes
    ----------
    kind : str
        "full": an `Expr` for each element; "row": an `Expr` for each row; "reduce": a `Reduce` of its
        operand to one value a row.
    code : Expr or Reduce
    """

    op: str
    kind: str
    code: Expr | Reduce
    attrs: Mapping[str, Any]
    operands: tuple[tuple[str, Any], ...]
    in_dtypes: tuple[DType, ...]
    dtype: DType


@dataclass(frozen=True)
class RowInput:
    """How an instruction reads an input: by its row or by its element, through a map or in place."""

    row: bool
    map: AffineMap | None


@dataclass(frozen=True)
class RowGroup:
    """The body of a row kernel.  `results` tells which instruction each output is."""

    columns: int
    instructions: tuple[RowInstruction, ...]
    inputs: tuple[RowInput, ...]
    results: tuple[int, ...]
    label: str

    def __str__(self) -> str:
        return self.label


ROWS = OpDef("rows", no_rule, None)


def rows(program: Program, blocked: Mapping[str, Container[str]] | None = None) -> Program:
    """Run the pass.

    Parameters
    ----------
    program : Program
        Placed.
    blocked : mapping of str to container, optional
        The kernel families that a device must not be trusted with; "rows" is this one.
    """
    finder = _Finder(Regions(program, MAX_INPUTS, MAX_NODES), blocked)
    found = [r for r in finder.find(program) if len(r.nodes) > 1]
    if found:
        put_in(program, [(region, *_build(region, finder.regions)) for region in found])
    return program


class _Finder:
    def __init__(self, regions: Regions, blocked: Mapping[str, Container[str]] | None) -> None:
        self.regions = regions
        self.blocked = blocked

    def find(self, program: Program) -> list[Region]:
        for node in program.nodes:
            self.regions.visit(node)
            self._consider(node)
            self.regions.left(node)
        for region in self.regions.all:
            self._absorb(region)
        return self.regions.all

    def _consider(self, node: Node) -> None:
        if not runs_kernels(node.device) or len(node.specs) != 1:
            return
        descriptor = node.op.descriptor(node.input_specs, node.attrs)
        layout = None
        if isinstance(descriptor, Reduce):
            layout = _row_reduction(node, descriptor)
            if layout is None:
                return
        elif not isinstance(descriptor, Expr):
            return
        regions = self.regions
        joined: Region | None = None
        for value in node.inputs:
            region = regions.of.get(regions.resolve(value)[0])
            if region is None or region is joined:
                continue
            if joined is not None:
                regions.merge(joined, region)
            elif self._may_join(node, region, layout):
                regions.join(node, region)
                joined = region
        trusted = self.blocked is None or "rows" not in self.blocked[node.device]
        if layout is not None and joined is None and trusted:
            regions.new(node, layout)

    def _may_join(self, node: Node, region: Region, layout: tuple[int, int] | None) -> bool:
        if layout is not None:
            return layout == region.layout and self.regions.fits(node, region)
        if kind_of(node.specs[0], region.layout) is None:
            return False
        own = [v for v in node.inputs if self.regions.of.get(self.regions.resolve(v)[0]) is region]
        return all(self._lines_up(v, node, region) for v in own) and self.regions.fits(node, region)

    def _lines_up(self, value: Value, node: Node, region: Region) -> bool:
        """Whether an operand from within is read at the node's own element, or at its row."""
        source = self.regions.resolve(value)[0]
        spec = value[0].specs[value[1]]
        inner, outer = kind_of(source.specs[0], region.layout), kind_of(node.specs[0], region.layout)
        m = broadcast_map(spec.dims, node.specs[0].dims)
        if inner == outer:
            return m is None or _is_plain(m, node.specs[0])
        return inner == "row" and outer == "full" and m == _row_map(region.layout)

    def _absorb(self, region: Region) -> None:
        """Let elementwise nodes join that nobody else reads."""
        regions = self.regions
        queue = sorted(region.inputs, key=lambda v: (regions.place[v[0]], v[1]))
        while queue:
            value = queue.pop()
            if value not in region.inputs or not self._may_be_absorbed(value, region):
                continue
            queue += regions.absorb(value[0], value, region)
        # In the program's order, which the members that joined late do not have.
        region.nodes.sort(key=regions.place.__getitem__)

    def _may_be_absorbed(self, value: Value, region: Region) -> bool:
        regions = self.regions
        node = value[0]
        if node in regions.of or value in regions.outputs or node.device != region.device:
            return False
        if len(node.specs) != 1 or kind_of(node.specs[0], region.layout) is None:
            return False
        if not isinstance(node.op.descriptor(node.input_specs, node.attrs), Expr):
            return False
        readers = regions.consumers[value]
        if not all(regions.of.get(r) is region for r in readers):
            return False
        # The value itself is no input any more.
        region.inputs.discard(value)
        fits = regions.fits(node, region)
        region.inputs.add(value)
        return fits and all(self._reads_plainly(value, r, region) for r in readers)

    def _reads_plainly(self, value: Value, reader: Node, region: Region) -> bool:
        if isinstance(reader.op.descriptor(reader.input_specs, reader.attrs), Reduce):
            return kind_of(value[0].specs[0], region.layout) == "full"
        return self._lines_up(value, reader, region)


def _row_reduction(node: Node, descriptor: Reduce) -> tuple[int, int] | None:
    """Rows and columns of a reduction over the last axes; None where it is another, or not worth it."""
    shape = node.input_specs[0].dims
    axes = normalize_axes(node.attrs.get("axis"), len(shape))
    if descriptor.arg or not axes or 0 in shape:
        return None
    first = min(axes)
    if any(shape[a] != 1 for a in range(first, len(shape)) if a not in axes):
        return None
    columns = math.prod(shape[first:])
    count = math.prod(shape[:first])
    if count < MIN_ROWS or not 2 <= columns <= MAX_COLUMNS:
        return None
    return count, columns


def kind_of(spec: Spec, layout: Any) -> str | None:
    """Whether a value has an element for each element of a region ("full"), or for each row ("row")."""
    count, columns = layout
    shape = spec.dims
    total = math.prod(shape)
    if total == count * columns:
        # The rows must be the same rows: some suffix of the shape multiplies to the columns.
        return "full" if any(math.prod(shape[i:]) == columns for i in range(len(shape) + 1)) else None
    return "row" if total == count else None


def _row_map(layout: Any) -> AffineMap:
    return collapse(AffineMap(layout, (1, 0)))


def _is_plain(m: AffineMap, spec: Spec) -> bool:
    return is_contiguous(m) and not m.offset and math.prod(m.dims) == math.prod(spec.dims)


def _build(region: Region, regions: Regions) -> tuple[Node, list[Value]]:
    """The node of a region, and the values that it stands for."""
    members = region.nodes
    layout: Any = region.layout
    count, columns = layout
    index = {n: i for i, n in enumerate(members)}
    inputs: list[Value] = []
    reads: list[RowInput] = []
    instructions: list[RowInstruction] = []

    def operand(value: Value, node: Node, kind: str) -> tuple[str, Any]:
        source = regions.resolve(value)[0]
        if source in index:
            return "t", index[source]
        array = constant_array(value)
        if array is not None and array.size == 1:
            return "lit", array.reshape(-1)[0]
        target = value[0].specs[value[1]] if kind == "reduce" else node.specs[0]
        read = RowInput(kind == "row", broadcast_map(value[0].specs[value[1]].dims, target.dims))
        for k, known in enumerate(inputs):
            if known == value and reads[k] == read:
                return "in", k
        inputs.append(value)
        reads.append(read)
        return "in", len(inputs) - 1

    for node in members:
        descriptor = node.op.descriptor(node.input_specs, node.attrs)
        assert isinstance(descriptor, Expr | Reduce), "only these are taken into a region"
        if isinstance(descriptor, Reduce):
            kind = "reduce"
            values = node.inputs[:1]
        else:
            kind = kind_of(node.specs[0], region.layout) or ""
            values = node.inputs
        operands = tuple(operand(v, node, kind) for v in values)
        dtypes = tuple(v[0].specs[v[1]].dtype for v in values)
        instructions.append(
            RowInstruction(node.op.name, kind, descriptor, node.attrs, operands, dtypes, node.specs[0].dtype)
        )
    stored = [n for n in members if (n, 0) in regions.outputs or regions.read_outside(n, index)]
    label = "+".join(n.op.name for n in members[:6]) + ("+..." if len(members) > 6 else "")
    group = RowGroup(
        columns, tuple(instructions), tuple(reads), tuple(index[n] for n in stored), f"rows:{label}"
    )
    specs = [n.specs[0] for n in stored]
    node = Node(ROWS, inputs, {"group": group, "rows": count}, specs, stored[-1].origin, region.device)
    return node, [(n, 0) for n in stored]
