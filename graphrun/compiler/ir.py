"""The compiler's own form of a graph: `Program`, a list of `Node` in topological order.

It is apart from `Graph`, which users hold: a program's shapes are concrete, it may be rewritten in place,
and it is pure.  What a variable was before the run comes in as a ``state`` node, what it becomes goes out
in `Program.updates`; so passes need not know about order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphrun.dtypes import as_dtype
from graphrun.graph.apply import constant_op
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import Constant, OpDef
from graphrun.graph.traverse import topological_order
from graphrun.shapes import format_shape


def no_rule(*specs: Spec, **attrs: Any) -> Sequence[Spec]:
    """Stand in for the shape rule of operations that passes make, with their specs."""
    raise AssertionError("operations of the compiler have no shape rule")


# Operations that exist in programs alone.
FEED = OpDef("feed", no_rule, None)
# Attribute of a feed: the device whose memory holds what is fed.
RESIDENT = "resident"
STATE = OpDef("state", no_rule, None)
ADVANCE = OpDef("advance_counter", no_rule, None)
COPY = OpDef("copy", no_rule, None)
CONST = constant_op


@dataclass(frozen=True)
class StateKey:
    """What a session keeps between runs: a variable, or the counter of a random stream."""

    op: Operation
    kind: str = "variable"  # or "counter"

    @property
    def label(self) -> str:
        return self.op.name if self.kind == "variable" else f"{self.op.name} (random counter)"

    def __str__(self) -> str:
        return self.label


class Node:
    """One computation of a program.

    Attributes
    ----------
    inputs : list of Value
        Pairs of a node and the index of its output.
    specs : tuple of Spec
        One an output; concrete once `specialize` has run.
    device : str
        Canonical device name; empty before placement.
    origin : Operation or None
        The user's operation that it stands for, for messages.
    """

    __slots__ = ("op", "inputs", "attrs", "specs", "device", "origin", "value_attrs", "note")

    def __init__(
        self,
        op: OpDef,
        inputs: Iterable[Value] = (),
        attrs: Mapping[str, Any] | None = None,
        specs: Sequence[Spec] = (),
        origin: Operation | None = None,
        device: str = "",
        value_attrs: tuple[str, ...] = (),
    ) -> None:
        self.op = op
        self.inputs: list[Value] = list(inputs)
        self.attrs: Mapping[str, Any] = {} if attrs is None else attrs
        self.specs = tuple(specs)
        self.origin = origin
        self.device = device
        self.value_attrs = value_attrs
        self.note = ""

    @property
    def name(self) -> str:
        return self.origin.name if self.origin is not None else self.op.name

    @property
    def site(self) -> tuple[str, int] | None:
        return self.origin.site if self.origin is not None else None

    @property
    def input_specs(self) -> list[Spec]:
        return [n.specs[i] for n, i in self.inputs]

    def __repr__(self) -> str:
        return f"<Node {self.op.name} '{self.name}'>"


Value = tuple[Node, int]


def attrs_key(attrs: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Attributes as a key for equal computations: 0.0 and -0.0 differ here, and so do 1, 1.0 and True."""
    return frozenset((k, _exact(v)) for k, v in attrs.items())


def _exact(value: Any) -> Any:
    kind = type(value)
    if kind is float or kind is bool:
        return kind, repr(value) if value == 0 else value
    if kind is tuple and not all(type(v) is int for v in value):
        return tuple([_exact(v) for v in value])
    return value


def constant_node(array: Any, origin: Operation | None = None) -> Node:
    """A node for a known array."""
    array = np.asarray(array)
    dtype = as_dtype(array.dtype)
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C")
    spec = Spec(array.shape, dtype)
    return Node(CONST, (), {"value": Constant(array), "dtype": dtype}, (spec,), origin)


def constant_array(value: Value) -> np.ndarray | None:
    """The array of a constant, else None."""
    node = value[0]
    return node.attrs["value"].array if node.op is CONST else None


