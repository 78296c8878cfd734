"""Compile for given capabilities and run on a real device, without a session.

A style is a way in which kernels are written: ``"loops"`` is what CPUs get, ``"grid"`` what GPUs get.  Every
device can run both, so both are tested wherever there is one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphrun.compiler.ir import Program, StateKey
from graphrun.compiler.pipeline import compile_plan
from graphrun.compiler.placement import Target
from graphrun.compiler.plan import Plan
from graphrun.graph.descriptor import Capabilities, Spec
from graphrun.graph.node import Operation, Tensor
from graphrun.runtime.devices import get_device, list_devices
from graphrun.runtime.executor import BoundPlan
from graphrun.runtime.store import Store

STYLES = ("loops", "grid")
_KINDS = {"loops": "cpu", "grid": "gpu"}


@functools.cache
def opencl_device() -> str:
    """The first OpenCL device; call it in tests marked ``opencl`` only."""
    return next(name for name in list_devices() if name.startswith("opencl"))


def target(style: str, **changes: Any) -> Target:
    """Where to compile for: ``"numpy"``, ``"null"``, or a style on the first OpenCL device."""
    if style == "numpy":
        return Target(**changes)
    if style == "null":
        capabilities = {"null:0": Capabilities(compute_units=4)}
        return Target("null:0", capabilities, **{"strict": True, **changes})
    device = opencl_device()
    # Compute units as on a small GPU, so that the grid style splits its work.
    units = {"compute_units": 4} if style == "grid" else {}
    capabilities = replace(get_device(device).capabilities, kind=_KINDS[style], **units)
    return Target(device, {device: capabilities}, **{"strict": True, **changes})


@dataclass
class Compiled:
    """A plan with the program after each pass."""

    plan: Plan
    passes: dict[str, str]


def _element(item: Any) -> Tensor | Operation:
    return item._as_graph_element() if hasattr(item, "_as_graph_element") else item


def compile_for(
    where: Target | str, fetches: Sequence[Any], feeds: Mapping[Any, Any] | None = None
) -> Compiled:
    """Compile, with each pass verified; feeds are arrays, or specs where nothing will run."""
    texts: dict[str, str] = {}

    def observe(name: str, program: Program) -> None:
        texts[name] = str(program)

    specs = []
    for key, value in (feeds or {}).items():
        t = _element(key)
        specs.append((t, value if isinstance(value, Spec) else Spec(np.shape(value), t.dtype)))
    plan = compile_plan(
        [_element(f) for f in fetches], specs, lambda op: op.outputs[0].spec,
        target(where) if isinstance(where, str) else where, None, observe, True,
    )  # fmt: skip
    return Compiled(plan, texts)


def new_store(variables: Mapping[Any, Any] | None = None) -> Store:
    """A session's state with these values of variables."""
    store = Store()
    for key, value in (variables or {}).items():
        t = _element(key)
        array = np.array(value, t.dtype.numpy)
        store.set_host(store.cell(StateKey(t.op)), array, Spec(array.shape, t.dtype))
    return store


def variable_value(store: Store, variable: Any) -> Any:
    """What a variable holds now."""
    return store.host_value(store.cell(StateKey(_element(variable).op)), get_device)


def run_plan(
    where: Target | str,
    fetches: Sequence[Any],
    feeds: Mapping[Any, Any] | None = None,
    store: Store | None = None,
) -> list[Any]:
    """Compile, run once, and return the fetched values."""
    plan = compile_for(where, fetches, feeds).plan
    bound = BoundPlan(plan, new_store() if store is None else store, get_device)
    arrays = [np.asarray(v, _element(k).dtype.numpy) for k, v in (feeds or {}).items()]
    return list(bound.run(arrays))
