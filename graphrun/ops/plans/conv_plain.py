"""Plans of convolutions one output element at a time (``kernels/conv_plain.cl``): any layout, any groups."""

from __future__ import annotations

from graphrun.graph.descriptor import KernelPlan, Launch
from graphrun.ops.plans.conv_case import Args, Case, Ref, defines_of, elements_per_item, launch

_GPU_SLICES = 64
_GPU_ITEMS = 1 << 17


def _geometry(case: Case) -> Args:
    r, c = case.rows, case.columns
    values = (
        case.nchw, r.input, c.input, case.channels, r.output, c.output, case.outputs, r.kernel, c.kernel,
        r.stride, c.stride, r.dilation, c.dilation, r.before, c.before,
        case.inputs_per_group, case.outputs_per_group,
    )  # fmt: skip
    return tuple(("int", int(v)) for v in values)


def plan_plain(case: Case, entry: str, elements_per_image: int) -> KernelPlan:
    """conv_plain or conv_plain_input."""
    count = case.images * elements_per_image
    per_item = elements_per_item(case, count, 2 * case.macs // count)
    args: Args = (
        ("in", 0), ("in", 1), ("out", 0), ("ulong", count), ("ulong", per_item), *_geometry(case)
    )  # fmt: skip
    defines = defines_of(case, entry, half="IN OUT")
    only = launch(case, "conv_plain.cl", entry, defines, args, -(-count // per_item))
    return KernelPlan((only,), flops=2 * case.macs)


def plan_plain_filter(case: Case) -> KernelPlan:
    """conv_plain_filter with the sum of its slices."""
    run = case.columns.kernel * case.inputs_per_group
    count = case.rows.kernel * run * case.outputs
    lines = case.images * case.rows.output
    # few filter elements would leave a GPU idle: share out the rows
    slices = 1 if case.device.kind == "cpu" else max(1, min(lines, _GPU_SLICES, -(-_GPU_ITEMS // count)))
    per_item = elements_per_item(case, count * slices, 2 * case.macs // (count * slices))
    args: Args = (
        ("in", 0), ("in", 1), ("scratch", 0), ("ulong", count), ("ulong", per_item), ("uint", slices),
        ("uint", lines), *_geometry(case),
    )  # fmt: skip
    defines = defines_of(case, "conv_plain_filter", half="IN")
    items = -(-count * slices // per_item)
    first = launch(case, "conv_plain.cl", "conv_plain_filter", defines, args, items)
    return KernelPlan(
        (first, plain_total(case, ("scratch", 0), slices)),
        (count * slices * case.itemsize,),
        2 * case.macs,
    )


def plain_total(case: Case, part: Ref, slices: int) -> Launch:
    """Add up ``part[slice][i][j][c][o]``."""
    run = case.columns.kernel * case.inputs_per_group
    return total_launch(case, part, slices, 1, case.rows.kernel, run, case.outputs, case.outputs,
                        run, 1, case.outputs, 1, 1)  # fmt: skip


def total_launch(
    case: Case, part: Ref, slices: int, groups: int, taps: int, run: int, outputs: int, span: int,
    tile_rows: int, tiles: int, panel: int, panels: int, vector: int,
) -> Launch:  # fmt: skip
    """Add up the slices of partial sums; `span` is the channels of dy that the panels were laid over."""
    count = taps * run * groups * outputs
    per_item = elements_per_item(case, count, slices)
    args: Args = (
        part,
        ("out", 0),
        ("ulong", count),
        ("ulong", per_item),
        ("uint", slices),
        ("uint", groups),
        *(("int", v) for v in (taps, run, outputs, span, tile_rows, tiles, panel, panels)),
    )
    defines = defines_of(case, "conv_filter_total", ("W", max(vector, 2)), half="OUT")
    return launch(case, "conv_copy.cl", "conv_filter_total", defines, args, -(-count // per_item))
