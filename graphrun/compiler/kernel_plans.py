"""What a kernel would launch for given operands: passes ask for the same plans again and again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.compiler.ir import attrs_key
from graphrun.graph.descriptor import Capabilities, Kernel, KernelPlan, Spec
from graphrun.graph.opdef import OpDef


def kernel_plan(
    op: OpDef,
    specs: Sequence[Spec],
    outs: Sequence[Spec],
    attrs: Mapping[str, Any],
    capabilities: Capabilities,
    epilogue: bool = False,
    readers: tuple[int, ...] = (),
) -> KernelPlan | None:
    """The plan of an operation whose descriptor is a `Kernel`; None where that does not take the operands.

    `readers` says how many share each pack, for kernels that have packs.
    """
    repeatable = not isinstance(op.opencl, Kernel) or op.opencl.repeatable
    ask: Callable[..., KernelPlan | None] = _plan if repeatable else _plan.__wrapped__
    return ask(op, tuple(specs), tuple(outs), _Attributes(attrs), capabilities, epilogue, readers)


class _Attributes:
    """Attributes that are equal where `attrs_key` says so."""

    __slots__ = ("values", "key")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.key = attrs_key(values)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Attributes) and self.key == other.key


@functools.lru_cache(maxsize=2048)
def _plan(
    op: OpDef,
    specs: tuple[Spec, ...],
    outs: tuple[Spec, ...],
    attrs: _Attributes,
    capabilities: Capabilities,
    epilogue: bool,
    readers: tuple[int, ...],
) -> KernelPlan | None:
    descriptor = op.descriptor(list(specs), attrs.values)
    assert isinstance(descriptor, Kernel), f"{op.name} has no kernel of its own"
    more: dict[str, Any] = {"readers": readers} if descriptor.packs and readers else {}
    if epilogue:
        more["epilogue"] = True
    found: KernelPlan | None = descriptor.plan(list(specs), outs, attrs.values, capabilities, **more)
    return found
