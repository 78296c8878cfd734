"""Plans of conv2d and its gradients (``kernels/conv.cl``).

On a CPU: images are copied once into a buffer with a zero halo (not where there is no padding), filters into
panels of output channels, and a register tile of some pixels times one panel runs over them.  The gradient of
the input is the same kernel: with stride s, the input pixels of one remainder modulo s see a plain
convolution of ``dy`` with every s-th filter pixel, so it is one launch for each of the remainders (phases).
On a GPU, and with channel groups: one output element at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, KernelPlan, Launch, Spec
from graphrun.ops.host.conv import Window, nhwc_shape, windows

_FILE = "conv.cl"
_GPU_GROUP = 64
_ITEMS_PER_UNIT = 4  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest
_ITEM_FLOPS = 1_000_000  # an item of a CPU should be worth its launch
_UNIT_BYTES = (
    96 << 10
)  # rows of x and dy over which the filter gradient's tiles pass: part of a level-2 cache
_GPU_SLICES = 64
_GPU_ITEMS = 1 << 17

Args = tuple[tuple[str, Any], ...]
Defines = tuple[tuple[str, Any], ...]


class _Case(NamedTuple):
    """One convolution, whichever of its three operations is asked for."""

    images: int
    channels: int  # of the input
    outputs: int
    rows: Window
    columns: Window
    groups: int
    nchw: bool
    dtype: DType
    device: Capabilities

    @property
    def half(self) -> bool:
        return self.dtype.name == "float16"

    @property
    def itemsize(self) -> int:
        """Bytes of an element in scratch."""
        return 8 if self.dtype.name == "float64" else 4

    @property
    def macs(self) -> int:
        pixels = self.images * self.rows.output * self.columns.output
        taps = self.rows.kernel * self.columns.kernel
        return pixels * self.outputs * taps * (self.channels // self.groups)

    @property
    def tiled(self) -> bool:
        return self.device.kind == "cpu" and self.groups == 1

    def strides(self, height: int, width: int, channels: int) -> tuple[int, int, int, int]:
        """Element strides of (images, rows, columns, channels) of an image as it lies in memory."""
        if self.nchw:
            return channels * height * width, width, 1, height * width
        return height * width * channels, width * channels, channels, 1


class _Tile(NamedTuple):
    """Vector width, vectors of a panel, and rows of a register tile."""

    vector: int
    vectors: int
    rows: int

    @property
    def panel(self) -> int:
        return self.vector * self.vectors


def _static(*shapes: Any) -> bool:
    return all(shape is not None and all(n is not None for n in shape) for shape in shapes)


def _case(
    x_shape: Any, w_shape: Any, dtypes: Sequence[DType], attrs: Mapping[str, Any], device: Capabilities
) -> _Case | None:
    dtype = dtypes[0]
    if dtype.name not in ("float16", "float32", "float64") or not device.supports(dtype):
        return None
    if any(d is not dtype for d in dtypes) or not _static(x_shape, w_shape):
        return None
    data_format = attrs.get("data_format", "NHWC")
    n, h, w, channels = nhwc_shape(tuple(x_shape), data_format)
    kh, kw, per_group, outputs = w_shape
    if per_group == 0 or channels % per_group:
        return None
    groups = channels // per_group
    if groups == 0 or outputs % groups:
        return None
    rows, columns = windows(
        (h, w),
        (kh, kw),
        attrs.get("strides", (1, 1)),
        attrs.get("dilations", (1, 1)),
        attrs.get("padding", "SAME"),
    )
    return _Case(n, channels, outputs, rows, columns, groups, data_format == "NCHW", dtype, device)


def _defines(case: _Case, entry: str, *more: tuple[str, Any], half: str = "") -> Defines:
    """`half` names the sides, "IN" and "OUT", on which the kernel meets the operation's own elements."""
    out = [(f"GR_ENTRY_{entry}", 1), ("GR_CONV_REAL", "double" if case.dtype.name == "float64" else "float")]
    if case.half:
        out += [(f"GR_CONV_HALF_{side}", 1) for side in half.split()]
    return (*out, *more)


