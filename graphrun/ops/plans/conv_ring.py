"""Where the tile kernels of ``kernels/conv.cl`` read images, and the ring of rows that they gather."""

from __future__ import annotations

from typing import NamedTuple

from graphrun.ops.plans.conv_case import Case, Ref

_RING_BYTES = 160 << 10  # part of a level-2 cache


class Taps(NamedTuple):
    """Filter pixels along one dimension: ``first, first + step, ...``, by rising source pixel."""

    number: int
    first: int
    step: int
    spacing: int  # between the source pixels of neighbouring taps
    shift: int  # source pixel of the first tap for output pixel 0

    @property
    def reach(self) -> int:
        """Source pixels from the first tap's to the last one's."""
        return max(self.number - 1, 0) * self.spacing + 1


class Grid(NamedTuple):
    """The output pixels, and the source pixels from one to the next."""

    rows: int
    columns: int
    step_h: int
    step_w: int


class Source(NamedTuple):
    """Images: their size, and the distances in elements."""

    ref: Ref
    height: int
    width: int
    channels: int
    image: int
    row: int
    pixel: int
    channel: int
    half: bool

    @classmethod
    def of_image(cls, case: Case, ref: Ref, height: int, width: int, channels: int) -> Source:
        """One of the operation's own images."""
        return cls(ref, height, width, channels, *case.strides(height, width, channels), case.half)

    @classmethod
    def dense(cls, ref: Ref, height: int, width: int, channels: int) -> Source:
        """A copy as NHWC in the type computed in."""
        return cls(ref, height, width, channels, height * width * channels, width * channels, channels, 1,
                   False)  # fmt: skip


class Ring(NamedTuple):
    """A ring of source rows in local memory; none of size 0."""

    size: int  # elements, of one line of output pixels
    tiles_per_block: int  # most tiles of a row that it serves
    most_lines: int  # lines of output pixels at once
    reach_h: int = 0
    reach_w: int = 0
    step_h: int = 0
    step_w: int = 0
    all_columns: int = 0

    @classmethod
    def none(cls, grid: Grid, tile_rows: int) -> Ring:
        """Read the source where it lies."""
        return cls(0, -(-grid.columns // tile_rows), grid.rows)

    def rows(self, lines: int) -> int:
        """Source rows that so many lines of output pixels read."""
        return (lines - 1) * self.step_h + self.reach_h

    def columns(self, pixels: int) -> int:
        """Source columns that so many output pixels of a line read."""
        return (min(pixels, self.all_columns) - 1) * self.step_w + self.reach_w if self.size else 0


def ring_of(case: Case, source: Source, grid: Grid, taps: tuple[Taps, Taps], tile_rows: int) -> Ring | None:
    """The ring that `grid` needs; of size 0 where the source is read as it lies, None if it is too large."""
    th, tw = taps
    last = tw.shift + (grid.columns - 1) * grid.step_w + tw.reach - 1
    if not th.number * tw.number:
        return Ring.none(grid, tile_rows)
    if source.channel == 1 and not source.half and tw.shift >= 0 and last < source.width:
        return Ring.none(grid, tile_rows)
    channels = source.channels // case.groups
    most = min(_RING_BYTES, case.device.local_mem_bytes * 3 // 4) // case.itemsize
    tiles = -(-grid.columns // tile_rows)

    def size(blocks: int, lines: int) -> int:
        pixels = min(-(-tiles // blocks) * tile_rows, grid.columns)
        width = (pixels - 1) * grid.step_w + tw.reach
        return ((lines - 1) * grid.step_h + th.reach) * width * channels

    blocks = next((b for b in range(1, tiles + 1) if size(b, 1) <= most), None)
    if blocks is None:
        return None
    lines = 1
    while lines < min(grid.rows, 64) and size(blocks, lines + 1) <= most:
        lines += 1
    return Ring(
        size(blocks, 1),
        -(-tiles // blocks),
        lines,
        th.reach,
        tw.reach,
        grid.step_h,
        grid.step_w,
        grid.columns,
    )
