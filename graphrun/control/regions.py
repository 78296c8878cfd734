"""Tracing Python functions into regions, and the operations that own them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphrun.graph.graph import Graph
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef
from graphrun.graph.region import Region


class Saved:
    """Tensors inside of the regions of an operation that are its last outputs, for gradients."""

    __slots__ = ("tensors",)

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def __repr__(self) -> str:
        return f"<{len(self.tensors)} values>"


def own(
    graph: Graph, opdef: OpDef, inputs: Sequence[Tensor], regions: dict[str, Region],
    attrs: dict[str, Any], name: str | None = None,
) -> Operation:  # fmt: skip
    """Make the operation of some regions: its inputs are `inputs`, then what the regions capture."""
    captures = dict.fromkeys(t for r in regions.values() for t in r.captures)
    waits = dict.fromkeys(c for r in regions.values() for c in r.waits)
    with graph.control_dependencies(list(waits)):
        all_attrs = {**regions, **attrs, "count": len(inputs), "saved": Saved()}
        op = graph.create_operation(opdef, [*inputs, *captures], all_attrs, name)
    return op


def saved_output(op: Operation, tensor: Tensor, shape: Any) -> Tensor:
    """The output of `op` that holds a tensor of one of its regions."""
    saved: list[Tensor] = op.attrs["saved"].tensors
    first = len(op.outputs) - len(saved)
    if tensor in saved:
        return op.outputs[first + saved.index(tensor)]
    new = Tensor(op, len(op.outputs), shape, tensor.dtype)
    op.outputs = (*op.outputs, new)
    saved.append(tensor)
    return new
