"""Programs for tests of passes: made from fetches, as far as a pass needs them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphrun.compiler.ir import Node, Program, constant_node
from graphrun.compiler.prune import prune
from graphrun.compiler.specialize import specialize
from graphrun.compiler.state import purify
from graphrun.compiler.verify import verify
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.graph.opdef import get_op


def element(item: Any) -> Tensor | Operation:
    return item._as_graph_element() if hasattr(item, "_as_graph_element") else item


def pruned(fetches: Sequence[Any], feeds: Mapping[Any, Any] | None = None) -> Any:
    """After `prune`, with the fed shapes; and the node of each operation."""
    tensors = [element(k) for k in feeds or {}]
    program, node_of = prune([element(f) for f in fetches], tensors)
    for (t, node), shape in zip(program.feeds, (feeds or {}).values(), strict=True):
        node.specs = (Spec(tuple(shape), t.dtype),)
    verify(program, "prune", concrete=False)
    return program, node_of


def purified(fetches: Sequence[Any], feeds: Mapping[Any, Any] | None = None) -> Program:
    """After `purify`."""
    program, node_of = pruned(fetches, feeds)
    program = purify(program, node_of, lambda op: op.outputs[0].spec)
    verify(program, "purify", concrete=False)
    return program


def specialized(fetches: Sequence[Any], feeds: Mapping[Any, Any] | None = None) -> Program:
    """After `specialize`: what `fold`, `cse`, `simplify` and `place` take.  Feeds are given as shapes."""
    program = specialize(purified(fetches, feeds))
    verify(program, "specialize")
    return program


def text(expected: str) -> str:
    """An indented literal as `str(program)` has it."""
    return inspect.cleandoc(expected)


def names(program: Program) -> list[str]:
    """The operations of a program, in order."""
    return [n.op.name for n in program.nodes]


def single(name: str, arrays: Sequence[Any], attrs: Mapping[str, Any]) -> Program:
    """A program of one operation on constants."""
    nodes = [constant_node(a) for a in arrays]
    node = Node(get_op(name), [(n, 0) for n in nodes], dict(attrs))
    node.specs = tuple(node.op.check(name, None, node.input_specs, attrs))
    return Program([*nodes, node], fetches=[(node, 0)])


def values_of(program: Program, feeds: Sequence[Any] = ()) -> list[Any]:
    """What a program without states computes on NumPy, before it is placed."""
    known: dict[Any, Any] = {(n, 0): a for (_, n), a in zip(program.feeds, feeds, strict=True)}
    with np.errstate(all="ignore"):
        for node in program.nodes:
            if (node, 0) in known:
                continue
            results = node.op.numpy(*[known[v] for v in node.inputs], **node.attrs)
            if len(node.specs) == 1:
                results = (results,)
            for i, (array, spec) in enumerate(zip(results, node.specs, strict=True)):
                known[node, i] = np.asarray(array)
                assert (known[node, i].shape, known[node, i].dtype) == (spec.shape, spec.dtype.numpy)
    return [None if v is None else known[v] for v in program.fetches]


def assert_same_bits(actual: Any, expected: Any, label: str = "") -> None:
    """Equal in every bit, but that one NaN is as good as another."""
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), label
    np.testing.assert_array_equal(actual, expected, label)
    if expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number], label)
