"""What the plans of convolutions share: the case at hand, tiles, launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphrun.dtypes import DType
from graphrun.graph.descriptor import Capabilities, Launch
from graphrun.ops.host.conv import Window, nhwc_shape, windows

GPU_GROUP = 64
ITEMS_PER_UNIT = 8  # on a CPU: more than one a core, so that an interrupted core does not hold up the rest
ITEM_FLOPS = 1_000_000  # an item of a CPU should be worth its launch

Ref = tuple[str, int]
Args = tuple[tuple[str, Any], ...]
Defines = tuple[tuple[str, Any], ...]


class Case(NamedTuple):
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
    def inputs_per_group(self) -> int:
        return self.channels // self.groups

    @property
    def outputs_per_group(self) -> int:
        return self.outputs // self.groups

    @property
    def macs(self) -> int:
        pixels = self.images * self.rows.output * self.columns.output
        return pixels * self.outputs * self.rows.kernel * self.columns.kernel * self.inputs_per_group

    def strides(self, height: int, width: int, channels: int) -> tuple[int, int, int, int]:
        """Element strides of (images, rows, columns, channels) of an image as it lies in memory."""
        if self.nchw:
            return channels * height * width, width, 1, height * width
        return height * width * channels, width * channels, channels, 1


class Tile(NamedTuple):
    """Vector width, vectors of a panel, and rows of a register tile."""

    vector: int
    vectors: int
    rows: int

    @property
    def panel(self) -> int:
        return self.vector * self.vectors

    @property
    def defines(self) -> Defines:
        return (*self.panel_defines, ("GR_CONV_MR", self.rows))

    @property
    def panel_defines(self) -> Defines:
        return ("W", self.vector), ("GR_CONV_NV", self.vectors)


class Scratch:
    """Collects the sizes of scratch buffers."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize
        self.sizes_bytes: list[int] = []

    def new(self, elements: int) -> Ref:
        self.sizes_bytes.append(max(elements, 1) * self.itemsize)
        return "scratch", len(self.sizes_bytes) - 1


def make_case(
    x_shape: Any, w_shape: Any, dtypes: Sequence[DType], attrs: Mapping[str, Any], device: Capabilities
) -> Case | None:
    """The case, or None where no kernel takes it."""
    dtype = dtypes[0]
    if dtype.name not in ("float16", "float32", "float64") or not device.supports(dtype):
        return None
    if any(d is not dtype for d in dtypes):
        return None
    if any(shape is None or any(n is None for n in shape) for shape in (x_shape, w_shape)):
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
    return Case(n, channels, outputs, rows, columns, groups, data_format == "NCHW", dtype, device)


def defines_of(case: Case, entry: str, *more: tuple[str, Any], half: str = "") -> Defines:
    """`half` names the sides, "IN" and "OUT", on which the kernel meets the operation's own elements."""
    out = [(f"GR_ENTRY_{entry}", 1), ("GR_CONV_REAL", "double" if case.dtype.name == "float64" else "float")]
    if case.half:
        out += [(f"GR_CONV_HALF_{side}", 1) for side in half.split()]
    return (*out, *more)


def launch(case: Case, file: str, entry: str, defines: Defines, args: Args, items: int) -> Launch:
    """A launch of so many items, in work-groups of one on a CPU."""
    if case.device.kind == "cpu":
        return Launch(file, entry, defines, args, (items,), (1,))
    return Launch(file, entry, defines, args, (-(-items // GPU_GROUP) * GPU_GROUP,), (GPU_GROUP,))


def native_vector(case: Case) -> int:
    """Elements of a vector register."""
    return min(16, max(4, case.device.vector_width_float)) * 4 // case.itemsize


def choose_tile(case: Case, length: int, outputs: int) -> Tile:
    """Choose the register tile for `length` pixels a row and so many output channels."""
    native = native_vector(case)
    vector = min(native, max(2 if case.itemsize == 8 else 4, 1 << (outputs - 1).bit_length()))
    if case.groups > 1:  # the channels behind a group's are another group's
        vector = min(vector, 1 << (outputs.bit_length() - 1))
    effort = {1: 1.25, 2: 1.0, 3: 1.0, 4: 1.05}  # of a vector of outputs, by the panel that it is in
    vectors = min(effort, key=lambda v: -(-outputs // (v * vector)) * v * effort[v])
    return Tile(vector, vectors, best_rows(length, min(12, accumulators(case) // vectors)))


def accumulators(case: Case) -> int:
    # x86 has 32 registers of the widest vectors and 16 of the others; ARM has 32 of 4 floats
    return 24 if native_vector(case) * case.itemsize != 32 else 12


def best_rows(length: int, most: int) -> int:
    """Rows of a register tile for `length` rows: little overlap at the end, but long enough tiles."""
    return min(range(1, min(length, most) + 1), key=lambda r: (-(-length // r) * (max(r, 4) + 1), -r))


def elements_per_item(case: Case, count: int, flops_per_element: int) -> int:
    """How many output elements one item of a plain kernel makes: 1 on a GPU."""
    if case.device.kind != "cpu":
        return 1
    share = -(-count // (case.device.compute_units * ITEMS_PER_UNIT))
    return max(1, min(count, max(share, ITEM_FLOPS // 10 // max(flops_per_element, 1))))


def halo_launch(
    case: Case,
    source: Ref,
    target: Ref,
    to_size: tuple[int, int],
    from_size: tuple[int, int],
    before: tuple[int, int],
    channels: int,
    to_channels: int = 0,
) -> Launch:
    """Copy images to contiguous NHWC of the type computed in, with zeros around and in further channels."""
    to_channels = to_channels or channels
    lines = case.images * to_size[0]
    line_bytes = to_size[1] * to_channels * case.itemsize
    per_item = -(-lines // (case.device.compute_units * ITEMS_PER_UNIT))
    per_item = min(lines, max(per_item, 32768 // max(line_bytes, 1), 1))
    args: Args = (
        source,
        target,
        ("uint", lines),
        ("uint", per_item),
        *(("int", v) for v in (*to_size, to_channels, *from_size, channels, *before)),
        *(("ulong", v) for v in case.strides(*from_size, channels)),
    )
    defines = defines_of(case, "conv_halo", half="IN")
    return launch(case, "conv_copy.cl", "conv_halo", defines, args, -(-lines // per_item))
