"""Plans of `argsort` and `top_k` (``kernels/sort.cl``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_BLOCK = 16  # entries that one item sorts by insertion before runs are merged
_GPU_GROUP = 64
_MOST = 2**31 - 1  # places are int


def plan_argsort(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """argsort(x; descending)."""
    return _plan(ins[0], ins[0].dims[-1], attrs["descending"], ("out", 0), None, device)


def plan_top_k(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """top_k(x; k, sorted)."""
    return _plan(ins[0], outs[0].dims[-1], True, ("out", 1), ("out", 0), device)


def _plan(
    x: Spec, kept: int, descending: bool, places: Any, values: Any, device: Capabilities
) -> KernelPlan | None:
    *lead, n = x.dims
    if not device.supports(x.dtype) or n > _MOST:
        return None
    rows = math.prod(lead)
    if rows * kept == 0:
        return KernelPlan(())
    defines: list[tuple[str, Any]] = [
        ("GR_SORT_T", x.dtype.storage), ("GR_SORT_C", x.dtype.compute), ("GR_SORT_BLOCK", _BLOCK),
    ]  # fmt: skip
    defines += [("GR_SORT_HALF", 1)] if x.dtype.storage == "half" else []
    defines += [("GR_SORT_FLOATS", 1)] if x.dtype.is_floating else []
    defines += [("GR_SORT_DESCENDING", 1)] if descending else []
    group = 1 if device.kind == "cpu" else _GPU_GROUP

    def launch(entry: str, own: Sequence[Any], args: tuple[Any, ...], items: int) -> Launch:
        sizes = ((-(-items // group) * group,), (group,))
        return Launch("sort.cl", entry, tuple(own), args, *sizes)

    shape = (("ulong", rows), ("int", n))
    blocks = -(-n // _BLOCK)
    launches = [
        launch("sort_blocks", [*defines, ("GR_SORT_BLOCKS", 1)],
               (("in", 0), ("scratch", 0), *shape, ("int", blocks)), rows * blocks)
    ]  # fmt: skip
    run, at = _BLOCK, 0
    while run < n:
        args = (("in", 0), ("scratch", at), ("scratch", 1 - at), *shape, ("int", run))
        launches.append(launch("sort_merge", defines, args, rows * n))
        run, at = run * 2, 1 - at
    # Halves are copied as they are.
    storage = "ushort" if x.dtype.storage == "half" else x.dtype.storage
    pick = [("GR_SORT_T", storage), ("GR_SORT_PICK", 1), *([("GR_SORT_VALUES", 1)] if values else [])]
    outputs = (values, places) if values else (places,)
    args = (("in", 0), ("scratch", at), *outputs, *shape, ("int", kept))
    launches.append(launch("sort_pick", pick, args, rows * kept))
    size = 4 * rows * n
    # Comparisons count like operations.
    return KernelPlan(tuple(launches), (size, size), flops=rows * n * max(1, n.bit_length()))
