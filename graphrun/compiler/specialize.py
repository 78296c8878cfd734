"""Pass 3: make every shape concrete, for the fed shapes; shape arithmetic becomes constants on the way.

Attributes that arrived as tensors (a `reshape`'s shape, a slice's bounds) are taken from those constants.
Where such a value depends on data, or a result's own shape does, `NeedValues` tells what must be computed
before the rest can be planned.  The session runs that and compiles again: with values that decide shapes as
constants, with results whose shape is now known as feeds, so that the plan holds for all results of that
shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
from graphrun.compiler.state import ASSIGNED
from graphrun.errors import ShapeError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.opdef import get_op
from graphrun.shapes import format_shape, is_compatible, is_static

# Larger results are left to `fold`, which weighs memory against work.
SMALL_ELEMENTS = 64


Place = tuple[int, int]  # of a value: the number of its node after `purify`, and the output


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
    found = found or Found()
    index = {node: i for i, node in enumerate(program.nodes)}
    nodes: list[Node] = []
    replaced: dict[Value, Value] = {}
    place_of: dict[Value, Place] = {}  # of feeds that stand for a result
    for place, spec in found.results.items():
        node, i = program.nodes[place[0]], place[1]
        assert node.origin is not None, "what is computed stands for an operation of the user"
        _check_stated(node, i, spec)
        feed = Node(FEED, specs=(spec,), origin=node.origin)
        program.feeds.append((node.origin.outputs[i], feed))
        nodes.append(feed)
        replaced[(node, i)] = (feed, 0)
        place_of[(feed, 0)] = place
    for (number, i), array in found.values.items():
        node = program.nodes[number]
        constant = constant_node(array, node.origin)
        nodes.append(constant)
        replaced[(node, i)] = (constant, 0)
    values: dict[Place, Value] = {}
    results: dict[Place, Value] = {}
    unknown: set[Node] = set()

    for number, node in enumerate(program.nodes):
        if node.op is FEED or node.op is STATE or node.op is CONST:
            nodes.append(node)
            continue
        if replaced:
            if node.specs and all((node, i) in replaced for i in range(len(node.specs))):
                continue
            node.inputs = [replaced.get(v, v) for v in node.inputs]
        if any(n in unknown for n, _ in node.inputs):
            unknown.add(node)
            continue
        if node.op is ASSIGNED:
            node.op.check(node.name, node.site, node.input_specs, node.attrs)
            replaced[(node, 0)] = node.inputs[0]
            continue
        if node.op is ADVANCE:
            counter, drawn = node.inputs
            pure = get_op(node.origin.opdef.pure)  # type: ignore[union-attr, arg-type]
            count = pure.advance(drawn[0].specs[drawn[1]])  # type: ignore[misc]
            if count > np.iinfo(np.int64).max:
                raise ShapeError(
                    message("more random numbers than a stream has", where=node.name, site=node.site)
                )
            blocks = constant_node(np.int64(count), node.origin)
            new = Node(get_op("add"), [counter, (blocks, 0)], {}, node.specs, node.origin, node.device)
            nodes += [blocks, new]
            replaced[(node, 0)] = (new, 0)
            continue
        if node.value_attrs:
            missing = _take_values(node)
            if missing:
                values.update({place_of.get(v) or (index[v[0]], v[1]): v for v in missing})
                unknown.add(node)
                continue
        node.specs = tuple(node.op.check(node.name, node.site, node.input_specs, node.attrs))
        for i, spec in enumerate(node.specs):
            _check_stated(node, i, spec)
        folded = _fold_small(node)
        if folded is not None:
            nodes.append(folded)
            replaced[(node, 0)] = (folded, 0)
            continue
        nodes.append(node)
        if not all(is_static(s.shape) for s in node.specs):
            results.update({(number, i): (node, i) for i in range(len(node.specs))})
            unknown.add(node)
    if values or results:
        results = {place: v for place, v in results.items() if place not in values}
        fetches: list[Value | None] = [*values.values(), *results.values()]
        first = Program(nodes, program.feeds, fetches, {}, program.states)
        first.replace(replaced)
        first.remove_dead()
        raise NeedValues(list(values), list(results), first)
    program.nodes = nodes
    program.replace(replaced)
    program.remove_dead()
    return program


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
    if op.name in ("shape", "size", "rank"):
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
