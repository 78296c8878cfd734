"""The ordered list of passes, from fetches to a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.collector import collector_paused
from graphrun.compiler.blocks import blocks
from graphrun.compiler.cse import cse
from graphrun.compiler.epilogue import epilogues
from graphrun.compiler.fold import fold
from graphrun.compiler.fusion import fuse
from graphrun.compiler.ir import RESIDENT, Program
from graphrun.compiler.limit import within_limit
from graphrun.compiler.lower import lower
from graphrun.compiler.placement import Target, place
from graphrun.compiler.plan import Plan
from graphrun.compiler.pools import pools
from graphrun.compiler.products import products
from graphrun.compiler.prune import prune
from graphrun.compiler.readthrough import read_through
from graphrun.compiler.recompute import recompute
from graphrun.compiler.rows import rows
from graphrun.compiler.simplify import simplify
from graphrun.compiler.specialize import Found, NeedValues, Place, specialize
from graphrun.compiler.state import StateSpecs, purify
from graphrun.compiler.sums import sums
from graphrun.compiler.verify import verify
from graphrun.device_names import runs_kernels
from graphrun.graph.descriptor import Spec
from graphrun.graph.node import Operation, Tensor

Observer = Callable[[str, Program], None]


class Split(Exception):
    """A shape depends on data: run `plan`, and compile again with what it fetches (see `NeedValues`)."""

    def __init__(self, plan: Plan, values: list[Place], results: list[Place]) -> None:
        super().__init__(f"{len(values)} values and {len(results)} results decide shapes")
        self.plan = plan
        self.values = values
        self.results = results


def compile_plan(*args: Any, **options: Any) -> Plan:
    """Compile what is fetched for given shapes; see `_compile_plan` for the parameters."""
    with collector_paused():
        return _compile_plan(*args, **options)


def _compile_plan(
    fetches: Sequence[Tensor | Operation],
    feeds: Sequence[tuple[Tensor, Spec]],
    state_spec: StateSpecs,
    target: Target,
    found: Found | None = None,
    observe: Observer | None = None,
    check: bool = False,
    resident: Mapping[Tensor, str] | None = None,
    stay: bool = False,
    givens: Mapping[Tensor, Tensor] | None = None,
) -> Plan:
    """Compile what `fetches` need, for the shapes of `feeds`.

    Parameters
    ----------
    fetches : sequence of Tensor or Operation
    feeds : sequence of (Tensor, Spec)
        The fed tensors with the shapes that they will have.
    state_spec : function
        Shape and dtype of a variable whose graph does not fix them.
    target : Target
        The devices.
    found : Found, optional
        What a `Split` asked for.
    observe : function, optional
        Called with each pass's name and the program after it.
    check : bool
        Verify the program after each pass.
    resident : mapping, optional
        The devices of fed device arrays.
    stay : bool
        Leave what is fetched on the device that computes it.
    givens : mapping, optional
        Tensors that take the places of others.

    Raises
    ------
    Split
        If shapes depend on data that must be computed first.
    """
    record = _Record(observe, check)
    program, node_of = prune(fetches, [t for t, _ in feeds], givens)
    for (_, spec), (_, node) in zip(feeds, program.feeds, strict=True):
        node.specs = (spec,)
    for t, node in program.feeds:
        if resident and t in resident:
            node.attrs = {RESIDENT: resident[t]}
    record.done("prune", program, concrete=False)
    program = record.done("purify", purify(program, node_of, state_spec), concrete=False)
    return _planned(program, target, found, record, stay)


def compile_program(program: Program, target: Target, found: Found | None = None) -> Plan:
    """Compile a program that is pure already; raises `Split` as `compile_plan` does."""
    with collector_paused():
        return _planned(program, target, found, _Record(None, False))


class _Record:
    """Tells who wants to know what each pass has made, and how long it took."""

    def __init__(self, observe: Observer | None, check: bool) -> None:
        self._observe = observe
        self._check = check
        self.passes_ns: dict[str, int] = {}
        self._at = time.perf_counter_ns()

    def done(self, name: str, program: Program, concrete: bool = True, placed: bool = False) -> Program:
        self.passes_ns[name] = time.perf_counter_ns() - self._at
        if self._check:
            verify(program, name, concrete, placed)
        if self._observe is not None:
            self._observe(name, program)
        self._at = time.perf_counter_ns()
        return program


def _planned(
    program: Program, target: Target, found: Found | None, record: _Record, stay: bool = False
) -> Plan:
    try:
        program = record.done("specialize", specialize(program, found))
    except NeedValues as need:
        first = _finish(need.program, target, record.passes_ns, record.done)
        raise Split(first, need.values, need.results) from None
    return _finish(program, target, record.passes_ns, record.done, stay)


# From concrete shapes on, each pass is a function of the program alone.
PASSES: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("fold", fold),
    ("cse", cse),
    ("simplify", simplify),
)


def _finish(
    program: Program, target: Target, passes_ns: dict[str, int], done: Callable[..., Program],
    stay: bool = False,
) -> Plan:  # fmt: skip
    for name, run in PASSES:
        program = done(name, run(program))
    program = done("place", place(program, target), placed=True)
    # Values that may be computed twice have to be nodes of their own.
    recomputes = target.memory is not None and target.memory.recompute
    if target.blocks is not None and not recomputes:
        program = done("blocks", blocks(program), placed=True)
    if any(runs_kernels(node.device) for node in program.nodes):
        # Expanding operations for a device leaves common parts behind.
        program = done("cse again", cse(program), placed=True)
        program = done("pools", pools(program), placed=True)
        program = done("products", products(program), placed=True)
        program = done("sums", sums(program), placed=True)
        program = done("rows", rows(program, target.blocked), placed=True)
        program = done("fuse", fuse(program), placed=True)
        program = done("recompute", recompute(program), placed=True)
        program = done("read through", read_through(program, target), placed=True)
        program = done("epilogues", epilogues(program, target), placed=True)
    started = time.perf_counter_ns()
    plan = lower(program, target, stay)
    passes_ns["lower"] = time.perf_counter_ns() - started
    if target.memory is not None:
        plan = within_limit(program, plan, target, done, stay)
    plan.passes_ns = dict(passes_ns)
    return plan