def _launch(case: _Case, entry: str, defines: Defines, args: Args, items: int) -> Launch:
    if case.device.kind == "cpu":
        return Launch(_FILE, entry, defines, args, (items,), (1,))
    return Launch(_FILE, entry, defines, args, (-(-items // _GPU_GROUP) * _GPU_GROUP,), (_GPU_GROUP,))


def _best_rows(length: int, most: int) -> int:
    """Rows of a register tile for `length` rows: little overlap at the end, but long enough tiles."""
    return min(range(1, min(length, most) + 1), key=lambda r: (-(-length // r) * (max(r, 4) + 1), -r))


def _tile(case: _Case, length: int, outputs: int) -> _Tile:
    """Choose the register tile for `length` pixels a row and so many output channels."""
    native = min(16, max(4, case.device.vector_width_float)) * 4 // case.itemsize
    vector = min(native, max(2 if case.itemsize == 8 else 4, 1 << (outputs - 1).bit_length()))
    # x86 has 32 registers of the widest vectors and 16 of the others; ARM has 32 of 4 floats
    accumulators = 24 if native * case.itemsize != 32 else 12
    effort = {1: 1.25, 2: 1.0, 3: 1.0, 4: 1.05}  # of a vector of outputs, by the panel that it is in
    vectors = min(effort, key=lambda v: -(-outputs // (v * vector)) * v * effort[v])
    return _Tile(vector, vectors, _best_rows(length, min(12, accumulators // vectors)))


def _tile_defines(tile: _Tile) -> Defines:
    return ("GR_CONV_VW", tile.vector), ("GR_CONV_NV", tile.vectors), ("GR_CONV_MR", tile.rows)


class _Scratch:
    """Collects the sizes of scratch buffers."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize
        self.sizes_bytes: list[int] = []

    def new(self, elements: int) -> tuple[str, int]:
        self.sizes_bytes.append(max(elements, 1) * self.itemsize)
        return "scratch", len(self.sizes_bytes) - 1


def _halo(
    case: _Case,
    source: tuple[str, int],
    target: tuple[str, int],
    to_size: tuple[int, int],
    from_size: tuple[int, int],
    before: tuple[int, int],
    channels: int,
    to_channels: int = 0,
) -> Launch:
    to_channels = to_channels or channels
    lines = case.images * to_size[0]
    line_bytes = to_size[1] * to_channels * case.itemsize
    per_item = -(-lines // (case.device.compute_units * _ITEMS_PER_UNIT))
    per_item = min(lines, max(per_item, 32768 // max(line_bytes, 1), 1))
    args: Args = (
        source,
        target,
        ("uint", lines),
        ("uint", per_item),
        *(("int", v) for v in (*to_size, to_channels, *from_size, channels, *before)),
        *(("ulong", v) for v in case.strides(*from_size, channels)),
    )
    return _launch(case, "conv_halo", _defines(case, "conv_halo", half="IN"), args, -(-lines // per_item))


class _Taps(NamedTuple):
    """Filter pixels along one dimension that one phase uses: ``first, first - step, ...`` or upwards."""

    number: int
    first: int
    step: int
    spacing: int  # between the source pixels of neighbouring taps
    shift: int  # source pixel of the first tap for output pixel 0 of the phase


def _phase_taps(w: Window, remainder: int) -> _Taps:
    """The filter pixels that input pixels ``remainder, remainder + stride, ...`` meet, by rising dy pixel."""
    valid = [k for k in range(w.kernel) if (remainder + w.before - k * w.dilation) % w.stride == 0]
    if not valid:
        return _Taps(0, 0, 0, 1, 0)
    common = math.gcd(w.dilation, w.stride)
    first = valid[-1]
    shift = (remainder + w.before - first * w.dilation) // w.stride
    return _Taps(len(valid), first, -(w.stride // common), w.dilation // common, shift)


def _reach(w: Window, phases: Sequence[tuple[int, _Taps]]) -> tuple[int, int]:
    """First and last pixel of dy, real or not, that the phases read; at least the real ones."""
    first, last = 0, w.output - 1
    for remainder, taps in phases:
        pixels = -(-(w.input - remainder) // w.stride)
        first = min(first, taps.shift)
        last = max(last, taps.shift + pixels - 1 + max(taps.number - 1, 0) * taps.spacing)
    return first, last


class _Source(NamedTuple):
    """Where the tile kernel reads images: contiguous NHWC with a halo."""

    buffer: tuple[str, int]
    height: int
    width: int
    channels: int

    def pixel(self, row: int, column: int) -> int:
        return (row * self.width + column) * self.channels


def _tile_launches(
    case: _Case,
    tile: _Tile,
    source: _Source,
    corner: tuple[int, int],
    step: tuple[int, int],
    size: tuple[int, int],
    taps: tuple[_Taps, _Taps],
    filters: tuple[tuple[str, int], tuple[str, int], int, int, tuple[int, int, int, int]],
    target: tuple[str, int],
    target_base: int,
    target_strides: tuple[int, int, int, int],
    outputs: int,
) -> list[Launch]:
    """Pack a filter and convolve: `size` output pixels, `step` source pixels apart, from `corner` on.

    `filters` is (filter, packed filter, base in it, base in the filter, its strides (i, j, c, o)).
    """
    weights, packed, packed_base, weights_base, weights_strides = filters
    th, tw = taps
    panels = -(-outputs // tile.panel)
    panel_size = th.number * tw.number * source.channels * tile.panel
    launches = []
    if panel_size:
        args: Args = (
            weights,
            packed,
            ("uint", panels * th.number * tw.number),
            *(("int", v) for v in (th.number * tw.number, tw.number, source.channels, outputs)),
            *(("long", v) for v in (weights_base, *weights_strides)),
            ("ulong", packed_base),
        )
        more = _tile_defines(tile)[:2]
        defines = _defines(case, "conv_pack", *more, half="IN")
        launches.append(_launch(case, "conv_pack", defines, args, panels * th.number * tw.number))
    # adjacent filter columns are one contiguous run with their channels
    joined = tw.spacing == 1
    run = source.channels * (tw.number if joined else 1)
    images, (height, width) = case.images, size
    per_row = -(-width // tile.rows)
    tiles = images * height * per_row
    tile_flops = 2 * tile.rows * tile.panel * th.number * tw.number * source.channels
    chunks = -(-case.device.compute_units * _ITEMS_PER_UNIT // panels)
    per_item = min(tiles, max(-(-tiles // chunks), _ITEM_FLOPS // max(tile_flops, 1), 1))
    chunks = -(-tiles // per_item)
    args = (
        source.buffer,
        packed,
        target,
        *(("uint", v) for v in (panels * chunks, chunks, tiles, per_item, per_row, height)),
        *(("int", v) for v in (width, outputs, th.number, 1 if joined else tw.number, run)),
        ("ulong", source.pixel(*corner)),
        ("ulong", source.pixel(source.height, 0)),
        ("ulong", source.pixel(step[0], 0)),
        ("ulong", source.pixel(th.spacing, 0)),
        ("ulong", source.pixel(0, tw.spacing)),
        ("ulong", packed_base),
        ("ulong", panel_size),
        ("ulong", target_base),
        *(("ulong", v) for v in target_strides),
    )
    more = (*_tile_defines(tile), ("GR_CONV_PIXEL", step[1] * source.channels))
    defines = _defines(case, "conv_tile", *more, half="OUT")
    launches.append(_launch(case, "conv_tile", defines, args, panels * chunks))
    return launches


def _pointwise(case: _Case) -> _Case:
    """Make one long row of a 1x1 convolution's pixels, where nothing separates them."""
    r, c = case.rows, case.columns
    plain = all(w.kernel == 1 and w.stride == 1 and not w.before and not w.after for w in (r, c))
    if not plain or not case.tiled or case.half:
        return case
    pixels = r.input * c.input * (1 if case.nchw else case.images)
    return case._replace(
        images=case.images if case.nchw else 1,
        rows=r._replace(input=1, output=1),
        columns=c._replace(input=pixels, output=pixels),
    )


def plan_conv2d(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """conv2d(x, w; strides, padding, dilations, data_format)."""
    case = _case(ins[0].shape, ins[1].shape, [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None:
        return None
    if not case.images * case.rows.output * case.columns.output * case.outputs:
        return KernelPlan(())
    if not case.tiled or not case.macs:
        return _plain(case, "conv_plain", case.rows.output * case.columns.output * case.outputs)
    case = _pointwise(case)
    r, c = case.rows, case.columns
    tile = _tile(case, c.output, case.outputs)
    scratch = _Scratch(case.itemsize)
    packed = scratch.new(-(-case.outputs // tile.panel) * tile.panel * r.kernel * c.kernel * case.channels)
    source, launches = _source(case, scratch)
    kw, ci, co = c.kernel, case.channels, case.outputs
    filters = (("in", 1), packed, 0, 0, (kw * ci * co, ci * co, co, 1))
    taps = (
        _Taps(r.kernel, 0, 1, r.dilation, 0),
        _Taps(c.kernel, 0, 1, c.dilation, 0),
    )
    launches += _tile_launches(
        case, tile, source, (0, 0), (r.stride, c.stride), (r.output, c.output), taps, filters,
        ("out", 0), 0, case.strides(r.output, c.output, co), co,
    )  # fmt: skip
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs)


def _source(case: _Case, scratch: _Scratch) -> tuple[_Source, list[Launch]]:
    """The operation's input 0 for a tile kernel: as it lies, or copied with its halo."""
    r, c = case.rows, case.columns
    if not (r.before or r.after or c.before or c.after or case.nchw or case.half):
        return _Source(("in", 0), r.input, c.input, case.channels), []
    height = (r.output - 1) * r.stride + (r.kernel - 1) * r.dilation + 1
    width = (c.output - 1) * c.stride + (c.kernel - 1) * c.dilation + 1
    buffer = scratch.new(case.images * height * width * case.channels)
    launch = _halo(
        case, ("in", 0), buffer, (height, width), (r.input, c.input), (r.before, c.before), case.channels
    )
    return _Source(buffer, height, width, case.channels), [launch]


def plan_conv2d_backprop_input(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """conv2d_backprop_input(w, dy; shape, strides, padding, dilations, data_format)."""
    case = _case(attrs["shape"], ins[0].shape, [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None:
        return None
    if not case.images * case.rows.input * case.columns.input * case.channels:
        return KernelPlan(())
    if not case.tiled or not case.macs:
        return _plain(case, "conv_plain_input", case.rows.input * case.columns.input * case.channels)
    case = _pointwise(case)
    r, c = case.rows, case.columns
    phases = [
        (a, b, _phase_taps(r, a), _phase_taps(c, b))
        for a in range(min(r.stride, r.input))
        for b in range(min(c.stride, c.input))
    ]

    top, bottom = _reach(r, [(a, th) for a, _, th, _ in phases])
    left, right = _reach(c, [(b, tw) for _, b, _, tw in phases])
    scratch = _Scratch(case.itemsize)
    launches: list[Launch] = []
    if (top, bottom, left, right) == (0, r.output - 1, 0, c.output - 1) and not (case.nchw or case.half):
        source = _Source(("in", 1), r.output, c.output, case.outputs)
    else:
        height, width = bottom - top + 1, right - left + 1
        buffer = scratch.new(case.images * height * width * case.outputs)
        launches.append(
            _halo(case, ("in", 1), buffer, (height, width), (r.output, c.output), (-top, -left), case.outputs)
        )
        source = _Source(buffer, height, width, case.outputs)
    # the shortest row of any phase bounds the tile
    shortest = (c.input - min(c.stride, c.input)) // c.stride + 1
    tile = _tile(case, shortest, case.channels)
    panels = -(-case.channels // tile.panel)
    kw, ci, co = c.kernel, case.channels, case.outputs
    strides = case.strides(r.input, c.input, ci)
    packed = scratch.new(panels * tile.panel * r.kernel * kw * co)  # each filter pixel is in one phase
    base = 0
    for a, b, th, tw in phases:
        size = (-(-(r.input - a) // r.stride), -(-(c.input - b) // c.stride))
        weights_base = (th.first * kw + tw.first) * ci * co
        weights_strides = (th.step * kw * ci * co, tw.step * ci * co, 1, co)
        launches += _tile_launches(
            case, tile, source, (th.shift - top, tw.shift - left), (1, 1), size, (th, tw),
            (("in", 0), packed, base, weights_base, weights_strides),
            ("out", 0), a * strides[1] + b * strides[2],
            (strides[0], strides[1] * r.stride, strides[2] * c.stride, strides[3]), ci,
        )  # fmt: skip
        base += panels * tile.panel * th.number * tw.number * co
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs)


def plan_conv2d_backprop_filter(
    ins: Sequence[Spec], outs: Sequence[Spec], attrs: Mapping[str, Any], device: Capabilities
) -> KernelPlan | None:
    """conv2d_backprop_filter(x, dy; shape, strides, padding, dilations, data_format)."""
    case = _case(ins[0].shape, attrs["shape"], [ins[0].dtype, ins[1].dtype], attrs, device)
    if case is None:
        return None
    if not case.rows.kernel * case.columns.kernel * case.channels * case.outputs:
        return KernelPlan(())
    if not case.tiled or not case.macs:
        return _plain_filter(case)
    r, c = case.rows, case.columns
    joined = c.dilation == 1
    taps_h, taps_w = (r.kernel, 1) if joined else (r.kernel, c.kernel)
    run = case.channels * (c.kernel if joined else 1)
    tile = _tile(case, run, case.outputs)
    scratch = _Scratch(case.itemsize)
    source, launches = _source(case, scratch)
    # dy as it lies where whole panels can be read from it, else with channels up to a panel
    outputs = case.outputs
    if case.nchw or case.half or outputs < tile.panel:
        outputs = max(outputs, tile.panel)
        gradient = scratch.new(case.images * r.output * c.output * outputs)
        launches.append(_widen(case, gradient, outputs))
    else:
        gradient = ("in", 1)
    panels = -(-outputs // tile.panel)
    tiles = -(-run // tile.rows)
    row_bytes = c.output * (r.stride * c.stride * case.channels + tile.panel) * case.itemsize
    per_unit = min(r.output, max(1, _UNIT_BYTES // row_bytes))
    per_image = -(-r.output // per_unit)
    per_unit = -(-r.output // per_image)
    units = case.images * per_image
    across = taps_h * taps_w * panels
    part_size = across * tiles * tile.rows * tile.panel
    # enough items for the cores, but no more partial sums than they are worth
    slices = -(-case.device.compute_units * _ITEMS_PER_UNIT // across)
    slices = max(1, min(units, slices, 2 * case.macs // _ITEM_FLOPS // across))
    part = scratch.new(slices * part_size)
    args: Args = (
        source.buffer,
        gradient,
        part,
        *(("uint", v) for v in (slices * across, slices, taps_h * taps_w, taps_w, panels, units, per_image)),
        *(("int", v) for v in (per_unit, r.output, c.output, outputs, run, tiles)),
        ("ulong", source.pixel(source.height, 0)),
        ("ulong", source.pixel(r.stride, 0)),
        ("ulong", source.pixel(0, c.stride)),
        ("ulong", source.pixel(r.dilation, 0)),
        ("ulong", source.pixel(0, c.dilation)),
        *(("ulong", v) for v in (r.output * c.output * outputs, c.output * outputs, outputs)),
    )
    defines = _defines(case, "conv_filter_tile", *_tile_defines(tile))
    launches.append(_launch(case, "conv_filter_tile", defines, args, slices * across))
    launches.append(_total(case, part, slices, run, tile.rows, tiles, tile.panel, panels, outputs))
    return KernelPlan(tuple(launches), tuple(scratch.sizes_bytes), 2 * case.macs)


def _widen(case: _Case, target: tuple[str, int], channels: int) -> Launch:
    """Copy dy to contiguous NHWC with zeros in the further channels."""
    size = (case.rows.output, case.columns.output)
    return _halo(case, ("in", 1), target, size, size, (0, 0), case.outputs, channels)


def _total(
    case: _Case,
    part: tuple[str, int],
    slices: int,
    run: int,
    tile_rows: int,
    tiles: int,
    panel: int,
    panels: int,
    span: int,
) -> Launch:
    """Add up the slices of partial sums; `span` is the channels of dy that the panels were laid over."""
    count = case.rows.kernel * case.columns.kernel * case.channels // case.groups * case.outputs
    per_item = _elements_per_item(case, count, slices)
    args: Args = (
        part,
        ("out", 0),
        ("ulong", count),
        ("ulong", per_item),
        ("uint", slices),
        *(("int", v) for v in (run, case.outputs, span, tile_rows, tiles, panel, panels)),
    )
    defines = _defines(case, "conv_filter_total", half="OUT")
    return _launch(case, "conv_filter_total", defines, args, -(-count // per_item))


def _elements_per_item(case: _Case, count: int, flops_per_element: int) -> int:
    """How many output elements one item of a plain kernel makes: 1 on a GPU."""
    if case.device.kind != "cpu":
        return 1
    share = -(-count // (case.device.compute_units * _ITEMS_PER_UNIT))
    return max(1, min(count, max(share, _ITEM_FLOPS // 10 // max(flops_per_element, 1))))


def _geometry(case: _Case) -> Args:
    r, c = case.rows, case.columns
    values = (
        case.nchw, r.input, c.input, case.channels, r.output, c.output, case.outputs, r.kernel, c.kernel,
        r.stride, c.stride, r.dilation, c.dilation, r.before, c.before,
        case.channels // case.groups, case.outputs // case.groups,
    )  # fmt: skip
    return tuple(("int", int(v)) for v in values)


def _plain(case: _Case, entry: str, elements_per_image: int) -> KernelPlan:
    count = case.images * elements_per_image
    per_item = _elements_per_item(case, count, 2 * case.macs // count)
    args: Args = (
        ("in", 0), ("in", 1), ("out", 0), ("ulong", count), ("ulong", per_item), *_geometry(case)
    )  # fmt: skip
    launch = _launch(case, entry, _defines(case, entry, half="IN OUT"), args, -(-count // per_item))
    return KernelPlan((launch,), flops=2 * case.macs)


def _plain_filter(case: _Case) -> KernelPlan:
    run = case.columns.kernel * case.channels // case.groups
    count = case.rows.kernel * run * case.outputs
    lines = case.images * case.rows.output
    # few filter elements would leave a GPU idle: share out the rows
    slices = 1 if case.device.kind == "cpu" else max(1, min(lines, _GPU_SLICES, -(-_GPU_ITEMS // count)))
    per_item = _elements_per_item(case, count * slices, 2 * case.macs // (count * slices))
    args: Args = (
        ("in", 0), ("in", 1), ("scratch", 0), ("ulong", count), ("ulong", per_item), ("uint", slices),
        ("uint", lines), *_geometry(case),
    )  # fmt: skip
    defines = _defines(case, "conv_plain_filter", half="IN")
    first = _launch(case, "conv_plain_filter", defines, args, -(-count * slices // per_item))
    total = _total(case, ("scratch", 0), slices, run, run, 1, case.outputs, 1, case.outputs)
    return KernelPlan((first, total), (count * slices * case.itemsize,), 2 * case.macs)
