"""Pass: join elementwise nodes on the host that are large, so that they run block by block through the cache.

NumPy computes one operation after the other, and a value that is larger than the cache goes to memory and
back between them.  A group takes a block of a few thousand elements through all of its operations before the
next one, on all cores (see ``runtime/block_runner.py``).  Each operation is NumPy's own, so results are the
same as without groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphrun.compiler.ir import Node, Program, Value, constant_array, no_rule
from graphrun.compiler.regions import Region, Regions, put_in
from graphrun.device_names import NUMPY
from graphrun.graph.descriptor import Expr, Spec
from graphrun.graph.opdef import OpDef
from graphrun.shapes import num_elements

# Values of fewer elements fit into the cache as they are.
MIN_ELEMENTS = 1 << 16
MAX_INPUTS = 32
MAX_MEMBERS = 64


@dataclass(frozen=True)
class Call:
    """One operation: operands are ``("in", k)``, ``("t", j)`` for an earlier call, ``("lit", array)``."""

    function: Callable[..., Any]
    attrs: Mapping[str, Any]
    operands: tuple[tuple[str, Any], ...]
    spec: Spec


@dataclass(frozen=True)
class BlockGroup:
    """Calls in order; `results` are those whose values are outputs, the last call's first."""

    calls: tuple[Call, ...]
    results: tuple[int, ...]
    label: str

    def __str__(self) -> str:
        return self.label

    @property
    def shape(self) -> tuple[int, ...]:
        return self.calls[-1].spec.dims


BLOCKS = OpDef("blocks", no_rule, None)


def blocks(program: Program) -> Program:
    """Run the pass."""
    large = [node for node in program.nodes if _is_large(node)]
    if len(large) < 2:
        return program
    regions = Regions(program, MAX_INPUTS, MAX_MEMBERS)
    chosen = set(large)
    for node in program.nodes:
        regions.visit(node)
        if node in chosen and isinstance(node.op.descriptor(node.input_specs, node.attrs), Expr):
            _consider(node, regions)
        regions.left(node)
    put_in(program, [(r, *_build(r, regions)) for r in regions.all if len(r.nodes) > 1])
    return program


def _is_large(node: Node) -> bool:
    if node.device != NUMPY or len(node.specs) != 1 or node.op.numpy is None or node.op.stateful:
        return False
    spec = node.specs[0]
    if spec.dtype.is_string or (num_elements(spec.shape) or 0) < MIN_ELEMENTS:
        return False
    # Others lead smaller operands in a way of their own, as `bias_add` does.
    same = all(s.shape == spec.shape for s in node.input_specs)
    return bool(node.inputs) and (same or node.op.broadcasts)


def _consider(node: Node, regions: Regions) -> None:
    layout = node.specs[0].dims
    joined: Region | None = None
    for value in node.inputs:
        region = regions.of.get(value[0])
        if region is None or region is joined or region.layout != layout:
            continue
        if joined is None:
            if regions.fits(node, region):
                regions.join(node, region)
                joined = region
        else:
            regions.merge(joined, region)
    if joined is None:
        regions.new(node, layout)


def _build(region: Region, regions: Regions) -> tuple[Node, list[Value]]:
    nodes = region.nodes = sorted(region.nodes, key=regions.place.__getitem__)
    index = {n: i for i, n in enumerate(nodes)}
    inputs: list[Value] = []
    calls = []

    def operand(value: Value) -> tuple[str, Any]:
        if value[0] in index:
            return "t", index[value[0]]
        array = constant_array(value)
        if array is not None and array.size == 1:
            return "lit", np.asarray(array).reshape(())
        if value not in inputs:
            inputs.append(value)
        return "in", inputs.index(value)

    for node in nodes:
        assert node.op.numpy is not None, "it was asked for"
        calls.append(Call(node.op.numpy, node.attrs, tuple(operand(v) for v in node.inputs), node.specs[0]))
    members = set(nodes)
    last = nodes[-1]
    read = {v for n in regions.place if n not in members for v in n.inputs} if len(nodes) > 1 else set()
    stored = [n for n in nodes[:-1] if (n, 0) in regions.outputs or (n, 0) in read]
    label = "+".join(n.op.name for n in nodes[:6]) + ("+..." if len(nodes) > 6 else "")
    group = BlockGroup(tuple(calls), tuple(index[n] for n in (last, *stored)), label)
    specs = [n.specs[0] for n in (last, *stored)]
    joined = Node(BLOCKS, inputs, {"group": group}, specs, last.origin, NUMPY)
    return joined, [(n, 0) for n in (last, *stored)]
