"""Random programs before and after the pass that computes values again: every value has the same bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from compiler.programs import assert_same_bits
from compiler.run_plan import target

import graphrun as gr
from graphrun.compiler import ir
from graphrun.compiler.fusion import FUSED
from graphrun.compiler.pipeline import compile_plan
from graphrun.graph.descriptor import AffineMap, Spec
from graphrun.graph.opdef import get_op

SHAPE = (4, 5)


def _at(flat: Any, m: AffineMap | None) -> Any:
    """The elements that an input of a group stands for."""
    if m is None:
        return flat
    places = np.array(m.offset)
    for d, s in zip(m.dims, m.strides, strict=True):
        places = places[..., None] + np.arange(d) * s
    return flat[places.reshape(-1)]


def _group(node: ir.Node, inputs: list[Any]) -> list[Any]:
    """The results of a fused node, one instruction after the other."""
    group, count = node.attrs["group"], math.prod(node.specs[0].dims)
    read = [_at(np.asarray(v).reshape(-1), m) for v, m in zip(inputs, group.maps, strict=True)]
    values: list[Any] = []
    for i in group.instructions:
        operands = [
            read[what] if kind == "in" else values[what] if kind == "t" else what for kind, what in i.operands
        ]
        operands = [np.broadcast_to(v, (count,)) for v in operands]
        assert [v.dtype for v in operands] == [d.numpy for d in i.in_dtypes]
        values.append(np.asarray(get_op(i.op).numpy(*operands, **i.attrs), i.dtype.numpy).reshape(count))
    assert len(group.results) == len(node.specs)
    return [values[k].reshape(s.dims) for k, s in zip(group.results, node.specs, strict=True)]


def _evaluate(program: ir.Program, feeds: dict[Any, Any]) -> list[Any]:
    known = {(node, 0): feeds[tensor] for tensor, node in program.feeds}
    for node in program.nodes:
        if (node, 0) in known:
            continue
        inputs = [known[v] for v in node.inputs]
        if node.op is FUSED:
            results = _group(node, inputs)
        elif node.op is ir.CONST:
            results = [node.attrs["value"].array]
        elif node.op is ir.COPY:
            results = inputs
        else:
            made = node.op.numpy(*inputs, **node.attrs)
            results = list(made) if isinstance(made, tuple) else [made]
        known.update({(node, k): np.asarray(value) for k, value in enumerate(results)})
    return [known[v] for v in program.fetches if v]


def _program(seed: int) -> tuple[list[Any], dict[Any, Any]]:
    """Values of each other, some behind a reduction, and gradients of the last one."""
    rng = np.random.default_rng(seed)
    feeds = {
        gr.placeholder(gr.float32, shape): rng.standard_normal(shape).astype(np.float32)
        for shape in (SHAPE, SHAPE, SHAPE[1:], (SHAPE[0], 1))
    }
    pool = list(feeds)
    makers = [
        lambda a, b: gr.tanh(a), lambda a, b: gr.sigmoid(a) * b, lambda a, b: a + b, lambda a, b: a * b,
        lambda a, b: 1.0 - gr.tanh(a) * gr.tanh(a), lambda a, b: gr.maximum(a, b) * 0.5,
        lambda a, b: a * gr.reduce_max(gr.abs(a)), lambda a, b: gr.exp(-gr.abs(a)) - b,
        lambda a, b: gr.matmul(gr.matmul(a, b, transpose_b=True), a) if a.shape == b.shape == SHAPE else a,
        lambda a, b: gr.nn.relu(a) + gr.reduce_sum(b),
    ]  # fmt: skip
    for _ in range(16):
        a, b = (pool[-1 - min(int(rng.exponential(3)), len(pool) - 1)] for _ in range(2))
        pool.append(makers[int(rng.integers(len(makers)))](a, b))
    fetches = [pool[-1], pool[int(rng.integers(4, len(pool)))]]
    gradients = gr.gradients(gr.reduce_sum(gr.sin(pool[-1])), list(feeds))
    return [*fetches, *(g for g in gradients if g is not None)], feeds


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_every_value_has_the_same_bits(first: int) -> None:
    changed = 0
    for seed in range(first, first + 10):
        with gr.Graph().as_default(), np.errstate(all="ignore"):
            fetches, feeds = _program(seed)
            seen: dict[str, tuple[str, list[Any]]] = {}

            def observe(name: str, program: ir.Program, feeds: Any = feeds, seen: Any = seen) -> None:
                if name in ("fuse", "recompute"):
                    seen[name] = str(program), _evaluate(program, feeds)

            specs = [(t, Spec(v.shape, t.dtype)) for t, v in feeds.items()]
            compile_plan(fetches, specs, lambda op: op.outputs[0].spec, target("null"), None, observe, True)
            changed += seen["fuse"][0] != seen["recompute"][0]
            for before, after in zip(seen["fuse"][1], seen["recompute"][1], strict=True):
                assert_same_bits(after, before)
    assert changed > 0, "the pass had nothing to do"
