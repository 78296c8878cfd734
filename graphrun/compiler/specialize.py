"""Pass 3: make every shape concrete, for the fed shapes; shape arithmetic becomes constants on the way.

Attributes that arrived as tensors (a `reshape`'s shape, a slice's bounds) are taken from those constants.
Where such a value depends on data, or a result's own shape does, `NeedValues` tells what must be computed
before the rest can be planned.  The session runs that and compiles again: with values that decide shapes as
constants, with results whose shape is now known as feeds, so that the plan holds for all results of that
shape.

A `cond` is replaced by the branch that is taken: its predicate is such a value too.  A loop whose number of
iterations is known, and small, is unrolled; the others become one node that the runtime repeats
(`loops.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphrun.compiler.control import CONTROL
from graphrun.compiler.fold import evaluate
from graphrun.compiler.ir import (
    ADVANCE,
    CONST,
    FEED,
    STATE,
    Node,
    Program,
    Value,
    constant_array,
    constant_node,
)
from graphrun.compiler.loops import control, has_effect
from graphrun.compiler.rowvalues import KnownRows
from graphrun.compiler.state import ASSIGNED
from graphrun.errors import ShapeError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation
from graphrun.graph.opdef import get_op
from graphrun.shapes import format_shape, is_compatible, is_static

# What is known from the shape of the input alone.
_OF_SHAPES = ("shape", "size", "rank")
# Larger results are left to `fold`, which weighs memory against work.
SMALL_ELEMENTS = 64


# Of a value: where its node stands after `purify`, and the output.  Within branches and loops that is a path:
# the place of the operation, which branch or iteration, and the place in there.
Place = tuple[Any, int]


class NeedValues(Exception):
    """What must be computed first, and the program that computes it: first the values, then the results.

    Parameters
    ----------
    values : list of Place
        Values that decide shapes.
    results : list of Place
        Results whose shape depends on data.
    program : Program

    Places hold for the next compilation of the same fetches too.
    """

    def __init__(self, values: list[Place], results: list[Place], program: Program) -> None:
        super().__init__(f"{len(values)} values and {len(results)} results decide shapes")
        self.values = values
        self.results = results
        self.program = program


@dataclass(frozen=True)
class Found:
    """What earlier stages have computed: the values themselves, and of results the shapes."""

    values: Mapping[Place, np.ndarray] = field(default_factory=dict)
    results: Mapping[Place, Spec] = field(default_factory=dict)

    def and_more(self, values: Mapping[Place, np.ndarray], results: Mapping[Place, Spec]) -> Found:
        return Found({**self.values, **values}, {**self.results, **results})


def specialize(program: Program, found: Found | None = None) -> Program:
    """Run the pass; the results in `found` become feeds behind the program's own, in their order."""
    return Specializer(program, found or Found()).run()


