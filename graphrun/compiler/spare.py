"""Pass: values that wait in memory for a late reader are dropped, and computed again just before it.

It runs where a session has a limit on memory and may recompute (`compiler/limit.py`).  At the step at which
most is in memory it looks at what only waits there, and drops first what is cheapest to compute again for
each byte: an elementwise value of something that is there anyway before a matrix product, one value before
a chain of them.  Of a chain in which each second value has gone, more can go: what is between two that stay
is then computed once, and kept for all of its late readers, as far as the limit allows.

The same operations on the same values give the same bits, so no result changes.  Random numbers are
functions of a key and a counter by then, and are drawn again as they were.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphrun.compiler.epilogue import EPILOGUE
from graphrun.compiler.fusion import FUSED, Group
from graphrun.compiler.ir import ADVANCE, CONST, COPY, FEED, STATE, Node, Program, Value
from graphrun.compiler.lives import Life, Lives
from graphrun.compiler.loops import LOOP
from graphrun.compiler.rows import ROWS
from graphrun.graph.descriptor import Expr, Kernel

MAX_ROUNDS = 150
PATIENCE = 6  # rounds without a lower peak
MAX_CLONES = 64  # for one value
# A value that is so much smaller than what is dropped is rather kept than computed again.
SMALL = 1 / 16
_PRODUCTS = ("gemm", "conv")
_FIXED = (CONST, FEED, STATE, COPY, ADVANCE, LOOP)


def spare(program: Program, goals: Mapping[str, tuple[int, bool]]) -> Program:
    """Run the pass, on a program whose nodes stand in the order in which they run.

    Parameters
    ----------
    program : Program
    goals : mapping
        For each device the bytes that its values may take, and whether it reads large fed arrays where
        they lie.
    """
    for device, (goal, zero_copy) in goals.items():
        _Pass(program, device, goal, zero_copy).run()
    return program


class Snapshot:
    """A program as it was."""

    def __init__(self, program: Program) -> None:
        self._nodes = [(n, list(n.inputs), n.attrs, n.specs) for n in program.nodes]
        self._states = dict(program.states)

    def restore(self, program: Program) -> None:
        for node, inputs, attrs, specs in self._nodes:
            node.inputs, node.attrs, node.specs = list(inputs), attrs, specs
        program.nodes = [n for n, *_ in self._nodes]
        program.states = dict(self._states)


@dataclass(eq=False)
class _Clone:
    """A value that is computed again, before step `at`."""

    value: Value  # the one that it is again
    part: _Part | None  # of a group; None: the whole node
    at: int
    sources: dict[Value, Value | _Clone] = field(default_factory=dict)
    made: Value | None = None


@dataclass(frozen=True)
class _Part:
    """The instructions of a group behind one of its results, and the values that they start from."""

    group: Group
    inputs: tuple[Value, ...]


@dataclass
class _Option:
    """What it takes to drop a value."""

    at: int
    size_bytes: int
    lost_bytes: int = 0  # at the peak, of what has to be kept for it
    cost: float = 1.0
    clones: dict[Value, _Clone] = field(default_factory=dict)
    pinned: set[Value] = field(default_factory=set)
    longer: list[tuple[int, int, int]] = field(default_factory=list)  # from, to, bytes
    earlier: list[_Clone] = field(default_factory=list)
    instead: list[tuple[Value, Value]] = field(default_factory=list)  # a later clone, and what it is again

    @property
    def ratio(self) -> float:
        return (self.size_bytes - self.lost_bytes) / self.cost

    def fork(self) -> _Option:
        new = copy(self)
        for name in ("clones", "pinned", "longer", "earlier", "instead"):
            setattr(new, name, copy(getattr(self, name)))
        return new


class _Pass:
    def __init__(self, program: Program, device: str, goal_bytes: int, zero_copy: bool) -> None:
        self.program, self.device, self.goal, self.zero_copy = program, device, goal_bytes, zero_copy
        self.first: dict[Value, Value] = {}  # of a clone: the value that it is again
        self.again: dict[Value, list[Value]] = {}

    def run(self) -> None:
        program = self.program
        lowest: float = math.inf
        stale = 0
        best = Snapshot(program)
        for _ in range(MAX_ROUNDS):
            lives = Lives(program, self.device, self.zero_copy)
            stale += 1
            if lives.peak_bytes < lowest:
                lowest, stale = lives.peak_bytes, 0
                best = Snapshot(program)
            if lowest <= self.goal or stale > PATIENCE or not self._round(lives):
                break
        if stale:
            best.restore(program)

    # -- one round: the values that wait at the peak ------------------------------------------------

    def _round(self, lives: Lives) -> bool:
        """Drop as much as the peak is above the goal; False where nothing can be dropped."""
        self.lives = lives
        self.peak = lives.peak_at
        self.usage = np.array(lives.usage)
        self.dropped: set[Value] = set()
        self.pinned: set[Value] = set()
        self.pending: dict[Value, _Clone] = {}
        self.clones: list[_Clone] = []
        moves: list[tuple[Value, int, _Clone]] = []  # value, first reader, what is read instead
        heap: list[tuple[float, int, int, Life]] = []
        for number, life in enumerate(lives.of.values()):
            late = self._late(life)
            if late is None:
                continue
            option = self._best(life, late)
            if option is not None:
                heap.append((-option.ratio, -late, number, life))
        heapq.heapify(heap)
        need = lives.peak_bytes - self.goal
        while heap and need > 0:
            promised, order, number, life = heapq.heappop(heap)
            option = self._best(life, -order) if life.value not in self.pinned else None
            if option is None:
                continue
            if heap and option.ratio < -promised and -option.ratio > heap[0][0]:
                heapq.heappush(heap, (-option.ratio, order, number, life))
                continue
            need -= option.size_bytes - option.lost_bytes
            moves += self._take(life, option)
        if moves:
            self._edit(moves)
        return bool(moves)

    def _late(self, life: Life) -> int | None:
        """The first reader behind the peak of a value that only waits there; else None."""
        node = life.value[0]
        # What a group stores beside others at the peak need not be stored there.
        begins = life.start < self.peak or (life.start == self.peak and _is_one_of_many(node))
        if life.kept or not begins or not self.peak < life.end or not life.size_bytes:
            return None
        if self.peak in life.readers or not self._repeatable(node):
            return None
        return min(r for r in life.readers if r > self.peak)

    def _best(self, life: Life, late: int) -> _Option | None:
        found = [o for costly in (False, True) if (o := self._option(life, late, costly)) is not None]
        return max(found, key=lambda o: o.ratio) if found else None

    def _option(self, life: Life, late: int, costly: bool) -> _Option | None:
        if not costly and self._costly(life.value[0]) and life.value[0].op is not EPILOGUE:
            return None
        option = self._again(life.value, _Option(late, life.size_bytes), costly)
        return option if option is not None and option.lost_bytes < option.size_bytes else None

    def _take(self, life: Life, option: _Option) -> list[tuple[Value, int, _Clone]]:
        """Note an option as taken; return whose readers from where on read what instead."""
        self.pinned |= option.pinned
        self.dropped.add(life.value)
        for clone in option.earlier:
            clone.at = min(clone.at, option.at)
        moves = [(life.value, option.at, option.clones[self._first(life.value)])]
        for later, again in option.instead:
            self.dropped.add(later)
            moves.append((later, 0, option.clones[again]))
        self.pending.update(option.clones)
        self.clones += option.clones.values()
        early = [r + 1 for r in (life.start, *life.readers) if r < self.peak]
        self.usage[max(early, default=self.peak) : option.at] -= life.size_bytes
        for begin, end, size in option.longer:
            self.usage[begin : end + 1] += size
        return moves

    # -- what it takes to have a value again ----------------------------------------------------------

    def _first(self, value: Value) -> Value:
        return self.first.get(value, value)

    def _fits(self, begin: int, end: int, size: int) -> bool:
        return begin > end or bool(self.usage[begin : end + 1].max() + size <= self.goal)

    def _source(self, value: Value, option: _Option, costly: bool) -> tuple[Value | _Clone, _Option] | None:
        """Where a value is found at ``option.at``: as it is, as a clone, or as one that is to be made."""
        at, lives, first = option.at, self.lives, self._first(value)
        life = lives.of.get(value)
        if life is None or value[0].op in (CONST, STATE):
            return value, option  # it takes no memory of the run's own
        if first in option.clones:
            return option.clones[first], option
        there = [first, *self.again.get(first, ())]
        waiting = [lives.of[v] for v in there if v in lives.of and v not in self.dropped]
        for other in waiting:
            if other.start < at <= other.end:
                option.pinned.add(other.value)
                return other.value, option
        for other in waiting:
            # Alive at the peak or made behind it: nothing is lost where most is in memory.
            if (
                other.start < at
                and other.end >= self.peak
                and self._fits(other.end + 1, at, other.size_bytes)
            ):
                option.pinned.add(other.value)
                option.longer.append((other.end + 1, at, other.size_bytes))
                return other.value, option
        pending = self.pending.get(first)
        if pending is not None and (pending.at <= at or self._may_be_earlier(pending, at)):
            begin, end = sorted((pending.at, at))
            if self._fits(begin, end, life.size_bytes):
                option.earlier.append(pending)
                option.longer.append((begin, end, life.size_bytes))
                return pending, option
        if value in self.dropped and not self._repeatable(value[0]):
            return None
        small = life.size_bytes <= SMALL * option.size_bytes and value not in self.dropped
        if not small and self._repeatable(value[0]) and len(option.clones) < MAX_CLONES:
            made = self._again(value, option.fork(), costly)
            if made is not None:
                for later in waiting:
                    free = later.value not in self.pinned and later.value not in made.pinned
                    if later.start > at and free and self._fits(at, later.start, later.size_bytes):
                        made.instead.append((later.value, first))
                        made.longer.append((at, later.start, later.size_bytes))
                return made.clones[first], made
        if value in self.dropped:
            return None
        option.pinned.add(value)
        option.longer.append((life.end + 1, at, life.size_bytes))
        option.lost_bytes += life.size_bytes if life.end < self.peak else 0
        return (value, option) if option.lost_bytes < option.size_bytes else None

    def _may_be_earlier(self, clone: _Clone, at: int) -> bool:
        for source in clone.sources.values():
            if isinstance(source, _Clone):
                if source.at > at:
                    return False
            elif source in self.lives.of and self.lives.of[source].start >= at:
                return False
        return True

    def _again(self, value: Value, option: _Option, costly: bool) -> _Option | None:
        """Add to an option what computes `value`; None where that cannot be."""
        node, j = value
        if node.op in (FUSED, EPILOGUE):
            found = []
            for stored in (False, True):
                part = self._part(node, j, option.at, stored)
                if part is not None and (made := self._clone(value, part, option.fork(), costly)) is not None:
                    found.append(made)
            if found:
                return max(found, key=lambda o: o.ratio)
        if self._costly(node) and not costly:
            return None
        return self._clone(value, None, option, costly)

    def _clone(self, value: Value, part: _Part | None, option: _Option, costly: bool) -> _Option | None:
        node = value[0]
        sources: dict[Value, Value | _Clone] = {}
        for v in part.inputs if part is not None else node.inputs:
            root = self.lives.root(v)
            if root in sources:
                continue
            found = self._source(root, option, costly)
            if found is None:
                return None
            sources[root], option = found
        size = math.prod(node.specs[value[1]].dims)
        flops = _work(node) if part is None else _group_work(part.group, size)
        read = part.inputs if part is not None else node.inputs
        option.cost += flops + size + sum(math.prod(n.specs[i].dims) for n, i in read)
        option.clones[self._first(value)] = _Clone(value, part, option.at, sources)
        return option

    def _part(self, node: Node, j: int, at: int, stored: bool) -> _Part | None:
        """What computes output j of a group alone, from its inputs or also from its other outputs.

        None where the product in front of an epilogue is needed, and is not stored.
        """
        product = -1
        if node.op is EPILOGUE:
            epilogue = node.attrs["epilogue"]
            group, product = epilogue.group, epilogue.position
        else:
            group = node.attrs["group"]
        others: dict[int, Value] = {}
        for k, i in enumerate(group.results):
            life = self.lives.of.get((node, k))
            if stored and k != j and life is not None and life.end >= at and life.value not in self.dropped:
                others[i] = (node, k)
        if group.results[j] in others or (stored and not others):
            return None
        # The product is stored as what copies it.
        of_product = [
            v for i, v in others.items()
            if group.instructions[i].op == "view" and group.instructions[i].operands == (("in", product),)
        ]  # fmt: skip

        def leaf(operand: tuple[str, Any]) -> tuple[Value, Any] | None:
            kind, what = operand
            if kind == "in" and what == product:
                return (of_product[0], None) if of_product else None
            if kind == "in":
                own = node.attrs["epilogue"].input_of(what) if product >= 0 else what
                return node.inputs[own], group.maps[what]
            return (others[what], None) if kind == "t" and what in others else None

        return _behind(group, [group.results[j]], leaf)

    # -- which operations -----------------------------------------------------------------------------

    @staticmethod
    def _repeatable(node: Node) -> bool:
        op = node.op
        if op in _FIXED or op.effect or op.stateful or op.side_effect or not node.specs:
            return False
        descriptor = op.descriptor(node.input_specs, node.attrs)
        return not (isinstance(descriptor, Kernel) and descriptor.overwrites is not None)

    @staticmethod
    def _costly(node: Node) -> bool:
        """Whether it takes far longer to compute than to read and write."""
        if node.op in (FUSED, ROWS, EPILOGUE):
            return node.op is EPILOGUE
        descriptor = node.op.descriptor(node.input_specs, node.attrs)
        if descriptor is None:
            return node.op.expand is None
        return isinstance(descriptor, Kernel) and descriptor.family in _PRODUCTS

    # -- the program ------------------------------------------------------------------------------------

    def _edit(self, moves: list[tuple[Value, int, _Clone]]) -> None:
        nodes = self.program.nodes
        before: dict[int, list[Node]] = {}
        renamed: dict[tuple[Value, Value, int], Value] = {}

        def seen(value: Value, root: Value, instead: Value, at: int) -> Value:
            """`value`, which is `root` seen through views, as a view of `instead`."""
            if value == root:
                return instead
            known = renamed.get((value, instead, at))
            if known is None:
                view = value[0]
                inner = seen(view.inputs[0], root, instead, at)
                new = Node(
                    view.op, [inner, *view.inputs[1:]], view.attrs, view.specs, view.origin, view.device,
                    view.value_attrs,
                )  # fmt: skip
                before.setdefault(at, []).append(new)
                known = renamed[value, instead, at] = new, value[1]
            return known

        def build(clone: _Clone) -> Value:
            if clone.made is None:
                old, j = clone.value
                found = {r: build(s) if isinstance(s, _Clone) else s for r, s in clone.sources.items()}
                reads = clone.part.inputs if clone.part is not None else old.inputs
                inputs = []
                for v in reads:
                    root = self.lives.root(v)
                    inputs.append(v if found[root] == root else seen(v, root, found[root], clone.at))
                if clone.part is not None:
                    attrs = {"group": clone.part.group}
                    new = Node(FUSED, inputs, attrs, (old.specs[j],), old.origin, old.device)
                    clone.made = new, 0
                else:
                    new = Node(old.op, inputs, old.attrs, old.specs, old.origin, old.device, old.value_attrs)
                    new.note = old.note
                    clone.made = new, j
                before.setdefault(clone.at, []).append(new)
                for k in range(len(new.specs)):
                    own = self._first((old, k if clone.part is None else j))
                    self.first[new, k] = own
                    self.again.setdefault(own, []).append((new, k))
            return clone.made

        # What is computed earlier goes first, since its views and readers follow it.
        for clone in sorted(self.clones, key=lambda c: c.at):
            build(clone)
        for value, begin, clone in moves:
            assert clone.made is not None
            for position in self.lives.of[value].readers:
                node = nodes[position]
                if position < begin:
                    continue
                for k, v in enumerate(node.inputs):
                    if self.lives.root(v) == value:
                        node.inputs[k] = seen(v, value, clone.made, clone.at)
        self.program.nodes = [n for i, node in enumerate(nodes) for n in (*before.get(i, ()), node)]
        self.program.remove_dead()
        self._store_less()

    def _store_less(self) -> None:
        """Let groups compute no more than what is read."""
        read = {v for n in self.program.nodes for v in n.inputs} | set(self.program.outputs())
        replaced: dict[Value, Value] = {}
        made: dict[Node, Node] = {}
        for node in self.program.nodes:
            kept = [j for j in range(len(node.specs)) if (node, j) in read]
            if node.op is not FUSED or len(kept) == len(node.specs) or not kept:
                continue
            group: Group = node.attrs["group"]
            kept.sort(key=lambda j: -group.results[j])  # the last instruction is the first output

            def leaf(operand: tuple[str, Any], node: Node = node, group: Group = group) -> Any:
                what = operand[1]
                return (node.inputs[what], group.maps[what]) if operand[0] == "in" else None

            part = _behind(group, [group.results[j] for j in kept], leaf)
            assert part is not None, "all of its inputs are there"
            specs = [node.specs[j] for j in kept]
            new = Node(FUSED, part.inputs, {"group": part.group}, specs, node.origin, node.device)
            made[node] = new
            for k, j in enumerate(kept):
                replaced[node, j] = new, k
                self.first[new, k] = self._first((node, j))
                self.again.setdefault(self._first((node, j)), []).append((new, k))
        if made:
            self.program.nodes = [made.get(n, n) for n in self.program.nodes]
            self.program.replace(replaced)


def _is_one_of_many(node: Node) -> bool:
    return node.op is FUSED and len(node.specs) > 1


def _behind(
    group: Group, results: list[int], leaf: Callable[[tuple[str, Any]], tuple[Value, Any] | None]
) -> _Part | None:
    """The instructions behind some of a group's, the last one first; None where an input is not there.

    `leaf` tells which value an operand is to be read from, and through which map.
    """
    steps: set[int] = set()
    reads: dict[tuple[Value, Any], int] = {}
    stack = list(results)
    while stack:
        i = stack.pop()
        if i in steps:
            continue
        steps.add(i)
        for operand in group.instructions[i].operands:
            read = leaf(operand)
            if read is not None:
                reads.setdefault(read, len(reads))
            elif operand[0] == "t":
                stack.append(operand[1])
            elif operand[0] == "in":
                return None
    order = {i: n for n, i in enumerate(sorted(steps))}

    def moved(operand: tuple[str, Any]) -> tuple[str, Any]:
        read = leaf(operand)
        if read is not None:
            return "in", reads[read]
        return ("t", order[operand[1]]) if operand[0] == "t" else operand

    taken = (group.instructions[n] for n in order)
    instructions = tuple(replace(i, operands=tuple(map(moved, i.operands))) for i in taken)
    names = [i.op for i in instructions]
    label = "+".join(names[:6]) + ("+..." if len(names) > 6 else "")
    extra = tuple(order[i] for i in results[1:])
    new = Group(instructions, tuple(m for _, m in reads), label, extra)
    return _Part(new, tuple(v for v, _ in reads))


def _work(node: Node) -> float:
    """Operations that a node takes, roughly."""
    sizes = [math.prod(s.dims) for s in (*node.input_specs, *node.specs)]
    if node.op is FUSED:
        return _group_work(node.attrs["group"], sizes[-1])
    if node.op is ROWS:
        instructions = node.attrs["group"].instructions
        return float(max(sizes) * sum(i.code.flops if isinstance(i.code, Expr) else 1 for i in instructions))
    if node.op is EPILOGUE:
        return _product_work(sizes) + _group_work(node.attrs["epilogue"].group, sizes[-1])
    descriptor = node.op.descriptor(node.input_specs, node.attrs)
    if isinstance(descriptor, Expr):
        return float(descriptor.flops * sizes[-1])
    if isinstance(descriptor, Kernel):
        return _product_work(sizes) if descriptor.family in _PRODUCTS else 20.0 * sum(sizes)
    if descriptor is None:
        return (100.0 if node.op.expand is None else 30.0) * sum(sizes)
    return float(sum(sizes))


def _product_work(sizes: list[int]) -> float:
    # Of (m, k) by (k, n) this is 2 m k n.
    return 2 * math.sqrt(float(sizes[0]) * float(sizes[1]) * float(sizes[-1]))


def _group_work(group: Group, size: int) -> float:
    return float(size * sum(i.expr.flops for i in group.instructions))
