"""Plan of concat and stack (``kernels/copy.cl``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_TYPES = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}
_ITEMS_PER_UNIT = 4  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest
_CPU_SHARE = 4096  # elements; fewer an item cost more than they save
_GPU_GROUP = 64


def plan_join(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """Join along ``attrs["axis"]`` of the output: an axis of the inputs (concat) or a new one (stack)."""
    shape = cast("tuple[int, ...]", outs[0].shape)
    axis = attrs["axis"]
    at = (axis[0] if isinstance(axis, tuple) else axis) % len(shape)
    outer, row = math.prod(shape[:at]), math.prod(shape[at:])
    defines = (("GR_COPY_T", _TYPES[outs[0].dtype.size_bytes]),)
    launches = []
    begin = 0
    for k, spec in enumerate(ins):
        count = math.prod(cast("tuple[int, ...]", spec.shape))
        if count == 0:
            continue
        width = count // outer
        share, sizes = _split(count, device)
        numbers = (
            ("ulong", outer),
            ("ulong", width),
            ("ulong", row),
            ("ulong", begin),
            ("ulong", share),
        )
        args = (("in", k), ("out", 0), *numbers)
        launches.append(Launch("copy.cl", "copy_columns", defines, args, *sizes))
        begin += width
    return KernelPlan(tuple(launches))


def _split(count: int, device: Capabilities) -> tuple[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Elements an item, global and local size."""
    if device.kind == "cpu":
        share = max(_CPU_SHARE, -(-count // (device.compute_units * _ITEMS_PER_UNIT)))
        return share, ((-(-count // share),), (1,))
    return 1, ((-(-count // _GPU_GROUP) * _GPU_GROUP,), (_GPU_GROUP,))
