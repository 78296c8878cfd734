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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphrun.compiler.fusion import broadcast_map, collapse, is_contiguous, view_map
from graphrun.compiler.ir import Node, Program, Value, constant_array
from graphrun.device_names import runs_kernels
from graphrun.dtypes import DType
from graphrun.graph.descriptor import AffineMap, Expr, Reduce, Spec
from graphrun.graph.opdef import OpDef
from graphrun.graph.traverse import topological_order
from graphrun.shapes import normalize_axes, num_elements

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


def _no_rule(*specs: Spec, **attrs: Any) -> Any:
    raise AssertionError("row kernels have no shape rule")


ROWS = OpDef("rows", _no_rule, None)


@dataclass
class _Region:
    number: int
    rows: int
    columns: int
    device: str
    first: int  # the place of its first node in the program
    nodes: list[Node] = field(default_factory=list)
    inputs: set[Value] = field(default_factory=set)
    below: int = 0  # bits of the regions that its inputs depend on

    @property
    def layout(self) -> tuple[int, int, str]:
        return self.rows, self.columns, self.device


def rows(program: Program) -> Program:
    """Run the pass."""
    finder = _Finder(program)
    regions = [r for r in finder.find() if len(r.nodes) > 1]
    if not regions:
        return program
    replaced: dict[Value, Value] = {}
    gone: set[Node] = set()
    made: dict[Node, Node] = {}  # by the last member
    outputs = set(program.outputs())
    for region in regions:
        node, values = _build(region, finder, outputs)
        replaced.update({v: (node, i) for i, v in enumerate(values)})
        gone.update(region.nodes)
        made[region.nodes[-1]] = node
    nodes = []
    for n in program.nodes:
        if n in made:
            nodes.append(made[n])
        elif n not in gone:
            nodes.append(n)
    program.nodes = nodes
    program.replace(replaced)
    program.remove_dead()
    program.nodes = topological_order(program.nodes, lambda n: [p for p, _ in n.inputs])
    return program


class _Finder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.place = {n: i for i, n in enumerate(program.nodes)}
        self.outputs = set(program.outputs())
        self.consumers = program.consumers()
        self.region_of: dict[Node, _Region] = {}
        self.regions: list[_Region] = []  # by number; of merged ones the same object
        self.below: dict[Node, int] = {}  # bits of the regions that a node depends on

    def find(self) -> list[_Region]:
        for node in self.program.nodes:
            below = 0
            for n, _ in node.inputs:
                below |= self.below[n]
                if n in self.region_of:
                    below |= 1 << self.region_of[n].number
            self.below[node] = below
            self._consider(node)
        found = list({id(r): r for r in self.regions}.values())
        for region in found:
            self._absorb(region)
        return found

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
        joined = False
        for value in node.inputs:
            region = self.region_of.get(self.resolve(value)[0])
            if region is None or region is self.region_of.get(node) or region.device != node.device:
                continue
            if joined:
                self._merge(self.region_of[node], region)
            elif self._may_join(node, region, layout):
                self._join(node, region)
                joined = True
        if layout is not None and not joined:
            region = _Region(len(self.regions), *layout, node.device, self.place[node])
            self.regions.append(region)
            self._join(node, region)

    def _join(self, node: Node, region: _Region) -> None:
        self.region_of[node] = region
        region.nodes.append(node)
        for v in node.inputs:
            if self.region_of.get(self.resolve(v)[0]) is not region and constant_array(v) is None:
                self._reads(region, v)

    def _reads(self, region: _Region, value: Value) -> None:
        region.inputs.add(value)
        region.below |= self.below[value[0]]
        own = self.region_of.get(value[0])
        if own is not None and own is not region:
            region.below |= 1 << own.number

    def _merge(self, region: _Region, other: _Region) -> None:
        """Make two regions that a node reads one, where no path leads from one to the other around it."""
        if region is other or region.layout != other.layout:
            return
        inputs = {v for v in region.inputs if self.region_of.get(self.resolve(v)[0]) is not other}
        inputs |= {v for v in other.inputs if self.region_of.get(self.resolve(v)[0]) is not region}
        if len(inputs) > MAX_INPUTS or len(region.nodes) + len(other.nodes) > MAX_NODES:
            return
        if any(self._depends(v, r) for v in inputs for r in (region, other)):
            return
        region.nodes += other.nodes
        region.first = min(region.first, other.first)
        region.inputs = inputs
        region.below |= other.below
        for n in other.nodes:
            self.region_of[n] = region
        for number, r in enumerate(self.regions):
            if r is other:
                self.regions[number] = region

    def _depends(self, value: Value, region: _Region) -> bool:
        """Whether a value that is not the region's depends on it."""
        node = value[0]
        if self.place[node] < region.first and node not in self.region_of:
            return False
        mask = self.below[node]
        own = self.region_of.get(node)
        if own is not None:
            mask |= 1 << own.number
        seen = 0
        while mask:
            number = mask.bit_length() - 1
            seen |= 1 << number
            if self.regions[number] is region:
                return True
            mask = (mask | self.regions[number].below) & ~seen
        return False

    def _may_join(self, node: Node, region: _Region, layout: tuple[int, int] | None) -> bool:
        if layout is not None and layout != (region.rows, region.columns):
            return False
        if len(region.nodes) >= MAX_NODES:
            return False
        if layout is None and kind_of(node.specs[0], region.rows, region.columns) is None:
            return False
        added = 0
        for v in node.inputs:
            if self.region_of.get(self.resolve(v)[0]) is region:
                if layout is None and not self._lines_up(v, node, region):
                    return False
            elif self._depends(v, region):
                return False
            else:
                added += v not in region.inputs
        return len(region.inputs) + added <= MAX_INPUTS

    def _lines_up(self, value: Value, node: Node, region: _Region) -> bool:
        """Whether an operand from within is read at the node's own element, or at its row."""
        source = self.resolve(value)[0]
        spec = value[0].specs[value[1]]
        inner = kind_of(source.specs[0], region.rows, region.columns)
        outer = kind_of(node.specs[0], region.rows, region.columns)
        m = broadcast_map(spec.dims, node.specs[0].dims)
        if inner == outer:
            return m is None or _is_plain(m, node.specs[0])
        return inner == "row" and outer == "full" and m == _row_map(region.rows, region.columns)

    def resolve(self, value: Value) -> Value:
        """The value behind reshapes that move nothing, where it is a region's."""
        found = value
        while found[0] not in self.region_of:
            m = view_map(found[0], found[1])
            if m is None or not is_contiguous(m) or m.offset:
                return value
            source = found[0].inputs[0]
            if num_elements(source[0].specs[source[1]].shape) != num_elements(found[0].specs[found[1]].shape):
                return value
            found = source
        return found

    def _absorb(self, region: _Region) -> None:
        """Let elementwise nodes join that nobody else reads."""
        queue = sorted(region.inputs, key=lambda v: (self.place[v[0]], v[1]))
        while queue:
            value = queue.pop()
            node = value[0]
            if value not in region.inputs or not self._may_be_absorbed(value, region):
                continue
            more = [v for v in node.inputs if v not in region.inputs and constant_array(v) is None]
            if len(region.inputs) - 1 + len(more) > MAX_INPUTS:
                continue
            region.inputs.discard(value)
            self.region_of[node] = region
            region.nodes.append(node)
            region.first = min(region.first, self.place[node])
            for v in more:
                self._reads(region, v)
            queue += more
        # In the program's order, which the members that joined late do not have.
        region.nodes.sort(key=self.place.__getitem__)

    def _may_be_absorbed(self, value: Value, region: _Region) -> bool:
        node = value[0]
        if node in self.region_of or value in self.outputs or node.device != region.device:
            return False
        if len(node.specs) != 1 or len(region.nodes) >= MAX_NODES:
            return False
        if kind_of(node.specs[0], region.rows, region.columns) is None:
            return False
        if not isinstance(node.op.descriptor(node.input_specs, node.attrs), Expr):
            return False
        readers = self.consumers[value]
        if not all(self.region_of.get(r) is region for r in readers):
            return False
        if any(self._depends(v, region) for v in node.inputs):
            return False
        return all(self._reads_plainly(value, r, region) for r in readers)

    def _reads_plainly(self, value: Value, reader: Node, region: _Region) -> bool:
        if isinstance(reader.op.descriptor(reader.input_specs, reader.attrs), Reduce):
            return kind_of(value[0].specs[0], region.rows, region.columns) == "full"
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


