"""Plans of the Philox operations (``kernels/random.cl``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_FLOATS = {"float16": 16, "float32": 32, "float64": 64}
_INTEGERS = {"int32": 32, "int64": 64}
_GPU_GROUP = 64
_ITEMS_PER_UNIT = 4  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest


def plan_philox_uniform(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """philox_uniform(counter; key, shape, dtype)."""
    return _plan("philox_uniform", _FLOATS, 20, outs[0], attrs, device)


def plan_philox_uniform_int(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """philox_uniform_int(counter, lo, hi; key, shape, dtype); lo and hi are scalars of the output's dtype."""
    if any(spec.dtype is not outs[0].dtype for spec in ins[1:3]):
        return None
    return _plan("philox_uniform_int", _INTEGERS, 20, outs[0], attrs, device)


def plan_philox_normal(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """philox_normal(counter; key, shape, dtype)."""
    return _plan("philox_normal", _FLOATS, 75, outs[0], attrs, device)


def plan_philox_truncated_normal(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """philox_truncated_normal(counter; key, shape, dtype)."""
    return _plan("philox_truncated_normal", _FLOATS, 75, outs[0], attrs, device)


def _plan(
    entry: str,
    bits_of: Mapping[str, int],
    flops_per_element: int,
    out: Spec,
    attrs: Mapping[str, Any],
    device: Capabilities,
) -> KernelPlan | None:
    dtype: DType = out.dtype
    if dtype.name not in bits_of or not device.supports(dtype):
        return None
    if out.shape is None or any(n is None for n in out.shape):
        return None
    count = math.prod(n for n in out.shape if n is not None)
    if count == 0:
        return KernelPlan(())
    bits = bits_of[dtype.name]
    on_cpu = device.kind == "cpu"
    vector_width = 16 if on_cpu and bits != 64 else 8 if on_cpu else 2
    group = vector_width * (2 if bits == 64 else 4)
    groups = -(-count // group)
    per_item = -(-groups // (device.compute_units * _ITEMS_PER_UNIT)) if on_cpu else 1
    # below about 16 K elements a second item costs more than it saves
    per_item = max(per_item, 16384 // group) if on_cpu else per_item
    inputs = [("in", k) for k in range(3 if entry == "philox_uniform_int" else 1)]
    key0, key1 = attrs["key"]
    launch = Launch(
        "random.cl",
        entry,
        ((f"GR_ENTRY_{entry}", 1), ("GR_RNG_OUT", bits), ("GR_RNG_VW", vector_width)),
        (
            *inputs,
            ("out", 0),
            ("uint", int(key0) & 0xFFFFFFFF),
            ("uint", int(key1) & 0xFFFFFFFF),
            ("ulong", count),
            ("ulong", groups),
            ("ulong", per_item),
        ),
        *_sizes(-(-groups // per_item), on_cpu),
    )
    return KernelPlan((launch,), flops=count * flops_per_element)


def _sizes(items: int, on_cpu: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Global and local size: single items are the unit of scheduling on a CPU."""
    return ((items,), (1,)) if on_cpu else ((-(-items // _GPU_GROUP) * _GPU_GROUP,), (_GPU_GROUP,))