class Specializer:
    """Takes a program's nodes one after the other; what it has made of them is in `nodes`."""

    def __init__(self, program: Program, found: Found) -> None:
        self.program = program
        self.found = found
        self.nodes: list[Node] = []
        self.replaced: dict[Value, Value] = {}
        self.place_of: dict[Value, Place] = {}
        self.values: dict[Place, Value] = {}
        self.results: dict[Place, Value] = {}
        self.unknown: set[Node] = set()
        self.rows = KnownRows(self)
        self._fed: dict[Place, Node] = {}
        self._at: tuple[Program, Node] | None = None

    def run(self) -> Program:
        program = self.program
        for place, spec in self.found.results.items():
            feed = self._fed[place] = Node(FEED, specs=(spec,))
            self.place_of[(feed, 0)] = place
            self.nodes.append(feed)
        for number, node in enumerate(program.nodes):
            self._at = (program, node)
            self.process(node, number)
        for place, feed in self._fed.items():
            tensors = () if feed.origin is None else feed.origin.outputs
            tensor = tensors[place[1]] if place[1] < len(tensors) else None
            program.feeds.append((tensor, feed))  # type: ignore[arg-type]
        for v in program.outputs():
            self.output(v)
        if self.values or self.results:
            results = {place: v for place, v in self.results.items() if place not in self.values}
            fetches: list[Value | None] = [self.output(v) for v in (*self.values.values(), *results.values())]
            first = Program(self.nodes, program.feeds, fetches, {}, program.states)
            first.replace(self.replaced)
            first.remove_dead()
            self._keep_effects(first, results)
            raise NeedValues(list(self.values), list(results), first)
        program.nodes = self.nodes
        program.replace(self.replaced)
        program.remove_dead()
        return program

    def _keep_effects(self, first: Program, results: dict[Place, Value]) -> None:
        """Let the first program give all results of what has an effect, so that it is not run again."""
        for node in first.nodes:
            if has_effect(node):
                keys = (self.place_of.get((node, i)) for i in range(len(node.specs)))
                key = next(place[0] for place in keys if place is not None)
                for i in range(len(node.specs)):
                    if (key, i) not in results:
                        results[(key, i)] = (node, i)
                        first.fetches.append((node, i))

    # -- values -------------------------------------------------------------------------------

    def now(self, value: Value) -> Value:
        """What stands for a value by now."""
        while value in self.replaced:
            value = self.replaced[value]
        return value

    def output(self, value: Value) -> Value:
        """The same, as something that the program computes."""
        value = self.now(value)
        if value[0] in self.unknown:
            return value
        made = self.rows.computed(value)
        if made != value:
            self.replaced[value] = made
            if value in self.place_of:
                self.place_of.setdefault(made, self.place_of[value])
        return made

    def constant(self, array: Any, origin: Operation | None = None) -> Value:
        """A new node for a known array."""
        node = constant_node(array, origin)
        self.nodes.append(node)
        return node, 0

    def build(self, name: str, inputs: Sequence[Value], attrs: dict[str, Any], like: Node) -> Value:
        """A new node; `like` says which operation of the user it stands for."""
        node = Node(get_op(name), [self.output(v) for v in inputs], attrs, (), like.origin, like.device)
        node.specs = tuple(node.op.check(like.name, like.site, node.input_specs, attrs))
        folded = _fold_small(node)
        self.nodes.append(folded or node)
        return folded or node, 0

    def spec(self, value: Value) -> Spec:
        return value[0].specs[value[1]]

    # -- nodes --------------------------------------------------------------------------------

    def process(self, node: Node, key: Any) -> None:
        """Take one node, whose inputs have been taken."""
        self._take(node, key)
        for i in range(len(node.specs)):
            self.place_of.setdefault(self.now((node, i)), (key, i))

    def _take(self, node: Node, key: Any) -> None:
        if node.op is FEED or node.op is STATE or node.op is CONST:
            self.nodes.append(node)
            self._is_found(node, key)  # what is fed may decide which branch is taken
            return
        if self._is_found(node, key):
            return
        node.inputs = [self.now(v) for v in node.inputs]
        if any(n in self.unknown for n, _ in node.inputs):
            self.unknown.add(node)
            return
        if node.op.name in CONTROL:
            control(self, node, key)
            return
        if self.rows.take(node):
            return
        if node.op.name not in _OF_SHAPES:
            node.inputs = [self.output(v) for v in node.inputs]
        if node.op is ASSIGNED:
            node.op.check(node.name, node.site, node.input_specs, node.attrs)
            self.replaced[(node, 0)] = node.inputs[0]
            return
        if node.op is ADVANCE:
            self._advance(node)
            return
        if node.value_attrs:
            missing = _take_values(node)
            if missing:
                self.need(missing, node)
                return
        node.specs = tuple(node.op.check(node.name, node.site, node.input_specs, node.attrs))
        for i, spec in enumerate(node.specs):
            _check_stated(node, i, spec)
        if node.op.name == "identity_n":
            self.replaced.update({(node, i): v for i, v in enumerate(node.inputs)})
            return
        folded = _fold_small(node)
        if folded is not None:
            self.nodes.append(folded)
            self.replaced[(node, 0)] = (folded, 0)
            return
        self.add(node, key)

    def add(self, node: Node, key: Any) -> None:
        """Add a node; where its shape is not known, it must be computed before what follows is planned."""
        self.nodes.append(node)
        if not all(is_static(s.shape) for s in node.specs):
            self.results.update({(key, i): (node, i) for i in range(len(node.specs))})
            self.unknown.add(node)

    def need(self, missing: Sequence[Value], node: Node) -> None:
        """Values must be known before `node` can be taken."""
        # A scratch program may read what has no place in it; nothing is asked of those.
        self.values.update({self.place_of.get(v, ((), v[1])): v for v in missing})
        self.unknown.add(node)

    def _is_found(self, node: Node, key: Any) -> bool:
        """Whether all that it computes has been computed by an earlier stage."""
        if not self.found.values and not self._fed:
            return False
        for i in range(len(node.specs)):
            array = self.found.values.get((key, i))
            feed = self._fed.get((key, i))
            if array is not None:
                self.replaced[(node, i)] = self.constant(array, node.origin)
            elif feed is not None:
                _check_stated(node, i, feed.specs[0])
                feed.origin = node.origin
                self.replaced[(node, i)] = (feed, 0)
        return bool(node.specs) and all((node, i) in self.replaced for i in range(len(node.specs)))

    def _advance(self, node: Node) -> None:
        counter, drawn = node.inputs
        pure = get_op(node.origin.opdef.pure)  # type: ignore[union-attr, arg-type]
        count = pure.advance(self.spec(drawn))  # type: ignore[misc]
        if count > np.iinfo(np.int64).max:
            raise ShapeError(
                message("more random numbers than a stream has", where=node.name, site=node.site)
            )
        blocks = self.constant(np.int64(count), node.origin)
        new = Node(get_op("add"), [counter, blocks], {}, node.specs, node.origin, node.device)
        self.nodes.append(new)
        self.replaced[(node, 0)] = (new, 0)

    # -- trying ---------------------------------------------------------------------------------

    def scratch(self) -> Specializer:
        """Another one, to see what would become of some nodes."""
        return Specializer(Program(), Found())

    def mark(self) -> Any:
        """The state to go `back_to`."""
        counts = len(self.nodes), len(self.program.kept)
        return *counts, dict(self.replaced), dict(self.values), dict(self.results), self.rows.mark()

    def back_to(self, mark: Any) -> None:
        """Forget what has been done since."""
        nodes, kept, self.replaced, self.values, self.results, rows = mark
        del self.nodes[nodes:], self.program.kept[kept:]
        self.rows.back_to(rows)

    def asked(self, outputs: int) -> list[bool]:
        """Which outputs of the node at hand anything in its program reads."""
        assert self._at is not None
        program, node = self._at
        if program.read is None:
            program.read = {v for n in program.nodes for v in n.inputs} | set(program.outputs())
        return [(node, i) in program.read for i in range(outputs)]

    # -- programs of regions ------------------------------------------------------------------

    def inline(self, program: Program, inputs: Sequence[Value], key: Any) -> list[Value]:
        """Take a copy of a program's nodes, with `inputs` for its feeds; return its fetches.

        Some of them may be of `unknown` nodes afterwards.
        """
        new: dict[Value, Value] = {}
        for (_, feed), value in zip(program.feeds, inputs, strict=True):
            new[(feed, 0)] = value
        for number, node in enumerate(program.nodes):
            if node.op is FEED:
                continue
            copy = Node(
                node.op, [new[v] for v in node.inputs], node.attrs, node.specs, node.origin, node.device,
                node.value_attrs,
            )  # fmt: skip
            self._at = (program, node)
            self.process(copy, (key, number))
            for i in range(len(copy.specs)):
                new[(node, i)] = self.now((copy, i))
        self.program.kept += [new[v] for v in program.kept]
        return [new[v] for v in program.fetches if v is not None]