def kind_of(spec: Spec, count: int, columns: int) -> str | None:
    """Whether a value has an element for each element of a region ("full"), or for each row ("row")."""
    shape = spec.dims
    total = math.prod(shape)
    if total == count * columns:
        # The rows must be the same rows: some suffix of the shape multiplies to the columns.
        return "full" if any(math.prod(shape[i:]) == columns for i in range(len(shape) + 1)) else None
    return "row" if total == count else None


def _row_map(count: int, columns: int) -> AffineMap:
    return collapse(AffineMap((count, columns), (1, 0)))


def _is_plain(m: AffineMap, spec: Spec) -> bool:
    return is_contiguous(m) and not m.offset and math.prod(m.dims) == math.prod(spec.dims)


def _build(region: _Region, finder: _Finder, outputs: set[Value]) -> tuple[Node, list[Value]]:
    """The node of a region, and the values that it stands for."""
    members = region.nodes
    index = {n: i for i, n in enumerate(members)}
    inputs: list[Value] = []
    reads: list[RowInput] = []
    instructions: list[RowInstruction] = []

    def operand(value: Value, node: Node, kind: str) -> tuple[str, Any]:
        source = finder.resolve(value)[0]
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
            kind = kind_of(node.specs[0], region.rows, region.columns) or ""
            values = node.inputs
        operands = tuple(operand(v, node, kind) for v in values)
        dtypes = tuple(v[0].specs[v[1]].dtype for v in values)
        instructions.append(
            RowInstruction(node.op.name, kind, descriptor, node.attrs, operands, dtypes, node.specs[0].dtype)
        )
    stored = [n for n in members if (n, 0) in outputs or _read_outside(n, index, finder)]
    label = "+".join(n.op.name for n in members[:6]) + ("+..." if len(members) > 6 else "")
    group = RowGroup(
        region.columns, tuple(instructions), tuple(reads), tuple(index[n] for n in stored), f"rows:{label}"
    )
    specs = [n.specs[0] for n in stored]
    node = Node(ROWS, inputs, {"group": group, "rows": region.rows}, specs, stored[-1].origin, region.device)
    return node, [(n, 0) for n in stored]


def _read_outside(node: Node, index: Mapping[Node, int], finder: _Finder) -> bool:
    """Whether a member is read by others, itself or through a reshape that no member looks through."""
    stack = [(node, 0)]
    while stack:
        value = stack.pop()
        for reader in finder.consumers.get(value, ()):
            if reader in index:
                continue
            alias = (reader, 0)
            if not runs_kernels(reader.device) or alias in finder.outputs or len(reader.specs) != 1:
                return True
            if finder.resolve(alias)[0] is not node:
                return True
            stack.append(alias)
    return False