@dataclass
class Program:
    """What one run computes.

    Attributes
    ----------
    nodes : list of Node
        In topological order.
    feeds : list of (Tensor, Node)
        The fed tensors, in the order of the feed list.
    fetches : list of Value or None
        None for a fetched operation, which has no value.
    kept : list of Value
        Outputs of fetched operations: they are computed, and nobody gets them.
    updates : dict of StateKey to Value
        What the run leaves in each state that it writes.
    states : dict of StateKey to Node
        The states that it reads.
    """

    nodes: list[Node] = field(default_factory=list)
    feeds: list[tuple[Tensor, Node]] = field(default_factory=list)
    fetches: list[Value | None] = field(default_factory=list)
    updates: dict[StateKey, Value] = field(default_factory=dict)
    states: dict[StateKey, Node] = field(default_factory=dict)
    kept: list[Value] = field(default_factory=list)
    # What anything reads, once `specialize` has asked.
    read: set[Value] | None = field(default=None, repr=False)

    def outputs(self) -> list[Value]:
        """Every value that must be computed."""
        fetched = [v for v in self.fetches if v is not None]
        return fetched + list(self.updates.values()) + self.kept

    def replace(self, replacements: Mapping[Value, Value]) -> None:
        """Let every reader of a key read its replacement; chains of replacements are followed."""
        if not replacements:
            return

        def last(v: Value) -> Value:
            while v in replacements:
                v = replacements[v]
            return v

        for node in self.nodes:
            if any(v in replacements for v in node.inputs):
                node.inputs = [last(v) for v in node.inputs]
        self.fetches = [None if v is None else last(v) for v in self.fetches]
        self.updates = {k: last(v) for k, v in self.updates.items()}
        self.kept = [last(v) for v in self.kept]

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value, in order, a node once for each use."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for v in node.inputs:
                found.setdefault(v, []).append(node)
        return found

    def put_in(self, made: list[Node], replaced: dict[Value, Value]) -> None:
        """Add nodes, let others read them as `replaced` says, and put everything in order."""
        if replaced:
            self.nodes += made
            self.replace(replaced)
            self.remove_dead()
            self.nodes = topological_order(self.nodes, lambda n: [p for p, _ in n.inputs])

    def remove_dead(self) -> None:
        """Drop nodes that no output needs; feeds stay, since they are checked and bound."""
        live: set[Node] = {n for _, n in self.feeds}
        stack = list({node for node, _ in self.outputs()} - live)
        live.update(stack)
        while stack:
            for node, _ in stack.pop().inputs:
                if node not in live:
                    live.add(node)
                    stack.append(node)
        self.nodes = [n for n in self.nodes if n in live]
        self.states = {k: n for k, n in self.states.items() if n in live}

    def __str__(self) -> str:
        """One line a node: ``%3 = matmul(%1, %2) transpose_b=True : (32, 10) float32  cpu:0  # 'y'``."""
        number: dict[Node, int] = {}
        lines = []

        def show(v: Value) -> str:
            text = f"%{number.get(v[0], '?')}"
            return text if len(v[0].specs) == 1 else f"{text}.{v[1]}"

        for node in self.nodes:
            number[node] = len(number)
            args = ", ".join(show(v) for v in node.inputs)
            attrs = "".join(f" {k}={_short(v)}" for k, v in node.attrs.items())
            specs = ", ".join(f"{format_shape(s.shape)} {s.dtype}" for s in node.specs)
            device = f"  {node.device}" if node.device else ""
            origin = f"  # '{node.name}'" if node.origin is not None else ""
            lines.append(f"%{number[node]} = {node.op.name}({args}){attrs} : {specs}{device}{origin}")
        for v in self.fetches:
            lines.append(f"fetch {show(v)}" if v is not None else "fetch -")
        lines += [f"update '{k.label}' <- {show(v)}" for k, v in self.updates.items()]
        return "\n".join(lines)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
