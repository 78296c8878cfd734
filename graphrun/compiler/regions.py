"""Regions: sets of nodes that are to become one kernel, grown along the edges of a program.

Nodes are visited in topological order, and each may join a region of its inputs or make several of these
one.  What must not happen is a circle: a region that waits for a value which waits for the region.  For
each node the regions that it depends on are kept as the bits of a number; a region that takes in another
input after somebody has read it makes such numbers too small, and is followed when they are asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from graphrun.compiler.ir import Node, Program, Value, constant_array
from graphrun.compiler.views import is_contiguous, view_map
from graphrun.device_names import runs_kernels
from graphrun.graph.traverse import topological_order
from graphrun.shapes import num_elements


@dataclass(eq=False)
class Region:
    """Nodes of one device and one layout.

    Attributes
    ----------
    layout : Hashable
        What the kind of kernel asks of its members; regions of different layouts are never merged.
    inputs : set of Value
        What members read from outside, constants not counted.
    bits : int
        Its number as a bit, and those of the regions that it has taken in.
    below : int
        Bits of the regions that its inputs depend on.
    was_read : bool
        Whether a node outside has read a member.
    """

    device: str
    layout: Hashable
    bits: int
    nodes: list[Node] = field(default_factory=list)
    inputs: set[Value] = field(default_factory=set)
    below: int = 0
    was_read: bool = False


class Regions:
    """The regions of a program while they grow.

    Parameters
    ----------
    program : Program
        Placed.
    max_inputs, max_nodes : int
        What a region may have.
    """

    def __init__(self, program: Program, max_inputs: int, max_nodes: int) -> None:
        self.max_inputs, self.max_nodes = max_inputs, max_nodes
        self.place = {n: i for i, n in enumerate(program.nodes)}
        self.outputs = set(program.outputs())
        self.consumers = program.consumers()
        self.of: dict[Node, Region] = {}
        self.all: list[Region] = []
        self._by_bit: list[Region] = []
        self._below: dict[Node, int] = {}
        self._late = 0  # bits of the regions that took in an input after they had been read

    def visit(self, node: Node) -> None:
        """Note what a node depends on; it has to be called for each node, in order, before it joins."""
        below = 0
        for n, _ in node.inputs:
            below |= self._below[n]
            if n in self.of:
                below |= self.of[n].bits | self.of[n].below
        self._below[node] = below

    def left(self, node: Node) -> None:
        """Note that a node has been decided about."""
        own = self.of.get(node)
        for n, _ in node.inputs:
            region = self.of.get(n)
            if region is not None and region is not own:
                region.was_read = True

    def new(self, node: Node, layout: Hashable) -> Region:
        """A region of one node."""
        region = Region(node.device, layout, 1 << len(self._by_bit))
        self._by_bit.append(region)
        self.all.append(region)
        self.join(node, region)
        return region

    def join(self, node: Node, region: Region) -> None:
        """Let a node be a member.  `would_circle` and `fits` have been asked."""
        self.of[node] = region
        region.nodes.append(node)
        for v in node.inputs:
            if self.of.get(self.resolve(v)[0]) is not region and constant_array(v) is None:
                self._reads(region, v)

    def merge(self, region: Region, other: Region) -> bool:
        """Make two regions that a node reads one, where no path leads from one to the other around it."""
        if region.layout != other.layout or region.device != other.device:
            return False
        inputs = {v for v in region.inputs if self.of.get(self.resolve(v)[0]) is not other}
        inputs |= {v for v in other.inputs if self.of.get(self.resolve(v)[0]) is not region}
        if len(inputs) > self.max_inputs or len(region.nodes) + len(other.nodes) > self.max_nodes:
            return False
        if any(self.depends(v, r) for v in inputs for r in (region, other)):
            return False
        region.nodes += other.nodes
        region.inputs = inputs
        region.below |= other.below
        region.bits |= other.bits
        region.was_read |= other.was_read
        for n in other.nodes:
            self.of[n] = region
        self._by_bit = [region if r is other else r for r in self._by_bit]
        self.all.remove(other)
        # Who has read one depends on both from now on.
        self._late |= region.bits
        return True

    def absorb(self, node: Node, value: Value, region: Region) -> list[Value]:
        """Let the node of an input be a member; returns the region's new inputs."""
        more = [v for v in node.inputs if v not in region.inputs and constant_array(v) is None]
        region.inputs.discard(value)
        self.of[node] = region
        region.nodes.append(node)
        for v in more:
            self._reads(region, v)
        return more

    def _reads(self, region: Region, value: Value) -> None:
        if value in region.inputs:
            return
        region.inputs.add(value)
        below = self._below[value[0]]
        own = self.of.get(value[0])
        if own is not None and own is not region:
            own.was_read = True
            below |= own.bits | own.below
        if below & ~region.below and region.was_read:
            self._late |= region.bits
        region.below |= below

    def depends(self, value: Value, region: Region) -> bool:
        """Whether a value that is not the region's depends on it."""
        node = value[0]
        own = self.of.get(node)
        mask = self._below[node] | (own.bits if own is not None and own is not region else 0)
        seen = 0
        if own is not None and own is not region:
            mask |= own.below
        while not mask & region.bits:
            ahead = mask & self._late & ~seen
            if not ahead:
                return False
            bit = ahead & -ahead
            seen |= bit
            mask |= self._by_bit[bit.bit_length() - 1].bits
            mask |= self._by_bit[bit.bit_length() - 1].below
        return True

    def fits(self, node: Node, region: Region) -> bool:
        """Whether a node may join: it closes no circle and the region stays small enough."""
        if region.device != node.device or len(region.nodes) >= self.max_nodes:
            return False
        added = 0
        for v in node.inputs:
            if self.of.get(self.resolve(v)[0]) is region or constant_array(v) is not None:
                continue
            if self.depends(v, region):
                return False
            added += v not in region.inputs
        return len(region.inputs) + added <= self.max_inputs

    def resolve(self, value: Value) -> Value:
        """The value behind reshapes that move nothing, where it is a region's."""
        found = value
        while found[0] not in self.of:
            m = view_map(found[0], found[1])
            if m is None or not is_contiguous(m) or m.offset:
                return value
            source = found[0].inputs[0]
            if num_elements(source[0].specs[source[1]].shape) != num_elements(found[0].specs[found[1]].shape):
                return value
            found = source
        return found

    def read_outside(self, node: Node, members: Mapping[Node, int]) -> bool:
        """Whether a member is read by others, itself or through a reshape that no member looks through."""
        stack: list[Value] = [(node, 0)]
        while stack:
            value = stack.pop()
            for reader in self.consumers.get(value, ()):
                if reader in members:
                    continue
                alias = (reader, 0)
                if not runs_kernels(reader.device) or alias in self.outputs or len(reader.specs) != 1:
                    return True
                if self.resolve(alias)[0] is not node:
                    return True
                stack.append(alias)
        return False


def put_in(program: Program, made: Iterable[tuple[Region, Node, list[Value]]]) -> None:
    """Replace the nodes of each region by one node, which stands for the values in their order."""
    replaced: dict[Value, Value] = {}
    gone: set[Node] = set()
    at: dict[Node, Node] = {}  # by the last member
    for region, node, values in made:
        replaced.update({v: (node, i) for i, v in enumerate(values)})
        gone.update(region.nodes)
        at[region.nodes[-1]] = node
    program.nodes = [at.get(n, n) for n in program.nodes if n in at or n not in gone]
    program.replace(replaced)
    program.remove_dead()
    program.nodes = topological_order(program.nodes, lambda n: [p for p, _ in n.inputs])