def _check_stated(node: Node, index: int, spec: Spec) -> None:
    """What the user stated by `set_shape` must be true of the shape that an output has."""
    op = node.origin
    if op is None or not op.graph.stated_shapes or node.op.name not in (op.opdef.name, op.opdef.pure):
        return
    stated = op.graph.stated_shapes.get(op.outputs[index])
    if stated is not None and not is_compatible(spec.shape, stated):
        raise ShapeError(
            message(
                f"its shape is {format_shape(spec.shape)} in this run, and set_shape stated"
                f" {format_shape(stated)}",
                where=op.label,
                site=op.site,
                fix="state None for a dimension that varies",
            )
        )


def _take_values(node: Node) -> list[Value]:
    """Turn value inputs into attributes; return those whose value is not known."""
    count = len(node.inputs) - len(node.value_attrs)
    attrs: dict[str, Any] = dict(node.attrs)
    missing = []
    for name, value in zip(node.value_attrs, node.inputs[count:], strict=True):
        array = constant_array(value)
        if array is None:
            missing.append(value)
        else:
            attrs[name] = _frozen(array)
    if not missing:
        node.attrs = attrs
        node.inputs = node.inputs[:count]
        node.value_attrs = ()
    return missing


def _frozen(array: np.ndarray) -> Any:
    def freeze(x: Any) -> Any:
        return tuple(freeze(v) for v in x) if isinstance(x, list) else x

    return freeze(array.tolist())


def _fold_small(node: Node) -> Node | None:
    op = node.op
    if len(node.specs) != 1 or op.stateful or op.numpy is None:
        return None
    spec = node.specs[0]
    if not is_static(spec.shape):
        return None
    if op.name in _OF_SHAPES:
        # Only the input's shape matters, and that is known.
        x = node.input_specs[0]
        stand_in = np.broadcast_to(np.zeros((), x.dtype.numpy), x.shape)  # type: ignore[arg-type]
        return constant_node(np.asarray(op.numpy(stand_in, **node.attrs), spec.dtype.numpy), node.origin)
    size = 1
    for d in spec.shape:  # type: ignore[union-attr]
        size *= d  # type: ignore[operator]
    if size > SMALL_ELEMENTS or any(n.op is not CONST for n, _ in node.inputs):
        return None
    return evaluate(node)
