"""Plans of convolutions of each channel by itself on CPUs (``kernels/conv_depthwise.cl``)."""

from __future__ import annotations

import math

from graphrun.graph.descriptor import KernelPlan, Launch
from graphrun.ops.plans.conv_case import (
    ITEM_FLOPS,
    ITEMS_PER_UNIT,
    Args,
    Case,
    Defines,
    Ref,
    defines_of,
    launch,
    native_vector,
)
from graphrun.ops.plans.conv_plain import plain_total

_FILE = "conv_depthwise.cl"
_MOST_TIMES = 3  # outputs of a channel; more of them fill the vectors of conv.cl
_PIXELS = 4  # pixels of a row that share a vector of the filter


def is_depthwise(case: Case) -> bool:
    """Whether these kernels are the right ones."""
    alone = case.groups > 1 and case.inputs_per_group == 1 and case.outputs_per_group <= _MOST_TIMES
    return alone and case.device.kind == "cpu" and not case.nchw and case.macs > 0


def _vector(case: Case, channels: int) -> int:
    """The vector width that leaves the least work: whole vectors, and what is over one by one."""
    widths = [w for w in (16, 8, 4, 2) if w <= min(native_vector(case), channels)]
    return min(widths, key=lambda w: channels // w + channels % w)


def _defines(case: Case, entry: str, channels: int, half: str) -> Defines:
    more = (
        ("GR_DW_TIMES", case.outputs_per_group),
        ("GR_DW_PIXELS", _PIXELS),
        ("W", _vector(case, channels)),
    )
    return defines_of(case, entry, *more, half=half)


def _geometry(case: Case) -> Args:
    r, c = case.rows, case.columns
    values = (
        r.input, c.input, case.channels, r.output, c.output, r.kernel, c.kernel, r.stride, c.stride,
        r.dilation, c.dilation, r.before, c.before,
    )  # fmt: skip
    return tuple(("int", v) for v in values)


def _lines_per_item(case: Case, lines: int) -> int:
    """Enough items for the cores, each worth its launch."""
    share = -(-lines // (case.device.compute_units * ITEMS_PER_UNIT))
    worth = ITEM_FLOPS // 4 // max(2 * case.macs // lines, 1)
    return min(lines, max(share, worth, 1))


def plan_depthwise(case: Case) -> KernelPlan:
    """Forward; takes an epilogue."""
    lines = case.images * case.rows.output
    per_item = _lines_per_item(case, lines)
    args: Args = (
        ("in", 0), ("in", 1), ("out", 0), ("uint", lines), ("uint", per_item), *_geometry(case)
    )  # fmt: skip
    return _storing(case, "conv_depthwise", case.outputs, args, -(-lines // per_item))


def plan_depthwise_input(case: Case) -> KernelPlan:
    """Gradient of the input; takes an epilogue."""
    lines = case.images * case.rows.input
    per_item = _lines_per_item(case, lines)
    periods = [w.stride // math.gcd(w.stride, w.dilation) for w in (case.rows, case.columns)]
    args: Args = (
        ("in", 0), ("in", 1), ("out", 0), ("uint", lines), ("uint", per_item), *_geometry(case),
        *(("int", p) for p in periods),
    )  # fmt: skip
    return _storing(case, "conv_depthwise_input", case.channels, args, -(-lines // per_item))


def _storing(case: Case, entry: str, channels: int, args: Args, items: int) -> KernelPlan:
    only = launch(case, _FILE, entry, _defines(case, entry, channels, "IN OUT"), args, items)
    return KernelPlan((only,), flops=2 * case.macs)


def plan_depthwise_filter(case: Case) -> KernelPlan:
    """Gradient of the filter: partial sums over slices of the rows, then their sum in order."""
    lines = case.images * case.rows.output
    per_item = _lines_per_item(case, lines)
    slices = -(-lines // per_item)
    part: Ref = ("scratch", 0)
    args: Args = (("in", 0), ("in", 1), part, ("uint", lines), ("uint", per_item), *_geometry(case))
    defines = _defines(case, "conv_depthwise_filter", case.outputs, "IN")
    first: Launch = launch(case, _FILE, "conv_depthwise_filter", defines, args, slices)
    size_bytes = slices * case.rows.kernel * case.columns.kernel * case.outputs * case.itemsize
    return KernelPlan((first, plain_total(case, part, slices)), (size_bytes,), 2 * case.macs)
