"""Plans of the gradient of gather (``scatter.cl``), of writes to rows and of places of equal indices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec

_ITEMS_PER_UNIT = 4  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest
_CPU_COLUMNS = 64  # fewer a share would waste cache lines and vector registers
_GPU_GROUP = 64
_GPU_ITEMS_PER_UNIT = 512


def plan_gather_grad(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """gather_grad(dy, indices; shape, axis, batch_dims, negative)."""
    out, indices = outs[0], ins[1]
    if out.dtype.is_bool or not device.supports(out.dtype):
        return None
    shape, places = cast("tuple[int, ...]", out.shape), cast("tuple[int, ...]", indices.shape)
    axis, batch_dims = attrs["axis"], attrs["batch_dims"]
    axis = (axis[0] if isinstance(axis, tuple) else axis) % len(shape)
    between = math.prod(shape[batch_dims:axis])
    outer = math.prod(shape[:axis])
    rows, columns = shape[axis], math.prod(shape[axis + 1 :])
    count = math.prod(places[batch_dims:])
    if outer * rows * columns == 0:
        return KernelPlan(())
    share, blocks, sizes = _split(outer, rows, columns, device)
    half = out.dtype.storage == "half"
    defines: list[tuple[str, Any]] = [
        ("GR_SCATTER_T", out.dtype.storage),
        ("GR_SCATTER_INDEX", indices.dtype.storage),
    ]
    defines += [("GR_SCATTER_WRAP", 1)] if attrs["negative"] else []
    defines += [("GR_SCATTER_HALF", 1)] if half else []
    scratch = [("scratch", 0)] if half else []
    numbers = [
        ("ulong", outer),
        ("ulong", between),
        ("long", rows),
        ("ulong", count),
        ("ulong", columns),
        ("ulong", share),
        ("ulong", blocks),
    ]
    args = (("in", 0), ("in", 1), ("out", 0), *scratch, *numbers)
    launch = Launch("scatter.cl", "scatter_add_rows", tuple(defines), args, *sizes)
    scratch_bytes = (4 * outer * rows * columns,) if half else ()
    return KernelPlan((launch,), scratch_bytes, flops=outer * count * columns)


def _split(
    outer: int, rows: int, columns: int, device: Capabilities
) -> tuple[int, int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Columns an item, blocks of rows, global and local size.

    Shares of columns are equal work; blocks of rows are so only where the indices are spread evenly, and
    each more walks all indices once more, so they come second.
    """
    if device.kind == "cpu":
        wanted = device.compute_units * _ITEMS_PER_UNIT
        shares = max(1, min(-(-wanted // outer), columns // _CPU_COLUMNS))
        share = -(-columns // shares)
    else:
        wanted = device.compute_units * _GPU_ITEMS_PER_UNIT
        share = 1
    shares = -(-columns // share)
    blocks = max(1, min(rows, -(-wanted // (outer * shares))))
    items = outer * shares * blocks
    if device.kind == "cpu":
        return share, blocks, ((items,), (1,))
    return share, blocks, ((-(-items // _GPU_GROUP) * _GPU_GROUP,), (_GPU_GROUP,))


_MODES = {"update": 0, "add": 1, "sub": 2, "mul": 3, "div": 4, "min": 5, "max": 6}


def plan_scatter_rows(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """scatter_rows(tensor, indices, updates; mode, nd), into an output that holds the tensor's values."""
    out, indices, updates = outs[0], ins[1], ins[2]
    # A division of integers by 0 is told by the host.
    if not device.supports(out.dtype) or (attrs["mode"] == "div" and not out.dtype.is_floating):
        return None
    shape, places = cast("tuple[int, ...]", out.shape), cast("tuple[int, ...]", indices.shape)
    depth = places[-1] if attrs["nd"] else 1
    count = math.prod(places[:-1] if attrs["nd"] else places)
    if depth == 0:
        return None
    rows, columns = math.prod(shape[:depth]), math.prod(shape[depth:])
    if rows * columns * count == 0:
        return KernelPlan(())
    share, blocks, sizes = _split(1, min(rows, count), columns, device)
    defines: list[tuple[str, Any]] = [
        ("GR_ROWS_T", out.dtype.storage),
        ("GR_ROWS_C", out.dtype.compute),
        ("GR_ROWS_INDEX", indices.dtype.storage),
        ("GR_ROWS_MODE", _MODES[attrs["mode"]]),
    ]
    defines += [("GR_ROWS_HALF", 1)] if out.dtype.storage == "half" else []
    defines += [("GR_ROWS_ONE", 1)] if updates.shape == () else []
    if depth > 1:
        defines += [("GR_ROWS_DEPTH", depth), ("GR_ROWS_DIMS", ", ".join(map(str, shape[:depth])))]
    numbers = [("long", rows), ("ulong", count), ("ulong", columns), ("ulong", share), ("ulong", blocks)]
    args = (("in", 1), ("in", 2), ("out", 0), *numbers)
    launch = Launch("scatter_rows.cl", "scatter_rows", tuple(defines), args, *sizes)
    return KernelPlan((launch,), flops=count * columns)


def plan_first_places(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """first_places(indices), a vector."""
    indices = ins[0]
    (count,) = cast("tuple[int]", indices.shape)
    if not device.supports(indices.dtype) or count >= 2**31:
        return None
    if count == 0:
        return KernelPlan(())
    bits = max(1, (count - 1).bit_length())  # as many buckets as indices, or up to twice as many
    # Each item walks all indices, so there are only as many as run at once, and not on short lists.
    lanes = device.compute_units * (_ITEMS_PER_UNIT if device.kind == "cpu" else _GPU_GROUP)
    items = 1 << (max(1, min(lanes, 1 << bits, -(-count // 64))) - 1).bit_length()
    items = min(items, 1 << bits)
    group = 1 if device.kind == "cpu" else min(items, _GPU_GROUP)
    args = (
        ("in", 0), ("out", 0), ("scratch", 0), ("scratch", 1),
        ("int", count), ("uint", bits), ("uint", items),
    )  # fmt: skip
    defines = (("GR_PLACES_INDEX", indices.dtype.storage),)
    launch = Launch("first_places.cl", "first_places", defines, args, (items,), (group,))
    return KernelPlan((launch,), (4 << bits, 4 * count))
