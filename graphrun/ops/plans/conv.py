"""Plans of conv2d and its gradients (``kernels/conv.cl``).

On a CPU a register tile of some pixels times one panel of output channels runs over images and over filters
that were packed into panels.  Where padding, the layout or half precision is in the way, the rows that a tile
reads are first gathered into a ring of rows in local memory.  The gradient of the input is the same kernel:
with stride s, the input pixels of one remainder modulo s see a plain convolution of ``dy`` with
every s-th filter pixel, so it is one launch for each of the remainders (phases).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec
from graphrun.ops.host.conv import Window
from graphrun.ops.plans.conv_case import (
    ITEM_FLOPS,
    ITEMS_PER_UNIT,
    Args,
    Case,
    Defines,
    Ref,
    Scratch,
    Tile,
    accumulators,
    best_rows,
    choose_tile,
    defines_of,
    halo_launch,
    launch,
    make_case,
    native_vector,
)
from graphrun.ops.plans.conv_depthwise import (
    is_depthwise,
    plan_depthwise,
    plan_depthwise_filter,
    plan_depthwise_input,
)
from graphrun.ops.plans.conv_filter import plan_filter
from graphrun.ops.plans.conv_plain import plan_plain
from graphrun.ops.plans.conv_ring import Grid, Ring, Source, Taps, ring_of

_FILE = "conv.cl"
_CACHE_BYTES = 256 << 10  # what should stay in the cache near a core
_PASS_PIXELS = 64  # a panel that does not stay there should serve so many pixels each time
_LINE_BYTES = 512  # longest row of a filter whose panels are read where they lie
_DOT_OUTPUTS = 3  # up to so many outputs are dot products


class _Filter(NamedTuple):
    """How the tile kernel's outputs and inputs lie in the operation's filter."""

    ref: Ref
    base: int
    strides: tuple[int, int, int, int, int]  # of (group, row, column, input, output)
    inputs: int  # of a group
    outputs: int


class _Target(NamedTuple):
    """Where the results go, in elements of output 0."""

    base: int
    strides: tuple[int, int, int, int]  # of (images, rows, columns, channels)


def _tiled(case: Case, outputs_per_group: int) -> bool:
    """Whether the tile kernels take it: on CPUs, and groups that fill a vector at least."""
    return case.device.kind == "cpu" and (case.groups == 1 or outputs_per_group >= 4)


def _pointwise(case: Case) -> Case:
    """Make one long row of a 1x1 convolution's pixels, where nothing separates them."""
    r, c = case.rows, case.columns
    plain = all(w.kernel == 1 and w.stride == 1 and not w.before and not w.after for w in (r, c))
    if not plain or case.half or case.device.kind != "cpu":
        return case
    pixels = r.input * c.input * (1 if case.nchw else case.images)
    if pixels > 1 << 30:
        return case
    return case._replace(
        images=case.images if case.nchw else 1,
        rows=r._replace(input=1, output=1),
        columns=c._replace(input=pixels, output=pixels),
    )


