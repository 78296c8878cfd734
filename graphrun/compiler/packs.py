"""Which operands are read often enough to be rearranged first, and which stay from run to run.

A kernel may want an operand in another order (`Pack`).  One such copy serves all that want the same of one
value: the weight of a recurrent network is copied once and read in each step of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphrun.compiler.epilogue import kernel_of
from graphrun.compiler.ir import CONST, STATE, Node, Program, Value, attrs_key
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import READERS_FOREVER, Kernel


def lasting(node: Node, program: Program) -> Any:
    """What has to stay for the value of `node` to stay from run to run, or None: see `LaunchStep.once`."""
    if node.op is CONST:
        return "constant"
    if node.op is STATE and node.attrs["key"] not in program.updates:
        return node.attrs["key"]
    return None


def count_readers(program: Program, root: Callable[[Value], Value]) -> dict[Node, tuple[int, ...]]:
    """For each node whose kernels take packs: how many nodes like it read each of its inputs.

    Nodes are alike that read the value in the same place, with the same attributes and as the same shape:
    they are likely to want the same copy.
    """
    keys: dict[Node, list[Any]] = {}
    counts: dict[Any, int] = {}
    for node in program.nodes:
        op, given = kernel_of(node)
        if not runs_kernels(node.device) or op.opencl is None:
            continue
        specs = node.input_specs if op is node.op else node.input_specs[: node.attrs["epilogue"].count]
        descriptor = op.descriptor(specs, given)
        if not (isinstance(descriptor, Kernel) and descriptor.packs):
            continue
        attrs = attrs_key(given)
        keys[node] = [
            (root(v), node.device, op.name, k, attrs, s)
            for k, (v, s) in enumerate(zip(node.inputs, specs, strict=False))
        ]
        for key in keys[node]:
            counts[key] = counts.get(key, 0) + 1
    return {
        node: tuple(
            READERS_FOREVER if lasting(key[0][0], program) is not None else counts[key] for key in wanted
        )
        for node, wanted in keys.items()
    }
