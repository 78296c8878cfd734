"""Pass: what a group would store for later groups is computed again there, where that saves memory traffic.

The gradient of ``0.5 * x * (1 + tanh(c * x * (1 + k * x * x)))`` reads x, the tanh, and half a dozen products
in between.  To store these and read them again takes far longer than a few multiplications, so only what is
costly to compute is kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from graphrun.compiler.fusion import FUSED, MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, Group, Instruction
from graphrun.compiler.ir import Node, Program, Value
from graphrun.graph.descriptor import AffineMap, Spec

# What is cheap beside a load and a store: an addition, a product, a comparison.
CHEAP_FLOPS = 2
MAX_CONE = 6

Leaf = tuple[Value, AffineMap | None]


def recompute(program: Program) -> Program:
    """Run the pass."""
    work = _Pass(program)
    for node in program.nodes:
        if node.op is FUSED and len(node.specs) > 1:
            work.consider(node)
    work.finish()
    return program


class _Pass:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.consumers = program.consumers()
        self.outputs = set(program.outputs())
        self.dropped: dict[Node, set[int]] = {}

    def consider(self, node: Node) -> None:
        gone = self.dropped.setdefault(node, set())
        shared = self._share(node)
        group: Group = node.attrs["group"]
        # From the last one back, so that one that was computed of another goes before it.
        for j in sorted(range(len(node.specs)), key=lambda j: -group.results[j]):
            readers = list(dict.fromkeys(self.consumers.get((node, j), ())))
            if (node, j) in self.outputs or not readers:
                continue
            if not all(self._reads_plainly(r, node, j) for r in readers):
                continue
            if not any(self._is_read(node, k) for k in range(len(node.specs)) if k != j and k not in gone):
                continue
            cone = self._cone(node, j, gone)
            if cone is None:
                continue
            steps, leaves = cone
            added = sum(self._added(r, leaves) for r in readers)
            if added > len(readers) or not all(self._fits(r, steps, leaves) for r in readers):
                continue
            for reader in readers:
                self._put_in(reader, (node, j), steps, leaves, group)
            gone.add(j)
        gone.update(j for j in shared if not self._is_read(node, j))

    def _is_read(self, node: Node, j: int) -> bool:
        return bool(self.consumers.get((node, j))) or (node, j) in self.outputs

    def _share(self, node: Node) -> list[int]:
        """Store the costly values that several outputs are cheap to compute from, and return their places.

        ``1 + t`` and ``1 - t * t`` are two stores and two loads, ``t`` is one of each.
        """
        group: Group = node.attrs["group"]
        results = frozenset(group.results)
        costly = {k for k, i in enumerate(group.instructions) if i.expr.flops > CHEAP_FLOPS}
        if costly <= results:
            return []
        wanted: dict[int, int] = {}
        for result in group.results:
            behind = self._costly_behind(group, result, costly, results)
            if len(behind) == 1 and not behind & results:
                wanted[next(iter(behind))] = wanted.get(next(iter(behind)), 0) + 1
        shared = [i for i, count in wanted.items() if count > 1]
        if shared and len(node.specs) + len(shared) <= MAX_OUTPUTS:
            first, dims = len(node.specs), node.specs[0].dims
            node.specs = (*node.specs, *(Spec(dims, group.instructions[i].dtype) for i in shared))
            node.attrs = {"group": replace(group, extra=(*group.extra, *shared))}
            return list(range(first, len(node.specs)))
        return []

    @staticmethod
    def _costly_behind(group: Group, result: int, costly: set[int], results: frozenset[int]) -> set[int]:
        """The costly instructions that an output is cheap to compute from; none where it is costly itself."""
        found: set[int] = set()
        steps: set[int] = set()
        stack = [] if result in costly else [result]
        while stack and len(steps) < MAX_CONE:
            i = stack.pop()
            if i in costly:
                found.add(i)
            elif i not in steps:
                steps.add(i)
                operands = group.instructions[i].operands
                stack += [what for kind, what in operands if kind == "t" and what not in results]
        return set() if stack else found

    def _reads_plainly(self, reader: Node, node: Node, j: int) -> bool:
        if reader.op is not FUSED or reader is node or reader.device != node.device:
            return False
        same = math.prod(reader.specs[0].dims) == math.prod(node.specs[0].dims)
        maps = reader.attrs["group"].maps
        return same and all(m is None for v, m in zip(reader.inputs, maps, strict=True) if v == (node, j))

    def _cone(self, node: Node, j: int, gone: set[int]) -> tuple[list[int], list[Leaf]] | None:
        """The instructions behind output j, in order, and what they read; None where one is costly."""
        group: Group = node.attrs["group"]
        kept = {i: k for k, i in enumerate(group.results) if k not in gone and k != j}
        steps: set[int] = set()
        leaves: dict[Leaf, None] = {}
        stack = [group.results[j]]
        while stack:
            i = stack.pop()
            if i in steps:
                continue
            if group.instructions[i].expr.flops > CHEAP_FLOPS or len(steps) >= MAX_CONE:
                return None
            steps.add(i)
            for kind, what in group.instructions[i].operands:
                if kind == "in":
                    leaves[node.inputs[what], group.maps[what]] = None
                elif kind == "t" and what in kept:
                    leaves[(node, kept[what]), None] = None
                elif kind == "t":
                    stack.append(what)
        return sorted(steps), list(leaves)

    @staticmethod
    def _added(reader: Node, leaves: list[Leaf]) -> int:
        """How many values of full size a reader would read that it does not read already."""
        known = set(zip(reader.inputs, reader.attrs["group"].maps, strict=True))
        size = math.prod(reader.specs[0].dims)
        return sum(
            leaf not in known and 2 * math.prod(leaf[0][0].specs[leaf[0][1]].dims) > size for leaf in leaves
        )

    @staticmethod
    def _fits(reader: Node, steps: list[int], leaves: list[Leaf]) -> bool:
        group: Group = reader.attrs["group"]
        return (
            len(group.maps) + len(leaves) <= MAX_INPUTS
            and len(group.instructions) + len(steps) <= MAX_INSTRUCTIONS
        )

    def _put_in(
        self, reader: Node, value: Value, steps: list[int], leaves: list[Leaf], source: Group
    ) -> None:
        """Let `reader` compute a value that it has read."""
        node = value[0]
        group: Group = reader.attrs["group"]
        old = list(zip(reader.inputs, group.maps, strict=True))
        reads: list[Leaf] = [leaf for leaf in old if leaf[0] != value]
        reads += [leaf for leaf in leaves if leaf not in reads]
        place = {leaf: k for k, leaf in enumerate(reads)}
        number = {i: n for n, i in enumerate(steps)}
        result = {i: k for k, i in enumerate(source.results)}

        def first(operand: tuple[str, Any]) -> tuple[str, Any]:
            kind, what = operand
            if kind == "in":
                return "in", place[node.inputs[what], source.maps[what]]
            if kind == "t" and what not in number:
                return "in", place[(node, result[what]), None]
            return (kind, number[what]) if kind == "t" else operand

        def later(operand: tuple[str, Any]) -> tuple[str, Any]:
            kind, what = operand
            if kind == "t":
                return "t", what + len(steps)
            if kind == "in":
                leaf = old[what]
                return ("t", len(steps) - 1) if leaf[0] == value else ("in", place[leaf])
            return operand

        own = [_moved(source.instructions[i], first) for i in steps]
        rest = [_moved(i, later) for i in group.instructions]
        reader.inputs = [v for v, _ in reads]
        reader.attrs = {
            "group": replace(
                group, instructions=(*own, *rest), maps=tuple(m for _, m in reads),
                extra=tuple(e + len(steps) for e in group.extra),
            )
        }  # fmt: skip
        self.consumers[value] = [r for r in self.consumers[value] if r is not reader]
        for leaf in leaves:
            if leaf not in old:
                self.consumers.setdefault(leaf[0], []).append(reader)

    def finish(self) -> None:
        """Drop the outputs that nobody reads any more."""
        replaced: dict[Value, Value] = {}
        made: dict[Node, Node] = {}
        for node, gone in self.dropped.items():
            if not gone:
                continue
            group: Group = node.attrs["group"]
            # The last instruction is the first result.
            kept = [j for j in range(len(node.specs)) if j not in gone]
            last = max(group.results[j] for j in kept)
            kept.sort(key=lambda j: (group.results[j] != last, j))
            results = [group.results[j] for j in kept]
            instructions = group.instructions[: results[0] + 1]
            less = replace(group, instructions=instructions, extra=tuple(results[1:]))
            specs = [node.specs[j] for j in kept]
            new = made[node] = Node(FUSED, node.inputs, {"group": less}, specs, node.origin, node.device)
            replaced.update({(node, j): (new, k) for k, j in enumerate(kept)})
        if made:
            self.program.nodes = [made.get(n, n) for n in self.program.nodes]
            self.program.replace(replaced)
            self.program.remove_dead()


def _moved(instruction: Instruction, where: Any) -> Instruction:
    return replace(instruction, operands=tuple(where(o) for o in instruction.operands))
