"""Plan of the filter's gradient: partial sums over slices of the images' rows, then their sum in order."""

from __future__ import annotations

from graphrun.graph.descriptor import KernelPlan, Launch
from graphrun.ops.plans.conv_case import (
    ITEM_FLOPS,
    ITEMS_PER_UNIT,
    Args,
    Case,
    Scratch,
    Tile,
    choose_tile,
    defines_of,
    halo_launch,
    launch,
)
from graphrun.ops.plans.conv_plain import plan_plain_filter, total_launch
from graphrun.ops.plans.conv_ring import Grid, Ring, Source, Taps, ring_of

_UNIT_BYTES = 96 << 10  # rows of x and dy over which the tiles pass: part of a level-2 cache


def plan_filter(case: Case, tiled: bool) -> KernelPlan:
    """The tile kernel on CPUs, else one filter element at a time."""
    if not tiled or not case.macs:
        return plan_plain_filter(case)
    r, c = case.rows, case.columns
    scratch = Scratch(case.itemsize)
    launches: list[Launch] = []
    inputs, outputs = case.inputs_per_group, case.outputs_per_group
    taps = Taps(r.kernel, 0, 1, r.dilation, -r.before), Taps(c.kernel, 0, 1, c.dilation, -c.before)
    th, tw = taps
    grid = Grid(r.output, c.output, r.stride, c.stride)
    source = Source.of_image(case, ("in", 0), r.input, c.input, case.channels)
    ring = ring_of(case, source, grid, taps, c.output)
    if ring is None:  # not even one line's rows fit in local memory
        height = (r.output - 1) * r.stride + th.reach
        width = (c.output - 1) * c.stride + tw.reach
        buffer = scratch.new(case.images * height * width * case.channels)
        size, before = (r.input, c.input), (r.before, c.before)
        launches.append(halo_launch(case, source.ref, buffer, (height, width), size, before, case.channels))
        source = Source.dense(buffer, height, width, case.channels)
        th, tw = th._replace(shift=0), tw._replace(shift=0)
        ring = Ring.none(grid, c.output)
    joined = c.dilation == 1 and (ring.size > 0 or source.pixel == inputs)
    taps_w, run = (1, inputs * c.kernel) if joined else (c.kernel, inputs)
    tile = choose_tile(case, run, outputs)
    if case.groups > 1:  # a panel must not reach into the next group
        tile = tile._replace(vectors=max(1, min(tile.vectors, outputs // tile.vector)))
    # dy as it lies where whole panels can be read from it, else with channels up to a panel
    gradient, span = ("in", 1), outputs
    all_outputs = case.outputs
    if case.nchw or case.half or outputs < tile.panel:
        all_outputs = case.outputs if case.groups > 1 else max(outputs, tile.panel)
        span = all_outputs // case.groups
        gradient = scratch.new(case.images * r.output * c.output * all_outputs)
        size = (r.output, c.output)
        launches.append(halo_launch(case, ("in", 1), gradient, size, size, (0, 0), case.outputs, all_outputs))
    panels = -(-span // tile.panel)
    tiles = -(-run // tile.rows)
    lines = case.images * r.output
    lanes_size = r.kernel * taps_w * tiles * tile.rows * panels * tile.panel
    line_bytes = c.output * (r.stride * c.stride * inputs + tile.panel) * case.itemsize
    group_lines = max(1, min(r.output, _UNIT_BYTES // line_bytes, ring.most_lines))
    group_lines = -(-r.output // -(-r.output // group_lines))
    # enough items for the cores, but no more partial sums than they are worth
    across = panels * case.groups
    slices = -(-case.device.compute_units * ITEMS_PER_UNIT // across)
    slices = max(1, min(lines, slices, 2 * case.macs // ITEM_FLOPS // across))
    part = scratch.new(slices * case.groups * lanes_size)
    ring_rows, ring_columns = ring.rows(group_lines), ring.columns(c.output)
    if ring.size:
        x_step, tap = c.stride * inputs, c.dilation * inputs
    else:
        x_step, tap = c.stride * source.pixel, c.dilation * source.pixel
    args: Args = (
        source.ref,
        gradient,
        part,
        *(("uint", v) for v in (slices, case.groups, panels, lines, group_lines)),
        *(("int", v) for v in (r.kernel, taps_w, r.output, c.output, span, run, tiles)),
        *(("int", v) for v in (r.stride, c.stride, r.dilation, th.shift, tw.shift)),
        *(("int", v) for v in (source.height, source.width, inputs, ring_rows, ring_columns)),
        *(("ulong", v) for v in (source.image, source.row, source.pixel, source.channel)),
        *(("ulong", v) for v in (source.channel * inputs, x_step, tap)),
        *(("ulong", v) for v in (r.output * c.output * all_outputs, c.output * all_outputs, all_outputs)),
    )
    more = tile.defines
    if ring.size:
        more += (("GR_CONV_RING", ring_rows * ring_columns * inputs),)
    defines = defines_of(case, "conv_filter_tile", *more, half="IN" if ring.size else "")
    launches.append(launch(case, "conv.cl", "conv_filter_tile", defines, args, slices * across))
    launches.append(_total(case, part, slices, taps_w, run, tile, tiles, panels, span))
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs)


def _total(
    case: Case, part: tuple[str, int], slices: int, taps_w: int, run: int, tile: Tile, tiles: int,
    panels: int, span: int,
) -> Launch:  # fmt: skip
    return total_launch(
        case, part, slices, case.groups, case.rows.kernel * taps_w, run, case.outputs_per_group, span,
        tile.rows, tiles, tile.panel, panels, tile.vector,
    )  # fmt: skip
