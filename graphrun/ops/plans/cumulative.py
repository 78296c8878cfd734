"""Plan of running sums and products (``kernels/cumulative.cl``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_CPU_ITEMS_PER_UNIT = 2
_GPU_ITEMS_PER_UNIT = 512
_GPU_GROUP = 64
# Each item reads the totals before its own: many short chunks would read more totals than elements.
_MOST_CHUNKS = 256
_CPU_LEAST_SHARE = 4096
_GPU_LEAST_SHARE = 32


def plan_cumulative(product: bool) -> Callable[..., KernelPlan | None]:
    """The plan function of running products, or of sums."""

    def plan(
        ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
    ) -> KernelPlan | None:
        x = ins[0]
        if not device.supports(x.dtype):
            return None
        axis = attrs["axis"]
        axis = (axis[0] if isinstance(axis, tuple) else axis) % len(x.dims)
        count, inner = x.dims[axis], math.prod(x.dims[axis + 1 :])
        lines = math.prod(x.dims[:axis]) * inner
        if lines * count == 0:
            return KernelPlan(())
        share, chunks = _chunks(lines, count, device)
        defines: list[tuple[str, Any]] = [("GR_CUM_T", x.dtype.storage), ("GR_CUM_C", x.dtype.compute)]
        for name, on in (
            ("HALF", x.dtype.storage == "half"), ("PRODUCT", product), ("REVERSE", attrs["reverse"]),
        ):  # fmt: skip
            defines += [(f"GR_CUM_{name}", 1)] if on else []
        last = tuple(defines) + ((("GR_CUM_EXCLUSIVE", 1),) if attrs["exclusive"] else ())
        numbers = (
            ("ulong", lines), ("long", count), ("ulong", inner), ("long", share), ("ulong", chunks),
        )  # fmt: skip

        def launch(entry: str, own: tuple[Any, ...], args: tuple[Any, ...], items: int) -> Launch:
            group = 1 if device.kind == "cpu" else _GPU_GROUP
            sizes = ((-(-items // group) * group,), (group,))
            return Launch("cumulative.cl", entry, own, (*args, *numbers), *sizes)

        launches = []
        if chunks > 1:
            own = (*defines, ("GR_CUM_TOTALS", 1))
            launches.append(launch("totals", own, (("in", 0), ("scratch", 0)), lines * (chunks - 1)))
        args = (("in", 0), ("out", 0), ("scratch", 0))
        launches.append(launch("cumulative", last, args, lines * chunks))
        totals_bytes = 8 * lines * max(1, chunks - 1)
        return KernelPlan(tuple(launches), (totals_bytes,), flops=lines * count)

    return plan


def _chunks(lines: int, count: int, device: Capabilities) -> tuple[int, int]:
    """The length of a chunk, and how many there are in a line."""
    cpu = device.kind == "cpu"
    wanted = device.compute_units * (_CPU_ITEMS_PER_UNIT if cpu else _GPU_ITEMS_PER_UNIT)
    least = _CPU_LEAST_SHARE if cpu else _GPU_LEAST_SHARE
    chunks = max(1, min(-(-wanted // lines), count // least, _MOST_CHUNKS))
    share = -(-count // chunks)
    return share, -(-count // share)
