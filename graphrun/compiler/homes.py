"""Where the parts of a joined value are written: into it, by the kernels that compute them.

A concat along the outermost axis is its inputs one behind the other, so each may be computed where it
belongs and nothing is left to copy.  Along another axis each row of the result has a piece of every input;
an elementwise group can write such pieces, also as the epilogue of a product, and its result is then found
there alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from graphrun.compiler.epilogue import EPILOGUE
from graphrun.compiler.fusion import COPY_EXPR, FUSED, MAX_OUTPUTS, Group, Instruction
from graphrun.compiler.ir import CONST, COPY, FEED, STATE, Node, Program, Value
from graphrun.compiler.rows import ROWS
from graphrun.compiler.views import collapse, view_map
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import AffineMap

# Pieces shorter than a small vector are better copied once in longer runs.
MIN_PIECE = 4
_JOINS = ("concat", "stack")


@dataclass(frozen=True)
class Home:
    """Where a value lies within a joined one: from `offset` on, or in pieces as `map` says."""

    joined: Node
    offset: int
    map: AffineMap | None


@dataclass(frozen=True)
class Part:
    """Input `index` of a joined node, of `width` elements in each of its rows."""

    index: int
    offset: int
    map: AffineMap | None


def is_join(node: Node) -> bool:
    """Whether a node of a device joins its inputs."""
    return node.op.name in _JOINS and runs_kernels(node.device)


def quick_join(node: Node) -> bool:
    """Whether copies of several parts take one launch, where the joining kernel takes one for each part."""
    if not is_join(node):
        return False
    parts = parts_of(node)
    widths = [p.map.dims[-1] for p in parts if p.map is not None]
    sizes = {math.prod(node.input_specs[p.index].dims) for p in parts}
    return len(sizes) < len(parts) and all(w >= MIN_PIECE for w in widths)


def parts_of(node: Node) -> list[Part]:
    """Where each input of a joined node lies in its result; those without elements are left out."""
    dims = node.specs[0].dims
    axis = node.attrs["axis"]
    at = (axis[0] if isinstance(axis, tuple) else axis) % len(dims)
    outer, row = math.prod(dims[:at]), math.prod(dims[at:])
    found = []
    begin = 0
    for k, spec in enumerate(node.input_specs):
        count = math.prod(spec.dims)
        if not count:
            continue
        width = count // outer
        m = None
        if outer > 1:
            m = AffineMap((outer, width), (row, 1))
            # Not so where it would drop the last dimension: kernels write runs along that one.
            m = collapse(m) if width > 1 else m
        found.append(Part(k, begin, m))
        begin += width
    return found


def find_homes(
    program: Program, root: Callable[[Value], Value], uses: Mapping[Value, int],
    in_pieces: Callable[[Value, AffineMap], bool],
) -> dict[Value, Home]:  # fmt: skip
    """The values that are computed within a joined one.

    Parameters
    ----------
    program : Program
    root : function
        The value behind views that move nothing.
    uses : mapping
        How often each root is read.
    in_pieces : function
        Whether the kernels of an epilogue can write a result in the pieces of a map.
    """
    homes: dict[Value, Home] = {}
    kept = {root(v) for v in program.outputs()}
    for node in program.nodes:
        if not is_join(node):
            continue
        for part in parts_of(node):
            value = root(node.inputs[part.index])
            producer, i = value
            size = math.prod(producer.specs[i].dims)
            if value in homes or value in kept or producer.device != node.device:
                continue
            if size != math.prod(node.input_specs[part.index].dims) or not _may_be_placed(value):
                continue
            if part.map is not None:
                # It is not read elsewhere, since nothing else reads in pieces.
                if uses.get(value, 0) > 1 or part.map.dims[-1] < MIN_PIECE:
                    continue
                if producer.op is not FUSED and not (producer.op is EPILOGUE and in_pieces(value, part.map)):
                    continue
            homes[value] = Home(node, part.offset, part.map)
    return homes


def _may_be_placed(value: Value) -> bool:
    """Whether it is up to the lowering where a value goes."""
    producer, i = value
    if producer.op in (FUSED, ROWS, EPILOGUE):
        return True
    if producer.op in (CONST, COPY, FEED, STATE) or not runs_kernels(producer.device):
        return False
    return len(producer.specs) == 1 and view_map(producer, i) is None


def placed(group: Group, node: Node, homes: Mapping[Value, Home]) -> Group:
    """The group of a node with the pieces in which its outputs are written."""
    maps = tuple(homes[node, j].map if (node, j) in homes else None for j in range(len(node.specs)))
    return replace(group, places=maps) if any(m is not None for m in maps) else group


def copies(node: Node, left: list[Part]) -> list[tuple[Group, list[Value], list[Part]]]:
    """Groups that copy the parts that are not in place: as few as their sizes and the limits allow."""
    by_size: dict[int, list[Part]] = {}
    for part in left:
        by_size.setdefault(math.prod(node.input_specs[part.index].dims), []).append(part)
    made = []
    for parts in by_size.values():
        for first in range(0, len(parts), MAX_OUTPUTS):
            some = parts[first : first + MAX_OUTPUTS]
            values, instructions = [], []
            for k, part in enumerate(some):
                value = node.inputs[part.index]
                dtype = value[0].specs[value[1]].dtype
                values.append(value)
                instructions.append(Instruction("view", COPY_EXPR, {}, (("in", k),), (dtype,), dtype))
            last = len(some) - 1
            order = [last, *range(last)]
            group = Group(
                tuple(instructions), (None,) * len(some), node.op.name, tuple(range(last)),
                tuple(some[k].map for k in order),
            )  # fmt: skip
            made.append((group, values, [some[k] for k in order]))
    return made