def plan_conv2d(
    ins: Sequence[Spec],
    outs: Sequence[Spec],
    attrs: Mapping[str, Any],
    device: Capabilities,
    epilogue: bool = False,
) -> KernelPlan | None:
    """conv2d(x, w; strides, padding, dilations, data_format)."""
    case = make_case(ins[0].shape, ins[1].shape, [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None or (epilogue and not device.supports(outs[0].dtype)):
        return None
    elements = case.rows.output * case.columns.output * case.outputs
    if not case.images * elements:
        return KernelPlan(())
    if is_depthwise(case):
        return plan_depthwise(case)
    if not _tiled(case, case.outputs_per_group) or not case.macs:
        return plan_plain(case, "conv_plain", elements)
    case = _pointwise(case)
    r, c = case.rows, case.columns
    scratch = Scratch(case.itemsize)
    source = Source.of_image(case, ("in", 0), r.input, c.input, case.channels)
    taps = (
        Taps(r.kernel, 0, 1, r.dilation, -r.before),
        Taps(c.kernel, 0, 1, c.dilation, -c.before),
    )
    inputs, outputs, co = case.inputs_per_group, case.outputs_per_group, case.outputs
    filters = _Filter(("in", 1), 0, (outputs, c.kernel * inputs * co, inputs * co, co, 1), inputs, outputs)
    grid = Grid(r.output, c.output, r.stride, c.stride)
    target = _Target(0, case.strides(r.output, c.output, co))
    launches = _convolve(case, scratch, source, grid, taps, filters, target, c.output)
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs)


def plan_conv2d_backprop_input(
    ins: Sequence[Spec],
    outs: Sequence[Spec],
    attrs: Mapping[str, Any],
    device: Capabilities,
    epilogue: bool = False,
) -> KernelPlan | None:
    """conv2d_backprop_input(w, dy; shape, strides, padding, dilations, data_format)."""
    case = make_case(attrs["shape"], ins[0].shape, [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None or (epilogue and not device.supports(outs[0].dtype)):
        return None
    elements = case.rows.input * case.columns.input * case.channels
    if not case.images * elements:
        return KernelPlan(())
    if is_depthwise(case):
        return plan_depthwise_input(case)
    if not _tiled(case, case.inputs_per_group) or not case.macs:
        return plan_plain(case, "conv_plain_input", elements)
    case = _pointwise(case)
    r, c = case.rows, case.columns
    phases = [
        (a, b, _phase_taps(r, a), _phase_taps(c, b))
        for a in range(min(r.stride, r.input))
        for b in range(min(c.stride, c.input))
    ]
    # the shortest row of any phase bounds the tile
    shortest = (c.input - min(c.stride, c.input)) // c.stride + 1
    scratch = Scratch(case.itemsize)
    source = Source.of_image(case, ("in", 1), r.output, c.output, case.outputs)
    inputs, outputs, co = case.inputs_per_group, case.outputs_per_group, case.outputs
    strides = case.strides(r.input, c.input, case.channels)
    launches: list[Launch] = []
    storing = []
    for a, b, th, tw in phases:
        grid = Grid(-(-(r.input - a) // r.stride), -(-(c.input - b) // c.stride), 1, 1)
        filters = _Filter(
            ("in", 0),
            (th.first * c.kernel + tw.first) * inputs * co,
            (outputs, th.step * c.kernel * inputs * co, tw.step * inputs * co, 1, co),
            outputs,
            inputs,
        )
        target = _Target(
            a * strides[1] + b * strides[2],
            (strides[0], strides[1] * r.stride, strides[2] * c.stride, strides[3]),
        )
        launches += _convolve(case, scratch, source, grid, (th, tw), filters, target, shortest)
        storing.append(len(launches) - 1)
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs, tuple(storing))


def plan_conv2d_backprop_filter(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """conv2d_backprop_filter(x, dy; shape, strides, padding, dilations, data_format)."""
    case = make_case(ins[0].shape, attrs["shape"], [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None:
        return None
    if not case.rows.kernel * case.columns.kernel * case.channels * case.outputs:
        return KernelPlan(())
    if is_depthwise(case):
        return plan_depthwise_filter(case)
    return plan_filter(case, _tiled(case, case.outputs_per_group))


def _phase_taps(w: Window, remainder: int) -> Taps:
    """The filter pixels that input pixels ``remainder, remainder + stride, ...`` meet, by rising dy pixel."""
    valid = [k for k in range(w.kernel) if (remainder + w.before - k * w.dilation) % w.stride == 0]
    if not valid:
        return Taps(0, 0, 0, 1, 0)
    common = math.gcd(w.dilation, w.stride)
    first = valid[-1]
    shift = (remainder + w.before - first * w.dilation) // w.stride
    return Taps(len(valid), first, -(w.stride // common), w.dilation // common, shift)


def _convolve(
    case: Case, scratch: Scratch, source: Source, grid: Grid, taps: tuple[Taps, Taps], filters: _Filter,
    target: _Target, shortest: int,
) -> list[Launch]:  # fmt: skip
    """Pack a filter where that helps and convolve; no row of any phase has less than `shortest` pixels."""
    th, tw = taps
    launches: list[Launch] = []
    dot = _dot_tile(case, source, filters, shortest)
    tile = dot or choose_tile(case, shortest, filters.outputs)
    ring = ring_of(case, source, grid, taps, tile.rows)
    if ring is None:  # not even a tile's rows fit in local memory
        source, extra = _with_halo(case, scratch, source, grid, taps)
        taps = th, tw = th._replace(shift=max(th.shift, 0)), tw._replace(shift=max(tw.shift, 0))
        launches.append(extra)
        ring = Ring.none(grid, tile.rows)
    panels = -(-filters.outputs // (filters.outputs if dot else tile.panel))
    weights, packing = _weights(case, scratch, filters, taps, tile, panels, bool(dot))
    launches += packing
    launches.append(
        _tile_launch(case, source, grid, taps, filters, target, tile, ring, panels, weights, bool(dot))
    )
    return launches


def _dot_tile(case: Case, source: Source, filters: _Filter, shortest: int) -> Tile | None:
    """The tile of few outputs, each a sum over a vector of inputs; None where outputs fill vectors."""
    vector = native_vector(case)
    if case.groups > 1 or filters.outputs > _DOT_OUTPUTS or filters.inputs % vector:
        return None
    return Tile(vector, 1, best_rows(shortest, min(8, accumulators(case) // filters.outputs)))


class _Weights(NamedTuple):
    """The filter as the tile kernel reads it, strides in elements."""

    ref: Ref
    panel: int
    group: int
    step: int


def _weights(
    case: Case, scratch: Scratch, filters: _Filter, taps: tuple[Taps, Taps], tile: Tile, panels: int,
    dot: bool,
) -> tuple[_Weights, list[Launch]]:  # fmt: skip
    th, tw = taps
    count = th.number * tw.number
    s_group, s_row, s_column, s_input, s_output = filters.strides
    in_order = (s_output, s_row, s_column) == (1, tw.number * s_column, filters.inputs * s_input)
    short = s_input * case.itemsize <= _LINE_BYTES
    if in_order and short and not (dot or case.half) and filters.outputs % tile.panel == 0:
        return _Weights(filters.ref, tile.panel, s_group, s_input), []
    width = filters.outputs if dot else tile.panel
    panel_size = count * filters.inputs * width
    packed = scratch.new(case.groups * panels * panel_size)
    weights = _Weights(packed, panel_size, panels * panel_size, width)
    if not count:
        return weights, []
    if dot:
        args: Args = (
            filters.ref, packed,
            *(("int", v) for v in (tw.number, filters.inputs, filters.outputs)),
            *(("long", v) for v in (filters.base, s_row, s_column, s_input, s_output)), ("ulong", 0),
        )  # fmt: skip
        entry, items = "conv_pack_dot", count
    else:
        args = (
            filters.ref, packed,
            *(("int", v) for v in (panels, count, tw.number, filters.inputs, filters.outputs)),
            *(("long", v) for v in (filters.base, s_group, s_row, s_column, s_input, s_output)), ("ulong", 0),
        )  # fmt: skip
        entry, items = "conv_pack", case.groups * panels * count
    defines = defines_of(case, entry, *tile.panel_defines, half="IN")
    return weights, [launch(case, "conv_copy.cl", entry, defines, args, items)]


def _with_halo(
    case: Case, scratch: Scratch, source: Source, grid: Grid, taps: tuple[Taps, Taps]
) -> tuple[Source, Launch]:
    """Copy the images with zeros around them, so that every pixel that a tap reads is there."""
    th, tw = taps
    height = max(th.shift, 0) + (grid.rows - 1) * grid.step_h + th.reach
    width = max(tw.shift, 0) + (grid.columns - 1) * grid.step_w + tw.reach
    buffer = scratch.new(case.images * height * width * source.channels)
    size = (source.height, source.width)
    before = (max(-th.shift, 0), max(-tw.shift, 0))
    extra = halo_launch(case, source.ref, buffer, (height, width), size, before, source.channels)
    return Source.dense(buffer, height, width, source.channels), extra


class _Share(NamedTuple):
    """How the work is shared out among items."""

    chunks: int
    lines_per_item: int
    blocks: int
    tiles_per_block: int
    panel_groups: int
    panels_per_item: int


def _share(case: Case, grid: Grid, ring: Ring, tile_rows: int, pixel_bytes: int, panels: int,
           flops: int) -> _Share:  # fmt: skip
    lines = case.images * grid.rows
    tiles = -(-grid.columns // tile_rows)
    wanted = case.device.compute_units * ITEMS_PER_UNIT
    wanted = max(1, min(wanted, flops // ITEM_FLOPS))
    per_block = min(ring.tiles_per_block, max(1, _CACHE_BYTES // max(tile_rows * pixel_bytes, 1)))
    fixed = case.groups * -(-tiles // per_block)
    chunks = min(lines, -(-wanted // fixed))
    per_item = -(-lines // chunks)
    chunks = -(-lines // per_item)
    short = -(-wanted // (fixed * chunks))  # more items are wanted by this factor
    panel_groups = min(panels, short)
    panels_per_item = -(-panels // panel_groups)
    panel_groups = -(-panels // panels_per_item)
    short = -(-short // panel_groups)
    per_block = -(-per_block // min(short, per_block))
    return _Share(chunks, per_item, -(-tiles // per_block), per_block, panel_groups, panels_per_item)


def _tile_launch(
    case: Case, source: Source, grid: Grid, taps: tuple[Taps, Taps], filters: _Filter, target: _Target,
    tile: Tile, ring: Ring, panels: int, weights: _Weights, dot: bool,
) -> Launch:  # fmt: skip
    th, tw = taps
    inputs = filters.inputs
    joined = tw.spacing == 1  # neighbouring filter columns are one contiguous run with their channels
    if ring.size:
        pixel, tap = grid.step_w * inputs, tw.spacing * inputs
    else:
        pixel, tap = grid.step_w * source.pixel, tw.spacing * source.pixel
        joined = joined and source.pixel == inputs
    run = inputs * (tw.number if joined else 1)
    macs_per_pixel = th.number * tw.number * inputs
    panel_flops = 2 * case.images * grid.rows * grid.columns * macs_per_pixel * tile.panel
    share = _share(case, grid, ring, tile.rows, grid.step_w * inputs * case.itemsize, panels,
                   panel_flops * panels * case.groups)  # fmt: skip
    panel_bytes = macs_per_pixel * tile.panel * case.itemsize
    pixels = min(share.tiles_per_block * tile.rows, grid.columns)
    group_lines = 1
    if panel_bytes > _CACHE_BYTES // 2 or ring.size == 0:
        group_lines = max(1, min(-(-_PASS_PIXELS // pixels), grid.rows, ring.most_lines))
    ring_rows, ring_columns = ring.rows(group_lines), ring.columns(share.tiles_per_block * tile.rows)
    args: Args = (
        source.ref,
        weights.ref,
        ("out", 0),
        *(("uint", v) for v in (share.chunks, share.blocks, share.panel_groups, panels)),
        *(("uint", v) for v in (share.panels_per_item, case.images * grid.rows, share.lines_per_item)),
        ("uint", group_lines),
        *(("int", v) for v in (-(-grid.columns // tile.rows), share.tiles_per_block, grid.rows)),
        *(("int", v) for v in (grid.columns, filters.outputs, th.number, 1 if joined else tw.number, run)),
        *(("int", v) for v in (grid.step_h, grid.step_w, th.spacing, th.shift, tw.shift)),
        *(("int", v) for v in (source.height, source.width, inputs, ring_rows, ring_columns)),
        *(("ulong", v) for v in (source.image, source.row, source.pixel, source.channel)),
        *(("ulong", v) for v in (source.channel * inputs, tap, 0)),
        *(("ulong", v) for v in (weights.panel, weights.group, weights.step)),
        ("ulong", target.base),
        *(("ulong", v) for v in target.strides),
        ("ulong", target.strides[3] * filters.outputs),
    )
    more: Defines = (*tile.defines, ("GR_CONV_PIXEL", pixel))
    if dot:
        more += (("GR_CONV_DOT", filters.outputs),)
    if ring.size:
        more += (("GR_CONV_RING", ring_rows * ring_columns * inputs),)
    halves = "IN OUT" if source.half and ring.size else "OUT"
    defines = defines_of(case, "conv_tile", *more, half=halves)
    items = share.chunks * share.blocks * share.panel_groups * case.groups
    return launch(case, _FILE, "conv_tile", defines, args, items)
