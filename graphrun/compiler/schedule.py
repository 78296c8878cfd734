"""The order of steps.

What only becomes a state's new value runs last, on devices after everything on the host, so that a run that
fails has changed no variable, and so that an update may be written over the old value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from graphrun.compiler.ir import CONST, COPY, FEED, STATE, Node, Program
from graphrun.compiler.steps import CopyStep, Place, Step
from graphrun.device_names import runs_kernels
from graphrun.graph.traverse import topological_order

PURE_INPUTS = (CONST, FEED, STATE)


def may_fail(node: Node) -> bool:
    """Whether a node is a host step, whose function may raise."""
    return node.op not in (*PURE_INPUTS, COPY) and not runs_kernels(node.device)


def schedule(program: Program) -> list[Node]:
    """The order in which nodes run: as they stand, with nodes that only make updates last.

    By then everything that may raise has run, and everything that reads the old value, so that the new one
    can be written in its place.
    """
    used = {n for node in program.nodes for n, _ in node.inputs}
    updated = {n for n, _ in program.updates.values()}

    def rank(node: Node) -> int:
        if node in used or node.op in PURE_INPUTS or node.op.effect:
            return 0
        if not runs_kernels(node.device):
            return 1
        return 3 if node in updated else 2

    return topological_order(program.nodes, lambda node: [n for n, _ in node.inputs], rank)


def without_conflicts(copies: list[CopyStep], save: Callable[[Place, str], Place]) -> list[Step]:
    """Order the final copies so that none reads a state that another has already overwritten.

    ``swap(a, b)`` assigns each variable the other's value: a source that is also a target is saved first, in
    the place that `save` gives for it on a device.
    """
    targets = {c.target.buffer for c in copies}
    steps: list[Step] = []
    rest: list[CopyStep] = []
    for c in copies:
        if c.source.buffer in targets and c.source.buffer != c.target.buffer:
            saved = save(c.source, c.device)
            steps.append(CopyStep(c.device, c.source, saved, c.origin))
            rest.append(replace(c, source=saved))
        else:
            rest.append(c)
    return steps + rest
