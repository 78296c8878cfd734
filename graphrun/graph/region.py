"""`Region`: operations of a graph that belong to a branch or to the body of a loop.

A region's operations stand in the same graph as all others, with the same names, scopes and collections.
They may read tensors of the regions around theirs, which are then *captured*: the operation that owns the
region takes them as inputs.  Nobody outside may read them but through what the region returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from graphrun.dtypes import DType
from graphrun.errors import GraphError, message
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import OpDef, no_gradient, register
from graphrun.shapes import Shape

if TYPE_CHECKING:
    from graphrun.graph.graph import Graph

Resolver = Callable[[Tensor], "Tensor | None"]

parameter_op = register(
    OpDef(
        "parameter",
        infer=lambda *, shape, dtype: (Spec(shape, dtype),),
        numpy=None,
        gradient=no_gradient,
        stateful=True,
    )
)


class Region:
    """A branch of a `cond`, or the body or condition of a loop.

    Parameters
    ----------
    graph : Graph
    kind : str
        For messages: ``"the body of a while_loop"``.
    resolve : function, optional
        Of a region that computes gradients: what stands for a tensor of the region that it differentiates.

    Attributes
    ----------
    params : list of Tensor
        Tensors that get a value whenever the region runs.
    outputs : list of Tensor
        What it returns; they may lie in regions around it.
    captures : list of Tensor
        Tensors of regions around it that it needs.
    waits : list of Operation
        Operations around it that its operations wait for.
    """

    __slots__ = ("graph", "kind", "parent", "params", "outputs", "captures", "waits", "resolve")

    def __init__(self, graph: Graph, kind: str, resolve: Resolver | None = None) -> None:
        self.graph = graph
        self.kind = kind
        self.parent: Region | None = graph.region
        self.params: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.captures: list[Tensor] = []
        self.waits: list[Operation] = []
        self.resolve = resolve

    @contextmanager
    def entered(self) -> Iterator[Region]:
        """Operations made in the block belong to the region."""
        with self.graph._set_scope("region", self), self.graph.control_dependencies(None):
            yield self

    def parameter(self, shape: Shape, dtype: DType, name: str | None = None) -> Tensor:
        """Add a parameter."""
        with self.entered():
            op = self.graph.create_operation(parameter_op, (), {"shape": shape, "dtype": dtype}, name)
        self.params.append(op.outputs[0])
        return op.outputs[0]

    def close(self, outputs: Sequence[Tensor]) -> None:
        """Say what it returns; find what it captures."""
        self.outputs = [self.graph.visible(t, self) for t in outputs]
        operations = self.operations(self.outputs)
        captures = dict.fromkeys(t for t in self.outputs if t.op.region is not self)
        captures.update(dict.fromkeys(t for op in operations for t in op.inputs if t.op.region is not self))
        self.captures = list(captures)
        waits = {c: None for op in operations for c in op.control_inputs if c.region is not self}
        self.waits = list(waits)

    def operations(self, outputs: Sequence[Tensor]) -> list[Operation]:
        """Its operations that `outputs` need, in the order in which they were made."""
        seen: set[Operation] = set()
        stack = [t.op for t in outputs]
        while stack:
            op = stack.pop()
            if op not in seen and op.region is self:
                seen.add(op)
                stack.extend(t.op for t in op.inputs)
                stack.extend(op.control_inputs)
        return sorted(seen, key=lambda op: op.id)

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def outside(region: Region | None, other: Region | None) -> bool:
    """Whether `region` is not `other`, and not around it."""
    while other is not None:
        if other is region:
            return False
        other = other.parent
    return region is not None


def resolved(tensor: Tensor, region: Region | None) -> Tensor:
    """What an operation of `region` reads where it asks for `tensor`.

    Raises
    ------
    GraphError
        If the tensor is inside of a branch or a loop that `region` is not part of.
    """
    owner = tensor.op.region
    if owner is None or not outside(owner, region):
        return tensor
    at = region
    while at is not None:
        if at.resolve is not None:
            found = at.resolve(tensor)
            if found is not None:
                # It may lie in a forward region itself, of which another gradient around this one knows.
                return resolved(found, region)
        at = at.parent
    raise inside(f"'{tensor.name}'", owner, tensor.op)


def inside(what: str, region: Any, op: Operation) -> GraphError:
    """The error of using something of a region outside of it."""
    return GraphError(
        message(
            f"{what} is made in {region.kind} and used outside of it",
            where=op.label,
            site=op.site,
            expected=f"what {region.kind} returns",
            fix="return it from the function, and use what the branch or the loop gives back",
        )
    )
